"""INVITE usages on real user agents, over a network in memory that may lose and delay."""

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.invite import InviteUsage, UsageState
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from tests.sip.fake_agent import ANSWER, OFFER, Listener, make_request
from tests.support import Network, lose, lose_every, make_agent

SECOND = OFFER.replace(b"1 1", b"1 2")


class Party:
    """A user agent with one call at a time."""

    def __init__(self, network: Network, address: str, **settings: Any) -> None:
        self.agent = make_agent(network, address, **settings)
        self.agent.on("INVITE", self._invited)
        self.listener = Listener()
        self.usage: InviteUsage
        self.accepts = True
        self.listener.then = self._told

    def _invited(self, transaction: ServerTransaction) -> None:
        assert isinstance(transaction, InviteServerTransaction)
        self.usage = InviteUsage.incoming(self.agent, transaction, self.listener)
        self.usage.ring()
        if self.accepts:
            self.usage.accept(ANSWER)

    def _told(self, name: str) -> None:
        if name == "offered":
            self.usage.answer(ANSWER)

    def call(self, ruri: str, timeout: float = 0.0) -> None:
        self.usage = InviteUsage.call(
            self.agent,
            self.listener,
            ruri=ruri,
            from_uri="sip:a@example.com",
            to_uri="sip:b@example.com",
            offer=OFFER,
            timeout=timeout,
        )

    def told(self) -> list[object]:
        return [told[0] for told in self.listener.told]


