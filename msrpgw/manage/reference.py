"""The references in docs/, made of the tables that the program itself uses.

python -m msrpgw.manage.reference management > docs/management.md
python -m msrpgw.manage.reference events > docs/events.md
python -m msrpgw.manage.reference metrics > docs/metrics.md
"""

import sys
from typing import Any

from msrpgw.gateway.events import EVENTS
from msrpgw.manage.catalogue import catalogue
from msrpgw.manage.metrics import GAUGES, HISTOGRAMS, METRICS
from msrpgw.manage.rpc import Command, Parameter
from msrpgw.manage.sinks.records import MESSAGE_RECORD, SESSION_RECORD

_KINDS = {str: "string", int: "number", float: "number", bool: "true or false", list: "list"}


_DELIVERY = """
## Where they go

- **The log**: all but those about single messages.
- **Files**, `[events] files`: one JSON object a line with `time` (seconds since the epoch),
  `event` and `params`. A file that was moved away is begun anew, also on SIGUSR1.
- **Web hooks**, `[events] webhooks`: one POST for each event, in order, with the same JSON object
  and an `id`. `X-Msrpgw-Event` and `X-Msrpgw-Delivery` repeat name and id, `X-Msrpgw-Attempt`
  counts. With a secret, `X-Msrpgw-Signature` reads `t=TIME,v1=CODE`: CODE is HMAC-SHA256, in
  hexadecimal, of TIME, a dot and the body. Refuse what is older than a few minutes. Answer 2xx;
  408, 421, 425, 429, 5xx or silence mean "again", after 1 to 60 seconds; others mean "never".
- **Subscribers** by `event_subscribe`, as OpenSIPS's event_datagram and event_stream send them: a
  JSON-RPC notification in a datagram, or on a TCP connection of its own.
- **Plugins**, `[events] plugins`: objects that provide `msrpgw.interfaces.IEventSinkPlugin`.

Files and web hooks may want some events only: each of `events`, `keys` and `parties` is a list of
patterns with `*` and `?`, one of which must fit the name, the key, and one of the URIs.

Nothing of this slows traffic: at most 10,000 lines wait for a disk, 1,000 events for a web server
or a subscriber. What finds no room is counted (`msrpgw:lines_dropped`, `msrpgw:webhooks_dropped`,
`msrpgw:events_dropped`), and the log says once that it begins and once that it is over.

## Records

`[records]` names files that get one JSON line for each session and each message that has ended.
Times are seconds since the epoch, durations seconds, sizes bytes."""


class _Nobody:
    """Stands for whoever runs the commands: a reference runs none."""

    def __getattr__(self, name: str) -> Any:
        return None


def commands() -> list[Command]:
    """All commands, in the order of the reference."""
    nobody: Any = _Nobody()
    return catalogue(nobody, nobody)


def management() -> str:
    """``docs/management.md``."""
    lines = [
        "# Management commands",
        "",
        "JSON-RPC 2.0, with parameters by name or by position, batches and notifications. Names,"
        " parameters,",
        "results and errors of OpenSIPS's commands are OpenSIPS's; those that begin with `msrpgw:`"
        " are ours.",
        "Errors have OpenSIPS's codes (404 \"Session doesn't exist\") or JSON-RPC's own (-32602"
        ' "Invalid params").',
        "Made by `python -m msrpgw.manage.reference management`.",
        "",
        "| command | parameters | |",
        "| --- | --- | --- |",
    ]
    for command in commands():
        names = ", ".join(f"`{name}`" for name in (command.name, *command.aliases))
        parameters = "; ".join(map(_parameter, command.parameters)) or "none"
        lines.append(f"| {names} | {parameters} | {command.summary} |")
    return "\n".join(lines) + "\n"


def _parameter(parameter: Parameter) -> str:
    optional = ", optional" if parameter.optional else ""
    return f"`{parameter.name}` ({_KINDS[parameter.kind]}{optional}): {parameter.summary}"


def events() -> str:
    """``docs/events.md``."""
    lines = [
        "# Events",
        "",
        "What an operator or a plugin may want to know, in OpenSIPS's terms; `E_MSRPGW_` are ours."
        " Made by",
        "`python -m msrpgw.manage.reference events`.",
        "",
        "| event | parameters | |",
        "| --- | --- | --- |",
    ]
    for name, (summary, parameters) in EVENTS.items():
        lines.append(f"| `{name}` | {', '.join(f'`{each}`' for each in parameters)} | {summary} |")
    lines.append(_DELIVERY)
    for title, fields in (("session", SESSION_RECORD), ("message", MESSAGE_RECORD)):
        lines += ["", f"Of a {title}:", "", "| field | |", "| --- | --- |"]
        lines += [f"| `{name}` | {summary} |" for name, summary in fields.items()]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "Prometheus text at `/metrics`, beside `/mi` ([operations.md](operations.md#manage)); the"
        " same numbers by",
        "their OpenSIPS names with `get_statistics`. Python's and the process's own figures"
        " (`process_`,",
        "`python_`) come along. Made by `python -m msrpgw.manage.reference metrics`.",
        "",
        "| metric | kind | labels | statistic | |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows: dict[str, tuple[str, dict[str, list[str]], list[str]]] = {}
    for statistic, (name, labels, summary) in METRICS.items():
        _, values, statistics = rows.setdefault(name, (summary, {}, []))
        statistics.append(f"`{statistic}`")
        for label, value in labels.items():
            values.setdefault(label, []).append(f"`{value}`")
    for name, (summary, values, statistics) in rows.items():
        shown, kind = (name, "gauge") if name in GAUGES else (f"{name}_total", "counter")
        lines.append(
            f"| `{shown}` | {kind} | {_labels(values)} | {', '.join(statistics)} | {summary} |"
        )
    histograms: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for name, labels, summary in HISTOGRAMS.values():
        _, values = histograms.setdefault(name, (summary, {}))
        for label, value in labels.items():
            values.setdefault(label, []).append(f"`{value}`")
    for name, (summary, values) in histograms.items():
        lines.append(f"| `{name}` | histogram | {_labels(values)} | | {summary} |")
    return "\n".join(lines) + "\n"


def _labels(values: dict[str, list[str]]) -> str:
    return "; ".join(f"`{label}`: {', '.join(each)}" for label, each in values.items())


if __name__ == "__main__":
    print({"management": management, "events": events, "metrics": metrics}[sys.argv[1]](), end="")
