"""``a=fingerprint`` (RFC 4572 §5)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.tls.fingerprints import (
    Fingerprint,
    make_fingerprint,
    matches,
    parse_fingerprint,
    usable,
)


class FingerprintTests(SynchronousTestCase):
    """Pure."""

    def test_made_as_openssl_makes_it(self) -> None:
        made = make_fingerprint(b"abc")
        self.assertEqual(
            made.render(),
            "sha-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23"
            ":B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD",
        )
        self.assertEqual(parse_fingerprint(made.render()), made)

    def test_read_as_others_write_it(self) -> None:
        self.assertEqual(parse_fingerprint(" SHA-1  ab:CD "), Fingerprint("sha-1", b"\xab\xcd"))

    def test_what_is_none(self) -> None:
        for text in (
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 AB:C",
            "sha-256 ABCD",
            "sha-256 AB:",
            "x y",
        ):
            self.assertIsNone(parse_fingerprint(text), text)

    def test_the_strongest_counts(self) -> None:
        weak, good, best = (Fingerprint(each, b"1") for each in ("sha-1", "sha-256", "sha-512"))
        other = Fingerprint("sha-512", b"2")
        self.assertEqual(usable((weak, good, best, other), sha1=True), (best, other))
        self.assertEqual(usable((weak, good), sha1=True), (good,))
        self.assertEqual(usable((weak,), sha1=True), (weak,))
        self.assertEqual(usable((weak,), sha1=False), ())
        self.assertEqual(usable((Fingerprint("md5", b"1"),), sha1=True), ())

    def test_matches(self) -> None:
        right, wrong = make_fingerprint(b"right"), make_fingerprint(b"wrong")
        self.assertTrue(matches((wrong, right), b"right"))
        self.assertFalse(matches((wrong,), b"right"))
        self.assertFalse(matches((Fingerprint("sha-256", right.digest[:4]),), b"right"))
        self.assertFalse(matches((), b"right"))
