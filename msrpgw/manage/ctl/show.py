"""Tables and lists for people: answers of the gateway in, what ``rich`` prints out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from msrpgw.manage.ctl import words
from msrpgw.manage.ctl.exits import BadAnswer

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
    #: what happens where the screen is too narrow; what will be copied is folded, never cut
    narrow: Literal["fold", "ellipsis"] = "ellipsis"


SESSIONS = (
    Column("KEY", "key", narrow="fold"),
    Column("STATE", "state"),
    Column("MSRP USER", "msrp_uri"),
    Column("PAGE USER", "page_uri"),
    Column("CALL", "called", lambda called: "out" if called else "in"),
    Column("AGE", "age", words.age, number=True),
    Column("IDLE", "idle", words.age, number=True),
    Column("QUEUED", "queued", number=True),
    Column("PAGES", "pages_waiting", number=True),
)

JOURNAL = (
    Column("ID", "id", narrow="fold"),
    Column(
        "TO", "direction", lambda way: {"to_msrp": "msrp", "to_page": "page"}.get(str(way), "-")
    ),
    Column("SENDER", "from"),
    Column("RECEIVER", "to"),
    Column("TYPE", "content_type"),
    Column("SIZE", "size", words.size, number=True),
    Column("AGE", "age", words.age, number=True),
    Column("EXPIRES IN", "expires_in", words.age, number=True),
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


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows under titles."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            Text(column.title),
            justify="right" if column.number else "left",
            overflow=column.narrow,
            no_wrap=column.narrow != "fold",
            min_width=len(column.title) if column.number else 4,
        )
    for row in rows:
        made.add_row(*(_styled(each.field, each.show(row.get(each.field))) for each in columns))
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
