"""MSRP requests and responses (RFC 4975 §7, §9) and their incremental parser.

    MSRP tid SEND            start line: names the transaction, and so the end-line
    To-Path: …               header section, bounded
    Content-Type: …
                             blank line, only where a body follows
    body                     any octets; cut off, not kept, above max_body
    -------tid$              end-line: a whole line with our transaction id and a flag

Pure: imports errors and uri.
"""

import re
from functools import lru_cache

import msgspec

from msrpgw.errors import FramingError
from msrpgw.msrp.uri import MsrpUri, parse_path

_IDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-+%=_]{0,63}\Z")
#: wider than RFC 4975's ident: some put UUIDs and addresses there, and it is only echoed
_MESSAGE_ID = re.compile(r"[A-Za-z0-9.\-+%=_~@:!*']{1,255}\Z")
_METHOD = re.compile(r"[A-Z]{1,32}\Z")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]+\Z")
_BYTE_RANGE = re.compile(r"(\d{1,20})-(\d{1,20}|\*)/(\d{1,20}|\*)\Z", re.ASCII)
_STATUS = re.compile(r"(\d{3}) (\d{3})(?: (.*))?\Z", re.ASCII)
#: what no header may hold
CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f]")

# What nearly all frames look like, read in one go; whatever else there may be, and all that is
# wrong, goes the long way.
_TID = r"[A-Za-z0-9][A-Za-z0-9.\-+%=_]{0,63}"
_PRINTED = "[!-~]+(?: [!-~]+)*"
_USUAL_RESPONSE = re.compile(
    (
        rf"MSRP ({_TID}) (\d{{3}})(?: ([!-~ ]*))?\r\n"
        r"(?:[A-Za-z-]+: [ -~]+\r\n)*-------\1[$+#]\r\n"
    ).encode()
)
_USUAL_SEND = re.compile(
    (
        rf"MSRP ({_TID}) SEND\r\nTo-Path: ({_PRINTED})\r\nFrom-Path: ({_PRINTED})\r\n"
        r"Message-ID: ([A-Za-z0-9.\-+%=_]{1,255})\r\n"
        r"Byte-Range: (\d{1,20}-(?:\d{1,20}|\*)/(?:\d{1,20}|\*))\r\n"
        r"(?:Success-Report: (yes|no)\r\n)?(?:Failure-Report: (yes|no|partial)\r\n)?"
        rf"(?:Content-Type: ({_PRINTED})\r\n\r\n|-------\1([$+#])\r\n)"
    ).encode()
)

_FLAGS = b"$+#"
_TAILS = (b"$\r\n", b"+\r\n", b"#\r\n")
_MAX_START_LINE = 2048
_PREFIX = b"MSRP "


class Limits(msgspec.Struct, frozen=True):
    """Bounds of what a peer can make the parser keep, in bytes."""

    max_header_size: int = 16_384
    max_body: int = 1_048_576


class ByteRange(msgspec.Struct, frozen=True):
    """Which part of the message a chunk is (RFC 4975 §7.1.1).  Octets count from 1."""

    start: int
    end: int | None  #: None for ``*``; never trusted as a length
    total: int | None  #: None for ``*``

    @property
    def text(self) -> str:
        """As it is written."""
        end = "*" if self.end is None else self.end
        total = "*" if self.total is None else self.total
        return f"{self.start}-{end}/{total}"


class Status(msgspec.Struct, frozen=True):
    """What a REPORT says (RFC 4975 §7.1.2)."""

    namespace: str  #: "000" is the one defined: ``code`` is that of a response
    code: int
    comment: str


class Request:
    """One request, as it was received."""

    __slots__ = (
        "body",
        "byte_range",
        "content_type",
        "continuation",
        "failure_report",
        "from_path_text",
        "headers",
        "message_id",
        "method",
        "status",
        "success_report",
        "to_path_text",
        "transaction_id",
        "truncated",
    )

    def __init__(self, transaction_id: str, method: str) -> None:
        self.transaction_id = transaction_id
        self.method = method
        self.to_path_text = ""  #: raw
        self.from_path_text = ""  #: raw
        self.message_id = ""
        self.byte_range: ByteRange | None = None  #: None also when it made no sense
        self.content_type: str | None = None  #: raw
        self.success_report = False
        self.failure_report = "yes"  #: "yes", "partial" or "no"
        self.status: Status | None = None  #: of a REPORT; None also when it made no sense
        self.headers: tuple[tuple[str, str], ...] = ()  #: all others, in order
        self.body: bytes | None = None  #: None: there is none, which is not the same as empty
        self.continuation = "$"  #: "$" last chunk, "+" more to come, "#" aborted
        self.truncated = False  #: the body was above max_body and was dropped

    @property
    def to_path(self) -> tuple[MsrpUri, ...]:
        """To-Path.  Raises MsrpSyntaxError."""
        return parse_path(self.to_path_text)

    @property
    def from_path(self) -> tuple[MsrpUri, ...]:
        """From-Path.  Raises MsrpSyntaxError."""
        return parse_path(self.from_path_text)


