"""URIs: ``sip:``, ``sips:``, ``tel:`` and all others (RFC 3261 §19.1, RFC 3966, RFC 8141).

URIs are values: parsed once, shared by the cache of ``parse_uri``, never changed.
"""

import ipaddress
import re
import sys
from functools import lru_cache
from typing import Final

from msrpgw.errors import UriError
from msrpgw.sip.grammar import Parameter, find_parameter, render_parameters

_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
_USER_CHARS = _UNRESERVED + r"&=+$,;?/"
_ESCAPED = "%[0-9A-Fa-f]{2}"
# Only single characters are repeated possessively: before Python 3.11.5, groups that are give
# back their captures and their place wrongly (CPython issue 106052).
_PARAMETER = rf"(?:[{_UNRESERVED}\[\]/:&+$]++|{_ESCAPED})+"
_HEADER = rf"(?:[{_UNRESERVED}\[\]/?:+$]|{_ESCAPED})"

#: hostname, IPv4 address or IPv6 reference; ``_`` is not in the RFC but in many a local DNS
HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.\-]*+"

# The ABNF of §25.1 as it stands; no two alternatives can start with the same character after
# the "@" was found, so matching is linear.
_SIP = re.compile(
    rf"(sips?):"
    rf"(?:((?:[{_USER_CHARS}]++|{_ESCAPED})+)(?::((?:[{_UNRESERVED}&=+$,]++|{_ESCAPED})*))?@)?"
    rf"({HOST})(?::([0-9]{{1,5}}))?"
    rf"((?:;{_PARAMETER}(?:={_PARAMETER})?)*)"
    rf"(?:\?({_HEADER}+={_HEADER}*(?:&{_HEADER}+={_HEADER}*)*))?",
    re.ASCII | re.IGNORECASE,  # without ASCII, the Kelvin sign would be a K
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+:")
_OPAQUE = re.compile(r"[!#-;=?-\[\]^_`a-z{|}~]++")  # visible ASCII but quotes, <, > and backslash
_TEL = re.compile(
    r"(\+(?=[\-.()]*[0-9])[0-9\-.()]++|(?=[\-.()]*[0-9A-Fa-f*#])[0-9A-Fa-f*#\-.()]++)"
    rf"((?:;[A-Za-z0-9\-]++(?:={_PARAMETER})?)*)"
)
_TEL_VISUAL = str.maketrans("", "", "-.()")
_TEL_IDENTITY = ("ext", "isub", "phone-context")
_PERCENT = re.compile(_ESCAPED)
_PLAIN = re.compile(f"[{_UNRESERVED}]")
_TO_ESCAPE = re.compile(rf"%(?![0-9A-Fa-f]{{2}})|[^{_USER_CHARS}%]")

#: what is wrong most often, by name
_SEEN_IN_URIS = {" ": "space", "\t": "tab", "<": "angle bracket", ">": "angle bracket"}
_DEFAULT_PORTS = {"sip": 5060, "sips": 5061}
_COMPARED = frozenset({"user", "ttl", "method", "maddr", "transport"})
_CACHED_LENGTH = 256  # longer URIs are rare; they must not fill the cache
#: two users for each of 10,000 sessions: a cache that is too small for those who take turns never
#: hits, which made a message 20 % dearer than with 100 sessions
CACHE_SIZE = 32_768


def _normal_escape(match: "re.Match[str]") -> str:
    """§19.1.4: an escaped character equals itself, unless it is a reserved one."""
    character = chr(int(match[0][1:], 16))
    return character if _PLAIN.fullmatch(character) else match[0].upper()


def _normal(text: str) -> str:
    return _PERCENT.sub(_normal_escape, text) if "%" in text else text


def canonical_host(host: str) -> str:
    """A host in lower case, an IPv6 reference in its shortest form (RFC 5952)."""
    if host[:1] != "[":
        return host.lower()
    # RFC 5118 §4.10: the ABNF of RFC 3261 lets a third colon in; it means nothing.
    address = ipaddress.IPv6Address(host[1:-1].replace(":::", "::"))
    mapped = address.ipv4_mapped
    return f"[::ffff:{mapped}]" if mapped else f"[{address}]"


class Uri:
    """What all URIs have in common.  Immutable; equal when written the same."""

    __slots__ = ("_canonical", "host", "port", "scheme", "text", "user")

    def __init__(
        self, scheme: str, text: str, user: str = "", host: str = "", port: int | None = None
    ) -> None:
        self.scheme: Final = scheme  #: lower case
        self.text: Final = text  #: the whole URI as received
        self.user: Final = user  #: user part as received, a tel URI's number; "" without one
        self.host: Final = host  #: as received, IPv6 in brackets; "" for schemes without one
        self.port: Final = port  #: None when absent
        self._canonical = ""

    def render(self) -> str:
        """The URI as it goes onto the wire."""
        return self.text

    def canonical(self) -> str:
        """What is the same for all ways to write this URI: for keys, not for sending."""
        if not self._canonical:
            self._canonical = self._make_canonical()
        return self._canonical

    def _make_canonical(self) -> str:
        raise NotImplementedError

    def parameter(self, name: str) -> str | None:
        """The value of a parameter: "" when it has none, None when it is absent."""
        return None

    def has_parameter(self, name: str) -> bool:
        """Whether there is such a parameter, with or without a value."""
        return self.parameter(name) is not None

    def equivalent(self, other: "Uri") -> bool:
        """Whether both name the same resource, by the rules of their scheme."""
        return self.canonical() == other.canonical()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uri) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class SipUri(Uri):
    """A ``sip:`` or ``sips:`` URI (RFC 3261 §19.1.1)."""

    __slots__ = ("headers", "parameters", "password")

    def __init__(
        self,
        scheme: str,
        user: str,
        password: str,
        host: str,
        port: int | None,
        parameters: tuple[Parameter, ...] = (),
        headers: str = "",
        text: str = "",
    ) -> None:
        if not text:
            secret = f":{password}" if password else ""
            text = (
                f"{scheme}:{user}{secret}{'@' if user else ''}{host}"
                f"{'' if port is None else f':{port}'}{render_parameters(parameters)}"
                f"{'?' if headers else ''}{headers}"
            )
        super().__init__(scheme, text, user, host, port)
        self.password: Final = password  #: "" without one
        self.parameters: Final = parameters  #: in order, as received
        self.headers: Final = headers  #: what follows ``?``, still escaped

    def parameter(self, name: str) -> str | None:
        """The value of a parameter: "" when it has none, None when it is absent."""
        parameters = self.parameters
        return find_parameter(parameters, name.lower()) if parameters else None

    @property
    def is_loose_router(self) -> bool:
        """Whether ``;lr`` is there (§16.12)."""
        return self.has_parameter("lr")

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case."""
        transport = self.parameter("transport")
        return transport.lower() if transport else None

    def without(self, *names: str) -> "SipUri":
        """The same without some parameters (names in lower case) and without headers."""
        kept = tuple(item for item in self.parameters if item[0].lower() not in names)
        return SipUri(self.scheme, self.user, self.password, self.host, self.port, kept)

    def _make_canonical(self) -> str:
        user = f"{_normal(self.user)}@" if self.user else ""
        port = self.port
        shown = "" if port is None or port == _DEFAULT_PORTS[self.scheme] else f":{port}"
        return f"{self.scheme}:{user}{canonical_host(self.host)}{shown}"

    def equivalent(self, other: Uri) -> bool:
        """Compare by §19.1.4: not transitive, so not for keys."""
        if not isinstance(other, SipUri):
            return False
        if (
            self.scheme != other.scheme
            or _normal(self.user) != _normal(other.user)
            or _normal(self.password) != _normal(other.password)
            or canonical_host(self.host) != canonical_host(other.host)
            or self.port != other.port
        ):
            return False
        mine, theirs = _folded(self.parameters), _folded(other.parameters)
        shared = mine.keys() & theirs.keys()
        lone = mine.keys() ^ theirs.keys()
        return (
            all(mine[name] == theirs[name] for name in shared)
            and not lone & _COMPARED
            and _folded_headers(self.headers) == _folded_headers(other.headers)
        )


def _folded(parameters: tuple[Parameter, ...]) -> dict[str, str]:
    return {_normal(name).lower(): _normal(value or "").lower() for name, value in parameters}


def _folded_headers(headers: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in headers.split("&")) if headers else ()
    return sorted((_normal(name).lower(), _normal(value)) for name, _, value in pairs)


class TelUri(Uri):
    """A telephone number (RFC 3966)."""

    __slots__ = ("parameters",)

    def __init__(self, text: str, number: str, parameters: tuple[Parameter, ...]) -> None:
        super().__init__("tel", text, number)  # visual separators included
        self.parameters: Final = parameters  #: in order, as received

    def parameter(self, name: str) -> str | None:
        """The value of a parameter: "" when it has none, None when it is absent."""
        return find_parameter(self.parameters, name.lower())

    def _make_canonical(self) -> str:
        # RFC 3966 §4: separators mean nothing, but these parameters belong to the number.
        folded = _folded(self.parameters)
        context = "".join(f";{name}={folded[name]}" for name in _TEL_IDENTITY if name in folded)
        return f"tel:{self.user.translate(_TEL_VISUAL).lower()}{context}"


class OtherUri(Uri):
    """A URI of a scheme that SIP doesn't look into, for example ``urn:service:sos``."""

    __slots__ = ()

    def _make_canonical(self) -> str:
        rest = self.text[len(self.scheme) + 1 :]
        if self.scheme == "urn":  # RFC 8141 §3: the namespace has no case either
            namespace, colon, specific = rest.partition(":")
            rest = f"{namespace.lower()}{colon}{specific}"
        return f"{self.scheme}:{rest}"


