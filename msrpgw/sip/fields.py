"""Typed header values: Via, addresses, CSeq, numbers (RFC 3261 §20).

Each has a quick way for the shapes that nearly all peers write, matched as a whole or not at
all, and the tokenizer of ``grammar`` for the rest.  Values are never changed once made, so
they may be shared.
"""

import re
from functools import lru_cache, partial
from typing import Final

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.grammar import (
    TOKEN_CHARS,
    Parameter,
    Scanner,
    find_parameter,
    parse_parameters,
    quote,
    render_parameters,
    split_list,
    unquote,
)
from msrpgw.sip.uri import CACHE_SIZE, HOST, Uri, canonical_host, parse_uri

__all__ = [
    "CSeq",
    "NameAddr",
    "Via",
    "parse_contact",
    "parse_cseq",
    "parse_max_forwards",
    "parse_name_addr",
    "parse_name_addrs",
    "parse_number",
    "parse_parameters",
    "parse_via",
    "parse_vias",
    "split_list",
]

_CACHED_LENGTH = 256  # longer values are rare; they must not fill the caches
_ASKED: Parameter = ("rport", None)
_PLAIN_PARAMETERS = rf"(?:;[{TOKEN_CHARS}]++(?:=[{TOKEN_CHARS}:\[\]]++)?)*"


def _cut(text: str) -> tuple[Parameter, ...]:
    """Cut parameters that _PLAIN_PARAMETERS matched."""
    found: list[Parameter] = []
    for item in text[1:].split(";"):
        name, equals, value = item.partition("=")
        found.append((name, value if equals else None))
    return tuple(found)


class Via:
    """One hop of a request (RFC 3261 §20.42)."""

    __slots__ = ("host", "parameters", "port", "protocol", "transport")

    def __init__(
        self,
        transport: str,
        host: str,
        port: int | None = None,
        parameters: tuple[Parameter, ...] = (),
        protocol: str = "SIP/2.0",
    ) -> None:
        self.transport: Final = transport  #: upper case: "UDP", "TCP", "TLS", …
        self.host: Final = host  #: host of sent-by, IPv6 in brackets
        self.port: Final = port  #: port of sent-by, None when absent
        self.parameters: Final = parameters  #: in order, as received
        self.protocol: Final = protocol  #: protocol name and version

    def parameter(self, name: str) -> str | None:
        """The value of a parameter: "" when it has none, None when it is absent."""
        return find_parameter(self.parameters, name)

    def has_parameter(self, name: str) -> bool:
        """Whether there is such a parameter, with or without a value."""
        return find_parameter(self.parameters, name) is not None

    @property
    def branch(self) -> str | None:
        """The transaction identifier (§8.1.1.7); None or "" from RFC 2543 clients."""
        return find_parameter(self.parameters, "branch")

    @property
    def received(self) -> str | None:
        """Address the request came from (§18.2.1), without brackets."""
        received = find_parameter(self.parameters, "received")
        # RFC 5118 §4.5: brackets are wrong here, and common.
        return received.strip("[]") if received else None

    @property
    def rport(self) -> int | None:
        """Port the request came from (RFC 3581); None while it is not filled in."""
        rport = find_parameter(self.parameters, "rport")
        return int(rport) if rport and rport.isascii() and rport.isdigit() else None

    def stamped(self, address: str, port: int) -> "Via":
        """This hop with the source of the request filled in (§18.2.1, RFC 3581 §4).

        ``rport`` is filled in where the client asked for it, ``received`` then too, else only
        where the address is not that of sent-by.
        """
        parameters = self.parameters
        if len(parameters) == 2 and parameters[1] is _ASKED and parameters[0][0] == "branch":
            # As most clients write it; the general way costs twice as much.
            parameters = (parameters[0], ("rport", str(port)), ("received", address))
            return Via(self.transport, self.host, self.port, parameters, self.protocol)
        if _ASKED in parameters and find_parameter(parameters, "received") is None:
            at = parameters.index(_ASKED)
            stamps: tuple[Parameter, ...] = (("rport", str(port)), ("received", address))
            stamped = (*parameters[:at], *stamps, *parameters[at + 1 :])
            return Via(self.transport, self.host, self.port, stamped, self.protocol)
        # What the client wrote into these itself is no truth.
        kept = [item for item in parameters if item[0].lower() not in ("rport", "received")]
        if find_parameter(parameters, "rport") is not None:
            stamps = (("rport", str(port)), ("received", address))
        elif self.host.strip("[]").lower() != address.lower():
            stamps = (("received", address),)
        elif len(kept) == len(parameters):
            return self
        else:
            stamps = ()
        return Via(self.transport, self.host, self.port, (*kept, *stamps), self.protocol)

    def render(self) -> str:
        """The value as it goes onto the wire."""
        sent_by = self.host if self.port is None else f"{self.host}:{self.port}"
        return f"{self.protocol}/{self.transport} {sent_by}{render_parameters(self.parameters)}"


