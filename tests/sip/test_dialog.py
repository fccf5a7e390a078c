"""Dialogs: creation on both sides, requests inside, order, target refresh (RFC 3261 §12)."""

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.dialog import Dialog, DialogId, as_request_uri
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.uri import parse_uri

CONTACT = ("Contact", "<sip:bob@192.0.2.7:5070>")


def invite(uri: str = "sip:gw@example.com", headers: Iterable[tuple[str, str]] = ()) -> Request:
    fields = [
        ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"),
        ("From", '"Bob, the caller" <sip:bob@example.com>;tag=b1'),
        ("To", "sip:gw@example.com"),
        ("Call-ID", "a@b"),
        ("CSeq", "7 INVITE"),
        *headers,
    ]
    return Request("INVITE", uri, Headers(fields))


def answer(
    request: Request, *headers: tuple[str, str], tag: str | None = "g1", status: int = 200
) -> Response:
    return request.response(status, to_tag=tag, headers=headers)


def routes(request: Request) -> list[str]:
    return request.headers.get_all("Route")


class UasTests(SynchronousTestCase):
    """§12.1.1."""

    def test_requests_go_back_to_the_caller(self) -> None:
        dialog = Dialog.uas(invite(headers=[CONTACT]), "g1")
        request = dialog.request("BYE")
        self.assertEqual(dialog.id, DialogId("a@b", "g1", "b1"))
        self.assertEqual(request.uri, "sip:bob@192.0.2.7:5070")
        self.assertEqual(request.headers.get("From"), "sip:gw@example.com;tag=g1")
        self.assertEqual(
            request.headers.get("To"), '"Bob, the caller" <sip:bob@example.com>;tag=b1'
        )
        self.assertEqual(request.from_.tag, "g1")
        self.assertEqual(request.call_id, "a@b")
        self.assertEqual((request.cseq.number, request.cseq.method), (1, "BYE"))
        self.assertEqual(dialog.request("BYE").cseq.number, 2)

    def test_route_set_is_record_route_in_order(self) -> None:
        dialog = Dialog.uas(
            invite(
                headers=[
                    CONTACT,
                    ("Record-Route", "<sip:p2;lr>, <sip:p1;lr;x=1>;y=2"),
                    ("Record-Route", "<sip:p0;lr>"),
                ]
            ),
            "g1",
        )
        request = dialog.request("BYE")
        self.assertEqual(routes(request), ["<sip:p2;lr>", "<sip:p1;lr;x=1>;y=2", "<sip:p0;lr>"])
        self.assertEqual(request.uri, "sip:bob@192.0.2.7:5070")

    def test_without_contact_it_can_not_be(self) -> None:
        error = self.assertRaises(SipSyntaxError, Dialog.uas, invite(), "g1")
        self.assertEqual(error.status, 400)
        self.assertIn("Contact", error.reason)

    def test_a_peer_of_rfc_2543_has_no_tag(self) -> None:
        request = invite(headers=[CONTACT])
        request.headers.set("From", "<sip:bob@example.com>")
        dialog = Dialog.uas(request, "g1")
        self.assertEqual(dialog.id.remote_tag, "")
        self.assertEqual(dialog.remote_uri, "<sip:bob@example.com>")
        self.assertEqual(dialog.local_uri, "sip:gw@example.com;tag=g1")

    def test_sips_makes_it_secure(self) -> None:
        self.assertTrue(Dialog.uas(invite("SIPS:gw@example.com", [CONTACT]), "g1").secure)
        self.assertFalse(Dialog.uas(invite(headers=[CONTACT]), "g1").secure)

    def test_what_is_secure_stays_so(self) -> None:
        """§26.2.2: a Contact that says ``sip:`` leads out of TLS no more than a later one."""
        dialog = Dialog.uas(invite("sips:gw@example.com", [CONTACT]), "g1")
        self.assertEqual(dialog.request("BYE").uri, "sips:bob@192.0.2.7:5070")
        dialog.refresh_target(invite(headers=[("Contact", "<sip:bob@192.0.2.8>")]))
        self.assertEqual(dialog.request("BYE").uri, "sips:bob@192.0.2.8")


