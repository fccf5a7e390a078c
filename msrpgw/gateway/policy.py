"""The policy of the configuration file: key templates, routes, refusals.

Imports templates, settings, sip's URIs and the public types.
"""

from collections.abc import Callable, Mapping

from zope.interface import alsoProvides, implementer

from msrpgw.errors import ConfigError, SipSyntaxError, UriError
from msrpgw.gateway.settings import PolicySettings
from msrpgw.gateway.templates import Template
from msrpgw.interfaces import IAddressPolicy, IPolicy
from msrpgw.sip.fields import parse_name_addrs
from msrpgw.sip.headers import header_key
from msrpgw.sip.uri import parse_uri
from msrpgw.types import Address, Refusal, RequestFacts, Route

Field = Callable[[RequestFacts], str]


def _received(address: Address) -> str:
    return address.received or address.uri


def _header(facts: RequestFacts, name: str) -> str:
    """A header's first value, also when it was sent in compact form (RFC 3261 §7.3.3)."""
    wanted = header_key(name)
    for found, value in facts.headers:
        if header_key(found) == wanted:
            return value
    return ""


def _asserted_identity(facts: RequestFacts) -> str:
    """The first URI of P-Asserted-Identity, canonical; empty when there is none.

    RFC 3325 §9.1: there may be two, a sip URI and a tel URI.
    """
    try:
        addresses = parse_name_addrs(_header(facts, "P-Asserted-Identity"))
    except SipSyntaxError:
        return ""
    return addresses[0].uri.canonical() if addresses else ""


_ADDRESSES: dict[str, Field] = {
    "ruri_user": lambda facts: facts.ruri.user,
    "ruri_host": lambda facts: facts.ruri.host,
    "ruri_aor": lambda facts: facts.ruri.aor,
    "from_user": lambda facts: facts.from_.user,
    "from_host": lambda facts: facts.from_.host,
    "from_aor": lambda facts: facts.from_.aor,
    "to_user": lambda facts: facts.to.user,
    "to_host": lambda facts: facts.to.host,
    "to_aor": lambda facts: facts.to.aor,
}

#: fields that depend on nothing but the addresses of a request
_OF_ADDRESSES = {*_ADDRESSES, "ruri", "from_uri", "to_uri"}

_COMMON: dict[str, Field] = {
    **_ADDRESSES,
    "pai": _asserted_identity,
    "method": lambda facts: facts.method,
    "source_ip": lambda facts: facts.source_ip,
    "source_port": lambda facts: str(facts.source_port),
    "transport": lambda facts: facts.transport,
}

#: in keys: canonical, so that small differences between two clients don't split a conversation
KEY_FIELDS: Mapping[str, Field] = {
    **_COMMON,
    "ruri": lambda facts: facts.ruri.uri,
    "from_uri": lambda facts: facts.from_.uri,
    "to_uri": lambda facts: facts.to.uri,
}

#: in URIs to call: as received, with parameters such as ``transport`` and ``user``
URI_FIELDS: Mapping[str, Field] = {
    **_COMMON,
    "ruri": lambda facts: _received(facts.ruri),
    "from_uri": lambda facts: _received(facts.from_),
    "to_uri": lambda facts: _received(facts.to),
}


@implementer(IPolicy)
class TemplatePolicy:
    """Fills in the templates of ``[policy]``.

    Raises ConfigError with every template that can't be read.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._content_types = settings.content_types
        self._congestion_safe = settings.congestion_safe
        self._problems: list[str] = []
        self._message_key = self._compile(settings, "message_key", KEY_FIELDS)
        self._invite_key = self._compile(settings, "invite_key", KEY_FIELDS)
        self._message_uris = self._compile_uris(
            settings, ("invite_from", "invite_to", "invite_ruri")
        )
        self._invite_uris = self._compile_uris(
            settings, ("message_from", "message_to", "message_ruri")
        )
        if self._problems:
            raise ConfigError(self._problems)
        templates = [self._message_key, *(template for _, template in self._message_uris)]
        if all(template.names <= _OF_ADDRESSES for template in templates):
            alsoProvides(self, IAddressPolicy)

    def _compile(
        self, settings: PolicySettings, key: str, fields: Mapping[str, Field]
    ) -> Template[RequestFacts]:
        try:
            return Template(getattr(settings, key), fields, _header)
        except ValueError as error:
            self._problems.append(f"[policy] {key}: {error}")
            return Template("", fields)

    def _compile_uris(
        self, settings: PolicySettings, keys: tuple[str, ...]
    ) -> list[tuple[str, Template[RequestFacts]]]:
        return [(key, self._compile(settings, key, URI_FIELDS)) for key in keys]

    def route_message(self, facts: RequestFacts) -> Route | Refusal:
        """Say where a MESSAGE belongs."""
        return self._route(facts, self._message_key, self._message_uris)

    def route_invite(self, facts: RequestFacts) -> Route | Refusal:
        """Say where an initial INVITE belongs."""
        return self._route(facts, self._invite_key, self._invite_uris)

    def _route(
        self,
        facts: RequestFacts,
        key: Template[RequestFacts],
        uris: list[tuple[str, Template[RequestFacts]]],
    ) -> Route | Refusal:
        rendered = []
        for name, template in uris:
            uri = template.render(facts)
            try:
                parse_uri(uri)
            except UriError:
                return Refusal(400, f"No URI for {name} in this request")
            rendered.append(uri)
        found = key.render(facts)
        if not found:
            return Refusal(400, "No session key in this request")
        return Route(
            found,
            rendered[0],
            rendered[1],
            rendered[2],
            self._content_types,
            self._congestion_safe,
        )
