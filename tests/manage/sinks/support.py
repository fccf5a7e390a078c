"""Sinks with workers and a web that do what the test says."""

from typing import Any

from twisted.internet.defer import Deferred

from msrpgw.gateway.events import EventHub
from msrpgw.manage.sinks.records import Recorder
from msrpgw.manage.sinks.sinks import Sinks
from msrpgw.timers import Timers
from tests.journal.support import SlowWorker

EPOCH = 1_800_000_000.0


class Web:
    """Web servers that answer when they are told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes, float]] = []
        self.waiting: list[Deferred[int]] = []

    def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> "Deferred[int]":
        """Keep the request."""
        self.requests.append((url, headers, body, timeout))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def answer(self, outcome: Any) -> None:
        """With a status, or an exception."""
        waiting = self.waiting.pop(0)
        if isinstance(outcome, Exception):
            waiting.errback(outcome)
        else:
            waiting.callback(outcome)


def make_sinks(
    hub: EventHub,
    timers: Timers,
    *,
    web: Web | None = None,
    workers: list[SlowWorker] | None = None,
    recorder: Recorder | None = None,
    plugins: Any = None,
) -> Sinks:
    """Sinks whose workers work at once."""

    def make_worker() -> SlowWorker:
        worker = SlowWorker()
        worker.eager = True
        if workers is not None:
            workers.append(worker)
        return worker

    numbers = iter(range(1, 1_000_000))
    return Sinks(
        hub,
        recorder or Recorder(timers, lambda: EPOCH + timers.seconds()),
        plugins or (lambda settings: []),
        web or Web(),
        timers,
        make_worker,
        now=lambda: EPOCH + timers.seconds(),
        new_id=lambda: f"id{next(numbers)}",
    )
