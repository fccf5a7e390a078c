"""``msrpgw-ctl``: each command's question, answer and exit code."""

import io
import json
import os
import sys
from typing import Any

from msrpgw.manage.ctl import main
from msrpgw.manage.ctl.arguments import make_parser
from msrpgw.manage.ctl.exits import Exit
from tests.manage.ctl_support import SESSION, CtlCase, Error

NOT_FOUND = Error(404, "Session doesn't exist")


def pages(count: int) -> Any:
    """A gateway with that many sessions: its msrpgw:list_sessions."""
    keys = [f"key{number:05}" for number in range(count)]

    def list_sessions(params: dict[str, Any]) -> dict[str, Any]:
        found = [key for key in keys if key > params.get("after", "")]
        page = found[: params["limit"]]
        more = len(found) > len(page)
        rows = [{**SESSION, "key": key} for key in page]
        return {"Sessions": rows, "next": page[-1] if more else None}

    return list_sessions


class SessionTests(CtlCase):
    """Sessions: listed, shown, ended."""

    def test_list(self) -> None:
        self.answers["msrpgw:list_sessions"] = pages(1)
        self.assertIn("key00000", self.ok("sessions"))
        self.assertEqual(self.gateway.asked, [("msrpgw:list_sessions", {"limit": 100})])

    def test_chosen(self) -> None:
        self.answers["msrpgw:list_sessions"] = pages(1)
        self.ok("sessions", "--key", "sip:*", "--state", "up", "--limit", "3")
        asked = {"limit": 3, "pattern": "sip:*", "state": "up"}
        self.assertEqual(self.gateway.asked, [("msrpgw:list_sessions", asked)])

    def test_none(self) -> None:
        self.answers["msrpgw:list_sessions"] = pages(0)
        self.assertEqual(self.ok("sessions"), "no session\n")

    def test_more_than_shown(self) -> None:
        self.answers["msrpgw:list_sessions"] = pages(101)
        self.assertEqual(self.ctl("sessions"), Exit.DONE)
        self.assertEqual(self.out.getvalue().count("key0"), 100)
        self.assertIn("--all", self.err.getvalue())

    def test_pages(self) -> None:
        self.answers["msrpgw:list_sessions"] = pages(2500)
        self.assertEqual(len(self.ok("sessions", "--all").splitlines()), 2501)
        asked = [params for _, params in self.gateway.asked]
        limits = [{"limit": 250, "after": f"key{last:05}"} for last in range(249, 2499, 250)]
        self.assertEqual(asked, [{"limit": 250}, *limits])
        self.ok("sessions", "--json", "--limit", "1200")
        result = json.loads(self.out.getvalue())
        self.assertEqual((len(result["Sessions"]), result["next"]), (1200, "key01199"))

    def test_the_same_page_for_ever(self) -> None:
        self.answers["msrpgw:list_sessions"] = {"Sessions": [SESSION], "next": "x"}
        self.assertEqual(self.ctl("sessions", "--all"), Exit.BAD_ANSWER)

    def test_json_is_what_the_gateway_said(self) -> None:
        result = {**SESSION, "invite": {"ruri": "sip:b\u00f6b@\u202ex"}, "last_error": None}
        self.answers["msrpgw:show_session"] = result
        shown = self.ok("show", SESSION["key"], "--json")
        self.assertEqual(json.loads(shown), result)
        self.assertTrue(shown.isascii())
        self.assertEqual(self.gateway.asked, [("msrpgw:show_session", {"key": SESSION["key"]})])
        self.assertEqual(self.ok("--json", "show", SESSION["key"]), shown)

    def test_unknown(self) -> None:
        self.answers["msrpgw:show_session"] = NOT_FOUND
        self.assertEqual(self.ctl("show", "x"), Exit.NOT_FOUND)
        self.assertEqual(self.err.getvalue(), "msrpgw-ctl: 404 Session doesn't exist\n")

    def test_end(self) -> None:
        def end(params: dict[str, Any]) -> dict[str, Any]:
            if params["key"] == "x":
                raise NOT_FOUND
            return {"key": params["key"], "state": "setting_up", "queued": 2, "kept": 1}

        self.answers["msrpgw:end_session"] = end
        said = "ended; it was setting up; 2 messages waiting; 1 message kept, to be tried again"
        self.assertEqual(self.ok("end", "a"), f"a: {said}\n")
        # All are ended, whatever becomes of one.
        self.assertEqual(self.ctl("end", "a", "x", "b"), Exit.NOT_FOUND)
        self.assertEqual(self.out.getvalue(), f"a: {said}\nb: {said}\n")
        self.assertEqual(self.err.getvalue(), "msrpgw-ctl: x: 404 Session doesn't exist\n")
        lines = self.ok("end", "a", "b", "--json").splitlines()
        self.assertEqual([json.loads(line)["key"] for line in lines], ["a", "b"])

    def test_keys(self) -> None:
        keys = ["sip:[a*", "sip:[a*\x1b[2J", "sip:[a*\nx"]
        rows = [{**SESSION, "key": key} for key in keys]
        self.answers["msrpgw:list_sessions"] = {"Sessions": rows, "next": None}
        self.assertEqual(self.ok("keys", "sip:[a*"), "sip:[a*\n")
        self.assertEqual(self.gateway.asked[0][1]["pattern"], "sip:[[]a[*]*")
        self.assertEqual(self.ok("keys", "--", "-x"), "sip:[a*\n")


