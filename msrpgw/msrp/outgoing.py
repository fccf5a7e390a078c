"""The sending half of a session: chunks, SEND transactions, REPORTs about what we sent.

    send ──► queue ──turn──► written, waits for responses ──last one──► on_done(200)
               │                        │  first refusal, or 30 s ─────► on_done(status)
               └────────────────────────┴─ connection lost ────────────► on_done(lost)

Imports the pure rooms of msrp, connection, settings and timers.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msrpgw.msrp.chunks import new_transaction_id
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.frame import Request, Response
from msrpgw.msrp.render import render_send
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timer, Timers

#: chunks of one message that may wait for their response: keeps the connection busy and yet
#: lets others in (64 KiB at the default chunk size)
CHUNKS_UNDERWAY = 32

#: how many messages a session knows that were answered and of which no REPORT is expected: what
#: stands behind the peer may yet refuse them
ANSWERED_KNOWN = 16

#: what a sender of our own may not exceed without being ready to interrupt (RFC 4975 §7.1.1)
UNINTERRUPTIBLE = 2048


class Report(NamedTuple):
    """What a REPORT said of a message of ours (RFC 4975 §7.1.2)."""

    message_id: str
    status: int
    comment: str
    byte_range: str  #: as in ``1-5/5``; empty when it had none


class SendResult:
    """How the sending of one message ended."""

    __slots__ = ("comment", "lost", "status")

    def __init__(self, status: int, comment: str, lost: bool = False) -> None:
        self.status = status  #: 200, what the peer refused it with, 408 our time-out, 0 lost
        self.comment = comment
        self.lost = lost  #: the connection went before the peer answered: it may have the message

    def __repr__(self) -> str:
        return f"SendResult({self.status}, {self.comment!r}, lost={self.lost})"


OnDone = Callable[[SendResult], None]

_OK = SendResult(200, "OK")


class Outgoing:
    """One message on its way out.  ``on_done`` is called exactly once."""

    __slots__ = (
        "body",
        "content_type",
        "extension",
        "message_id",
        "offset",
        "on_done",
        "reported",
        "size",
        "success_report",
        "unanswered",
    )

    def __init__(
        self,
        message_id: str,
        content_type: str,
        body: bytes,
        on_done: OnDone,
        success_report: bool,
        extension: str = "",
    ) -> None:
        self.message_id = message_id
        self.content_type = content_type
        self.body = body  #: let go of when the message is done with
        self.size = len(body)
        self.on_done: OnDone | None = on_done  #: None: it was called
        self.success_report = success_report
        self.extension = extension  #: header line of each of its SENDs; "" for none
        self.offset = 0  #: bytes that were written
        self.unanswered = 0  #: chunks that wait for their response
        self.reported: tuple[tuple[int, int], ...] = ()  #: ranges that success REPORTs covered

    @property
    def answered(self) -> bool:
        """Whether all is known of it that was asked for."""
        return self.on_done is None and not self.success_report

    def settle(self, result: SendResult) -> None:
        """Tell how it ended, if that was not told yet."""
        on_done = self.on_done
        if on_done is not None:
            self.on_done = None
            self.body = b""
            on_done(result)

    def covered(self, first: int, last: int) -> bool:
        """Add a range to what the receiver reported; whether it has the whole message now."""
        joined: list[tuple[int, int]] = []
        for start, stop in sorted([*self.reported, (first, last)]):
            if joined and start <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((start, stop))
        self.reported = tuple(joined[:CHUNKS_UNDERWAY])
        return joined[0][0] <= 1 and joined[0][1] >= self.size


class Transaction:
    """One SEND that waits for its response."""

    __slots__ = ("deadline", "message", "sender", "transaction_id")

    def __init__(
        self, sender: "Sender", message: Outgoing, transaction_id: str, deadline: float
    ) -> None:
        self.sender = sender
        self.message = message
        self.transaction_id = transaction_id
        self.deadline = deadline  #: on the clock of Timers; then it has timed out

    def response_received(self, response: Response) -> None:
        """The peer, or a relay, answered."""
        self.sender.answered(self, response.status, response.comment)


class SenderOwner(Protocol):
    """Whose sender it is: a session."""

    def send_refused(self, status: int, comment: str) -> None:
        """The peer answered a SEND with an error; its message's ``on_done`` was told."""


