"""Start line and header fields: from octets to a message that has no body yet (RFC 3261 §7).

One pass over the lines, then the checks.  What comes out can be answered; ``parser`` has only to
find where it ends.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.fields import (
    Via,
    parse_contact,
    parse_cseq,
    parse_max_forwards,
    parse_name_addr,
    parse_name_addrs,
    parse_number,
    parse_via,
    parse_vias,
)
from msrpgw.sip.grammar import TOKEN_CHARS, is_token
from msrpgw.sip.headers import KEYS, Headers, header_key
from msrpgw.sip.message import Request, Response
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.sip.usual import LEAST_LINE, MOST, NO_LENGTH, read_usual


class Limits(msgspec.Struct, frozen=True):
    """How large a message may be."""

    max_message_size: int = 65536  #: bytes; above it 513
    max_headers: int = 200  #: header fields; above it 400
    max_line_length: int = 8192  #: characters of a line, folding undone; above it 400


class Malformed:
    """What came can't be understood.

    ``request`` can be answered with ``status`` and ``reason``; None when no answer is possible,
    as for responses.  Only its ``method``, ``via`` and ``response`` are good for use.
    ``fatal``: where the next message of the stream starts is not known; close the connection.
    """

    __slots__ = ("fatal", "reason", "request", "status")

    def __init__(
        self, status: int, reason: str, request: Request | None = None, *, fatal: bool = False
    ) -> None:
        self.status = status
        self.reason = reason
        self.request = request
        self.fatal = fatal

    def __repr__(self) -> str:
        return f"<Malformed {self.status} {self.reason!r}>"


_FOLD = re.compile(r"\r\n[ \t]++")
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.ASCII | re.IGNORECASE)
_STATUS_LINE = re.compile(
    r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.ASCII | re.DOTALL | re.IGNORECASE
)
#: as the status line writes them, with the space before the reason phrase
_STATUSES = frozenset(f"{status} " for status in range(100, 700))
_METHODS = frozenset(
    {
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    }
)
_CONTROLS = re.compile(r"[\r\n\0]")
_BRANCH = re.compile(rf";[ \t]*branch[ \t]*=[ \t]*([{TOKEN_CHARS}]+)", re.ASCII | re.IGNORECASE)
_LONE_NUL = re.compile(r"(?<!\\)(?:\\\\)*\0")  # in a quoted pair it is allowed (§25.1)

#: headers of which there may be one line only, and what to say of more
_SINGLE = [
    (name.lower(), f"More than one {name}")
    for name in (
        "Call-ID",
        "Content-Length",
        "Content-Type",
        "CSeq",
        "From",
        "Max-Forwards",
        "To",
    )
]
#: spellings of header names that need no second look
_QUICK_KEYS = {
    name: key for name, key in KEYS.items() if key != "content-length" or name == "Content-Length"
}
_MANDATORY = {"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq"}

_Checks = tuple[tuple[str, Callable[[str], Any]], ...]
_INVITE_RESPONSE_CHECKS: _Checks = (
    ("contact", parse_contact),
    ("record-route", partial(parse_name_addrs, what="Record-Route")),
)
#: what is looked at in every line of a request; From, To, Via and CSeq apart.  Not Date, which
#: we don't use: RFC 4475 §3.1.2.12 wants a bad one ignored then.
_REQUEST_CHECKS: _Checks = (
    ("max-forwards", parse_max_forwards),
    *_INVITE_RESPONSE_CHECKS,
    ("route", partial(parse_name_addrs, what="Route")),
)
_MAX_LENGTH = 2**31  # a Content-Length above it is no length
BAD_LENGTH = -2


class _Refused(SipSyntaxError):
    """A message that gets a status other than 400."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason, status=status)


def read_head(head: bytes, limits: Limits) -> tuple[Request | Response | Malformed, int]:
    """Read start line and header fields.

    Returns the message without its body, and how long that is: NO_LENGTH where nothing says
    it, BAD_LENGTH where what says it can't be used.
    """
    text = head.decode("utf-8", "surrogateescape")
    size = len(text)
    if size <= MOST and size <= limits.max_line_length and size <= LEAST_LINE * limits.max_headers:
        usual = read_usual(text)
        if usual is not None:
            return usual
    return read_long(text, limits)


