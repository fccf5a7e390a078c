"""Sessions that replace others, and what they negotiate."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import NotAcceptable
from msrpgw.msrp.session import Session
from tests.msrp.session_cases import SessionTestCase
from tests.msrp.support import Listener, Rig, sdp

OFFER_WITHOUT_MSRP = b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class Replacing(SessionTestCase):
    """A session in place of a lost one (§5.4)."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.send(self.session, Message_ID="held", Success_Report="yes")
        self.peer.send(self.session, Message_ID="had", Success_Report="yes")
        self.listener.messages[1].accept()
        self.peer.hang_up()
        self.path = "msrp://192.0.2.7:7654/fresh;tcp"
        self.next = self.rig.session(self.listener, replaces=self.session)
        self.next.answer(sdp(self.path))
        self.next.start()
        self.peer = self.rig.accept()
        self.again(None)

    def again(self, body: bytes | None = b"hello", **fields: str) -> str:
        """The peer sends on the new session."""
        return self.peer.send(self.next, body, From_Path=self.path, **fields)

    def test_fresh_uri(self) -> None:
        """The lost session's URI is spent."""
        self.assertNotEqual(self.session.path_text, self.next.path_text)
        self.peer.raw()
        tid = self.peer.send(self.session)
        self.assertEqual(self.peer.statuses(), [(tid, 481)])

    def test_repeated(self) -> None:
        """What the peer sends again is recognised; what was held gets its answer there."""
        self.peer.raw()
        had = self.again(Message_ID="had", Success_Report="yes")
        held = self.again(Message_ID="held", Success_Report="yes")
        self.assertEqual(self.peer.statuses(), [(had, 200)])
        self.listener.messages[0].accept()
        self.assertEqual(self.peer.statuses(), [(held, 200)])
        self.assertEqual(len(self.listener.messages), 2)

    def test_reports(self) -> None:
        """REPORTs that were owed go out on the new session."""
        self.peer.raw()
        self.listener.messages[1].report(200)
        [report] = self.peer.requests()
        self.assertEqual(report.message_id, "had")
        self.assertEqual(report.to_path_text, self.path)
        self.assertEqual(report.from_path_text, self.next.path_text)

    def test_reports_between(self) -> None:
        """Those that fall due while there is no session wait for the next."""
        self.peer.hang_up()
        self.listener.messages[1].report(200)
        later = self.rig.session(self.listener, replaces=self.next)
        later.answer(sdp(self.path))
        self.listener.messages[0].report(200)
        later.start()
        peer = self.rig.accept()
        tid = peer.send(later, None, From_Path=self.path)
        frames = peer.read()
        self.assertEqual(frames[0].transaction_id, tid)
        self.assertEqual(
            [getattr(frame, "message_id", "") for frame in frames[1:]], ["had", "held"]
        )


class Negotiating(SynchronousTestCase):
    """SDP, and the life before ``start``."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener()

    def session(self) -> Session:
        """A fresh one."""
        return self.rig.session(self.listener, "text/plain", "message/cpim")

    def test_offer(self) -> None:
        """What we offer (§8)."""
        session = self.session()
        offer = session.offer().decode()
        for line in (
            "m=message 2855 TCP/MSRP *",
            "a=accept-types:text/plain message/cpim",
            f"a=path:{session.path_text}",
            "a=setup:actpass",
            "a=max-size:1048576",
        ):
            self.assertIn(line + "\r\n", offer)

    def test_not_acceptable(self) -> None:
        """No usable m-line, in an offer or an answer."""
        session = self.session()
        self.assertFalse(session.accepts("text/plain\r\nX: y"))
        with self.assertRaises(NotAcceptable):
            session.answer(OFFER_WITHOUT_MSRP)
        session.offer()
        with self.assertRaises(NotAcceptable):
            session.apply_answer(OFFER_WITHOUT_MSRP)
        self.assertIsNone(session.peer)
        session.start()
        self.assertEqual(self.rig.clock.tcpClients, [])
        self.assertTrue(session.accepts("image/png"))
        self.assertFalse(session.behind_relay)

    def test_roles(self) -> None:
        """RFC 6135: who connects, when the peer offers and when it answers."""
        for number, (setup, we_connect) in enumerate(
            (("active", False), ("passive", True), ("actpass", False), (None, False))
        ):
            session = self.session()
            session.answer(sdp(f"msrp://192.0.2.7:{7000 + number}/s;tcp", setup))
            self.check_role(session, we_connect)
        for number, (setup, we_connect) in enumerate(
            (("active", False), ("passive", True), (None, True))
        ):
            session = self.session()
            session.offer()
            session.apply_answer(sdp(f"msrp://192.0.2.8:{7000 + number}/s;tcp", setup))
            self.check_role(session, we_connect)

    def check_role(self, session: Session, we_connect: bool) -> None:
        """Whether starting a session makes us connect."""
        before = len(self.rig.clock.tcpClients)
        session.start()
        self.assertEqual(len(self.rig.clock.tcpClients) - before, int(we_connect))

    def test_start_twice(self) -> None:
        """Only the first one counts."""
        session = self.rig.active(self.listener)
        session.start()
        self.assertEqual(len(self.rig.clock.tcpClients), 1)
        self.rig.dialled().answer_all()
        session.start()
        self.assertEqual(self.listener.events, ["up"])

    def test_closed_before_start(self) -> None:
        """A call that came to nothing leaves nothing."""
        session = self.session()
        session.offer()
        self.listener.send(session)
        session.close()
        session.start()
        self.assertEqual(self.listener.events, ["out1: 0"])
        self.assertEqual((self.rig.endpoint.sessions(), self.rig.pending()), ([], 0))

    def test_same_sdp_again(self) -> None:
        """A re-INVITE that changes nothing is told from one that moves the session."""
        session = self.rig.passive(self.listener)
        self.assertTrue(session.is_current(sdp()))
        self.assertFalse(session.is_current(sdp("msrp://192.0.2.7:7654/moved;tcp")))
        self.assertFalse(session.is_current(OFFER_WITHOUT_MSRP))
        self.assertFalse(session.is_current(b"rubbish"))
        for again in (session.answer(sdp(accept_types="text/plain")), session.offer()):
            self.assertIn(f"a=path:{session.path_text}\r\n".encode(), again)
        self.assertFalse(session.accepts("text/html"))
