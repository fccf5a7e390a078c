"""What the gateway is profiled at."""

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.driving import Driver
from benchmarks.profiling import FUNCTION, SESSIONS, WORKS


class RecordingDriver:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, int | str]]] = []

    def open(self, sessions: int) -> None:
        """Have sessions up."""
        self.told.append(("open", {"sessions": sessions}))

    def flow(self, **arguments: int | str) -> None:
        """Messages over them."""
        self.told.append(("flow", arguments))

    def cycle(self, **arguments: int | str) -> None:
        """Sessions for one message each."""
        self.told.append(("cycle", arguments))


class WorkTests(SynchronousTestCase):
    """What the driver is told for a profile."""

    def told(self, name: str) -> list[tuple[str, dict[str, int | str]]]:
        driver = RecordingDriver()
        work = WORKS[name]
        work.prepare(cast(Driver, driver))
        work.do(cast(Driver, driver), 100, 4)
        return driver.told

    def test_messages(self) -> None:
        """They go over sessions that are up."""
        for way in ("page2msrp", "msrp2page"):
            pieces = {"way": way, "messages": 100, "warmup": 1, "window": 4}
            self.assertEqual(self.told(way), [("open", {"sessions": SESSIONS}), ("flow", pieces)])

    def test_sessions(self) -> None:
        """Each message has one of its own."""
        for way in ("page2msrp", "msrp2page"):
            pieces = {"way": way, "messages": 100, "warmup": 1, "window": 4}
            self.assertEqual(self.told(f"setup-{way}"), [("cycle", pieces)])

    def test_words(self) -> None:
        self.assertEqual(WORKS["page2msrp"].conditions, "over UDP, 50 sessions")
        self.assertEqual(WORKS["setup-page2msrp"].conditions, "over UDP")

    def test_lines_of_callgrind(self) -> None:
        """Of a path of this machine only the file's name is kept."""
        line = (
            " 1,234 (12.34%)  /tmp/build/Python-3.11/Objects/call.c:PyObject_Call [/usr/bin/py]\n"
        )
        self.assertEqual(FUNCTION.findall(line), [("12.34", "call.c:PyObject_Call")])