def read_long(text: str, limits: Limits) -> tuple[Request | Response | Malformed, int]:
    """The same, of any head; ``usual`` reads some of them quicker."""
    lines = text.split("\r\n")
    ends = len(lines) - 1
    problem = ""
    if (
        text.count("\n") != ends
        or text.count("\r") != ends
        or ends > limits.max_headers
        or len(text) > limits.max_line_length
        or "\0" in text
    ):
        unfolded = _FOLD.sub(" ", text)
        if unfolded is not text and unfolded != text:
            return read_long(unfolded, limits)
        problem = _find_problem(text, lines, limits)
    # Stripping each value costs more than to see once that none needs it.
    loose = ":  " in text or " \r\n" in text or "\t" in text or text[-1:] == " "
    first: dict[str, str] = {}
    more: dict[str, list[str]] = {}
    start = lines[0]
    del lines[0]
    # A policy may look at any field of an INVITE: to cut it up once more is 1 % of a call.
    items: list[tuple[str, str]] | None = [] if start[:7] == "INVITE " else None
    for line in lines:
        name, _, value = line.partition(": ")
        key = _QUICK_KEYS.get(name)
        if key is None:
            if line[:1] == " " or line[:1] == "\t":  # §7.3.1: the line before goes on
                return read_long(_FOLD.sub(" ", text), limits)
            name, colon, value = line.partition(":")
            name = name.rstrip(" \t")
            if not colon or not is_token(name):
                problem = problem or "Malformed header line"
                continue
            key = header_key(name)
            value = value.strip(" \t")
            if key == "content-length":
                name = "Content-Length"  # so that render() finds it: it writes its own
        elif loose:
            value = value.strip(" \t")
        if items is not None:
            items.append((name, value))
        if key not in first:
            first[key] = value
        elif key in more:
            more[key].append(value)
        else:
            more[key] = [first[key], value]
    length = _body_length(first, more)
    typed: dict[str, object] = {}
    if items is None:
        headers = Headers.of_text(text, first, more, typed)
    else:
        headers = Headers.indexed(items, first, more, typed)
    try:
        message = _begin(start, headers)
        if problem:
            raise SipSyntaxError(problem)
        _check(message, first, more, typed)
        if length == BAD_LENGTH:
            raise SipSyntaxError("Bad Content-Length")
    except SipSyntaxError as error:
        request = _salvage(start, lines)
        fatal = length == BAD_LENGTH or not _looks_like_sip(start)
        return Malformed(error.status, error.reason, request, fatal=fatal), length
    return message, length


def _find_problem(text: str, lines: list[str], limits: Limits) -> str:
    """What is wrong with the head as text; "" for nothing.  Cuts ``lines`` to the limits."""
    ends = len(lines) - 1
    if text.count("\n") != ends or text.count("\r") != ends:
        return "CR or LF alone in the headers"
    if ends > limits.max_headers:
        del lines[limits.max_headers + 1 :]
        return "Too many header fields"
    if len(text) > limits.max_line_length and len(max(lines, key=len)) > limits.max_line_length:
        return "Header line too long"
    if "\0" in text and _LONE_NUL.search(text):
        return "NUL in the headers"
    return ""


def _body_length(first: dict[str, str], more: dict[str, list[str]]) -> int:
    value = first.get("content-length")
    if value is None:
        return NO_LENGTH
    if "content-length" in more:
        return BAD_LENGTH  # which of them is true?
    if value.isdecimal() and value.isascii() and len(value) < 10:
        return int(value)
    try:
        return parse_number(value, _MAX_LENGTH, "Content-Length")
    except SipSyntaxError:
        return BAD_LENGTH


