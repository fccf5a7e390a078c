"""The receiving half of a session: chunks put together, answers held until the outcome is known.

Imports the pure rooms of msrp, content, connection, settings and timers.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from msrpgw.content.media import accepts, parse_media_type
from msrpgw.errors import MsrpError
from msrpgw.msrp.chunks import Assembler, Budget, new_transaction_id
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.frame import Request
from msrpgw.msrp.render import render_report, render_response
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timer, Timers

#: keep-alives of some peers: answered, never a message
HEARTBEAT = "text/x-msrp-heartbeat"

#: the share of the Message-IDs it remembers that a session forgets at a time: one of so many
_FORGOTTEN = 8

#: most repetitions of one held message
REMEMBERED = 64

#: to path, Message-ID, size, status and comment of a REPORT
_Owed = tuple[str, str, int, int, str]


class Incoming:
    """One whole message that came in.

    The SEND that completed it waits for its response until ``accept`` or ``refuse``; afterwards
    ``report`` tells the end result to a sender that asked for it.
    """

    __slots__ = (
        "_answered",
        "_connection",
        "_receiver",
        "_repeats",
        "_reported",
        "_request",
        "body",
        "content_type",
    )

    def __init__(
        self,
        receiver: "Receiver",
        connection: Connection,
        request: Request,
        content_type: str,
        body: bytes,
    ) -> None:
        self._receiver = receiver
        self._request = request
        self._answered = False
        self._reported = False
        self._repeats: list[tuple[Connection, Request]] = []
        self._connection = connection  # that the completing chunk came on
        self.content_type = content_type  #: as received
        self.body = body  #: the whole content

    @property
    def message_id(self) -> str:
        """The sender's Message-ID."""
        return self._request.message_id

    def extension(self, name: str) -> str | None:
        """The first value of a header that RFC 4975 does not know (§9); None without one."""
        for found, value in self._request.headers:
            if found.lower() == name.lower():
                return value
        return None

    @property
    def success_report(self) -> bool:
        """Whether the sender wants a REPORT of success."""
        return self._request.success_report

    @property
    def failure_report(self) -> str:
        """What the sender wants to know of failure: yes, partial or no (RFC 4975 §7.1.4)."""
        return self._request.failure_report

    def accept(self) -> None:
        """Take the message over: 200, where one is owed.  Does nothing the second time."""
        if not self._answered:
            self._answered = True
            self._receiver.accepted(self.message_id)
            request = self._request
            if request.failure_report == "yes":
                self._connection.write(render_response(request, 200, "OK"))
            for connection, repeated in self._repeats:
                acknowledge(connection, repeated)
            self._repeats = []

    def refuse(self, status: int, comment: str) -> None:
        """Answer with an error, unless the sender doesn't want to know.

        The same Message-ID is taken again when it comes again.
        """
        if not self._answered:
            self._answered = True
            self._receiver.refused(self.message_id)
            comment = phrase(comment)
            self._connection.refuse(self._request, status, comment)
            for connection, repeated in self._repeats:
                connection.refuse(repeated, status, comment)
            self._repeats = []

    def report(self, status: int, comment: str = "") -> None:
        """Tell the sender what became of the message, where it asked for that (§7.1.3, §7.1.4)."""
        if not self._reported:
            self._reported = True
            self._receiver.settled(self.message_id, status)
            self._receiver.report(self._request, len(self.body), status, comment)

    def repeat(self, connection: Connection, request: Request) -> None:
        """The same message came again while its answer is held: it gets the same answer."""
        if len(self._repeats) < REMEMBERED:
            self._repeats.append((connection, request))
        else:
            connection.refuse(request, 403, "Repeated too often")


def acknowledge(connection: Connection, request: Request) -> None:
    """Answer 200 where one is owed: partial and no never get one (§7.1.4)."""
    if request.failure_report == "yes":
        connection.write(render_response(request, 200, "OK"))


def phrase(comment: str) -> str:
    """A comment that can be written: what others made up must not become lines of ours."""
    if comment.isprintable():
        return comment
    return "".join(character if character.isprintable() else "?" for character in comment)


class ReceiverOwner(Protocol):
    """Whose receiver it is: a session."""

    def message_received(self, incoming: Incoming) -> None:
        """A whole message came."""