class UacTests(SynchronousTestCase):
    """§12.1.2."""

    def test_requests_go_to_the_callees_contact(self) -> None:
        request = invite()
        dialog = Dialog.uac(request, answer(request, CONTACT))
        bye = dialog.request("BYE")
        self.assertEqual(dialog.id, DialogId("a@b", "b1", "g1"))
        self.assertEqual(bye.uri, "sip:bob@192.0.2.7:5070")
        self.assertEqual(bye.headers.get("From"), '"Bob, the caller" <sip:bob@example.com>;tag=b1')
        self.assertEqual(bye.headers.get("To"), "sip:gw@example.com;tag=g1")
        self.assertEqual(bye.cseq.number, 8)

    def test_route_set_is_record_route_backwards(self) -> None:
        request = invite()
        response = answer(
            request, CONTACT, ("Record-Route", "<sip:p2;lr>, <sip:p1;lr>"),
            ("Record-Route", "<sip:p0;lr>"),
        )  # fmt: skip
        ack = Dialog.uac(request, response).ack(request)
        self.assertEqual(routes(ack), ["<sip:p0;lr>", "<sip:p1;lr>", "<sip:p2;lr>"])

    def test_ack_has_the_number_of_its_invite(self) -> None:
        request = invite()
        dialog = Dialog.uac(request, answer(request, CONTACT))
        dialog.request("INFO")
        ack = dialog.ack(request)
        self.assertEqual(ack.method, "ACK")
        self.assertEqual((ack.cseq.number, ack.cseq.method), (7, "ACK"))
        self.assertEqual(dialog.request("BYE").cseq.number, 9)

    def test_without_contact_the_request_uri_is_the_target(self) -> None:
        request = invite()
        self.assertEqual(Dialog.uac(request, answer(request)).request("BYE").uri, request.uri)
        star = answer(request, ("Contact", "*"))
        self.assertEqual(Dialog.uac(request, star).remote_target, request.uri)

    def test_to_without_tag(self) -> None:
        request = invite()
        dialog = Dialog.uac(request, answer(request, CONTACT, tag=None))
        self.assertEqual(dialog.id.remote_tag, "")
        self.assertEqual(dialog.request("BYE").headers.get("To"), "sip:gw@example.com")


class RouteTests(SynchronousTestCase):
    """§12.2.1.1, last paragraphs."""

    def test_a_strict_router_stands_in_the_request_line(self) -> None:
        dialog = Dialog.uas(
            invite(headers=[CONTACT, ("Record-Route", "<sip:old>, <sip:new;lr>")]), "g1"
        )
        request = dialog.request("BYE")
        self.assertEqual(request.uri, "sip:old")
        self.assertTrue(request.strictly_routed)
        self.assertEqual(routes(request), ["<sip:new;lr>", "<sip:bob@192.0.2.7:5070>"])

    def test_a_strict_router_behind_a_loose_one_stays(self) -> None:
        dialog = Dialog.uas(
            invite(headers=[CONTACT, ("Record-Route", "<sip:new;lr>, <sip:old>")]), "g1"
        )
        request = dialog.request("BYE")
        self.assertEqual(request.uri, "sip:bob@192.0.2.7:5070")
        self.assertFalse(request.strictly_routed)
        self.assertEqual(routes(request), ["<sip:new;lr>", "<sip:old>"])

    def test_what_a_request_line_must_not_hold_is_cut(self) -> None:
        cases = {
            "sip:bob@h;method=BYE;x=1?subject=a%3Bb": "sip:bob@h;x=1",
            "sip:bob;METHOD=INVITE@h:5060": "sip:bob;METHOD=INVITE@h:5060",
            "sips:[2001:db8::1]?a=b": "sips:[2001:db8::1]",
            "tel:+1234;ext=5": "tel:+1234;ext=5",
            "urn:service:sos": "urn:service:sos",
        }
        for text, wanted in cases.items():
            self.assertEqual(as_request_uri(parse_uri(text)), wanted)


class OrderTests(SynchronousTestCase):
    """§12.2.2 and §12.2."""

    def test_numbers_must_not_fall(self) -> None:
        dialog = Dialog.uas(invite(headers=[CONTACT]), "g1")
        for number, fits in ((6, False), (7, True), (9, True), (8, False), (10, True)):
            request = invite()
            request.headers.set("CSeq", f"{number} OPTIONS")
            self.assertEqual(dialog.check_cseq(request), fits, number)
        self.assertEqual(dialog.remote_cseq, 10)

    def test_the_first_number_of_a_callee_is_free(self) -> None:
        request = invite()
        dialog = Dialog.uac(request, answer(request, CONTACT))
        self.assertTrue(dialog.check_cseq(invite()))
        self.assertEqual(dialog.remote_cseq, 7)

    def test_target_refresh(self) -> None:
        dialog = Dialog.uas(invite(headers=[CONTACT]), "g1")
        dialog.refresh_target(invite())
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.7:5070")
        dialog.refresh_target(invite(headers=[("Contact", "<sip:bob@192.0.2.8;lr?a=b>;q=1")]))
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.8;lr")

    def test_the_dialog_that_a_request_names(self) -> None:
        request = invite()
        self.assertEqual(DialogId.of_request(request), DialogId("a@b", "", "b1"))
        request.headers.set("To", "<sip:gw@example.com>;tag=g1")
        self.assertEqual(DialogId.of_request(request), DialogId("a@b", "g1", "b1"))
