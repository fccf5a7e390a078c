"""The message ladder, and what the demo finds wrong."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.demo import Half, parse_arguments, text_of
from msrpgw.ua.ladder import ladder
from msrpgw.ua.texts import Sent, Signal


class LadderTests(SynchronousTestCase):
    """Lines from signals."""

    def test_both_sides_by_time(self) -> None:
        lines = list(
            ladder(
                1.0,
                [Signal(1.0, True, "MESSAGE", "Hi"), Signal(1.5, False, "200 OK")],
                [Signal(1.25, False, "SEND", "Hi")],
                ("alice", "gw", "bob"),
            )
        )
        self.assertEqual(
            lines,
            [
                "       ms  " + "alice".ljust(35) + "gw".ljust(35) + "bob",
                '      0.0  |---------- MESSAGE "Hi" --------->|' + " " * 34 + "|",
                "    250.0  |" + " " * 34 + '|----------- SEND "Hi" ----------->|',
                "    500.0  |<------------- 200 OK ------------|" + " " * 34 + "|",
            ],
        )

    def test_long_and_strange_texts_don_t_bend_it(self) -> None:
        signal = Signal(0.0, True, "MESSAGE " + "x" * 50, "\r\n\x1b" + "y" * 500)
        lines = list(ladder(0.0, [signal], [], ("a", "b", "c")))
        self.assertEqual(len(lines[1]), 11 + 1 + 34 + 1 + 34 + 1)
        self.assertTrue(lines[1].isprintable())


class HalfTests(SynchronousTestCase):
    """Whether all arrived whole, once and in order."""

    def half(self, *arrived: str) -> Half:
        half = Half("page", 3)
        half.arrived = list(arrived)
        half.answered = 3
        return half

    def test_all_well(self) -> None:
        half = self.half("page 1", "page 2", "page 3")
        self.assertTrue(half.settled())
        self.assertEqual(half.faults(), [])

    def test_faults(self) -> None:
        for arrived, fault in (
            (("page 1", "page 3"), "1 lost: ['page 2']"),
            (("page 1", "page 2", "page 3", "page 1"), "1 came twice"),
            (("page 2", "page 1", "page 3"), "out of order"),
            (("page 1", "page 2", "page 3", "pag"), "1 not whole: ['pag']"),
        ):
            self.assertIn(f"from the page user: {fault}", self.half(*arrived).faults()[0])

    def test_not_delivered(self) -> None:
        half = self.half("page 1", "page 2", "page 3")
        half.refused.append(Sent("page 2", 480, "Gone", 0.1))
        self.assertIn("1 not delivered", half.faults()[0])

    def test_unsettled(self) -> None:
        self.assertFalse(self.half("page 1", "page 2").settled())

    def test_each_fifth_text_is_long(self) -> None:
        self.assertEqual(text_of("page", 4), "page 4")
        self.assertGreater(len(text_of("page", 5).encode()), 2048)


class ArgumentTests(SynchronousTestCase):
    """The demo's command line."""

    def test_ladders_only_when_few(self) -> None:
        self.assertTrue(parse_arguments([]).ladder)
        self.assertFalse(parse_arguments(["--messages", "200", "--sessions", "20"]).ladder)
