"""The users file, and what makes its lines."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth.digest import make_ha1
from msrpgw.auth.users import Users, read_users

MD5 = "0" * 32
SHA = "a" * 64


class UsersTests(SynchronousTestCase):
    def read(self, text: str | bytes) -> Users:
        path = Path(self.mktemp())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_users(str(path))

    def test_good(self) -> None:
        users = self.read(
            "# ours\n\n"
            f"alice:example.com:SHA-256:{SHA}\n"
            f"alice:example.com:MD5:{MD5}:sip:a@example.com, sip:+1@example.com\n"
        )
        self.assertEqual(len(users), 1)
        alice = users.lookup("alice", "example.com")
        assert alice is not None
        self.assertEqual(alice.ha1, {"SHA-256": SHA, "MD5": MD5})
        self.assertEqual(alice.uris, ("sip:a@example.com", "sip:+1@example.com"))
        self.assertIsNone(users.lookup("alice", "example.net"))
        self.assertIsNone(users.lookup("bob", "example.com"))

    def test_bad(self) -> None:
        for line, problem in (
            ("alice", "must read USER:REALM:ALGORITHM:HA1"),
            (f"alice:r:SHA-1:{SHA}", "unknown algorithm"),
            ("alice:r:SHA-256:secret", "HA1 must be 64 digits"),
            (f"alice:r:MD5:{SHA}", "HA1 must be 32 digits"),
            (f"alice:r:SHA-256:{SHA.upper()}", "HA1 must be 64 digits"),
            (f":r:SHA-256:{SHA}", "HA1 must be"),
            (f"alice:r:MD5:{MD5}\nalice:r:MD5:{MD5}", "once more"),
        ):
            with self.assertRaisesRegex(ValueError, f"line [12]: .*{problem}") as caught:
                self.read(line)
            self.assertNotIn("secret", str(caught.exception))

    def test_unreadable(self) -> None:
        with self.assertRaisesRegex(ValueError, "No such file"):
            read_users("/nowhere/users")
        with self.assertRaisesRegex(ValueError, "no UTF-8"):
            self.read(b"\xff")

    def test_made_by_the_command(self) -> None:
        made = subprocess.run(
            [sys.executable, "-m", "msrpgw.auth", "alice", "example.com"],
            input="secret\n",
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        alice = self.read(made).lookup("alice", "example.com")
        assert alice is not None
        for algorithm, ha1 in alice.ha1.items():
            self.assertEqual(ha1, make_ha1(algorithm, "alice", "example.com", "secret"))
        self.assertEqual(len(alice.ha1), 3)
