"""Attempts: what is tried again, when, in what order; and what its sender is told."""

from itertools import pairwise

from msrpgw.sip.message import Request, Response
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.wire import Wire, WireMsrp

FAILED = "E_MSRP_GW_SETUP_FAILED"
DELAYED = "Not delivered yet, error: 480 Temporarily Unavailable; trying again"


class AwayTests(KeepingTestCase):
    """Bob has MSRP, and is not there."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.status = 480

    def test_comes_back(self) -> None:
        """All that waited is delivered, in order, before what is new; Alice is told once."""
        for number in range(5):
            self.assertEqual(self.send(f"text {number}"), 202)
        self.town.run(20)
        self.assertGreater(len(self.bob.requests("INVITE")), 2)
        self.assertEqual(self.alice.texts(), [DELAYED])
        self.bob.status = 200
        self.assertEqual(self.send("text 5"), 202)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), [f"text {number}" for number in range(6)])
        self.assertEqual(self.alice.texts(), [DELAYED])
        self.check_all_told()
        self.bob.in_dialog("BYE")
        self.bob.status = 480
        self.assertEqual(self.send("text 6"), 202)
        self.town.run(0.5)
        self.assertEqual(len(self.alice.texts()), 2, "another absence is told again")

    def test_comes_back_by_himself(self) -> None:
        """The gateway tries again without any new MESSAGE."""
        self.send("one")
        self.send("two")
        self.town.run(5)
        self.bob.status = 200
        self.town.run(10)
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.check_all_told()
        ends = self.town.sink.named("E_MSRPGW_MESSAGE_DELIVERED")
        self.assertEqual([end["attempts"] for end in ends], [3, 2])

    def test_calls(self) -> None:
        """His own call brings him what waits."""
        self.send("one")
        self.send("two")
        self.town.run(0.5)
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.check_all_told()
        self.town.run(20)
        self.assertEqual(len(self.bob.requests("INVITE")), 1)

    def test_back_off(self) -> None:
        """Twice as long each time, a quarter more or less, up to the maximum."""
        self.settle({"retry_interval": 2.0, "retry_max": 16.0})
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.status = 480
        times: list[float] = []
        self.bob.on_request = lambda request: self.note(request, times)
        self.send()
        self.town.run(80, step=0.05)
        waits = [later - earlier for earlier, later in pairwise(times)]
        for wait, expected in zip(waits[:6], (2, 4, 8, 16, 16, 16), strict=True):
            self.assertGreater(wait, expected * 0.74)
            self.assertLess(wait, expected * 1.26 + 0.1)

    def note(self, request: Request, times: list[float]) -> None:
        """When it came."""
        if request.method == "INVITE":
            times.append(self.town.clock.seconds())
        self.bob.take(request)

    def test_retry_after(self) -> None:
        """More than our own wait counts."""
        self.bob.on_request = lambda request: self.bob.answer(
            request, 503, headers=[("Retry-After", "30 (maintenance);duration=60")]
        )
        self.send()
        self.town.run(29)
        self.assertEqual(len(self.bob.requests("INVITE")), 1)
        self.town.run(2)
        self.assertEqual(len(self.bob.requests("INVITE")), 2)

    def test_burst_while_he_is_away(self) -> None:
        """A new MESSAGE is a reason to try, but not each of many."""
        for number in range(50):
            self.send(str(number))
        self.assertLess(len(self.bob.requests("INVITE")), 4)
        self.bob.status = 200
        self.town.run(10)
        self.assertEqual(self.bob.bodies(), [str(number) for number in range(50)])

    def test_no_room(self) -> None:
        """480 with Retry-After; what has its 202 is delivered."""
        self.settle(queue_limit=20)
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.status = 480
        statuses = [self.send(str(number)) for number in range(30)]
        self.assertEqual(statuses, [202] * 20 + [480] * 10)
        bob.status = 200
        self.town.run(10)
        self.assertEqual(bob.bodies(), [str(number) for number in range(20)])
        self.check_all_told()

    def test_burst_of_5000(self) -> None:
        """All in the journal, or refused; all that is in it is delivered, in order."""
        requests = [
            self.alice.make("MESSAGE", self.bob.uri, str(number).encode(), "text/plain")
            for number in range(5000)
        ]
        for request in requests:
            self.alice.write(request)
        self.town.run(0.1)
        statuses: dict[str, int] = {}
        for each in self.alice.received:
            if isinstance(each, Response):
                self.assertEqual(each.headers.get("Retry-After"), {480: "10"}.get(each.status))
                statuses[each.call_id] = each.status
        taken = [each for each in requests if statuses[each.call_id] == 202]
        self.assertEqual(len(taken), 1000)
        self.assertEqual(set(statuses.values()), {202, 480})
        self.assertEqual(len(self.journal.entries), 1000)
        self.assertEqual(self.town.gateway.room.used, 1000)
        self.bob.status = 200
        self.town.run(5)
        self.assertEqual(self.bob.bodies(), [each.body.decode() for each in taken])
        self.check_all_told()

    def test_gives_up(self) -> None:
        """At message_ttl Alice is told what was not delivered."""
        self.settle({"message_ttl": 600.0})
        WireMsrp(self.town, "bob", "192.0.2.2").status = 480
        self.send("How are you?")
        self.town.run(900, step=0.1)
        self.assertEqual(
            self.alice.texts(),
            [
                DELAYED,
                "Message not delivered, error: 480 Temporarily Unavailable;"
                ' it was "How are you?" of 2023-11-14 22:13:20 UTC',
            ],
        )
        self.check_all_told()

    def test_expires(self) -> None:
        """A MESSAGE's own limit counts when it is less."""
        request = self.alice.make(
            "MESSAGE", self.bob.uri, b"now or never", "text/plain", [("Expires", "30")]
        )
        self.assertEqual(self.alice.ask(request).status, 202)
        self.assertEqual(self.send("any time"), 202)
        self.town.run(200, step=0.1)
        self.bob.status = 200
        self.town.run(400, step=0.1)
        self.assertEqual(self.bob.bodies(), ["any time"])
        self.assertIn('"now or never"', self.alice.texts()[-1])
        self.check_all_told()

    def test_another_is_not_slowed(self) -> None:
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        for _ in range(3):
            self.send("to bob")
            self.assertIn(self.alice.message(carol.uri, "to carol").status, (200, 202))
        self.town.run(0.5)
        self.assertEqual(carol.bodies(), ["to carol"] * 3)

    def test_refused_for_good(self) -> None:
        """No second attempt."""
        self.bob.status = 404
        self.send()
        self.town.run(60)
        self.assertEqual(self.alice.texts(), ["Failed to establish session, error: 404 Not Found"])
        self.assertEqual(len(self.bob.requests("INVITE")), 1)
        self.check_all_told()

    def test_too_many_sessions(self) -> None:
        """An attempt finds no room: the next one may."""
        self.settle(max_sessions=1)
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.status = 480
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        self.send()
        self.town.run(0.5)
        self.alice.message(carol.uri)
        self.town.run(10)
        bob.status = 200
        carol.in_dialog("BYE")
        self.town.run(60)
        self.assertEqual(bob.bodies(), ["hi"])


