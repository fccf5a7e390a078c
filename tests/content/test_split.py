"""Long texts in several: each fits, none is lost, no character and, where possible, no word is
cut."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.content.split import MAX_PARTS, split_text

NUMBER = re.compile(r"\((\d+)/(\d+)\) ")


def bodies(parts: list[str]) -> list[str]:
    """The parts without their numbers, which must be right."""
    found = []
    for index, part in enumerate(parts, 1):
        match = NUMBER.match(part)
        assert match is not None, part
        assert (int(match[1]), int(match[2])) == (index, len(parts)), part
        found.append(part[match.end() :])
    return found


class SplitTests(SynchronousTestCase):
    """What becomes of a text."""

    def test_short(self) -> None:
        """It stays as it is."""
        for text in ("", "hello", "x" * 100, "ü" * 50):
            self.assertEqual(split_text(text, 100), [text])
        self.assertEqual(len(split_text("ü" * 51, 100)), 2)

    def test_words(self) -> None:
        text = "The quick brown fox jumps over the lazy dog. " * 10
        parts = split_text(text, 60)
        self.assertEqual("".join(bodies(parts)), text)
        for part, following in pairwise(bodies(parts)):
            self.assertIn(" ", (part[-1], following[0]))
            self.assertGreater(len(part), 25)

    def test_a_word_that_ends_at_the_limit(self) -> None:
        """It is not moved to the next part."""
        room = 60 - len("(9/9) ")
        text = "x" * room + " and more" * 3
        self.assertEqual(bodies(split_text(text, 60))[0], "x" * room)

    def test_long_words(self) -> None:
        """There is nothing to do but cut them; no part is cut too short for a gap far ahead."""
        text = "a " + "x" * 200
        parts = split_text(text, 60)
        self.assertEqual("".join(bodies(parts)), text)
        self.assertEqual(len(parts[0]), 60)

    def test_characters_of_several_bytes(self) -> None:
        text = "世界" * 100
        parts = split_text(text, 50)
        self.assertEqual("".join(bodies(parts)), text)
        for part in parts:
            self.assertLessEqual(len(part.encode()), 50)
            self.assertGreater(len(part.encode()), 44 if part is not parts[-1] else 0)

    def test_characters_of_several_code_points(self) -> None:
        """A family, a skin tone, an accent, a line end: each stays in one piece."""
        for character in (
            "\U0001f468\u200d\U0001f469\u200d\U0001f466",
            "\U0001f44d\U0001f3fd",
            "e\u0301",
            "\r\n",
            "1\ufe0f\u20e3",
        ):
            for lead in range(8):
                text = "x" * lead + character * 40
                for body in bodies(split_text(text, 64))[1:]:
                    self.assertEqual(body, character * (len(body) // len(character)))

    def test_joiners_without_end(self) -> None:
        """Nonsense is cut somewhere."""
        text = "\u200d" * 500
        parts = split_text(text, 64)
        self.assertEqual("".join(bodies(parts)), text)

    def test_numbers_of_several_digits(self) -> None:
        """They count, too."""
        for count in (9, 10, 99, 100, 101, 1000):
            text = "word " * (count * 8)
            parts = split_text(text, 48)
            self.assertEqual("".join(bodies(parts)), text)
            self.assertLessEqual(max(len(part) for part in parts), 48)

    def test_too_many(self) -> None:
        with self.assertRaisesRegex(ValueError, f"More than {MAX_PARTS} parts"):
            split_text("x" * 1_000_000, 64)

    def test_no_room(self) -> None:
        with self.assertRaisesRegex(ValueError, "No room"):
            split_text("x" * 100, 20)

    @given(st.text(max_size=600), st.integers(40, 200))
    def test_any(self, text: str, limit: int) -> None:
        parts = split_text(text, limit)
        for part in parts:
            self.assertLessEqual(len(part.encode()), limit)
        if len(parts) == 1:
            self.assertEqual(parts, [text])
        else:
            self.assertEqual("".join(bodies(parts)), text)
