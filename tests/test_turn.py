"""The end of a turn, and what is done then."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.turn import Turn, never


class Task:
    """Something to do."""

    def __init__(self, do: Callable[[], object] = lambda: None) -> None:
        self.done = 0
        self.do = do

    def turn_ended(self) -> None:
        """Do it."""
        self.done += 1
        self.do()


class TurnTests(SynchronousTestCase):
    """One reactor's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)

    def test_somebody_says_when_it_is_over(self) -> None:
        first, second = Task(), Task()
        self.turn.begin()
        for task in (first, second, first):
            self.assertTrue(self.turn.at_end(task))
        self.assertEqual((first.done, second.done), (0, 0))
        self.turn.end()
        self.assertEqual((first.done, second.done), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turn.begin()
        self.turn.end()
        self.assertEqual((first.done, second.done), (1, 1))

    def test_nobody_does(self) -> None:
        """The reactor does, in its next round."""
        task = Task()
        self.assertTrue(self.turn.at_end(task))
        self.assertEqual(task.done, 0)
        self.clock.advance(0)
        self.assertEqual(task.done, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.turn.at_end(task)
        self.clock.advance(0)
        self.assertEqual(task.done, 2)

    def test_the_next_to_end_is_early_enough(self) -> None:
        task = Task()
        self.turn.at_end(task)
        self.turn.begin()
        self.turn.end()
        self.assertEqual(task.done, 1)
        self.clock.advance(0)
        self.assertEqual(task.done, 1)

    def test_while_it_ends(self) -> None:
        """Who does something then has no turn left to wait for the end of."""
        asked: list[bool] = []
        task = Task(lambda: asked.append(self.turn.at_end(Task())))
        self.turn.at_end(task)
        self.clock.advance(0)
        self.assertEqual(asked, [False])
        self.assertTrue(self.turn.at_end(task))

    def test_failure(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        first, second = Task(fail), Task()
        self.turn.at_end(first)
        self.turn.at_end(second)
        self.clock.advance(0)
        self.assertEqual(second.done, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.turn.at_end(second))

    def test_never(self) -> None:
        task = Task()
        self.assertFalse(never(task))
        self.assertEqual(task.done, 0)
