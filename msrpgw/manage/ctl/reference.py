"""``docs/ctl.md``, made of the command line's own parser.

python -m msrpgw.manage.ctl.reference > docs/ctl.md
"""

import argparse
from collections.abc import Iterator

from msrpgw.manage.ctl.arguments import make_parser
from msrpgw.manage.ctl.exits import Exit

_HEAD = """\
# msrpgw-ctl

Steers and watches a running gateway through its management interface over HTTP (`[manage] http`):

    msrpgw-ctl status
    msrpgw-ctl sessions --state up
    msrpgw-ctl end 'sip:alice@example.com:sip:bob@example.com'
    msrpgw-ctl events --event 'E_MSRP_GW_*'
    msrpgw-ctl --json journal | jq .

Tables are for people; with `--json` the raw result is for scripts. Where the gateway is, is said by
`--url` or `MSRPGW_CTL_URL`, the token by `--token-file` or `MSRPGW_CTL_TOKEN`. Completion of
commands, options and keys of sessions:

    msrpgw-ctl completion bash > /etc/bash_completion.d/msrpgw-ctl
    msrpgw-ctl completion zsh > /usr/share/zsh/site-functions/_msrpgw-ctl
    msrpgw-ctl completion fish > /usr/share/fish/vendor_completions.d/msrpgw-ctl.fish

Made by `python -m msrpgw.manage.ctl.reference`.
"""


def reference() -> str:
    """The whole document."""
    parser = make_parser()
    lines = [_HEAD, "## Commands", "", "| command | |", "| --- | --- |"]
    shared = {action.dest for action in parser._actions}
    for name, command, summary in _commands(parser, ""):
        options = "".join(
            f"<br>`{words}`: {_text(action)}"
            for words, action in _arguments(command)
            if action.dest not in shared
        )
        lines.append(f"| `{name}` | {summary}{options} |")
    lines += ["", "## Options of all commands", "", "| option | |", "| --- | --- |"]
    lines += [f"| `{words}` | {_text(action)} |" for words, action in _arguments(parser)]
    lines += ["", "## Exit codes", "", "| code | |", "| --- | --- |"]
    lines += [f"| {code.value} | {code.words} |" for code in Exit]
    return "\n".join(lines) + "\n"


def _commands(
    parser: argparse.ArgumentParser, prefix: str
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {each.dest: each.help for each in action._choices_actions}
            for name, command in action.choices.items():
                yield f"{prefix}{name}", command, summaries[name] or ""
                yield from _commands(command, f"{prefix}{name} ")


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        value = action.metavar or "|".join(action.choices or ()) or action.dest.upper()
        if action.nargs == 0:
            value = ""
        elif action.nargs in ("*", "+"):
            value = f"{value}..."
        yield f"{', '.join(action.option_strings)} {value}".strip().replace("|", "\\|"), action


def _text(action: argparse.Action) -> str:
    text = (action.help or "").replace("|", "\\|")
    return text.replace("%(default)s", str(action.default))


if __name__ == "__main__":
    print(reference(), end="")
