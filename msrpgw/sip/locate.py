"""Where a request goes: the addresses behind a URI (RFC 3263).

    host is an address ───────────────────────────────────────────────► one target
    port given, or in the hosts file ─────────────────────► A, AAAA ──► targets
    transport given ─────────────────► SRV ───(none)──────► A, AAAA ──► targets
    neither ────► NAPTR ──(none)─────► SRV ───(none)──────► A, AAAA ──► targets

A URI whose host is an IP address is located at once, without a Deferred; what was found for a
name is kept as long as its records hold.
"""

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpgw.dns.records import Kind, Naptr, Srv
from msrpgw.dns.resolver import KnownAddresses, Resolver
from msrpgw.sip.plan import MAX_TARGETS, Choice, Plan, by_priority, single_plan
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.uri import SipUri, Uri
from msrpgw.timers import Timers

_log = Logger()

OnTargets = Callable[[list[Target]], None]

#: most places known at a time
_PLACES = 1024
#: most NAPTR records that are followed
_NAPTRS = 8

#: what NAPTR calls a transport, and where its SRV records are (RFC 3263 §4.1)
_NAPTR_SERVICES = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
_SRV_PREFIXES = {"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}

#: host without brackets, port, transport (all if empty), and the host that TLS has to prove
_Place = tuple[str, int | None, str, str]


@lru_cache(maxsize=4096)
def _literal(host: str) -> str:
    """The address that a host is, in its usual form; empty when it is a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


class Locator:
    """Finds targets.  Owned by the user agent; holds a bounded table of places."""

    def __init__(
        self,
        resolver: Resolver,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: SipSettings,
    ) -> None:
        self._resolver = resolver
        self._timers = timers
        self._random = random
        listen = [text.lower() for text in settings.listen]
        #: §4.1 of RFC 3263: our own preference where the URI names no transport
        self._preferred = "UDP" if any(one.startswith("udp:") for one in listen) else "TCP"
        if all(one.startswith("tls:") for one in listen):
            self._preferred = "TLS"
        self._secure = any(one.startswith("tls:") for one in listen)
        # TCP needs no listener: responses come back over the connection that we make.  But who
        # has only TLS wants only TLS.
        self._transports: tuple[str, ...] = (self._preferred,)
        if self._preferred != "TLS":
            others = ("TCP", "TLS") if self._secure else ("TCP",)
            self._transports = tuple(dict.fromkeys((self._preferred, *others)))
        self._kinds: list[Kind] = []
        if any("[" in one for one in listen):
            self._kinds.append(Kind.AAAA)
        if any("[" not in one for one in listen):
            self._kinds.append(Kind.A)
        self._literals: dict[str, Target] = {}  # by URIs whose host is an address
        self._known: dict[_Place, Plan] = {}
        self._pending: dict[_Place, list[OnTargets]] = {}

    def locate_now(self, uri: Uri, *, secure: bool = False) -> list[Target] | None:
        """The targets of a URI, best first, if no look-up is needed; else None.

        ``secure``: TLS or nothing, as if it were a ``sips:`` URI (RFC 3261 §8.1.2).
        Empty for what we can't reach: a transport that we don't have, a URI without a host.
        """
        found = None if secure else self._literals.get(uri.text)
        if found is not None:
            return [found]
        place = self._place(uri, secure)
        if place is None:
            return []
        host, port, transport, name = place
        address = _literal(host)
        if address:
            found = _target(transport or self._preferred, address, port, name)
            if not secure:
                if len(self._literals) >= _PLACES:
                    self._literals.clear()
                self._literals[uri.text] = found
            return [found]
        plan = self._known.get(place)
        if plan is not None and plan.until > self._timers.seconds():
            return plan.targets(self._random)
        return None

    def locate(self, uri: Uri, on_targets: OnTargets, *, secure: bool = False) -> None:
        """Find the targets of a URI, best first; possibly at once.

        ``on_targets`` is called exactly once, with an empty list when there are none.
        """
        found = self.locate_now(uri, secure=secure)
        place = self._place(uri, secure)
        if found is not None or place is None:
            on_targets(found or [])
            return
        waiting = self._pending.get(place)
        if waiting is not None:
            waiting.append(on_targets)
            return
        self._pending[place] = [on_targets]
        Deferred.fromCoroutine(self._find(place)).addCallbacks(
            lambda plan: self._found(place, plan), lambda failure: self._not_found(place, failure)
        )

    def _place(self, uri: Uri, secure: bool) -> _Place | None:
        if not isinstance(uri, SipUri):
            return None
        wanted = uri.transport
        if secure or uri.scheme == "sips" or wanted == "tls":
            # RFC 3261 §26.2.2: sips is TLS, and what can't be TLS is no way at all.
            if not self._secure or wanted not in (None, "tcp", "tls"):
                return None
            transport = "TLS"
        elif wanted not in (None, "udp", "tcp"):
            return None
        else:
            transport = wanted.upper() if wanted is not None else ""
        # §4: maddr overrides.  RFC 5922 §7.3: but the name to be proven is the URI's own.
        host = (uri.parameter("maddr") or uri.host).strip("[]").lower().rstrip(".")
        return host, uri.port, transport, uri.host.strip("[]").lower()

    # Names

    async def _find(self, place: _Place) -> Plan:
        host, port, transport, name = place
        resolver = self._resolver
        hosts = resolver.hosts(host)
        if hosts is not None or port is not None:
            known = hosts or await resolver.addresses(host, self._kinds)
            return self._addressed(known, place)
        transports = (transport,) if transport else self._transports
        # All at once: they are needed more often than not, and a server that keeps silent on
        # what it does not know costs its time-out only once.
        naptr = None if transport else resolver.ask(Kind.NAPTR, host)
        srv = {each: resolver.ask(Kind.SRV, _SRV_PREFIXES[each] + host) for each in transports}
        addresses = Deferred.fromCoroutine(resolver.addresses(host, self._kinds))
        until: list[float] = []
        if naptr is not None:
            known_naptr = await naptr
            until.append(known_naptr.until)
            records = [each for each in known_naptr.values if isinstance(each, Naptr)]
            for each in self._services(records):
                records_srv = await resolver.ask(Kind.SRV, each.replacement)
                until.append(records_srv.until)
                way = _NAPTR_SERVICES[each.service]
                groups = await self._groups(records_srv.values, way, name, until)
                if groups:
                    return Plan(groups, min(until))
        some = False
        for way in transports:
            known_srv = await srv[way]
            until.append(known_srv.until)
            some = some or bool(known_srv.values)
            groups = await self._groups(known_srv.values, way, name, until)
            if groups:
                return Plan(groups, min(until))
        if some:
            return Plan((), min(until))  # RFC 2782: decidedly not to be had, or nowhere
        known = await addresses
        plan = self._addressed(known, place)
        return plan._replace(until=min(plan.until, *until))

    def _services(self, records: Sequence[Naptr]) -> list[Naptr]:
        """Those that we can make use of, best first (§4.1)."""
        usable = [
            each
            for each in records
            if each.flags == "s" and _NAPTR_SERVICES.get(each.service) in self._transports
        ]
        return sorted(usable)[:_NAPTRS]

    async def _groups(
        self, values: Sequence[object], transport: str, name: str, until: list[float]
    ) -> tuple[tuple[Choice, ...], ...]:
        """The hosts of SRV records (§4.2); ``until`` gets the ends of what is learnt."""
        records = [each for each in values if isinstance(each, Srv)]
        # All are asked for before the first answer is awaited.
        groups = [
            [(record, Deferred.fromCoroutine(self._addresses(record.host))) for record in group]
            for group in by_priority(sorted(records)[:MAX_TARGETS])
        ]
        found: list[tuple[Choice, ...]] = []
        for group in groups:
            choices = []
            for record, asking in group:
                known = await asking
                until.append(known.until)
                if known.addresses:
                    targets = [
                        _target(transport, address, record.port, name)
                        for address in known.addresses
                    ]
                    choices.append(Choice(record.weight, tuple(targets)))
            if choices:
                found.append(tuple(choices))
        return tuple(found)

    async def _addresses(self, host: str) -> KnownAddresses:
        address = _literal(host)  # no SRV record may name one, but some do
        if address:
            return KnownAddresses((address,), float("inf"))
        return await self._resolver.addresses(host, self._kinds)

    def _addressed(self, known: KnownAddresses, place: _Place) -> Plan:
        _, port, transport, name = place
        fitting = [
            address
            for address in known.addresses
            if (Kind.AAAA if ":" in address else Kind.A) in self._kinds
        ]
        return single_plan(
            [_target(transport or self._preferred, address, port, name) for address in fitting],
            known.until,
        )

    def _found(self, place: _Place, plan: Plan) -> None:
        self._known.pop(place, None)
        if len(self._known) >= _PLACES:
            del self._known[next(iter(self._known))]
        self._known[place] = plan
        self._tell(place, lambda: plan.targets(self._random))

    def _not_found(self, place: _Place, failure: Failure) -> None:
        _log.failure("a look-up failed; the request has nowhere to go", failure)
        self._tell(place, list)

    def _tell(self, place: _Place, targets: Callable[[], list[Target]]) -> None:
        for on_targets in self._pending.pop(place, ()):
            try:
                on_targets(targets())
            except Exception:
                _log.failure("a request could not be sent after its look-up")

    def close(self) -> None:
        """Forget all look-ups, without a word to those who wait."""
        self._pending.clear()


def _target(transport: str, address: str, port: int | None, name: str) -> Target:
    if transport != "TLS":
        return Target(transport, address, port or 5060)
    return Target(transport, address, port or 5061, name=_literal(name) or name)
