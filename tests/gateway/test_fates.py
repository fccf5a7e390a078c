"""Each row of the fate table, played; and the document that shows it."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.fates import TO_MSRP, TO_PAGE, Fate, document, watch

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fates.md"


class FateTests(SynchronousTestCase):
    """What senders are told."""

    maxDiff = None

    def check(self, fates: tuple[Fate, ...]) -> None:
        """All rows of one direction."""
        wrong = []
        for fate in fates:
            told = watch(fate)
            if told != fate.told:
                wrong.append(f"{fate.what}:\n  {told}\n  in place of\n  {fate.told}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_to_msrp(self) -> None:
        self.check(TO_MSRP)

    def test_to_page(self) -> None:
        self.check(TO_PAGE)

    def test_document(self) -> None:
        self.assertEqual(DOCUMENT.read_text("utf-8"), document())
