"""Requests and responses (RFC 3261 §7).

Headers are parsed when asked for, and raise SipSyntaxError when malformed.  On a message from
the parser the typed properties are safe, since what would raise was refused there; but of a
response that answers no INVITE only the CSeq is looked at there.
"""

import re
from collections.abc import Iterable

from msrpgw.errors import RenderError, SipSyntaxError
from msrpgw.sip.fields import (
    CSeq,
    NameAddr,
    Via,
    parse_contact,
    parse_cseq,
    parse_max_forwards,
    parse_name_addr,
    parse_name_addrs,
    parse_via,
    parse_vias,
)
from msrpgw.sip.grammar import split_list
from msrpgw.sip.headers import Headers, canonical_name
from msrpgw.sip.uri import Uri, parse_uri

#: default reason phrases (RFC 3261 §21 and the IANA registry)
REASONS: dict[int, str] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
}

#: what a response has from its request, beside Via (§8.2.6.2)
_COPIED = (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq"))

# A NUL may stand in a quoted pair only (§25.1).
_BARE_NUL = re.compile(r"(?<!\\)(?:\\\\)*\0")


class Message:
    """What requests and responses have in common."""

    __slots__ = ("_identity", "_protected", "body", "headers")

    def __init__(self, headers: Headers, body: bytes = b"") -> None:
        self.headers = headers
        self.body = body

    def _value(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise SipSyntaxError(f"Missing {name}")
        return value

    @property
    def protected(self) -> bool:
        """Whether it came over TLS: nobody on the last hop could read or change it."""
        # Left unset by the many that did not.
        return getattr(self, "_protected", False)

    @protected.setter
    def protected(self, protected: bool) -> None:
        self._protected = protected

    @property
    def identity(self) -> str:
        """Who has proven to have sent it, by digest authentication; "" for nobody."""
        return getattr(self, "_identity", "")

    @identity.setter
    def identity(self, identity: str) -> None:
        self._identity = identity

    @property
    def via(self) -> Via:
        """The topmost Via value: of a request, who sent it."""
        typed = self.headers.typed
        found = typed.get("via")
        if not isinstance(found, Via):
            values = split_list(self._value("Via"))
            if not values:
                raise SipSyntaxError("Bad Via: empty")
            found = typed["via"] = parse_via(values[0])
        return found

    def stamp_via(self, address: str, port: int) -> None:
        """Fill the source of the request into the topmost Via value (§18.2.1, RFC 3581 §4)."""
        via = self.via
        stamped = via.stamped(address, port)
        if stamped is via:
            return
        headers = self.headers
        value = headers.usual()["via"]
        if value[-6:] == ";rport" and "," not in value and len(via.parameters) == 2:
            # As most clients write it; to write all of it anew would cost 2 % of a message.
            text = f"{value}={port};received={address}"
        else:
            text = stamped.render()
            if "," in value:
                text = ", ".join([text, *split_list(value)[1:]])
        headers.replace_first("Via", text)
        headers.typed["via"] = stamped

    @property
    def vias(self) -> list[Via]:
        """All Via values, topmost first."""
        return [via for value in self.headers.get_all("Via") for via in parse_vias(value)]

    @property
    def from_(self) -> NameAddr:
        """From: who sends the request."""
        typed = self.headers.typed
        found = typed.get("from")
        if not isinstance(found, NameAddr):
            found = typed["from"] = parse_name_addr(self._value("From"), "From")
        return found

    @property
    def to(self) -> NameAddr:
        """To: who the request is meant for."""
        typed = self.headers.typed
        found = typed.get("to")
        if not isinstance(found, NameAddr):
            found = typed["to"] = parse_name_addr(self._value("To"), "To")
        return found

    @property
    def call_id(self) -> str:
        """Call-ID; compared octet by octet (§20.8)."""
        found = self.headers.usual().get("call-id")
        return self._value("Call-ID") if found is None else found

    @property
    def cseq(self) -> CSeq:
        """CSeq."""
        typed = self.headers.typed
        found = typed.get("cseq")
        if not isinstance(found, CSeq):
            found = typed["cseq"] = parse_cseq(self._value("CSeq"))
        return found

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards; None when absent."""
        value = self.headers.get("Max-Forwards")
        return None if value is None else parse_max_forwards(value)

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact; None when absent, or ``*``."""
        typed = self.headers.typed
        found = typed.get("contact")
        if not isinstance(found, NameAddr):
            value = self.headers.get("Contact")
            contacts = parse_contact(value) if value is not None else []
            if not contacts:
                return None
            found = typed["contact"] = contacts[0]
        return found

    @property
    def routes(self) -> list[NameAddr]:
        """Route values, the next hop first."""
        return self._addresses("Route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """Record-Route values, in wire order."""
        return self._addresses("Record-Route")

    def _addresses(self, name: str) -> list[NameAddr]:
        lines = self.headers.get_all(name)
        if not lines:
            return []
        return [address for value in lines for address in parse_name_addrs(value, name)]

    @property
    def content_type(self) -> str | None:
        """Content-Type, raw; None when absent."""
        return self.headers.get("Content-Type")

    @property
    def require(self) -> list[str]:
        """Option tags of Require."""
        return self.headers.get_list("Require") if "require" in self.headers.usual() else []

    def start_line(self) -> str:
        """The first line of the message."""
        raise NotImplementedError

    def render(self) -> bytes:
        """The message as it goes onto the wire; Content-Length is written by us.

        Raises RenderError when a value holds CR or LF, or NUL outside of a quoted pair.
        """
        lines = [
            f"{name}: {value}\r\n"
            for name, value in self.headers.items()
            if name != "Content-Length"
        ]
        text = f"{self.start_line()}\r\n{''.join(lines)}Content-Length: {len(self.body)}\r\n\r\n"
        return encode_head(text, len(lines) + 3) + self.body


def encode_head(text: str, lines: int) -> bytes:
    """The octets of a head that must have so many lines.  Raises RenderError."""
    if text.count("\n") != lines or text.count("\r") != lines:
        raise RenderError("CR or LF in a header value")
    if "\0" in text and _BARE_NUL.search(text):
        raise RenderError("NUL in a header value")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RenderError("a header value is not Unicode text") from None


class Request(Message):
    """A request (§7.1)."""

    __slots__ = ("method", "strictly_routed", "uri")

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        self.method = method
        self.uri = uri  #: Request-URI as received
        self.strictly_routed = False  #: the Request-URI is a router's, which is the next hop
        self.headers = headers
        self.body = body

    @property
    def target(self) -> Uri:
        """The Request-URI, parsed."""
        return parse_uri(self.uri)

    @property
    def has_route(self) -> bool:
        """Whether it has a Route."""
        return "Route" in self.headers

    def push_via(self, value: str) -> None:
        """Put a Via before all others."""
        self.headers.insert_first("Via", value)

    def start_line(self) -> str:
        """The Request-Line (§7.1)."""
        if " " in self.uri or " " in self.method:
            raise RenderError("a space in the Request-Line")
        return f"{self.method} {self.uri} SIP/2.0"

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> "Response":
        """Make a response to this request (§8.2.6).

        ``to_tag`` is added to To unless it has a tag.  ``headers`` follow the copied ones.
        What the request lacks is left out: it may be one that is being refused for that.
        """
        return Reply(
            self,
            status,
            REASONS.get(status, "Unknown") if reason is None else reason,
            to_tag,
            [(canonical_name(name), value) for name, value in headers],
            body,
        )

    def tagged(self, value: str, tag: str | None) -> str:
        """The value of To for a response that brings ``tag``, unless it has one."""
        try:
            return value if not tag or self.to.tag else f"{value};tag={tag}"
        except SipSyntaxError:
            return value  # malformed: it goes back as it came

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri!r}>"


_DELTA_SECONDS = re.compile(r"\s*([0-9]{1,9})(?![0-9])")


class Response(Message):
    """A response (§7.2).

    ``local`` is True when we made it ourselves, for a time-out (408) or a transport failure
    (503): what stands for an answer that never came (§8.1.3.1).
    """

    __slots__ = ("local", "reason", "status")

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", *, local: bool = False
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.local = local

    @property
    def retry_after(self) -> float:
        """Seconds that it asks us to wait (§20.33); 0 when it does not, or not in seconds."""
        value = self.headers.get("Retry-After")
        found = _DELTA_SECONDS.match(value) if value else None
        return float(found[1]) if found else 0.0

    def start_line(self) -> str:
        """The Status-Line (§7.2)."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason!r}>"


class Reply(Response):
    """A response of our own to a request.

    Most are written once and never looked into: its header fields are made when asked for.
    """

    __slots__ = ("_headers", "_own", "_request", "_to_tag")

    def __init__(
        self,
        request: Request,
        status: int,
        reason: str,
        to_tag: str | None,
        own: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        self.status = status
        self.reason = reason
        self.body = body
        self.local = False
        self._request = request
        self._to_tag = to_tag
        self._own = own  # fields that follow the copied ones
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """What it has from the request (§8.2.6.2), and its own."""
        found = self._headers
        if found is None:
            request = self._request
            first = request.headers.firsts()
            items = [("Via", value) for value in request.headers.get_all("Via")]
            for name, key in _COPIED:
                value = first.get(key)
                if value is not None:
                    tagged = key == "to"
                    items.append((name, request.tagged(value, self._to_tag) if tagged else value))
            if self.status == 100 and "timestamp" in first:  # §8.2.6.1
                items.append(("Timestamp", first["timestamp"]))
            found = self._headers = Headers.indexed([*items, *self._own], None, {}, {})
        return found

    def render(self) -> bytes:
        """The response as it goes onto the wire.  Raises RenderError as all messages do."""
        if self._headers is not None:
            return super().render()
        request, own, body = self._request, self._own, self.body
        headers = request.headers
        first = headers.usual()
        if self.status == 100 and "timestamp" in first:  # §8.2.6.1
            own = [("Timestamp", first["timestamp"]), *own]
        vias = headers.get_all("Via")
        via = "\r\nVia: ".join(vias)
        more = "".join([f"{name}: {value}\r\n" for name, value in own])
        try:
            text = (
                f"SIP/2.0 {self.status} {self.reason}\r\nVia: {via}\r\n"
                f"From: {first['from']}\r\nTo: {request.tagged(first['to'], self._to_tag)}\r\n"
                f"Call-ID: {first['call-id']}\r\nCSeq: {first['cseq']}\r\n"
                f"{more}Content-Length: {len(body)}\r\n\r\n"
            )
        except KeyError:  # refused for what it lacks
            return super().render()
        return encode_head(text, 7 + len(vias) + len(own)) + body
