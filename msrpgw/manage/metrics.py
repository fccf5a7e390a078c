"""Prometheus text for ``/metrics``, made of the statistics when it is asked for."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from msrpgw.manage.statistics import Statistics

#: group:name of a statistic -> name of the metric, labels, and what it says
METRICS: dict[str, tuple[str, dict[str, str], str]] = {
    **{
        f"msrpgw:{state}": ("msrpgw_sessions", {"state": state}, "Sessions by state.")
        for state in ("setting_up", "up", "moving")
    },
    **{
        f"msrpgw:{direction}_{outcome}": (
            "msrpgw_messages",
            {"direction": direction, "outcome": outcome},
            "Messages that have ended, by direction and outcome.",
        )
        for direction in ("to_msrp", "to_page")
        for outcome in ("delivered", "failed")
    },
    "msrpgw:waiting": ("msrpgw_messages_waiting", {}, "Messages without an outcome."),
    "msrpgw:journal_entries": ("msrpgw_journal_messages", {}, "Messages in our custody."),
    "msrpgw:journal_bytes": ("msrpgw_journal_bytes", {}, "Bytes of messages in our custody."),
    "msrpgw:journal_oldest_seconds": (
        "msrpgw_journal_oldest_seconds",
        {},
        "Age of the oldest message in our custody.",
    ),
    "msrpgw:journal_healthy": (
        "msrpgw_journal_healthy",
        {},
        "Whether the journal can be written to.",
    ),
    "msrpgw:events_sent": ("msrpgw_events_sent", {}, "Events sent to subscribers."),
    "msrpgw:events_dropped": ("msrpgw_events_dropped", {}, "Events no subscriber could get."),
    **{
        f"sip:{reason}": (
            "msrpgw_sip_refused",
            {"reason": reason},
            "SIP messages that were refused or dropped, by reason.",
        )
        for reason in (
            "malformed",
            "merged",
            "overloaded",
            "refused_connections",
            "refused_sources",
            "stray_responses",
            "undeliverable",
        )
    },
    "sip:transactions": ("msrpgw_sip_transactions", {}, "SIP transactions."),
    "msrp:sessions": ("msrpgw_msrp_sessions", {}, "MSRP sessions."),
    "msrp:connections": ("msrpgw_msrp_connections", {}, "MSRP connections."),
}


class StatisticsCollector(Collector):
    """The statistics as metrics."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """All families, each with all of its labels."""
        kinds = dict(self._statistics.names())
        values = self._statistics.get(["all"])
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for statistic, (name, labels, summary) in METRICS.items():
            family = families.get(name)
            if family is None:
                make = CounterMetricFamily if kinds[statistic] == "counter" else GaugeMetricFamily
                family = families[name] = make(name, summary, labels=list(labels))
            family.add_metric(list(labels.values()), values[statistic])
        yield from families.values()


def exposition(statistics: Statistics) -> tuple[bytes, bytes]:
    """Content type and text of ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(statistics))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)
