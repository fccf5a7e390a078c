"""Where a request goes: the addresses behind a URI (RFC 3263, A and AAAA only).

A URI whose host is an IP address is located at once, without a Deferred; names go through the
reactor's resolver.  Answers are kept for a short while, so that a proxy known by name does not
cost a look-up for each request and a name that does not resolve does not tie up the resolver.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from zope.interface import implementer

from msrpgw.errors import ConfigError, SipError
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.uri import SipUri, Uri, is_secure, parse_uri
from msrpgw.timers import Timer, Timers

_log = Logger()

OnTargets = Callable[[list[Target]], None]

#: seconds that the addresses of a name are good for; the resolver does not tell their TTL
_KEPT = 30.0
#: seconds that a name counts as unknown
_KEPT_UNKNOWN = 5.0
#: seconds to wait for the resolver
_PATIENCE = 5.0
#: most names known at a time, and most addresses tried for one
_NAMES = 1024
_ADDRESSES = 8


@lru_cache(maxsize=4096)
def _literal(host: str) -> str:
    """The address that a host is, in its usual form; empty when it is a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


@implementer(IResolutionReceiver)
class _LookUp:
    """One name being looked up, and all who wait for it."""

    def __init__(self, name: str, done: Callable[["_LookUp"], None]) -> None:
        self.name = name
        self.waiting: list[Callable[[list[str]], None]] = []
        self.addresses: list[str] = []
        self.timer: Timer | None = None
        self._done = done

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver took the question."""

    def addressResolved(self, address: IAddress) -> None:
        """One more address."""
        if isinstance(address, (IPv4Address, IPv6Address)) and (
            len(self.addresses) < _ADDRESSES and address.host not in self.addresses
        ):
            self.addresses.append(address.host)

    def resolutionComplete(self) -> None:
        """That was all; no address at all means that the name is unknown."""
        self._done(self)


class Locator:
    """Finds targets.  Owned by the user agent; holds a bounded table of names."""

    def __init__(self, reactor: IReactorTime, timers: Timers, settings: SipSettings) -> None:
        self._reactor = reactor
        self._timers = timers
        listen = [text.lower() for text in settings.listen]
        #: §4.1 of RFC 3263: our own preference where the URI names no transport
        self._preferred = "UDP" if any(one.startswith("udp:") for one in listen) else "TCP"
        if all(one.startswith("tls:") for one in listen):
            self._preferred = "TLS"
        self._secure = any(one.startswith("tls:") for one in listen)
        self._types: list[type[IAddress]] = []
        if any("[" not in one for one in listen):
            self._types.append(IPv4Address)
        if any("[" in one for one in listen):
            self._types.append(IPv6Address)
        self._literals: dict[str, Target] = {}  # by URIs whose host is an address
        self._known: dict[str, tuple[float, list[str]]] = {}  # until when, and the addresses
        self._pending: dict[str, _LookUp] = {}

    def locate_now(self, uri: Uri, *, secure: bool = False) -> list[Target] | None:
        """The targets of a URI, best first, if no look-up is needed; else None.

        ``secure``: TLS or nothing, as if it were a ``sips:`` URI (RFC 3261 §8.1.2).
        Empty for what we can't reach: a transport that we don't have, a URI without a host.
        """
        found = None if secure else self._literals.get(uri.text)
        if found is not None:
            return [found]
        transport = self._transport(uri, secure)
        if transport is None:
            return []
        host = _host(uri)
        address = _literal(host)
        if address:
            found = _target(transport, address, uri)
            if not secure:
                if len(self._literals) >= _NAMES:
                    self._literals.clear()
                self._literals[uri.text] = found
            return [found]
        known = self._known.get(host)
        if known is not None and known[0] > self._timers.seconds():
            return [_target(transport, one, uri) for one in known[1]]
        return None

    def locate(self, uri: Uri, on_targets: OnTargets, *, secure: bool = False) -> None:
        """Find the targets of a URI, best first; possibly at once.

        ``on_targets`` is called exactly once, with an empty list when there are none.
        """
        found = self.locate_now(uri, secure=secure)
        transport = self._transport(uri, secure)
        if found is not None or transport is None:
            on_targets(found or [])
            return

        def resolved(addresses: list[str]) -> None:
            on_targets([_target(transport, address, uri) for address in addresses])

        self._resolve(_host(uri), resolved)

    def _transport(self, uri: Uri, secure: bool) -> str | None:
        if not isinstance(uri, SipUri):
            return None
        wanted = uri.transport
        if secure or uri.scheme == "sips" or wanted == "tls":
            # RFC 3261 §26.2.2: sips is TLS, and what can't be TLS is no way at all.
            return "TLS" if self._secure and wanted in (None, "tcp", "tls") else None
        if wanted is None:
            return self._preferred
        return wanted.upper() if wanted in ("udp", "tcp") else None

    def _resolve(self, name: str, resolved: Callable[[list[str]], None]) -> None:
        look_up = self._pending.get(name)
        if look_up is not None:
            look_up.waiting.append(resolved)
            return
        look_up = self._pending[name] = _LookUp(name, self._looked_up)
        look_up.waiting.append(resolved)
        look_up.timer = self._timers.call_later(_PATIENCE, look_up.resolutionComplete)
        resolver = IReactorPluggableNameResolver(self._reactor).nameResolver
        try:
            resolver.resolveHostName(look_up, name, 0, self._types)
        except Exception:  # a name that can't be put as a question, for example one too long
            look_up.resolutionComplete()

    def _looked_up(self, look_up: _LookUp) -> None:
        if self._pending.get(look_up.name) is not look_up:
            return  # the resolver is late
        del self._pending[look_up.name]
        if look_up.timer is not None:
            look_up.timer.cancel()
        if len(self._known) >= _NAMES:
            self._known.clear()
        addresses = list(look_up.addresses)
        kept = _KEPT if addresses else _KEPT_UNKNOWN
        self._known[look_up.name] = (self._timers.seconds() + kept, addresses)
        for resolved in look_up.waiting:
            try:
                resolved(addresses)
            except Exception:
                _log.failure("a request could not be sent after its look-up")

    def close(self) -> None:
        """Forget all look-ups, without a word to those who wait."""
        for look_up in self._pending.values():
            if look_up.timer is not None:
                look_up.timer.cancel()
        self._pending.clear()


def goes_over_tls(ruri: str, settings: SipSettings) -> bool:
    """Whether a request outside a dialog goes over TLS; False for what is no URI."""
    listen = [text.lower() for text in settings.listen]
    try:
        hop = parse_uri(settings.outbound_proxy or ruri)
    except SipError:
        return False
    if not isinstance(hop, SipUri) or not any(one.startswith("tls:") for one in listen):
        return False
    if is_secure(ruri) or hop.scheme == "sips" or hop.transport == "tls":
        return True
    return hop.transport is None and all(one.startswith("tls:") for one in listen)


def _target(transport: str, address: str, uri: Uri) -> Target:
    if transport != "TLS":
        return Target(transport, address, uri.port or 5060)
    # RFC 5922 §7.3: the name to be proven is the URI's own, wherever it leads.
    host = uri.host.strip("[]").lower()
    return Target(transport, address, uri.port or 5061, name=_literal(host) or host)


def _host(uri: Uri) -> str:
    """Host to look for, lower case, without brackets; ``maddr`` overrides (RFC 3263 §4)."""
    host = uri.parameter("maddr") or uri.host
    return host.strip("[]").lower()


def parse_proxy(text: str | None) -> SipUri | None:
    """The URI of ``[sip] outbound_proxy``, None when there is none.  Raises ConfigError."""
    if not text:
        return None
    try:
        uri = parse_uri(text)
    except SipError as error:
        raise ConfigError([f"[sip] outbound_proxy: {error.reason}"]) from None
    if not isinstance(uri, SipUri):
        raise ConfigError([f"[sip] outbound_proxy: {text!r} is no sip: URI"])
    return uri