class NetworkTests(SynchronousTestCase):
    """Two parties."""

    def setUp(self) -> None:
        self.meet(Network())

    def meet(self, network: Network) -> None:
        self.network = network
        self.alice = Party(network, "10.0.0.1")
        self.bob = Party(network, "10.0.0.2")

    def settled(self) -> None:
        """All is over, and nothing is left."""
        self.network.run(70, step=0.5)
        for party in (self.alice, self.bob):
            self.assertIs(party.usage.state, UsageState.ENDED)
            self.assertEqual(party.listener.ends, 1)
            self.assertEqual(party.agent._dialogs, {})
            self.assertEqual(len(party.agent.transactions), 0)
            party.agent.stop()
        self.network.run(1)
        for party in (self.alice, self.bob):
            self.assertEqual(len(party.agent.timers), 0)

    def converse(self, ruri: str, patience: float = 0.0) -> None:
        """Call, re-INVITE both ways, hang up."""
        self.alice.call(ruri)
        self.network.run(patience)
        self.assertEqual(self.bob.told(), ["established"])
        self.assertEqual(self.alice.usage.peer_host, "10.0.0.2")
        self.alice.usage.reinvite(SECOND)
        self.network.run(patience)
        self.bob.usage.reinvite(SECOND)
        self.network.run(patience)
        self.assertIn("reanswered", self.alice.told())
        self.assertEqual(self.bob.told(), ["established", "offered", "reanswered"])
        self.bob.usage.end("enough")
        self.network.run(patience)
        self.assertEqual(self.bob.listener.told[-1], ("ended", "enough"))
        self.assertEqual(self.alice.listener.told[-1], ("ended", "Ended by the peer"))
        self.settled()

    def test_udp(self) -> None:
        self.converse("sip:b@10.0.0.2")
        self.assertEqual(
            self.alice.told(), ["progress", "established", "reanswered", "offered", "ended"]
        )

    def test_tcp(self) -> None:
        self.network.delay = 0.01
        self.converse("sip:b@10.0.0.2;transport=tcp", 0.2)
        self.assertEqual(self.network.datagrams, [])

    def test_a_name(self) -> None:
        self.network.names["bob.example"] = ["10.0.0.2"]
        self.converse("sip:b@bob.example")

    def test_losses(self) -> None:
        for pattern in [lose_every(n) for n in (3, 4, 5)] + [
            lose("." * n + "x" * k) for n in range(8) for k in (1, 2, 3)
        ]:
            self.meet(Network(lost=pattern))
            self.converse("sip:b@10.0.0.2", 15.0)

    def test_glare(self) -> None:
        self.network.delay = 0.05
        self.alice.call("sip:b@10.0.0.2")
        self.network.run(1)
        self.alice.usage.reinvite(SECOND)
        self.bob.usage.reinvite(SECOND)
        self.network.run(5)
        self.assertEqual(sorted(map(str, self.alice.told()[2:])), ["offered", "reanswered"])
        self.assertEqual(sorted(map(str, self.bob.told()[1:])), ["offered", "reanswered"])
        self.alice.usage.end()
        self.settled()

    def test_byes_cross(self) -> None:
        self.network.delay = 0.05
        self.alice.call("sip:b@10.0.0.2")
        self.network.run(1)
        self.alice.usage.end()
        self.bob.usage.end()
        self.settled()

    def test_cancelled(self) -> None:
        self.bob.accepts = False
        self.alice.call("sip:b@10.0.0.2")
        self.network.run(1)
        self.alice.usage.end()
        self.network.run(1)
        self.assertEqual(self.alice.listener.told[-1], ("failed", 487, "Request Terminated"))
        self.assertEqual(self.bob.listener.told, [("failed", 487, "Request Terminated")])
        self.settled()

    def test_cancelled_at_each_moment(self) -> None:
        """Before the 100, before the 2xx, crossing it, after it; and with a callee who waits."""
        for step in range(25):
            for accepted_after in (None, 0.2):
                self.meet(Network())
                self.network.delay = 0.1
                self.bob.accepts = False
                self.alice.call("sip:b@10.0.0.2")
                if accepted_after is not None:
                    self.network.clock.callLater(
                        accepted_after, lambda: self.bob.usage.accept(ANSWER)
                    )
                self.network.clock.callLater(0.021 * step, self.alice.usage.end)
                self.network.run(2)
                self.assertIs(self.alice.usage.state, UsageState.ENDED)
                self.settled()

    def test_the_callee_hangs_up_at_each_moment(self) -> None:
        for step in range(15):
            self.meet(Network())
            self.network.delay = 0.1
            self.alice.call("sip:b@10.0.0.2")
            self.network.clock.callLater(0.101 + 0.021 * step, lambda: self.bob.usage.end())
            self.network.run(2)
            self.assertEqual(self.alice.told()[1:], ["established", "ended"])
            self.settled()

    def test_nobody_there(self) -> None:
        self.alice.call("sip:b@10.0.0.9", timeout=5.0)
        self.network.run(6, step=0.1)
        self.assertEqual(self.alice.listener.told, [("failed", 408, "No final answer in time")])
        self.network.run(60, step=0.5)
        self.assertEqual(len(self.alice.agent.timers), 0)
        self.alice.call("sip:b@10.0.0.9;transport=tcp")
        self.network.run(1)
        self.assertEqual(self.alice.listener.told[-1][:2], ("failed", 503))
        self.alice.call("sip:b@nowhere.example")
        self.network.run(1)
        self.assertEqual(self.alice.listener.told[-1][:2], ("failed", 503))

    def test_a_peer_that_is_gone(self) -> None:
        """BYE and re-INVITE to nobody end the call."""
        actions: list[Callable[[InviteUsage], None]] = [
            lambda usage: usage.end(),
            lambda usage: usage.reinvite(SECOND),
        ]
        for action in actions:
            self.meet(Network())
            self.alice.call("sip:b@10.0.0.2")
            self.network.run(1)
            self.bob.agent.stop()
            action(self.alice.usage)
            self.network.run(70, step=0.5)
            self.assertIs(self.alice.usage.state, UsageState.ENDED)
            self.assertEqual(self.alice.told()[-1], "ended")
            self.assertEqual(self.alice.listener.ends, 1)


class Wire(DatagramProtocol):
    """A peer made of datagrams."""

    def __init__(self, network: Network, target: tuple[str, int]) -> None:
        self.received: list[Request | Response] = []
        self.then: Callable[[Request | Response], None] = lambda message: None
        self._target = target
        network.host("10.0.0.7").listenUDP(5060, self)

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        message = parse_datagram(data, Limits())
        assert isinstance(message, Request | Response)
        self.received.append(message)
        self.then(message)

    def send(self, message: Request | Response) -> None:
        assert self.transport is not None
        self.transport.write(message.render(), self._target)

    def answer(
        self, request: Request | Response, status: int, tag: str = "theirs", body: bytes = b""
    ) -> None:
        """Respond to a request of the agent's."""
        assert isinstance(request, Request)
        headers = [("Contact", "<sip:bob@10.0.0.7>"), ("Content-Type", "application/sdp")]
        self.send(request.response(status, to_tag=tag, headers=headers, body=body))

    def names(self) -> list[object]:
        """Methods and statuses, in order."""
        return [each.method if isinstance(each, Request) else each.status for each in self.received]


