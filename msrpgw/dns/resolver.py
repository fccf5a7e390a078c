"""The resolver: one for the program, for SIP (RFC 3263), MSRP (RFC 4975 §5.4) and web hooks.

    hosts file ─► kept answers ─► look-up under way ─► name servers

A look-up always ends, within ``timeout``; nobody waits for one but those who asked for its name.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from zope.interface import implementer

from msrpgw.dns.files import WatchedFile, parse_hosts
from msrpgw.dns.records import Answer, Kind, Value, is_name
from msrpgw.dns.servers import NameServers, Upstream
from msrpgw.dns.settings import DnsSettings
from msrpgw.timers import Timer, Timers

_log = Logger()

#: seconds for which a look-up that failed is not repeated
_KEPT_FAILURE = 5.0
#: seconds that an answer may do after its time when there is no new one, and until that is
#: looked for again (RFC 8767 §5)
_STALE = 86_400.0
_RECHECK = 30.0
#: seconds that a name of the hosts file is not looked for again
_KEPT_HOSTS = 10.0
#: most addresses of a name
_ADDRESSES = 8
#: IPv6 first, as RFC 6724 §2.1 has it
FAMILIES = (Kind.AAAA, Kind.A)


class DnsCounters:
    """Plain numbers since the start; whoever shows them reads them here."""

    __slots__ = ("failures", "look_ups", "refused")

    def __init__(self) -> None:
        self.look_ups = 0  #: questions that name servers were asked
        self.failures = 0  #: questions without an answer: silence, refusals, errors
        self.refused = 0  #: questions not asked, since too many were under way


class Known(NamedTuple):
    """What is known of a name."""

    values: tuple[Value, ...]
    until: float  #: on the clock of the timers
    stale_until: float = 0.0  #: the same, when name servers keep silent


class KnownAddresses(NamedTuple):
    """The addresses of a name."""

    addresses: tuple[str, ...]  #: best first
    until: float  #: on the clock of the timers


class _LookUp:
    """One question under way, and all who wait for its answer."""

    __slots__ = ("asking", "timer", "waiting")

    def __init__(self) -> None:
        self.asking: Deferred[Answer] | None = None
        self.timer: Timer | None = None
        self.waiting: list[Deferred[Known]] = []


_Key = tuple[Kind, str]


@implementer(IHostnameResolver)
class Resolver:
    """Knows names.  Owned by the service; holds a bounded table of answers."""

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: DnsSettings,
        upstream: Upstream | None = None,
    ) -> None:
        """``upstream``: in place of the name servers of the settings."""
        self.counters = DnsCounters()
        self._timers = timers
        self._settings = settings
        self._upstream = upstream or NameServers(reactor, timers, random, settings)
        self._hosts = WatchedFile(settings.hosts, parse_hosts)
        self._kept: dict[_Key, Known] = {}
        self._pending: dict[_Key, _LookUp] = {}

    def close(self) -> None:
        """Forget all look-ups, without a word to those who wait."""
        pending, self._pending = self._pending, {}
        for look_up in pending.values():
            if look_up.timer is not None:
                look_up.timer.cancel()
        self._upstream.close()

    @property
    def pending(self) -> int:
        """How many look-ups are under way."""
        return len(self._pending)

    # Addresses

    def hosts(self, name: str) -> KnownAddresses | None:
        """What the hosts file says of a name, and RFC 6761 §6.3 of ``localhost``; None: nothing."""
        found = self._hosts.read().get(name)
        if found is None:
            if name != "localhost" and not name.endswith(".localhost"):
                return None
            found = ("127.0.0.1", "::1")
        return KnownAddresses(found, self._timers.seconds() + _KEPT_HOSTS)

    async def addresses(self, name: str, kinds: Sequence[Kind] = FAMILIES) -> KnownAddresses:
        """The addresses of a name, of the families asked for, in their order.

        None at all means that the name is unknown, or that nobody answers.
        """
        name = name.lower().rstrip(".")
        known = self.hosts(name)
        if known is None:
            asked = [self.ask(kind, name) for kind in kinds]
            answers = [await each for each in asked]
            found = [str(value) for answer in answers for value in answer.values]
            known = KnownAddresses(tuple(found), min(each.until for each in answers))
        versions = [6 if kind is Kind.AAAA else 4 for kind in kinds]
        fitting = [
            address
            for address in known.addresses
            if ipaddress.ip_address(address).version in versions
        ]
        return KnownAddresses(tuple(fitting[:_ADDRESSES]), known.until)

    # Questions

    def ask(self, kind: Kind, name: str) -> "Deferred[Known]":
        """Records of a name; never fails: no answer is as good as no records, for a while."""
        name = name.lower().rstrip(".")
        key = (kind, name)
        now = self._timers.seconds()
        known = self._kept.get(key)
        if known is not None and known.until > now:
            return succeed(known)
        if not is_name(name):
            return succeed(Known((), now + _KEPT_FAILURE))
        waiting: Deferred[Known] = Deferred()
        look_up = self._pending.get(key)
        if look_up is not None:
            look_up.waiting.append(waiting)
            return waiting
        if len(self._pending) >= self._settings.max_look_ups:
            self.counters.refused += 1
            return succeed(Known((), now))
        look_up = self._pending[key] = _LookUp()
        look_up.waiting.append(waiting)
        self.counters.look_ups += 1
        self._start(key, look_up)
        return waiting

    def _start(self, key: _Key, look_up: _LookUp) -> None:
        look_up.timer = self._timers.call_later(
            self._settings.timeout, lambda: self._time_out(key, look_up)
        )
        look_up.asking = self._upstream.ask(key[1], key[0])
        look_up.asking.addCallbacks(
            lambda answer: self._end(key, look_up, answer),
            lambda failure: self._end(key, look_up, None),
        )

    def _time_out(self, key: _Key, look_up: _LookUp) -> None:
        self._end(key, look_up, None)
        if look_up.asking is not None:
            look_up.asking.cancel()

    def _end(self, key: _Key, look_up: _LookUp, answer: Answer | None) -> None:
        if self._pending.get(key) is not look_up:
            return  # late, or closed
        del self._pending[key]
        if look_up.timer is not None:
            look_up.timer.cancel()
        known = self._learn(key, answer)
        self._keep(key, known)
        for waiting in look_up.waiting:
            waiting.callback(known)

    def _learn(self, key: _Key, answer: Answer | None) -> Known:
        settings, now = self._settings, self._timers.seconds()
        if answer is not None:
            longest = settings.max_ttl if answer.values else settings.negative_ttl
            until = now + (longest if answer.ttl is None else min(answer.ttl, longest))
            return Known(answer.values, until, until + _STALE)
        self.counters.failures += 1
        former = self._kept.get(key)
        if former is not None and former.values and now < former.stale_until:
            return former._replace(until=now + _RECHECK)
        return Known((), now + _KEPT_FAILURE)

    def _keep(self, key: _Key, known: Known) -> None:
        self._kept.pop(key, None)  # it goes to the end: the oldest answers are at the front
        while len(self._kept) >= self._settings.max_kept:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = known

    # For Twisted

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look a name up for an endpoint, or whoever else uses the reactor's resolver."""
        kinds = [
            kind
            for kind, type_ in ((Kind.AAAA, IPv6Address), (Kind.A, IPv4Address))
            if addressTypes is None or type_ in addressTypes
        ]
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        finding = Deferred.fromCoroutine(self._resolve(hostName, kinds))
        semantics: Literal["TCP", "UDP"] = "UDP" if transportSemantics == "UDP" else "TCP"

        def found(addresses: Sequence[str]) -> None:
            if resolution.cancelled:
                return
            for address in addresses:
                type_ = IPv6Address if ":" in address else IPv4Address
                resolutionReceiver.addressResolved(type_(semantics, address, portNumber))
            resolutionReceiver.resolutionComplete()

        finding.addCallback(found).addErrback(
            lambda failure: _log.failure("a look-up could not be finished", failure)
        )
        return resolution

    async def _resolve(self, name: str, kinds: Sequence[Kind]) -> Sequence[str]:
        try:
            return (str(ipaddress.ip_address(name)),)
        except ValueError:
            return (await self.addresses(name, kinds)).addresses if kinds else ()


@implementer(IHostResolution)
class _Resolution:
    """A look-up, for who asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self.cancelled = True
