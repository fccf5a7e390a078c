"""How sessions end: by BYE, by time, by shutdown; and that they don't end for other reasons."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.message import Request
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp
from tests.support import check_no_timers

ENDED = "E_MSRP_SESSION_END"


class EndTestCase(SynchronousTestCase):
    """Alice has MESSAGE, Bob has MSRP."""

    def found(self, town: Town) -> None:
        """They have met."""
        self.town = town
        self.alice = Wire(town, "alice", "192.0.2.1")
        self.bob = WireMsrp(town, "bob", "192.0.2.2")
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 202)
        town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def setUp(self) -> None:
        self.found(Town())

    def stay(self, seconds: float) -> None:
        """Time passes, and the session is still there."""
        self.town.run(seconds, step=0.5)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.assertEqual(self.bob.requests("BYE"), [])

    def check_ended(self, reason: str, byes: int = 1) -> None:
        """It ended, once, for this reason, and nothing is left of it."""
        self.assertEqual([event["reason"] for event in self.town.sink.named(ENDED)], [reason])
        self.assertEqual(len(self.bob.requests("BYE")), byes)
        self.town.check_settled(self)


class ByeTests(EndTestCase):
    """Somebody hangs up."""

    def test_msrp_user(self) -> None:
        """BYE gets 200; the next MESSAGE calls again."""
        self.assertEqual(self.bob.in_dialog("BYE").status, 200)
        self.check_ended("Ended by the peer", byes=0)
        self.assertEqual(self.alice.texts(), [])
        self.assertEqual(self.alice.message(self.bob.uri, "again").status, 202)
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["hi", "again"])
        self.assertEqual(len(self.bob.requests("INVITE")), 2)

    def test_message_under_way(self) -> None:
        """A SEND has no answer yet when the BYE comes: its MESSAGE is answered."""
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"lost", "text/plain")
        self.alice.write(request)
        self.town.run(0.01)
        self.assertEqual(self.alice.responses(request), [])
        self.assertEqual(self.bob.in_dialog("BYE").status, 200)
        self.town.run(0.15)
        (response,) = self.alice.responses(request)
        self.assertEqual(response.status, 480)
        self.check_ended("Ended by the peer", byes=0)
        self.assertEqual(self.alice.texts(), [])

    def test_bye_overtakes_the_answer(self) -> None:
        """The SEND's 200 comes by TCP behind a BYE by UDP: the text was delivered."""
        self.bob.on_send = lambda connection, send: None
        request = self.alice.make("MESSAGE", self.bob.uri, b"got it", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.assertEqual(self.bob.in_dialog("BYE").status, 200)
        self.bob.connections[0].answer(self.bob.sends()[-1], 200)
        self.town.run(0.05)
        (response,) = self.alice.responses(request)
        self.assertEqual(response.status, 200)
        self.check_ended("Ended by the peer", byes=0)

    def test_bye_and_the_connection_goes_at_once(self) -> None:
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"lost", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.bob.in_dialog("BYE")
        self.bob.connections[0].break_off()
        self.town.run(0.05)
        (response,) = self.alice.responses(request)
        self.assertEqual(response.status, 480)
        self.check_ended("Ended by the peer", byes=0)

    def test_message_in_our_custody(self) -> None:
        """The MESSAGE was answered 202 before the BYE came: a notice tells."""
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, "lost", seconds=0.5).status, 202)
        self.bob.in_dialog("BYE")
        self.town.run(0.3)
        self.check_ended("Ended by the peer", byes=0)
        self.assertEqual(
            self.alice.texts(),
            [
                "Message not delivered, error: 480 Ended by the peer;"
                ' it was "lost" of 2023-11-14 22:13:20 UTC'
            ],
        )

    def test_message_to_the_page_user_under_way(self) -> None:
        """It is delivered all the same, after the BYE; the one behind it as well."""
        self.alice.status = 0
        self.bob.send("one")
        self.bob.send("two")
        self.bob.in_dialog("BYE")
        self.check_ended_but_pages()
        self.alice.status = 200
        self.town.run(1)
        self.assertEqual(self.alice.texts(), ["one", "two"])
        self.check_ended("Ended by the peer", byes=0)

    def check_ended_but_pages(self) -> None:
        """The session is gone, two MESSAGEs of it are not."""
        self.assertEqual(self.town.gateway.sessions, {})
        self.assertEqual(self.town.gateway.pages.pending, 2)

    def test_connection_closed_before_the_bye(self) -> None:
        """Some close MSRP first: the BYE meets our re-INVITE."""
        self.bob.on_request = lambda request: None
        self.bob.connections[0].break_off()
        self.town.run(0.1)
        self.assertEqual(len(self.bob.requests("INVITE")), 2)
        self.assertEqual(self.bob.in_dialog("BYE").status, 200)
        self.check_ended("Ended by the peer", byes=0)

    def test_nothing_is_left(self) -> None:
        """No timer, no transaction, no connection's session."""
        self.bob.in_dialog("BYE")
        self.town.run(400, step=0.5)
        self.assertEqual(len(self.town.agent.transactions), 0)
        self.assertEqual(self.town.endpoint.sessions(), [])
        self.town.agent.stop()
        self.town.endpoint.close()
        self.town.run(2)
        check_no_timers(self, self.town.clock, self.town.agent.timers)


