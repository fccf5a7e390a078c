"""The command line of ``msrpgw-ctl``."""

import argparse
import re

from msrpgw.manage.ctl.client import DEFAULT_URL
from msrpgw.manage.ctl.exits import Exit

#: rows of a list when the command line names no number
DEFAULT_ROWS = 100
SHELLS = ("bash", "zsh", "fish")
STATES = ("setting_up", "up", "moving")
#: of a parameter of a command
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_EPILOG = """\
environment:
  MSRPGW_CTL_URL    where the gateway is, when --url does not say it
  MSRPGW_CTL_TOKEN  the bearer token, when --token-file does not name a file with it
  NO_COLOR          when it is set and not empty: no colours

exit codes:
{codes}
"""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 3600 seconds")
    return number


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} must read PARAM=VALUE")
    return name, value


def _utf8(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8") from None
    return text


# What argparse calls them when it refuses a value.
_positive.__name__ = "whole number from 1"
_seconds.__name__ = "number of seconds"


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    """What may stand before the command and after it."""
    # Without defaults: those of a command's own parser would undo what stood before the command.
    group = parser.add_argument_group("output and connection")
    group.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="the raw result, for scripts"
    )
    group.add_argument(
        "--no-color", action="store_true", default=argparse.SUPPRESS, help="no colours"
    )
    group.add_argument(
        "--url",
        default=argparse.SUPPRESS,
        help=f"where the gateway is: http://, https:// or unix:/path (default: {DEFAULT_URL})",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="file with the bearer token",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        default=argparse.SUPPRESS,
        help="how long to wait for each answer (default: 10)",
    )


def _add_page_options(parser: argparse.ArgumentParser, what: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--limit",
        type=_positive,
        default=DEFAULT_ROWS,
        metavar="N",
        help=f"at most so many {what} (default: %(default)s)",
    )
    group.add_argument("--all", action="store_true", help=f"all {what}")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    codes = "\n".join(f"  {code.value:<3}  {code.words}" for code in Exit)
    parser = argparse.ArgumentParser(
        prog="msrpgw-ctl",
        description="Steer and watch a running msrpgw through its management interface.",
        epilog=_EPILOG.format(codes=codes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(json=False, no_color=False, url=None, token_file=None, timeout=10.0)
    _add_output_options(parser)
    tls = parser.add_argument_group("https (before the command)")
    tls.add_argument("--ca", metavar="FILE", help="who vouches for the gateway, PEM")
    tls.add_argument("--certificate", metavar="FILE", help="our certificate, PEM")
    # Another name inside: a command may have a --key that means something else.
    tls.add_argument("--key", metavar="FILE", dest="private_key", help="its private key, PEM")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=summary, allow_abbrev=False
        )
        _add_output_options(made)
        return made

    command("status", "How the gateway is, at a glance.")
    sessions = command("sessions", "List sessions, in the order of their keys.")
    _add_page_options(sessions, "sessions")
    sessions.add_argument(
        "--key", dest="pattern", type=_utf8, metavar="GLOB", help="only keys like this: * and ?"
    )
    sessions.add_argument("--state", choices=STATES, help="only sessions in this state")
    show = command("show", "Everything about a session.")
    show.add_argument("session", type=_utf8, metavar="KEY", help="key of the session")
    end = command("end", "End sessions, in whatever state they are.")
    end.add_argument("session", type=_utf8, nargs="+", metavar="KEY", help="keys of sessions")
    send = command("send", "Send a text to an MSRP user, as a page user would.")
    send.add_argument(
        "--from", dest="from_uri", type=_utf8, required=True, metavar="URI", help="the page user"
    )
    send.add_argument(
        "--to", dest="to_uri", type=_utf8, required=True, metavar="URI", help="the MSRP user"
    )
    send.add_argument("text", type=_utf8, metavar="TEXT", help="the text")
    _add_journal(command("journal", "Messages in the gateway's custody (without an action: list)."))
    events = command("events", "Show events as they come, until Ctrl-C.")
    events.add_argument(
        "--event",
        dest="patterns",
        nargs="+",
        action="extend",
        metavar="GLOB",
        help="only events with such names: * and ?",
    )
    stats = command("stats", "Show statistics.")
    stats.add_argument(
        "name", type=_utf8, nargs="*", metavar="NAME", help="names, or groups (name:); else all"
    )
    stats.add_argument(
        "--reset", action="store_true", help="set the named counters back to 0 ('all' for all)"
    )
    drain = command("drain", "Take nothing new, as before a stop.")
    drain.add_argument(
        "--wait", action="store_true", help="until no message is on its way any more"
    )
    command("reload", "Read the configuration again; no session ends for it.")
    check = command("check", "Say what is wrong with a configuration file.")
    check.add_argument("file", type=_utf8, metavar="FILE", help="file on the gateway's host")
    raw = command("mi", "Any command of the management interface; prints the raw result.")
    raw.add_argument("method", type=_utf8, metavar="METHOD", help="name of the command")
    raw.add_argument(
        "params",
        type=_parameter,
        nargs="*",
        metavar="PARAM=VALUE",
        help="a name that comes again makes a list",
    )
    keys = command("keys", "Print keys of sessions, one a line, as shell completion wants them.")
    keys.add_argument(
        "prefix", type=_utf8, nargs="?", default="", metavar="PREFIX", help="how they begin"
    )
    completion = command("completion", "Print a script that makes a shell complete this command.")
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def _add_journal(journal: argparse.ArgumentParser) -> None:
    actions = journal.add_subparsers(dest="action", metavar="ACTION", title="actions")
    # For "journal" alone, which has no parser that could set them.
    journal.set_defaults(limit=DEFAULT_ROWS, all=False)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=summary, description=summary, allow_abbrev=False
        )
        _add_output_options(made)
        return made

    _add_page_options(action("list", "List messages, the oldest first."), "messages")
    for name, summary, words in (
        ("retry", "Try a message again now.", "id of the message, as list shows it"),
        ("drop", "Give a message up; its sender is told.", "id of the message, as list shows it"),
        ("fate", "What became of a message.", "Message-ID or Call-ID"),
    ):
        action(name, summary).add_argument("id", type=_utf8, metavar="ID", help=words)
