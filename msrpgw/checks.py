"""What can't be configured, although each value by itself has the right type.

Imports the rooms' settings and their parsers of what stands in them.  ``find_problems`` is the
way in; each other function looks at one subject and yields what is wrong with it.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from msrpgw.auth.settings import AuthSettings, find_auth_problems
from msrpgw.content.media import parse_media_type
from msrpgw.dns.settings import DnsSettings
from msrpgw.dns.settings import find_problems as find_dns_problems
from msrpgw.errors import ConfigError, MsrpSyntaxError, UriError
from msrpgw.gateway.notices import compile_templates
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.settings import (
    DeliverySettings,
    GatewaySettings,
    NoticeSettings,
    PolicySettings,
)
from msrpgw.journal.settings import JournalSettings
from msrpgw.manage.settings import ManageSettings
from msrpgw.manage.settings import find_problems as find_manage_problems
from msrpgw.manage.sinks.settings import (
    EventSettings,
    RecordSettings,
    find_event_problems,
    find_record_problems,
)
from msrpgw.msrp.relay import check_relay
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import parse_msrp_uri
from msrpgw.sip.registration import find_registration_problems
from msrpgw.sip.routing import parse_domain
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.sources import SecuritySettings, parse_source
from msrpgw.tls.contexts import find_problems as find_tls_problems
from msrpgw.tls.settings import TlsSettings

#: table -> keys that the file or the command line gives
Given = Mapping[str, Collection[str]]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    table: str
    key: str
    text: str
    #: keys that this follows from; no use to report it when one of them is wrong by itself
    depends_on: tuple[tuple[str, str], ...] = ()


class Listener(msgspec.Struct, frozen=True):
    """An address that something is to listen on."""

    transport: str  #: "udp", "tcp" or "tls"
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int  #: 0: the system chooses

    def overlaps(self, other: "Listener") -> bool:
        """Whether both can't be had at the same time."""
        return (
            (self.transport == "udp") == (other.transport == "udp")
            and self.port == other.port != 0
            and self.address.version == other.address.version
            and (
                self.address == other.address
                or self.address.is_unspecified
                or other.address.is_unspecified
            )
        )


def find_problems(
    sip: SipSettings,
    msrp: MsrpSettings,
    gateway: GatewaySettings,
    delivery: DeliverySettings,
    journal: JournalSettings,
    manage: ManageSettings,
    policy: PolicySettings,
    notice: NoticeSettings,
    events: EventSettings,
    records: RecordSettings,
    tls: TlsSettings,
    security: SecuritySettings,
    auth: AuthSettings,
    dns: DnsSettings,
    given: Given,
) -> Iterator[Problem]:
    """Everything that is wrong, table by table."""
    sip_listeners: list[Listener] = []
    msrp_listeners: list[Listener] = []
    yield from _check_listen(sip, sip_listeners)
    yield from _check_sip(sip, sip_listeners)
    yield from _check_tls(tls, sip_listeners)
    try:
        msrp_listeners.append(parse_listener(msrp.listen, "tcp"))
    except ValueError as error:
        yield Problem("msrp", "listen", str(error))
    msrps_listeners: list[Listener] = []
    yield from _check_msrps(msrp, tls, msrp_listeners, msrps_listeners)
    yield from _check_ports_apart(sip_listeners, msrp_listeners, "listen")
    yield from _check_ports_apart(sip_listeners, msrps_listeners, "listen_tls")
    yield from _check_msrp(msrp, msrp_listeners)
    for key, text in find_dns_problems(dns):
        yield Problem("dns", key, text)
    yield from _check_limits(sip, msrp, gateway, journal)
    yield from _check_delivery(delivery)
    for key, text in find_manage_problems(manage):
        yield Problem("manage", key, text)
    yield from _check_policy(policy, given)
    yield from _check_notice(notice)
    yield from _check_events(events)
    for key, text in find_record_problems(records):
        yield Problem("records", key, text)
    yield from _check_security(security, sip_listeners, msrp_listeners, msrps_listeners, auth)
    for key, text in find_auth_problems(auth):
        yield Problem("auth", key, text)


