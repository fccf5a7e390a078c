"""Which events a sink wants."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.sinks.filters import EventFilter
from msrpgw.types import Event

EVENT = Event("E_MSRP_SESSION_NEW", {"key": "a:b", "from_uri": "sip:b@x", "to_uri": "sip:a@y"})


class FilterTests(SynchronousTestCase):
    """By name, key and party."""

    def test_names(self) -> None:
        known = ("E_MSRP_SESSION_NEW", "E_MSRP_SESSION_END", "E_MSRPGW_OVERLOAD")
        for patterns, wanted in (
            (("*",), set(known)),
            (("E_MSRP_*",), {"E_MSRP_SESSION_NEW", "E_MSRP_SESSION_END"}),
            (("*_END", "*_OVERLOAD"), {"E_MSRP_SESSION_END", "E_MSRPGW_OVERLOAD"}),
            (("e_msrp_*",), set()),
        ):
            self.assertEqual(EventFilter(events=patterns).names(known), wanted, patterns)

    def test_keys_and_parties(self) -> None:
        for filters, wanted in (
            ({}, True),
            ({"keys": ("a:?",)}, True),
            ({"keys": ("b*",)}, False),
            ({"parties": ("sip:*@y",)}, True),
            ({"parties": ("sip:b@*",)}, True),
            ({"parties": ("sip:c@*", "tel:*")}, False),
            ({"keys": ("b*",), "parties": ("*@x",)}, False),
        ):
            self.assertEqual(EventFilter(**filters).wants(EVENT), wanted, filters)

    def test_nothing_to_go_by(self) -> None:
        event = Event("E_MSRPGW_OVERLOAD", {"reason": "full"})
        self.assertTrue(EventFilter().wants(event))
        self.assertFalse(EventFilter(keys=("a*",)).wants(event))
        self.assertFalse(EventFilter(parties=("a*",)).wants(event))
