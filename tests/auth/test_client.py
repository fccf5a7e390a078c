"""Answers to those who ask us."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth import client
from msrpgw.auth.client import Keyring, Secret
from msrpgw.auth.digest import parse_parameters
from tests.support import CountingRandom

HOP = ("192.0.2.1", 5060)
WWW = "Authorization"
PROXY = "Proxy-Authorization"


def challenge(realm: str = "example.com", nonce: str = "n", more: str = ', qop="auth"') -> str:
    """A header value."""
    return f'Digest realm="{realm}", nonce="{nonce}"{more}'


class KeyringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.keyring = Keyring(
            {"example.com": Secret("gw", "secret"), "proxy": Secret("gw2", "other")},
            CountingRandom("client"),
        )

    def headers(self, hop: tuple[str, int] = HOP) -> dict[str, dict[str, str]]:
        found = self.keyring.headers(hop, "MESSAGE", "sip:bob@example.com")
        return {name: parse_parameters(value) for name, value in found}

    def test_nobody_asked(self) -> None:
        self.assertEqual(self.headers(), {})

    def test_answered(self) -> None:
        """And sent with each request from then on, counted."""
        met = self.keyring.challenged(HOP, [(WWW, challenge())], ())
        self.assertEqual(met, ["example.com"])
        for count in ("00000001", "00000002"):
            found = self.headers()[WWW]
            self.assertEqual((found["username"], found["nc"]), ("gw", count))
        self.assertEqual(self.headers(("192.0.2.2", 5060)), {})

    def test_both_at_once(self) -> None:
        """RFC 3261 §22.3: a proxy on the way and the user agent server."""
        values = [(PROXY, challenge("proxy")), (WWW, challenge())]
        self.assertEqual(self.keyring.challenged(HOP, values, ()), ["proxy", "example.com"])
        self.assertEqual(set(self.headers()), {WWW, PROXY})

    def test_one_after_the_other(self) -> None:
        self.keyring.challenged(HOP, [(PROXY, challenge("proxy"))], ())
        self.assertEqual(
            self.keyring.challenged(HOP, [(WWW, challenge())], ("proxy",)), ["example.com"]
        )
        self.assertEqual(set(self.headers()), {WWW, PROXY})

    def test_preferred(self) -> None:
        """RFC 8760 §2.4: the first that we know."""
        more = ', qop="auth", algorithm='
        values = [(WWW, challenge(more=more + each)) for each in ("X", "SHA-256", "MD5")]
        self.keyring.challenged(HOP, values, ())
        self.assertEqual(self.headers()[WWW]["algorithm"], "SHA-256")

    def test_no_use(self) -> None:
        """Somebody else's realm; what can't be read; a password that was wrong."""
        for values in (
            [(WWW, challenge("elsewhere"))],
            [(WWW, "Basic x")],
            [],
        ):
            self.assertEqual(self.keyring.challenged(HOP, values, ()), [])
        self.assertEqual(
            self.keyring.challenged(HOP, [(WWW, challenge(nonce="2"))], ("example.com",)), []
        )

    def test_stale(self) -> None:
        """Then it was right, and is answered with the new nonce."""
        stale = challenge(nonce="2", more=', qop="auth", stale=true')
        self.assertEqual(
            self.keyring.challenged(HOP, [(WWW, stale)], ("example.com",)), ["example.com"]
        )
        self.assertEqual(self.headers()[WWW]["nonce"], "2")

    def test_bounded(self) -> None:
        self.patch(client, "_REMEMBERED", 5)
        for port in range(20):
            self.keyring.challenged(("192.0.2.1", port), [(WWW, challenge())], ())
        self.assertEqual(len(self.keyring._known), 5)

    def test_other_passwords(self) -> None:
        self.keyring.challenged(HOP, [(WWW, challenge())], ())
        self.keyring.configure({})
        self.assertEqual(self.headers(), {})
        self.assertEqual(self.keyring.challenged(HOP, [(WWW, challenge())], ()), [])
