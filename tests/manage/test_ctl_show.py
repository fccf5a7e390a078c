"""What people see: tables at fixed widths, values in words, peers' text escaped."""

import io
import os
from typing import Any

from rich.table import Table
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.ctl import show, words
from tests.manage.ctl_support import SESSION

HOSTILE = {
    **SESSION,
    "key": "[bold]x[/] :smile: \x1b[2J\u202e",
    "state": "setting_up",
    "msrp_uri": "sip:" + "b" * 60 + "@example.net",
    "called": False,
    "age": 358_200,
    "queued": 12,
}
ENTRY = {
    "id": "m17",
    "number": 17,
    "direction": "to_msrp",
    "key": "k",
    "from": "sip:alice@example.com",
    "to": "sip:bob@example.net",
    "content_type": "text/plain",
    "size": 1536,
    "age": 75,
    "expires_in": None,
    "attempts": 3,
}
STATUS: dict[str, Any] = {
    "version": "1.2",
    "uptime": 93784.2,
    "state": "running",
    "sessions": {"total": 3, "setting_up": 1, "up": 2, "moving": 0},
    "messages": {
        "to_msrp": {"delivered": 10, "failed": 1},
        "to_page": {"delivered": 5, "failed": 0},
    },
    "waiting": 2,
    "journal": {"backend": "sqlite", "healthy": True, "entries": 1, "bytes": 2048, "oldest": 12.5},
    "listeners": {"sip": ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"], "msrp": "127.0.0.1:2855"},
    "pid": 7,
}

SESSIONS_120 = r"""
KEY                     STATE       MSRP USER                PAGE USER              CALL        AGE  IDLE  QUEUED  PAGES
sip:alice@example.com|  up          sip:bob@example.net      sip:alice@example.com  out   2 h 5 min   4 s       0      2
sip:bob@example.net
[bold]x[/] :smile:      setting_up  sip:bbbbbbbbbbbbbbbbbb…  sip:alice@example.com  in      4 d 3 h   4 s      12      2
\x1b[2J\u202e
"""  # noqa: E501

SESSIONS_60 = r"""
KEY            STATE       MSRP USER             AGE  QUEUED
sip:alice@exa  up          sip:bob@examp…  2 h 5 min       0
mple.com|sip:
bob@example.n
et
[bold]x[/]     setting_up  sip:bbbbbbbbb…    4 d 3 h      12
:smile:
\x1b[2J\u202e
"""

JOURNAL_80 = r"""
ID   TO    SENDER         RECEIVER           SIZE         AGE  EXPIRES IN  TRIES
m17  msrp  sip:alice@ex…  sip:bob@examp…  1.5 KiB  1 min 15 s           -      3
m18  page  sip:alice@ex…  sip:bob@examp…  1.5 KiB  1 min 15 s           -      3
"""

STATUS_80 = """
msrpgw    1.2, up for 1 d 2 h
state     running
sessions  3 (setting up 1, up 2, moving 0)
to msrp   delivered 10, failed 1
to page   delivered 5, failed 0
waiting   2
journal   sqlite, healthy; 1 message, 2.0 KiB, the oldest of 12 s ago
sip on    udp:127.0.0.1:5060, tcp:127.0.0.1:5060
msrp on   127.0.0.1:2855
pid       7
"""

DETAILS_40 = r"""
key             a|b
state           up
age             2 h 5 min
dialog
  call id       [red]c\x07
  routes        -
msrp
  path          msrp://xxxxxxxxxxxxxxxxx
                xxxxxxxxxxxxx
  behind relay  no
  accept types  text/plain, *
counters
  to msrp
    delivered   3
    bytes       4.0 KiB
  to page
    delivered   1
    bytes       10 B
last error      -
"""


def printed(shown: Any, width: int, *, color: bool = False, terminal: bool = False) -> str:
    """What is written."""

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    out = Screen()
    show.write(show.make_console(out, color=color, width=width), shown)
    return out.getvalue()


class TableTests(SynchronousTestCase):
    """Golden tables."""

    def sessions(self, width: int) -> Table:
        return show.table(show.SESSIONS, [SESSION, HOSTILE], width)

    def test_sessions(self) -> None:
        for width, golden in ((120, SESSIONS_120), (60, SESSIONS_60)):
            self.assertEqual("\n" + printed(self.sessions(width), width), golden)

    def test_nothing_is_wider_than_the_screen(self) -> None:
        for width in range(50, 200):
            for line in printed(self.sessions(width), width).splitlines():
                self.assertLessEqual(len(line), width)

    def test_wide_letters(self) -> None:
        rows = [{**SESSION, "key": "\u6f22\u5b57" * 20}, SESSION]
        shown = printed(show.table(show.SESSIONS, rows, 90), 90)
        self.assertEqual(shown.count("\u6f22"), 20)

    def test_journal(self) -> None:
        rows = [ENTRY, {**ENTRY, "id": "m18", "direction": "to_page", "content_type": "text/\x07x"}]
        self.assertEqual("\n" + printed(show.table(show.JOURNAL, rows, 80), 80), JOURNAL_80)
        self.assertIn(r"text/\x07x", printed(show.table(show.JOURNAL, rows, 120), 120))

    def test_pipes_cut_nothing(self) -> None:
        out = io.StringIO()
        console = show.make_console(out, color=True)
        show.write(console, show.table(show.SESSIONS, [HOSTILE], console.width))
        self.assertIn(HOSTILE["msrp_uri"], out.getvalue())
        self.assertNotIn("\x1b", out.getvalue())

    def test_status(self) -> None:
        self.assertEqual("\n" + printed(show.status(STATUS), 80), STATUS_80)
        journal = {**STATUS["journal"], "healthy": False}
        self.assertIn("CAN'T WRITE", printed(show.status({**STATUS, "journal": journal}), 80))

    def test_details(self) -> None:
        fields = {
            "key": "a|b",
            "state": "up",
            "age": 7512.25,
            "dialog": {"call_id": "[red]c\x07", "routes": []},
            "msrp": {
                "path": "msrp://" + "x" * 30,
                "behind_relay": False,
                "accept_types": ["text/plain", "*"],
            },
            "counters": {
                "to_msrp": {"delivered": 3, "bytes": 4096},
                "to_page": {"delivered": 1, "bytes": 10},
            },
            "last_error": None,
        }
        self.assertEqual("\n" + printed(show.details(fields), 40), DETAILS_40)

    def test_colors(self) -> None:
        self.patch(os, "environ", {"TERM": "xterm"})
        shown = self.sessions(120)
        self.assertIn("\x1b[32mup", printed(shown, 120, color=True, terminal=True))
        self.assertNotIn("\x1b", printed(shown, 120, color=False, terminal=True))

    def test_event(self) -> None:
        line = show.event("E\x1b", {"a\n": "b\r c", "q": 'say "x" now'}, "12:00:00")
        shown = r'12:00:00 E\x1b a\n="b\r c" q="say \"x\" now"'
        self.assertEqual(printed(line, 20), shown + "\n")


class WordTests(SynchronousTestCase):
    """Values in words."""

    def test_plain(self) -> None:
        for text, shown in (
            ("a b", "a b"),
            ("\u6f22\u00e4", "\u6f22\u00e4"),
            ("\x1b[31m\r\n\x00", r"\x1b[31m\r\n\x00"),
            ("\x9b\x7f", r"\x9b\x7f"),
            ("\u202e\u2028\ud800", r"\u202e\u2028\ud800"),
            (12, "12"),
        ):
            self.assertEqual(words.plain(text), shown)

    def test_ages(self) -> None:
        for seconds, shown in (
            (None, "-"),
            (0, "0 s"),
            (0.01, "0 s"),
            (0.44, "0.4 s"),
            (59.9, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (7500, "2 h 5 min"),
            (86_400, "1 d"),
            (358_200, "4 d 3 h"),
            (-5, "-5 s"),
            (float("inf"), "inf"),
            ("x\x07", r"x\x07"),
            (True, "True"),
        ):
            self.assertEqual(words.age(seconds), shown)

    def test_sizes(self) -> None:
        for size, shown in (
            (None, "-"),
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (268_435_456, "256.0 MiB"),
            (2**40, "1024.0 GiB"),
            ("x", "x"),
        ):
            self.assertEqual(words.size(size), shown)

    def test_words(self) -> None:
        for value, shown in (
            (None, "-"),
            ("", "-"),
            (True, "yes"),
            (False, "no"),
            ([], "-"),
            (["a", None, "\x07"], r"a, -, \x07"),
            ({"a_b": 1, "\x07": [2]}, r"a b 1, \x07 2"),
        ):
            self.assertEqual(words.word(value), shown)
