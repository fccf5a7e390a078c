"""Whole conversations through the gateway, in memory: both users are made of our own rooms."""

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.support import Town


class Conversation(SynchronousTestCase):
    """One page user and one MSRP user."""

    def test_opened_by_message(self) -> None:
        """A MESSAGE opens the session; texts cross both ways, in order."""
        town = Town()
        alice = town.page_user("alice", "192.0.2.1")
        bob = town.msrp_user("bob", "192.0.2.2")
        alice.send(bob.uri, "one", "two", "three")
        town.run(2)
        self.assertEqual(bob.received, ["one", "two", "three"])
        self.assertEqual(alice.statuses, [202, 202, 202])
        bob.send(alice.uri, "four", "five")
        town.run(2)
        self.assertEqual(alice.received, ["four", "five"])
        self.assertEqual(bob.statuses, [200, 200])
        alice.send(bob.uri, "six")
        town.run(1)
        self.assertEqual(bob.received[-1], "six")
        self.assertEqual(alice.statuses[-1], 200)
        self.assertEqual(len(town.gateway.sessions), 1)

    def test_opened_by_invite(self) -> None:
        """An INVITE opens the session; MESSAGEs of the other side find it by its key."""
        town = Town()
        alice = town.page_user("alice", "192.0.2.1")
        bob = town.msrp_user("bob", "192.0.2.2")
        bob.send(alice.uri, "one", "two")
        town.run(2)
        self.assertEqual(alice.received, ["one", "two"])
        self.assertEqual(bob.statuses, [200, 200])
        alice.send(bob.uri, "three")
        town.run(1)
        self.assertEqual(bob.received, ["three"])
        self.assertEqual(alice.statuses, [200])
        self.assertEqual(len(town.gateway.sessions), 1)
