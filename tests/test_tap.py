"""The ``twistd msrpgw`` command."""

import sys
from io import StringIO

from twisted.application.service import Application, IService, IServiceCollection
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from msrpgw import tap
from msrpgw.config import Config


class OptionsCase(SynchronousTestCase):
    """Parses command lines, catching what they print."""

    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def parse(self, *arguments: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(list(arguments))
        return options

    def exit_status(self, *arguments: str) -> object:
        with self.assertRaises(SystemExit) as caught:
            self.parse(*arguments)
        return caught.exception.code

    def write(self, text: str) -> str:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class OptionsTests(OptionsCase):
    """From arguments to a configuration."""

    def test_nothing_at_all(self) -> None:
        self.assertEqual(self.parse().config, Config())

    def test_overrides(self) -> None:
        config = self.parse(
            *("--sip", "udp:127.0.0.1:0", "--sip", "tcp:127.0.0.1:0"),
            *("--msrp", "127.0.0.1:0", "--state-dir", "x", "--log-level", "warn"),
        ).config
        self.assertEqual(config.sip.listen, ("udp:127.0.0.1:0", "tcp:127.0.0.1:0"))
        self.assertEqual(config.msrp.listen, "127.0.0.1:0")
        self.assertEqual(config.state.directory, "x")
        self.assertEqual(config.log.level, "warn")

    def test_file(self) -> None:
        path = self.write("[gateway]\nmessage_timeout = 5\n")
        for option in ("--config", "-c"):
            self.assertEqual(self.parse(option, path).config.gateway.message_timeout, 5.0)

    def test_bad_configuration(self) -> None:
        path = self.write("[sip]\nx = 1\ny = 2\n")
        self.assertEqual(self.exit_status("--config", path), 1)
        self.assertEqual(
            self.err.getvalue().splitlines(),
            [
                "msrpgw: 2 problems in the configuration:",
                f"{path}: [sip] x: unknown key",
                f"{path}: [sip] y: unknown key",
            ],
        )

    def test_bad_option(self) -> None:
        with self.assertRaises(usage.UsageError):
            self.parse("--nonsense")

    def test_version(self) -> None:
        self.assertEqual(self.exit_status("--version"), 0)
        self.assertRegex(self.out.getvalue(), r"^msrpgw \d+\.\d+")

    def test_help_names_every_option(self) -> None:
        text = str(self.parse())
        for option in ("config", "sip", "msrp", "state-dir", "log-level", "check", "version"):
            self.assertIn(f"--{option}", text)


class CheckTests(OptionsCase):
    """``--check``: say all that is wrong, and exit."""

    def test_good(self) -> None:
        self.assertEqual(self.exit_status("--check"), 0)
        self.assertEqual(self.out.getvalue(), "defaults: OK\n")

    def test_good_file(self) -> None:
        path = self.write("")
        self.assertEqual(self.exit_status("--config", path, "--check"), 0)
        self.assertEqual(self.out.getvalue(), f"{path}: OK\n")

    def test_bad(self) -> None:
        self.assertEqual(self.exit_status("--check", "--sip", "5060"), 1)
        self.assertEqual(self.out.getvalue(), "")
        self.assertIn("1 problem in the configuration:\ncommand line, --sip", self.err.getvalue())

    def test_missing_plugins(self) -> None:
        for text in ('[policy]\nplugin = "nowhere"\n', '[events]\nplugins = ["nowhere"]\n'):
            self.assertEqual(self.exit_status("--check", "--config", self.write(text)), 1)
            self.assertIn("no plugin 'nowhere'", self.err.getvalue())


class LoggerTests(OptionsCase):
    """The log level goes to twistd's application, unless the user chose a logger of their own."""

    def service(self, **twistd: object) -> IService:
        options = tap.Options()
        options.parent = usage.Options()
        options.parent.update(twistd)
        options.parseOptions(["--log-level", "warn"])
        return tap.makeService(options)

    def test_observer(self) -> None:
        application = Application("msrpgw")
        self.service(nodaemon=1).setServiceParent(application)
        log = Logger(observer=application.getComponent(ILogObserver))
        log.info("not this")
        log.warn("but this")
        self.assertEqual(self.out.getvalue().count("\n"), 1)
        self.assertIn("but this", self.out.getvalue())
        self.assertEqual(len(list(IServiceCollection(application))), 1)

    def test_own_logger(self) -> None:
        application = Application("msrpgw")
        self.service(logger="mine").setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver))


class MakeServiceTests(OptionsCase):
    """From options to the service."""

    def test_large_blocks_are_kept_apart(self) -> None:
        kept: list[bool] = []
        self.patch(tap, "keep_large_blocks_apart", lambda: kept.append(True))
        tap.makeService(self.parse())
        self.assertEqual(kept, [True])

    def test_service(self) -> None:
        service = tap.makeService(self.parse())
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)

    def test_missing_plugin(self) -> None:
        options = self.parse("--config", self.write('[policy]\nplugin = "nowhere"\n'))
        with self.assertRaises(SystemExit) as caught:
            tap.makeService(options)
        self.assertEqual(caught.exception.code, 1)
        self.assertIn("no plugin 'nowhere'", self.err.getvalue())
