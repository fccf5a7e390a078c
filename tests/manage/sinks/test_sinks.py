"""All sinks together: configured, changed while events flow, and told of the gateway's records."""

import json
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from msrpgw.errors import ConfigError
from msrpgw.gateway.events import EventHub
from msrpgw.interfaces import IEventSink
from msrpgw.manage.sinks.records import MESSAGE_RECORD, SESSION_RECORD, Recorder
from msrpgw.manage.sinks.settings import (
    EventFile,
    EventSettings,
    RecordSettings,
    Webhook,
    find_event_problems,
    find_record_problems,
)
from msrpgw.timers import Timers
from msrpgw.types import Event
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.support import EPOCH
from tests.gateway.wire import WireMsrp
from tests.journal.support import SlowWorker
from tests.manage.sinks.support import Web, make_sinks

NEW = Event("E_MSRP_SESSION_NEW", {"key": "k", "from_uri": "sip:b@x", "to_uri": "sip:a@y"})
END = Event("E_MSRP_SESSION_END", {"key": "k", "from_uri": "sip:b@x", "to_uri": "sip:a@y"})
NO_RECORDS = RecordSettings()


@implementer(IEventSink)
class Plugin:
    """Keeps names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def event_raised(self, event: Event) -> None:
        """Keep it."""
        self.names.append(event.name)


def read(path: str) -> list[dict[str, Any]]:
    """The lines of a file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class SinksTests(SynchronousTestCase):
    """With a hub."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.hub = EventHub()
        self.web = Web()
        self.workers: list[SlowWorker] = []
        self.plugin = Plugin()
        self.sinks = make_sinks(
            self.hub,
            self.timers,
            web=self.web,
            workers=self.workers,
            plugins=lambda settings: [self.plugin] if settings.plugins else [],
        )
        self.path = os.path.abspath(self.mktemp())
        self.secret = self.mktemp()
        with open(self.secret, "wb") as file:
            file.write(b"0123456789abcdef\n")

    def use(self, **settings: Any) -> None:
        self.sinks.prepare(EventSettings(**settings), NO_RECORDS)()

    def events(self) -> None:
        for event in (NEW, END):
            self.hub.raise_event(event, logged=False)
        self.clock.advance(0.1)

    def test_nobody_wants_any(self) -> None:
        self.use()
        self.assertFalse(self.hub.wants("E_MSRP_SESSION_NEW"))

    def test_file(self) -> None:
        self.use(files=(EventFile(path=self.path, events=("*_NEW",)),))
        self.assertFalse(self.hub.wants("E_MSRP_SESSION_END"))
        self.events()
        self.assertEqual(
            read(self.path), [{"time": 1.8e9, "event": NEW.name, "params": NEW.parameters}]
        )
        self.assertEqual(self.sinks.lines.written, 1)

    def test_file_by_party(self) -> None:
        self.use(files=(EventFile(path=self.path, parties=("tel:*",)),))
        self.events()
        self.assertFalse(os.path.exists(self.path))

    def test_webhook(self) -> None:
        self.use(webhooks=(Webhook(url="http://h/", events=("*_END",), secret_file=self.secret),))
        self.events()
        ((url, headers, _, _),) = self.web.requests
        self.assertEqual((url, headers["X-Msrpgw-Event"]), ("http://h/", END.name))
        self.assertIn("X-Msrpgw-Signature", headers)

    def test_webhook_without_secret(self) -> None:
        self.use(webhooks=(Webhook(url="http://h/", keys=("k",)),))
        self.events()
        self.assertNotIn("X-Msrpgw-Signature", self.web.requests[0][1])

    def test_plugin(self) -> None:
        self.use(plugins=("p",))
        self.events()
        self.assertEqual(self.plugin.names, [NEW.name, END.name])

    def test_changed(self) -> None:
        """What is no more wanted ends, a file that stays goes on."""
        self.use(plugins=("p",), files=(EventFile(path=self.path),))
        self.events()
        other = self.path + ".other"
        self.use(files=(EventFile(path=self.path), EventFile(path=other)))
        self.events()
        self.use()
        self.events()
        self.assertEqual((len(read(self.path)), len(read(other))), (4, 2))
        self.assertEqual(self.plugin.names, [NEW.name, END.name])
        self.assertEqual([worker.stopped for worker in self.workers], [True, True])
        self.assertEqual(self.sinks.lines.written, 6)

    def test_what_can_not_be_made_changes_nothing(self) -> None:
        self.use(files=(EventFile(path=self.path),))
        os.remove(self.secret)
        with self.assertRaisesRegex(ConfigError, "secret_file .*No such file"):
            self.use(webhooks=(Webhook(url="http://h/", secret_file=self.secret),))
        self.events()
        self.assertEqual(len(read(self.path)), 2)

    def test_reopen(self) -> None:
        self.use(files=(EventFile(path=self.path),))
        self.events()
        os.rename(self.path, self.path + ".1")
        self.sinks.reopen()
        self.events()
        self.assertEqual((len(read(self.path + ".1")), len(read(self.path))), (2, 2))

    def test_close(self) -> None:
        self.use(files=(EventFile(path=self.path),), webhooks=(Webhook(url="http://h/"),))
        self.hub.raise_event(NEW, logged=False)
        self.successResultOf(self.sinks.close())
        self.assertEqual(len(read(self.path)), 1)
        self.assertTrue(self.workers[0].stopped)
        self.assertFalse(self.hub.wants(NEW.name))
        self.assertEqual(len(self.timers), 0)


class RecordTests(KeepingTestCase):
    """Of what a town's users do."""

    def setUp(self) -> None:
        super().setUp()
        timers = self.town.agent.timers
        recorder = Recorder(timers, lambda: EPOCH + self.town.clock.seconds())
        self.town.gateway.teller.recorder = recorder
        sinks = make_sinks(self.town.hub, timers, recorder=recorder)
        self.path = os.path.abspath(self.mktemp())
        settings = RecordSettings(sessions=self.path, messages=self.path)
        sinks.prepare(EventSettings(), settings)()

    def test_conversation(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(1)
        self.send()
        bob.send("hello")
        self.town.run(1)
        bob.in_dialog("BYE")
        self.town.run(1)
        to_msrp, to_page, session = read(self.path)
        self.assertEqual(set(to_msrp), set(MESSAGE_RECORD))
        self.assertEqual(set(session), set(SESSION_RECORD))
        self.assertEqual(
            (to_msrp["direction"], to_msrp["from_uri"], to_msrp["to_uri"]),
            ("to_msrp", self.alice.uri, bob.uri),
        )
        self.assertEqual(
            (to_page["direction"], to_page["from_uri"], to_page["to_uri"], to_page["size"]),
            ("to_page", bob.uri, self.alice.uri, 5),
        )
        for record in (to_msrp, to_page):
            self.assertEqual((record["outcome"], record["status"]), ("delivered", 200))
            self.assertEqual((record["attempts"], record["in_custody"]), (1, False))
            self.assertTrue(record["message_id"] and record["call_id"])
            self.assertGreaterEqual(record["received"], EPOCH)
            self.assertGreaterEqual(record["ended"], record["received"])
        self.assertEqual((session["opened_by"], session["established"]), ("msrp", True))
        self.assertEqual((session["page_uri"], session["msrp_uri"]), (self.alice.uri, bob.uri))
        self.assertEqual(session["to_msrp"]["delivered"], 1)
        self.assertEqual(session["to_page"], {"delivered": 1, "failed": 0, "bytes": 5})
        self.assertTrue(2 <= session["duration"] < 2.5)
        self.assertTrue(session["call_id"] and session["session_id"] and session["peer_path"])

    def test_call_that_fails(self) -> None:
        self.alice.message("sip:carol@192.0.2.9")
        self.town.run(40)
        (session,) = (line for line in read(self.path) if line["record"] == "session")
        self.assertEqual((session["opened_by"], session["established"]), ("page", False))
        self.assertEqual((session["peer_path"], session["code"]), (None, 408))


class SettingsTests(SynchronousTestCase):
    """What can't be configured."""

    def test_events(self) -> None:
        for settings, problem in (
            (EventSettings(files=(EventFile(path="x"),)), "files: 'x': the path must be absolute"),
            (
                EventSettings(files=(EventFile(path="/nowhere/x"),)),
                "files: '/nowhere/x': there is no directory '/nowhere'",
            ),
            (
                EventSettings(files=(EventFile(path="/x"), EventFile(path="/x"))),
                "files: '/x' stands there twice",
            ),
            (
                EventSettings(files=(EventFile(path="/x", events=("E_NO*",)),)),
                "files: events: no event is called 'E_NO*'",
            ),
            (
                EventSettings(webhooks=(Webhook(url="ftp://x/"),)),
                "webhooks: 'ftp://x/' must read http://HOST/... or https://HOST/...",
            ),
            (
                EventSettings(webhooks=(Webhook(url="http://x/", secret_file="/nowhere"),)),
                "webhooks: secret_file '/nowhere': No such file or directory",
            ),
            (
                EventSettings(webhooks=(Webhook(url="http://x/", secret_file="/dev/null"),)),
                "webhooks: secret_file '/dev/null' must hold a secret of at least 16 bytes",
            ),
        ):
            found = [f"{key}: {text}" for key, text in find_event_problems(settings)]
            self.assertEqual(found, [problem])

    def test_records(self) -> None:
        found = list(find_record_problems(RecordSettings(sessions="x", messages="/nowhere/x")))
        self.assertEqual([key for key, _ in found], ["sessions", "messages"])
