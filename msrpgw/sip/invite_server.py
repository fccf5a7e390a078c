"""One INVITE that we received, initial or not: its responses, until the ACK (RFC 3261 §13.3).

    PENDING ──accept──► ACCEPTED ──ACK, or none in 64*T1──► DONE
       └── reject, CANCEL, Expires ───────────────────────► DONE

And what all requests in an INVITE dialog have in common, initial or not.
"""

import enum
from collections.abc import Iterable
from typing import Protocol

from msrpgw.errors import SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Message, Request
from msrpgw.sip.transaction import InviteServerTransaction, ReplyPath, ServerTransaction
from msrpgw.sip.uri import is_secure
from msrpgw.timers import Timer

#: what can be asked of us inside an INVITE dialog
DIALOG_METHODS = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"

#: §13.3.1.1: proxies give an INVITE up unless a provisional response comes every minute
_RING_INTERVAL = 60.0


class ServerInviteOwner(Protocol):
    """Who hears what became of the INVITE: its usage."""

    def invite_withdrawn(self, invite: "ServerInvite", status: int, reason: str) -> None:
        """Cancelled or expired before we decided; it has been answered with ``status``."""

    def invite_acknowledged(self, invite: "ServerInvite", sdp: bytes) -> None:
        """The ACK of our 2xx came, with the answer if the offer was ours."""

    def invite_not_acknowledged(self, invite: "ServerInvite") -> None:
        """No ACK came in 64*T1 (§13.3.1.4)."""


class _State(enum.Enum):
    PENDING = "pending"  # our decision
    ACCEPTED = "accepted"  # the ACK
    DONE = "done"  # nothing


# Looked up in the class they took 2 % of a set-up, until Python 3.12.
_PENDING, _ACCEPTED, _DONE = _State


