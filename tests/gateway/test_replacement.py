"""A conversation goes on over another call, or another MSRP session: glare, re-entry, renewal."""

from msrpgw.gateway.leg import LegState
from msrpgw.sip.message import Request
from tests.gateway.meeting import MeetingTestCase
from tests.gateway.support import Town
from tests.gateway.wire import Segments, Wire, WireMsrp


class ReplacementTestCase(MeetingTestCase):
    """Alice says several things at once."""

    def say(self, *texts: str) -> list[int]:
        """Alice sends MESSAGEs; what they got so far, 0 for nothing."""
        requests = [
            self.alice.make("MESSAGE", self.bob.uri, text.encode(), "text/plain") for text in texts
        ]
        for request in requests:
            self.alice.write(request)
        self.town.run(0.1)
        answers = [self.alice.responses(request) for request in requests]
        return [answer[-1].status if answer else 0 for answer in answers]

    def begin(self) -> None:
        """A session that works, called for by the gateway."""
        self.assertEqual(self.say("hi"), [202])
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["hi"])


class GlareTests(ReplacementTestCase):
    """The MSRP user calls while it is being called."""

    def ring(self) -> Request:
        """Bob's phone rings, three messages wait for him; returns the INVITE."""
        self.bob.on_request = self.let_ring
        self.assertEqual(self.say("one", "two", "three"), [202] * 3)
        return self.bob.requests("INVITE")[0]

    def let_ring(self, request: Request) -> None:
        """Answer only what is no INVITE."""
        if request.method == "INVITE":
            self.bob.answer(request, 180)
        else:
            self.bob.take(request)

    def test_the_new_call_wins(self) -> None:
        """Our INVITE is cancelled; what waited goes over Bob's call."""
        invite = self.ring()
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.assertEqual(len(self.bob.requests("CANCEL")), 1)
        self.bob.answer(invite, 487)
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["one", "two", "three"])
        self.assertEqual(len(self.town.sink.named("E_MSRP_SESSION_NEW")), 1)
        self.assertEqual(len(self.town.sink.named("E_MSRPGW_MESSAGE_DELIVERED")), 3)
        self.assertEqual(len(self.town.sink.events), 4)
        self.bob.on_request = self.bob.take
        self.check_both_ways()
        self.assertEqual(self.alice.texts(), ["to alice"])

    def test_the_old_call_is_taken_meanwhile(self) -> None:
        """Bob's 2xx crosses our CANCEL: it gets ACK and BYE."""
        invite = self.ring()
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.bob.answer(invite, 200, body=self.bob.sdp())
        self.town.run(0.2)
        self.assertEqual(
            [request.call_id for request in self.bob.requests("BYE")], [invite.call_id]
        )
        self.assertEqual(self.bob.bodies(), ["one", "two", "three"])
        self.check_both_ways()

    def test_an_offer_of_no_use(self) -> None:
        """Bob's call is refused: ours goes on ringing, and is taken."""
        invite = self.ring()
        self.assertEqual(self.bob.call(self.alice.uri, offer=b"v=0\r\n").status, 488)
        self.assertEqual(self.bob.requests("CANCEL"), [])
        self.bob.pick_up(invite)
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["one", "two", "three"])
        self.check_both_ways()

    def test_another_source(self) -> None:
        """403: the one who is being called keeps the conversation."""
        invite = self.ring()
        mallory = WireMsrp(self.town, "bob", "192.0.2.66")
        mallory.uri = self.bob.uri
        self.assertEqual(mallory.call(self.alice.uri).status, 403)
        self.bob.pick_up(invite)
        self.town.run(0.2)
        self.assertEqual(mallory.frames, [])
        self.assertEqual(self.bob.bodies(), ["one", "two", "three"])
        self.bob.on_request = self.bob.take
        self.check_both_ways()


