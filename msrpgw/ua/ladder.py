"""The message ladder of a conversation: what two users sent and got, in order of time.

            ms  alice                      msrpgw                        bob
           0.0  |--- MESSAGE "Hello" ------>|                             |
           3.1  |                           |------- INVITE ------------->|

Pure: signals in, lines out.
"""

from collections.abc import Iterable, Iterator

from msrpgw.ua.texts import Signal

#: columns between two of the three parties
WIDTH = 36

#: most of a text that is shown
_SHOWN = 16


def _label(signal: Signal) -> str:
    if not signal.text:
        return signal.what
    # A text must neither steer the terminal nor bend the ladder.
    text = "".join(c if c.isprintable() else "." for c in signal.text)
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN - 3]}... {len(signal.text)}"
    return f'{signal.what} "{text}"'


def _arrow(label: str, rightwards: bool) -> str:
    room = WIDTH - 2
    line = f" {label[: room - 4]} ".center(room - 1, "-")
    return f"{line}>" if rightwards else f"<{line}"


def ladder(
    start: float, page: Iterable[Signal], msrp: Iterable[Signal], names: tuple[str, str, str]
) -> Iterator[str]:
    """The lines of a ladder.

    ``start``: time that the milliseconds count from; ``names``: page user, gateway, MSRP user.
    """
    left, middle, right = names
    gap = " " * (WIDTH - 2)
    yield f"{'ms':>9}  {left:<{WIDTH - 1}}{middle:<{WIDTH - 1}}{right}"
    rows = [(signal, True) for signal in page] + [(signal, False) for signal in msrp]
    for signal, by_page in sorted(rows, key=lambda row: row[0].at):
        # The page user stands on the left: what it sends goes right.
        arrow = _arrow(_label(signal), signal.outgoing is by_page)
        sides = f"|{arrow}|{gap}|" if by_page else f"|{gap}|{arrow}|"
        yield f"{(signal.at - start) * 1000:9.1f}  {sides}"
