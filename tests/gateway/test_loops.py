"""Messages that go round in circles: between gateways that take each other for somebody."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.loops import MOST
from msrpgw.gateway.settings import NoticeSettings, PolicySettings
from msrpgw.sip.message import Request
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

OTHER = "192.0.2.66"
BOB = "sip:bob@192.0.2.2"


class HopsTests(SynchronousTestCase):
    """What says how many gateways a message has passed."""

    def setUp(self) -> None:
        self.town = Town()
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.call(self.alice.uri)
        self.town.run(0.1)

    def message(self, *hops: str) -> int:
        request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
        for value in hops:
            request.headers.add("msrpgw-hops", value)
        return self.alice.ask(request).status

    def test_from_a_user(self) -> None:
        """The SEND that a user's MESSAGE becomes has no header that its receiver may not know."""
        self.assertEqual(self.message(), 200)
        self.assertEqual(self.bob.sends()[-1].headers, ())

    def test_to_a_user(self) -> None:
        self.bob.send("hi")
        self.assertEqual(self.alice.requests("MESSAGE")[-1].headers.get("Msrpgw-Hops"), "1")

    def test_carried_on(self) -> None:
        self.assertEqual(self.message("3"), 200)
        self.assertEqual(self.bob.sends()[-1].headers, (("Msrpgw-Hops", "3"),))
        self.bob.send("hi", Msrpgw_Hops="3")
        self.assertEqual(self.alice.requests("MESSAGE")[-1].headers.get("Msrpgw-Hops"), "4")

    def test_ours_comes_back(self) -> None:
        """A proxy takes the gateway's MESSAGE to Alice for one to the gateway."""

        def send_back(request: Request) -> None:
            request.headers.insert_first("Via", f"SIP/2.0/UDP {self.alice.host};branch=z9hG4bKback")
            self.alice.write(request)

        self.alice.on_request = send_back
        self.bob.send("hi")
        self.town.run(0.5)
        looped = self.alice.requests("MESSAGE")[0]
        self.assertEqual({each.status for each in self.alice.responses(looped)}, {482})

    def test_too_many(self) -> None:
        self.assertEqual(self.message(str(MOST)), 200)
        self.assertEqual(self.message(str(MOST + 1)), 482)
        self.assertEqual(len(self.bob.sends()), 1)

    def test_nonsense(self) -> None:
        """It is no number, and stops nobody."""
        for value in ("", "x", "-1", "9" * 400, "1e3", "\u0665"):
            self.assertEqual(self.message(value), 200, value)
        self.bob.send("hi", Msrpgw_Hops="many")
        self.assertEqual(self.alice.requests("MESSAGE")[-1].headers.get("Msrpgw-Hops"), "1")


class PingPongTests(SynchronousTestCase):
    """Two gateways, each the other's proxy: whatever one sends, the other gets."""

    def towns(self, **settings: object) -> tuple[Town, Town]:
        here = Town(sip={"outbound_proxy": f"sip:{OTHER};lr"}, **settings)  # type: ignore[arg-type]
        there = Town(
            sip={"outbound_proxy": f"sip:{here.host};lr"},
            network=here.network,
            host=OTHER,
            **settings,  # type: ignore[arg-type]
        )
        return here, there

    def play(self, here: Town, there: Town, text: str) -> int:
        """Alice writes to Bob, whom nobody knows; how many MESSAGEs the gateways make of it."""
        alice = Wire(here, "alice", "192.0.2.1")
        before = len(here.network.datagrams)
        request = alice.make("MESSAGE", BOB, text.encode(), "text/plain")
        alice.write(request)
        here.run(120)
        self.assertIn(alice.responses(request)[-1].status, (202, 400, 480, 482, 500))
        sent = [
            each for each in here.network.datagrams[before:] if each.data.startswith(b"MESSAGE ")
        ]
        quiet = len(here.network.datagrams)
        here.run(60)
        late = [
            each for each in here.network.datagrams[quiet:] if each.data.startswith(b"MESSAGE ")
        ]
        self.assertEqual(late, [], "it has come to rest")
        for town in (here, there):
            self.assertEqual(town.gateway.pages.pending, 0)
            self.assertEqual(town.gateway.room.used, 0)
        return len(sent)

    def test_the_same_conversation(self) -> None:
        """One session each, and a text that would never leave it."""
        self.assertLess(self.play(*self.towns(), "hello"), 40)

    def test_ever_new_conversations(self) -> None:
        """Each round with a key of its own: sessions without end."""
        policy = PolicySettings(message_key="{header[Call-ID]}", invite_key="{header[Call-ID]}")
        here, there = self.towns(policy=policy, notice=NoticeSettings(interval=0))
        self.assertLess(self.play(here, there, "hello"), 40)
        self.assertLess(len(here.gateway.sessions) + len(there.gateway.sessions), 12)