def parse_uri(text: str) -> Uri:
    """Parse a URI of any scheme.

    Raises UriError for what is no URI, or not one of its scheme where we know the scheme.
    """
    return _cached(text) if len(text) <= _CACHED_LENGTH else _parse(text)


def _parse(text: str) -> Uri:
    uri = _parse_sip(text)
    if uri is not None:
        return uri
    for character, name in _SEEN_IN_URIS.items():
        if character in text:
            raise UriError(f"{name} in a URI")
    found = _SCHEME.match(text)
    if found is None:
        raise UriError("URI without a scheme")
    scheme, rest = found[0][:-1].lower(), text[found.end() :]
    if scheme in _DEFAULT_PORTS:
        raise UriError("Malformed SIP URI")
    if scheme == "tel":
        tel = _TEL.fullmatch(rest)
        if tel is None:
            raise UriError("Malformed tel URI")
        return TelUri(text, tel[1], _cut_parameters(tel[2]) if tel[2] else ())
    if _OPAQUE.fullmatch(rest) is None:
        raise UriError("Malformed URI")
    return OtherUri(scheme, text)


def _parse_sip(text: str) -> SipUri | None:
    """Parse a SIP URI; None when the grammar doesn't match, for whatever reason."""
    match = _SIP.fullmatch(text)
    if match is None:
        return None
    scheme, user, password, host, port, parameters, headers = match.groups()
    number = None if port is None else int(port)
    if number is not None and number > 65535:
        raise UriError("URI with a port above 65535")
    if host[0] == "[":
        try:
            canonical_host(host)
        except ValueError:
            raise UriError("URI with a bad IPv6 address") from None
    return SipUri(
        # Interned, since many are kept that have these in common: 110 bytes less for each.
        sys.intern(scheme.lower()),
        user or "",
        password or "",
        sys.intern(host),
        number,
        _cut_parameters(parameters) if parameters else (),
        headers or "",
        text,
    )


