"""The torture messages sent into a whole gateway: its reaction, and that it lives on."""

import json
import pathlib
import re
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.support import GATEWAY, Town
from tests.gateway.wire import Wire, WireMsrp

TORTURE = pathlib.Path(__file__).parent.parent / "torture" / "sip"
TORTURER = "192.0.2.99"

_RESPONSE = re.compile(
    rb"^SIP/2\.0 ([2-6]\d\d) [^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL | re.MULTILINE
)


class Torturer(Protocol):
    """A TCP client that says one thing, and keeps what it hears."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.heard = b""
        self.closed = False

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        """Hear."""
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end."""
        self.closed = True


class TortureTests(SynchronousTestCase):
    """RFC 4475 and RFC 5118."""

    def torture(self, data: bytes, tcp: bool) -> tuple[list[str], bytes]:
        """Send it to a gateway; final statuses and ``close``, or ``none``; and all that it said.

        Then the gateway must answer as usual.
        """
        town = Town()
        alice = Wire(town, "alice", "192.0.2.1")
        bob = WireMsrp(town, "bob", "192.0.2.2")
        closed = False
        if tcp:
            torturer = Torturer(data)
            factory = ClientFactory()
            factory.noisy = False
            factory.buildProtocol = lambda addr: torturer  # type: ignore[assignment]
            town.network.host(TORTURER).connectTCP(GATEWAY, 5060, factory)
            town.run(0.4)
            heard, closed = torturer.heard, torturer.closed
        else:
            town.network.send(data, (TORTURER, 5060), (GATEWAY, 5060))
            town.run(0.4)
            heard = b"".join(
                sent.data
                for sent in town.network.datagrams
                if sent.source == (GATEWAY, 5060) and sent.data.startswith(b"SIP/2.0")
            )
        self.live_on(town, alice, bob)
        got = [found[1].decode() for found in _RESPONSE.finditer(heard)]
        return got + ["close"] * closed or ["none"], heard

    def live_on(self, town: Town, alice: Wire, bob: WireMsrp) -> None:
        """OPTIONS, and a message each way."""
        options = alice.ask(alice.make("OPTIONS", f"sip:{GATEWAY}"))
        self.assertEqual(options.status, 200)
        self.assertEqual(alice.message(bob.uri, "hi").status, 202)
        town.run(0.2)
        self.assertEqual(bob.bodies(), ["hi"])
        self.assertEqual(bob.send("hello"), [200])
        self.assertEqual(alice.texts(), ["hello"])
        self.assertEqual(town.gateway.custody.repeated_outcomes, 0)

    def check(self, message: dict[str, Any], tcp: bool) -> None:
        """The reaction is what the index says."""
        wanted = {"allow": [], **message["tcp"]} if tcp and "tcp" in message else message
        patterns = [*wanted["expect"], *wanted["allow"]]
        got, heard = self.torture((TORTURE / message["file"]).read_bytes(), tcp)
        what = (message["name"], "tcp" if tcp else "udp", got, patterns)
        for reaction in got:
            if reaction == "close" and len(got) > 1:
                continue  # after an answer, as the stream can't go on
            self.assertTrue(any(fits(reaction, pattern) for pattern in patterns), what)
        if "need_header" in message and "420" in got:
            self.assertIn(f"\r\n{message['need_header']}:".encode(), heard.lower(), what)

    def test_udp(self) -> None:
        """Each message of the index, as a datagram."""
        for message in self.index():
            self.check(message, tcp=False)

    def test_tcp(self) -> None:
        """Each message of the index, over a connection."""
        for message in self.index():
            self.check(message, tcp=True)

    def test_one_after_the_other(self) -> None:
        """All of them into one gateway, which lives on after each."""
        town = Town()
        alice = Wire(town, "alice", "192.0.2.1")
        for number, message in enumerate(self.index()):
            data = (TORTURE / message["file"]).read_bytes()
            town.network.send(data, (TORTURER, 5060), (GATEWAY, 5060))
            town.run(0.1)
            bob = WireMsrp(town, "bob", f"198.51.100.{number}")
            self.live_on(town, alice, bob)
            alice.received.clear()

    def index(self) -> list[dict[str, Any]]:
        """What the index lists."""
        messages: list[dict[str, Any]] = json.loads((TORTURE / "index.json").read_text())[
            "messages"
        ]
        self.assertGreater(len(messages), 30)
        return messages


def fits(got: str, pattern: str) -> bool:
    """Whether a reaction is what a pattern of the index says."""
    if pattern == "wf":
        return got.isdigit() and got not in ("400", "500", "505", "513")
    if pattern.endswith("xx"):
        return got.isdigit() and got[0] == pattern[0]
    return got == pattern
