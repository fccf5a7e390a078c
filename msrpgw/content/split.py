"""A long text as several numbered ones, each short enough: ``(2/3) and so on``.

Pure.  Imports nothing of msrpgw.
"""

import re

#: most texts that one is cut into
MAX_PARTS = 9999

#: where a text is best cut: after white space, which stays at the end of the earlier part
_GAP = re.compile(r"\s+")


def split_text(text: str, limit: int) -> list[str]:
    """Cut ``text`` into numbered parts of at most ``limit`` bytes of UTF-8 each.

    Between words where that is possible within the last half of a part, else between characters;
    never within one, nor before a mark or joiner that belongs to the character before it.  Without
    their numbers the parts together are the text.  A text that fits is its only part, unnumbered.
    Raises ValueError when it takes more than ``MAX_PARTS``, or ``limit`` leaves no room for text.
    """
    if len(text.encode()) <= limit:
        return [text]
    digits = 1
    while digits <= len(str(MAX_PARTS)):
        room = limit - len(f"({'9' * digits}/{'9' * digits}) ")
        if room < 16:
            raise ValueError("No room for text")
        bodies = _cut(text, room)
        if len(str(len(bodies))) <= digits:
            return [f"({number}/{len(bodies)}) {body}" for number, body in enumerate(bodies, 1)]
        digits += 1
    raise ValueError(f"More than {MAX_PARTS} parts")


def _cut(text: str, room: int) -> list[str]:
    bodies = []
    start = 0
    while start < len(text):
        end = _whole_characters(text, start, room)
        if end < len(text):
            end = _between_words(text, start, end)
        bodies.append(text[start:end])
        start = end
    return bodies


def _whole_characters(text: str, start: int, room: int) -> int:
    """How far a part can reach that starts here: at least one character, however long."""
    piece = text[start : start + room].encode()[:room]
    end = start + max(1, len(piece.decode("utf-8", "ignore")))
    earliest = end
    while earliest > start + 1 and earliest < len(text) and _belongs_to_former(text, earliest):
        earliest -= 1
        if end - earliest > 16:  # no character is that long: somebody's nonsense
            return end
    return earliest


def _belongs_to_former(text: str, index: int) -> bool:
    character = text[index]
    return (
        character in "\u200d\ufe0e\ufe0f\u20e3"  # joiner, presentation, keycap
        or "\u0300" <= character <= "\u036f"  # accents
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or text[index - 1] == "\u200d"
        or (character == "\n" and text[index - 1] == "\r")
    )


def _between_words(text: str, start: int, end: int) -> int:
    if text[end].isspace() and not text[end - 1].isspace():
        # The word ends right here; its space begins the next part, which nobody sees.
        return end
    middle = (start + end) // 2
    best = end
    for gap in _GAP.finditer(text, middle, end):
        best = gap.end()
    return best if best > middle else end
