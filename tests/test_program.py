"""The program's control: status, drain, and a reload that changes what can be changed."""

import os
from typing import Any

from twisted.logger import formatEvent as format_event
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpgw import __version__
from msrpgw.access import Access
from msrpgw.config import Config, Overrides, load
from msrpgw.gateway.operator import Operator
from msrpgw.limits import Limits
from msrpgw.log import Threshold
from msrpgw.plugins import build_sinks
from msrpgw.program import ProgramControl
from msrpgw.sources import TrustedSources
from tests.gateway.support import EPOCH, Town
from tests.gateway.wire import Wire, WireMsrp
from tests.manage.sinks.support import make_sinks
from tests.support import CountingRandom


class ControlCase(SynchronousTestCase):
    """A town whose gateway has a configuration file."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.path = self.mktemp()
        self.write("")
        self.town = Town(limits=Limits(trusted=lambda host: False))
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.trusted = TrustedSources(Config().security)
        self.access = Access(Config().security, self.trusted, CountingRandom("access"), lambda: 0.0)
        self.access.guard(self.town.agent, Config().auth)
        self.threshold = Threshold("info")
        self.sinks = make_sinks(
            self.town.hub,
            self.town.agent.timers,
            plugins=lambda settings: build_sinks(settings, self.town.gateway),
        )
        self.addCleanup(self.sinks.close)
        self.control = ProgramControl(
            self.load(None),
            self.load,
            Operator(self.town.gateway),
            self.sinks,
            self.access,
            self.threshold,
            lambda: {"sip": ["udp:127.0.0.1:5060"]},
            now=lambda: EPOCH + self.town.clock.seconds(),
            limits=self.town.limits,
        )

    def observe(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").startswith("msrpgw.program"):
            self.lines.append(format_event(event))

    def load(self, path: str | None) -> Config:
        return load(path or self.path, Overrides(log_level=None))

    def write(self, text: str) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def reload(self, text: str) -> dict[str, Any]:
        self.write(text)
        return self.control.reload()


class StatusTests(ControlCase):
    """How it is."""

    def test_status(self) -> None:
        self.bob.call(self.alice.uri)
        self.town.run(3)
        self.alice.message(self.bob.uri)
        self.bob.send("hi")
        status = self.control.status()
        self.assertEqual((status["version"], status["state"]), (__version__, "running"))
        self.assertEqual(status["sessions"], {"total": 1, "setting_up": 0, "up": 1, "moving": 0})
        self.assertEqual(
            status["messages"],
            {
                "to_msrp": {"delivered": 1, "failed": 0},
                "to_page": {"delivered": 1, "failed": 0},
            },
        )
        self.assertEqual(status["waiting"], 0)
        self.assertEqual(
            status["journal"],
            {"backend": "memory", "healthy": True, "entries": 0, "bytes": 0, "oldest": None},
        )
        self.assertGreater(status["uptime"], 3)
        self.assertEqual(status["listeners"], {"sip": ["udp:127.0.0.1:5060"]})

    def test_drain(self) -> None:
        """Sessions that are there go on; new ones get 503."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.assertEqual(self.control.drain(), 0)
        self.assertEqual(self.control.status()["state"], "draining")
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)
        self.assertEqual(self.alice.message("sip:carol@192.0.2.3").status, 503)
        self.assertEqual(len(self.lines), 1)

    def test_drain_says_what_is_under_way(self) -> None:
        self.bob.status = 0
        self.alice.message(self.bob.uri)
        self.assertEqual(self.control.drain(), 1)


