"""Prometheus text for ``/metrics``, made of the statistics when it is asked for."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from msrpgw.gateway.telling import SETUPS
from msrpgw.histogram import Histogram
from msrpgw.limits import LimitCounters
from msrpgw.manage.statistics import Statistics
from msrpgw.msrp.counters import MsrpCounters
from msrpgw.sip.counters import SipCounters

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
    **{
        f"msrpgw:setups_{result}": (
            "msrpgw_setups",
            {"result": result},
            "Attempts to set up a session, by result: established, or the class of the SIP status.",
        )
        for result in SETUPS
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
    "msrpgw:lines_written": ("msrpgw_lines_written", {}, "Events and records written to files."),
    "msrpgw:lines_dropped": ("msrpgw_lines_dropped", {}, "Events and records no file could take."),
    "msrpgw:webhooks_sent": ("msrpgw_webhooks_sent", {}, "Events that web hooks have taken."),
    "msrpgw:webhooks_dropped": ("msrpgw_webhooks_dropped", {}, "Events no web hook would take."),
    "msrpgw:events_sent": ("msrpgw_events_sent", {}, "Events sent to subscribers."),
    "msrpgw:events_dropped": ("msrpgw_events_dropped", {}, "Events no subscriber could get."),
    **{
        f"sip:{reason}": (
            "msrpgw_sip_refused",
            {"reason": reason},
            "SIP messages that were refused or dropped, by reason.",
        )
        for reason in SipCounters.__slots__
        if reason not in ("authenticated", "fail_overs")
    },
    "sip:authenticated": (
        "msrpgw_sip_authenticated",
        {},
        "SIP requests whose sender proved by digest who he is.",
    ),
    "sip:request_retransmissions": (
        "msrpgw_sip_retransmissions_received",
        {"kind": "request"},
        "SIP messages that came again.",
    ),
    "sip:response_retransmissions": (
        "msrpgw_sip_retransmissions_received",
        {"kind": "response"},
        "SIP messages that came again.",
    ),
    "sip:sent_again": (
        "msrpgw_sip_retransmissions_sent",
        {},
        "SIP messages sent again because no answer came.",
    ),
    **{
        f"msrp:{reason}": (
            "msrpgw_msrp_refused",
            {"reason": reason},
            "MSRP connections that were refused or cut off, by reason.",
        )
        for reason in MsrpCounters.__slots__
    },
    **{
        f"limits:{reason}": (
            "msrpgw_limited",
            {"reason": reason},
            "What was refused or held back because of a limit of its own in [limits], by reason.",
        )
        for reason in LimitCounters.__slots__
    },
    "tls:certificate_seconds": (
        "msrpgw_tls_certificate_seconds",
        {},
        "Time until the first certificate of [tls] ends; 0: it has, or there is none.",
    ),
    "sip:fail_overs": (
        "msrpgw_sip_fail_overs",
        {},
        "SIP requests sent to another target, since the one before failed.",
    ),
    "sip:blacklisted": (
        "msrpgw_sip_blacklisted_targets",
        {},
        "SIP targets that failed lately and are tried last.",
    ),
    "dns:look_ups": ("msrpgw_dns_look_ups", {}, "Questions to name servers."),
    "dns:failures": ("msrpgw_dns_failures", {}, "Questions that no name server answered."),
    "dns:refused": ("msrpgw_dns_refused", {}, "Questions not asked: too many were under way."),
    "dns:pending": ("msrpgw_dns_pending", {}, "Questions under way."),
    "sip:transactions": ("msrpgw_sip_transactions", {}, "SIP transactions."),
    "msrp:sessions": ("msrpgw_msrp_sessions", {}, "MSRP sessions."),
    "msrp:connections": ("msrpgw_msrp_connections", {}, "MSRP connections."),
    "msrp:relay_uris": (
        "msrpgw_msrp_relay_uris",
        {},
        "URIs of our MSRP relay that wait for a session; 0: it is not there, or there is none.",
    ),
}


#: metrics that go up and down; all others of the table are counters
GAUGES = frozenset(
    {
        "msrpgw_sessions",
        "msrpgw_messages_waiting",
        "msrpgw_journal_messages",
        "msrpgw_journal_bytes",
        "msrpgw_journal_oldest_seconds",
        "msrpgw_journal_healthy",
        "msrpgw_tls_certificate_seconds",
        "msrpgw_sip_blacklisted_targets",
        "msrpgw_dns_pending",
        "msrpgw_sip_transactions",
        "msrpgw_msrp_relay_uris",
        "msrpgw_msrp_sessions",
        "msrpgw_msrp_connections",
    }
)

#: histogram -> name of the metric, labels, and what it says
HISTOGRAMS: dict[str, tuple[str, dict[str, str], str]] = {
    **{
        direction: (
            "msrpgw_message_duration_seconds",
            {"direction": direction},
            "From a message's coming to its outcome, by direction.",
        )
        for direction in ("to_msrp", "to_page")
    },
    "lag": (
        "msrpgw_reactor_delay_seconds",
        {},
        "How late the reactor was, looked at once a second.",
    ),
}


class StatisticsCollector(Collector):
    """The statistics as metrics."""

    def __init__(self, statistics: Statistics, histograms: Mapping[str, Histogram]) -> None:
        self._statistics = statistics
        self._histograms = histograms

    def collect(self) -> Iterator[Metric]:
        """All families, each with all of its labels."""
        values = self._statistics.get(["all"])
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for statistic, (name, labels, summary) in METRICS.items():
            family = families.get(name)
            if family is None:
                make = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
                family = families[name] = make(name, summary, labels=list(labels))
            family.add_metric(list(labels.values()), values[statistic])
        yield from families.values()
        distributions: dict[str, HistogramMetricFamily] = {}
        for name, histogram in self._histograms.items():
            metric, labels, summary = HISTOGRAMS[name]
            distribution = distributions.get(metric)
            if distribution is None:
                distribution = HistogramMetricFamily(metric, summary, labels=list(labels))
                distributions[metric] = distribution
            distribution.add_metric(
                list(labels.values()),
                [(_bound(bound), float(count)) for bound, count in histogram.buckets()],
                histogram.total,
            )
        yield from distributions.values()


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)


def exposition(statistics: Statistics, histograms: Mapping[str, Histogram]) -> tuple[bytes, bytes]:
    """Content type and text of ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(statistics, histograms))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)
