"""MESSAGEs to page users: one pending for each URI, turns, back-off, bounds."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError, UriError
from msrpgw.gateway.page import Pages
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.timers import Timers
from msrpgw.types import Outcome, OutcomeKind
from tests.support import check_no_timers

BOB = "sip:bob@example.com"
CAROL = "sip:carol@example.com"
BACKOFF = 2.0
TICK = 0.02

DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")
SILENCE = Outcome(OutcomeKind.UNREACHABLE, 408, "Request Timeout")
DROPPED = Outcome(OutcomeKind.DROPPED, 0, "The gateway gave it up")


class PageCase(SynchronousTestCase):
    """Pages over an agent that answers when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.sent: list[str] = []  # names of the messages that went out, in order
        self.waiting: list[tuple[str, Callable[[Response], None]]] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.pages = self.make()

    def tearDown(self) -> None:
        self.assertEqual(self.pages.pending, len(self.waiting))
        if not self.waiting:
            self.assertEqual(self.pages._destinations, {}, "idle URIs are remembered")
            check_no_timers(self, self.clock, self.timers)

    def make(self, backoff: float = BACKOFF, backoff_max: float = 5.0) -> Pages:
        settings = GatewaySettings(backoff=backoff, backoff_max=backoff_max)
        return Pages(self.send, self.timers, settings)

    def send(self, request: Request, on_response: Callable[[Response], None]) -> None:
        name = request.body.decode()
        self.sent.append(name)
        self.waiting.append((name, on_response))

    def submit(self, name: str, ruri: str = BOB, lane: object = "alice") -> None:
        request = Request("MESSAGE", ruri, Headers(), name.encode())
        self.pages.submit(ruri, lane, lambda: request, self.record(name))

    def record(self, name: str) -> Callable[[Outcome], None]:
        return lambda outcome: self.outcomes.append((name, outcome))

    def respond(self, status: int, reason: str = "OK", *, at: int = 0, local: bool = False) -> None:
        """Answer the MESSAGE that waited longest."""
        _, on_response = self.waiting[at]
        if status >= 200:
            del self.waiting[at]
        on_response(Response(status, reason, Headers(), local=local))

    def time_out(self) -> None:
        self.respond(408, "Request Timeout", local=True)

    def assertSent(self, *names: str) -> None:
        self.assertEqual(self.sent, list(names))
        self.sent = []

    def assertOutcomes(self, *expected: tuple[str, Outcome]) -> None:
        self.assertEqual(self.outcomes, list(expected))
        self.outcomes = []


class OutcomeTests(PageCase):
    """What a response means."""

    def assertOutcome(self, outcome: Outcome, *, local: bool = False) -> None:
        self.submit("a")
        self.respond(outcome.status, outcome.reason, local=local)
        self.assertOutcomes(("a", outcome))
        self.clock.advance(BACKOFF + TICK)

    def test_success(self) -> None:
        self.assertOutcome(DELIVERED)
        self.assertOutcome(Outcome(OutcomeKind.DELIVERED, 202, "Accepted"))

    def test_refusals(self) -> None:
        for status in (302, 404, 408, 415, 480, 486, 503, 603):
            self.assertOutcome(Outcome(OutcomeKind.REFUSED, status, "So it is"))

    def test_nobody(self) -> None:
        for status in (408, 500, 503):
            self.assertOutcome(Outcome(OutcomeKind.UNREACHABLE, status, "Why"), local=True)

    def test_provisional_responses_mean_nothing(self) -> None:
        self.submit("a")
        self.respond(100, "Trying")
        self.respond(182, "Queued")
        self.assertOutcomes()
        self.respond(200)
        self.assertOutcomes(("a", DELIVERED))

    def test_a_second_final_response_means_nothing(self) -> None:
        self.submit("a")
        self.submit("b")
        _, on_response = self.waiting[0]
        self.respond(200)
        on_response(Response(486, "Busy Here", Headers()))
        self.assertOutcomes(("a", DELIVERED))
        self.respond(200)
        self.assertOutcomes(("b", DELIVERED))

    def test_a_request_that_can_not_be_written(self) -> None:
        errors = {"a": RenderError("CR or LF in a header value"), "b": UriError("Malformed URI")}

        def send(request: Request, on_response: Callable[[Response], None]) -> None:
            error = errors.pop(request.body.decode(), None)
            if error is not None:
                raise error
            self.send(request, on_response)

        self.pages = Pages(send, self.timers, GatewaySettings())
        for name in ("a", "b", "c"):
            self.submit(name)
        self.assertOutcomes()  # not before submit() has returned
        self.clock.advance(0)
        self.clock.advance(TICK)
        self.assertOutcomes(
            ("a", Outcome(OutcomeKind.REFUSED, 400, "CR or LF in a header value")),
            ("b", Outcome(OutcomeKind.REFUSED, 400, "Malformed URI")),
        )
        self.assertSent("c")
        self.respond(200)

    def test_many_requests_that_can_not_be_written(self) -> None:
        def send(request: Request, on_response: Callable[[Response], None]) -> None:
            raise RenderError("no")

        self.pages = Pages(send, self.timers, GatewaySettings())
        for number in range(3000):
            self.submit(str(number))
        for _ in range(3000):
            self.clock.advance(TICK)
        self.assertEqual(len(self.outcomes), 3000)

    def test_what_is_no_uri(self) -> None:
        self.submit("a", "nobody at all")
        self.submit("b", "nobody at all")
        self.assertSent("a")
        self.respond(200)
        self.respond(200)
        self.assertSent("b")