class WireTests(SynchronousTestCase):
    """One party against datagrams."""

    def setUp(self) -> None:
        self.network = Network()
        self.gw = Party(self.network, "10.0.0.1")
        self.wire = Wire(self.network, ("10.0.0.1", 5060))

    def invite(self, body: bytes = OFFER) -> Request:
        request = make_request("INVITE", headers=[("Contact", "<sip:bob@10.0.0.7>")], body=body)
        request.headers.set("Via", "SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKx1")
        return request

    def test_a_fork(self) -> None:
        self.gw.call("sip:b@10.0.0.7")
        self.network.run()
        invite = self.wire.received[0]
        for tag in ("one", "two"):
            self.wire.answer(invite, 180, tag)
        for tag in ("one", "two", "one", "two"):
            self.wire.answer(invite, 200, tag, ANSWER)
        self.network.run()
        acks = [each.to.tag for each in self.wire.received if each.cseq.method == "ACK"]
        self.assertEqual(acks, ["one", "two", "one", "two"])
        byes = [each for each in self.wire.received if each.cseq.method == "BYE"]
        self.assertEqual([each.to.tag for each in byes], ["two"])
        self.assertIs(self.gw.usage.state, UsageState.ESTABLISHED)
        dialog = self.gw.usage.dialog
        assert dialog is not None
        self.assertEqual(dialog.id.remote_tag, "one")

    def test_a_2xx_after_the_call(self) -> None:
        """§13.2.2.4: when all is over, its copies get their ACK, and another branch its BYE."""
        self.gw.call("sip:b@10.0.0.7")
        self.network.run()
        invite = self.wire.received[0]
        self.wire.answer(invite, 200, "one", ANSWER)
        self.network.run()
        self.gw.usage.end()
        self.network.run()
        self.wire.answer(self.wire.received[-1], 200)
        self.network.run()
        self.assertEqual(self.gw.told(), ["established", "ended"])
        self.wire.received.clear()
        for tag in ("one", "two"):
            self.wire.answer(invite, 200, tag, ANSWER)
        self.network.run()
        heard = [(each.cseq.method, each.cseq.number, each.to.tag) for each in self.wire.received]
        self.assertEqual(heard, [("ACK", 1, "one"), ("ACK", 1, "two"), ("BYE", 2, "two")])
        self.assertEqual({each.call_id for each in self.wire.received}, {invite.call_id})
        self.assertEqual(self.gw.told(), ["established", "ended"])

    def test_no_ack(self) -> None:
        self.wire.send(self.invite())
        self.network.run(33, step=0.1)
        self.assertEqual(self.wire.names()[:2], [100, 180])
        self.assertEqual(self.wire.names().count(200), 11)
        self.assertEqual(self.wire.names()[-1], "BYE")
        self.assertEqual(self.gw.told(), ["ended"])

    def test_an_invite_without_contact(self) -> None:
        request = self.invite()
        request.headers.remove("Contact")
        self.wire.send(request)
        self.network.run()
        (refusal,) = self.wire.received
        assert isinstance(refusal, Response)
        self.assertEqual((refusal.status, refusal.reason), (400, "Missing Contact header field"))
        self.assertEqual(self.gw.told(), ["failed"])

    def test_the_tags_of_cancel_and_invite(self) -> None:
        """§9.2: the same in both answers."""
        self.gw.accepts = False
        invite = self.invite()
        self.wire.send(invite)
        self.network.run()
        cancel = self.invite(b"")
        cancel.method = "CANCEL"
        cancel.headers.set("CSeq", "1 CANCEL")
        self.wire.send(cancel)
        self.network.run()
        self.assertEqual(self.wire.names()[:4], [100, 180, 200, 487])
        self.assertEqual(len({each.to.tag for each in self.wire.received[1:]}), 1)

    def test_requests_in_the_dialog(self) -> None:
        self.wire.send(self.invite())
        self.network.run()
        tag = self.wire.received[-1].to.tag or ""
        for number, method in enumerate(("ACK", "OPTIONS", "INFO", "MESSAGE", "BYE", "BYE"), 1):
            request = make_request(method, cseq=number, to_tag=tag)
            request.headers.set("Via", f"SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKd{number}")
            self.wire.send(request)
            self.network.run()
        self.assertEqual(self.wire.names()[3:], [200, 405, 405, 200, 481])
        options = self.wire.received[3]
        for name in ("Allow", "Accept"):
            self.assertIn(name, options.headers)
        self.assertEqual(self.gw.told(), ["established", "ended"])
