"""Web hooks: order, signature, retries, bounds, and a web server that hangs."""

import hashlib
import hmac
import json
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import formatEvent as format_event
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.sinks import webhooks
from msrpgw.manage.sinks.tally import Tally
from msrpgw.manage.sinks.webhooks import WebhookSink
from msrpgw.timers import Timers
from msrpgw.types import Event
from tests.manage.sinks.support import EPOCH, Web


class WebhookTests(SynchronousTestCase):
    """One web hook."""

    def setUp(self) -> None:
        self.log: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.web = Web()
        self.tally = Tally()
        self.numbers = iter(range(1, 10_000))
        self.hook = WebhookSink(
            "http://h/x",
            b"0123456789abcdef",
            5,
            100,
            self.web,
            self.timers,
            self.tally,
            now=lambda: EPOCH + self.clock.seconds(),
            new_id=lambda: f"id{next(self.numbers)}",
        )

    def observe(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace") == "msrpgw.manage.sinks.webhooks":
            self.log.append(format_event(event))

    def put(self, *keys: str) -> None:
        for key in keys:
            self.hook.put(Event("E_X", {"key": key}))

    def keys(self) -> list[str]:
        """Of all requests so far."""
        return [json.loads(body)["params"]["key"] for _, _, body, _ in self.web.requests]

    def test_request(self) -> None:
        self.put("k")
        url, headers, body, timeout = self.web.requests[0]
        self.assertEqual((url, timeout), ("http://h/x", 5))
        self.assertEqual(
            json.loads(body), {"id": "id1", "time": EPOCH, "event": "E_X", "params": {"key": "k"}}
        )
        code = hmac.new(b"0123456789abcdef", b"1800000000." + body, hashlib.sha256).hexdigest()
        self.assertEqual(
            headers,
            {
                "Content-Type": "application/json",
                "User-Agent": "msrpgw",
                "X-Msrpgw-Event": "E_X",
                "X-Msrpgw-Delivery": "id1",
                "X-Msrpgw-Attempt": "1",
                "X-Msrpgw-Signature": f"t=1800000000,v1={code}",
            },
        )
        self.web.answer(204)
        self.assertEqual((self.tally.written, self.tally.dropped), (1, 0))
        self.assertEqual(self.log, [])

    def test_one_after_the_other(self) -> None:
        self.put("a", "b", "c")
        self.assertEqual(self.keys(), ["a"])
        for _ in range(3):
            self.web.answer(200)
        self.assertEqual(self.keys(), ["a", "b", "c"])

    def test_tried_again_ever_later(self) -> None:
        self.put("a", "b")
        times = []
        for outcome in (500, ConnectionRefusedError(), CancelledError(), 429, 503):
            self.web.answer(outcome)
            start = self.clock.seconds()
            while not self.web.waiting:
                self.clock.advance(0.5)
            times.append(self.clock.seconds() - start)
        for wanted, waited in zip((1, 2, 4, 8, 16), times, strict=True):
            self.assertLessEqual(abs(waited - wanted), 0.6)
        self.assertEqual(self.web.requests[-1][1]["X-Msrpgw-Attempt"], "6")
        self.assertEqual(self.web.requests[-1][1]["X-Msrpgw-Delivery"], "id1")
        self.web.answer(200)
        self.assertEqual(self.keys()[-1], "b")
        self.assertEqual(
            self.log,
            [
                "web hook 'http://h/x' fails: it answers 500; trying again, up to 1000 events wait",
                "web hook 'http://h/x' answers again; 0 events were lost",
            ],
        )

    def test_never(self) -> None:
        """A status from 400 on, but for those that say "later": no use in trying again."""
        self.put("a", "b")
        self.web.answer(410)
        self.assertEqual(self.keys(), ["a", "b"])
        self.assertEqual(self.tally.dropped, 1)
        self.web.answer(200)
        self.assertIn("1 events were lost", self.log[-1])

    def test_given_up(self) -> None:
        self.put("a")
        while self.clock.seconds() < 300:
            if self.web.waiting:
                self.web.answer(500)
            self.clock.advance(1)
        self.assertEqual((self.tally.dropped, self.web.waiting), (1, []))
        self.assertEqual(len(self.log), 1)

    def test_those_behind_one_that_was_given_up_wait_too(self) -> None:
        self.put("a", "b", "c")
        while self.clock.seconds() < 300:
            if self.web.waiting:
                self.web.answer(500)
            self.clock.advance(1)
        self.assertEqual(self.tally.dropped, 3)
        self.assertLess(len(self.web.requests), 20)

    def test_a_server_that_hangs(self) -> None:
        self.patch(webhooks, "MAX_QUEUE", 10)
        self.put(*"abcdefghijklmn")
        self.assertEqual((len(self.web.requests), self.tally.dropped), (1, 4))

    def test_close(self) -> None:
        self.put("a", "b")
        self.hook.close()
        self.put("c")
        self.assertEqual(self.tally.dropped, 3)
        self.assertEqual(self.log, ["web hook 'http://h/x': 2 events were not sent before the end"])
        self.clock.advance(1000)
        self.assertEqual(len(self.web.requests), 1)

    def test_close_while_it_waits(self) -> None:
        self.put("a")
        self.web.answer(500)
        self.hook.close()
        self.assertEqual(len(self.timers), 0)
