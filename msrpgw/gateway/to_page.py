"""Messages on their way to page users: each as a MESSAGE, a long one as several (RFC 3428 §8).

SendItem ──► request (ids from custody) ──► Pages ──outcome──► custody
                ▲                                     │
                └────────── next part of a text ◄─────┘
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol

from twisted.logger import Logger

from msrpgw.content.media import parse_media_type
from msrpgw.content.split import split_text
from msrpgw.gateway.items import PageCall, SendItem
from msrpgw.gateway.loops import HOPS, MOST
from msrpgw.gateway.page import Outgoing, Pages
from msrpgw.gateway.settings import DeliverySettings
from msrpgw.sip.agent import UserAgent
from msrpgw.types import Message, Outcome, Parties

_log = Logger()

#: bytes that a request may grow by: Via, a Route to the proxy, digits of Content-Length
_SPARE = 200

#: bytes of headers that a MESSAGE hardly ever exceeds: a body that fits beside so many is not long
_USUAL_HEADERS = 500

#: least bytes of text worth a MESSAGE of its own
_LEAST_TEXT = 64


class PageCustody(Protocol):
    """What is told of attempts: custody."""

    def sending(self, item: SendItem) -> PageCall:
        """An attempt begins: these are its ids."""

    def part_arrived(self, item: SendItem) -> None:
        """One more MESSAGE of a text in several has arrived."""

    def send_outcome(self, item: SendItem, outcome: Outcome) -> None:
        """An attempt ended."""


class ToPage:
    """Sends what custody hands over.  One for the gateway."""

    def __init__(
        self,
        agent: UserAgent,
        pages: Pages,
        custody: PageCustody,
        settings: DeliverySettings,
        on_notified: Callable[[], None],
    ) -> None:
        """``on_notified`` is called when a notice has its end."""
        self._agent = agent
        self._pages = pages
        self._custody = custody
        self._on_notified = on_notified
        self.configure(settings)

    def configure(self, settings: DeliverySettings) -> None:
        """Use these settings for messages to come."""
        self._message_max = settings.message_max
        self._split = settings.long_messages == "split"

    def too_long(self, message: Message, parties: Parties, safe: bool) -> bool:
        """Whether a message can't be sent at all: too large, and not to be split."""
        return not self._fits(message, safe) and not self._bodies(message, parties)

    def _fits(self, message: Message, safe: bool) -> bool:
        return safe or len(message.body) + _USUAL_HEADERS <= self._message_max

    def submit(self, item: SendItem, first: bool = False) -> None:
        """Send a message when its turn comes.  ``first``: before the others of its session."""
        if item.bodies is None and not self._fits(item.message, item.safe):
            bodies = self._bodies(item.message, item.parties) or [item.message.body]
            if len(bodies) > 1:
                item.bodies = bodies
            if len(bodies) != item.parts:
                # Of a text cut in another way by an earlier process nobody knows what arrived.
                item.part, item.parts = 0, len(bodies)
        item.job = self._pages.submit(
            item.parties.ruri,
            item.key,
            partial(self._outgoing, item),
            partial(self._outcome, item),
            first,
        )

    def _outgoing(self, item: SendItem) -> Outgoing:
        call = self._custody.sending(item)
        call_id, branch, body = call.call_id, call.branch, item.message.body
        if item.bodies is not None:
            body = item.bodies[item.part]
            call_id = f"{call_id}.{item.part + 1}"
            branch = f"{branch}{item.part:04x}"
        parties = item.parties
        request = self._agent.new_message(
            parties.ruri,
            parties.from_uri,
            parties.to_uri,
            item.message.content_type,
            body,
            call_id=call_id,
            tag=call.tag,
            cseq=call.cseq,
            headers=_one_more(item.message.hops),
        )
        return Outgoing(request, branch, item.safe)

    def _outcome(self, item: SendItem, outcome: Outcome) -> None:
        item.job = None
        if outcome.ok and item.part + 1 < item.parts:
            self._custody.part_arrived(item)
            self.submit(item, first=True)
        else:
            self._custody.send_outcome(item, outcome)

    def notify(self, parties: Parties, content_type: str, body: bytes, hops: int) -> None:
        """Queue one MESSAGE of the gateway's own.  Nothing depends on its arrival.

        ``hops``: gateways that what it is about has passed; a notice about notices comes to an end.
        """
        if hops >= MOST:
            _log.warn("no notice to {ruri!r}: it would go round in circles", ruri=parties.ruri)
            return
        self._pages.submit(
            parties.ruri,
            self,
            partial(self._notice, parties, content_type, body, hops),
            partial(self._notified, parties.ruri),
        )

    def _notice(self, parties: Parties, content_type: str, body: bytes, hops: int) -> Outgoing:
        return Outgoing(
            self._agent.new_message(
                parties.ruri,
                parties.from_uri,
                parties.to_uri,
                content_type,
                body,
                headers=_one_more(hops),
            )
        )

    def _notified(self, ruri: str, outcome: Outcome) -> None:
        if not outcome.ok:
            _log.warn(
                "notice to {ruri!r} not delivered: {status} {reason!r}",
                ruri=ruri,
                status=outcome.status,
                reason=outcome.reason,
            )
        self._on_notified()

    def _bodies(self, message: Message, parties: Parties) -> list[bytes]:
        """What a message is sent as; empty when it is too large and can't be split."""
        empty = self._agent.new_message(
            parties.ruri, parties.from_uri, parties.to_uri, message.content_type, b""
        )
        room = self._message_max - len(empty.render()) - _SPARE
        if len(message.body) <= room or room < _LEAST_TEXT:
            return [message.body]  # whatever is too long then is not the text
        text = self._text(message) if self._split else None
        if text is None:
            return []
        try:
            return [part.encode() for part in split_text(text, room)]
        except ValueError:
            return []

    @staticmethod
    def _text(message: Message) -> str | None:
        """The text of a message that may be split."""
        try:
            media_type = parse_media_type(message.content_type)
            if media_type.essence != "text/plain":
                return None
            charset = media_type.parameter("charset") or "utf-8"
            if charset.lower() not in ("utf-8", "us-ascii"):
                return None
            return message.body.decode()
        except ValueError:
            return None


@lru_cache(16)
def _one_more(hops: int) -> tuple[tuple[str, str], ...]:
    return ((HOPS, str(hops + 1)),)
