"""msrp: and msrps: URIs (RFC 4975 §6): parse, render, compare.

Pure: imports only errors.
"""

import sys
from functools import lru_cache

import msgspec

from msrpgw.errors import MsrpSyntaxError

_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: unreserved of RFC 3986 with "+", "=" and "/" (RFC 4975 §9)
_SESSION_ID = frozenset(_ALPHANUMERIC + "-._~+=/")
_TOKEN = frozenset(_ALPHANUMERIC + "!#$%&'*+-.^_`{|}~")
_USERINFO = frozenset(_ALPHANUMERIC + "-._~!$&'()*+,;=%:")
_HOST = frozenset(_ALPHANUMERIC + "-._~")
_IPV6 = frozenset("0123456789abcdefABCDEF:.")

#: most URIs of a path that are read: a longer one only serves to make us work
MAX_PATH = 32


class MsrpUri(msgspec.Struct, frozen=True):
    """One URI of a path.  Invariant: every part follows the grammar."""

    scheme: str  #: "msrp" or "msrps"
    host: str  #: as received; an IPv6 address in brackets
    port: int | None = None
    session_id: str = ""  #: case counts; may hold slashes; empty for a relay
    transport: str = "tcp"
    userinfo: str = ""
    parameters: tuple[tuple[str, str | None], ...] = ()  #: beside the transport

    def render(self) -> str:
        """The URI as it is written on the wire."""
        if self.session_id and self.port is not None and not (self.userinfo or self.parameters):
            # As nearly all are: three times as quick.
            return f"{self.scheme}://{self.host}:{self.port}/{self.session_id};{self.transport}"
        parts = [self.scheme, "://"]
        if self.userinfo:
            parts += self.userinfo, "@"
        parts.append(self.host)
        if self.port is not None:
            parts.append(f":{self.port}")
        if self.session_id:
            parts += "/", self.session_id
        parts += ";", self.transport
        for name, value in self.parameters:
            parts.append(f";{name}" if value is None else f";{name}={value}")
        return "".join(parts)

    def key(self) -> tuple[str, str, int | None, str, str]:
        """What counts in a comparison, as a key for tables (RFC 4975 §6.1).

        The user part and parameters other than the transport don't count.
        """
        return (self.scheme, self.host.lower(), self.port, self.session_id, self.transport.lower())

    def equivalent(self, other: "MsrpUri") -> bool:
        """Whether both name the same session (RFC 4975 §6.1)."""
        return self.key() == other.key()


@lru_cache(maxsize=512)
def parse_msrp_uri(text: str) -> MsrpUri:
    """Read one URI.  Raises MsrpSyntaxError, saying what is wrong."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("msrp", "msrps"):
        raise MsrpSyntaxError("Not an MSRP URI")
    # A session id may hold slashes, so the authority ends at the first of "/" and ";".
    authority_end = min((at for at in (rest.find("/"), rest.find(";")) if at >= 0), default=-1)
    if authority_end < 0:
        raise MsrpSyntaxError("MSRP URI without transport")
    authority, rest = rest[:authority_end], rest[authority_end:]
    resource, *parameters = rest.split(";")
    session_id = resource[1:]
    if not _SESSION_ID.issuperset(session_id):
        raise MsrpSyntaxError("Malformed session-id in MSRP URI")
    if not parameters or not _is_token(parameters[0]):
        raise MsrpSyntaxError("MSRP URI without transport")
    userinfo, _, hostport = authority.rpartition("@")
    if not _USERINFO.issuperset(userinfo):
        raise MsrpSyntaxError("Malformed user part in MSRP URI")
    host, port = _parse_hostport(hostport)
    return MsrpUri(
        # Each session has two URIs, and of these there are few: 160 bytes less for each URI.
        sys.intern(scheme),
        sys.intern(host),
        port,
        session_id,
        sys.intern(parameters[0]),
        userinfo,
        _parse_parameters(parameters[1:]),
    )


def _is_token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


def _parse_hostport(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        host += bracket
        valid = bool(bracket) and _IPV6.issuperset(host[1:-1]) and ":" in host
    else:
        host, colon, port = text.partition(":")
        port = colon + port
        valid = bool(host) and _HOST.issuperset(host)
    if not valid:
        raise MsrpSyntaxError("Malformed host in MSRP URI")
    if not port:
        return host, None
    digits = port[1:]
    if port[0] != ":" or not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise MsrpSyntaxError("Malformed port in MSRP URI")
    number = int(digits)
    if number > 65535:
        raise MsrpSyntaxError("Port out of range in MSRP URI")
    return host, number


def _parse_parameters(texts: list[str]) -> tuple[tuple[str, str | None], ...]:
    parameters: list[tuple[str, str | None]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not _is_token(name) or (equals and not _is_token(value)):
            raise MsrpSyntaxError("Malformed parameter in MSRP URI")
        parameters.append((name, value if equals else None))
    return tuple(parameters)


@lru_cache(maxsize=512)
def parse_path(text: str) -> tuple[MsrpUri, ...]:
    """Read a To-Path, From-Path or a=path.  Raises MsrpSyntaxError when a URI of it is none."""
    uris = text.split()
    if not uris:
        raise MsrpSyntaxError("Empty path")
    if len(uris) > MAX_PATH:
        raise MsrpSyntaxError("Path too long")
    return tuple(map(parse_msrp_uri, uris))


def split_address(text: str) -> tuple[str, int]:
    """Split ``ADDRESS:PORT``; an IPv6 address loses its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def uri_host(host: str) -> str:
    """A host as URIs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