class ReentryTests(ReplacementTestCase):
    """The MSRP user calls again, since it was started anew."""

    def test_the_new_call_wins(self) -> None:
        """Over whichever call the old session was."""
        for invited in (False, True):
            self.found(Town())
            if invited:
                self.assertEqual(self.bob.call(self.alice.uri).status, 200)
                self.town.run(0.1)
                self.bob.send("hi")
            else:
                self.begin()
            call_id = dict(self.bob.dialog)["Call-ID"]
            self.bob.session = 2
            self.assertEqual(self.bob.call(self.alice.uri).status, 200)
            self.town.run(0.2)
            (bye,) = self.bob.requests("BYE")
            self.assertEqual(bye.call_id, call_id)
            self.check_both_ways()
            self.assertEqual(self.bob.sends()[-1].to_path_text, self.bob.path)

    def test_messages_without_their_answer(self) -> None:
        """They go to the new call first, in order, with the same Message-ID."""
        self.begin()
        self.bob.send_status = 0
        self.assertEqual(self.say("one", "two", "three"), [0, 0, 0])
        first = [send.message_id for send in self.bob.sends()[1:]]
        self.bob.session = 2
        self.bob.setup = "active"
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.assertEqual(self.say("four"), [202])
        self.bob.send_status = 200
        self.bob.connect()
        self.bob.send(None)
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies()[4:], ["one", "two", "three", "four"])
        self.assertEqual([send.message_id for send in self.bob.sends()[4:7]], first)
        self.assertEqual(self.alice.texts(), [])
        self.check_both_ways()

    def test_another_source(self) -> None:
        """403, and the session goes on."""
        for invited in (False, True):
            self.found(Town())
            if invited:
                self.bob.call(self.alice.uri)
                self.town.run(0.1)
            else:
                self.begin()
            mallory = WireMsrp(self.town, "bob", "192.0.2.66")
            mallory.uri = self.bob.uri
            self.assertEqual(mallory.call(self.alice.uri).status, 403)
            self.assertEqual(self.bob.requests("BYE"), [])
            self.check_both_ways()
            self.assertEqual(mallory.frames, [])

    def test_the_new_call_comes_to_nothing(self) -> None:
        """It won all the same: the session ends with it, and what waited is told."""
        self.found(Town(setup_timeout=5))
        self.begin()
        self.bob.session = 2
        self.bob.setup = "active"
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.assertEqual(self.say("one"), [202])
        self.town.run(6)
        self.assertEqual(len(self.bob.requests("BYE")), 2)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self)

    def test_send_over_the_old_call(self) -> None:
        """It is too late for that: 481."""
        self.begin()
        path, old = self.bob.gateway_path(), self.bob.connections[0]
        self.bob.session = 2
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.bob.session = 1
        self.assertIn(self.bob.send("late", over=old, To_Path=path), ([481], []))
        self.assertEqual(self.alice.texts(), [])

    def test_often(self) -> None:
        """One session stays one session."""
        self.begin()
        for number in range(2, 12):
            self.bob.session = number
            self.assertEqual(self.bob.call(self.alice.uri).status, 200)
            self.town.run(0.1)
            self.check_both_ways()
        self.assertEqual(len(self.bob.requests("BYE")), 10)
        self.assertEqual(len(self.town.endpoint.sessions()), 1)


