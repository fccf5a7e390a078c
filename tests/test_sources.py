"""Who may talk to us."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sources import SecuritySettings, TrustedSources, parse_source


class ParseSourceTests(SynchronousTestCase):
    """Addresses and networks, and what is said of everything else."""

    def test_address_and_network(self) -> None:
        for text in ("192.0.2.1", "192.0.2.0/24", "2001:db8::1", "2001:db8::/32"):
            self.assertTrue(parse_source(text))

    def test_no_address(self) -> None:
        for text in ("proxy.example.com", "", "192.0.2.1:5060", "192.0.2.0/33", "[::1]"):
            with self.assertRaisesRegex(ValueError, "no IP address and no network"):
                parse_source(text)

    def test_host_bits(self) -> None:
        with self.assertRaisesRegex(ValueError, "did you mean '192.0.2.0/24'"):
            parse_source("192.0.2.1/24")


class TrustedSourcesTests(SynchronousTestCase):
    """The verdict on the text that a socket gives."""

    def test_loopback_only_by_default(self) -> None:
        trusted = TrustedSources(SecuritySettings())
        for ip in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(trusted(ip), ip)
        for ip in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "", "not an address"):
            self.assertFalse(trusted(ip), ip)

    def test_named_sources(self) -> None:
        trusted = TrustedSources(
            SecuritySettings(trusted_sources=("192.0.2.7", "198.51.100.0/24", "fe80::/10"))
        )
        for ip in ("192.0.2.7", "::ffff:192.0.2.7", "198.51.100.200", "fe80::1%eth0", "127.0.0.1"):
            self.assertTrue(trusted(ip), ip)
        for ip in ("192.0.2.8", "198.51.101.1", "2001:db8::1"):
            self.assertFalse(trusted(ip), ip)

    def test_open(self) -> None:
        trusted = TrustedSources(SecuritySettings(open=True))
        self.assertTrue(trusted("203.0.113.9"))

    def test_cache_is_bounded(self) -> None:
        trusted = TrustedSources(SecuritySettings(trusted_sources=("192.0.2.7",)), cache_size=2)
        for _ in range(2):
            for last in range(5, 10):
                self.assertEqual(trusted(f"192.0.2.{last}"), last == 7)

    def test_unreadable_source(self) -> None:
        with self.assertRaises(ValueError):
            TrustedSources(SecuritySettings(trusted_sources=("nonsense",)))