def make_via(transport: str, host: str, port: str | None, branch: str, asked: bool) -> Via:
    """A Via as most clients write it: with a branch, and perhaps asking for ``rport``.

    Raises SipSyntaxError for a port that is none.
    """
    number = int(port) if port else None
    if number is not None and number > 65535:
        raise SipSyntaxError("Bad Via: port above 65535")
    return Via(
        transport, host, number, (("branch", branch), _ASKED) if asked else (("branch", branch),)
    )


_VIA = re.compile(
    rf"SIP/2\.0/([A-Z]++) ((?:[A-Za-z0-9_][A-Za-z0-9_.\-]*+))(?::([0-9]{{1,5}}))?"
    rf"(?:;branch=([{TOKEN_CHARS}]++)(;rport)?|({_PLAIN_PARAMETERS}))"
)
_HOST = re.compile(HOST)
_PORT = re.compile("[0-9]+")


def parse_via(value: str) -> Via:
    """Parse one Via value.  Raises SipSyntaxError."""
    match = _VIA.fullmatch(value)
    if match is not None:
        transport, host, port, branch, asked, others = match.groups()
        if branch:
            return make_via(transport, host, port, branch, asked is not None)
        number = int(port) if port else None
        if number is not None and number > 65535:
            raise SipSyntaxError("Bad Via: port above 65535")
        return Via(transport, host, number, _cut(others) if others else ())
    scanner = Scanner(value, "Via")
    scanner.space()
    name = scanner.token("protocol")
    scanner.slash()
    version = scanner.token("version")
    scanner.slash()
    transport = scanner.token("transport").upper()
    if not scanner.space():
        raise scanner.error("no space before the host")
    host = scanner.take(_HOST, "host")
    if host[0] == "[":
        try:
            canonical_host(host)
        except ValueError:
            raise scanner.error("not an IPv6 address") from None
    scanner.space()
    number = None
    if scanner.peek() == ":":
        scanner.at += 1
        scanner.space()
        number = int(scanner.take(_PORT, "port")[:9])
        if number > 65535:
            raise scanner.error("port above 65535")
    found = scanner.parameters()
    scanner.end()
    return Via(transport, host, number, found, f"{name}/{version}")


_OWN_BRANCH = re.compile(rf";branch=([{TOKEN_CHARS}]++)(?:;[^,\"]*+)?")


def find_branch(value: str) -> str | None:
    """The branch of a Via that is ours, come back with a response; None for want of one.

    Quicker than to parse it all.  None also where only parsing could tell.
    """
    found = _OWN_BRANCH.fullmatch(value, max(0, value.find(";branch=")))
    return found[1] if found is not None else None


def parse_vias(value: str) -> list[Via]:
    """Parse a header line that may hold several Via values.  Raises SipSyntaxError."""
    if "," not in value:
        return [parse_via(value)]
    return [parse_via(item) for item in split_list(value)]


class NameAddr:
    """An address with or without display name: From, To, Contact, Route (§20.10)."""

    __slots__ = ("display_name", "parameters", "tag", "uri", "uri_text")

    def __init__(
        self,
        display_name: str,
        uri: Uri,
        uri_text: str = "",
        parameters: tuple[Parameter, ...] = (),
    ) -> None:
        self.display_name: Final = display_name  #: without quotes and their escapes; "" without one
        self.uri: Final = uri
        self.uri_text: Final = uri_text or uri.text  #: as received
        self.parameters: Final = parameters  #: header parameters, in order, as received
        #: the tag (§19.3); None without one, or with an empty one
        tag: str | None = None
        if parameters:
            name, value = parameters[0]
            # Mostly the only one; to look through them all takes three times as long.
            plain = name == "tag" and value and value[0] != '"'
            tag = value if plain else find_parameter(parameters, "tag") or None
        self.tag: Final = tag

    def parameter(self, name: str) -> str | None:
        """The value of a header parameter: "" when it has none, None when it is absent."""
        return find_parameter(self.parameters, name)

    def render(self) -> str:
        """The value as it goes onto the wire, always with angle brackets.

        Raises RenderError when the display name holds CR, LF or NUL.
        """
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri_text}>{render_parameters(self.parameters)}"


_NAME_ADDR = re.compile(
    rf'(?:"([^"\\\0-\x1f]*+)" ?|([{TOKEN_CHARS}]++) ?)?<([^<>"\s]++)>'
    rf"(?:;tag=([{TOKEN_CHARS}]++)|({_PLAIN_PARAMETERS}))"
)
# The grammar wants tokens here (§25.1); bare UTF-8 is common, and hides nothing.
_BARE_NAME = re.compile(rf"[{TOKEN_CHARS}\u0080-\U0010ffff \t]*+")
_NAMED = re.compile(r'[^<,;"]*+<')  # nothing comes before the bracket that ends an address
_BARE_URI = re.compile(r"[^;,? \t\"<>]++")
_ENCLOSED_URI = re.compile(r"[^<>\"]++")


