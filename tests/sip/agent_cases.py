"""What the tests of the user agent core share."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.agent import ClientRequest, UserAgent
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from msrpgw.sip.transaction import ServerTransaction
from msrpgw.sip.transport import Target
from tests.support import Network, check_no_timers, make_agent

US = "10.0.0.1"


PEER = "10.0.0.2"


def parse(data: bytes) -> Request | Response:
    """A message from the wire."""
    found = parse_datagram(data, Limits())
    assert isinstance(found, (Request, Response)), found
    return found


class AgentTestCase(SynchronousTestCase):
    """A raw peer that talks to one agent over UDP."""

    def setUp(self) -> None:
        """An agent that takes INVITE and MESSAGE."""
        self.network = Network()
        self.start()

    def start(self, **settings: object) -> None:
        """A fresh agent."""
        self.agent = make_agent(self.network, US, **settings)
        self.received: list[ServerTransaction] = []
        self.agent.on("MESSAGE", self.received.append)
        self.agent.on("INVITE", self.received.append)

    def finish(self) -> None:
        """Stop; nothing may be left."""
        stopped = self.agent.stop()
        self.network.run(1.1)
        self.successResultOf(stopped)
        check_no_timers(self, self.network.clock, self.agent.timers)

    def deliver(self, data: str | bytes, source: tuple[str, int] = (PEER, 5060)) -> list[bytes]:
        """Send to the agent; returns what it answers."""
        before = len(self.network.datagrams) + 1
        wire = data.encode() if isinstance(data, str) else data
        self.network.send(wire, source, (US, 5060))
        self.network.run()
        return [one.data for one in self.network.datagrams[before:]]

    def ask(self, data: str | bytes) -> Response:
        """Send to the agent; returns its one answer."""
        answers = self.deliver(data)
        self.assertEqual(len(answers), 1, answers)
        found = parse(answers[0])
        assert isinstance(found, Response)
        return found


def wire(
    method: str = "MESSAGE",
    *,
    uri: str = f"sip:bob@{US}",
    branch: str | None = "z9hG4bK1",
    to_tag: str = "",
    from_tag: str = "f",
    call_id: str = "c1",
    cseq: str | None = None,
    headers: str = "",
) -> str:
    """A request on the wire; ``headers`` are whole lines."""
    return (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {PEER}:5060{';branch=' + branch if branch else ''}\r\n"
        f"From: <sip:alice@{PEER}>;tag={from_tag}\r\n"
        f"To: <{uri}>{';tag=' + to_tag if to_tag else ''}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq or '1 ' + method}\r\nMax-Forwards: 70\r\n{headers}"
        "Content-Length: 0\r\n\r\n"
    )


class SendingTestCase(SynchronousTestCase):
    """Two agents on a network."""

    def setUp(self) -> None:
        """We send, the peer answers 200."""
        self.network = Network()
        self.answers: list[Response] = []
        self.received: list[ServerTransaction] = []
        self.us = make_agent(self.network, US)
        self.peer = self.make_peer(PEER)

    def make_peer(self, address: str, status: int = 200, **settings: object) -> UserAgent:
        """A peer that answers each MESSAGE."""
        made = make_agent(self.network, address, **settings)

        def answer(transaction: ServerTransaction) -> None:
            self.received.append(transaction)
            if status:
                made.respond(transaction, status)

        made.on("MESSAGE", answer)
        made.on("INVITE", answer)
        return made

    def make_us(self, **settings: object) -> None:
        """Ourselves, with other settings."""
        self.us.stop()
        self.us = make_agent(self.network, US, **settings)

    def request(
        self,
        method: str = "MESSAGE",
        uri: str = f"sip:bob@{PEER}",
        body: bytes = b"hi",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Request:
        """A request as the gateway makes them."""
        return Request(
            method,
            uri,
            Headers(
                [
                    ("From", f"<sip:alice@{US}>;tag={self.us.new_tag()}"),
                    ("To", "<sip:bob@example.com>"),
                    ("Call-ID", self.us.new_call_id()),
                    ("CSeq", f"1 {method}"),
                    *headers,
                ]
            ),
            body,
        )

    def send(self, request: Request | None = None, **options: Target) -> ClientRequest:
        """Send, and let the answers come."""
        made = self.us.request(request or self.request(), self.answers.append, **options)
        self.network.run()
        return made

    def statuses(self) -> list[int]:
        """The statuses of the answers since the last call."""
        found = [answer.status for answer in self.answers]
        self.answers.clear()
        return found

    def finish(self, *agents: UserAgent) -> None:
        """Stop all; nothing may be left."""
        for agent in (self.us, self.peer, *agents):
            stopped = agent.stop()
            self.network.run(1.1)
            self.successResultOf(stopped)
            self.assertEqual(len(agent.timers), 0)
