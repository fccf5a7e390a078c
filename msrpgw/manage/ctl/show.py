"""Tables and lists for people: answers of the gateway in, what ``rich`` prints out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from msrpgw.manage.ctl import words
from msrpgw.manage.ctl.exits import BadAnswer

#: columns between columns
GAP = 2
#: the narrowest that an elastic column gets
NARROWEST = 12
#: width of what goes into a file or a pipe: no line of it is cut for want of room
PIPE_WIDTH = 1000

_STATE_STYLES = {
    "up": "green",
    "running": "green",
    "setting_up": "yellow",
    "moving": "yellow",
    "draining": "yellow",
}
#: fields that are seconds, and fields that are bytes
_AGES = {"age", "idle", "uptime", "oldest", "expires_in", "ended_ago"}
_SIZES = {"size", "bytes"}


class Column(NamedTuple):
    """One column of a table."""

    title: str
    field: str
    show: Callable[[object], str] = words.word
    number: bool = False  #: to the right
    #: what will be copied is folded where the screen is too narrow, never cut
    folded: bool = False
    #: may be narrower than what is in it, down to 12 columns
    elastic: bool = False
    #: on a narrow screen the highest is left out first; 0: never
    dispensable: int = 0


SESSIONS = (
    Column("KEY", "key", folded=True, elastic=True),
    Column("STATE", "state"),
    Column("MSRP USER", "msrp_uri", elastic=True, dispensable=1),
    Column("PAGE USER", "page_uri", elastic=True, dispensable=2),
    Column("CALL", "called", lambda called: "out" if called else "in", dispensable=5),
    Column("AGE", "age", words.age, number=True),
    Column("IDLE", "idle", words.age, number=True, dispensable=3),
    Column("QUEUED", "queued", number=True),
    Column("PAGES", "pages_waiting", number=True, dispensable=4),
)

JOURNAL = (
    Column("ID", "id", folded=True, elastic=True),
    Column(
        "TO", "direction", lambda way: {"to_msrp": "msrp", "to_page": "page"}.get(str(way), "-")
    ),
    Column("SENDER", "from", elastic=True, dispensable=1),
    Column("RECEIVER", "to", elastic=True, dispensable=2),
    Column("TYPE", "content_type", elastic=True, dispensable=5),
    Column("SIZE", "size", words.size, number=True, dispensable=4),
    Column("AGE", "age", words.age, number=True),
    Column("EXPIRES IN", "expires_in", words.age, number=True, dispensable=3),
    Column("TRIES", "attempts", number=True),
)


def make_console(out: TextIO, *, color: bool, width: int | None = None) -> Console:
    """A console that takes text as it is: no markup, no emoji names, no guessed colours.

    ``width``: columns; None for the terminal's.
    """
    if width is None and not out.isatty():
        width = PIPE_WIDTH
    return Console(
        file=out,
        width=width,
        color_system="auto" if color else None,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )


def rows_of(answer: object, field: str) -> list[dict[str, Any]]:
    """The rows of a page.  Raises BadAnswer."""
    rows = answer.get(field) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadAnswer(f"the answer has no list of {field!r}: another version?")
    return rows


def fields_of(answer: object) -> dict[str, Any]:
    """An answer that has to be an object.  Raises BadAnswer."""
    if not isinstance(answer, dict):
        raise BadAnswer("the answer is no object: another version?")
    return answer


def _styled(field: str, text: str) -> Text:
    return Text(text, _STATE_STYLES.get(text, "") if field == "state" else "")


def _fit(natural: dict[Column, int], width: int) -> dict[Column, int]:
    """Widths of the columns that fit on a screen.

    First the elastic ones give way; when they can't any more, what is least missed is left out.
    """
    widths = dict(natural)

    def excess() -> int:
        return sum(widths.values()) + GAP * (len(widths) - 1) - width

    def least() -> int:
        spare = sum(widths[each] - min(widths[each], NARROWEST) for each in widths if each.elastic)
        return excess() - spare

    while least() > 0:
        dispensable = [each for each in widths if each.dispensable]
        if not dispensable:
            break
        del widths[max(dispensable, key=lambda column: column.dispensable)]
    elastic = [each for each in widths if each.elastic]
    while elastic and excess() > 0:
        widest = max(elastic, key=lambda column: widths[column])
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int) -> Table:
    """Rows under titles, for a screen that is ``width`` columns wide."""
    cells = {each: [each.show(row.get(each.field)) for row in rows] for each in columns}
    natural = {each: max(cell_len(text) for text in (each.title, *cells[each])) for each in columns}
    widths = _fit(natural, width)
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, columns_wide in widths.items():
        made.add_column(
            Text(column.title),
            justify="right" if column.number else "left",
            overflow="fold" if column.folded else "ellipsis",
            no_wrap=not column.folded,
            width=columns_wide,
        )
    for line in zip(*(cells[each] for each in widths), strict=True):
        shown = zip(widths, line, strict=True)
        made.add_row(*(_styled(column.field, text) for column, text in shown))
    return made


def _value(name: str, value: object) -> str:
    if name in _AGES:
        return words.age(value)
    if name in _SIZES:
        return words.size(value)
    return words.word(value)


def details(fields: Mapping[str, Any]) -> Table:
    """Everything in an object: names to the left, objects inside it under headings of their own."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    _add_details(made, fields, 0)
    return made


