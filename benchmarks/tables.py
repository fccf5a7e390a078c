"""Results as Markdown: targets, tables, where they were measured.

Pure: imports nothing of the suite.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """One scenario's figures."""

    title: str
    note: str  #: what was done, and what to make of it
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Target(NamedTuple):
    """Something that must hold."""

    what: str
    wanted: str
    found: str
    met: bool

    @property
    def verdict(self) -> str:
        """In a word that can't be overlooked when it is bad."""
        return "met" if self.met else "**MISSED**"


def at_most(what: str, found: float, limit: float, unit: str = "") -> Target:
    """A figure that should be small."""
    return Target(what, f"at most {limit:g}{unit}", f"{found:.4g}{unit}", found <= limit)


def at_least(what: str, found: float, limit: float, unit: str = "") -> Target:
    """A figure that should be large."""
    return Target(what, f"at least {limit:g}{unit}", f"{found:.4g}{unit}", found >= limit)


def render_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table that can be read as text, too; figures are on the right."""
    cells = [list(columns), *map(list, rows)]
    widths = [max(3, *(len(row[number]) for row in cells)) for number in range(len(columns))]
    figures = [
        all(row[number][:1].isdigit() for row in cells[1:] if row[number])
        for number in range(len(columns))
    ]
    for place, row in enumerate(cells):
        padded = (
            cell.rjust(width) if figure else cell.ljust(width)
            for cell, width, figure in zip(row, widths, figures, strict=True)
        )
        yield f"| {' | '.join(padded)} |"
        if not place:
            rules = (
                "-" * (width - 1) + ":" if figure else "-" * width
                for width, figure in zip(widths, figures, strict=True)
            )
            yield f"| {' | '.join(rules)} |"


def render(
    title: str, machine: Sequence[str], targets: Sequence[Target], tables: Sequence[Table]
) -> str:
    """A whole document."""
    lines = [f"# {title}", "", *(f"- {line}" for line in machine), ""]
    if targets:
        lines += ["## What must hold", ""]
        rows = [(each.what, each.wanted, each.found, each.verdict) for each in targets]
        lines += [*render_table(("", "wanted", "found", "verdict"), rows), ""]
    for table in tables:
        lines += [f"## {table.title}", "", table.note, ""]
        lines += [*render_table(table.columns, table.rows), ""]
    return "\n".join(lines)
