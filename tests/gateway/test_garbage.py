"""Messages and sessions leave nothing for the garbage collector: its visits would hold all others
up, and what waits for them is memory lost for hours."""

import gc
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.leg import Leg
from msrpgw.gateway.session import GatewaySession
from msrpgw.msrp.incoming import Receiver
from msrpgw.msrp.outgoing import Sender
from msrpgw.msrp.session import Session
from msrpgw.sip.client import ClientRequest
from msrpgw.sip.invite import InviteUsage
from msrpgw.sip.invite_client import ClientInvite
from msrpgw.sip.invite_server import ServerInvite
from msrpgw.sip.reinvite import Reinvites
from msrpgw.sip.session_timer import SessionTimer
from msrpgw.sip.transaction import ClientTransaction, ServerTransaction
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

#: what a session is made of
PARTS = (
    *(GatewaySession, Leg, Session, Sender, Receiver, InviteUsage, Reinvites, SessionTimer),
    *(ClientInvite, ServerInvite, ClientRequest, ClientTransaction, ServerTransaction),
)


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


class SessionTests(SynchronousTestCase):
    """A session that is over is freed at once, whoever called and whoever hung up."""

    def setUp(self) -> None:
        self.town = Town()
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.addCleanup(gc.enable)
        gc.collect()
        gc.disable()
        self.before = self.parts()

    @staticmethod
    def parts() -> list[str]:
        return sorted(type(each).__name__ for each in gc.get_objects() if isinstance(each, PARTS))

    def check(self, set_up: Callable[[], object], end: Callable[[], object]) -> None:
        set_up()
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.assertGreater(len(self.parts()), len(self.before) + 5)
        end()
        self.town.run(5.1)  # the 200 to a BYE may come again until timer K
        self.assertEqual(self.parts(), self.before)

    def we_call(self) -> None:
        self.alice.message(self.bob.uri, "hi", seconds=0.2)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def bob_calls(self) -> None:
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.town.run(0.2)
        self.bob.send("hi")
        self.assertEqual(self.alice.texts(), ["hi"])

    def bob_ends(self) -> None:
        self.bob.in_dialog("BYE")

    def we_end(self) -> None:
        for session in list(self.town.gateway.sessions.values()):
            session.end("enough")

    def test_called(self) -> None:
        self.check(self.we_call, self.bob_ends)

    def test_called_and_ended_by_us(self) -> None:
        self.check(self.we_call, self.we_end)

    def test_calling(self) -> None:
        self.check(self.bob_calls, self.bob_ends)

    def test_calling_and_ended_by_us(self) -> None:
        self.check(self.bob_calls, self.we_end)

    def test_not_answered(self) -> None:
        """Nor does an INVITE that was refused keep its session, once timer D is over."""
        self.bob.status = 486
        self.alice.message(self.bob.uri, "hi", seconds=0.2)
        self.assertEqual(self.town.gateway.sessions, {})
        self.town.run(33)
        self.assertEqual(self.parts(), self.before)
