"""Connections that we make, shared by sessions to the same host and port (RFC 4975 §5.4).

Imports connection and uri of msrp; Deferreds end here.
"""

import typing

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IStreamClientEndpoint,
)

from msrpgw.msrp.connection import Connection
from msrpgw.msrp.secure import SecureSide, Wanted
from msrpgw.msrp.uri import MsrpUri, uri_host

DEFAULT_PORT = 2855  #: RFC 4975 §15.4

#: most hosts of which we remember that their connections can't be shared
LONERS = 1024

#: host, port, and for MSRPS what was proven
Key = tuple[str, int, Wanted | None]


class Connecting(typing.Protocol):
    """Waits for a connection."""

    def connected(self, connection: Connection) -> None:
        """Here it is; whoever doesn't want it any more just doesn't bind to it."""

    def connect_failed(self, reason: str) -> None:
        """There will be none."""


class _Attempt:
    """One TCP connect and the sessions that wait for it."""

    __slots__ = ("deferred", "waiting")

    def __init__(self) -> None:
        self.deferred: Deferred[IProtocol] | None = None
        self.waiting: list[Connecting] = []


class _Told:
    """Somebody with two functions, who waits for a connection."""

    def __init__(
        self, connected: typing.Callable[[Connection], None], failed: typing.Callable[[str], None]
    ) -> None:
        self.connected = connected
        self.connect_failed = failed


class Pool:
    """Owns the connects in progress, and knows the connections that can be shared.

    One hanging connect keeps nobody waiting but the sessions to that very host and port.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        timeout: float,
        factory: IProtocolFactory,
        secure: SecureSide | None = None,
    ) -> None:
        """``factory``: of plain Connections; ``secure`` makes those of MSRPS."""
        self._reactor = reactor
        self._timeout = timeout
        self._factory = factory
        self._secure = secure
        self._shared: dict[Key, Connection | _Attempt] = {}
        self._attempts: set[_Attempt] = set()
        self._loners: dict[
            tuple[str, int], None
        ] = {}  # hosts that refused a second session on a connection

    def connect(
        self,
        uri: MsrpUri,
        waiting: Connecting,
        alone: bool = False,
        wanted: Wanted | None = None,
        anchor: tuple[str, int] | None = None,
    ) -> None:
        """Get a connection to the URI's host: one that is there, or a new one.

        ``alone``: one that nobody else uses.  ``wanted``: what the peer of an MSRPS session must
        prove; connections are shared by sessions that want the same.  ``anchor``: host and port
        to connect to in place of the URI's (RFC 6714).
        """
        place = _place(uri) if anchor is None else (uri_host(anchor[0]), anchor[1])
        key = (*place, wanted)
        share = not alone and place not in self._loners
        found = self._shared.get(key) if share else None
        if isinstance(found, Connection) and not found.closing:
            waiting.connected(found)
        elif isinstance(found, _Attempt):
            found.waiting.append(waiting)
        else:
            attempt = _Attempt()
            attempt.waiting.append(waiting)
            self._attempts.add(attempt)
            if share:
                self._shared[key] = attempt
            self._dial(key, attempt)

    def dial_relay(
        self,
        uri: MsrpUri,
        connected: typing.Callable[[Connection], None],
        failed: typing.Callable[[str], None],
    ) -> None:
        """Connect to a relay of ours, over TLS if its URI says so; one of two is called."""
        wanted = Wanted(uri.host) if uri.scheme == "msrps" else None
        attempt = _Attempt()
        attempt.waiting.append(_Told(connected, failed))
        self._attempts.add(attempt)
        self._dial((*_place(uri), wanted), attempt)

    def never_share(self, uri: MsrpUri) -> None:
        """A peer there refused a second session on a connection, and took it on its own."""
        self._loners[_place(uri)] = None
        if len(self._loners) > LONERS:
            del self._loners[next(iter(self._loners))]

    def _dial(self, key: Key, attempt: _Attempt) -> None:
        host, port, wanted = key
        where = self._endpoint(host, port)
        if wanted is None:
            attempt.deferred = deferred = where.connect(self._factory)
            deferred.addCallbacks(
                lambda made: self._connected(typing.cast(Connection, made), key, attempt),
                lambda failure: self._failed(failure.getErrorMessage(), key, attempt),
            )
        elif self._secure is not None:
            attempt.deferred = deferred = self._secure.dial(
                where,
                wanted,
                lambda connection: self._connected(connection, key, attempt),
                lambda reason: self._failed(reason, key, attempt),
            )
            deferred.addErrback(
                lambda failure: self._failed(failure.getErrorMessage(), key, attempt)
            )

    def _endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        # An address needs no look-up, and HostnameEndpoint would make one of its own kind.
        if host.startswith("["):
            return TCP6ClientEndpoint(self._reactor, host[1:-1], port, self._timeout)
        if host.replace(".", "").isdigit():
            return TCP4ClientEndpoint(self._reactor, host, port, self._timeout)
        return HostnameEndpoint(self._reactor, host.encode("ascii", "replace"), port, self._timeout)

    def _connected(self, connection: Connection, key: Key, attempt: _Attempt) -> None:
        self._attempts.discard(attempt)
        if self._shared.get(key) is attempt:
            self._shared[key] = connection
            connection.pool_key = key
        for waiting in attempt.waiting:
            waiting.connected(connection)
        if not connection.sessions:
            connection.close()

    def _failed(self, reason: str, key: Key, attempt: _Attempt) -> None:
        self._attempts.discard(attempt)
        if self._shared.get(key) is attempt:
            del self._shared[key]
        for waiting in attempt.waiting:
            waiting.connect_failed(reason)

    def forget(self, connection: Connection) -> None:
        """A connection is closed: offer it to nobody."""
        key = typing.cast(Key | None, connection.pool_key)
        if key is not None and self._shared.get(key) is connection:
            del self._shared[key]

    def close(self) -> None:
        """Give up the connects in progress."""
        for attempt in list(self._attempts):
            if attempt.deferred is not None:
                attempt.deferred.cancel()


def _place(uri: MsrpUri) -> tuple[str, int]:
    return uri.host.lower(), uri.port or DEFAULT_PORT
