"""The torture messages, and what an agent answers to them."""

import json
import pathlib
from collections.abc import Callable

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.agent import UserAgent
from msrpgw.sip.transaction import ServerTransaction
from tests.sip.agent_cases import PEER, US, wire
from tests.support import Network, make_agent

TORTURE = pathlib.Path(__file__).parent.parent / "torture" / "sip"


class TortureTests(SynchronousTestCase):
    """RFC 4475 and RFC 5118 over UDP and TCP; then a normal request is answered."""

    def react(self, data: bytes, tcp: bool) -> list[str]:
        """What the agent answers: statuses, ``close``; ``none`` when nothing."""
        network = Network()
        agent = make_agent(network, US)
        for method, status in (("MESSAGE", 200), ("INVITE", 486), ("REGISTER", 200)):
            agent.on(method, self.answering(agent, status))
        got: list[str] = []
        if tcp:
            self.send_tcp(network, data, got)
        else:
            network.send(data, (PEER, 5060), (US, 5060))
            network.run(0.4)
            got = [one.data.split(b" ", 2)[1].decode() for one in network.datagrams[1:]]
        network.datagrams.clear()
        network.send(wire("OPTIONS", call_id="after").encode(), (PEER, 5060), (US, 5060))
        network.run()
        self.assertIn(b"SIP/2.0 200 OK", network.datagrams[-1].data)
        return got or ["none"]

    def answering(self, agent: UserAgent, status: int) -> Callable[[ServerTransaction], None]:
        """A receiver that answers."""
        return lambda transaction: agent.respond(transaction, status)

    def send_tcp(self, network: Network, data: bytes, got: list[str]) -> None:
        """One connection; keeps statuses and the end."""

        class Raw(Protocol):
            def connectionMade(self) -> None:
                """Send."""
                self.transport.write(data)

            def dataReceived(self, data: bytes) -> None:
                """Keep the status."""
                got.append(data.split(b" ", 2)[1].decode())

            def connectionLost(self, reason: Failure) -> None:
                """Keep the end."""
                got.append("close")

        factory = ClientFactory()
        factory.protocol = Raw
        network.host(PEER).connectTCP(US, 5060, factory)
        network.run(0.4)

    def test_index(self) -> None:
        """The reaction of the index, for each message."""
        index = json.loads((TORTURE / "index.json").read_text())
        for message in index["messages"]:
            data = (TORTURE / message["file"]).read_bytes()
            for tcp in (False, True):
                wanted = message
                if tcp and message.get("tcp"):
                    wanted = {"allow": [], **message["tcp"]}
                patterns = [*wanted["expect"], *wanted["allow"]]
                for got in self.react(data, tcp):
                    self.assertTrue(
                        any(fits(got, pattern) for pattern in patterns)
                        or (got == "close" and wanted.get("closes"))
                        or (got == "close" and "close" in patterns),
                        (message["name"], tcp, got, patterns),
                    )


def fits(got: str, pattern: str) -> bool:
    """Whether a reaction is what a pattern of the index says."""
    if pattern == "wf":
        return got.isdigit() and got not in ("400", "500", "505", "513")
    if pattern.endswith("xx"):
        return got.isdigit() and got[0] == pattern[0]
    return got == pattern