def parse_name_addr(value: str, what: str = "address") -> NameAddr:
    """Parse one address; ``what`` names the header in errors.  Raises SipSyntaxError."""
    match = _NAME_ADDR.fullmatch(value)
    if match is not None:
        quoted, bare, text, tag, others = match.groups()
        parameters: tuple[Parameter, ...] = ()
        if tag:
            parameters = (("tag", tag),)
        elif others:
            parameters = _cut(others)
        try:
            uri = parse_uri(text)
            return NameAddr(quoted or bare or "", uri, uri.text, parameters)
        except SipSyntaxError as error:
            raise SipSyntaxError(f"Bad {what}: {error.reason}") from None
    scanner = Scanner(value, what)
    found = _scan_name_addr(scanner)
    scanner.end()
    return found


def _scan_name_addr(scanner: Scanner) -> NameAddr:
    scanner.space()
    name = ""
    if scanner.peek() == '"':
        name = unquote(scanner.quoted())
        scanner.space()
        if scanner.peek() != "<":
            raise scanner.error("no angle bracket after the display name")
    elif _NAMED.match(scanner.text, scanner.at):
        name = scanner.take(_BARE_NAME, "display name").strip(" \t")
        if scanner.peek() != "<":
            raise scanner.error("display name needs quotes")
    if scanner.peek() == "<":
        scanner.at += 1
        text = scanner.take(_ENCLOSED_URI, "URI in angle brackets")
        if scanner.peek() != ">":
            raise scanner.error("angle bracket not closed")
        scanner.at += 1
    else:
        # §20.10: without angle brackets, what follows ";" belongs to the header, and a URI
        # with "," or "?" is not allowed.
        text = scanner.take(_BARE_URI, "URI")
        if scanner.peek() == "?":
            raise scanner.error("URI with a question mark needs angle brackets")
    try:
        uri = parse_uri(text)
    except SipSyntaxError as error:
        raise scanner.error(error.reason) from None
    return NameAddr(name, uri, text, scanner.parameters())


def parse_name_addrs(value: str, what: str = "address") -> list[NameAddr]:
    """Parse a header line that may hold several addresses.  Raises SipSyntaxError."""
    if "," not in value:
        return [parse_name_addr(value, what)]
    scanner = Scanner(value, what)
    found = [_scan_name_addr(scanner)]
    while scanner.peek() == ",":
        scanner.at += 1
        found.append(_scan_name_addr(scanner))
    scanner.end()
    return found


_cached_to = lru_cache(CACHE_SIZE)(partial(parse_name_addr, what="To"))


def parse_to(value: str) -> NameAddr:
    """The same as ``parse_name_addr`` for To of a MESSAGE, which comes again and again."""
    return _cached_to(value) if len(value) <= _CACHED_LENGTH else parse_name_addr(value, "To")


def parse_contact(value: str) -> list[NameAddr]:
    """Parse a Contact line; ``*`` (§10.2.2) is an empty list.  Raises SipSyntaxError."""
    if value == "*":
        return []
    if "," not in value:
        return [parse_name_addr(value, "Contact")]
    return parse_name_addrs(value, "Contact")


class CSeq:
    """Number and method of a request (RFC 3261 §20.16)."""

    __slots__ = ("method", "number")

    def __init__(self, number: int, method: str) -> None:
        self.number: Final = number  #: below 2**31
        self.method: Final = method

    def render(self) -> str:
        """The value as it goes onto the wire."""
        return f"{self.number} {self.method}"


_CSEQ = re.compile(rf"[ \t]*+([0-9]++)[ \t]++([{TOKEN_CHARS}]++)[ \t]*+")


def _parse_cseq(value: str) -> CSeq:
    match = _CSEQ.fullmatch(value)
    if match is None:
        raise SipSyntaxError("Bad CSeq: not a number and a method")
    digits = match[1].lstrip("0")
    if len(digits) > 10 or int(digits or "0") >= 2**31:  # §8.1.1.5
        raise SipSyntaxError("Bad CSeq: number too large")
    return CSeq(int(digits or "0"), match[2])


_cached_cseq = lru_cache(1024)(_parse_cseq)


def parse_cseq(value: str) -> CSeq:
    """Parse a CSeq value.  Raises SipSyntaxError."""
    return _cached_cseq(value) if len(value) <= _CACHED_LENGTH else _parse_cseq(value)


def parse_number(value: str, limit: int, what: str) -> int:
    """Parse a number of digits only, not above ``limit``.  Raises SipSyntaxError."""
    if not (value.isascii() and value.isdigit()):
        raise SipSyntaxError(f"Bad {what}: not a number")
    digits = value.lstrip("0")
    # Python refuses to convert thousands of digits, and we need none of them.
    if len(digits) > 20 or int(digits or "0") > limit:
        raise SipSyntaxError(f"Bad {what}: number too large")
    return int(digits or "0")


_HOP_COUNTS: Final = {str(number): number for number in range(256)}


def parse_max_forwards(value: str) -> int:
    """Parse a Max-Forwards value, 0 to 255 (§20.22).  Raises SipSyntaxError."""
    hops = _HOP_COUNTS.get(value)
    return parse_number(value, 255, "Max-Forwards") if hops is None else hops
