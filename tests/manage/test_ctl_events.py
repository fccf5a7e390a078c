"""Events as they come, with a gateway that sends them to whoever subscribes."""

import json
import socket
from typing import Any

from msrpgw.manage.ctl.client import Client
from msrpgw.manage.ctl.events import EXPIRE, REFRESH, RETRY, LiveEvents, choose, parse_event
from msrpgw.manage.ctl.exits import BadUsage, Exit, Refused
from tests.manage.ctl_support import CtlCase, Error

NAMES = ["E_MSRP_SESSION_NEW", "E_MSRP_SESSION_END", "E_MSRPGW_OVERLOAD"]


def notification(name: str, **params: object) -> bytes:
    """An event as event_datagram sends it."""
    return json.dumps({"jsonrpc": "2.0", "method": name, "params": params}).encode()


class ParsingTests(CtlCase):
    """Datagrams and patterns."""

    def test_events(self) -> None:
        event = parse_event(notification("E_X", a=1))
        assert event is not None
        self.assertEqual((event.name, event.parameters), ("E_X", {"a": 1}))
        listed = parse_event(b'{"jsonrpc": "2.0", "method": "E_X", "params": ["a"]}')
        assert listed is not None
        self.assertEqual(listed.parameters, {"0": "a"})

    def test_no_events(self) -> None:
        for datagram in (b"", b"\xff", b"[]", b'{"method": 1}', b'{"method": "x", "params": 1}'):
            self.assertIsNone(parse_event(datagram))
        self.assertIsNone(parse_event(b"[" * 60_000))

    def test_chosen(self) -> None:
        self.assertEqual(choose(NAMES, []), NAMES)
        self.assertEqual(choose(NAMES, ["*SESSION*"]), NAMES[:2])
        self.assertEqual(choose(NAMES, ["*NEW", "*OVERLOAD"]), [NAMES[0], NAMES[2]])
        with self.assertRaises(BadUsage):
            choose(NAMES, ["*", "E_MSRP_SESION_NEW"])


class EventsCase(CtlCase):
    """A gateway that sends events to a subscriber as soon as it has subscribed."""

    def setUp(self) -> None:
        super().setUp()
        self.datagrams: list[bytes] = []
        self.subscribed: list[tuple[str, int]] = []
        self.where = ""
        self.answers["events_list"] = {"Events": [{"name": name, "id": 0} for name in NAMES]}
        self.answers["event_subscribe"] = self.subscribe

    def subscribe(self, params: dict[str, Any]) -> str:
        self.subscribed.append((params["event"], params["expire"]))
        kind, address, port = params["socket"].split(":")
        self.assertEqual(kind, "udp")
        self.where = params["socket"]
        if params["expire"]:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                while self.datagrams:
                    udp.sendto(self.datagrams.pop(0), (address, int(port)))
        return "OK"


class CommandTests(EventsCase):
    """``msrpgw-ctl events``."""

    def watch(self, *arguments: str) -> list[str]:
        """Lines until Ctrl-C is pressed, at the last event."""
        out = self.out

        class UntilLast:
            def write(self, text: str) -> int:
                out.write(text)
                if "E_LAST" in text:
                    raise KeyboardInterrupt
                return len(text)

            def flush(self) -> None:
                pass

            def isatty(self) -> bool:
                return False

        self.datagrams.append(notification("E_LAST"))
        code = self.ctl("events", *arguments, out=UntilLast())
        self.assertEqual((code, self.err.getvalue()), (Exit.DONE, ""))
        return out.getvalue().splitlines()

    def test_shown(self) -> None:
        self.datagrams = [
            b"nonsense",
            notification("E_X", key="a|b", reason="Not \x1b[31mhere", code=480),
        ]
        shown, _ = self.watch()
        self.assertEqual(shown[8:], r' E_X key=a|b reason="Not \x1b[31mhere" code=480')
        begun = [(name, EXPIRE) for name in NAMES]
        self.assertEqual(self.subscribed, begun + [(name, 0) for name in NAMES])

    def test_some_as_json(self) -> None:
        self.datagrams = [notification("E_X", a=1)]
        shown, _ = self.watch("--json", "--event", "*NEW", "*END")
        self.assertEqual(shown.encode(), notification("E_X", a=1))
        self.assertEqual([name for name, _ in self.subscribed], NAMES[:2] * 2)

    def test_misspelt(self) -> None:
        self.assertEqual(self.ctl("events", "--event", "x"), Exit.USAGE)
        self.assertEqual(self.subscribed, [])

    def test_refused(self) -> None:
        self.answers["event_subscribe"] = Error(400, "No more subscribers")
        self.assertEqual(self.ctl("events"), Exit.REFUSED)
        # Each is given up all the same.
        asked = [params.get("expire") for _, params in self.gateway.asked]
        self.assertEqual(asked, [None, EXPIRE, 0, 0, 0])


class RefreshTests(EventsCase):
    """Subscriptions that live longer than they were asked for."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.notes: list[str] = []
        client = Client(self.gateway.url, timeout=5.0)
        self.live = LiveEvents(client, ["*NEW"], self.notes.append, monotonic=lambda: self.now)

    def test_refreshed(self) -> None:
        with self.live as live:
            events = iter(live)
            self.datagrams = [notification("E_X")]
            self.now = 0.5
            # Nothing comes before the refresh, which the gateway answers with an event.
            self.live._monotonic = iter([0.0, REFRESH, REFRESH, REFRESH]).__next__
            self.assertEqual(next(events).name, "E_X")
        self.assertEqual([expire for _, expire in self.subscribed], [EXPIRE, EXPIRE, 0])

    def test_gone_and_back(self) -> None:
        with self.live as live:
            self.assertEqual(live._refresh(), REFRESH)
            self.live._client = Client("unix:/nonexistent/socket", timeout=1.0)
            self.assertEqual([live._refresh(), live._refresh()], [RETRY, RETRY])
            self.assertEqual(len(self.notes), 1)
            self.live._client = Client(self.gateway.url, timeout=5.0)
            self.assertEqual(live._refresh(), REFRESH)
            self.assertIn("answers again", self.notes[1])

    def test_refused_later(self) -> None:
        with self.assertRaises(Refused), self.live as live:
            self.answers["event_subscribe"] = Error(400, "No")
            live._refresh()

    def test_where(self) -> None:
        with self.live:
            self.assertTrue(self.where.startswith("udp:127.0.0.1:"))