class Response:
    """One response, as it was received (RFC 4975 §7.2)."""

    __slots__ = ("_head", "comment", "status", "transaction_id")

    def __init__(self, transaction_id: str, status: int, comment: str, head: bytes = b"") -> None:
        self.transaction_id = transaction_id
        self.status = status
        self.comment = comment
        self._head = head  # the transaction id says enough: the rest is read when asked for

    @property
    def to_path_text(self) -> str:
        """Raw; empty when missing."""
        return self.header("to-path")

    @property
    def from_path_text(self) -> str:
        """Raw; empty when missing."""
        return self.header("from-path")

    def header(self, wanted: str) -> str:
        """The first value of a header, named in lower case; empty when missing."""
        for line in self._head.decode("utf-8", "surrogateescape").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == wanted:
                return value.strip(" \t")
        return ""


class Malformed:
    """A request that broke the grammar, but is understood well enough to be answered."""

    __slots__ = ("comment", "from_path_text", "method", "status", "to_path_text", "transaction_id")

    def __init__(self, request: Request, comment: str) -> None:
        self.transaction_id = request.transaction_id.split(None, 1)[0]
        self.method = request.method
        self.to_path_text = request.to_path_text
        self.from_path_text = request.from_path_text
        self.status = 400
        self.comment = comment  #: what was wrong


Frame = Request | Response | Malformed


