"""Events that are told once: overload, and users who can't be reached."""

from tests.gateway.keeping import KeepingTestCase
from tests.gateway.wire import WireMsrp

DOWN = "E_MSRPGW_PEER_DOWN"
OVERLOAD = "E_MSRPGW_OVERLOAD"


class PeerDownTests(KeepingTestCase):
    """Messages wait for somebody."""

    def test_msrp_user(self) -> None:
        """Once until one gets through, and then again."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        for count in (1, 2):
            bob.status = 480
            self.send("one")
            self.send("two")
            self.town.run(20)
            events = self.town.sink.named(DOWN)
            self.assertEqual(len(events), count)
            self.assertEqual(events[-1]["uri"], bob.uri)
            self.assertEqual(events[-1]["reason"], "Temporarily Unavailable")
            bob.status = 200
            self.town.run(60)
            bob.in_dialog("BYE")

    def test_page_user(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        self.alice.status = 480
        bob.send("one", Failure_Report="no")
        bob.send("two", Failure_Report="no")
        self.town.run(100)
        self.assertEqual(
            self.town.sink.named(DOWN),
            [{"uri": self.alice.uri, "reason": "Temporarily Unavailable", "waiting": 1}],
        )


class OverloadTests(KeepingTestCase):
    """Requests are refused for lack of room."""

    def test_counted(self) -> None:
        """One event at once, the next ten seconds later, with the number of refusals."""
        self.settle(max_sessions=1)
        self.send()
        for number in range(5):
            self.assertEqual(self.alice.message(f"sip:u{number}@192.0.2.9").status, 503)
        (event,) = self.town.sink.named(OVERLOAD)
        self.assertEqual(event, {"reason": "Too many sessions", "refused": 1})
        self.town.run(10)
        self.alice.message("sip:u9@192.0.2.9")
        self.assertEqual([event["refused"] for event in self.town.sink.named(OVERLOAD)], [1, 5])


class TextTests(KeepingTestCase):
    """The text of a message in its event."""

    def test_only_when_wanted(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        bob.send("secret")
        self.town.gateway.teller.text = True
        bob.send("public")
        events = self.town.sink.named("E_MSRP_MSG_RECEIVED")
        self.assertEqual([event.get("body") for event in events], [None, "public"])
