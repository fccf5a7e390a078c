"""hosts(5) and resolv.conf(5), and what the configuration says."""

import os

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.files import ResolvConf, WatchedFile, parse_hosts, parse_resolv_conf
from msrpgw.dns.settings import DnsSettings, find_problems, parse_server


class FileTests(SynchronousTestCase):
    """The two files."""

    def test_hosts(self) -> None:
        """Names in any case, several addresses, comments, and nonsense."""
        text = "127.0.0.1\tLocalhost l # x\n::1 localhost\nbad name\n10.0.0.1\n#10.0.0.2 y\n\n"
        self.assertEqual(
            parse_hosts(text), {"localhost": ("127.0.0.1", "::1"), "l": ("127.0.0.1",)}
        )

    def test_resolv_conf(self) -> None:
        """Three servers at most; the last search list; ndots."""
        text = (
            "# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bad\nnameserver\n"
            "nameserver ::1\nnameserver 10.0.0.4\ndomain a.example\nsearch B.example. c.example\n"
            "options timeout:1 ndots:5 ndots:x\n"
        )
        servers = (("10.0.0.1", 53), ("fe80::1", 53), ("::1", 53))
        self.assertEqual(
            parse_resolv_conf(text), ResolvConf(servers, ("b.example", "c.example"), 5)
        )
        self.assertEqual(parse_resolv_conf(""), ResolvConf((("127.0.0.1", 53),), (), 1))

    def test_watched(self) -> None:
        """A file that comes, changes and goes."""
        path = self.mktemp()
        file = WatchedFile(path, str.split)
        self.assertEqual(file.read(), [])
        for text in ("a b", "c"):
            with open(path, "w", encoding="ascii") as out:
                out.write(text)
            self.assertEqual(file.read(), text.split())
        os.unlink(path)
        self.assertEqual(file.read(), [])
        self.assertEqual(WatchedFile("a\0b", str.split).read(), [])
        os.mkdir(path)
        self.assertEqual(WatchedFile(path, str.split).read(), [])


class SettingsTests(SynchronousTestCase):
    """``[dns]``."""

    def test_servers(self) -> None:
        for text, wanted in (
            ("10.0.0.1", ("10.0.0.1", 53)),
            ("10.0.0.1:5353", ("10.0.0.1", 5353)),
            ("::1", ("::1", 53)),
            ("[::1]", ("::1", 53)),
            ("[::1]:5353", ("::1", 5353)),
        ):
            self.assertEqual(parse_server(text), wanted)
        for text in ("", "ns.example", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:x", "[::1", "[::1]x"):
            with self.assertRaises(ValueError):
                parse_server(text)

    def test_problems(self) -> None:
        self.assertEqual(list(find_problems(DnsSettings())), [])
        bad = DnsSettings(servers=("ns.example",), timeout=0.0)
        self.assertEqual([key for key, _ in find_problems(bad)], ["servers", "timeout"])
