"""URIs (RFC 3261 §19.1, RFC 3966, RFC 8141)."""

import time

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import UriError
from msrpgw.sip.uri import OtherUri, SipUri, TelUri, Uri, make_sip_uri, parse_uri
from tests.sip.strategies import sip_uris, uris


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


class ParseTests(SynchronousTestCase):
    def test_all_parts(self) -> None:
        uri = sip("SIPS:al%69ce:pa$s@Example.COM:5070;transport=TCP;lr;x=%41?subject=a%20b&to=c")
        self.assertEqual(uri.scheme, "sips")
        self.assertEqual((uri.user, uri.password), ("al%69ce", "pa$s"))
        self.assertEqual((uri.host, uri.port), ("Example.COM", 5070))
        self.assertEqual(uri.parameters, (("transport", "TCP"), ("lr", None), ("x", "%41")))
        self.assertEqual(uri.headers, "subject=a%20b&to=c")
        self.assertEqual(uri.transport, "tcp")
        self.assertTrue(uri.is_loose_router)
        self.assertEqual(uri.parameter("X"), "%41")
        self.assertEqual(uri.parameter("lr"), "")
        self.assertTrue(uri.has_parameter("lr"))
        self.assertIsNone(uri.parameter("maddr"))

    def test_least(self) -> None:
        uri = sip("sip:gw")
        self.assertEqual((uri.user, uri.host, uri.port), ("", "gw", None))
        self.assertEqual(uri.parameters, ())
        self.assertIsNone(uri.transport)
        self.assertFalse(uri.is_loose_router)

    def test_odd_but_right(self) -> None:
        self.assertEqual(
            sip("sip:user;par=u%40example.net@example.com").user, "user;par=u%40example.net"
        )
        weird = sip(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
            ":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
        )
        self.assertEqual(weird.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
        self.assertEqual(weird.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        self.assertEqual(sip("sip:%00%00@a").user, "%00%00")
        self.assertEqual(sip("sip:my_host:5060").host, "my_host")

    def test_ipv6(self) -> None:
        self.assertEqual(sip("sip:[2001:db8::10]:5070").port, 5070)
        self.assertEqual(sip("sip:[2001:db8::10:5070]").host, "[2001:db8::10:5070]")
        self.assertEqual(sip("sip:a@[::ffff:192.0.2.2]").host, "[::ffff:192.0.2.2]")
        # RFC 5118 §4.10
        self.assertEqual(sip("sip:a@[2001:db8:::192.0.2.1]").host, "[2001:db8:::192.0.2.1]")

    def test_other_schemes(self) -> None:
        sos = parse_uri("urn:service:sos")
        self.assertIsInstance(sos, OtherUri)
        self.assertEqual((sos.scheme, sos.user, sos.host, sos.port), ("urn", "", "", None))
        self.assertEqual(sos.render(), "urn:service:sos")
        self.assertIsNone(sos.parameter("lr"))
        self.assertFalse(sos.has_parameter("lr"))
        self.assertEqual(
            parse_uri("nobodyKnowsThisScheme:totallyopaquecontent").scheme, "nobodyknowsthisscheme"
        )
        self.assertEqual(parse_uri("soap.beep://192.0.2.103:3002").scheme, "soap.beep")
        tel = parse_uri("tel:+1-201-555-0123;isub=7")
        self.assertIsInstance(tel, TelUri)
        self.assertEqual((tel.user, tel.host, tel.parameter("ISUB")), ("+1-201-555-0123", "", "7"))

    def test_rubbish(self) -> None:
        for bad in (
            "",
            "sip",
            "sip:",
            "sip:@a",
            "sip:a@",
            "sip:a@b@c",
            "sip:a:99999",
            "sip:a:",
            "sip:2001:db8::10",
            "sip:[2001:db8::10",
            "sip:[::1::2]",
            "sip:[12]",
            "sip:a;",
            "sip:a;;lr",
            "sip:a;=b",
            "sip:a b@c",
            "sip:a@b; lr",
            "sip:%4@a",
            "sip:%zz@a",
            "sip:a?",
            "sip:a?b",
            "sip:é@a",
            "sip:\u212a@a",  # the Kelvin sign is no K
            "<sip:a@b>",
            " sip:a@b",
            "sip:a@b\r\n",
            "sip:a@b\0",
            "1a:b",
            ":b",
            "urn:a b",
            'http:"',
            "urn:",
            "tel:",
            "tel:+",
            "tel:hello",
            "tel:+1;",
            "tel:--",
        ):
            self.assertRaises(UriError, parse_uri, bad)

    def test_long_ones_are_not_cached(self) -> None:
        text = f"sip:{'a' * 1000}@b"
        self.assertEqual(parse_uri(text), parse_uri(text))
        self.assertIsNot(parse_uri(text), parse_uri(text))
        self.assertIs(parse_uri("sip:a@b"), parse_uri("sip:a@b"))

    def test_hostile_text_takes_linear_time(self) -> None:
        start = time.process_time()
        size = 200_000
        for text in (
            "sip:" + "a" * size,
            "sip:" + "%41" * size + "\n",
            "sip:a" + ";a" * size + "\n",
            "tel:" + "-" * size,
            "tel:+" + "0" * size + "x",
            "sip:a?" + "a=b&" * size,
        ):
            self.assertRaises(UriError, parse_uri, text + "\n")
        self.assertLess(time.process_time() - start, 2.0)

    @given(uris)
    @settings(deadline=None, derandomize=True)
    def test_round_trip(self, text: str) -> None:
        uri = parse_uri(text)
        self.assertEqual(uri.render(), text)
        self.assertEqual(parse_uri(uri.render()), uri)

    @given(sip_uris())
    @settings(deadline=None, derandomize=True)
    def test_parts_make_up_the_whole(self, text: str) -> None:
        uri = sip(text)
        made = SipUri(
            uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.parameters, uri.headers
        )
        self.assertEqual(made.render(), uri.scheme + text[len(uri.scheme) :])
        self.assertTrue(parse_uri(made.render()).equivalent(uri))

    @given(sip_uris())
    @settings(deadline=None, derandomize=True)
    def test_canonical_is_stable(self, text: str) -> None:
        canonical = parse_uri(text).canonical()
        self.assertEqual(parse_uri(canonical).canonical(), canonical)


class CanonicalTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, canonical in {
            "sip:Alice@Example.COM:5060;transport=tcp?a=b": "sip:Alice@example.com",
            "SIP:%61lice:secret@example.com": "sip:alice@example.com",
            "sip:a%40b%3b@c": "sip:a%40b%3B@c",
            "sip:a@b:5061": "sip:a@b:5061",
            "sips:a@b:5061": "sips:a@b",
            "sips:a@b:5060": "sips:a@b:5060",
            "sip:[2001:DB8:0::1]:5060": "sip:[2001:db8::1]",
            "sip:[2001:db8:::192.0.2.1]": "sip:[2001:db8::c000:201]",
            "sip:[::FFFF:192.0.2.2]": "sip:[::ffff:192.0.2.2]",
            "sip:value%2541@a": "sip:value%2541@a",  # never unescaped twice
            "TEL:+1-201-555-0123": "tel:+12015550123",
            "tel:(0)1;phone-context=A.com;isub=1;x=2": "tel:01;isub=1;phone-context=a.com",
            "URN:Service:sos": "urn:service:sos",
            "HTTP://A/B": "http://A/B",
        }.items():
            uri = parse_uri(text)
            self.assertEqual(uri.canonical(), canonical, text)
            self.assertEqual(uri.canonical(), canonical, "again")


class EquivalenceTests(SynchronousTestCase):
    """The examples of §19.1.4, and some more."""

    def assertSame(self, one: str, other: str) -> None:
        self.assertTrue(parse_uri(one).equivalent(parse_uri(other)), f"{one} {other}")
        self.assertTrue(parse_uri(other).equivalent(parse_uri(one)), f"{other} {one}")

    def assertOther(self, one: str, other: str) -> None:
        self.assertFalse(parse_uri(one).equivalent(parse_uri(other)), f"{one} {other}")
        self.assertFalse(parse_uri(other).equivalent(parse_uri(one)), f"{other} {one}")

    def test_same(self) -> None:
        self.assertSame(
            "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"
        )
        self.assertSame("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5")
        self.assertSame("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5")
        self.assertSame(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        )
        self.assertSame(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        )
        self.assertSame("tel:+1-2", "tel:+12")
        self.assertSame("urn:A:b", "urn:a:b")

    def test_different(self) -> None:
        self.assertOther(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"
        )
        self.assertOther("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060")
        self.assertOther("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp")
        self.assertOther("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp")
        self.assertOther("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting")
        self.assertOther("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off")
        self.assertOther("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4")
        self.assertOther("sip:a@b", "sips:a@b")
        self.assertOther("sip:a:x@b", "sip:a:y@b")
        self.assertOther("sip:1@b", "tel:1")


class MakeTests(SynchronousTestCase):
    def test_parts(self) -> None:
        uri = make_sip_uri("a b@c%41%", "2001:db8::1", 5070, transport="tcp", lr=None)
        self.assertEqual(uri.render(), "sip:a%20b%40c%41%25@[2001:db8::1]:5070;transport=tcp;lr")
        self.assertEqual(make_sip_uri("", "gw").render(), "sip:gw")
        self.assertEqual(make_sip_uri("é", "gw").render(), "sip:%C3%A9@gw")

    def test_what_is_no_uri(self) -> None:
        self.assertRaises(UriError, make_sip_uri, "a", "b c")
        self.assertRaises(UriError, make_sip_uri, "a", "b", x="\r\n")
        self.assertRaises(UriError, make_sip_uri, "a", "b", 70000)

    def test_without(self) -> None:
        uri = sip("sip:a@b:1;LR;method=INVITE;x?h=1").without("method", "lr")
        self.assertEqual(uri.render(), "sip:a@b:1;x")

    def test_equality_is_of_the_text(self) -> None:
        self.assertEqual(len({sip("sip:a@b"), make_sip_uri("a", "b"), sip("sip:a@B")}), 2)
        self.assertNotEqual(sip("sip:a@b"), "sip:a@b")
        self.assertEqual(repr(sip("sip:a")), "SipUri('sip:a')")

    def test_the_base_has_no_canonical_form(self) -> None:
        self.assertRaises(NotImplementedError, Uri("x", "x:y").canonical)