class RenewalTests(ReplacementTestCase):
    """The MSRP connection is lost while the dialog is up (RFC 4975 §5.4)."""

    def renewed(self, request: Request) -> None:
        """Bob answers re-INVITEs with a fresh session of his own."""
        if request.method == "INVITE":
            self.bob.session += 1
        self.bob.take(request)

    def lose(self) -> None:
        """The connection is reset."""
        self.bob.connections[-1].break_off()
        self.town.run(0.2)

    def test_fresh_uris(self) -> None:
        """A re-INVITE in the same dialog, from whoever called first."""
        for invited in (False, True):
            self.found(Town())
            if invited:
                self.bob.call(self.alice.uri)
                self.town.run(0.1)
            else:
                self.begin()
            old = self.bob.gateway_path()
            self.bob.on_request = self.renewed
            self.lose()
            again = self.bob.requests("INVITE")[-1]
            self.assertEqual(again.call_id, dict(self.bob.dialog)["Call-ID"])
            self.assertIsNotNone(again.to.tag)
            self.assertIn(b"a=path:msrp://", again.body)
            self.assertNotEqual(self.bob.gateway_path(), old)
            self.check_both_ways()
            self.assertEqual(self.bob.requests("BYE"), [])

    def test_unacknowledged_messages_first(self) -> None:
        """In order, with the same Message-ID; those that came meanwhile follow."""
        self.begin()
        self.bob.send_status = 0
        self.assertEqual(self.say("one", "two", "three"), [0, 0, 0])
        first = [send.message_id for send in self.bob.sends()[1:]]
        self.bob.on_request = lambda request: None
        self.lose()
        self.assertEqual(self.say("four", "five"), [202, 202])
        self.bob.send_status = 200
        self.renewed(self.bob.requests("INVITE")[-1])
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies()[4:], ["one", "two", "three", "four", "five"])
        self.assertEqual([send.message_id for send in self.bob.sends()[4:7]], first)
        self.assertEqual({send.to_path_text for send in self.bob.sends()[4:]}, {self.bob.path})
        self.check_both_ways()

    def test_lost_before_the_first_answer(self) -> None:
        """Nothing was ever acknowledged on the session: it is renewed all the same."""
        self.bob.send_status = 0
        self.say("one", "two")
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.bob.on_request = self.renewed
        self.bob.send_status = 200
        self.lose()
        self.assertEqual(self.bob.bodies(), ["one", "two", "one", "two"])
        self.assertEqual(self.alice.texts(), [])
        self.check_both_ways()

    def test_lost_again_at_once(self) -> None:
        """A peer that hangs up on each SEND is not called for ever."""

        def hang_up(connection: Segments, request: object) -> None:
            if getattr(request, "body", None):
                connection.break_off()
            else:
                self.bob.take_send(connection, request)  # type: ignore[arg-type]

        self.bob.on_send = hang_up
        self.bob.on_request = self.renewed
        self.say("one")
        self.town.run(2)
        self.assertEqual(len(self.bob.requests("INVITE")), 2)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.assertRegex(self.alice.texts()[0], "^Message not delivered, error: 480 ")
        self.town.check_settled(self)

    def test_lost_many_times(self) -> None:
        """As often as it carried something in between."""
        self.begin()
        self.bob.on_request = self.renewed
        for number in range(5):
            self.lose()
            self.assertEqual(self.say(f"text {number}"), [200])
        self.assertEqual(len(self.bob.requests("INVITE")), 6)

    def test_481(self) -> None:
        """The peer forgot the session: a fresh one; no message is refused for that."""
        self.begin()
        self.bob.send_status = 481
        self.bob.on_request = lambda request: None
        self.assertEqual(self.say("one", "two", "three"), [0, 0, 0])
        self.bob.send_status = 200
        self.renewed(self.bob.requests("INVITE")[-1])
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies()[-3:], ["one", "two", "three"])
        self.check_both_ways()

    def test_refused(self) -> None:
        """Then the call is of no use: BYE, and everybody is told."""
        self.begin()
        self.bob.on_request = lambda request: None
        self.lose()
        self.assertEqual(self.say("one"), [202])
        self.bob.on_request = self.bob.take
        self.bob.answer(self.bob.requests("INVITE")[-1], 488)
        self.town.run(0.2)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.assertIn("re-INVITE refused: 488", self.alice.texts()[0])
        self.town.check_settled(self)
        self.assertEqual(self.say("two"), [202])
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies()[-1], "two")

    def test_answered_481(self) -> None:
        """The peer has no such dialog any more: the session is over, the message is told."""
        self.begin()
        self.bob.on_request = lambda request: self.bob.answer(request, 481)
        self.lose()
        self.town.run(1)
        self.town.check_settled(self)
        self.assertEqual(self.town.sink.events[-1].name, "E_MSRP_SESSION_END")

    def test_never_answered(self) -> None:
        self.begin()
        self.bob.on_request = lambda request: None
        self.lose()
        self.assertEqual(self.say("one"), [202])
        self.town.run(80, step=0.5)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self)

    def test_peer_does_not_listen_any_more(self) -> None:
        """msrplib stops listening after the first connection."""
        self.begin()
        self.town.network.tcp.pop(("192.0.2.2", 2855))
        self.bob.on_request = self.renewed
        self.lose()
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.town.check_settled(self)
        self.assertRegex(
            str(self.town.sink.events[-1].parameters["reason"]), "MSRP connection failed"
        )

    def test_peer_connects(self) -> None:
        """Whoever was active before."""
        self.begin()
        self.bob.setup = "active"
        self.bob.on_request = self.renewed
        self.lose()
        self.assertEqual(self.say("one"), [202])
        self.bob.connect()
        self.bob.send(None)
        self.assertEqual(self.bob.bodies()[-1], "one")
        self.check_both_ways()

    def test_what_the_peer_repeats(self) -> None:
        """A message that Bob had no answer for comes again: Alice gets it once."""
        self.begin()
        self.alice.status = 0
        self.assertEqual(self.bob.send("one", Message_ID="same"), [])
        self.bob.on_request = self.renewed
        self.lose()
        self.bob.send("one", Message_ID="same")
        self.alice.status = 200
        self.town.run(1)
        self.assertEqual(self.alice.texts(), ["one"])
        self.assertEqual(self.bob.statuses()[-1], 200)
        self.town.check_settled(self, sessions=1)

    def test_reports_still_owed(self) -> None:
        """The REPORT goes out over the new session."""
        self.begin()
        self.alice.status = 0
        self.bob.send("one", Success_Report="yes")
        self.bob.on_request = self.renewed
        self.lose()
        self.alice.status = 200
        self.town.run(1)
        self.assertEqual(self.bob.reports(), [200])

    def test_losses_on_both_ways(self) -> None:
        """Users of our own rooms: nothing is lost, doubled or reordered."""
        town = Town()
        alice = town.page_user("alice", "192.0.2.1")
        bob = town.msrp_user("bob", "192.0.2.2")
        wanted = [f"text {number}" for number in range(40)]
        for number, text in enumerate(wanted):
            alice.send(bob.uri, text)
            if number > 3:
                bob.send(alice.uri, text)
            town.run(0.03)
            if number % 10 == 9:
                town.network.connections[-1][0].break_off()
        town.run(5)
        self.assertEqual(bob.received, wanted)
        self.assertEqual(alice.received, wanted[4:])
        town.check_settled(self, sessions=1)


