"""Test cases in which Alice, who has MESSAGE, and Bob, who has MSRP, meet in a Town."""

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp


class AliceTestCase(SynchronousTestCase):
    """Alice is there; Bob, if anybody, is up to the test."""

    def setUp(self) -> None:
        """A town with the default settings."""
        self.found(Town())

    def found(self, town: Town) -> None:
        """Alice lives here."""
        self.town = town
        self.alice = Wire(town, "alice", "192.0.2.1")

    def send(self, text: str = "hi", content_type: str = "text/plain") -> int:
        """Alice sends a MESSAGE to Bob; returns the status that it gets."""
        return self.alice.message("sip:bob@192.0.2.2", text, content_type).status


class MeetingTestCase(AliceTestCase):
    """Both are there; nobody has said anything yet."""

    def found(self, town: Town) -> None:
        """They live here."""
        super().found(town)
        self.bob = WireMsrp(town, "bob", "192.0.2.2")

    def start(self) -> None:
        """A session, called for by Bob."""
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.town.run(0.1)

    def check_both_ways(self) -> None:
        """Messages cross, over the session that there is."""
        self.assertEqual(self.alice.message(self.bob.uri, "to bob").status, 200)
        self.assertEqual(self.bob.bodies()[-1], "to bob")
        self.assertEqual(self.bob.send("to alice"), [200])
        self.assertEqual(self.alice.texts()[-1], "to alice")
        self.town.check_settled(self, sessions=1)