class ServerInvite:
    """Owned by its usage; ends by a refusal, by its ACK or the lack of one, or by ``stop``."""

    __slots__ = (
        "_agent", "_limit", "_owner", "_repeat", "_state", "_transaction", "contact", "offer",
        "request",
    )  # fmt: skip

    def __init__(
        self, agent: UserAgent, transaction: InviteServerTransaction, owner: ServerInviteOwner
    ) -> None:
        """Raises SipError, unanswered, for a body that is no session description."""
        self.request = transaction.request
        self.offer = session_description(self.request)  #: SDP of the INVITE; b"" asks for ours
        #: our URI in the dialog
        self.contact = contact_for(agent, self.request, transaction.source)
        self._agent = agent
        self._transaction = transaction
        self._owner = owner
        self._state = _PENDING
        self._repeat: Timer | None = None  # of the 2xx, or of the ringing
        self._limit: Timer | None = None  # until we must have decided, or have had the ACK
        patience = self._patience()
        if patience is not None:
            self._limit = agent.timers.call_later(patience, self._expired)
        transaction.on_cancel = self._cancelled

    def _patience(self) -> float | None:
        """Seconds in which it must be decided: timer C, or less if Expires says so (§13.3.1)."""
        limit = self._agent.settings.timer_c or None
        expires = (self.request.headers.get("Expires") or "").strip()
        if expires.isascii() and expires.isdigit() and len(expires) <= 10:
            return min(float(expires), limit or float(expires))
        return limit

    @property
    def pending(self) -> bool:
        """Whether our final answer is still to come."""
        return self._state is _PENDING

    def ring(self, status: int, reason: str | None) -> None:
        """Send a provisional response of the early dialog, and again every minute."""
        if self._state is not _PENDING:
            return
        self._agent.respond(self._transaction, status, reason, self._dialog_headers())
        if self._repeat is not None:
            self._repeat.cancel()
        self._repeat = self._agent.timers.call_later(
            _RING_INTERVAL, lambda: self.ring(status, reason)
        )

    def accept(self, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        """Send the 200, again and again until its ACK comes (§13.3.1.4).  Only when pending."""
        self.stop()
        self._state = _ACCEPTED
        t1 = self._agent.settings.t1
        self._limit = self._agent.timers.call_later(64 * t1, self._not_acknowledged)
        # Over TCP it is repeated too: a hop behind the next one may be UDP.
        fields = [
            *self._dialog_headers(),
            ("Allow", DIALOG_METHODS),
            *headers,
            ("Content-Type", "application/sdp"),
        ]
        self._send_2xx(fields, body, t1)

    def _send_2xx(self, headers: list[tuple[str, str]], body: bytes, interval: float) -> None:
        doubled = min(2 * interval, self._agent.settings.t2)
        self._repeat = self._agent.timers.call_later(
            interval, lambda: self._send_2xx(headers, body, doubled)
        )
        self._agent.respond(self._transaction, 200, None, headers, body)

    def reject(
        self, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a final refusal; the transaction takes care of its ACK."""
        if self._state is _PENDING:
            self.stop()
            self._agent.respond(self._transaction, status, reason, headers)

    def ack_received(self, sdp: bytes) -> None:
        """The ACK came; a repeated one is ignored."""
        if self._state is _ACCEPTED:
            self.stop()
            self._owner.invite_acknowledged(self, sdp)

    def stop(self) -> None:
        """Do nothing more: neither send the 2xx again nor wait for its ACK."""
        self._state = _DONE
        self._transaction.on_cancel = None  # a method of ours: no circle
        self._transaction.settle()
        for timer in (self._repeat, self._limit):
            if timer is not None:
                timer.cancel()
        self._repeat = self._limit = None

    def _cancelled(self) -> None:
        if self._state is _PENDING:
            self._withdraw(487, "Request Terminated")

    def _expired(self) -> None:
        if "Expires" in self.request.headers:
            self._withdraw(487, "Request Expired")
        else:
            self._withdraw(480, "Nobody answered")

    def _withdraw(self, status: int, reason: str) -> None:
        self.reject(status, reason)
        self._owner.invite_withdrawn(self, status, reason)

    def _not_acknowledged(self) -> None:
        self.stop()
        self._owner.invite_not_acknowledged(self)

    @property
    def proven(self) -> bool:
        """Whether the caller's address is known to be its own."""
        return self._transaction.source.proven

    def _dialog_headers(self) -> list[tuple[str, str]]:
        """What a response that makes a dialog, or refreshes its target, must carry (§12.1.1)."""
        routes = self.request.headers.get_all("Record-Route")
        return [*[("Record-Route", route) for route in routes], ("Contact", f"<{self.contact}>")]


def contact_for(agent: UserAgent, request: Request, source: ReplyPath) -> str:
    """Our Contact in the dialog that an INVITE opens or is in: ``sips:`` if the peer's is."""
    above = request.record_routes
    contact = request.contact
    last = above[0].uri.text if above else contact.uri.text if contact is not None else ""
    secure = is_secure(request.uri) or is_secure(last)
    return agent.contact_uri(source.transport, source.host, secure=secure)


def session_description(message: Message) -> bytes:
    """The SDP that a message carries, b"" when it has none.

    Raises SipError (415) for a body of another type, unless its sender calls it optional.
    """
    if not message.body:
        return b""
    headers = message.headers
    essence = (message.content_type or "application/sdp").partition(";")[0].strip().lower()
    if essence != "application/sdp":
        disposition = (headers.get("Content-Disposition") or "").lower()
        if "handling=optional" in disposition.replace(" ", ""):
            return b""
        accept = ("Accept", "application/sdp")
        raise SipError("Unsupported Media Type", status=415, headers=(accept,))
    if (headers.get("Content-Encoding") or "identity").strip().lower() != "identity":
        accept = ("Accept-Encoding", "identity")
        raise SipError("Unsupported Content-Encoding", status=415, headers=(accept,))
    return message.body


def readable_sdp(message: Message) -> bytes:
    """The SDP of a message that can't be refused, b"" when there is none that can be read."""
    try:
        return session_description(message)
    except SipError:
        return b""


def answer_other(agent: UserAgent, transaction: ServerTransaction) -> None:
    """Answer a request in a dialog that neither changes nor ends it (§11.2, §8.2.1)."""
    if transaction.request.method == "OPTIONS":
        agent.respond(transaction, 200, None, agent.capabilities())
    else:
        agent.respond(transaction, 405, None, [("Allow", DIALOG_METHODS)])
