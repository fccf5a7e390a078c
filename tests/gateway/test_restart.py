"""The gateway is killed, and another one goes on with what the journal has."""

import tracemalloc

from msrpgw.gateway.settings import DeliverySettings
from msrpgw.types import JournalDialog
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.wire import WireMsrp


class ToMsrpTests(KeepingTestCase):
    """MESSAGEs on their way."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")

    def test_waited_for_him(self) -> None:
        """He is called again, and gets all of it, in order."""
        self.bob.status = 0
        for number in range(5):
            self.assertEqual(self.send(str(number)), 202)
        self.bob.status = 200
        self.restart()
        self.town.run(1)
        self.assertEqual(self.bob.bodies(), list("01234"))
        self.check_all_told()

    def test_on_the_wire(self) -> None:
        """The call is ended, he is called again, and gets the same Message-ID."""
        self.send("one")
        self.town.run(0.5)
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(self.bob.uri, "two", seconds=0.5).status, 202)
        self.bob.send_status = 200
        self.restart()
        self.town.run(1)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.assertEqual(len(self.bob.requests("INVITE")), 2)
        self.assertEqual(self.bob.bodies(), ["one", "two", "two"])
        self.assertEqual(len({send.message_id for send in self.bob.sends()}), 2)
        self.check_all_told()

    def test_only_held(self) -> None:
        """Alice repeats it, and Bob can tell."""
        self.send("one")
        self.town.run(0.5)
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"two", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.bob.send_status = 200
        self.restart()
        self.assertEqual(self.alice.responses(request), [])
        self.alice.write(request)
        self.town.run(1)
        self.assertEqual([each.status for each in self.alice.responses(request)], [202])
        self.assertEqual(self.bob.bodies(), ["one", "two", "two"])
        self.assertEqual(self.bob.sends()[1].message_id, self.bob.sends()[2].message_id)

    def test_repeated_by_its_sender(self) -> None:
        """Alice did not see her 202: she gets it again, and Bob the text once."""
        self.bob.status = 480
        request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
        self.assertEqual(self.alice.ask(request).status, 202)
        self.restart()
        self.alice.write(request)
        self.town.run(0.1)
        self.bob.status = 200
        self.town.run(5)
        self.alice.write(request)
        self.town.run(1)
        self.restart(40)
        self.alice.write(request)
        self.town.run(1)
        self.assertEqual({each.status for each in self.alice.responses(request)}, {202})
        self.assertEqual(len(self.alice.responses(request)), 4)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_time_goes_on(self) -> None:
        """message_ttl counts from when the message came."""
        self.settle({"message_ttl": 100.0})
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.status = 480
        self.send("too late")
        self.restart(90)
        self.town.run(200)
        self.assertIn('"too late" of 2023-11-14 22:13:20 UTC', self.alice.texts()[-1])
        self.check_all_told()

    def test_many(self) -> None:
        """They are not all called in one breath."""
        users = [WireMsrp(self.town, f"user{n}", f"192.0.3.{n}") for n in range(1, 41)]
        for user in users:
            user.status = 0
            self.assertEqual(self.alice.message(user.uri).status, 202)
            user.status = 200
        self.town.kill()
        self.town.run(1)
        self.town.live()
        self.town.run(0.05)
        called = sum(len(user.requests("INVITE")) - 1 for user in users)
        self.assertLess(called, 20)
        self.town.run(2)
        self.assertEqual([user.bodies() for user in users], [["hi"]] * 40)


class ToPageTests(KeepingTestCase):
    """SENDs on their way."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.call(self.alice.uri)
        self.town.run(0.1)

    def say(self, *texts: str) -> None:
        """Ours at once."""
        for text in texts:
            self.bob.send(text, Failure_Report="no")

    def test_on_the_wire_and_behind(self) -> None:
        """The same transaction goes on; those behind it follow, in order."""
        self.alice.status = 0
        self.say("one", "two", "three")
        self.alice.status = 200
        self.restart()
        self.town.run(1)
        self.assertEqual(self.alice.texts(), ["one", "two", "three"])
        first = [each for each in self.alice.received if each.body == b"one"]
        self.assertGreater(len(first), 1)
        self.assertEqual(len({each.via.branch for each in first}), 1)
        self.assertEqual(len({each.call_id for each in first}), 1)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.check_all_told()

    def test_much_later(self) -> None:
        """Another transaction with the same ids; 482 says nothing."""
        self.alice.status = 0
        self.say("one")
        self.alice.status = 482
        self.restart(40)
        self.alice.status = 200
        self.town.run(10)
        found = self.alice.requests("MESSAGE")
        self.assertEqual([each.body for each in found], [b"one"] * 3)
        self.assertEqual(len({(each.call_id, each.cseq.number) for each in found}), 1)
        self.check_all_told()

    def test_refused_before(self) -> None:
        """CSeq goes on from where it was."""
        self.alice.status = 480
        self.say("one")
        self.alice.status = 200
        self.restart(0.5)
        self.town.run(1)
        self.assertEqual([each.cseq.number for each in self.alice.requests("MESSAGE")], [1, 2])

    def test_twice(self) -> None:
        """Nothing is forgotten by the second one."""
        self.alice.status = 0
        self.say("one", "two")
        self.restart()
        self.restart()
        self.alice.status = 200
        self.restart()
        self.town.run(1)
        self.assertEqual(self.alice.texts(), ["one", "two"])
        self.check_all_told()
        calls = self.journal.calls
        self.restart()
        self.assertEqual(self.journal.calls, calls, "there was nothing left")