class FrameParser:
    """Cuts a connection's bytes into frames.  Any split of the bytes gives the same frames.

    Owned by a connection.  Time is linear in the bytes fed; what is kept is bounded by limits.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.pending = bytearray()  #: of a frame whose rest has not come
        self._lost = ""  # why nothing can be read any more
        self._reset()

    def _reset(self) -> None:
        self._end_line = b""  # CRLF, seven hyphens, transaction id; empty before the start line
        self._start_line = ""
        self._searched = 0  # bytes of the frame in which no terminator begins
        self._head: bytes | None = None  # the header section, once the body has begun
        self._body_at = 0  # where the body begins in the frame, less the CRLF before it
        self._truncated = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as the socket gave them.

        Returns complete frames in wire order.
        Raises FramingError when the peer broke RFC 4975 §9; close the connection.  Frames before
        the break are returned first, and the error raised at the next call.
        """
        if self._lost:
            raise FramingError(self._lost)
        frames: list[Frame] = []
        buffer = self.pending
        work: bytes | bytearray
        if buffer:
            buffer += data
            work = buffer
        else:
            work = data
        position = 0
        try:
            while position < len(work):
                length = self._next(work, position, frames)
                if not length:
                    break
                position += length
        except FramingError as error:
            self._lost = str(error)
            if frames:
                return frames
            raise
        if work is not buffer:
            if position < len(data):
                buffer += data[position:] if position else data
        elif position:
            del buffer[:position]
        if self._head is not None and len(buffer) - self._body_at > self._limits.max_body:
            # Above the limit nothing is kept but what may be the beginning of the end-line.
            self._truncated = True
            keep = len(self._end_line) + 2
            if self._searched > self._body_at + keep:
                cut = min(self._searched, len(buffer) - keep) - self._body_at
                del buffer[self._body_at : self._body_at + cut]
                self._searched -= cut
        return frames

    def _next(self, work: bytes | bytearray, start: int, frames: list[Frame]) -> int:
        """Read one frame at ``start``.  Returns its length, 0 when it isn't complete."""
        end_line = self._end_line
        if not end_line:
            if work.__class__ is bytes and not self._searched:
                length = self._read_usual(work, start, frames)
                if length:
                    return length
            if work.startswith(b"\r\n", start):
                return 2  # some keep connections alive with blank lines
            if len(work) == start + 1 and work[start] == 13:
                return 0
            end_line = self._read_start_line(work, start)
            if not end_line:
                return 0
        searched = start + self._searched
        while True:
            at = work.find(end_line, searched)
            after = at + len(end_line)
            if self._head is None and not self._find_body(work, start, searched, at):
                # No body yet: the header section must not grow without end.
                length = (at if at >= 0 else len(work)) - start
                if length > self._limits.max_header_size:
                    raise FramingError("header section too large")
            if at < 0:
                self._searched = max(self._searched, len(work) - start - len(end_line) + 1)
                return 0
            if after + 3 > len(work):
                self._searched = at - start
                return 0
            if work[after] in _FLAGS and work[after + 1] == 13 and work[after + 2] == 10:
                break
            searched = at + 2
        self._finish(work, start, at, chr(work[after]), frames)
        self._reset()
        return after + 3 - start

    def _read_usual(self, work: bytes, start: int, frames: list[Frame]) -> int:
        """Read a usual frame, also a SEND that only binds.  Returns its length, 0 for any other."""
        limits = self._limits
        response = _USUAL_RESPONSE.match(work, start)
        if response is not None and response.end() - start <= limits.max_header_size:
            transaction_id, code, comment = response.groups()
            text = comment.decode("ascii").strip() if comment else ""
            frames.append(Response(transaction_id.decode("ascii"), int(code), text, response[0]))
            return response.end() - start
        send = _USUAL_SEND.match(work, start)
        if send is None or send.end() - start > limits.max_header_size:
            return 0
        (transaction_id, to_path, from_path, message_id, byte_range, success, failure,
         media_type, flag) = send.groups()  # fmt: skip
        body_at = stop = send.end()
        if not flag:
            end_line = b"\r\n-------" + transaction_id
            # An empty body may lack its own CRLF: then it is not usual.
            at = work.find(end_line, body_at - 2)
            stop = at + len(end_line) + 3
            tail = work[stop - 3 : stop]
            if tail not in _TAILS or not body_at <= at <= body_at + limits.max_body:
                return 0
            flag = tail[:1]
        request = Request(transaction_id.decode("ascii"), "SEND")
        request.to_path_text = to_path.decode("ascii")
        request.from_path_text = from_path.decode("ascii")
        request.message_id = message_id.decode("ascii")
        request.byte_range = _parse_byte_range(byte_range.decode("ascii"))
        request.success_report = success == b"yes"
        request.failure_report = failure.decode("ascii") if failure else "yes"
        if media_type:
            request.content_type, request.body = media_type.decode("ascii"), work[body_at:at]
        request.continuation = flag.decode("ascii")
        frames.append(request)
        return stop - start

    def _find_body(
        self, work: bytes | bytearray, start: int, searched: int, end_line_at: int
    ) -> bool:
        """Look for the blank line; whether it is there, before the end-line."""
        stop = end_line_at + 2 if end_line_at >= 0 else len(work)
        blank = work.find(b"\r\n\r\n", max(start, searched - 3), stop)
        if blank < 0:
            return False
        if blank - start > self._limits.max_header_size:
            raise FramingError("header section too large")
        self._head = bytes(work[start:blank])
        self._body_at = blank + 2 - start
        return True

    def _read_start_line(self, work: bytes | bytearray, start: int) -> bytes:
        """Returns what the end-line begins with, empty when the line isn't complete."""
        stop = work.find(b"\r\n", start + min(self._searched, len(work) - start))
        known = min(len(work) - start, len(_PREFIX))
        if work[start : start + known] != _PREFIX[:known]:
            raise FramingError("not MSRP")
        if stop < 0:
            if len(work) - start > _MAX_START_LINE:
                raise FramingError("start line too long")
            self._searched = max(0, len(work) - start - 1)
            return b""
        if stop - start > _MAX_START_LINE:
            raise FramingError("start line too long")
        line = bytes(work[start + len(_PREFIX) : stop])
        transaction_id = line.split(None, 1)[0] if line.strip() else b""
        if not transaction_id:
            raise FramingError("start line without a transaction id")
        self._start_line = line.decode("utf-8", "surrogateescape")
        self._searched = stop - start
        self._end_line = b"\r\n-------" + transaction_id
        return self._end_line

    def _finish(
        self, work: bytes | bytearray, start: int, at: int, flag: str, frames: list[Frame]
    ) -> None:
        head = self._head
        body: bytes | None = None
        if head is None:
            head = bytes(work[start:at])
        elif not self._truncated:
            # The body's first octet follows the blank line; an empty one may lack its own CRLF.
            body = bytes(work[start + self._body_at + 2 : at])
            if len(body) > self._limits.max_body:
                body = None
                self._truncated = True
        frame = _parse(self._start_line, head, body, flag)
        if frame is not None:
            if self._truncated and frame.__class__ is Request:
                frame.truncated = True
            frames.append(frame)


