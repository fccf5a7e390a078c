"""The load of the crash test: conversations through a gateway that comes and goes.

    PageUser ──MESSAGE──► gateway ──SEND──► TalkingUser        one Half
    PageUser ◄──MESSAGE── gateway ◄──SEND── TalkingUser        the other

Each user says one text after the other, the next one when the former has its final answer
(RFC 3428 §8) or never will.  A positive answer is a promise; what got none may be lost, and is
not said again.  Made of the project's own SIP and MSRP rooms, as the demo's users are.
"""

import itertools
import os
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Request, Response
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import ReplyPath, ServerTransaction
from msrpgw.timers import Timers
from msrpgw.ua.call import Call, CallState
from msrpgw.ua.demo import HOST
from msrpgw.ua.texts import Received, Sent
from msrpgw.ua.users import MsrpUser

#: seconds between two texts of one user; longer when the answer takes longer
INTERVAL = 0.12

#: seconds until a user whose text got no answer goes on
SULK = 0.2

#: share of texts that their receiver thinks about before taking them, and seconds of it: longer
#: than the gateway holds answers, so that it has to take custody with everything up
THOUGHTFUL = 0.1
THOUGHT = 0.5

#: of the users' SIP: so short that retransmissions meet the gateway soon after its start
T1 = 0.1


class Half:
    """One direction of a conversation: what was said, what was promised and what came."""

    def __init__(self, name: str) -> None:
        self.name = name  #: conversation and who speaks
        self.said = 0
        self.promised: dict[int, int] = {}  #: status of the positive answer, by number
        self.reported: dict[int, int] = {}  #: status of a REPORT of failure, by number
        #: ids that each text came with, once for each time; in the order of first arrivals
        self.came: dict[int, list[str]] = {}
        self.strange: list[str] = []  #: what came and was not said

    def next_text(self) -> tuple[int, str]:
        """Something new to say, and its number."""
        self.said += 1
        return self.said, f"{self.name}/{self.said}"

    def arrived(self, text: str, ids: str) -> None:
        """A text came."""
        name, _, number = text.rpartition("/")
        if name == self.name:
            self.came.setdefault(int(number), []).append(ids)
        else:
            self.strange.append(text)

    def missing(self) -> list[int]:
        """Numbers of what was promised and has not come."""
        return [number for number in self.promised if number not in self.came]

    def repeated(self) -> int:
        """How often something came that had come before."""
        return sum(len(ids) - 1 for ids in self.came.values())

    def faults(self) -> list[str]:
        """What is wrong."""
        found = [
            f"{self.name}/{number} was answered {self.promised[number]}, and lost"
            + (f"; a REPORT said {self.reported[number]}" if number in self.reported else "")
            for number in self.missing()
        ]
        promised = [number for number in self.came if number in self.promised]
        found += [
            f"{self.name}/{later} came before {self.name}/{number}"
            for later, number in itertools.pairwise(promised)
            if later > number
        ]
        found += [
            f"{self.name}/{number} came with several ids: {', '.join(sorted(set(ids)))}"
            for number, ids in self.came.items()
            if len(set(ids)) > 1
        ]
        found += [
            f"{self.name}/{number} was never said" for number in self.came if number > self.said
        ]
        return found


