"""Who gets in: the limits of queues and sessions, and that only texts open a session."""

from tests.gateway.meeting import AliceTestCase
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

FAILED = "E_MSRP_GW_SETUP_FAILED"


class BoundsTests(AliceTestCase):
    """Queues have limits."""

    def test_session_queue(self) -> None:
        """A full session queue: 480 with Retry-After; the others go on."""
        self.found(Town(queue_limit=2))
        bob = Wire(self.town, "bob", "192.0.2.2", 0)
        self.assertEqual([self.send(text) for text in "ab"], [202, 202])
        refused = self.alice.message(bob.uri, "c")
        self.assertEqual(refused.status, 480)
        self.assertEqual(refused.headers.get("Retry-After"), "10")
        self.assertEqual(self.alice.message("sip:carol@192.0.2.3").status, 202)
        bob.answer(bob.requests("INVITE")[0], 486)
        self.town.run(0.5)
        self.assertEqual(len(self.town.sink.named(FAILED)), 1)
        self.assertEqual(self.town.gateway.room.used, 1)

    def test_session_bytes(self) -> None:
        self.found(Town(queue_bytes=10))
        Wire(self.town, "bob", "192.0.2.2", 0)
        self.assertEqual(self.send("1234567890"), 202)
        self.assertEqual(self.send("1"), 480)

    def test_room_again(self) -> None:
        """What was delivered leaves its place to others."""
        self.found(Town(queue_limit=2))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        for number in range(6):
            self.assertIn(self.send(str(number)), (200, 202))
            self.town.run(0.1)
        self.assertEqual(bob.bodies(), list("012345"))
        self.town.check_settled(self, sessions=1)

    def test_whole_gateway(self) -> None:
        """503 when the whole gateway is full, and only then."""
        self.found(Town(total_queue_limit=2))
        bob = Wire(self.town, "bob", "192.0.2.2", 0)
        self.assertEqual(self.send(), 202)
        self.assertEqual(self.alice.message("sip:carol@192.0.2.3").status, 202)
        for uri in (bob.uri, "sip:dave@192.0.2.4"):
            refused = self.alice.message(uri)
            self.assertEqual(refused.status, 503)
            self.assertEqual(refused.headers.get("Retry-After"), "10")
        self.assertEqual(len(self.town.gateway.sessions), 2)

    def test_sessions(self) -> None:
        self.found(Town(max_sessions=1))
        Wire(self.town, "bob", "192.0.2.2", 0)
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        self.assertEqual(self.send(), 202)
        self.assertEqual(self.alice.message("sip:carol@192.0.2.3").status, 503)
        self.assertEqual(carol.call(self.alice.uri).status, 503)
        self.assertEqual(self.send(), 202)

    def test_draining(self) -> None:
        """Nothing is taken while the gateway is being stopped."""
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        self.town.gateway.stop(5)
        refused = self.alice.message("sip:bob@192.0.2.2")
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.headers.get("Retry-After"), "10")
        self.assertEqual(carol.call(self.alice.uri).status, 503)


class TextsOnlyTests(AliceTestCase):
    """Only a text opens a session."""

    NOTIFICATIONS = (
        "message/imdn+xml",
        "Message/IMDN+XML; charset=utf-8",
        "application/im-iscomposing+xml",
        "application/im-isComposing+xml;charset=UTF-8",
    )

    def test_no_session(self) -> None:
        """Neither delivery notifications nor is-composing do."""
        bob = Wire(self.town, "bob", "192.0.2.2")
        for content_type in self.NOTIFICATIONS:
            self.assertEqual(self.send("<x/>", content_type), 480)
        self.assertEqual(bob.received, [])
        self.assertEqual(self.alice.texts(), [])
        self.town.check_settled(self)

    def test_session(self) -> None:
        """In a session they go as other messages do."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.send("hi")
        self.town.run(0.5)
        for content_type in self.NOTIFICATIONS:
            self.assertEqual(self.send("<x/>", content_type), 200)
        self.assertEqual(bob.bodies(), ["hi"] + ["<x/>"] * 4)

    def test_session_that_takes_texts_alone(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.accept_types = "text/plain"
        self.send("hi")
        self.town.run(0.5)
        for content_type in self.NOTIFICATIONS:
            self.assertEqual(self.send("<x/>", content_type), 415)
        self.assertEqual(bob.bodies(), ["hi"])