def _add_details(made: Table, fields: Mapping[str, Any], depth: int) -> None:
    indent = "  " * depth
    for name, value in fields.items():
        title = Text(indent + words.word_of_name(name), "bold" if depth == 0 else "")
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            made.add_row(title, Text())
            _add_details(made, value, depth + 1)
        elif isinstance(value, dict) and value:
            made.add_row(title, Text())
            for inner, each in value.items():
                made.add_row(
                    Text(f"{indent}  {words.word_of_name(inner)}"), Text(_value(str(inner), each))
                )
        else:
            made.add_row(title, _styled(name, _value(name, value)))


def status(answer: Mapping[str, Any]) -> Table:
    """The gateway at a glance; what is unknown to us is shown too, as it came."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    rest = dict(answer)

    def row(title: str, value: Text | str) -> None:
        made.add_row(Text(title, "bold"), value if isinstance(value, Text) else Text(value))

    version = words.word(rest.pop("version", None))
    state = words.word(rest.pop("state", None))
    row("msrpgw", f"{version}, up for {words.age(rest.pop('uptime', None))}")
    row("state", Text(state, _STATE_STYLES.get(state, "")))
    sessions = rest.pop("sessions", None)
    if isinstance(sessions, dict):
        kinds = {name: number for name, number in sessions.items() if name != "total"}
        row("sessions", f"{words.word(sessions.get('total'))} ({words.word(kinds)})")
    messages = rest.pop("messages", None)
    if isinstance(messages, dict):
        for way, numbers in messages.items():
            row(words.word_of_name(way), words.word(numbers))
    row("waiting", words.word(rest.pop("waiting", None)))
    journal = rest.pop("journal", None)
    if isinstance(journal, dict):
        row("journal", _journal(journal))
    listeners = rest.pop("listeners", None)
    if isinstance(listeners, dict):
        for name, where in listeners.items():
            row(f"{words.word_of_name(name)} on", words.word(where))
    for name, value in rest.items():
        row(words.word_of_name(name), _value(name, value))
    return made


def _journal(journal: Mapping[str, Any]) -> Text:
    shown = Text(words.word(journal.get("backend")) + ", ")
    healthy = journal.get("healthy") is True
    shown.append("healthy" if healthy else "CAN'T WRITE", "green" if healthy else "bold red")
    shown.append(f"; {words.count(journal.get('entries'), 'message')}")
    shown.append(f", {words.size(journal.get('bytes'))}")
    if journal.get("oldest") is not None:
        shown.append(f", the oldest of {words.age(journal['oldest'])} ago")
    return shown


def statistics(values: Mapping[str, Any]) -> Table:
    """Values by their names, in alphabetical order."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column(Text("STATISTIC"), overflow="fold")
    made.add_column(Text("VALUE"), justify="right", no_wrap=True)
    for name in sorted(values):
        made.add_row(Text(words.plain(name)), Text(words.word(values[name])))
    return made


def event(name: str, parameters: Mapping[str, Any], clock: str) -> Text:
    """An event in one line.  ``clock``: when it came, in words."""
    line = Text(clock + " ", "dim")
    line.append(words.plain(name), "bold cyan")
    for each, value in parameters.items():
        shown = words.word(value)
        if " " in shown:
            shown = '"' + shown.replace('"', '\\"') + '"'
        line.append(f" {words.plain(each)}=", "dim")
        line.append(shown, "not dim")
    return line


def write(console: Console, shown: RenderableType) -> None:
    """Print, without the spaces that fill a table's last column."""
    with console.capture() as captured:
        console.print(shown, soft_wrap=isinstance(shown, Text))
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")
    console.file.flush()
