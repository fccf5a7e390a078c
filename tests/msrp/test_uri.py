"""msrp: URIs (RFC 4975 §6)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import MsrpSyntaxError
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri, parse_path
from tests.msrp.strategies import URIS


class ParseTests(SynchronousTestCase):
    def test_whole(self) -> None:
        uri = parse_msrp_uri("msrps://bob@Example.COM:9999/a/b+c=d;tcp;x=1;y")
        self.assertEqual(
            uri,
            MsrpUri(
                "msrps", "Example.COM", 9999, "a/b+c=d", "tcp", "bob", (("x", "1"), ("y", None))
            ),
        )

    def test_least(self) -> None:
        self.assertEqual(parse_msrp_uri("msrp://a;tcp"), MsrpUri("msrp", "a"))

    def test_ipv6(self) -> None:
        uri = parse_msrp_uri("msrp://[2001:db8::1]:7/x;tcp")
        self.assertEqual((uri.host, uri.port), ("[2001:db8::1]", 7))

    def test_wrong(self) -> None:
        for text in (
            *("", "sip:a@b", "msrp:a;tcp", "msrp://", "msrp://;tcp", "msrp://a", "msrp://a/x"),
            *("msrp://a:99999/x;tcp", "msrp://a:/x;tcp", "msrp://a:1x/x;tcp", "msrp://a b/x;tcp"),
            *("msrp://a/x?;tcp", "msrp://a/x;", "msrp://a/x;tcp;", "msrp://a/x;tcp;a b"),
            *("msrp://[::1/x;tcp", "msrp://[x]/x;tcp", "msrp://u<r@a/x;tcp", "msrp://a/x;tcp;y=<"),
        ):
            with self.assertRaises(MsrpSyntaxError, msg=text):
                parse_msrp_uri(text)

    @settings(deadline=None, derandomize=True)
    @given(URIS)
    def test_round_trip(self, uri: MsrpUri) -> None:
        self.assertEqual(parse_msrp_uri(uri.render()), uri)


class CompareTests(SynchronousTestCase):
    """RFC 4975 §6.1."""

    def check(self, one: str, other: str) -> bool:
        return parse_msrp_uri(one).equivalent(parse_msrp_uri(other))

    def test_equivalent(self) -> None:
        self.assertTrue(self.check("msrp://a.b:1/x;tcp", "MSRP://A.B:1/x;TCP"))
        self.assertTrue(self.check("msrp://u@a:1/x;tcp;y=1", "msrp://v@a:1/x;tcp"))

    def test_different(self) -> None:
        base = "msrp://a:1/x;tcp"
        for other in (
            *("msrps://a:1/x;tcp", "msrp://b:1/x;tcp", "msrp://a:2/x;tcp", "msrp://a/x;tcp"),
            *("msrp://a:1/X;tcp", "msrp://a:1;tcp", "msrp://a:1/x;udp"),
        ):
            self.assertFalse(self.check(base, other), other)


class PathTests(SynchronousTestCase):
    def test_several(self) -> None:
        found = parse_path("msrp://relay/;tcp  msrp://a:1/x;tcp")
        self.assertEqual([uri.host for uri in found], ["relay", "a"])

    def test_wrong(self) -> None:
        for text in ("", "  ", "msrp://a:1/x;tcp rubbish", "msrp://a:1/x;tcp " * 33):
            self.assertRaises(MsrpSyntaxError, parse_path, text)

    @settings(deadline=None, derandomize=True)
    @given(st.lists(URIS, min_size=1, max_size=4))
    def test_round_trip(self, uris: list[MsrpUri]) -> None:
        self.assertEqual(parse_path(" ".join(uri.render() for uri in uris)), tuple(uris))
