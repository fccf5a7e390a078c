"""Messages leave nothing for the garbage collector: its visits would hold all others up."""

import gc

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.support import Town


class GarbageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.town = Town()
        self.bob = self.town.msrp_user("bob", "10.0.0.2")

    def converse(self, transport: str) -> None:
        alice = self.town.page_user("alice", "10.0.0.1")
        alice_uri, bob_uri = f"{alice.uri}{transport}", f"{self.bob.uri}{transport}"
        self.bob.send(alice_uri, "beginning")
        alice.send(bob_uri, "beginning too")
        self.town.run(40)
        self.addCleanup(gc.enable)
        gc.collect()
        gc.disable()
        for _ in range(20):
            alice.send(bob_uri, "there")
            self.bob.send(alice_uri, "and back")
            self.town.run(0.1)
        self.town.run(40)
        self.assertEqual((len(alice.received), len(self.bob.received)), (21, 21))
        # A circle for each message would be hundreds of objects.
        self.assertLess(gc.collect(), 20)

    def test_udp(self) -> None:
        self.converse("")

    def test_tcp(self) -> None:
        self.converse(";transport=tcp")