_cached = lru_cache(CACHE_SIZE)(_parse)


def _cut_parameters(text: str) -> tuple[Parameter, ...]:
    cut = [item.partition("=") for item in text[1:].split(";")]
    return tuple([(name, value if equals else None) for name, equals, value in cut])


def _escape(match: "re.Match[str]") -> str:
    return "".join(f"%{octet:02X}" for octet in match[0].encode("utf-8", "surrogateescape"))


def make_sip_uri(user: str, host: str, port: int | None = None, **parameters: str | None) -> SipUri:
    """Build a ``sip:`` URI.

    What a user part must not hold is escaped; escapes in it stay.  An IPv6 address gets its
    brackets.  A parameter given as None is written without a value.  Raises UriError.
    """
    if ":" in host and host[:1] != "[":
        host = f"[{host}]"
    made = SipUri("sip", _TO_ESCAPE.sub(_escape, user), "", host, port, tuple(parameters.items()))
    parsed = _parse_sip(made.text)
    if parsed is None:
        raise UriError("Malformed SIP URI")
    return parsed


def is_secure(text: str) -> bool:
    """Whether a URI is a ``sips:`` one, to be reached over TLS on each hop (§26.2.2)."""
    return text[:5].lower() == "sips:"


def default_port(uri: SipUri) -> int:
    """The port of a URI that names none (§19.1.2)."""
    return 5061 if uri.scheme == "sips" or uri.transport == "tls" else 5060