def _begin(line: str, headers: Headers) -> Request | Response:
    """Read the start line (§7.1, §7.2)."""
    status = line[8:12]
    if line[:8] == "SIP/2.0 " and status in _STATUSES:
        return Response(int(status), line[12:], headers)
    parts = line.split(" ")
    if len(parts) == 3 and parts[2] == "SIP/2.0":
        method, uri, _ = parts
        if method not in _METHODS and not is_token(method):
            raise SipSyntaxError("Malformed method")
        try:
            target = parse_uri(uri)
        except SipSyntaxError as error:
            raise SipSyntaxError(f"Bad Request-URI: {error.reason}") from None
        if isinstance(target, SipUri) and target.headers:
            raise SipSyntaxError("Bad Request-URI: headers are not allowed")  # §19.1.1
        return Request(method, uri, headers)
    if line[:4].upper() == "SIP/":
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise SipSyntaxError("Malformed Status-Line")
        return Response(int(match[1]), match[2] or "", headers)
    version = line.rstrip(" ").rpartition(" ")[2]
    if _VERSION.fullmatch(version) is None:
        raise SipSyntaxError("Malformed Request-Line")
    if version.upper() != "SIP/2.0":
        raise _Refused(505, "Version Not Supported")
    if len(parts) == 3:  # the version has no case (§7.1)
        return _begin(f"{parts[0]} {parts[1]} SIP/2.0", headers)
    raise SipSyntaxError("Malformed Request-Line: one space between its three parts")


def _looks_like_sip(start: str) -> bool:
    version = start.rstrip(" ").rpartition(" ")[2]
    return start[:4].upper() == "SIP/" or _VERSION.fullmatch(version) is not None


def _check(
    message: Request | Response,
    first: dict[str, str],
    more: dict[str, list[str]],
    typed: dict[str, object],
) -> None:
    """Want everything that an answer needs, and that the typed properties will not raise."""
    try:
        via, from_, to = first["via"], first["from"], first["to"]
        call_id, cseq_text = first["call-id"], first["cseq"]
    except KeyError as missing:
        raise SipSyntaxError(f"Missing {_MANDATORY[missing.args[0]]}") from None
    typed["cseq"] = cseq = parse_cseq(cseq_text)
    if not call_id or " " in call_id or "\t" in call_id:
        raise SipSyntaxError("Bad Call-ID")
    checks: _Checks
    if isinstance(message, Request):
        if cseq.method != message.method:
            raise SipSyntaxError("CSeq method is not that of the request")
        checks = _REQUEST_CHECKS
    elif cseq.method == "INVITE":
        checks = _INVITE_RESPONSE_CHECKS
    else:  # no dialog comes from it: all that counts is the branch
        checks = ()
    if checks:
        typed["via"] = parse_vias(via)[0] if "," in via else parse_via(via)
        typed["from"] = parse_name_addr(from_, "From")
        typed["to"] = parse_name_addr(to, "To")
        for key, check in checks:
            value = first.get(key)
            if value is not None:
                found = check(value)
                if found and check is parse_contact:
                    typed["contact"] = found[0]  # a dialog's: it is asked for in any case
    if more:
        for key, problem in _SINGLE:
            if key in more:
                raise SipSyntaxError(problem)
        for value in more.get("via", ())[1:]:
            parse_vias(value)
        for key, check in checks:
            for value in more.get(key, ())[1:]:
                check(value)


def _salvage(start: str, lines: list[str]) -> Request | None:
    """What of a malformed request is needed to answer it; None when it can't be answered."""
    method, _, rest = start.partition(" ")
    if start[:4].upper() == "SIP/" or not _looks_like_sip(start) or not is_token(method):
        return None
    clean = [
        (name.rstrip(" \t"), _CONTROLS.sub(" ", value.strip(" \t")))
        for name, colon, value in (line.partition(":") for line in lines)
        if colon and is_token(name.rstrip(" \t"))
    ]
    request = Request(
        method, rest.strip(" ").partition(" ")[0], Headers.indexed(clean, None, {}, {})
    )
    try:
        request.via  # noqa: B018
    except SipSyntaxError:
        via = _guess_via(request.headers.get("Via") or "")
        if via is None:  # nobody knows where to
            return None
        request.headers.replace_first("Via", via.render())
    return request


def _guess_via(value: str) -> Via | None:
    """Host, port and branch of a Via that is malformed."""
    try:
        via = parse_via(value.partition(";")[0].partition(",")[0].strip(" \t"))
    except SipSyntaxError:
        return None
    branch = _BRANCH.search(value)
    return Via(via.transport, via.host, via.port, (("branch", branch[1]),)) if branch else via