class Sender:
    """What one session has to send, in the order in which it was given.

    Owned by the session.  Invariant: each message is in ``_queue`` until its last chunk was
    written, and in ``_pending`` by its unanswered chunks; ``on_done`` is called once for each.
    """

    __slots__ = (
        "_chunk_size",
        "_connection",
        "_from_path",
        "_owner",
        "_pending",
        "_queue",
        "_random",
        "_remembered",
        "_sent",
        "_timeout",
        "_timer",
        "_timers",
        "_to_path",
        "_window",
    )

    def __init__(
        self,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: MsrpSettings,
        owner: SenderOwner,
    ) -> None:
        self._timers = timers
        self._random = random
        self._chunk_size = settings.chunk_size
        self._window = settings.window
        self._timeout = settings.transaction_timeout
        self._remembered = settings.remembered_ids
        self._owner: SenderOwner | None = owner  # None: stopped
        self._connection: Connection | None = None
        self._to_path = ""
        self._from_path = ""
        self._queue: list[Outgoing] = []  # an idle deque takes 760 bytes
        self._pending: dict[str, Transaction] = {}  # in the order in which they were written
        self._sent: dict[str, Outgoing] = {}  # by Message-ID: what a REPORT may be about
        self._timer: Timer | None = None

    @property
    def unanswered(self) -> bool:
        """Whether a message waits to be written, or for a response."""
        return bool(self._queue or self._pending)

    def start(self, connection: Connection, to_path: str, from_path: str) -> None:
        """The session is bound to a connection: write what waits."""
        self._connection = connection
        self._to_path = to_path
        self._from_path = from_path
        if self._queue:
            connection.want_turn(self)

    def send(self, message: Outgoing) -> None:
        """Write a message now, or as soon as there is a connection and room on it."""
        connection = self._connection
        if (
            connection is not None
            and connection.writable
            and not self._queue
            and message.size <= self._chunk_size
            and len(self._pending) < self._window
        ):
            self._write(connection, message, message.body)
        else:
            self._queue.append(message)
            if connection is not None:
                connection.want_turn(self)

    def take_turn(self) -> bool:
        """Write one chunk.  Returns whether another could follow now."""
        queue = self._queue
        while queue and queue[0].on_done is None:
            queue.pop(0)  # refused, or timed out, while chunks of it were waiting
        connection = self._connection
        if connection is None or not queue or len(self._pending) >= self._window:
            return False
        message = queue[0]
        if message.unanswered >= CHUNKS_UNDERWAY:
            return False
        offset = message.offset
        self._write(connection, message, message.body[offset : offset + self._chunk_size])
        if message.offset >= message.size:
            queue.pop(0)
        return bool(queue)

    def _write(self, connection: Connection, message: Outgoing, chunk: bytes) -> None:
        start = message.offset
        message.offset = end = start + len(chunk)
        message.unanswered += 1
        if not start:
            sent = self._sent
            sent[message.message_id] = message
            known = len(sent)
            if known > ANSWERED_KNOWN or known > self._remembered:
                oldest = next(iter(sent.values()))
                if known > self._remembered or oldest.answered:
                    del sent[oldest.message_id]
        size = message.size
        transaction_id = new_transaction_id(self._random, chunk)
        pending = self._pending
        deadline = self._timers.seconds() + self._timeout
        pending[transaction_id] = connection.transactions[transaction_id] = Transaction(
            self, message, transaction_id, deadline
        )
        if self._timer is None:
            self._timer = self._timers.call_later(self._timeout, self._check_deadlines)
        connection.write(
            render_send(
                transaction_id,
                self._to_path,
                self._from_path,
                message.message_id,
                start + 1,
                # §7.1.1: what is larger must look interruptible.
                end if end - start <= UNINTERRUPTIBLE else None,
                size,
                message.content_type,
                chunk,
                "$" if end == size else "+",
                message.success_report,
                extension=message.extension,
            )
        )

    # Answers

    def answered(self, transaction: Transaction, status: int, comment: str) -> None:
        """A SEND got its response."""
        if self._pending.pop(transaction.transaction_id, None) is None:
            return
        message = transaction.message
        message.unanswered -= 1
        if message.on_done is not None:
            if 200 <= status <= 299:
                if not message.unanswered and message.offset == message.size:
                    message.settle(_OK)
            else:
                self._refused(message, status, comment)
        connection = self._connection
        if self._queue and connection is not None:
            connection.want_turn(self)

    def _check_deadlines(self) -> None:
        # One timer for the session: it looks at the oldest SEND when that could have timed out.
        self._timer = None
        now = self._timers.seconds()
        while self._pending:
            transaction = next(iter(self._pending.values()))
            if transaction.deadline > now:
                self._look_again(transaction.deadline - now)
                return
            if self._connection is not None:
                self._connection.transactions.pop(transaction.transaction_id, None)
            # §10.4: a time-out of ours and a 408 of a relay are the same thing.
            self.answered(transaction, 408, "No response to the SEND")

    def _look_again(self, delay: float) -> None:
        if self._timer is not None:  # armed by a SEND written meanwhile: not the oldest
            self._timer.cancel()
        self._timer = self._timers.call_later(delay, self._check_deadlines)

    def _refused(self, message: Outgoing, status: int, comment: str) -> None:
        self._abort(message, status)
        message.settle(SendResult(status, comment))
        if self._owner is not None:
            self._owner.send_refused(status, comment)

    def _abort(self, message: Outgoing, status: int) -> None:
        connection = self._connection
        # §10.5: after a 413 not a single chunk of the message may follow.
        if connection is None or not 0 < message.offset < message.size or status == 413:
            return
        connection.write(
            render_send(
                new_transaction_id(self._random, b""),
                self._to_path,
                self._from_path,
                message.message_id,
                message.offset + 1,
                None,
                message.size,
                message.content_type,
                b"",
                "#",
                message.success_report,
                extension=message.extension,
            )
        )

    def report_received(self, request: Request) -> Report | None:
        """Take a REPORT.  Returns what the session's listener is to be told, None for nothing.

        §7.3.2: with namespace 000 it says the same as a response with its code; but it is about
        the message alone, since gateways report what became of it far behind the session.
        Success of a part is kept until the parts make up the whole.  A REPORT about nothing
        that we sent is ignored.
        """
        message = self._sent.get(request.message_id)
        report = request.status
        if message is None or report is None or report.namespace != "000":
            return None
        if 200 <= report.code <= 299:
            if not message.success_report:
                return None
            reported = request.byte_range
            if reported is not None and message.size:
                end = message.size if reported.end is None else reported.end
                if not message.covered(reported.start, end):
                    return None
            del self._sent[request.message_id]
            message.settle(_OK)  # the REPORT overtook the response
        else:
            del self._sent[request.message_id]
            if message.on_done is not None:  # still being sent: one answer is enough
                self._abort(message, report.code)
                message.settle(SendResult(report.code, report.comment))
                return None
        part = "" if request.byte_range is None else request.byte_range.text
        return Report(request.message_id, report.code, report.comment, part)

    # The end

    def stop(self, reason: str) -> None:
        """The connection is gone: messages without their answer are lost, told in order."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owner = None  # which has us: no circle
        connection, self._connection = self._connection, None
        pending, self._pending = self._pending, {}
        queue, self._queue = self._queue, []
        self._sent.clear()
        if connection is not None:
            connection.leave_turn(self)
            for transaction_id in pending:
                connection.transactions.pop(transaction_id, None)
        lost = SendResult(0, reason, lost=True)
        for transaction in pending.values():
            transaction.message.settle(lost)
        for message in queue:
            message.settle(lost)