class SessionTests(KeepingTestCase):
    """Bob is there; something happens to what is on its way to him."""

    def setUp(self) -> None:
        super().setUp()
        self.meet()

    def meet(self) -> None:
        """A session, up."""
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.town.run(0.1)

    def test_no_journal_while_users_answer(self) -> None:
        """Not one call, whatever crosses."""
        before = self.journal.calls
        for number in range(20):
            self.assertEqual(self.send(str(number)), 200)
            self.assertEqual(self.bob.send(str(number)), [200])
        self.town.run(10)
        self.assertEqual(self.journal.calls, before)

    def test_bye_while_it_is_on_its_way(self) -> None:
        """The gateway calls once more; the Message-ID stays."""
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, "hi", seconds=0.5).status, 202)
        self.bob.in_dialog("BYE")
        self.bob.send_status = 200
        self.town.run(5)
        self.assertEqual(self.bob.bodies(), ["hi", "hi"])
        self.assertEqual(len({send.message_id for send in self.bob.sends()}), 1)
        self.assertEqual(self.alice.texts(), [])
        self.check_all_told()

    def test_no_answer_to_a_send(self) -> None:
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, "hi", seconds=0.5).status, 202)
        self.town.run(31)
        self.bob.send_status = 200
        self.town.run(5)
        self.assertEqual(self.bob.bodies(), ["hi", "hi"])
        self.check_all_told()

    def test_refused_after_the_hold(self) -> None:
        """A refusal for good is told by a notice."""
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, "hi", seconds=0.5).status, 202)
        self.bob.connections[0].answer(self.bob.sends()[0], 413)
        self.town.run(5)
        self.assertEqual(len(self.alice.texts()), 1)
        self.check_all_told()

    def test_many_refused(self) -> None:
        """One notice now, one for all others when its interval is over."""
        self.bob.send_status = 0
        for number in range(4):
            self.alice.message(self.bob.uri, f"text {number}", seconds=0.5)
        for send in self.bob.sends():
            self.bob.connections[0].answer(send, 403)
        self.town.run(0.5)
        self.assertEqual(len(self.alice.texts()), 1)
        self.assertIn('"text 0"', self.alice.texts()[0])
        self.town.run(11)
        self.assertEqual(len(self.alice.texts()), 2)
        self.assertRegex(self.alice.texts()[1], r'"text 1" of .*, and 2 more$')
        self.town.run(60)
        self.assertEqual(len(self.alice.texts()), 2)

    def test_disk_full(self) -> None:
        """What can be delivered flows; what must be kept is refused."""
        self.journal.full = True
        self.assertEqual(self.send(), 200)
        response = self.alice.message("sip:carol@192.0.2.9")
        self.assertEqual(response.status, 480)
        self.assertEqual(response.headers.get("Retry-After"), "10")
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"slow", "text/plain")
        self.alice.write(request)
        self.town.run(2)
        self.assertEqual(self.alice.responses(request), [])
        self.bob.connections[0].answer(self.bob.sends()[-1], 200)
        self.town.run(0.1)
        self.assertEqual([each.status for each in self.alice.responses(request)], [200])
        self.alice.status = 0
        self.assertEqual(self.bob.send("one"), [])
        self.assertEqual(self.bob.send("two"), [])
        self.town.run(6)
        self.assertEqual(self.bob.statuses()[-1], 413)
        self.alice.status = 200
        self.town.run(5)
        self.assertEqual(self.alice.texts(), ["one"])
        self.journal.full = False
        self.assertEqual(self.alice.message("sip:carol@192.0.2.9").status, 202)