class MessageTests(CtlCase):
    """Texts and the journal."""

    def test_send(self) -> None:
        self.answers["msrpgw:send_message"] = {"status": 202, "reason": "Accepted"}
        options = ("--from", "sip:a@x", "--to", "sip:b@y")
        self.assertEqual(self.ok("send", *options, "good morning"), "202 Accepted\n")
        asked = {"from_uri": "sip:a@x", "to_uri": "sip:b@y", "text": "good morning"}
        self.assertEqual(self.gateway.asked, [("msrpgw:send_message", asked)])
        self.answers["msrpgw:send_message"] = {"status": 480, "reason": "Not\x07here"}
        self.assertEqual(self.ctl("send", *options, "x"), Exit.BAD_NEWS)
        self.assertEqual(self.out.getvalue(), "480 Not\\x07here\n")
        self.answers["msrpgw:send_message"] = {}
        self.assertEqual(self.ctl("send", *options, "x"), Exit.BAD_ANSWER)
        self.refused("send", *options, "\udcff")
        self.refused("send", "text")

    def test_journal(self) -> None:
        self.answers["msrpgw:journal_list"] = {"entries": [], "next": None}
        for arguments in (("journal",), ("journal", "list")):
            self.assertEqual(self.ok(*arguments), "no message\n")
        self.assertEqual(self.gateway.asked, [("msrpgw:journal_list", {"limit": 100})] * 2)
        result = json.loads(self.ok("journal", "list", "--all", "--json"))
        self.assertEqual(result, {"entries": [], "next": None})

    def test_actions(self) -> None:
        for action in ("retry", "drop"):
            self.answers[f"msrpgw:journal_{action}"] = lambda params: params
            self.assertTrue(self.ok("journal", action, "m1").startswith("m1: "))
            self.assertEqual(json.loads(self.ok("journal", action, "m1", "--json")), {"id": "m1"})
        self.answers["msrpgw:journal_drop"] = Error(409, "The message is on its way")
        self.assertEqual(self.ctl("journal", "drop", "m1"), Exit.REFUSED)
        self.assertEqual(self.err.getvalue(), "msrpgw-ctl: 409 The message is on its way\n")

    def test_fate(self) -> None:
        fate = {"state": "ended", "ended_ago": 90, "outcome": "delivered", "status": 200}
        self.answers["msrpgw:message_fate"] = fate
        shown = self.ok("journal", "fate", "m1")
        self.assertEqual(
            [line.split()[-1] for line in shown.splitlines()][2:], ["delivered", "200"]
        )
        self.assertIn("1 min 30 s", shown)