class Speaker:
    """Says the texts of a Half, one at a time, at most one in ``INTERVAL`` seconds."""

    def __init__(
        self,
        timers: Timers,
        dice: random.Random,
        half: Half,
        say: Callable[[int, str], None],
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """``say`` sends a text; ``answered`` is to be told of it, after ``say`` has returned.
        ``ready`` tells whether there is any use in speaking now."""
        self._timers = timers
        self._say = say
        self._ready = ready
        self._half = half
        self._spoke_at = 0.0
        self._stopped = False
        self.awaited = 0  #: number of the text whose answer is awaited; 0: none
        timers.call_later(dice.random() * INTERVAL, self._speak)

    def _speak(self) -> None:
        if self._stopped:
            return
        if not self._ready():
            self._timers.call_later(INTERVAL / 2, self._speak)
            return
        self._spoke_at = self._timers.seconds()
        self.awaited, text = self._half.next_text()
        self._say(self.awaited, text)

    def answered(self, number: int, status: int) -> None:
        """A text got its final answer; ``status`` is 0 when there will be none."""
        promise = 200 <= status < 300
        if promise:
            self._half.promised[number] = status
        if number == self.awaited:
            self.awaited = 0
            rest = self._spoke_at + INTERVAL - self._timers.seconds()
            self._timers.call_later(max(rest, 0.0) if promise else SULK, self._speak)

    def give_up(self) -> None:
        """The answer that is awaited can't come any more."""
        if self.awaited:
            self.answered(self.awaited, 0)

    def stop(self) -> None:
        """Say nothing more; what is awaited may still come."""
        self._stopped = True


class _Agent(UserAgent):
    """A user's, who may live behind something that swallows ICMP.

    Then nobody tells that the gateway is away, and the request is sent again until it is back.
    """

    deaf = False
    merged = 0  #: requests that were refused as merged, of all users

    def _undeliverable(self, data: bytes, reason: str) -> None:
        if not self.deaf:
            super()._undeliverable(data, reason)

    def merged_request_received(self, request: Request, source: ReplyPath) -> None:
        """Another branch of what came before, which is refused with 482."""
        _Agent.merged += 1
        super().merged_request_received(request, source)


def _agent(reactor: Any, timers: Timers, port: int, gateway: int, *, tcp: bool) -> _Agent:
    agent = _Agent(
        reactor,
        timers,
        SipSettings(
            listen=(f"udp:{HOST}:{port}", f"tcp:{HOST}:{port}"),
            outbound_proxy=f"sip:{HOST}:{gateway};lr{';transport=tcp' if tcp else ''}",
            t1=T1,
            t2=4 * T1,
        ),
        os.urandom,
        allow_source=lambda address: True,
    )
    agent.start()
    return agent


class PageUser:
    """Has only MESSAGE."""

    def __init__(
        self, agent: UserAgent, dice: random.Random, me: str, peer: str, said: Half, heard: Half
    ) -> None:
        self._agent = agent
        self._dice = dice
        self._me = me
        self._peer = peer
        self._heard = heard
        self.speaker = Speaker(agent.timers, dice, said, self._say)
        agent.on("MESSAGE", self._received)

    def _say(self, number: int, text: str) -> None:
        request = self._agent.new_message(
            self._peer, self._me, self._peer, "text/plain;charset=UTF-8", text.encode()
        )
        self._agent.request(request, partial(self._answered, number))

    def _answered(self, number: int, response: Response) -> None:
        if response.status >= 200:
            self.speaker.answered(number, 0 if response.local else response.status)

    def _received(self, transaction: ServerTransaction) -> None:
        if self._dice.random() < THOUGHTFUL:
            self._agent.timers.call_later(THOUGHT, partial(self._take, transaction))
        else:
            self._take(transaction)

    def _take(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        self._agent.respond(transaction, 200)
        self._heard.arrived(request.body.decode(), f"{request.call_id} {request.cseq.number}")


class TalkingUser(MsrpUser):
    """Has MSRP.  Hangs up now and then; ``calls_back``, or waits until it is called again."""

    def __init__(
        self,
        agent: UserAgent,
        endpoint: Endpoint,
        dice: random.Random,
        me: str,
        peer: str,
        said: Half,
        heard: Half,
        *,
        calls_back: bool,
    ) -> None:
        super().__init__(agent, endpoint, agent.timers, me, self._nothing, setup_timeout=5.0)
        self._dice = dice
        self._peer = peer
        self._heard = heard
        self._said = said
        self._calls_back = calls_back
        self._calling_back = False
        self._inbox: deque[tuple[Call, Incoming]] = deque()
        self._stopped = False
        self.clock = agent.timers
        self.calls_up = 0  #: how often a call came up
        self.speaker = Speaker(self.clock, dice, said, self._say, self._can_speak)
        self._call_later()

    @staticmethod
    def _nothing(received: Received) -> None:
        """Texts are taken below, with their ids."""

    def stop(self) -> None:
        """Say nothing more, and keep the calls."""
        self._stopped = True
        self.speaker.stop()

    # Texts

    def _can_speak(self) -> bool:
        call = self.calls.get(self._peer)
        return call is not None and call.state is CallState.UP

    def _say(self, number: int, text: str) -> None:
        self.send(self._peer, text, partial(self._sent, number))

    def _sent(self, number: int, sent: Sent) -> None:
        if not sent.ok and number in self._said.promised:
            self._said.reported[number] = sent.status
        else:
            self.speaker.answered(number, sent.status)

    def text_received(self, call: Call, incoming: Incoming) -> None:
        """A text came: it is had when it was taken out of the inbox, in its turn."""
        self._inbox.append((call, incoming))
        if len(self._inbox) == 1:
            self._look()

    def _look(self) -> None:
        while self._inbox:
            if self._dice.random() < THOUGHTFUL:
                self.clock.call_later(THOUGHT, partial(self._thought, self._inbox[0]))
                return
            self._take()

    def _thought(self, about: tuple[Call, Incoming]) -> None:
        if self._inbox and self._inbox[0] is about:
            self._take()
            self._look()

    def _take(self) -> None:
        _, incoming = self._inbox.popleft()
        incoming.accept()
        incoming.report(200, "OK")
        self._heard.arrived(incoming.body.decode(), incoming.message_id)

    def _drop_inbox(self, call: Call) -> None:
        """What was not taken when its connection broke is the gateway's to send again."""
        first = self._inbox[0] if self._inbox else None
        self._inbox = deque(each for each in self._inbox if each[0] is not call)
        if self._inbox and self._inbox[0] is not first:
            self._look()

    # Calls

    def call_changed(self, call: Call, what: str) -> None:
        """A call came up, or lost its connection and with it all use."""
        super().call_changed(call, what)
        if call.state is CallState.UP:
            self.calls_up += 1
            self.clock.call_later(self._dice.uniform(0.2, 2.0), partial(self._enough, call))
        else:
            self._call_lost(call)
            call.end("The connection is lost")

    def call_over(self, call: Call, what: str) -> None:
        """A call is over, or did not come about."""
        super().call_over(call, what)
        self._call_lost(call)

    def _call_lost(self, call: Call) -> None:
        self._drop_inbox(call)
        if self.calls.get(self._peer, call) is call:
            self.speaker.give_up()
        self._call_later()

    def _enough(self, call: Call) -> None:
        if call.state is CallState.UP and not self._stopped:
            call.end("That is all for now")

    def _call_later(self) -> None:
        if self._calls_back and not self._calling_back:
            self._calling_back = True
            self.clock.call_later(self._dice.uniform(0.05, 0.5), self._call_back)

    def _call_back(self) -> None:
        self._calling_back = False
        call = self.calls.get(self._peer)
        if not self._stopped and (call is None or call.state is CallState.MOVING):
            self.call(self._peer)


class Conversation:
    """A page user and an MSRP user who talk with each other."""

    def __init__(
        self, reactor: Any, timers: Timers, dice: random.Random, number: int, ports: list[int]
    ) -> None:
        """``ports``: of the page user, the MSRP user and the gateway.

        ``number`` decides by its bits who uses TCP, calls back, and hears of ICMP.
        """
        page_port, msrp_port, gateway_port = ports
        self.from_page, self.from_msrp = Half(f"{number}/page"), Half(f"{number}/msrp")
        page_tcp, msrp_tcp, calls_back, deaf = (bool(number >> bit & 1) for bit in range(4))
        page_uri = f"sip:alice{number}@{HOST}:{page_port}{';transport=tcp' if page_tcp else ''}"
        msrp_uri = f"sip:bob{number}@{HOST}:{msrp_port}{';transport=tcp' if msrp_tcp else ''}"
        agent = _agent(reactor, timers, page_port, gateway_port, tcp=page_tcp)
        agent.deaf = deaf
        self.page = PageUser(agent, dice, page_uri, msrp_uri, self.from_page, self.from_msrp)
        agent = _agent(reactor, timers, msrp_port, gateway_port, tcp=msrp_tcp)
        agent.deaf = deaf
        endpoint = Endpoint(
            reactor,
            timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0"),
            allow_source=lambda address: True,
        )
        endpoint.listen()
        self.msrp = TalkingUser(
            *(agent, endpoint, dice, msrp_uri, page_uri, self.from_msrp, self.from_page),
            calls_back=calls_back,
        )

    def stop(self) -> None:
        """Say nothing more."""
        self.page.speaker.stop()
        self.msrp.stop()

    def settled(self) -> bool:
        """Whether nobody waits for an answer, and all that was promised came."""
        awaited = self.page.speaker.awaited or self.msrp.speaker.awaited
        return not (awaited or self.from_page.missing() or self.from_msrp.missing())


class Load:
    """All conversations."""

    def __init__(self, reactor: Any, dice: random.Random, count: int, ports: list[int]) -> None:
        """``ports``: the gateway's, and two for each conversation."""
        timers = Timers(reactor)
        gateway, *own = ports
        self.conversations = [
            Conversation(reactor, timers, dice, number, [*own[2 * number :][:2], gateway])
            for number in range(count)
        ]

    @property
    def to_msrp(self) -> list[Half]:
        """What the page users say."""
        return [each.from_page for each in self.conversations]

    @property
    def to_page(self) -> list[Half]:
        """What the MSRP users say."""
        return [each.from_msrp for each in self.conversations]

    @property
    def promised(self) -> int:
        """How many texts got a positive answer."""
        return sum(len(half.promised) for half in (*self.to_msrp, *self.to_page))

    def stop(self) -> None:
        """Say nothing more."""
        for each in self.conversations:
            each.stop()

    def settled(self) -> bool:
        """Whether all that was promised came."""
        return all(each.settled() for each in self.conversations)

    def faults(self) -> list[str]:
        """What is wrong."""
        return [fault for half in (*self.to_msrp, *self.to_page) for fault in half.faults()]

    def summary(self) -> str:
        """The counts."""
        lines = []
        for arrow, halves in (("MESSAGE to MSRP", self.to_msrp), ("MSRP to MESSAGE", self.to_page)):
            statuses = [status for half in halves for status in half.promised.values()]
            each = ", ".join(f"{status}: {statuses.count(status)}" for status in set(statuses))
            strange = sum(len(half.strange) for half in halves)
            reported = sum(len(half.reported) for half in halves)
            lines.append(
                f"{arrow}: sent {sum(half.said for half in halves)},"
                f" promised {len(statuses)} ({each}),"
                f" arrived {sum(len(half.came) for half in halves)},"
                f" repeated {sum(half.repeated() for half in halves)},"
                f" reported as failed {reported}, notices {strange}"
            )
        up = sum(each.msrp.calls_up for each in self.conversations)
        lines.append(f"calls: {up} came up; refused as merged: {_Agent.merged}")
        return "\n".join(lines)