class TimeTests(EndTestCase):
    """Sessions end when nobody uses them."""

    def test_message_timeout(self) -> None:
        """No MESSAGE for so long; each one starts it anew, SENDs don't."""
        self.found(Town(message_timeout=60))
        self.stay(50)
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)
        self.stay(50)
        self.bob.send("me too")
        self.town.run(11)
        self.check_ended("No MESSAGE within message_timeout")

    def test_message_timeout_of_a_session_without_messages(self) -> None:
        """The time starts with the session."""
        self.town = Town(message_timeout=60)
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.stay(59)
        self.town.run(2)
        self.check_ended("No MESSAGE within message_timeout")

    def test_session_timeout(self) -> None:
        """Nothing from either side for so long."""
        self.found(Town(message_timeout=0, session_timeout=60))
        self.stay(50)
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)
        self.stay(50)
        self.bob.send("me too")
        self.stay(59)
        self.town.run(2)
        self.check_ended("No traffic within session_timeout")

    def test_traffic_of_the_msrp_side_alone(self) -> None:
        """It keeps the session alive when message_timeout is 0."""
        self.found(Town(message_timeout=0, session_timeout=60))
        for number in range(10):
            self.stay(50)
            self.assertEqual(self.bob.send(f"text {number}"), [200])
        self.assertEqual(len(self.alice.texts()), 10)

    def test_keep_alives_are_no_traffic(self) -> None:
        """An empty SEND is answered, and that is all."""
        self.found(Town(message_timeout=0, session_timeout=60))
        self.stay(50)
        self.assertEqual(self.bob.send(None), [200])
        self.town.run(11)
        self.check_ended("No traffic within session_timeout")

    def test_max_duration(self) -> None:
        """However busy it is."""
        self.found(Town(max_duration=60))
        for _ in range(5):
            self.stay(10)
            self.assertEqual(self.alice.message(self.bob.uri).status, 200)
            self.bob.send("and me")
        self.town.run(10)
        self.check_ended("Longer than max_duration")

    def test_all_turned_off(self) -> None:
        self.found(Town(message_timeout=0, session_timeout=0, max_duration=0))
        self.town.run(86400 * 3, step=600)
        self.stay(1)
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)

    def test_an_old_process(self) -> None:
        """Ages count from the session's beginning, not from the process's."""
        for age in (1e6, 1e8):
            self.found(Town(age=age, message_timeout=60, session_timeout=60, max_duration=100))
            self.stay(59)
            self.assertEqual(self.alice.message(self.bob.uri).status, 200)
            self.stay(35)
            self.town.run(10)
            self.check_ended("Longer than max_duration")

    def test_setup_timeout(self) -> None:
        """Ends a set-up, never a session."""
        self.found(Town(setup_timeout=5))
        self.stay(30)
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)

    def test_no_setup_timeout(self) -> None:
        """Timer C is what is left."""
        town = Town(setup_timeout=0)
        alice = Wire(town, "alice", "192.0.2.1")
        bob = WireMsrp(town, "bob", "192.0.2.2")
        bob.on_request = lambda request: bob.answer(request, 180)
        self.assertEqual(alice.message(bob.uri).status, 202)
        town.run(170, step=0.5)
        self.assertEqual(alice.texts(), [])
        town.run(50, step=0.5)
        self.assertEqual(len(alice.texts()), 1)

    def test_messages_waiting_at_the_end(self) -> None:
        """Time is up while a message is under way: it is told."""
        self.found(Town(max_duration=60))
        self.stay(59)
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, seconds=0.5).status, 202)
        self.town.run(1)
        self.check_ended("Longer than max_duration")
        self.assertEqual(
            self.alice.texts(),
            [
                "Message not delivered, error: 480 Longer than max_duration;"
                ' it was "hi" of 2023-11-14 22:14:19 UTC'
            ],
        )


