"""INVITE, CANCEL and ACK as the agent sees them (RFC 3261 §9, §13); see also ``test_invite``."""

from msrpgw.sip.agent import ClientRequest
from msrpgw.sip.message import Request
from msrpgw.sip.server_transaction import InviteServerTransaction
from msrpgw.sip.transaction import ServerTransaction
from tests.sip.agent_cases import PEER, SendingTestCase


class InviteTests(SendingTestCase):
    """INVITE, CANCEL and ACK as the agent sees them; the usage is ``test_invite``."""

    def setUp(self) -> None:
        """A peer that keeps INVITEs."""
        super().setUp()
        self.invites: list[InviteServerTransaction] = []
        self.cancels: list[int] = []

        def received(transaction: ServerTransaction) -> None:
            assert isinstance(transaction, InviteServerTransaction)
            transaction.on_cancel = lambda: self.cancels.append(1)
            self.invites.append(transaction)

        self.peer.on("INVITE", received)

    def call(self, transport: str = "udp") -> ClientRequest:
        """Send an INVITE."""
        return self.send(self.request("INVITE", f"sip:bob@{PEER};transport={transport}"))

    def test_refused(self) -> None:
        """A refusal is ACKed by the transaction, over UDP and TCP."""
        for transport in ("udp", "tcp"):
            self.setUp()
            self.call(transport)
            self.peer.respond(self.invites[0], 180)
            self.peer.respond(self.invites[0], 486)
            self.network.run(0.4)
            self.assertEqual(self.statuses(), [180, 486])
            self.assertTrue(self.invites[0].answered)
            self.network.run(33)
            self.finish()

    def test_second_2xx(self) -> None:
        """A forked INVITE's further 2xx come through as well."""
        client = self.call()
        self.peer.respond(self.invites[0], 200)
        self.network.run()
        other = self.invites[0].request.response(200, to_tag="fork")
        self.invites[0].source.send_response(other.render(), self.invites[0].request.via)
        self.network.run()
        self.assertEqual(self.statuses(), [200, 200])
        client.cancel()
        self.network.run()
        self.assertEqual(self.cancels, [])

    def test_cancel(self) -> None:
        """CANCEL after a provisional response: 487 from the peer."""
        for transport in ("udp", "tcp"):
            self.setUp()
            client = self.call(transport)
            self.peer.respond(self.invites[0], 180)
            self.network.run()
            client.cancel()
            client.cancel()
            self.network.run()
            self.assertEqual(self.cancels, [1])
            self.peer.respond(self.invites[0], 487)
            self.network.run()
            self.assertEqual(self.statuses(), [180, 487])
            self.network.run(33)
            self.finish()

    def test_cancel_waits_for_a_provisional(self) -> None:
        """§9.1: no CANCEL before any response."""
        client = self.call()
        client.cancel()
        self.network.run(0.4)
        self.assertEqual(self.cancels, [])
        self.peer.respond(self.invites[0], 100)
        self.network.run()
        self.assertEqual(self.cancels, [1])

    def test_cancel_without_effect(self) -> None:
        """§9.1: a peer that never finishes the INVITE is given up after 64*T1."""
        client = self.call()
        self.peer.respond(self.invites[0], 180)
        self.network.run()
        client.cancel()
        self.network.run(32.1)
        self.assertTrue(self.answers[-1].local)
        self.assertEqual(self.statuses(), [180, 487])
        self.invites[0].respond(self.invites[0].request.response(603, to_tag="x"))
        self.network.run(33)
        self.finish()

    def test_cancel_before_it_is_sent(self) -> None:
        """While the host is looked up nothing went out: 487, and nothing goes out."""
        self.network.names["peer.example"] = [PEER]
        client = self.us.request(
            self.request("INVITE", "sip:bob@peer.example"), self.answers.append
        )
        client.cancel()
        self.assertEqual(self.answers, [])
        self.network.run()
        self.assertEqual(self.statuses(), [487])
        self.assertEqual(self.network.datagrams, [])

    def test_cancel_ends_the_fail_over(self) -> None:
        """A cancelled call does not ring at the next target."""
        self.network.names["peer.example"] = ["10.0.0.99", PEER]
        client = self.send(self.request("INVITE", "sip:bob@peer.example"))
        client.cancel()
        self.network.run(33)
        self.assertEqual(self.statuses(), [408])
        self.assertEqual(self.invites, [])

    def test_2xx_crosses_the_cancel(self) -> None:
        """The call may be up in spite of the CANCEL; its user has to end it."""
        client = self.call()
        self.peer.respond(self.invites[0], 180)
        self.network.run()
        client.cancel()
        self.peer.respond(self.invites[0], 200)
        self.network.run()
        self.assertEqual(self.statuses(), [180, 200])

    def test_message_cannot_be_cancelled(self) -> None:
        """``cancel`` of another request does nothing."""
        client = self.send(self.request(uri="sip:bob@10.0.0.99"))
        client.cancel()
        self.network.run(33)
        self.assertEqual(self.statuses(), [408])

    def test_ringing_does_not_time_out(self) -> None:
        """After a provisional response there is no timer B, and no ICMP."""
        self.call()
        self.peer.respond(self.invites[0], 180)
        self.network.run(40, step=0.1)
        self.us._undeliverable(self.network.datagrams[0].data, "Connection refused")
        self.network.run()
        self.assertEqual(self.statuses(), [180])

    def test_ack(self) -> None:
        """The ACK of a 2xx is a request of its own: own branch, next hop, size rule."""
        acks: list[Request] = []
        self.peer.ack_received = lambda request, source: acks.append(request)
        for body, transport in ((b"", "UDP"), (b"x" * 1300, "TCP")):
            self.us.send_ack(self.request("ACK", body=body))
            self.network.run()
            self.assertEqual(acks[-1].via.transport, transport)
            self.assertEqual(acks[-1].max_forwards, 70)
        self.assertEqual(len(acks), 2)
        self.us.send_ack(self.request("ACK", "tel:+1"))  # nowhere: nothing to be done
