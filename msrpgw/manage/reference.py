"""The references in docs/, made of the tables that the program itself uses.

python -m msrpgw.manage.reference management > docs/management.md
python -m msrpgw.manage.reference events > docs/events.md
"""

import sys
from typing import Any

from msrpgw.gateway.events import EVENTS
from msrpgw.manage.catalogue import catalogue
from msrpgw.manage.rpc import Command, Parameter

_KINDS = {str: "string", int: "number", float: "number", bool: "true or false", list: "list"}


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
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print({"management": management, "events": events}[sys.argv[1]](), end="")
