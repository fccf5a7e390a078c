"""What the tests of the suite share: an outcome to change."""

from typing import Any

from benchmarks.driving import Outcome

OUTCOME = Outcome(
    messages=1000,
    seconds=0.5,
    rate=2000.0,
    cpu_us=100.0,
    driver_us=10.0,
    driver_busy=0.02,
    p50_ms=1.0,
    p90_ms=2.0,
    p99_ms=3.0,
    p999_ms=4.0,
    max_ms=5.0,
    accepted_later=0,
    repeated=0,
    refused=0,
    unanswered=0,
    lost=0,
    contradicted=0,
    held_ms=0.5,
    waited=0.01,
    stolen_ms=0.0,
)


def outcome(**changes: Any) -> Outcome:
    """One that differs in these figures."""
    return OUTCOME._replace(**changes)