class ProgramTests(CtlCase):
    """The gateway as a whole."""

    def test_statistics(self) -> None:
        self.answers["get_statistics"] = {"msrpgw:b": 2, "msrpgw:a": 1}
        shown = self.ok("stats")
        self.assertEqual(shown.split(), ["STATISTIC", "VALUE", "msrpgw:a", "1", "msrpgw:b", "2"])
        self.ok("stats", "msrpgw:", "x")
        wanted = [params["statistics"] for _, params in self.gateway.asked]
        self.assertEqual(wanted, [["all"], ["msrpgw:", "x"]])

    def test_reset(self) -> None:
        self.answers["reset_statistics"] = "OK"
        self.assertEqual(self.ok("stats", "a", "--reset"), "set back to 0\n")
        self.assertEqual(self.gateway.asked, [("reset_statistics", {"statistics": ["a"]})])
        self.assertIn("name the counters", self.refused("stats", "--reset"))

    def test_drain(self) -> None:
        self.answers["msrpgw:drain"] = {"under_way": 1}
        self.assertEqual(self.ok("drain"), "takes nothing new; 1 message on the way\n")
        self.assertEqual(self.slept, [])

    def test_drain_and_wait(self) -> None:
        # What waits has gone before what is on the wire.
        under_way, waiting = [5, 1, 0], [7, 3, 0, 0]
        self.answers["msrpgw:drain"] = lambda params: {"under_way": under_way.pop(0)}
        self.answers["msrpgw:status"] = lambda params: {"waiting": waiting.pop(0)}
        said = "takes nothing new; 0 messages on the way\n"
        self.assertEqual(self.ok("drain", "--wait"), said)
        self.assertEqual(self.slept, [1.0] * 4)
        self.assertEqual((under_way, waiting), ([], []))

    def test_progress(self) -> None:
        under_way, waiting = [4, 0], [3, 0]
        self.answers["msrpgw:drain"] = lambda params: {"under_way": under_way.pop(0)}
        self.answers["msrpgw:status"] = lambda params: {"waiting": waiting.pop(0)}

        class Screen(io.StringIO):
            def isatty(self) -> bool:
                return True

        err = Screen()
        self.patch(io, "StringIO", lambda: err)
        self.patch(os, "environ", {"TERM": "xterm"})
        self.assertEqual(self.ctl("drain", "--wait", out=Screen()), Exit.DONE)
        self.assertIn("1/4", err.getvalue())
        self.assertIn("4/4", err.getvalue())

    def test_the_gateway_goes_while_we_wait(self) -> None:
        self.answers["msrpgw:drain"] = {"under_way": 5}

        def stop(seconds: float) -> None:
            self.gateway.raw = (503, b"")

        self.assertEqual(self.ctl("drain", "--wait", sleep=stop), Exit.BAD_ANSWER)

    def test_reload(self) -> None:
        result: dict[str, Any] = {"changed": ["[gateway] hold"], "needs_restart": ["[sip] listen"]}
        self.answers["msrpgw:reload"] = result
        shown = "changed:\n  [gateway] hold\ntakes effect at the next start only:\n  [sip] listen\n"
        self.assertEqual(self.ok("reload"), shown)
        self.answers["msrpgw:reload"] = {"changed": [], "needs_restart": []}
        self.assertEqual(self.ok("reload"), "nothing changed\n")
        data = ["[sip] x: unknown", "[log] level: \x1b[1m"]
        self.answers["msrpgw:reload"] = Error(500, "The configuration can't be used", data)
        self.assertEqual(self.ctl("reload"), Exit.REFUSED)
        said = "500 The configuration can't be used\n  [sip] x: unknown\n  [log] level: \\x1b[1m\n"
        self.assertEqual(self.err.getvalue(), f"msrpgw-ctl: {said}")

    def test_check(self) -> None:
        self.answers["msrpgw:check_config"] = {"problems": []}
        self.assertIn("x.toml: nothing wrong", self.ok("check", "x.toml"))
        self.assertEqual(self.gateway.asked[0][1], {"file": os.path.abspath("x.toml")})
        self.answers["msrpgw:check_config"] = {"problems": ["a", "b"]}
        self.assertEqual(self.ctl("check", "/x"), Exit.BAD_NEWS)
        self.assertEqual(self.out.getvalue(), "a\nb\n")

    def test_any_command(self) -> None:
        self.answers["x"] = lambda params: params
        given = ("mi", "x", "a=1=2", "b=p", "b=q", "b=r", "method=", "self=s")
        params = {"a": "1=2", "b": ["p", "q", "r"], "method": "", "self": "s"}
        self.assertEqual(json.loads(self.ok(*given)), params)
        for bad in ("novalue", "=x", "a b=x"):
            self.assertIn("PARAM=VALUE", self.refused("mi", "x", bad))
        self.assertEqual(self.ctl("mi", "unknown"), Exit.REFUSED)