class PageTests(KeepingTestCase):
    """From Bob, who has MSRP, to Alice, who is away."""

    def setUp(self) -> None:
        super().setUp()
        self.meet()

    def meet(self) -> None:
        """A session, up."""
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.town.run(0.1)

    def say(self, *texts: str) -> None:
        """With Failure-Report partial: ours at once, and failures are told."""
        for text in texts:
            self.bob.send(text, Failure_Report="partial", Success_Report="yes")

    def arrived(self) -> list[str]:
        """Texts that Alice took, in order."""
        return self.taken

    def answer(self, *statuses: int) -> None:
        """Alice answers with these, one after the other, and then with the last."""
        self.taken: list[str] = []
        left = list(statuses)

        def take(request: Request) -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            if request.method == "MESSAGE" and status == 200:
                self.taken.append(request.body.decode())
            self.alice.answer(request, status)

        self.alice.on_request = take

    def test_comes_back(self) -> None:
        """In order, with the same Call-ID, CSeq going up with each refusal."""
        self.answer(480, 480, 480, 200)
        self.say("one", "two", "three")
        self.town.run(40)
        self.assertEqual(self.arrived(), ["one", "two", "three"])
        first = [each for each in self.alice.requests("MESSAGE") if each.body == b"one"]
        self.assertEqual(len({each.call_id for each in first}), 1)
        self.assertEqual([each.cseq.number for each in first], [1, 2, 3, 4])
        self.assertEqual(self.bob.reports(), [200, 200, 200])
        self.check_all_told()

    def test_gone_for_an_hour(self) -> None:
        """In order all the same."""
        self.answer(480)
        wanted = [str(number) for number in range(10)]
        self.say(*wanted)
        self.town.run(3600, step=0.5)
        self.answer(200)
        self.town.run(400, step=0.1)
        self.assertEqual(self.arrived(), wanted)
        self.assertEqual(self.bob.reports(), [200] * 10)
        self.check_all_told()

    def test_one_that_fails_alone(self) -> None:
        """It keeps the others back for retry_block, and is told in the end."""
        self.settle({"retry_block": 10.0, "message_ttl": 120.0})
        self.meet()
        self.taken = []
        self.alice.on_request = self.take_all_but_poison
        self.say("poison", "one", "two")
        self.town.run(5)
        self.assertEqual(self.arrived(), [])
        self.town.run(20)
        self.assertEqual(self.arrived(), ["one", "two"])
        self.say("three")
        self.town.run(1)
        self.assertEqual(self.arrived(), ["one", "two", "three"])
        self.town.run(200)
        self.assertEqual(self.bob.reports(), [200, 200, 200, 408])
        self.check_all_told()

    def take_all_but_poison(self, request: Request) -> None:
        """One message is more than Alice's phone can take."""
        text = request.body.decode()
        if text != "poison":
            self.taken.append(text)
        self.alice.answer(request, 500 if text == "poison" else 200)

    def test_nobody_answers(self) -> None:
        self.alice.status = 0
        self.say("hi")
        self.town.run(33)
        self.alice.status = 200
        self.town.run(10)
        self.assertEqual(self.alice.texts(), ["hi", "hi"])
        found = self.alice.requests("MESSAGE")
        self.assertEqual(len({(each.call_id, each.cseq.number) for each in found}), 1)
        self.assertEqual(self.bob.reports(), [200])
        self.check_all_told()

    def test_refused_for_good(self) -> None:
        self.answer(404)
        self.say("hi")
        self.town.run(60)
        self.assertEqual(self.bob.reports(), [403])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 1)
        self.check_all_told()

    def test_within_the_hold(self) -> None:
        """The sender waits: it is told at once, and that is the end of it."""
        self.answer(480)
        self.assertEqual(self.bob.send("hi"), [200])
        self.town.run(60)
        self.assertEqual(self.bob.reports(), [408])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 1)
        self.check_all_told()

    def test_session_over(self) -> None:
        """It is delivered all the same; there is nobody to report to."""
        self.answer(480, 200)
        self.say("hi")
        self.bob.in_dialog("BYE")
        self.town.run(10)
        self.assertEqual(self.arrived(), ["hi"])
        self.check_all_told()

    def test_given_up_while_it_waits_behind_others(self) -> None:
        """Its time runs, too."""
        self.settle({"message_ttl": 100.0})
        self.meet()
        self.answer(480)
        self.say("one", "two", "three")
        self.town.run(300)
        self.assertEqual(self.bob.reports(), [408] * 3)
        self.check_all_told()

    def test_two_sessions_to_one_page_user(self) -> None:
        """The one that has to wait does not keep the other's place."""
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        carol.call(self.alice.uri)
        self.town.run(0.1)
        self.answer(480, 480, 200)
        self.say("from bob")
        carol.send("from carol", Failure_Report="partial")
        self.town.run(30)
        self.assertEqual(sorted(self.arrived()), ["from bob", "from carol"])
        self.check_all_told()


class WireTests(KeepingTestCase):
    """How a refusal is retried on the wire."""

    def test_a_page_user_whose_host_is_gone(self) -> None:
        """Nobody there at all, and then somebody."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call("sip:dora@192.0.2.77")
        self.town.run(0.1)
        bob.send("hi", Failure_Report="partial", Success_Report="yes")
        self.town.run(60)
        dora = Wire(self.town, "dora", "192.0.2.77")
        self.town.run(120)
        self.assertEqual(dora.texts(), ["hi"])
        self.assertEqual(bob.reports(), [200])
