"""The next hops of a request: its Route, a proxy of the settings, its request URI (§8.1.2).

in a dialog, or with a Route ──────────────► that hop
domain of the request URI in ``routes`` ───► the proxies there, or none
``outbound_proxy`` ────────────────────────► the proxies there
else ──────────────────────────────────────► the request URI
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from msrpgw.dns.resolver import Resolver
from msrpgw.errors import ConfigError, SipError
from msrpgw.sip.dead import DeadTargets
from msrpgw.sip.locate import Locator, OnTargets
from msrpgw.sip.message import Request
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.uri import SipUri, Uri, is_secure, parse_uri
from msrpgw.timers import Timers


class Hop(NamedTuple):
    """Where a request may go next."""

    uri: Uri
    route: str = ""  #: value of the Route that goes with it; empty: none


class Proxies:
    """What the settings say of proxies."""

    def __init__(self, settings: SipSettings) -> None:
        """Raises ConfigError for what is no ``sip:`` URI, or no domain."""
        self._default = _parse_proxies("outbound_proxy", settings.outbound_proxy or ())
        self._domains: dict[str, tuple[SipUri, ...]] = {}
        for domain, texts in settings.routes.items():
            self._domains[parse_domain(domain)] = _parse_proxies("routes", texts)
        self.any = bool(self._default or self._domains)  #: whether there is any at all

    def of(self, uri: Uri) -> Sequence[SipUri]:
        """The proxies, best first, of requests outside dialogs; none: straight to the URI."""
        if self._domains and isinstance(uri, SipUri):
            host = uri.host.lower().rstrip(".")
            found = self._domains.get(host)
            while found is None and "." in host:
                host = host.partition(".")[2]
                found = self._domains.get("*." + host)
            if found is not None:
                return found
        return self._default


class Router:
    """Finds the targets of requests.  Owned by the user agent."""

    def __init__(
        self,
        settings: SipSettings,
        timers: Timers,
        random: Callable[[int], bytes],
        resolver: Resolver,
    ) -> None:
        """Raises ConfigError for proxies that can't be used."""
        self.dead = DeadTargets(timers, settings.blacklist_time)
        self._proxies = Proxies(settings)
        self._locator = Locator(resolver, timers, random, settings)

    def close(self) -> None:
        """Forget all look-ups, without a word to those who wait."""
        self._locator.close()

    def hops(self, request: Request) -> Sequence[Hop]:
        """Where a request may go next, best first (§8.1.2).  Raises SipSyntaxError."""
        if request.strictly_routed:
            return (Hop(request.target),)
        if request.has_route:
            return (Hop(request.routes[0].uri),)
        if self._proxies.any and request.to.tag is None:
            proxies = self._proxies.of(request.target)
            if proxies:
                return [
                    Hop(proxy, f"<{proxy.text}>" if proxy.is_loose_router else "")
                    for proxy in proxies
                ]
        return (Hop(request.target),)

    def locate_now(self, request: Request) -> list[Target] | None:
        """The targets of a request, best first, if no look-up is needed; else None.

        Raises SipSyntaxError for a bad URI.
        """
        secure = is_secure(request.uri)
        if not self._proxies.any and not request.has_route:
            targets = self._locator.locate_now(request.target, secure=secure)
            return self.dead.sort(targets) if targets else targets
        found: list[Target] = []
        for hop in self.hops(request):
            targets = self._locator.locate_now(hop.uri, secure=secure)
            if targets is None:
                return None
            found += _routed(targets, hop)
        return self.dead.sort(found)

    def locate(self, request: Request, on_targets: OnTargets) -> None:
        """The same, with look-ups; possibly at once.  ``on_targets`` is called exactly once."""
        hops = self.hops(request)
        secure = is_secure(request.uri)
        found: dict[int, list[Target]] = {}

        def located(number: int, targets: list[Target]) -> None:
            found[number] = _routed(targets, hops[number])
            if len(found) == len(hops):
                in_order = [target for each in sorted(found) for target in found[each]]
                on_targets(self.dead.sort(in_order))

        for number, hop in enumerate(hops):
            self._locator.locate(hop.uri, partial(located, number), secure=secure)


def _routed(targets: list[Target], hop: Hop) -> list[Target]:
    return [target._replace(route=hop.route) for target in targets] if hop.route else targets


def first_hop(settings: SipSettings, uri: Uri) -> Uri:
    """Where a request outside of dialogs goes next, as far as one can tell without a look-up."""
    proxies = Proxies(settings).of(uri) if settings.outbound_proxy or settings.routes else ()
    return proxies[0] if proxies else uri


def goes_over_tls(ruri: str, settings: SipSettings) -> bool:
    """Whether a request outside a dialog goes over TLS, whichever of its next hops is taken.

    False for what is no URI.  No DNS record turns a True into anything else.
    """
    listen = [text[:4].lower() for text in settings.listen]
    if "tls:" not in listen:
        return False
    try:
        uri = parse_uri(ruri)
    except SipError:
        return False
    hops: Sequence[Uri] = Proxies(settings).of(uri) or (uri,)
    only_tls = all(one == "tls:" for one in listen)
    return all(
        isinstance(hop, SipUri)
        and (
            is_secure(ruri)
            or hop.scheme == "sips"
            or hop.transport == "tls"
            or (hop.transport is None and only_tls)
        )
        for hop in hops
    )


def _parse_proxies(key: str, texts: str | Sequence[str]) -> tuple[SipUri, ...]:
    uris = []
    for text in (texts,) if isinstance(texts, str) else texts:
        try:
            uri = parse_uri(text)
        except SipError as error:
            raise ConfigError([f"[sip] {key}: {text!r}: {error.reason}"]) from None
        if not isinstance(uri, SipUri):
            raise ConfigError([f"[sip] {key}: {text!r} is no sip: URI"])
        uris.append(uri)
    return tuple(uris)


def parse_domain(text: str) -> str:
    """Read ``DOMAIN`` or ``*.DOMAIN``; lower case.  Raises ConfigError."""
    domain = text.lower().rstrip(".")
    try:
        uri = parse_uri("sip:" + domain.removeprefix("*."))
    except SipError:
        uri = None
    if not isinstance(uri, SipUri) or uri.host != domain.removeprefix("*."):
        raise ConfigError([f"[sip] routes: {text!r} must read DOMAIN or *.DOMAIN"])
    return domain
