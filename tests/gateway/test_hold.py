"""A MESSAGE whose answer waits for the call that it causes, with the default settings."""

from msrpgw.gateway.settings import GatewaySettings
from msrpgw.sip.message import Response
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.wire import WireMsrp

HOLD = GatewaySettings().hold_setup
FAILED = "E_MSRP_GW_SETUP_FAILED"
DELAYED = "Not delivered yet, error: 480 Temporarily Unavailable; trying again"


class HeldForCallTests(KeepingTestCase):
    """Bob has MSRP, and there is no session yet."""

    def setUp(self) -> None:
        self.settle(hold_setup=HOLD)
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")

    def answers(self) -> list[int]:
        """What Alice's MESSAGEs got so far."""
        return [each.status for each in self.alice.received if isinstance(each, Response)]

    def test_taken(self) -> None:
        """Bob has it when Alice is told so, and the journal never heard of it."""
        self.assertEqual(self.send("one"), 200)
        self.assertEqual(self.bob.bodies(), ["one"])
        self.town.run(1)
        self.assertEqual(self.journal.ended, {})
        self.check_all_told()

    def test_several_meanwhile(self) -> None:
        """All in order, each answered when Bob has it."""
        self.bob.status = 0
        for text in ("one", "two", "three"):
            self.alice.write(self.alice.make("MESSAGE", self.bob.uri, text.encode(), "text/plain"))
        self.town.run(HOLD / 2)
        self.assertEqual(self.answers(), [])
        self.bob.pick_up(self.bob.requests("INVITE")[0])
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["one", "two", "three"])
        self.assertEqual(self.answers(), [200, 200, 200])
        self.assertEqual(self.journal.ended, {})
        self.check_all_told()

    def test_rings(self) -> None:
        """The journal has it by the time of the 202, and Bob when he takes the call."""
        self.bob.status = 0
        self.alice.write(self.alice.make("MESSAGE", self.bob.uri, b"one", "text/plain"))
        self.town.run(HOLD - 0.02)
        self.assertEqual(self.answers(), [])
        self.assertEqual(self.journal.entries, {})
        self.town.run(0.04)
        self.assertEqual(self.answers(), [202])
        self.assertEqual(len(self.journal.entries), 1)
        self.bob.pick_up(self.bob.requests("INVITE")[0])
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["one"])
        self.assertEqual(self.answers(), [202])
        self.check_all_told()

    def test_refused_for_good(self) -> None:
        """Alice learns it from the answer; there is an event, but nothing else to tell."""
        self.bob.status = 404
        self.assertEqual(self.send("one"), 404)
        self.town.run(1)
        self.assertEqual([event["code"] for event in self.town.sink.named(FAILED)], [404])
        self.assertEqual(self.alice.texts(), [])
        self.assertEqual(self.journal.ended, {})
        self.check_all_told()

    def test_away(self) -> None:
        """It is kept for him; Alice is told so, and he gets it before what is new."""
        self.bob.status = 480
        self.assertEqual(self.send("one"), 202)
        self.assertEqual(len(self.journal.entries), 1)
        self.assertEqual(self.alice.texts(), [DELAYED])
        self.bob.status = 200
        self.assertEqual(self.send("two"), 202, "as lately as that no call is tried")
        self.town.run(5)
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.check_all_told()

    def test_away_and_the_journal_is_full(self) -> None:
        """It stays Alice's, and nobody calls again."""
        self.bob.status = 480
        self.journal.full = True
        self.assertEqual(self.send("one"), 480)
        self.assertEqual(self.alice.received[-1].headers.get("Retry-After"), "10")
        self.town.run(60)
        self.assertEqual(len(self.bob.requests("INVITE")), 1)
        self.check_all_told()

    def test_session_that_moves(self) -> None:
        """That was no call a moment ago, and may be none soon: the journal has it at once."""
        self.assertEqual(self.send("one"), 200)
        self.bob.status = 0
        self.bob.on_request = lambda request: None
        self.bob.connections[-1].break_off()
        self.town.run(0.05)
        self.assertEqual(self.send("two"), 202)
        self.assertEqual(len(self.journal.entries), 1)
        self.bob.on_request = self.bob.take
        self.bob.status = 200
        self.bob.pick_up(self.bob.requests("INVITE")[-1])
        self.town.run(1)
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.check_all_told()