class TurnTests(PageCase):
    """One at a time for each URI; lanes take turns."""

    def test_one_at_a_time_in_order(self) -> None:
        for name in "abc":
            self.submit(name)
        self.assertSent("a")
        self.respond(200)
        self.assertSent("b")
        self.respond(486, "Busy Here")
        self.assertSent("c")
        self.respond(200)
        self.assertEqual([name for name, _ in self.outcomes], ["a", "b", "c"])
        self.assertEqual(self.pages.pending, 0)

    def test_the_request_is_made_at_its_turn(self) -> None:
        self.submit("a")
        made: list[str] = []

        def make_request() -> Request:
            made.append("b")
            return Request("MESSAGE", BOB, Headers(), b"b")

        self.pages.submit(BOB, "alice", make_request, self.record("b"))
        self.assertEqual(made, [])
        self.respond(200)
        self.assertEqual(made, ["b"])
        self.respond(200)

    def test_uris_do_not_wait_for_each_other(self) -> None:
        self.submit("a", BOB)
        self.submit("b", CAROL)
        self.assertSent("a", "b")
        self.respond(200, at=1)
        self.respond(200)
        self.assertOutcomes(("b", DELIVERED), ("a", DELIVERED))

    def test_a_uri_is_the_same_however_it_is_written(self) -> None:
        for number, ruri in enumerate(
            (
                "sip:bob@example.com",
                "SIP:bob@EXAMPLE.com",
                "sip:%62ob@example.com:5060",
                "sip:bob@example.com;transport=tcp",
            )
        ):
            self.submit(str(number), ruri, lane=number)
        for number in range(4):
            self.assertSent(str(number))
            self.respond(200)

    def test_lanes_take_turns(self) -> None:
        for name in ("a1", "a2", "a3", "a4"):
            self.submit(name, lane="a")
        for name in ("b1", "b2"):
            self.submit(name, lane="b")
        self.submit("c1", lane="c")
        while self.waiting:
            self.respond(200)
        self.assertSent("a1", "a2", "b1", "c1", "a3", "b2", "a4")

    def test_a_message_submitted_by_an_outcome(self) -> None:
        again = iter("bc")

        def ended(outcome: Outcome) -> None:
            name = next(again, None)
            if name is not None:
                self.submit(name, lane=name)

        request = Request("MESSAGE", BOB, Headers(), b"a")
        self.pages.submit(BOB, "alice", lambda: request, ended)
        self.pages.submit(BOB, "alice", lambda: request, ended)
        self.respond(200)
        self.respond(200)
        while self.waiting:
            self.respond(200)
        self.assertSent("a", "a", "b", "c")

    def test_an_outcome_that_fails_does_not_stop_the_others(self) -> None:
        def broken(outcome: Outcome) -> None:
            raise RuntimeError("a bug")

        request = Request("MESSAGE", BOB, Headers(), b"a")
        self.pages.submit(BOB, "alice", lambda: request, broken)
        self.submit("b")
        with self.assertRaises(RuntimeError):
            self.respond(200)
        self.assertSent("a", "b")
        self.respond(200)


class BackoffTests(PageCase):
    """A URI that timed out is left alone for a while."""

    def test_the_queue_waits(self) -> None:
        self.submit("a", lane="a")
        self.submit("b", lane="b")
        self.time_out()
        self.assertOutcomes(("a", SILENCE))
        self.submit("c", lane="c")
        self.clock.advance(BACKOFF - TICK)
        self.assertSent("a")
        self.clock.advance(2 * TICK)
        self.assertSent("b")
        self.respond(200)
        self.assertSent("c")
        self.respond(200)

    def test_other_uris_go_on(self) -> None:
        self.submit("a", BOB)
        self.time_out()
        self.submit("b", CAROL)
        self.assertSent("a", "b")
        self.respond(200)
        self.clock.advance(BACKOFF + TICK)

    def test_longer_each_time(self) -> None:
        for name in "abcdef":
            self.submit(name)
        for rest in (2.0, 4.0, 5.0, 5.0):
            self.time_out()
            self.sent = []
            self.clock.advance(rest - TICK)
            self.assertSent()
            self.clock.advance(2 * TICK)
            self.assertEqual(len(self.sent), 1)
        # An answer, whatever it says, shows that somebody is there.
        self.respond(486, "Busy Here")
        self.sent = []
        self.time_out()
        self.clock.advance(BACKOFF + TICK)
        self.assertSent()

    def test_only_silence_counts(self) -> None:
        # A connection that is refused is known at once, and so is a 408 from a proxy.
        self.submit("a")
        self.submit("b")
        self.submit("c")
        self.respond(503, "Connection refused", local=True)
        self.assertSent("a", "b")
        self.respond(408, "Request Timeout")
        self.assertSent("c")
        self.respond(200)

    def test_turned_off(self) -> None:
        self.pages = self.make(backoff=0.0)
        self.submit("a")
        self.submit("b")
        self.time_out()
        self.assertSent("a", "b")
        self.respond(200)


class CloseTests(PageCase):
    """The end of everything."""

    def test_what_was_not_sent_is_dropped(self) -> None:
        self.submit("a1", BOB, "a")
        self.submit("a2", BOB, "a")
        self.submit("b1", BOB, "b")
        self.submit("b2", CAROL, "b")
        self.submit("a3", CAROL, "a")
        self.pages.close()
        self.assertOutcomes(("a2", DROPPED), ("b1", DROPPED), ("a3", DROPPED))
        self.assertEqual(self.pages.pending, 2)
        self.assertSent("a1", "b2")
        self.respond(200)
        self.assertOutcomes(("a1", DELIVERED))
        self.respond(200)

    def test_while_resting(self) -> None:
        self.submit("a")
        self.submit("b")
        self.time_out()
        self.pages.close()
        self.assertOutcomes(("a", SILENCE), ("b", DROPPED))
        self.clock.advance(BACKOFF + TICK)