class Receiver:
    """What one session receives.

    Owned by the session.  Message-IDs are remembered beyond it: a session that replaces a lost
    one takes them over (RFC 4975 §5.4), and reports for the lost one.
    """

    __slots__ = (
        "_accept_types",
        "_assembler",
        "_budget",
        "_max_ids",
        "_max_size",
        "_owed",
        "_owner",
        "_random",
        "_settings",
        "_timer",
        "_timers",
        "connection",
        "ids",
        "path",
        "peer_path",
        "successor",
    )

    def __init__(
        self,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: MsrpSettings,
        budget: Budget,
        accept_types: tuple[str, ...],
        owner: ReceiverOwner,
    ) -> None:
        self._timers = timers
        self._random = random
        self._max_size = settings.max_size
        self._max_ids = settings.remembered_ids
        self._accept_types = accept_types
        self._owner: ReceiverOwner | None = owner  # None: stopped
        self._settings = settings
        self._budget = budget
        self._assembler: Assembler | None = None  # most messages come in one chunk
        self._timer: Timer | None = None
        #: Message-IDs that were had: the message while its answer is held, 0 when it was
        #: accepted, its end result when that is known
        self.ids: dict[str, Incoming | int] = {}
        self.connection: Connection | None = None  #: None before the session is up, and after
        self.path = ""  #: our URI
        self.peer_path = ""  #: the peer's a=path
        self._owed: tuple[_Owed, ...] = ()  # REPORTs that wait for a session
        self.successor: Receiver | None = None  #: of the session that replaced this one

    # SENDs

    def send_received(self, connection: Connection, request: Request) -> None:
        """Take one SEND that belongs to the session (§7.3.1)."""
        content_type = request.content_type
        body = request.body
        if content_type is None or (body is None and not request.truncated):
            acknowledge(connection, request)  # binds, keeps alive, says nothing
            return
        fate = _fate(self._accept_types, content_type)
        if fate:
            if fate == 200:
                acknowledge(connection, request)
            elif fate == 415:
                connection.refuse(request, 415, "Unsupported media type")
            else:
                connection.refuse(request, fate, "Malformed Content-Type")
            return
        message_id = request.message_id
        if not message_id:
            connection.refuse(request, 400, "Message-ID missing")
            return
        if message_id in self.ids:
            self._repeated(connection, request)
            return
        byte_range = request.byte_range
        if body is None or len(body) > self._max_size:
            connection.refuse(request, 413, "Message too large")
            return
        if (
            request.continuation != "$"
            or (byte_range is not None and byte_range.start != 1)
            or (byte_range is None and self._has_part_of(message_id))  # some never write one
        ):
            whole = self._add_chunk(connection, request)
            if whole is None:
                return
            content_type, body = whole
        incoming = Incoming(self, connection, request, content_type, body)
        ids = self.ids
        ids[message_id] = incoming
        if len(ids) > self._max_ids:
            # Many at a time: one by one, a dictionary looks for its first key ever longer.
            for oldest in list(ids)[: max(1, self._max_ids // _FORGOTTEN)]:
                del ids[oldest]
        if self._owner is not None:
            self._owner.message_received(incoming)

    def _has_part_of(self, message_id: str) -> bool:
        return self._assembler is not None and message_id in self._assembler

    def _add_chunk(self, connection: Connection, request: Request) -> tuple[str, bytes] | None:
        """Put a chunk to its message.  Returns type and content when the message is whole."""
        if self._assembler is None:
            self._assembler = Assembler(self._budget, self._settings)
        try:
            whole = self._assembler.add(request, self._timers.seconds())
        except MsrpError as error:
            connection.refuse(request, error.status, error.comment)
            return None
        if self._timer is None:
            self._expire()
        if whole is None:
            acknowledge(connection, request)
        return whole

    def _expire(self) -> None:
        assert self._assembler is not None
        self._timer = None
        wait = self._assembler.expire(self._timers.seconds())
        if wait is not None:
            self._timer = self._timers.call_later(wait, self._expire)

    def _repeated(self, connection: Connection, request: Request) -> None:
        # §5.4: duplicates are acknowledged, and reported, but not delivered.
        earlier = self.ids[request.message_id]
        if request.continuation != "$":
            acknowledge(connection, request)
        elif isinstance(earlier, Incoming):
            earlier.repeat(connection, request)
        else:
            acknowledge(connection, request)
            if earlier:
                self.report(request, len(request.body or b""), earlier, "Had before")

    # What became of a message

    def accepted(self, message_id: str) -> None:
        """A message was accepted: from now on its repetitions are acknowledged at once."""
        if message_id in self.ids:
            self.ids[message_id] = 0

    def refused(self, message_id: str) -> None:
        """A message was refused: it may come again."""
        self.ids.pop(message_id, None)

    def settled(self, message_id: str, status: int) -> None:
        """The end result of an accepted message is known."""
        if message_id in self.ids:
            self.ids[message_id] = status

    def report(self, request: Request, size: int, status: int, comment: str) -> None:
        """Send a REPORT about a message, if its sender asked for one of this kind."""
        wanted = request.success_report if status == 200 else request.failure_report != "no"
        if not wanted:
            return
        receiver = self
        while receiver.successor is not None:
            receiver = receiver.successor
        to_path = request.from_path_text if receiver is self else receiver.peer_path
        owed = (to_path, request.message_id, size, status, phrase(comment))
        if receiver.connection is not None:
            receiver._write_report(receiver.connection, *owed)
        elif len(receiver._owed) < receiver._max_ids:
            # §7.1.2: none for a session that is over, but there may be one in its place.
            receiver._owed = (*receiver._owed, owed)

    def _write_report(
        self,
        connection: Connection,
        to_path: str,
        message_id: str,
        size: int,
        status: int,
        comment: str,
    ) -> None:
        transaction_id = new_transaction_id(self._random, b"")
        connection.write(
            render_report(transaction_id, to_path, self.path, message_id, size, status, comment)
        )

    # The session's life

    def start(self, connection: Connection, path: str, peer_path: str) -> None:
        """The session is bound to a connection."""
        self.connection = connection
        self.path = path
        self.peer_path = peer_path
        owed, self._owed = self._owed, ()
        for _, message_id, size, status, comment in owed:
            self._write_report(connection, peer_path, message_id, size, status, comment)

    def stop(self) -> None:
        """The session is over: half-received messages are dropped."""
        self._owner = None  # which has us: no circle
        self.connection = None
        if self._assembler is not None:
            self._assembler.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def replace(self, other: "Receiver") -> None:
        """Remember what another session's receiver had, and report for it."""
        self.ids = other.ids
        self._owed, other._owed = other._owed, ()
        other.successor = self


# One memory for all sessions: one of its own took each 250 bytes.
@lru_cache(maxsize=1024)
def _fate(accept_types: tuple[str, ...], content_type: str) -> int:
    """What becomes of a SEND of this type: 0 deliver, 200 keep-alive, or its refusal."""
    try:
        media_type = parse_media_type(content_type)
    except ValueError:
        return 400
    if media_type.essence == HEARTBEAT:
        return 200
    return 0 if accepts(accept_types, media_type) else 415