class MoveTests(ReplacementTestCase):
    """The peer's re-INVITE."""

    def test_the_same_session(self) -> None:
        """It only asks whether we are there."""
        self.begin()
        path = self.bob.gateway_path()
        self.assertEqual(self.bob.in_dialog("INVITE", self.bob.sdp()).status, 200)
        self.assertEqual(self.bob.gateway_path(), path)
        self.assertEqual(len(self.bob.connections), 1)
        self.check_both_ways()

    def test_another_path(self) -> None:
        """A new session: we connect to it, with a fresh URI of ours."""
        self.begin()
        path = self.bob.gateway_path()
        self.bob.session = 2
        response = self.bob.in_dialog("INVITE", self.bob.sdp())
        self.assertEqual(response.status, 200)
        self.assertNotEqual(self.bob.gateway_path(), path)
        self.town.run(0.2)
        self.check_both_ways()
        self.assertEqual(self.bob.sends()[-1].to_path_text, self.bob.path)
        self.assertEqual(len(self.town.endpoint.sessions()), 1)

    def test_messages_under_way(self) -> None:
        """They go over the new session, with the same Message-ID."""
        self.begin()
        self.bob.send_status = 0
        self.assertEqual(self.say("one", "two"), [0, 0])
        first = [send.message_id for send in self.bob.sends()[1:]]
        self.bob.send_status = 200
        self.bob.session = 2
        self.bob.in_dialog("INVITE", self.bob.sdp())
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies()[3:], ["one", "two"])
        self.assertEqual([send.message_id for send in self.bob.sends()[3:]], first)
        self.check_both_ways()

    def test_without_an_offer(self) -> None:
        """It gets our offer, and its ACK brings the answer."""
        self.begin()
        request = self.bob.make_in_dialog("INVITE")
        response = self.bob.ask(request)
        self.assertEqual(response.status, 200)
        self.assertIn(b"a=path:", response.body)
        self.bob.acknowledge(request.cseq.number, self.bob.sdp())
        self.check_both_ways()

    def test_of_no_use(self) -> None:
        """488, and the session goes on as before."""
        self.begin()
        for sdp in (
            self.bob.sdp().replace(b"m=message 2855", b"m=message 0"),
            b"v=0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n",
            self.bob.sdp().replace(b"a=path", b"a=nopath"),
            b"rubbish",
        ):
            self.assertEqual(self.bob.in_dialog("INVITE", sdp).status, 488)
            self.check_both_ways()

    def test_refreshed_target(self) -> None:
        """Our BYE goes where the re-INVITE says that Bob is now."""
        self.begin()
        request = self.bob.make_in_dialog("INVITE", self.bob.sdp())
        request.headers.set("Contact", "<sip:bob@192.0.2.22>")
        elsewhere = Wire(self.town, "bob", "192.0.2.22")
        self.assertEqual(self.bob.ask(request).status, 200)
        self.bob.acknowledge(request.cseq.number)
        self.town.gateway.stop(1)
        self.town.run(0.1)
        self.assertEqual(len(elsewhere.requests("BYE")), 1)

    def test_while_a_new_session_is_being_set_up(self) -> None:
        """Ours crosses Bob's: 491, and then one of them."""
        self.begin()
        self.bob.on_request = lambda request: None
        self.bob.connections[-1].break_off()
        self.town.run(0.1)
        ours = self.bob.requests("INVITE")[-1]
        self.bob.session = 2
        self.assertEqual(self.bob.in_dialog("INVITE", self.bob.sdp()).status, 491)
        self.bob.on_request = self.bob.take
        self.bob.answer(ours, 491)
        self.town.run(5)
        self.check_both_ways()
        (session,) = self.town.gateway.sessions.values()
        self.assertIs(session.leg.state, LegState.UP)
