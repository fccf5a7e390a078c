"""The resolver as that of the whole program, for whoever connects to a host by its name."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver

from msrpgw.dns.resolver import Resolver


class ProgramResolver:
    """From ``start`` to ``stop`` the reactor's own resolver has no say.

    That one asks in a few threads, which a name server that does not answer would block for all.
    """

    def __init__(self, reactor: object, resolver: Resolver) -> None:
        self._reactor = IReactorPluggableNameResolver(reactor)
        self._resolver = resolver
        self._former: IHostnameResolver | None = None

    def start(self) -> None:
        """Take the place of the reactor's resolver."""
        self._former = self._reactor.installNameResolver(self._resolver)

    def stop(self) -> Deferred[None]:
        """Give the place back; no look-up ends after this."""
        if self._former is not None:
            self._reactor.installNameResolver(self._former)
            self._former = None
        self._resolver.close()
        return succeed(None)
