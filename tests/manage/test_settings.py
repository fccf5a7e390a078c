"""What can't be configured for management."""

import os

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.settings import ManageSettings, find_problems, parse_place, read_token


class SettingsTests(SynchronousTestCase):
    """Each key with what is wrong."""

    def token(self, text: bytes = b"0123456789abcdef\n", mode: int = 0o600) -> str:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def check(self, key: str, text: str, **settings: object) -> None:
        problems = list(find_problems(ManageSettings(**settings)))  # type: ignore[arg-type]
        self.assertEqual([each for each, _ in problems], [key])
        self.assertIn(text, problems[0][1])

    def test_good(self) -> None:
        for settings in (
            ManageSettings(),
            ManageSettings(http=("127.0.0.1:8888", "[::1]:8888", "unix:/run/x")),
            ManageSettings(http=("192.0.2.1:8888",), token_file=self.token()),
            ManageSettings(datagram="127.0.0.1:8080", fifo="/run/fifo"),
        ):
            self.assertEqual(list(find_problems(settings)), [])

    def test_off_loopback(self) -> None:
        for place in ("192.0.2.1:8888", "0.0.0.0:8888", "[::]:8888"):
            self.check("http", "off loopback: that needs token_file", http=(place,))
            self.check("datagram", "must be on loopback", datagram=place)

    def test_places(self) -> None:
        for place in ("8888", "localhost:8888", "127.0.0.1:x", "::1:8888", "127.0.0.1:99999"):
            self.check("http", repr(place), http=(place,))
        self.check("http", "must be absolute", http=("unix:x",))
        self.check("datagram", "must read ADDRESS:PORT", datagram="unix:/x")
        self.check("fifo", "must be absolute", fifo="fifo")
        self.assertEqual(parse_place("[::1]:9").host, "::1")

    def test_token(self) -> None:
        self.assertEqual(read_token(self.token()), b"0123456789abcdef")
        for path, text in (
            (self.token(mode=0o640), "can be read by others"),
            (self.token(b"short"), "at least 16 characters"),
            (self.token(b"two words are no token"), "at least 16 characters"),
            ("/nowhere", "No such file"),
        ):
            self.check("token_file", text, token_file=path)
