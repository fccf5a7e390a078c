"""Typed header values (RFC 3261 §20)."""

import time

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError, SipSyntaxError
from msrpgw.sip.fields import (
    CSeq,
    NameAddr,
    Via,
    parse_contact,
    parse_cseq,
    parse_max_forwards,
    parse_name_addr,
    parse_name_addrs,
    parse_number,
    parse_to,
    parse_via,
    parse_vias,
)
from msrpgw.sip.uri import parse_uri
from tests.sip.strategies import name_addrs, vias


class ViaTests(SynchronousTestCase):
    def test_usual(self) -> None:
        via = parse_via(
            "SIP/2.0/UDP pc33.Atlanta.com:5066;branch=z9hG4bK776;rport;received=1.2.3.4"
        )
        self.assertEqual((via.transport, via.host, via.port), ("UDP", "pc33.Atlanta.com", 5066))
        self.assertEqual(via.branch, "z9hG4bK776")
        self.assertEqual(via.received, "1.2.3.4")
        self.assertIsNone(via.rport)
        self.assertTrue(via.has_parameter("rport"))
        self.assertEqual(via.parameter("rport"), "")

    def test_least(self) -> None:
        via = parse_via("SIP/2.0/TCP h")
        self.assertEqual((via.port, via.parameters), (None, ()))
        self.assertIsNone(via.branch)
        self.assertIsNone(via.received)
        self.assertFalse(via.has_parameter("rport"))

    def test_white_space_everywhere(self) -> None:
        via = parse_via(
            " SIP  /   2.0  / tcp     spindle.example.com : 5070 ;  branch  =   z9 ; x "
        )
        self.assertEqual(via.render(), "SIP/2.0/TCP spindle.example.com:5070;branch=z9;x")

    def test_ipv6(self) -> None:
        via = parse_via("SIP/2.0/UDP [2001:db8::9:1]:6050;received=[2001:db8::9:255];branch=a")
        self.assertEqual((via.host, via.port), ("[2001:db8::9:1]", 6050))
        self.assertEqual(via.received, "2001:db8::9:255")  # RFC 5118 §4.5
        self.assertEqual(parse_via("SIP/2.0/UDP [::1];received=::2").received, "::2")

    def test_other_protocol(self) -> None:
        via = parse_via("SIP/7.0/UDP c.example.com;branch=b")
        self.assertEqual(via.protocol, "SIP/7.0")
        self.assertEqual(via.render(), "SIP/7.0/UDP c.example.com;branch=b")

    def test_filled_in_rport(self) -> None:
        self.assertEqual(parse_via("SIP/2.0/UDP h;rport=5061").rport, 5061)
        self.assertIsNone(parse_via("SIP/2.0/UDP h;rport=x").rport)

    def test_several(self) -> None:
        found = parse_vias("SIP/2.0/UDP a;branch=1, SIP/2.0/TCP b;branch=2")
        self.assertEqual([via.host for via in found], ["a", "b"])
        self.assertEqual(len(parse_vias("SIP/2.0/UDP a")), 1)

    def test_rubbish(self) -> None:
        for bad in (
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 host",
            "SIP/2.0/UDPhost;branch=1",
            "SIP/2.0/UDP ;branch=1",
            "SIP/2.0/UDP host:",
            "SIP/2.0/UDP host:65536",
            "SIP/2.0/UDP host:99999999999999999999999",
            "SIP/2.0/UDP [::1:",
            "SIP/2.0/UDP [1]",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP a, ",
        ):
            self.assertRaises(SipSyntaxError, parse_vias, bad)

    def test_stamp_where_rport_is_asked_for(self) -> None:
        """RFC 3581 §4: then received is written too, even when it says nothing new."""
        via = parse_via("SIP/2.0/UDP 1.1.1.1;rport;branch=b").stamped("1.1.1.1", 7)
        self.assertEqual(via.render(), "SIP/2.0/UDP 1.1.1.1;rport=7;received=1.1.1.1;branch=b")
        self.assertEqual((via.rport, via.received), (7, "1.1.1.1"))
        for lies in ("rPort;received=6.6.6.6", "rport=9", "rport;received=6.6.6.6"):
            via = parse_via(f"SIP/2.0/UDP 1.1.1.1;{lies};branch=b").stamped("1.1.1.1", 7)
            self.assertEqual(via.render(), "SIP/2.0/UDP 1.1.1.1;branch=b;rport=7;received=1.1.1.1")

    def test_stamp_without_rport(self) -> None:
        """§18.2.1: received only where sent-by is another host."""
        via = parse_via("SIP/2.0/UDP [2001:DB8::1];branch=b")
        self.assertIs(via.stamped("2001:db8::1", 7), via)
        named = parse_via("SIP/2.0/UDP host;branch=b").stamped("::1", 7)
        self.assertEqual(named.render(), "SIP/2.0/UDP host;branch=b;received=::1")
        liar = parse_via("SIP/2.0/UDP 1.1.1.1;branch=b;received=6.6.6.6").stamped("1.1.1.1", 7)
        self.assertEqual(liar.render(), "SIP/2.0/UDP 1.1.1.1;branch=b")

    @given(vias())
    @settings(deadline=None, derandomize=True)
    def test_round_trip(self, text: str) -> None:
        self.assertEqual(parse_via(text).render(), text)


