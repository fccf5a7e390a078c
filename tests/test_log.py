"""Where log lines go, and from which level on."""

import os
import signal
import sys
from io import StringIO
from string import Formatter

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.syslog import SyslogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from msrpgw.log import Threshold, observer_factory
from tests.test_docs import ROOT, log_formats


class ObserverTests(SynchronousTestCase):
    """The observer that takes the place of twistd's own."""

    def setUp(self) -> None:
        previous = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def observer(self, level: str, **twistd: object) -> ILogObserver:
        observer = observer_factory(Threshold(level), twistd)()
        verifyObject(ILogObserver, observer)
        return observer

    def log(self, observer: ILogObserver) -> None:
        """One line of each level, its own name."""
        log = Logger(observer=observer, namespace="test")
        for level in LogLevel.iterconstants():
            log.emit(level, "a line of {name}", name=level.name)

    def test_foreground_goes_to_standard_output(self) -> None:
        for logfile in (None, "", "-"):
            out = StringIO()
            self.patch(sys, "stdout", out)
            self.log(self.observer("info", nodaemon=1, logfile=logfile))
            lines = out.getvalue().splitlines()
            self.assertEqual(len(lines), 4)
            self.assertTrue(lines[0].endswith("[test#info] a line of info"), lines[0])

    def test_level(self) -> None:
        out = StringIO()
        self.patch(sys, "stdout", out)
        for level, expected in (("debug", 5), ("warn", 3), ("critical", 1)):
            out.truncate(0)
            out.seek(0)
            self.log(self.observer(level, nodaemon=1))
            self.assertEqual(out.getvalue().count("\n"), expected, level)

    def test_daemon_goes_to_a_file(self) -> None:
        path = self.mktemp()
        self.log(self.observer("error", nodaemon=0, logfile=path))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read().count("\n"), 2)

    def test_hostile_values(self) -> None:
        """Whatever a peer says, in whichever of our lines: one line, nothing invisible."""
        hostile = "a\r\n2026-01-01 [forged#info] line\x1b[2J\x9b0m\x85\u2028\u202e\0\udcff\x7f"

        formats = {each for path in (ROOT / "msrpgw").glob("**/*.py") for each in log_formats(path)}
        self.assertGreater(len(formats), 30)
        out = StringIO()
        self.patch(sys, "stdout", out)
        observer = self.observer("debug", nodaemon=1)
        for format in formats:
            names = {name.rstrip("!rs") for _, name, _, _ in Formatter().parse(format) if name}
            event = dict.fromkeys(names, hostile)
            Logger(observer=observer, namespace="test").emit(LogLevel.info, format, **event)
        lines = out.getvalue().split("\n")
        self.assertEqual(len(lines), len(formats) + 1)
        for line in lines:
            self.assertTrue(line.isprintable(), line)

    def test_hostile_failure(self) -> None:
        """An exception's text stays behind the line's indentation."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        log = Logger(observer=self.observer("info", nodaemon=1), namespace="test")
        try:
            raise ValueError("a\r\nforged\x1b[2J")
        except ValueError:
            log.failure("it failed")
        first, *others = out.getvalue().rstrip("\n").split("\n")
        self.assertIn("it failed", first)
        self.assertTrue(all(line.startswith("\t") for line in others), others)
        self.assertTrue(all(line.lstrip("\t").isprintable() for line in others), others)

    def test_file_is_rotated_on_a_signal(self) -> None:
        path = self.mktemp()
        observer = self.observer("info", nodaemon=1, logfile=path)
        self.log(observer)
        os.kill(os.getpid(), signal.SIGUSR1)
        self.log(observer)
        for each in (path, f"{path}.1"):
            with open(each, encoding="utf-8") as file:
                self.assertEqual(file.read().count("\n"), 4, each)

    def test_daemon_has_no_standard_output(self) -> None:
        with self.assertRaisesRegex(SystemExit, "a daemon can't log to standard output"):
            self.observer("info", nodaemon=0, logfile="-")

    def test_syslog(self) -> None:
        lines: list[str] = []
        self.patch(SyslogObserver, "openlog", lambda *arguments: None)
        self.patch(SyslogObserver, "syslog", lambda *arguments: lines.append(arguments[-1]))
        self.log(self.observer("warn", syslog=1, prefix="msrpgw"))
        self.assertEqual(len(lines), 3)
        self.assertIn("a line of warn", lines[0])
