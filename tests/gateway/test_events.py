"""Events: names and parameters, the log, sinks that fail."""

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from msrpgw.gateway import events
from msrpgw.gateway.events import EventHub
from msrpgw.interfaces import IEventSink
from msrpgw.msrp.session import Report
from msrpgw.types import Direction, Event, Message, Outcome, OutcomeKind, Parties

PARTIES = Parties("sip:b@x", "sip:a@x", "sip:a@x")
MESSAGE = Message("m1", Direction.TO_PAGE, "text/plain", b"secret", 0.0)


@implementer(IEventSink)
class Sink:
    """Keeps events, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.error = error

    def event_raised(self, event: Event) -> None:
        self.events.append(event)
        if self.error is not None:
            raise self.error


class HubTests(SynchronousTestCase):
    """Who hears of an event."""

    def setUp(self) -> None:
        self.hub = EventHub()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "msrpgw.gateway.events":
            self.lines.append(f"{event['log_level'].name} {formatEvent(event)}")

    def test_log(self) -> None:
        self.hub.raise_event(Event("E_X", {"key": "k", "code": 486}))
        self.assertEqual(self.lines, ["info E_X {'key': 'k', 'code': 486}"])

    def test_nothing_forges_a_line(self) -> None:
        self.hub.raise_event(Event("E_X", {"key": "a\r\n2026 [forged]\x1b[2J {name}"}))
        self.assertEqual(self.lines, ["info E_X {'key': 'a\\r\\n2026 [forged]\\x1b[2J {name}'}"])

    def test_not_logged(self) -> None:
        sink = Sink()
        self.hub.add(sink)
        self.hub.raise_event(Event("E_X", {}), logged=False)
        self.assertEqual(self.lines, [])
        self.assertEqual(len(sink.events), 1)

    def test_listening(self) -> None:
        self.assertFalse(self.hub.wants("E_X"))
        self.hub.add(Sink())
        self.assertTrue(self.hub.wants("E_X"))

    def test_only_some(self) -> None:
        """A sink that names events gets these, and nobody makes others for it."""
        sink = Sink()
        self.hub.add(sink, frozenset({"E_X"}))
        self.assertEqual((self.hub.wants("E_X"), self.hub.wants("E_Y")), (True, False))
        for name in ("E_X", "E_Y"):
            self.hub.raise_event(Event(name, {}))
        self.hub.add(sink, frozenset({"E_Y"}))
        self.hub.raise_event(Event("E_Y", {}))
        self.hub.remove(sink)
        self.assertFalse(self.hub.wants("E_Y"))
        self.hub.raise_event(Event("E_Y", {}))
        self.assertEqual([event.name for event in sink.events], ["E_X", "E_Y"])

    def test_every_sink_gets_every_event(self) -> None:
        sinks = [Sink(), Sink()]
        for sink in sinks:
            self.hub.add(sink)
        raised = [Event("E_X", {"a": 1}), Event("E_Y", {})]
        for event in raised:
            self.hub.raise_event(event)
        for sink in sinks:
            self.assertEqual(sink.events, raised)

    def test_a_sink_that_fails(self) -> None:
        sinks = [Sink(RuntimeError("a bug")), Sink()]
        for sink in sinks:
            self.hub.add(sink)
        self.hub.raise_event(Event("E_X", {}))
        self.hub.raise_event(Event("E_X", {}))
        self.assertEqual([len(sink.events) for sink in sinks], [2, 2])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertIn("failed on E_X; others go on", self.lines[1])


class EventTests(SynchronousTestCase):
    """Names and parameters, OpenSIPS's first."""

    def assertEvent(self, event: Event, name: str, **parameters: object) -> None:
        self.assertEqual(event.name, name)
        self.assertEqual(event.parameters, parameters)

    def test_setup_failed(self) -> None:
        self.assertEvent(
            events.setup_failed("k", "sip:bob@x", "sip:alice@x", "sip:alice@y", 486, "Busy Here"),
            "E_MSRP_GW_SETUP_FAILED",
            key="k",
            from_uri="sip:bob@x",
            to_uri="sip:alice@x",
            ruri="sip:alice@y",
            code=486,
            reason="Busy Here",
        )

    def test_session_new(self) -> None:
        self.assertEvent(
            events.session_new(
                "k", "sip:alice@x", "sip:bob@x", "sip:bob@y", "s1", ("text/plain", "text/html")
            ),
            "E_MSRP_SESSION_NEW",
            key="k",
            from_uri="sip:alice@x",
            to_uri="sip:bob@x",
            ruri="sip:bob@y",
            session_id="s1",
            content_types="text/plain text/html",
        )

    def test_session_end(self) -> None:
        self.assertEvent(
            events.session_end("k", "sip:a@x", "sip:b@x", "s1", "BYE from the peer"),
            "E_MSRP_SESSION_END",
            key="k",
            from_uri="sip:b@x",
            to_uri="sip:a@x",
            session_id="s1",
            reason="BYE from the peer",
        )

    def test_message_received_without_its_text(self) -> None:
        self.assertEvent(
            events.message_received("k", PARTIES, "s1", MESSAGE),
            "E_MSRP_MSG_RECEIVED",
            key="k",
            from_uri="sip:b@x",
            to_uri="sip:a@x",
            session_id="s1",
            message_id="m1",
            content_type="text/plain",
            size=6,
        )

    def test_report_received(self) -> None:
        self.assertEvent(
            events.report_received("k", PARTIES, "s1", Report("m1", 408, "Too slow", "1-5/5")),
            "E_MSRP_REPORT_RECEIVED",
            key="k",
            from_uri="sip:b@x",
            to_uri="sip:a@x",
            session_id="s1",
            message_id="m1",
            status=408,
            comment="Too slow",
            byte_range="1-5/5",
        )

    def test_message_received_with_its_text(self) -> None:
        event = events.message_received("k", PARTIES, "s1", MESSAGE, with_text=True)
        self.assertEqual(event.parameters["body"], MESSAGE.body.decode())

    def test_table(self) -> None:
        """Each event has the parameters that the table says, and no other."""
        outcome = Outcome(OutcomeKind.REFUSED, 404, "Not Found")
        delivered = Outcome(OutcomeKind.DELIVERED, 200)
        raised = [
            events.setup_failed("k", "f", "t", "r", 486, "Busy Here"),
            events.session_new("k", "f", "t", "r", "s", ("text/plain",)),
            events.session_end("k", "p", "m", "s", "r"),
            events.message_received("k", PARTIES, "s", MESSAGE, with_text=True),
            events.report_received("k", PARTIES, "s", Report("m", 200, "", "")),
            events.message_ended("k", "f", "t", MESSAGE, "c", outcome, 1),
            events.message_ended("k", "f", "t", MESSAGE, "c", delivered, 1),
            events.overload("Too many sessions", 3),
            events.peer_down("sip:bob@x", "480", 2),
        ]
        self.assertEqual(
            {event.name: tuple(event.parameters) for event in raised},
            {name: parameters for name, (_, parameters) in events.EVENTS.items()},
        )
