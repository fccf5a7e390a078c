"""Our own certificates: what is wrong with files is said before anything listens."""

import datetime
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.config import load
from msrpgw.errors import ConfigError
from msrpgw.tls.contexts import Tls, find_problems
from msrpgw.tls.settings import TlsSettings
from tests.support import LogLines
from tests.tls.authority import CA, NOW, issue


class ProblemTests(SynchronousTestCase):
    """Each names the key and the file."""

    def write(self, data: bytes) -> str:
        """A file."""
        path = self.mktemp()
        Path(path).write_bytes(data)
        return path

    def assertProblem(self, key: str, words: str, **settings: object) -> None:
        found = find_problems(TlsSettings(**settings), NOW)  # type: ignore[arg-type]
        self.assertEqual([each[0] for each in found], [key], found)
        self.assertIn(words, found[0][1])

    def test_good(self) -> None:
        one, two = (issue(name, issuer=CA) for name in ("a.example", "b.example"))
        both = self.write(one.pem + CA.pem + one.key_pem())
        apart = (self.write(two.pem), self.write(two.key_pem()))
        self.assertEqual(find_problems(TlsSettings(certificate=(both,)), NOW), [])
        settings = TlsSettings(
            certificate=(both, apart[0]), private_key=(both, apart[1]), ca_file=both
        )
        self.assertEqual(find_problems(settings, NOW), [])

    def test_files(self) -> None:
        good, empty = issue("a.example").write(self.mktemp()), self.write(b"")
        self.assertProblem("certificate", "No such file", certificate=("nowhere",))
        self.assertProblem("certificate", "holds no certificate in PEM", certificate=(empty,))
        self.assertProblem("ca_file", "holds no certificate in PEM", ca_file=empty)
        self.assertProblem(
            "private_key", "holds no private key", certificate=(good,), private_key=(empty,)
        )
        self.assertProblem(
            "private_key",
            "must name as many files as certificate, 1, or none",
            certificate=(good,),
            private_key=(good, good),
        )
        self.assertProblem("ciphers", "names no cipher that OpenSSL has", ciphers="NONE")

    def test_keys(self) -> None:
        one, two = issue("a.example"), issue("b.example")
        other, locked = self.write(two.key_pem()), self.write(one.key_pem(b"secret"))
        own = (self.write(one.pem),)
        self.assertProblem(
            "private_key", "is not the key of", certificate=own, private_key=(other,)
        )
        self.assertProblem(
            "private_key", "the key is encrypted", certificate=own, private_key=(locked,)
        )

    def test_dates(self) -> None:
        for made, words in (
            (issue("a.example", expired=True), "has expired on 2002-01-01"),
            (issue("a.example", later=True), "is not valid before 2098-01-01"),
        ):
            self.assertProblem("certificate", words, certificate=(made.write(self.mktemp()),))

    def test_the_configuration_says_it(self) -> None:
        path = self.write(b'[tls]\ncertificate = ["nowhere"]\n[sip]\nlisten = ["tls:127.0.0.1:0"]')
        with self.assertRaises(ConfigError) as caught:
            load(path)
        self.assertEqual(
            caught.exception.problems,
            [f"{path}: [tls] certificate: 'nowhere': No such file or directory"],
        )

    def test_the_one_for_msrps(self) -> None:
        """Its fingerprint is promised, so all MSRPS connections show it."""
        made = [issue(name) for name in ("a.example", "b.example", "*.example")]
        files = tuple(each.write(self.mktemp()) for each in made)
        for host, index in (("b.example", 1), ("B.Example", 1), ("c.example", 0), ("", 0)):
            tls = Tls(TlsSettings(certificate=files), host=host, now=NOW.timestamp)
            own = tls.msrps_certificate
            assert own is not None
            self.assertEqual(own.fingerprint, made[index].fingerprint, host)
        self.assertIsNone(Tls(TlsSettings(), now=NOW.timestamp).msrps_certificate)

    def test_the_end_is_near(self) -> None:
        """Said at the start, two weeks before."""
        until = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
        path = issue("a.example").write(self.mktemp())
        for days, lines in ((20, 1), (13, 2)):
            log = LogLines(self, "msrpgw.tls")
            now = (until - datetime.timedelta(days=days, hours=1)).timestamp()
            Tls(TlsSettings(certificate=(path,)), now=partial(float, now))
            self.assertEqual(len(log.lines), lines)
        self.assertIn("ends in 13 days: renew it, then reload", log.lines[0])

    def test_dates_are_those_of_today(self) -> None:
        today = datetime.datetime.now(datetime.UTC)
        path = issue("a.example").write(self.mktemp())
        self.assertEqual(find_problems(TlsSettings(certificate=(path,))), [])
        self.assertLess(today.year, 2099)