class NameAddrTests(SynchronousTestCase):
    def check(self, text: str, name: str, uri: str, tag: str | None = None) -> NameAddr:
        found = parse_name_addr(text)
        self.assertEqual((found.display_name, found.uri_text, found.tag), (name, uri, tag), text)
        self.assertEqual(found.uri, parse_uri(uri))
        again = parse_name_addr(found.render())
        self.assertEqual((again.display_name, again.uri_text), (name, uri))
        self.assertEqual(again.parameters, found.parameters)
        return found

    def test_forms(self) -> None:
        self.check('"P" <sip:p1@127.0.0.1:5081>;tag=1f', "P", "sip:p1@127.0.0.1:5081", "1f")
        self.check("<sip:a@b>", "", "sip:a@b")
        self.check("sip:a@b", "", "sip:a@b")
        self.check("sip:a@b;tag=1;x=2", "", "sip:a@b", "1")
        self.check(
            "caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", "323"
        )
        self.check("A. G. Bell <sip:b@c> ; tag = x", "A. G. Bell", "sip:b@c", "x")
        self.check(
            "token1~` token2'+_ token3*%!.- <sip:m@n>", "token1~` token2'+_ token3*%!.-", "sip:m@n"
        )
        self.check(
            "sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
            "",
            "sip:vivekg@chair-dnrc.example.com",
            "1918181833n",
        )
        self.check(
            '"J Rosenberg \\\\\\""       <sip:jdrosen@example.com>',
            'J Rosenberg \\"',
            "sip:jdrosen@example.com",
        )
        self.check('"Watson, Thomas" <sip:a@b;tag=no>', "Watson, Thomas", "sip:a@b;tag=no")
        self.check('"<sip:spoof@x>" <sip:a@b>', "<sip:spoof@x>", "sip:a@b")
        self.check('"" <sip:a@b>', "", "sip:a@b")
        self.check('sip:a@b;tag=1;x="<sip:c@d>"', "", "sip:a@b", "1")
        self.check('<sip:a@b>;x="<sip:c@d>, <";tag=1', "", "sip:a@b", "1")
        self.check(
            "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>",
            "",
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        )

    def test_utf8_names(self) -> None:
        self.check('"Zoë Ünal" <sip:z@b>', "Zoë Ünal", "sip:z@b")
        self.check("Zoë <sip:z@b>", "Zoë", "sip:z@b")
        self.check('"\udcff" <sip:z@b>', "\udcff", "sip:z@b")

    def test_other_schemes(self) -> None:
        self.check("<urn:service:sos>", "", "urn:service:sos")
        self.check("tel:+1-2;tag=x", "", "tel:+1-2", "x")

    def test_parameters(self) -> None:
        found = parse_name_addr('<sip:a@b>;TAG=x;q="a\\"b";flag')
        self.assertEqual(found.tag, "x")
        self.assertEqual(found.parameter("q"), 'a"b')
        self.assertEqual(found.parameter("flag"), "")
        self.assertIsNone(found.parameter("none"))
        self.assertIsNone(parse_name_addr("<sip:a@b>;tag").tag)

    def test_rubbish(self) -> None:
        for bad, reason in {
            "": "URI",
            "Bell": "scheme",
            '"Mr. J. User <sip:j.user@example.com>': "quotes",
            '"A" sip:a@b': "angle bracket",
            "Bell (work) <sip:a@b>": "display name",
            '"Watson, Thomas" < sip:t.watson@example.org >': "space",
            "<sip:a@b": "angle bracket",
            "<>": "URI",
            "<sip:a@b>;;": "parameter",
            "<sip:a@b>;": "parameter",
            "<sip:a@b>, <sip:c@d>": "end",
            "sip:a@b?Route=%3Csip:c%3E": "angle brackets",
            "sip:a@b;x=y?z": "end",
            "<sip:a@b> x": "end",
            "<a b>": "space",
            "<sip:>": "SIP URI",
        }.items():
            error = self.assertRaises(SipSyntaxError, parse_name_addr, bad, "To")
            self.assertTrue(error.reason.startswith("Bad To: "), error.reason)
            self.assertIn(reason, error.reason, bad)
        self.assertRaises(SipSyntaxError, parse_name_addr, "Bell, A. <sip:a@b>")

    def test_lists(self) -> None:
        found = parse_name_addrs('"A, B" <sip:a@x>;q=1, sip:b@x;q=2 , <sip:c,c@x>,C<sip:c@x>')
        self.assertEqual(
            [(item.display_name, item.uri_text, item.parameter("q")) for item in found],
            [
                ("A, B", "sip:a@x", "1"),
                ("", "sip:b@x", "2"),
                ("", "sip:c,c@x", None),
                ("C", "sip:c@x", None),
            ],
        )
        self.assertEqual(len(parse_name_addrs("<sip:a@b>")), 1)
        for bad in ("<sip:a@b>,", ",<sip:a@b>", "<sip:a@b>,,<sip:c@d>", "<sip:a@b> <sip:c@d>,x:y"):
            self.assertRaises(SipSyntaxError, parse_name_addrs, bad)

    def test_contacts(self) -> None:
        self.assertEqual(parse_contact("*"), [])
        self.assertEqual(len(parse_contact("<sip:a@b>, <sip:c@d>")), 2)
        self.assertRaises(SipSyntaxError, parse_contact, '"Joe" <sip:joe@example.org>;;;;')

    def test_stable_ones_are_shared(self) -> None:
        text = "<sip:stable@b>"
        self.assertIs(parse_to(text), parse_to(text))
        long = f"<sip:{'a' * 300}@b>"
        self.assertEqual(parse_to(long).render(), long)

    def test_built(self) -> None:
        built = NameAddr('a"b', parse_uri("sip:a@b"), parameters=(("tag", "1"),))
        self.assertEqual(built.render(), '"a\\"b" <sip:a@b>;tag=1')
        self.assertRaises(RenderError, NameAddr("a\r\nb", parse_uri("sip:a@b")).render)

    def test_hostile_values_take_linear_time(self) -> None:
        start = time.process_time()
        for text in (
            "a" * 100_000,
            "<" * 100_000,
            '"' * 100_000,
            "<sip:a>" + ";a" * 50_000 + "\n",
            "<sip:a>,\t" * 3_000,
            " " * 100_000,
        ):
            self.assertRaises(SipSyntaxError, parse_name_addrs, text + ",")
        self.assertLess(time.process_time() - start, 3.0)

    @given(name_addrs())
    @settings(deadline=None, derandomize=True)
    def test_round_trip(self, text: str) -> None:
        found = parse_name_addr(text)
        again = parse_name_addr(found.render())
        self.assertEqual(again.display_name, found.display_name)
        self.assertEqual(again.uri, found.uri)
        self.assertEqual(again.parameters, found.parameters)


class CSeqTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, number, method in (
            ("1 MESSAGE", 1, "MESSAGE"),
            ("0009  INVITE", 9, "INVITE"),
            ("0 INVITE", 0, "INVITE"),
            ("2147483647\tX", 2**31 - 1, "X"),
            (
                "139122385 !interesting-Method_*+`.%indeed'~",
                139122385,
                "!interesting-Method_*+`.%indeed'~",
            ),
        ):
            found = parse_cseq(text)
            self.assertEqual((found.number, found.method), (number, method))
        self.assertEqual(CSeq(7, "BYE").render(), "7 BYE")
        self.assertEqual(parse_cseq(f"1 {'A' * 300}").number, 1)

    def test_rubbish(self) -> None:
        for bad in (
            "",
            "1",
            "MESSAGE",
            "1MESSAGE",
            "-1 MESSAGE",
            "1 MESS AGE",
            "2147483648 X",
            "36893488147419103232 REGISTER",
            "9" * 5000 + " X",
            "\u0661 X",
        ):
            self.assertRaises(SipSyntaxError, parse_cseq, bad)


class NumberTests(SynchronousTestCase):
    def test_max_forwards(self) -> None:
        self.assertEqual(parse_max_forwards("70"), 70)
        self.assertEqual(parse_max_forwards("0068"), 68)
        for bad in ("", "-1", "256", "300", "1 2", "x", "\u0661"):
            error = self.assertRaises(SipSyntaxError, parse_max_forwards, bad)
            self.assertIn("Max-Forwards", error.reason)

    def test_numbers(self) -> None:
        self.assertEqual(parse_number("0" * 5000 + "7", 9, "X"), 7)
        self.assertEqual(parse_number("000", 9, "X"), 0)
        for bad in ("9" * 5000, "10", "+1", "1.0"):
            self.assertRaises(SipSyntaxError, parse_number, bad, 9, "X")


class SharingTests(SynchronousTestCase):
    def test_a_via_can_be_built(self) -> None:
        via = Via("UDP", "[::1]", 5060, (("branch", "b"), ("rport", None)))
        self.assertEqual(via.render(), "SIP/2.0/UDP [::1]:5060;branch=b;rport")
