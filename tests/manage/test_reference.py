"""The references in docs/ are those of the code."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage import reference
from msrpgw.manage.ctl.reference import reference as ctl_reference

DOCS = Path(__file__).resolve().parents[2] / "docs"


class ReferenceTests(SynchronousTestCase):
    """Each file."""

    maxDiff = None

    def test_management(self) -> None:
        self.assertEqual((DOCS / "management.md").read_text("utf-8"), reference.management())

    def test_ctl(self) -> None:
        self.assertEqual((DOCS / "ctl.md").read_text("utf-8"), ctl_reference())

    def test_metrics(self) -> None:
        self.assertEqual((DOCS / "metrics.md").read_text("utf-8"), reference.metrics())

    def test_events(self) -> None:
        self.assertEqual((DOCS / "events.md").read_text("utf-8"), reference.events())