class ReloadTests(ControlCase):
    """What changes, and when."""

    def test_nothing(self) -> None:
        self.assertEqual(self.control.reload(), {"changed": [], "needs_restart": []})

    def test_limits(self) -> None:
        """A session that is up does not end for it, but by it."""
        self.bob.call(self.alice.uri)
        self.town.run(50)
        told = self.reload("[gateway]\nmessage_timeout = 60\nhold_message = 0.0\n")
        self.assertEqual(told["changed"], ["[gateway] message_timeout", "[gateway] hold_message"])
        self.assertEqual(self.alice.message(self.bob.uri).status, 202)
        self.town.run(59)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.town.run(2)
        self.assertEqual(self.town.gateway.sessions, {})

    def test_shares(self) -> None:
        """Who has more than is allowed now keeps it, and gets no more; then less strict again."""
        self.bob.call(self.alice.uri)
        self.town.run(1)
        strict = "[limits]\nuser_rate = 1.0\nuser_burst = 1\nsource_sessions = 1\nretry_after = 7\n"
        told = self.reload(strict)
        self.assertEqual(
            told["changed"],
            [
                f"[limits] {key}"
                for key in ("user_rate", "user_burst", "source_sessions", "retry_after")
            ],
        )
        self.assertEqual(told["needs_restart"], [])
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)
        refused = self.alice.message(self.bob.uri)
        self.assertEqual((refused.status, refused.headers.get("Retry-After")), (480, "7"))
        self.assertEqual(self.bob.call("sip:carol@192.0.2.3").status, 480)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.reload("")
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)
        self.assertEqual(self.bob.call("sip:carol@192.0.2.3").status, 200)
        self.assertEqual(len(self.town.gateway.sessions), 2)

    def test_policy_and_notice(self) -> None:
        self.reload(
            '[policy]\ninvite_from = "sip:gateway@example.com"\n[gateway]\nhold_setup = 0\n'
            '[notice]\nsetup_failed = "No: {code}"\n[delivery]\nmessage_ttl = 0\n'
        )
        self.bob.status = 404
        self.alice.message(self.bob.uri)
        self.town.run(0.1)
        (invite,) = self.bob.requests("INVITE")
        self.assertEqual(invite.from_.uri_text, "sip:gateway@example.com")
        self.assertEqual(self.alice.texts(), ["No: 404"])

    def test_sources_and_log(self) -> None:
        self.assertFalse(self.trusted("192.0.2.1"))
        told = self.reload(
            '[security]\ntrusted_sources = ["192.0.2.0/24"]\n[log]\nlevel = "debug"\n'
        )
        self.assertEqual(told["changed"], ["[security] trusted_sources", "[log] level"])
        self.assertTrue(self.trusted("192.0.2.1"))
        self.assertEqual(self.threshold.level, "debug")

    def test_what_needs_a_restart(self) -> None:
        """It is named, again as long as it waits."""
        for _ in range(2):
            told = self.reload('[sip]\nuser_agent = "x"\n[journal]\nmax_messages = 5\n')
            self.assertEqual(told["changed"], [])
            self.assertEqual(told["needs_restart"], ["[sip] user_agent", "[journal] max_messages"])
        self.assertIn("waiting for a restart: [sip] user_agent", self.lines[-1])

    def test_bad_file(self) -> None:
        """All is said that is wrong with it, and nothing changes."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        for text, told in (
            ("[gateway]\nmessage_timeout = 60\nnonsense = 1\n", "unknown key"),
            ('[gateway]\nhold_message = 9\n[log]\nlevel = "debug"\n', "hold_message"),
            ('[policy]\nplugin = "nobody"\n[gateway]\nhold_message = 0\n', "no plugin"),
            ('[events]\nplugins = ["nobody"]\n[gateway]\nhold_message = 0\n', "no plugin"),
            ("[", "not TOML"),
        ):
            with self.assertRaisesRegex(ValueError, told):
                self.reload(text)
            self.assertIn("all stays as it was", self.lines[-1])
        os.remove(self.path)
        with self.assertRaisesRegex(ValueError, "No such file"):
            self.control.reload()
        self.assertEqual(self.threshold.level, "info")
        self.assertEqual(self.alice.message(self.bob.uri).status, 200)

    def test_many_under_load(self) -> None:
        """Nothing is lost, nothing reset; half of the files are bad."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        for number in range(50):
            text = f"[gateway]\nmessage_timeout = {1000 + number}\n" if number % 2 else "bad ["
            if number % 2:
                self.reload(text)
            else:
                self.assertRaises(ValueError, self.reload, text)
            self.assertEqual(self.alice.message(self.bob.uri, str(number)).status, 200)
            self.assertEqual(self.bob.send(str(number)), [200])
        wanted = [str(number) for number in range(50)]
        self.assertEqual((self.bob.bodies(), self.alice.texts()), (wanted, wanted))
        self.town.check_settled(self, sessions=1)


class CheckTests(ControlCase):
    """Whether a file is good."""

    def test_check(self) -> None:
        self.assertEqual(self.control.check(""), [])
        self.write("[gateway]\nx = 1\ny = 2\n")
        self.assertEqual(len(self.control.check("")), 2)
        self.assertEqual(len(self.control.check(self.path)), 2)

    def test_log_level(self) -> None:
        self.assertEqual(self.control.log_level(None), "info")
        self.assertEqual(self.control.log_level("error"), "error")
        with self.assertRaisesRegex(ValueError, "'loud' is no log level; there are: debug"):
            self.control.log_level("loud")
