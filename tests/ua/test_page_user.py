"""The page-mode user, talking with another one."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from tests.support import Network
from tests.ua.support import Page

A, B = "127.0.0.1", "127.0.0.2"


class PageUserTests(SynchronousTestCase):
    """Two page users, nothing between them."""

    def setUp(self) -> None:
        self.network = Network()
        self.alice = Page(self.network, A)

    def bob(self, **behaviour: int) -> Page:
        return Page(self.network, B, **behaviour)

    def test_a_text(self) -> None:
        bob = self.bob()
        self.alice.send(bob.uri, "Grüße")
        self.assertEqual(self.alice.sent, [])
        self.network.run()
        self.assertEqual(bob.texts, ["Grüße"])
        self.assertEqual(bob.received[0].sender, self.alice.uri)
        self.assertEqual(self.alice.statuses, [200])
        self.assertEqual(self.alice.sent[0].state, "delivered")
        self.assertEqual(self.alice.wire, ["> MESSAGE Grüße", "< 200 OK"])
        self.assertEqual(bob.wire, ["< MESSAGE Grüße", "> 200 OK"])

    def test_one_at_a_time_to_each_peer(self) -> None:
        """RFC 3428 §8."""
        bob, carol = self.bob(), Page(self.network, "127.0.0.3")
        self.alice.send(bob.uri, "1", "2")
        self.alice.send(f"{bob.uri}:5060;x=y", "3")
        self.alice.send(carol.uri, "4")
        self.assertEqual(self.alice.wire, ["> MESSAGE 1", "> MESSAGE 4"])
        self.network.run()
        self.assertEqual(bob.texts, ["1", "2", "3"])
        self.assertEqual(carol.texts, ["4"])
        self.assertEqual(self.alice.statuses, [200] * 4)

    def test_refused_is_not_tried_again(self) -> None:
        bob = self.bob(answer=480)
        self.alice.send(bob.uri, "1", "2")
        self.network.run(60.0)
        self.assertEqual(self.alice.statuses, [480, 480])
        self.assertEqual(self.alice.sent[0].state, "failed")
        self.assertEqual(bob.texts, [])
        self.assertEqual(len(bob.signals), 4)

    def test_accepted(self) -> None:
        bob = self.bob(answer=202)
        self.alice.send(bob.uri, "1")
        self.network.run()
        self.assertEqual(self.alice.sent[0].state, "accepted")
        self.assertEqual(bob.texts, ["1"])

    def test_no_answer(self) -> None:
        bob = self.bob(answer=0)
        self.alice.send(bob.uri, "1", "2")
        self.network.run(40.0)
        self.assertEqual(self.alice.statuses, [408])
        self.assertEqual(self.alice.wire[1:], ["< no answer", "> MESSAGE 2"])
        self.network.run(40.0)
        self.assertEqual(self.alice.statuses, [408, 408])

    def test_a_uri_that_leads_nowhere(self) -> None:
        self.alice.send("tel:+1234", "1")
        self.network.run()
        self.assertEqual(self.alice.statuses, [503])

    def test_another_type(self) -> None:
        bob = self.bob()
        answers: list[Response] = []
        fields = [
            ("From", "<sip:a@b>;tag=1"),
            ("To", f"<{bob.uri}>"),
            ("Call-ID", "1"),
            ("CSeq", "1 MESSAGE"),
            ("Content-Type", "message/imdn+xml"),
        ]
        request = Request("MESSAGE", bob.uri, Headers(fields), b"<imdn/>")
        self.alice.agent.request(request, answers.append)
        self.network.run()
        self.assertEqual(answers[0].status, 415)
        self.assertEqual(answers[0].headers.get("Accept"), "text/plain")
        self.assertEqual(bob.texts, [])
