"""Values in words for people; nothing that a peer chose reaches the terminal as it is."""

import math


def plain(value: object) -> str:
    """Text with everything that could steer a terminal written as an escape.

    Escapes and line ends, but also characters that turn the direction of writing.
    """
    text = value if isinstance(value, str) else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _number(value: object) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def age(value: object) -> str:
    """Seconds in two units at most: ``4 s``, ``3 min 20 s``, ``2 h 5 min``, ``4 d 3 h``."""
    if value is None:
        return "-"
    seconds = _number(value)
    if seconds is None:
        return plain(value)
    if seconds < 0:
        return "-" + age(-seconds)
    if 0 < seconds < 1:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    whole = int(seconds)
    for size, unit, smaller, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def size(value: object) -> str:
    """Bytes in the unit that reads best: ``512 B``, ``1.5 KiB``."""
    number = _number(value)
    if number is None:
        return "-" if value is None else plain(value)
    if abs(number) < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB"):
        number /= 1024
        if abs(number) < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} GiB"


def word(value: object) -> str:
    """Any value in one line."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(word(each) for each in value) or "-"
    if isinstance(value, dict):
        return (
            ", ".join(f"{word_of_name(name)} {word(each)}" for name, each in value.items()) or "-"
        )
    return plain(value)


def word_of_name(name: object) -> str:
    """A name of a field, as people read it."""
    return plain(name).replace("_", " ")


def count(number: object, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{plain(number)} {noun}" if number == 1 else f"{plain(number)} {noun}s"