def _parse(start_line: str, head: bytes, body: bytes | None, flag: str) -> Frame | None:
    """Make the frame of a header section; None for one that deserves no answer."""
    transaction_id, _, rest = start_line.partition(" ")
    if rest[:1].isdigit():
        return _parse_response(transaction_id, rest, head)
    request = Request(transaction_id, rest)
    problem = _read_headers(request, head)
    if not problem and rest != "SEND" and not _METHOD.match(rest):
        problem = "Malformed start line"
    elif not problem and not _IDENT.match(transaction_id):
        problem = "Malformed transaction id"
    if problem:
        echoed = (transaction_id, request.from_path_text, request.to_path_text)
        answerable = all(each.strip() and not CONTROL.search(each) for each in echoed)
        silent = rest == "REPORT" or request.failure_report == "no"
        return None if silent or not answerable else Malformed(request, problem)
    request.body = body
    request.continuation = flag
    return request


def _parse_response(transaction_id: str, rest: str, head: bytes) -> Response | None:
    code, _, comment = rest.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        return None
    return Response(transaction_id, int(code), comment.strip(), head)


def _read_headers(request: Request, head: bytes) -> str:
    """Fill the request.  Returns what is wrong, empty when all is right."""
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    problem = ""
    if not text.replace("\r\n", "").isprintable() and any(map(CONTROL.search, lines)):
        problem = "Control character in a header"
    others: list[tuple[str, str]] = []
    seen = 0
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        # As nearly everybody writes it first: folding case and matching names cost more.
        field = _FIELDS.get(name) or _FIELDS.get(name.lower())
        value = value.strip(" \t")
        if field is None:
            if colon and _NAME.match(name):
                others.append((name, value))
            else:
                problem = problem or "Malformed header line"
            continue
        if not colon:
            problem = problem or "Malformed header line"
            continue
        if seen & field:
            problem = problem or f"{name} twice"
            continue
        seen |= field
        if field == _TO_PATH:
            request.to_path_text = value
        elif field == _FROM_PATH:
            request.from_path_text = value
        elif field == _ID:
            request.message_id = value
            if not _MESSAGE_ID.match(value):
                problem = problem or "Malformed Message-ID"
        elif field == _RANGE:
            request.byte_range = _parse_byte_range(value)
        elif field == _TYPE:
            request.content_type = value
        elif field == _SUCCESS:
            request.success_report = value.lower() == "yes"
            if value.lower() not in ("yes", "no"):
                problem = problem or "Malformed Success-Report"
        elif field == _FAILURE:
            request.failure_report = value.lower()
            if request.failure_report not in ("yes", "no", "partial"):
                request.failure_report = "yes"
                problem = problem or "Malformed Failure-Report"
        else:
            request.status = _parse_status(value)
    if others:
        request.headers = tuple(others)
    if not request.to_path_text:
        problem = problem or "To-Path missing"
    if not request.from_path_text:
        problem = problem or "From-Path missing"
    return problem


# Bits, so that one number remembers which of them came.
_TO_PATH, _FROM_PATH, _ID, _RANGE, _TYPE, _SUCCESS, _FAILURE, _STATUS_BIT = (
    1 << n for n in range(8)
)

#: headers that we understand, as they are written and in lower case
_FIELDS = {
    spelling: field
    for name, field in (
        ("To-Path", _TO_PATH),
        ("From-Path", _FROM_PATH),
        ("Message-ID", _ID),
        ("Byte-Range", _RANGE),
        ("Content-Type", _TYPE),
        ("Success-Report", _SUCCESS),
        ("Failure-Report", _FAILURE),
        ("Status", _STATUS_BIT),
    )
    for spelling in (name, name.lower())
}


@lru_cache(maxsize=1024)
def _parse_byte_range(value: str) -> ByteRange | None:
    match = _BYTE_RANGE.match(value)
    if match is None:
        return None
    start, end, total = match.groups()
    return ByteRange(
        int(start), None if end == "*" else int(end), None if total == "*" else int(total)
    )


def _parse_status(value: str) -> Status | None:
    match = _STATUS.match(value)
    if match is None:
        return None
    namespace, code, comment = match.groups()
    return Status(namespace, int(code), (comment or "").strip())
