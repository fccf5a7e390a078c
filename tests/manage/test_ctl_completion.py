"""Completion scripts: complete, and understood by bash as they are meant."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from msrpgw.manage.ctl.arguments import SHELLS, make_parser
from msrpgw.manage.ctl.completion import script
from tests.manage.ctl_support import SESSION, CtlCase

ROOT = Path(__file__).resolve().parent.parent.parent
BASH = shutil.which("bash")

#: What bash hands a completion function: the line, where it has cut it, and the word at the cursor.
_ASK = r"""
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=("${@:3}") COMP_CWORD=$(($# - 3))
_msrpgw_ctl msrpgw-ctl
printf '%s\n' "${COMPREPLY[@]}"
"""


class ScriptTests(CtlCase):
    """Of every shell."""

    def test_everything_is_there(self) -> None:
        words = ("sessions", "journal", "retry", "setting_up", "token-file", "no-color", "fish")
        for shell in SHELLS:
            made = self.ok("completion", shell)
            for word in words:
                self.assertIn(word, made, shell)
            self.assertNotRegex(made, "@[A-Z]+@")
        self.assertEqual(self.gateway.asked, [])

    def test_syntax(self) -> None:
        checked = 0
        for shell in SHELLS:
            path = shutil.which(shell)
            if path is not None:
                given = script(shell, make_parser())
                done = subprocess.run([path, "-n"], input=given, text=True, capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), shell)
                checked += 1
        if not checked:
            self.skipTest("no shell here")


class BashTests(CtlCase):
    """Words as bash completes them."""

    if BASH is None:
        skip = "no bash here"

    def setUp(self) -> None:
        super().setUp()
        self.place = self.directory()
        (self.place / "script").write_text(script("bash", make_parser()))
        command = self.place / "msrpgw-ctl"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m msrpgw.manage.ctl "$@"\n')
        command.chmod(0o755)

    def complete(self, line: str, *words: str) -> list[str]:
        """What is offered; ``words`` when bash cuts elsewhere than at spaces."""
        assert BASH is not None
        environ = {
            **os.environ,
            "PATH": f"{self.place}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MSRPGW_CTL_URL": self.gateway.url,
        }
        given = words or line.split(" ")
        done = subprocess.run(
            [BASH, "-c", _ASK, "bash", str(self.place / "script"), line, *given],
            text=True,
            capture_output=True,
            env=environ,
            check=True,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1]

    def test_words(self) -> None:
        for line, offered in (
            ("msrpgw-ctl sta", ["status", "stats"]),
            ("msrpgw-ctl --url x --json sta", ["status", "stats"]),
            ("msrpgw-ctl journal ", ["list", "retry", "drop", "fate"]),
            ("msrpgw-ctl journal list --a", ["--all"]),
            ("msrpgw-ctl sessions --state ", ["setting_up", "up", "moving"]),
            ("msrpgw-ctl completion z", ["zsh"]),
            ("msrpgw-ctl drain --w", ["--wait"]),
            ("msrpgw-ctl --cert", ["--certificate"]),
            ("msrpgw-ctl --timeout ", [""]),
            ("msrpgw-ctl sessions --key ", [""]),
            (f"msrpgw-ctl check {self.place}/sc", [f"{self.place}/script"]),
            (f"msrpgw-ctl --ca {self.place}/sc", [f"{self.place}/script"]),
        ):
            self.assertEqual(self.complete(line), offered, line)
        self.assertEqual(self.gateway.asked, [])

    def test_keys(self) -> None:
        key = "sip:a@x|sip:b@y"
        rows = {"Sessions": [{**SESSION, "key": key}], "next": None}
        self.answers["msrpgw:list_sessions"] = rows
        self.assertEqual(self.complete("msrpgw-ctl show "), [r"sip:a@x\|sip:b@y"])
        # After a colon bash keeps what stands before it.
        cut = self.complete("msrpgw-ctl end sip:a", "msrpgw-ctl", "end", "sip", ":", "a")
        self.assertEqual(cut, [r"a@x\|sip:b@y"])
        cut = self.complete("msrpgw-ctl end sip:", "msrpgw-ctl", "end", "sip", ":")
        self.assertEqual(cut, [r"a@x\|sip:b@y"])
        cut = self.complete(
            r"msrpgw-ctl end sip:a@x\|", "msrpgw-ctl", "end", "sip", ":", "a", "@", r"x\|"
        )
        self.assertEqual(cut, [r"x\|sip:b@y"])
        patterns = [params["pattern"] for _, params in self.gateway.asked]
        self.assertEqual(patterns, ["*", "sip:a*", "sip:*", "sip:a@x|*"])

    def test_another_gateway(self) -> None:
        line = f"msrpgw-ctl --url {self.gateway.url}/elsewhere show "
        self.answers["msrpgw:list_sessions"] = {"Sessions": [], "next": None}
        self.complete(line)
        self.assertEqual(self.gateway.paths, ["/elsewhere"])
        self.assertEqual(json.loads(self.ok("sessions", "--json"))["Sessions"], [])
