"""Prometheus text: names, kinds, and that nothing is left out."""

import re

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.operator import Operator
from msrpgw.histogram import Histogram
from msrpgw.limits import Limits
from msrpgw.manage.lag import Lag
from msrpgw.manage.management import numbers
from msrpgw.manage.metrics import GAUGES, METRICS, exposition
from msrpgw.manage.statistics import Statistics
from msrpgw.manage.subscribers import Subscribers
from msrpgw.timers import Timers
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.wire import WireMsrp
from tests.manage.sinks.support import make_sinks


class MetricsTests(KeepingTestCase):
    """Of a town's gateway."""

    def statistics(self) -> Statistics:
        """Its numbers."""
        town = self.town
        subscribers = Subscribers(town.network.host(), Timers(town.clock), [], print)  # type: ignore[arg-type]
        sinks = make_sinks(town.hub, Timers(town.clock))
        lag = Lag(Timers(town.clock), town.clock.seconds)
        operator = Operator(town.gateway)
        return Statistics(
            numbers(operator, town.agent, town.endpoint, subscribers, sinks, lag, Limits())
        )

    def histograms(self) -> dict[str, Histogram]:
        """Its histograms."""
        return {**Operator(self.town.gateway).durations(), "lag": Histogram((0.5,))}

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All samples of ours."""
        content_type, text = exposition(self.statistics(), self.histograms())
        self.assertTrue(content_type.startswith(b"text/plain"))
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name.startswith("msrpgw_")
        }

    def test_values(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        self.send()
        self.send()
        bob.send("hi")
        self.alice.message("sip:carol@192.0.2.9")
        self.town.run(7)
        found = self.scrape()
        self.assertEqual(found["msrpgw_sessions", (("state", "up"),)], 1)
        for direction, count in (("to_msrp", 2), ("to_page", 1)):
            labels = (("direction", direction), ("outcome", "delivered"))
            self.assertEqual(found["msrpgw_messages_total", labels], count)
        self.assertEqual(found["msrpgw_journal_messages", ()], 1)
        self.assertEqual(found["msrpgw_journal_bytes", ()], 2)
        self.assertEqual(found["msrpgw_journal_oldest_seconds", ()], 7)
        self.assertEqual(found["msrpgw_journal_healthy", ()], 1)
        self.assertEqual(found["msrpgw_msrp_connections", ()], 1)

    def test_durations(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        bob.send("hi")
        self.town.run(1)
        found = self.scrape()
        name = "msrpgw_message_duration_seconds"
        to_page = ("direction", "to_page")
        self.assertEqual(found[f"{name}_count", (to_page,)], 1)
        self.assertEqual(found[f"{name}_bucket", (to_page, ("le", "+Inf"))], 1)
        self.assertEqual(found[f"{name}_bucket", (to_page, ("le", "0.001"))], 1)
        self.assertEqual(found[f"{name}_count", (("direction", "to_msrp"),)], 0)

    def test_setups(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.alice.message("sip:carol@192.0.2.9")
        self.town.run(40)
        found = self.scrape()
        self.assertEqual(found["msrpgw_setups_total", (("result", "established"),)], 1)
        self.assertGreaterEqual(found["msrpgw_setups_total", (("result", "4xx"),)], 1)
        self.assertEqual(found["msrpgw_setups_total", (("result", "6xx"),)], 0)

    def test_kinds(self) -> None:
        """The table says what the statistics say."""
        for statistic, kind in self.statistics().names():
            if statistic in METRICS:
                self.assertEqual(METRICS[statistic][0] in GAUGES, kind == "gauge", statistic)

    def test_rules(self) -> None:
        """Each has a help text; counters end in _total, gauges don't."""
        text = exposition(self.statistics(), self.histograms())[1].decode()
        kinds = dict(re.findall(r"^# TYPE (msrpgw_\w+) (\w+)$", text, re.MULTILINE))
        helps = dict(re.findall(r"^# HELP (msrpgw_\w+) (.+)$", text, re.MULTILINE))
        self.assertEqual(set(kinds), set(helps))
        for name, kind in kinds.items():
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
        self.assertEqual(kinds["msrpgw_message_duration_seconds"], "histogram")

    def test_every_statistic_is_a_metric(self) -> None:
        """But for sums of others."""
        names = {name for name, _ in self.statistics().names()}
        self.assertEqual(
            names - set(METRICS),
            {"msrpgw:sessions", "msrp_gateway:active_sessions", "msrpgw:reactor_lag_ms"},
        )
        self.assertEqual(set(METRICS) - names, set())


class OpenSipsNameTests(SynchronousTestCase):
    """Names that scripts may know."""

    def test_metric_table(self) -> None:
        for name, labels, summary in METRICS.values():
            self.assertRegex(name, r"^msrpgw_[a-z_]+$")
            self.assertTrue(summary.endswith("."))
            self.assertEqual(list(labels), sorted(labels))