def parse_sip_listener(text: str) -> Listener:
    """Read ``udp:ADDRESS:PORT``, the same with tcp or tls.  Raises ValueError."""
    transport, colon, rest = text.partition(":")
    if transport in ("ws", "wss"):
        raise ValueError(f"{text!r}: {transport} is not supported yet, use udp, tcp or tls")
    if not colon or transport not in ("udp", "tcp", "tls"):
        raise ValueError(f"{text!r} must read udp:ADDRESS:PORT, or the same with tcp or tls")
    return parse_listener(rest, transport)


def parse_listener(text: str, transport: str) -> Listener:
    """Read ``ADDRESS:PORT``, IPv6 in brackets.  Raises ValueError saying what is wrong."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} must read ADDRESS:PORT, with an IP address") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{text!r}: brackets belong around an IPv6 address, and only there")
    return Listener(transport, address, _parse_port(text, port, lowest=0))


def _parse_port(text: str, port: str, lowest: int) -> int:
    if not (port.isascii() and port.isdigit() and lowest <= int(port) <= 65535):
        raise ValueError(f"{text!r}: {port!r} is no port number")
    return int(port)


def _check_listen(sip: SipSettings, listeners: list[Listener]) -> Iterator[Problem]:
    if not sip.listen:
        yield Problem("sip", "listen", "must name at least one address")
    for text in sip.listen:
        try:
            listener = parse_sip_listener(text)
        except ValueError as error:
            yield Problem("sip", "listen", str(error))
            continue
        if any(listener.overlaps(other) for other in listeners):
            yield Problem("sip", "listen", f"{text!r} takes an address that is taken already")
        listeners.append(listener)


def _check_sip(sip: SipSettings, listeners: list[Listener]) -> Iterator[Problem]:
    for text in _texts(sip.advertised_contact):
        try:
            _parse_reachable(text)
        except ValueError as error:
            yield Problem("sip", "advertised_contact", str(error))
    for key, texts in (("outbound_proxy", sip.outbound_proxy), *_routes(sip)):
        for text in _texts(texts):
            try:
                _check_proxy(text, listeners)
            except ValueError as error:
                yield Problem("sip", key, str(error), (("sip", "listen"),))
    for domain in sip.routes:
        try:
            parse_domain(domain)
        except ConfigError as error:
            yield from map(_located, error.problems)
    for text in find_registration_problems(sip.registrations):
        yield Problem("sip", "registrations", text)
    for key in ("t1", "t2", "t4", "timer_c", "connect_timeout"):
        if getattr(sip, key) == 0:
            yield Problem("sip", key, "must be more than 0")
    if 0 < sip.session_expires < sip.min_se:
        yield Problem(
            "sip", "session_expires", "must be 0, or not less than min_se", (("sip", "min_se"),)
        )
    if sip.t2 < sip.t1:
        yield Problem("sip", "t2", "must not be less than t1", (("sip", "t1"),))
    if not sip.user_agent.isprintable() or not sip.user_agent.strip():
        yield Problem("sip", "user_agent", "must be one line of printable characters")


def _texts(texts: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts or ()


def _routes(sip: SipSettings) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    for domain, texts in sip.routes.items():
        yield f"routes.{domain}", texts


def _parse_reachable(text: str) -> None:
    """Check ``host[:port]`` that others are to reach us at.  Raises ValueError."""
    uri = _parse_sip_uri(f"sip:{text}")
    if uri.user or uri.parameters or uri.headers:
        raise ValueError(f"{text!r} must read HOST or HOST:PORT")
    _refuse_wildcard(text, uri.host)


def _parse_sip_uri(text: str) -> SipUri:
    try:
        uri = parse_uri(text)
    except UriError as error:
        raise ValueError(f"{text!r}: {error.reason}") from error
    if isinstance(uri, SipUri):
        return uri
    raise ValueError(f"{text!r} must be a sip: URI")


def _refuse_wildcard(text: str, host: str) -> None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return  # a name
    if address.is_unspecified:
        raise ValueError(f"{text!r} is a wildcard address: peers can't reach that")


def _check_proxy(text: str, listeners: list[Listener]) -> None:
    uri = _parse_sip_uri(text)
    wanted = (uri.transport or ("tls" if uri.scheme == "sips" else "udp")).lower()
    if wanted not in ("udp", "tcp", "tls"):
        raise ValueError(f"{text!r}: transport {wanted} is not supported, use udp, tcp or tls")
    if uri.scheme == "sips":
        if wanted == "udp":
            raise ValueError(f"{text!r}: sips never goes over udp")
        wanted = "tls"
    # TCP needs no listener: responses come back over the connection that we make.  So do those
    # of TLS, but a peer's requests would not reach us.
    if wanted != "tcp" and listeners and all(each.transport != wanted for each in listeners):
        raise ValueError(f"{text!r} is reached over {wanted}: [sip] listen has no {wanted}")


def _check_tls(tls: TlsSettings, sip: list[Listener]) -> Iterator[Problem]:
    found = find_tls_problems(tls)
    for key, text in found:
        yield Problem("tls", key, text)
    if not tls.certificate and any(each.transport == "tls" for each in sip):
        yield Problem(
            "sip", "listen", "has tls, which needs a [tls] certificate", (("tls", "certificate"),)
        )


def _check_msrps(
    msrp: MsrpSettings, tls: TlsSettings, plain: list[Listener], listeners: list[Listener]
) -> Iterator[Problem]:
    if msrp.listen_tls is None:
        for key in ("my_uri_tls", "require_tls"):
            if getattr(msrp, key):
                yield Problem("msrp", key, "has no effect without listen_tls")
        return
    try:
        listener = parse_listener(msrp.listen_tls, "tls")
    except ValueError as error:
        yield Problem("msrp", "listen_tls", str(error))
        return
    listeners.append(listener)
    if any(listener.overlaps(other) for other in plain):
        yield Problem("msrp", "listen_tls", "takes the address of listen", (("msrp", "listen"),))
    if not tls.certificate:
        yield Problem("msrp", "listen_tls", "needs a [tls] certificate", (("tls", "certificate"),))
    if msrp.my_uri_tls is not None:
        try:
            _check_my_uri(msrp.my_uri_tls, "msrps")
        except ValueError as error:
            yield Problem("msrp", "my_uri_tls", str(error))
    elif listener.address.is_unspecified:
        yield Problem(
            "msrp",
            "my_uri_tls",
            "must be set when [msrp] listen_tls is a wildcard address: peers can't connect to that",
            (("msrp", "listen_tls"),),
        )


def _check_ports_apart(sip: list[Listener], msrp: list[Listener], key: str) -> Iterator[Problem]:
    for listener in msrp:
        if any(listener.overlaps(other) for other in sip):
            yield Problem("msrp", key, "takes an address of [sip] listen", (("sip", "listen"),))


def _check_msrp(msrp: MsrpSettings, listeners: list[Listener]) -> Iterator[Problem]:
    if msrp.my_uri is not None:
        try:
            _check_my_uri(msrp.my_uri, "msrp")
        except ValueError as error:
            yield Problem("msrp", "my_uri", str(error))
    elif any(listener.address.is_unspecified for listener in listeners):
        yield Problem(
            "msrp",
            "my_uri",
            "must be set when [msrp] listen is a wildcard address: peers can't connect to that",
            (("msrp", "listen"),),
        )
    if msrp.relay_uri is not None:
        try:
            check_relay(msrp)
        except ValueError as error:
            yield Problem("msrp", "relay_uri", str(error))
    elif msrp.relay_password_file is not None:
        yield Problem("msrp", "relay_password_file", "needs relay_uri")
    for key in ("transaction_timeout", "assembly_timeout", "bind_timeout", "connect_timeout"):
        if getattr(msrp, key) == 0:
            yield Problem("msrp", key, "must be more than 0")


def _check_my_uri(text: str, scheme: str) -> None:
    try:
        uri = parse_msrp_uri(text if ";" in text else f"{text};tcp")
    except MsrpSyntaxError as error:
        raise ValueError(f"{text!r}: {error.comment}") from error
    if uri.scheme != scheme or uri.session_id or uri.userinfo:
        raise ValueError(f"{text!r} must read {scheme}://HOST or {scheme}://HOST:PORT")
    _refuse_wildcard(text, uri.host)


def _check_delivery(delivery: DeliverySettings) -> Iterator[Problem]:
    if delivery.retry_interval > delivery.retry_max:
        yield Problem(
            "delivery",
            "retry_max",
            f"is less than retry_interval ({delivery.retry_interval:g})",
            (("delivery", "retry_interval"),),
        )


def _check_limits(
    sip: SipSettings, msrp: MsrpSettings, gateway: GatewaySettings, journal: JournalSettings
) -> Iterator[Problem]:
    if msrp.max_size > msrp.assembly_budget:
        yield Problem(
            "msrp",
            "assembly_budget",
            f"has no room for one message of max_size ({msrp.max_size} bytes)",
            (("msrp", "max_size"),),
        )
    for table, key, size in (
        ("sip", "max_message_size", sip.max_message_size),
        ("msrp", "max_size", msrp.max_size),
    ):
        for where, limit, room in (
            ("gateway", "queue_bytes", gateway.queue_bytes),
            ("journal", "max_bytes", journal.max_bytes),
        ):
            if size > room:
                yield Problem(
                    where,
                    limit,
                    f"has no room for one message of [{table}] {key} ({size} bytes)",
                    ((table, key),),
                )
    if gateway.queue_limit > gateway.total_queue_limit:
        yield Problem(
            "gateway",
            "total_queue_limit",
            f"is less than queue_limit ({gateway.queue_limit}), which is for one session",
            (("gateway", "queue_limit"),),
        )
    if gateway.backoff > gateway.backoff_max:
        yield Problem(
            "gateway",
            "backoff_max",
            f"is less than backoff ({gateway.backoff:g})",
            (("gateway", "backoff"),),
        )


def _check_policy(policy: PolicySettings, given: Given) -> Iterator[Problem]:
    if policy.plugin is not None:
        for key in given.get("policy", ()):
            if key not in ("plugin", "options"):
                yield Problem("policy", key, "has no effect beside plugin, which decides it all")
        return
    if policy.options:
        yield Problem("policy", "options", "has no effect without plugin")
    if not policy.content_types:
        yield Problem("policy", "content_types", "must name at least one content type")
    for text in policy.content_types:
        yield from _check_content_type("policy", "content_types", text, wildcards=True)
    try:
        TemplatePolicy(policy)
    except ConfigError as error:
        yield from map(_located, error.problems)


def _check_notice(notice: NoticeSettings) -> Iterator[Problem]:
    yield from _check_content_type("notice", "content_type", notice.content_type)
    try:
        compile_templates(notice)
    except ConfigError as error:
        yield from map(_located, error.problems)


def _located(text: str) -> Problem:
    """A problem of a room that says ``[table] key: text`` itself."""
    match = re.fullmatch(r"\[(\w+)\] (\w+): (.*)", text, re.DOTALL)
    return Problem(match[1], match[2], match[3]) if match else Problem("policy", "", text)


def _check_content_type(
    table: str, key: str, text: str, *, wildcards: bool = False
) -> Iterator[Problem]:
    if wildcards and text == "*":
        return
    try:
        media_type = parse_media_type(text)
    except ValueError:
        yield Problem(table, key, f"{text!r} is no content type")
        return
    if media_type.subtype == "*" and not wildcards:
        yield Problem(table, key, f"{text!r} must be one content type, not many")


def _check_events(events: EventSettings) -> Iterator[Problem]:
    for key, text in find_event_problems(events):
        yield Problem("events", key, text)
    yield from _check_once("events", "plugins", events.plugins)
    for name in events.options:
        if name not in events.plugins:
            yield Problem(
                "events",
                f"options.{name}",
                "has no effect: plugins does not name it",
                (("events", "plugins"),),
            )


def _check_once(table: str, key: str, texts: Iterable[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            yield Problem(table, key, f"{text!r} stands there twice")
        seen.add(text)


def _check_security(
    security: SecuritySettings,
    sip: list[Listener],
    msrp: list[Listener],
    msrps: list[Listener],
    auth: AuthSettings,
) -> Iterator[Problem]:
    for text in security.trusted_sources:
        try:
            parse_source(text)
        except ValueError as error:
            yield Problem("security", "trusted_sources", str(error))
    yield from _check_once("security", "trusted_sources", security.trusted_sources)
    yield from _check_once("security", "trusted_names", security.trusted_names)
    if security.trusted_sources or security.open or security.trusted_names or auth.realm:
        return
    for table, key, listeners in (
        ("sip", "listen", sip),
        ("msrp", "listen", msrp),
        ("msrp", "listen_tls", msrps),
    ):
        exposed = [str(each.address) for each in listeners if not each.address.is_loopback]
        if exposed:
            yield Problem(
                table,
                key,
                f"{', '.join(dict.fromkeys(exposed))} is not loopback: name who may send in"
                " [security] trusted_sources, have users prove who they are with [auth] realm,"
                " or set open = true in [security] if anybody may",
                (("security", "trusted_sources"), ("security", "open")),
            )
