"""The examples: found as their README says, and doing what it says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import twisted.plugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from msrpgw.config import Config, load
from msrpgw.interfaces import IEventSink, IPageSender, IPolicy
from msrpgw.plugins import build_policy, build_sinks
from msrpgw.types import Address, Event, Refusal, RequestFacts, Route

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


@implementer(IPageSender)
class Pages:
    """Keeps what it should send."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str, str, bytes]] = []

    def send_page(
        self, from_uri: str, to_uri: str, ruri: str, content_type: str, body: bytes
    ) -> None:
        self.sent.append((from_uri, to_uri, ruri, content_type, body))


class ExampleCase(SynchronousTestCase):
    """One folder of ``examples/``."""

    folder = ""
    plugin = ""  # name of its module

    def setUp(self) -> None:
        plugins = str(EXAMPLES / self.folder / "twisted" / "plugins")
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, plugins])
        self.addCleanup(sys.modules.pop, f"twisted.plugins.{self.plugin}", None)
        # Twisted writes what it found there into the folder.
        self.addCleanup((Path(plugins) / "dropin.cache").unlink, missing_ok=True)

    def load(self) -> Config:
        return load(str(EXAMPLES / self.folder / "msrpgw.toml"))

    def check(self) -> None:
        """Start it as the README says, to check only."""
        command = ["-n", "--pidfile=", "msrpgw"]
        command += ["--config", f"examples/{self.folder}/msrpgw.toml", "--check"]
        result = subprocess.run(
            [sys.executable, "-c", TWISTD, *command],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([f"examples/{self.folder}", str(ROOT)]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


def address(user: str, host: str, port: int | None = None, parameters: str = "") -> Address:
    """A URI as the gateway hands it to a policy."""
    uri = f"sip:{user}@{host}{'' if port is None else f':{port}'}"
    return Address(uri, user, host, port, uri + parameters)


def facts(method: str, from_: Address, to: Address) -> RequestFacts:
    """A request."""
    return RequestFacts(method, to, from_, to, "127.0.0.1", 5062, "UDP", (), None)


class PolicyTests(ExampleCase):
    """``examples/policy``."""

    folder = "policy"
    plugin = "msrpgw_directory"

    alice = address("alice", "127.0.0.1", 5062, ";transport=tcp")
    help = address("help", "127.0.0.1")
    ann = address("ann", "127.0.0.1", 5070)

    def make(self, options: dict[str, object] | None = None) -> Any:
        settings = self.load().policy
        if options is None:
            return build_policy(settings)
        from twisted.plugins import msrpgw_directory  # type: ignore[attr-defined]

        return msrpgw_directory.directory.make_policy(options)

    def test_starts(self) -> None:
        self.check()

    def test_interface(self) -> None:
        verifyObject(IPolicy, self.make())

    def test_conversation(self) -> None:
        policy = self.make()
        message = policy.route_message(facts("MESSAGE", self.alice, self.help))
        self.assertEqual(
            message,
            Route(
                "help@127.0.0.1 with alice@127.0.0.1",
                "sip:alice@127.0.0.1:5062;transport=tcp",
                "sip:ann@127.0.0.1:5070",
                "sip:ann@127.0.0.1:5070",
            ),
        )
        invite = policy.route_invite(facts("INVITE", self.ann, self.alice))
        self.assertEqual(
            invite,
            Route(
                "help@127.0.0.1 with alice@127.0.0.1",
                "sip:help@127.0.0.1",
                "sip:alice@127.0.0.1:5062;transport=tcp",
                "sip:alice@127.0.0.1:5062;transport=tcp",
            ),
        )

    def test_refusals(self) -> None:
        policy = self.make()
        mallory = address("mallory", "127.0.0.1")
        self.assertEqual(
            policy.route_message(facts("MESSAGE", mallory, self.help)),
            Refusal(403, "Not welcome here"),
        )
        self.assertEqual(
            policy.route_message(facts("MESSAGE", self.alice, self.ann)),
            Refusal(404, "Nobody of this name"),
        )
        self.assertEqual(
            policy.route_invite(facts("INVITE", mallory, self.alice)),
            Refusal(403, "Not in the directory"),
        )

    def test_bad_options(self) -> None:
        users = {"help@x": "sip:ann@y"}
        for options, problem in (
            ({}, "users: a table"),
            ({"users": []}, "users: a table"),
            ({"users": {"help": "sip:ann@y"}}, "'help' is not user@host"),
            ({"users": {"sip:help@x": "sip:ann@y"}}, "is not user@host"),
            ({"users": {"help@x": "ann"}}, "'ann' is no sip URI"),
            ({"users": users, "blocked": "mallory@x"}, "blocked: must be a list"),
            ({"users": users, "colour": 1}, "no such option: colour"),
        ):
            with self.assertRaises(ValueError) as caught:
                self.make(options)  # type: ignore[arg-type]
            self.assertIn(problem, str(caught.exception))


class EventTests(ExampleCase):
    """``examples/events``."""

    folder = "events"
    plugin = "msrpgw_apology"

    def setUp(self) -> None:
        super().setUp()
        self.pages = Pages()

    def make(self) -> Any:
        [sink] = build_sinks(self.load().events, self.pages)
        return sink

    def fail(self, code: int) -> Event:
        """A set-up that failed."""
        return Event(
            "E_MSRP_GW_SETUP_FAILED",
            {
                "key": "k",
                "from_uri": "sip:bob@x",
                "to_uri": "sip:alice@x",
                "ruri": "sip:alice@192.0.2.5",
                "code": code,
                "reason": "So it is",
            },
        )

    def test_starts(self) -> None:
        self.check()

    def test_interface(self) -> None:
        verifyObject(IEventSink, self.make())

    def test_no_other_notice(self) -> None:
        self.assertFalse(self.load().notice.enabled)

    def test_tells_the_page_user(self) -> None:
        sink = self.make()
        sink.event_raised(self.fail(486))
        sink.event_raised(self.fail(603))
        self.assertEqual(
            self.pages.sent,
            [
                ("sip:bob@x", "sip:alice@x", "sip:alice@192.0.2.5", "text/plain", text)
                for text in (
                    b"She is busy.  Please try again in a moment.",
                    b"Sorry, your message could not be delivered.",
                )
            ],
        )

    def test_counts(self) -> None:
        sink = self.make()
        sink.event_raised(Event("E_MSRP_SESSION_NEW", {"key": "k"}))
        sink.event_raised(self.fail(480))
        sink.event_raised(Event("E_MSRP_SESSION_NEW", {"key": "l"}))
        self.assertEqual(sink.counted, {"E_MSRP_SESSION_NEW": 2, "E_MSRP_GW_SETUP_FAILED": 1})
        self.assertEqual(len(self.pages.sent), 1)

    def test_bad_options(self) -> None:
        self.make()
        from twisted.plugins import msrpgw_apology  # type: ignore[attr-defined]

        for options, problem in (
            ({"486": 1}, "486: must be a text"),
            ({"200": "fine"}, "200: must be a SIP status"),
            ({"busy": "x"}, "busy: must be a SIP status"),
        ):
            with self.assertRaises(ValueError) as caught:
                msrpgw_apology.apology.make_sink(options, self.pages)
            self.assertIn(problem, str(caught.exception))