class ShutdownTests(EndTestCase):
    """The gateway is stopped."""

    def stop(self, grace: float = 5.0) -> Deferred[None]:
        """Stop; without messages on their way the sessions are gone at once."""
        stopped: Deferred[None] = self.town.gateway.stop(grace)
        return stopped

    def test_bye(self) -> None:
        """All sessions get BYE; over as soon as these have their answers."""
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        carol.call(self.alice.uri)
        stopped = self.stop()
        self.assertEqual(self.town.gateway.sessions, {})
        self.assertNoResult(stopped)
        self.town.run(0.1)
        self.successResultOf(stopped)
        self.assertEqual(len(carol.requests("BYE")), 1)
        self.assertEqual(
            [event["reason"] for event in self.town.sink.named(ENDED)],
            ["The gateway is being stopped"] * 2,
        )
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.town.check_settled(self)

    def test_nothing_to_end(self) -> None:
        self.successResultOf(Town().gateway.stop(5))

    def test_no_answer_to_bye(self) -> None:
        """The grace time is what they have."""
        self.bob.on_request = lambda request: None
        stopped = self.stop()
        self.town.run(4.9)
        self.assertNoResult(stopped)
        self.town.run(0.2)
        self.successResultOf(stopped)

    def test_a_replaced_call_is_awaited_too(self) -> None:
        self.bob.on_request = lambda request: None
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.bob.on_request = self.take_if_of_the_last_call
        stopped = self.stop()
        self.town.run(2)
        self.assertNoResult(stopped)
        self.bob.on_request = self.bob.take
        self.town.run(5)
        self.successResultOf(stopped)

    def take_if_of_the_last_call(self, request: Request) -> None:
        """Answer nothing that belongs to the first call."""
        assert self.bob.invite is not None
        if request.call_id == self.bob.invite.call_id:
            self.bob.take(request)

    def test_call_that_rings(self) -> None:
        """CANCEL instead of BYE; who wrote is told."""
        carol = self.town.msrp_user("carol", "192.0.2.3", ring=True)
        self.alice.message(carol.uri)
        stopped = self.stop()
        self.town.run(0.2)
        self.successResultOf(stopped)
        self.assertEqual(carol.user.calls, {})
        self.assertEqual(
            self.alice.texts(),
            ["Failed to establish session, error: 487 The gateway is being stopped"],
        )
        self.town.check_settled(self)

    def test_message_under_way_to_the_page_user(self) -> None:
        """It may finish within the grace time, and those behind it."""
        held: list[Request] = []
        self.alice.on_request = held.append
        self.bob.send("one", Success_Report="yes")
        self.bob.send("two")
        stopped = self.stop()
        self.town.run(0.2)
        self.assertNoResult(stopped)
        self.alice.on_request = self.alice.take
        self.alice.answer(held[0], 200)
        self.town.run(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.alice.texts(), ["one", "two"])
        self.town.check_settled(self)

    def test_messages_that_can_not_be_delivered(self) -> None:
        """Those not sent when the grace time is over are dropped, each with its outcome."""
        self.alice.status = 0
        for number in range(3):
            self.bob.send(str(number))
        stopped = self.stop(2)
        self.town.run(1.9)
        self.assertEqual(self.bob.requests("BYE"), [])
        self.town.run(0.2)
        self.successResultOf(stopped)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.assertEqual(self.alice.texts(), ["0"])
        self.assertEqual(self.town.gateway.pages.pending, 1)  # under way until SIP is stopped

    def test_message_under_way_to_the_msrp_user(self) -> None:
        """Its MESSAGE is answered before all is over."""
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"lost", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        stopped = self.stop()
        self.assertEqual(self.bob.requests("BYE"), [])
        self.bob.connections[0].answer(self.bob.sends()[-1], 200)
        self.town.run(0.1)
        self.assertEqual([answer.status for answer in self.alice.responses(request)], [200])
        self.successResultOf(stopped)
        self.assertEqual(len(self.bob.requests("BYE")), 1)

    def test_message_that_the_msrp_user_does_not_answer(self) -> None:
        """Without a journal its sender learns the truth when the grace time is over."""
        self.found(Town(hold_message=3))
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"lost", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.stop(1)
        self.town.run(1.1)
        self.assertEqual([answer.status for answer in self.alice.responses(request)], [480])

    def test_send_while_it_stops(self) -> None:
        """A SEND that comes after the BYE finds no session, and so gets no 200."""
        path = self.bob.gateway_path()
        self.stop()
        self.assertEqual(self.bob.send("late", To_Path=path), [])
        self.assertTrue(self.bob.connections[0].lost)
        self.assertEqual(self.bob.send("later", over=self.bob.connect(), To_Path=path), [481])
        self.town.check_settled(self)