class AnswerTests(CtlCase):
    """Answers that are not of this version of the gateway."""

    def test_strange_answers(self) -> None:
        commands = {
            "msrpgw:status": ["status"],
            "msrpgw:list_sessions": ["sessions"],
            "msrpgw:show_session": ["show", "x"],
            "msrpgw:end_session": ["end", "x"],
            "msrpgw:journal_list": ["journal"],
            "msrpgw:message_fate": ["journal", "fate", "x"],
            "get_statistics": ["stats"],
            "msrpgw:drain": ["drain"],
            "msrpgw:reload": ["reload"],
            "msrpgw:check_config": ["check", "x"],
            "events_list": ["events"],
        }
        for method, command in commands.items():
            for answer in ("OK", 1, None, [1]):
                self.answers[method] = answer
                self.assertEqual(self.ctl(*command), Exit.BAD_ANSWER, (method, answer))

    def test_strange_values(self) -> None:
        # Fields are missing, or of another kind: shown as they are, never a traceback.
        strange: list[Any] = [
            None,
            "x",
            1e308,
            -1,
            [],
            {},
            [{"a": None}],
            {"a": {"b": []}},
            10**400,
        ]
        for value in strange:
            row = dict.fromkeys((*SESSION, "direction", "size", "expires_in", "last_error"), value)
            self.answers["msrpgw:list_sessions"] = {"Sessions": [row, {}], "next": None}
            self.ok("sessions")
            self.answers["msrpgw:journal_list"] = {"entries": [row, {}], "next": None}
            self.ok("journal")
            self.answers["msrpgw:show_session"] = row
            self.ok("show", "x")
            names = ("version", "uptime", "state", "sessions", "messages", "waiting")
            self.answers["msrpgw:status"] = dict.fromkeys((*names, "journal", "listeners"), value)
            self.ok("status")


class CommandLineTests(CtlCase):
    """What may be typed, and how the program ends."""

    def test_refused(self) -> None:
        for arguments in (
            [],
            ["unknown"],
            ["sessions", "--limit", "0"],
            ["sessions", "--limit", "x"],
            ["sessions", "--limit", "1", "--all"],
            ["sessions", "--state", "ended"],
            ["show"],
            ["show", "a", "b"],
            ["end"],
            ["journal", "retry"],
            ["journal", "eat", "x"],
            ["completion", "csh"],
            ["status", "--timeout", "0"],
            ["status", "--timeout", "nan"],
            ["status", "--timeout", "x"],
            ["stat"],
            ["--js", "status"],
        ):
            self.refused(*arguments)

    def test_help_has_the_exit_codes(self) -> None:
        words = make_parser().format_help()
        for code in Exit:
            self.assertIn(f"{code.value:<3}  {code.words}", words)

    def test_environment(self) -> None:
        self.answers["version"] = {"Server": "msrpgw"}
        environ = {"MSRPGW_CTL_URL": self.gateway.url, "MSRPGW_CTL_TOKEN": "secret"}
        self.ok("mi", "version", environ=environ)
        self.assertEqual(self.gateway.headers[-1]["Authorization"], "Bearer secret")
        file = self.directory() / "token"
        file.write_text("other\n")
        self.ok("mi", "version", "--token-file", str(file), environ=environ)
        self.assertEqual(self.gateway.headers[-1]["Authorization"], "Bearer other")
        for bad in ("", "two words", "b\u00e4d"):
            file.write_text(bad)
            self.assertEqual(self.ctl("--token-file", str(file), "status"), Exit.USAGE)
        self.assertEqual(self.ctl("--token-file", str(file) + "x", "status"), Exit.USAGE)

    def run_main(self, *arguments: str, out: Any) -> object:
        self.patch(sys, "stdout", out)
        with self.assertRaises(SystemExit) as caught:
            main(["--url", self.gateway.url, *arguments])
        return caught.exception.code

    def test_main(self) -> None:
        self.answers["version"] = {}
        out = io.StringIO()
        self.assertEqual(self.run_main("mi", "version", out=out), 0)
        self.assertEqual(out.getvalue(), "{}\n")

    def test_interrupted(self) -> None:
        self.answers["version"] = {}

        class Interrupted(io.StringIO):
            def write(self, text: str) -> int:
                raise KeyboardInterrupt

        self.assertEqual(self.run_main("mi", "version", out=Interrupted()), 130)

    def test_broken_pipe(self) -> None:
        self.answers["version"] = {}
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w", encoding="ascii") as out:
            self.assertEqual(self.run_main("mi", "version", out=out), 141)

    def test_letters_that_the_terminal_lacks(self) -> None:
        self.answers["msrpgw:send_message"] = {"status": 200, "reason": "\u2713"}
        file = self.directory() / "out"
        with file.open("w", encoding="ascii") as out:
            given = ("send", "--from", "sip:a@x", "--to", "sip:b@y", "x")
            self.assertEqual(self.run_main(*given, out=out), 0)
        self.assertEqual(file.read_text(), "200 \\u2713\n")
