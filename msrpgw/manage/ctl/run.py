"""What each command of ``msrpgw-ctl`` does, and how the program ends."""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from msrpgw.manage.ctl import show, words
from msrpgw.manage.ctl.arguments import make_parser
from msrpgw.manage.ctl.client import DEFAULT_URL, Client, Tls, check_token, read_token
from msrpgw.manage.ctl.completion import script
from msrpgw.manage.ctl.events import LiveEvents
from msrpgw.manage.ctl.exits import BadAnswer, CtlError, Exit, Refused

#: most rows that one request asks for
PAGE = 250
#: most keys that a shell is offered
MAX_KEYS = 200
#: seconds between two looks at what is still on its way
DRAIN_INTERVAL = 1.0


def _escape_pattern(text: str) -> str:
    """A pattern that fits exactly this text."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


class Ctl:
    """One run of ``msrpgw-ctl`` against one gateway."""

    def __init__(
        self,
        client: Client,
        options: argparse.Namespace,
        out: Console,
        err: Console,
        *,
        sleep: Callable[[float], object] = time.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``sleep`` and ``wall_clock`` in seconds."""
        self._client = client
        self._options = options
        self._out = out
        self._err = err
        self._sleep = sleep
        self._wall_clock = wall_clock

    def run(self) -> Exit:
        """Do what the command line says.  Raises CtlError."""
        commands: dict[str, Callable[[], Exit]] = {
            "status": self._status,
            "sessions": self._sessions,
            "show": self._show,
            "end": self._end,
            "send": self._send,
            "journal": self._journal,
            "events": self._events,
            "stats": self._stats,
            "drain": self._drain,
            "reload": self._reload,
            "check": self._check,
            "mi": self._mi,
            "keys": self._keys,
        }
        return commands[self._options.command]()

    # Output

    def _line(self, text: str) -> None:
        self._out.file.write(text + "\n")
        self._out.file.flush()

    def _note(self, text: str) -> None:
        self._err.file.write(f"msrpgw-ctl: {text}\n")
        self._err.file.flush()

    def _json(self, result: object, indent: int | None = 2) -> None:
        # Only ASCII: what a peer sent can't steer the terminal from here either.
        self._line(json.dumps(result, indent=indent))

    def _raw(self, result: object) -> bool:
        """Print it if the raw result is wanted; whether it was."""
        if self._options.json:
            self._json(result)
        return bool(self._options.json)

    # Sessions

    def _status(self) -> Exit:
        result = self._client.call("msrpgw:status")
        if not self._raw(result):
            show.write(self._out, show.status(show.fields_of(result)))
        return Exit.DONE

    def _pages(
        self, method: str, field: str, most: int | None, **params: object
    ) -> dict[str, object]:
        """As many rows as wanted, None for all, in one answer with what to go on after."""
        rows: list[dict[str, Any]] = []
        after: object = None
        while most is None or len(rows) < most:
            limit = PAGE if most is None else min(PAGE, most - len(rows))
            more = {} if after is None else {"after": after}
            answer = self._client.call(method, limit=limit, **more, **params)
            page = show.rows_of(answer, field)
            rows += page
            last, after = after, answer.get("next")
            if after is None or not page:
                break
            if after == last:
                raise BadAnswer("the gateway answers the same page again and again")
        return {field: rows, "next": after}

    def _most(self) -> int | None:
        return None if self._options.all else self._options.limit

    def _sessions(self) -> Exit:
        params = {}
        if self._options.pattern is not None:
            params["pattern"] = self._options.pattern
        if self._options.state is not None:
            params["state"] = self._options.state
        result = self._pages("msrpgw:list_sessions", "Sessions", self._most(), **params)
        self._show_list(result, "Sessions", show.SESSIONS, "no session")
        return Exit.DONE

    def _show_list(
        self,
        result: dict[str, object],
        field: str,
        columns: Sequence[show.Column],
        nothing: str,
    ) -> None:
        if self._raw(result):
            return
        rows = show.rows_of(result, field)
        if not rows:
            self._line(nothing)
            return
        show.write(self._out, show.table(columns, rows, self._out.width))
        if result["next"] is not None:
            self._note("there are more: see --limit and --all")

    def _show(self) -> Exit:
        result = self._client.call("msrpgw:show_session", key=self._options.session)
        if not self._raw(result):
            show.write(self._out, show.details(show.fields_of(result)))
        return Exit.DONE

    def _end(self) -> Exit:
        code = Exit.DONE
        for key in self._options.session:
            try:
                result = show.fields_of(self._client.call("msrpgw:end_session", key=key))
            except Refused as error:
                # The others are to be ended all the same; the first failure is the exit code.
                self._note(f"{words.plain(key)}: {_error_text(error)}")
                code = error.code if code is Exit.DONE else code
                continue
            if self._options.json:
                self._json(result, indent=None)
                continue
            state, queued, kept = (result.get(name) for name in ("state", "queued", "kept"))
            was = f"ended; it was {words.word_of_name(state)}"
            left = f"; {words.count(queued, 'message')} waiting" if queued else ""
            stay = f"; {words.count(kept, 'message')} kept, to be tried again" if kept else ""
            self._line(f"{words.plain(key)}: {was}{left}{stay}")
        return code

    def _keys(self) -> Exit:
        pattern = _escape_pattern(self._options.prefix) + "*"
        result = self._pages("msrpgw:list_sessions", "Sessions", MAX_KEYS, pattern=pattern)
        if self._raw(result):
            return Exit.DONE
        for row in show.rows_of(result, "Sessions"):
            key = row.get("key")
            # One that had to be escaped would be offered as a key that does not exist.
            if isinstance(key, str) and key.isprintable():
                self._line(key)
        return Exit.DONE

    # Messages

    def _send(self) -> Exit:
        options = self._options
        result = show.fields_of(
            self._client.call(
                "msrpgw:send_message",
                from_uri=options.from_uri,
                to_uri=options.to_uri,
                text=options.text,
            )
        )
        status = _whole(result, "status")
        if not self._raw(result):
            self._line(f"{status} {words.plain(result.get('reason', ''))}")
        return Exit.DONE if status < 300 else Exit.BAD_NEWS

    def _journal(self) -> Exit:
        action = self._options.action or "list"
        if action == "list":
            result = self._pages("msrpgw:journal_list", "entries", self._most())
            self._show_list(result, "entries", show.JOURNAL, "no message")
            return Exit.DONE
        id_ = self._options.id
        if action == "fate":
            result = self._client.call("msrpgw:message_fate", id=id_)
            if not self._raw(result):
                show.write(self._out, show.details(show.fields_of(result)))
            return Exit.DONE
        result = self._client.call(f"msrpgw:journal_{action}", id=id_)
        if not self._raw(result):
            done = {"retry": "tried again now", "drop": "given up; its sender is told"}[action]
            self._line(f"{words.plain(id_)}: {done}")
        return Exit.DONE

    def _events(self) -> Exit:
        try:
            with LiveEvents(self._client, self._options.patterns or (), self._note) as events:
                for event in events:
                    if self._options.json:
                        self._json(event.raw, indent=None)
                        continue
                    clock = time.strftime("%H:%M:%S", time.localtime(self._wall_clock()))
                    show.write(self._out, show.event(event.name, event.parameters, clock))
        except KeyboardInterrupt:
            return Exit.DONE
        return Exit.DONE

    # The program

    def _stats(self) -> Exit:
        names = self._options.name or ["all"]
        if self._options.reset:
            result = self._client.call("reset_statistics", statistics=names)
            if not self._raw(result):
                self._line("set back to 0")
            return Exit.DONE
        result = self._client.call("get_statistics", statistics=names)
        if not self._raw(result):
            show.write(self._out, show.statistics(show.fields_of(result)))
        return Exit.DONE

    def _under_way(self) -> tuple[dict[str, Any], int]:
        result = show.fields_of(self._client.call("msrpgw:drain"))
        return result, _whole(result, "under_way")

    def _drain(self) -> Exit:
        result, under_way = self._under_way()
        if self._options.wait and under_way:
            result, under_way = self._wait_drained(under_way)
        if not self._raw(result):
            self._line(f"takes nothing new; {words.count(under_way, 'message')} on the way")
        return Exit.DONE

    def _wait_drained(self, first: int) -> tuple[dict[str, Any], int]:
        """Until nothing is on its way: the answer that says so."""
        progress = Progress(
            TextColumn("delivering"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            auto_refresh=False,
            disable=not self._err.is_terminal,
        )
        with progress:
            task = progress.add_task("", total=first)
            most = first
            while True:
                self._sleep(DRAIN_INTERVAL)
                status = show.fields_of(self._client.call("msrpgw:status"))
                left = _whole(status, "waiting")
                if not left:
                    # Only draining counts what is on the wire too; it is asked when little can be
                    # left, for the gateway's log has a line for each time.
                    result, left = self._under_way()
                # Messages of sessions that are still up may come in all the time.
                most = max(most, left)
                progress.update(task, total=most, completed=most - left, refresh=True)
                if not left:
                    return result, left

    def _reload(self) -> Exit:
        result = show.fields_of(self._client.call("msrpgw:reload"))
        if self._raw(result):
            return Exit.DONE
        changed, restart = (_list(result, name) for name in ("changed", "needs_restart"))
        self._line("changed:" if changed else "nothing changed")
        for name in changed:
            self._line(f"  {words.plain(name)}")
        if restart:
            self._line("takes effect at the next start only:")
            for name in restart:
                self._line(f"  {words.plain(name)}")
        return Exit.DONE

    def _check(self) -> Exit:
        # The gateway has another working directory.
        file = os.path.abspath(self._options.file)
        result = show.fields_of(self._client.call("msrpgw:check_config", file=file))
        problems = _list(result, "problems")
        if not self._raw(result):
            for problem in problems:
                self._line(words.plain(problem))
            if not problems:
                self._line(f"{words.plain(file)}: nothing wrong")
        return Exit.BAD_NEWS if problems else Exit.DONE

    def _mi(self) -> Exit:
        params: dict[str, str | list[str]] = {}
        for name, value in self._options.params:
            before = params.get(name)
            if before is None:
                params[name] = value
            else:
                params[name] = [*before, value] if isinstance(before, list) else [before, value]
        self._json(self._client.ask(self._options.method, params))
        return Exit.DONE


def _list(result: Mapping[str, Any], name: str) -> list[object]:
    found = result.get(name, [])
    if not isinstance(found, list):
        raise BadAnswer(f"{name!r} of the answer is no list: another version?")
    return found


def _whole(result: Mapping[str, Any], name: str) -> int:
    found = result.get(name)
    if not isinstance(found, int):
        raise BadAnswer(f"{name!r} of the answer is no whole number: another version?")
    return found


def _error_text(error: CtlError) -> str:
    """What went wrong; what a gateway says in addition, line by line below it."""
    text = words.plain(error)
    data = error.data if isinstance(error, Refused) else None
    if isinstance(data, list):
        return "\n  ".join([text, *(words.plain(each) for each in data)])
    return text if data is None else f"{text}: {words.word(data)}"


def run(
    arguments: Sequence[str] | None,
    out: TextIO,
    err: TextIO,
    environ: Mapping[str, str],
    *,
    width: int | None = None,
    sleep: Callable[[float], object] = time.sleep,
    wall_clock: Callable[[], float] = time.time,
) -> Exit:
    """Do what the arguments say; how it ended.  Raises SystemExit for a bad command line.

    ``width``: columns of ``out``, None for those of the terminal.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command == "completion":
        out.write(script(options.shell, parser))
        out.flush()
        return Exit.DONE
    if options.command == "stats" and options.reset and not options.name:
        parser.error("stats --reset: name the counters, or 'all'")
    color = not options.no_color and not environ.get("NO_COLOR")
    try:
        client = Client(
            options.url or environ.get("MSRPGW_CTL_URL") or DEFAULT_URL,
            timeout=options.timeout,
            token=_token(options, environ),
            tls=Tls(options.ca, options.certificate, options.private_key),
        )
        return Ctl(
            client,
            options,
            show.make_console(out, color=color, width=width),
            show.make_console(err, color=color),
            sleep=sleep,
            wall_clock=wall_clock,
        ).run()
    except CtlError as error:
        err.write(f"msrpgw-ctl: {_error_text(error)}\n")
        return error.code


def _token(options: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    if options.token_file is not None:
        return read_token(options.token_file)
    token = environ.get("MSRPGW_CTL_TOKEN")
    return check_token(token, "MSRPGW_CTL_TOKEN") if token else None


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says, and exit with a code that says how it went."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal without UTF-8 shows escapes for what it has no letters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = run(arguments, sys.stdout, sys.stderr, os.environ)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.BROKEN_PIPE
    sys.exit(code)
