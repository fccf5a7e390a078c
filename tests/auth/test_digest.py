"""Digest: the RFCs' examples, what others write, and what must not be written."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth.digest import (
    Challenge,
    answer_challenge,
    make_ha1,
    make_response,
    parse_challenge,
    parse_parameters,
    render_challenge,
)
from msrpgw.errors import RenderError

MUFASA = ("Mufasa", "http-auth@example.org", "Circle of Life")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


class SumTests(SynchronousTestCase):
    """Against sums that others made."""

    def test_rfc_7616(self) -> None:
        """§3.9.1."""
        for algorithm, expected in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ):
            ha1 = make_ha1(algorithm, *MUFASA)
            found = make_response(
                algorithm, ha1, "GET", "/dir/index.html", NONCE, "00000001", CNONCE
            )
            self.assertEqual(found, expected)

    def test_rfc_2617(self) -> None:
        """§3.5, and without qop."""
        ha1 = make_ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
        self.assertEqual(ha1, "939e7578ed9e3c518a452acee763bce9")
        nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
        arguments = ("MD5", ha1, "GET", "/dir/index.html", nonce)
        self.assertEqual(
            make_response(*arguments, "00000001", "0a4f113b"), "6629fae49393a05397450978507c4ef1"
        )
        self.assertEqual(make_response(*arguments), "670fd8c2df070c60b045671b8b24ff02")


class ChallengeTests(SynchronousTestCase):
    """What is asked for."""

    def test_read(self) -> None:
        for text, expected in (
            ('Digest realm="a", nonce="b"', Challenge("a", "b")),
            (
                'digest  REALM="a" ,nonce="b\\"\\\\c",qop="auth-int, AUTH",algorithm=sha-256,'
                ' stale=TRUE, opaque="", x=y',
                Challenge("a", 'b"\\c', "SHA-256", True, "", True),
            ),
            ('Digest nonce=b, realm="a, b", qop=auth', Challenge("a, b", "b", "MD5", True)),
            (
                'Digest realm="a",nonce="b",algorithm="SHA-512-256"',
                Challenge("a", "b", "SHA-512-256"),
            ),
        ):
            self.assertEqual(parse_challenge(text), expected, text)

    def test_not_for_us(self) -> None:
        for text in (
            "",
            "Digest",
            'Basic realm="a"',
            'Digest realm="a"',
            'Digest nonce="b"',
            'Digest realm="a", nonce="b", algorithm=SHA-1',
            'Digest realm="a", nonce="b", algorithm=MD5-sess',
            'Digest realm="a", nonce="b", qop="auth-int"',
            'Digest realm="a" nonce="b"',
            'Digest realm="a, nonce="b"',
            "Digest " + ", ".join(f"a{n}=b" for n in range(100)),
        ):
            self.assertIsNone(parse_challenge(text), text)

    def test_written(self) -> None:
        for challenge in (
            Challenge("example.com", "abc", "SHA-256", True),
            Challenge('a"b\\c', "abc", "MD5", True, None, True),
        ):
            self.assertEqual(parse_challenge(render_challenge(challenge)), challenge)
        self.assertEqual(
            render_challenge(Challenge("example.com", "abc", "SHA-256", True, None, True)),
            'Digest realm="example.com", nonce="abc", stale=true, algorithm=SHA-256, qop="auth"',
        )

    def test_answer(self) -> None:
        """RFC 7616 §3.9.1 as a whole."""
        challenge = Challenge(MUFASA[1], NONCE, "SHA-256", True, "opaque")
        value = answer_challenge(
            challenge, MUFASA[0], MUFASA[2], "GET", "/dir/index.html", count=1, cnonce=CNONCE
        )
        self.assertEqual(
            value,
            f'Digest username="Mufasa", realm="http-auth@example.org", nonce="{NONCE}",'
            ' uri="/dir/index.html",'
            ' response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",'
            f' algorithm=SHA-256, opaque="opaque", cnonce="{CNONCE}", qop=auth, nc=00000001',
        )

    def test_old_answer(self) -> None:
        """Without qop there are no counts; and an MSRP relay that does not bear uri."""
        challenge = Challenge("r", "n")
        found = parse_parameters(
            answer_challenge(
                challenge, "u", "p", "AUTH", "msrps://r;tcp", count=1, cnonce="c", names_uri=False
            )
        )
        self.assertEqual(set(found), {"username", "realm", "nonce", "response", "algorithm"})

    def test_no_second_header(self) -> None:
        for text in ("a\r\nX: y", "a\n", "a\0", "a\x7f"):
            with self.assertRaises(RenderError):
                render_challenge(Challenge(text, "n"))
            with self.assertRaises(RenderError):
                answer_challenge(
                    Challenge("r", "n", opaque=text), "u", "p", "M", "sip:x", count=1, cnonce="c"
                )