class CallTests(KeepingTestCase):
    """Calls that were up."""

    def test_ended(self) -> None:
        """BYE, in the dialog as it was last, with a CSeq beyond all that was sent."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        bob.call(self.alice.uri)
        self.alice.message(carol.uri)
        self.town.run(0.5)
        self.assertEqual(len(self.journal.dialogs), 2)
        bob.session += 1
        self.assertEqual(bob.in_dialog("INVITE", bob.sdp()).status, 200)
        self.restart()
        for user in (bob, carol):
            (bye,) = user.requests("BYE")
            self.assertEqual(bye.uri, user.uri)
            self.assertGreater(bye.cseq.number, 1000)
        (invite,) = carol.requests("INVITE")
        (bye,) = carol.requests("BYE")
        self.assertEqual(bye.headers.get("From"), invite.headers.get("From"))
        self.assertEqual(bye.call_id, invite.call_id)
        self.assertEqual(self.journal.dialogs, {})
        self.check_all_told()

    def test_over(self) -> None:
        """Nothing is kept of calls that ended."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        bob.in_dialog("BYE")
        self.assertEqual(self.journal.dialogs, {})
        self.restart()
        self.assertEqual(bob.requests("BYE"), [])

    def test_nobody_there(self) -> None:
        """The next process has another try."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        bob.on_request = lambda request: None
        self.restart()
        self.assertEqual(len(self.journal.dialogs), 1)
        self.town.run(40)
        self.assertEqual(self.journal.dialogs, {}, "no answer is an answer, too")

    def test_nonsense(self) -> None:
        """Somebody wrote into the file."""
        self.journal.put_dialog(
            JournalDialog(
                key="", call_id="x", local="<", remote="", target="", routes=("",), cseq=1
            )
        )
        self.restart()
        self.assertEqual(self.journal.dialogs, {})


class StopTests(KeepingTestCase):
    """The gateway is stopped, not killed."""

    def test_all_is_kept(self) -> None:
        """What is held is journaled, answered, and delivered by the next one."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        bob.send_status = 0
        self.alice.status = 0
        request = self.alice.make("MESSAGE", bob.uri, b"to bob", "text/plain")
        self.alice.write(request)
        bob.send("to alice")
        self.town.run(0.1)
        stopped = self.town.gateway.stop(1)
        self.town.run(0.3)
        late = self.alice.make("MESSAGE", bob.uri, b"late", "text/plain")
        self.assertEqual(self.alice.ask(late).status, 503)
        self.town.run(1)
        self.successResultOf(stopped)
        self.assertEqual([each.status for each in self.alice.responses(request)], [202])
        self.assertEqual(bob.statuses()[-1], 200)
        self.assertEqual(len(bob.requests("BYE")), 1)
        self.assertEqual(len(self.journal.entries), 2)
        bob.send_status = self.alice.status = 200
        self.restart()
        self.town.run(1)
        self.assertEqual(set(bob.bodies()), {"to bob"})
        self.assertIn("to alice", self.alice.texts())
        self.assertEqual(self.journal.entries, {})

    def test_waiting(self) -> None:
        """What waits for another attempt waits for the next process; nobody is told anything."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.status = 0
        self.send("one")
        told = len(self.alice.texts())
        stopped = self.town.gateway.stop(1)
        self.town.run(3)
        self.successResultOf(stopped)
        self.assertEqual(len(self.alice.texts()), told)
        self.assertEqual(len(self.journal.entries), 1)


class LongTests(KeepingTestCase):
    """A long text in several MESSAGEs."""

    TEXT = "Some words and then some more. " * 200

    def meet(self, **settings: object) -> WireMsrp:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        return bob

    def check_whole(self) -> None:
        """Each part arrived, in order; repeated ones have the same ids."""
        first: dict[str, str] = {}
        for request in self.alice.requests("MESSAGE"):
            self.assertLessEqual(len(request.render()), 1300)
            text = request.body.decode()
            self.assertEqual(first.setdefault(text, request.call_id), request.call_id)
        parts = [text.partition(") ")[2] for text in first]
        self.assertEqual("".join(parts), self.TEXT)
        self.assertTrue(next(iter(first)).startswith(f"(1/{len(first)}) "))

    def test_split(self) -> None:
        bob = self.meet()
        self.assertEqual(bob.send(self.TEXT, Success_Report="yes"), [200])
        self.town.run(1)
        self.check_whole()
        self.assertEqual(bob.reports(), [200])
        self.check_all_told()

    def test_100_kb(self) -> None:
        """Split to Alice, in chunks to Bob: both can read it."""
        self.TEXT = "Ein Satz mit Umlauten: äöüß. " * 3500
        bob = self.meet()
        self.assertEqual(bob.send(self.TEXT), [200])
        self.check_whole()
        over_tcp = self.town.page_user("carla", "192.0.2.4")
        over_tcp.send(bob.uri, self.TEXT)
        self.town.run(2)
        self.assertIn(over_tcp.statuses[0], (200, 202))
        self.assertEqual(b"".join(send.body or b"" for send in bob.sends()).decode(), self.TEXT)
        self.assertGreater(len(bob.sends()), 40)

    def test_10_mb(self) -> None:
        """413, and it is never in memory."""
        bob = self.meet()
        head = (
            f"MSRP big1 SEND\r\nTo-Path: {bob.gateway_path()}\r\nFrom-Path: {bob.path}\r\n"
            "Message-ID: m\r\nByte-Range: 1-10000000/10000000\r\nContent-Type: text/plain\r\n\r\n"
        )
        segments = bob.connections[-1]
        segments.write(head.encode())
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(1000):
            segments.write(b"x" * 10_000)
            self.town.run(0.01)
            segments.transport.written = b""  # type: ignore[union-attr]
        segments.write(b"\r\n-------big1$\r\n")
        self.town.run(0.1)
        self.assertLess(tracemalloc.get_traced_memory()[1], 3_000_000)
        self.assertEqual(bob.statuses()[-1], 413)
        self.assertEqual(bob.send("small"), [200])

    def test_killed_in_the_middle(self) -> None:
        bob = self.meet()
        bob.send(self.TEXT, Failure_Report="no")
        self.restart()
        self.town.run(1)
        self.check_whole()
        self.check_all_told()

    def test_away_in_the_middle(self) -> None:
        """What arrived is not sent again."""
        bob = self.meet()
        answers = iter([200, 200, 480, 480])
        self.alice.on_request = lambda request: self.alice.answer(request, next(answers, 200))
        bob.send(self.TEXT, Failure_Report="partial", Success_Report="yes")
        self.town.run(20)
        self.check_whole()
        texts = self.alice.texts()
        self.assertEqual(len(texts) - len(set(texts)), 2)
        self.assertEqual(bob.reports(), [200])

    def test_refused_in_the_middle(self) -> None:
        bob = self.meet()
        answers = iter([200, 200, 413])
        self.alice.on_request = lambda request: self.alice.answer(request, next(answers, 200))
        self.assertEqual(bob.send(self.TEXT), [200])
        self.town.run(1)
        self.assertEqual(bob.reports(), [413])
        self.assertEqual(len(self.alice.texts()), 3)

    def test_no_text(self) -> None:
        """413, and nothing is sent."""
        bob = self.meet()
        for content_type in ("text/plain;charset=utf-16", 'text/plain; charset="iso-8859-1"'):
            self.assertEqual(bob.send(self.TEXT, content_type=content_type), [413])
        self.assertEqual(self.alice.texts(), [])
        self.assertEqual(bob.send("short", content_type="text/plain;charset=utf-16"), [200])

    def test_refused_by_configuration(self) -> None:
        self.settle({"long_messages": "refuse"})
        bob = self.meet()
        self.assertEqual(bob.send(self.TEXT), [413])
        self.assertEqual(bob.send("x" * 600), [200])
        self.check_all_told()

    def test_limit_is_configuration(self) -> None:
        self.settle({"message_max": 5000})
        bob = self.meet()
        bob.send("x" * 3000)
        self.assertEqual(DeliverySettings(message_max=5000).message_max, 5000)
        self.town.run(1)
        self.assertEqual(len(self.alice.texts()), 1)
