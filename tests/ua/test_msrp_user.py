"""The MSRP user, talking with another one."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.call import PATIENCE
from tests.support import Network
from tests.ua.support import Msrp

A, B = "127.0.0.1", "127.0.0.2"


class MsrpUserTests(SynchronousTestCase):
    """Two MSRP users, nothing between them."""

    def setUp(self) -> None:
        self.network = Network()

    def pair(self, **behaviour: Any) -> tuple[Msrp, Msrp]:
        """Alice with good manners, and Bob."""
        return Msrp(self.network, A, reports=True), Msrp(self.network, B, **behaviour)

    def connections(self, user: Msrp) -> int:
        """How many of its sessions a connection carries."""
        return sum(session.connection is not None for session in user.endpoint.sessions())

    def test_the_first_text_calls(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "Grüße", "2")
        self.network.run()
        self.assertEqual(bob.texts, ["Grüße", "2"])
        self.assertEqual([sent.state for sent in alice.sent].count("delivered"), 2)
        self.assertEqual(alice.states, ["call up"])
        self.assertEqual(
            bob.wire,
            [
                "< INVITE",
                "> 200 OK",
                "< ACK",
                *("< SEND Grüße", "> MSRP 200 OK", "> REPORT 200 OK"),
                *("< SEND 2", "> MSRP 200 OK", "> REPORT 200 OK"),
            ],
        )
        self.assertEqual(alice.wire[:3], ["> INVITE", "< 200 OK", "> ACK"])

    def test_answers_over_the_same_call(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "1")
        self.network.run()
        bob.send(alice.uri, "2")
        self.network.run()
        self.assertEqual(alice.texts, ["2"])
        self.assertEqual([sent.state for sent in bob.sent], ["accepted"])  # no REPORT wanted
        self.assertEqual(len(alice.user.calls), 1)

    def test_a_long_text(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "é世" * 3000)
        self.network.run()
        self.assertEqual(bob.texts, ["é世" * 3000])
        self.assertEqual(alice.sent[-1].state, "delivered")

    def test_who_connects(self) -> None:
        for reachable in (True, False):
            self.network = Network()
            alice, bob = self.pair(reachable=reachable)
            bob.send(alice.uri, "from bob")
            self.network.run()
            alice.send(bob.uri, "from alice")
            self.network.run()
            self.assertEqual((alice.texts, bob.texts), (["from bob"], ["from alice"]))

    def test_refused(self) -> None:
        alice, bob = self.pair(refuse=486)
        alice.send(bob.uri, "1", "2")
        self.network.run()
        self.assertEqual(alice.statuses, [486, 486])
        self.assertEqual(alice.states, ["call failed: 486 Busy Here"])
        self.assertEqual(bob.wire, ["< INVITE", "> 486"])
        self.assertEqual(alice.user.calls, {})

    def test_rings_for_ever(self) -> None:
        alice, bob = self.pair(ring=True)
        alice.send(bob.uri, "1")
        self.network.run(1.0)
        self.assertEqual(alice.wire, ["> INVITE", "< 180 Ringing"])
        self.network.run(60.0)
        self.assertEqual(len(alice.sent), 1)
        self.assertFalse(alice.sent[0].ok)
        self.assertEqual((alice.user.calls, bob.user.calls), ({}, {}))

    def test_a_send_refused(self) -> None:
        alice, bob = self.pair(answer=413)
        alice.send(bob.uri, "1")
        self.network.run()
        self.assertEqual(alice.statuses, [413])
        self.assertEqual(bob.texts, [])

    def test_a_send_never_answered(self) -> None:
        alice, bob = self.pair(answer=0)
        alice.send(bob.uri, "1")
        self.network.run(60.0)
        self.assertEqual(alice.statuses, [408])
        self.assertEqual(bob.texts, [])

    def test_hangs_up(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "1")
        self.network.run()
        left = alice.user.leave()
        self.network.run(1.0)
        self.successResultOf(left)
        self.assertEqual((alice.wire[-1], bob.wire[-1]), ("> BYE", "< BYE"))
        self.assertEqual((alice.user.calls, bob.user.calls), ({}, {}))
        self.assertEqual(alice.endpoint.sessions(), [])
        bob.send(alice.uri, "a new call")
        self.network.run()
        self.assertEqual(alice.texts, ["a new call"])

    def test_leaves_without_calls(self) -> None:
        alice, _ = self.pair()
        left = alice.user.leave()
        self.network.run()
        self.successResultOf(left)

    def test_leaves_although_nobody_answers(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "1")
        self.network.run()
        self.network.lost = lambda number: True
        left = alice.user.leave()
        self.network.run(1.0)
        self.assertNoResult(left)
        self.network.run(2.0)
        self.successResultOf(left)

    def test_a_second_call_takes_the_place_of_the_first(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "1")
        self.network.run()
        old = bob.user.calls[alice.uri]
        alice.user.call(bob.uri)
        self.network.run()
        self.assertIsNot(bob.user.calls[alice.uri], old)
        alice.send(bob.uri, "2")
        bob.send(alice.uri, "3")
        self.network.run()
        self.assertEqual((alice.texts, bob.texts), (["3"], ["1", "2"]))
        self.assertEqual((len(alice.user.calls), len(bob.user.calls)), (1, 1))

    def test_connection_lost_and_nothing_offered(self) -> None:
        alice, bob = self.pair()
        alice.send(bob.uri, "1")
        self.network.run()
        session = alice.endpoint.sessions()[0]
        assert session.connection is not None and session.connection.transport is not None
        session.connection.transport.abortConnection()
        self.network.run(1.0)
        alice.send(bob.uri, "2")
        self.network.run(1.0)
        self.assertEqual(len(alice.sent), 2)
        self.network.run(PATIENCE)
        self.assertFalse(alice.sent[-1].ok)
        self.assertEqual((alice.user.calls, bob.user.calls), ({}, {}))
        self.assertEqual(self.connections(alice), 0)
