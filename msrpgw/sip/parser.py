"""Bytes to messages (RFC 3261 §7, §18.3): datagrams, and streams cut by Content-Length.

A message that comes out has been checked by ``head`` so far that it can be answered and that its
typed properties don't raise.  What can't be understood comes out as ``Malformed``.
"""

from msrpgw.sip.head import Limits, Malformed, read_head
from msrpgw.sip.message import Request, Response
from msrpgw.sip.usual import NO_LENGTH

__all__ = ["Limits", "Malformed", "Ping", "Pong", "StreamParser", "parse_datagram"]


class Ping:
    """CRLF CRLF: the peer asks whether we are there (RFC 5626 §3.5.1)."""

    __slots__ = ()


class Pong:
    """One CRLF: the peer is there (RFC 5626 §3.5.1).

    A Ping is two of them, so each Ping that comes over a stream has a Pong before it.
    """

    __slots__ = ()


PING = Ping()
PONG = Pong()

_NO_START = b"\r\n\0\1\2\3"  # what no message starts with


def parse_datagram(data: bytes, limits: Limits) -> Request | Response | Malformed | Ping | None:
    """Read one datagram; None when there is nothing in it that wants a reaction.

    A body is cut where Content-Length says (§18.3); without it, it is all that follows.
    """
    end = data.find(b"\r\n\r\n")
    if end <= 0 or data[0] in _NO_START:
        stripped = data.lstrip(b"\r\n\0")
        if not stripped:
            return PING if data[:4] == b"\r\n\r\n" else None
        if data[0] < 4:  # STUN (RFC 7983 §7), or some other protocol
            return None
        data = stripped
        end = data.find(b"\r\n\r\n")
    if end < 0:
        message, _ = read_head(data.removesuffix(b"\r\n"), limits)
        request = message if isinstance(message, Request) else None
        if isinstance(message, Malformed):
            return message
        return Malformed(400, "No empty line after the headers", request)
    message, length = read_head(data[:end], limits)
    if isinstance(message, Malformed):
        return message
    body = data[end + 4 :]
    request = message if isinstance(message, Request) else None
    if len(data) > limits.max_message_size:
        return Malformed(513, "Message Too Large", request)
    if length != NO_LENGTH and length != len(body):
        if length > len(body):
            return Malformed(400, "Content-Length larger than the datagram", request)
        body = body[:length]
    message.body = body
    return message


class StreamParser:
    """Cuts a byte stream into messages.  One for each connection.

    Holds at most one message, bounded by ``max_message_size``.  After a fatal ``Malformed``
    it takes no more bytes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0  # no end of the head before this index
        self._message: Request | Response | None = None  # waits for its body
        self._length = 0  # of that body
        self._skip = 0  # octets of a refused body that are still to come
        self._half = False  # a CRLF between messages, maybe the first of a Ping
        self.awaited = 0  #: Pongs that answer Pings of ours: two of them are no Ping
        self._broken = False

    @property
    def pending(self) -> bool:
        """Whether a part of something has come whose rest has not."""
        return bool(self._buffer) or self._message is not None or self._skip > 0

    def feed(self, data: bytes) -> "list[Request | Response | Malformed | Ping | Pong]":
        """Take bytes as the socket gave them; any split is allowed.

        Returns what became complete, in wire order.
        """
        found: list[Request | Response | Malformed | Ping | Pong] = []
        if self._broken:
            return found
        view: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            view = self._buffer
        at = 0
        while at < len(view):
            went = self._step(view, at, found)
            last = found[-1] if found else None
            if isinstance(last, Malformed) and last.fatal:
                self._broken = True
                self._buffer.clear()
                return found
            if went == at:
                break
            at = went
        if view is self._buffer:
            del self._buffer[:at]
        else:
            self._buffer += data[at:]
        return found

    def _step(
        self,
        view: bytes | bytearray,
        at: int,
        found: "list[Request | Response | Malformed | Ping | Pong]",
    ) -> int:
        """Take one thing at ``at``; returns where the next starts, ``at`` for want of more."""
        if self._skip:
            skipped = min(self._skip, len(view) - at)
            self._skip -= skipped
            return at + skipped
        message = self._message
        if message is not None:
            end = at + self._length
            if len(view) < end:
                return at
            message.body = bytes(view[at:end])
            self._message = None
            found.append(message)
            return end
        if view[at] == 13:
            if len(view) < at + 2:
                return at
            if view[at + 1] == 10:
                if self.awaited:
                    self.awaited -= 1
                    found.append(PONG)
                    return at + 2
                found.append(PING if self._half else PONG)
                self._half = not self._half
                return at + 2
        self._half = False
        limit = at + self._limits.max_message_size
        end = view.find(b"\r\n\r\n", at + self._searched)
        if (end + 4 if end >= 0 else len(view)) > limit:
            self._refuse_endless(bytes(view[at:limit]), found)
            return len(view)
        if end < 0:
            # Three octets of the mark may be there already.
            self._searched = max(0, len(view) - at - 3)
            return at
        self._searched = 0
        self._head_received(bytes(view[at:end]), found)
        return end + 4

    def _head_received(
        self, head: bytes, found: "list[Request | Response | Malformed | Ping | Pong]"
    ) -> None:
        message, length = read_head(head, self._limits)
        if isinstance(message, Malformed):
            found.append(message)
            self._skip = max(0, length)
            return
        request = message if isinstance(message, Request) else None
        if length == NO_LENGTH:
            # §18.3 wants it on streams.  Many leave it out where there is no body.
            if "Content-Type" in message.headers:
                found.append(Malformed(400, "Missing Content-Length", request, fatal=True))
                return
            length = 0
        if len(head) + length > self._limits.max_message_size:
            found.append(Malformed(513, "Message Too Large", request))
            self._skip = length
        elif length == 0:
            found.append(message)
        else:
            self._message = message
            self._length = length

    def _refuse_endless(
        self, data: bytes, found: "list[Request | Response | Malformed | Ping | Pong]"
    ) -> None:
        """The headers don't end within the limits: answer from those that are whole."""
        head = data.rpartition(b"\r\n")[0]
        message, _ = read_head(head, self._limits)
        request = message.request if isinstance(message, Malformed) else message
        found.append(
            Malformed(
                513,
                "Message Too Large",
                request if isinstance(request, Request) else None,
                fatal=True,
            )
        )
