"""Whom a certificate names (RFC 5922 §7.1, §7.2)."""

from random import Random

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.tls.names import Names, is_address, names_of
from tests.tls.authority import Issued, issue


def names(*dns: str, **more: object) -> Names:
    """Of a new certificate."""
    made: Issued = issue(*dns, **more)  # type: ignore[arg-type]
    return names_of(made.certificate)


class FindingTests(SynchronousTestCase):
    """§7.1: what counts as a SIP domain identity."""

    def test_sip_uris_come_before_dns_names(self) -> None:
        found = names("host.example.com", uris=("SIP:Example.com",))
        self.assertEqual(found.sip_domains, {"example.com"})
        self.assertTrue(found.covers_sip("EXAMPLE.com."))
        self.assertFalse(found.covers_sip("host.example.com"))
        self.assertTrue(found.covers_host("host.example.com"))
        self.assertFalse(found.covers_host("example.com"))

    def test_dns_names_without_sip_uris(self) -> None:
        found = names("a.example", "B.example", uris=("https://c.example",))
        self.assertEqual(found.sip_domains, {"a.example", "b.example"})

    def test_uris_that_do_not_count(self) -> None:
        for uri in ("sips:example.com", "sip:bob@example.com", "example.com", "sip:"):
            self.assertEqual(names(uris=(uri,)).sip_domains, frozenset(), uri)

    def test_uri_with_port_and_parameters(self) -> None:
        self.assertEqual(
            names(uris=("sip:a.example:5061;transport=tls",)).sip_domains, {"a.example"}
        )
        self.assertTrue(names(uris=("sip:[2001:db8::1]:5061",)).covers_sip("[2001:DB8::1]"))

    def test_common_name_only_without_alternatives(self) -> None:
        self.assertEqual(names(common_name="A.example").sip_domains, {"a.example"})
        found = names("b.example", common_name="a.example")
        self.assertFalse(found.covers_sip("a.example"))
        # There are alternatives, even if none of them is of use.
        self.assertFalse(names(ips=("192.0.2.1",), common_name="a.example").covers_sip("a.example"))

    def test_a_person_is_no_host(self) -> None:
        for text in ("Alice", "Alice B. Example", "a\nb.example"):
            self.assertEqual(names(common_name=text).sip_domains, frozenset(), text)

    def test_addresses(self) -> None:
        found = names(ips=("192.0.2.1", "2001:db8::1"))
        for host in ("192.0.2.1", "[2001:db8::1]", "2001:DB8:0::1"):
            self.assertTrue(found.covers_sip(host), host)
            self.assertTrue(found.covers_host(host), host)
        self.assertFalse(found.covers_host("192.0.2.2"))

    def test_what_nobody_can_read(self) -> None:
        """Anybody may show anything: whatever it is, it names nobody and breaks nothing."""
        good = issue("a.example", uris=("sip:a.example",), ips=("192.0.2.1",)).der
        twice = good.replace(b"\x55\x1d\x13", b"\x55\x1d\x11")
        self.assertEqual(names_of(x509.load_der_x509_certificate(twice)), Names())
        random = Random(5922)
        for _ in range(2000):
            bad = bytearray(good)
            for _ in range(random.randint(1, 4)):
                bad[random.randrange(len(bad))] = random.randrange(256)
            try:
                certificate = x509.load_der_x509_certificate(bytes(bad))
            except Exception:
                continue
            names_of(certificate).shown()
        self.flushWarnings()  # of cryptography, about some of them

    def test_an_address_is_no_dns_name(self) -> None:
        self.assertFalse(names("192.0.2.1").covers_host("192.0.2.1"))
        self.assertFalse(names("192.0.2.1").covers_sip("192.0.2.1"))


class ComparingTests(SynchronousTestCase):
    """§7.2: whole names, without wildcards."""

    def test_no_wildcards_and_no_suffixes(self) -> None:
        for pattern in ("*.example.com", ".example.com", "example.com"):
            found = Names(dns=frozenset({pattern}))
            self.assertFalse(found.covers_sip("foo.example.com"), pattern)
            self.assertFalse(found.covers_host("foo.example.com"), pattern)

    def test_nobody(self) -> None:
        self.assertFalse(Names().covers_sip("a.example"))
        self.assertFalse(Names().covers_sip(""))

    def test_shown(self) -> None:
        self.assertEqual(Names().shown(), "no name")
        found = Names(sip=frozenset({"a"}), dns=frozenset({"b\nevil\x1b[2J"}))
        self.assertEqual(found.shown(), r"b\nevil\x1b[2J, sip:a")
        self.assertLessEqual(len(Names(dns=frozenset({"x" * 9999})).shown()), 200)

    def test_is_address(self) -> None:
        self.assertEqual(
            [is_address(each) for each in ("192.0.2.1", "[::1]", "::1", "a.example", "")],
            [True, True, True, False, False],
        )
