"""MESSAGE requests of our own: written at once, the same when they are looked into."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError
from msrpgw.sip.pager import PagerMessage


def pager(**changed: object) -> PagerMessage:
    """A MESSAGE without a Via."""
    arguments: dict[str, object] = {
        "uri": "sip:bob@example.com",
        "from_uri": "sip:alice@example.com",
        "to_uri": "sip:bob@example.com",
        "content_type": "text/plain",
        "body": "hé".encode(),
        "call_id": "c1",
        "tag": "t1",
        "cseq": 7,
        "user_agent": "msrpgw",
        "more": (("Msrpgw-Hops", "2"),),
        **changed,
    }
    return PagerMessage(**arguments)  # type: ignore[arg-type]


WRITTEN = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP a;branch=b\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:alice@example.com>;tag=t1\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 7 MESSAGE\r\n"
    b"User-Agent: msrpgw\r\n"
    b"Msrpgw-Hops: 2\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 3\r\n"
    b"\r\n"
    b"h\xc3\xa9"
)


class PagerTests(SynchronousTestCase):
    def test_bytes(self) -> None:
        request = pager()
        request.push_via("SIP/2.0/UDP a;branch=b")
        self.assertEqual(request.render(), WRITTEN)

    def test_the_same_after_somebody_looked(self) -> None:
        before, after = pager(), pager()
        self.assertEqual(before.call_id, "c1")
        before.push_via("SIP/2.0/UDP a;branch=b")
        after.push_via("SIP/2.0/UDP a;branch=b")
        self.assertEqual(after.via.branch, "b")
        self.assertEqual(after.cseq.number, 7)
        self.assertEqual(before.render(), WRITTEN)
        self.assertEqual(after.render(), WRITTEN)

    def test_changes_count(self) -> None:
        request = pager()
        request.push_via("SIP/2.0/UDP a;branch=b")
        request.push_via("SIP/2.0/UDP z;branch=y")
        request.headers.replace_first("CSeq", "8 MESSAGE")
        self.assertFalse(request.has_route)
        request.headers.add("Route", "<sip:proxy;lr>")
        self.assertTrue(request.has_route)
        written = request.render().decode()
        self.assertIn("Via: SIP/2.0/UDP z;branch=y\r\nVia: SIP/2.0/UDP a;branch=b\r\n", written)
        self.assertIn("CSeq: 8 MESSAGE\r\n", written)
        self.assertIn("Route: <sip:proxy;lr>\r\n", written)

    def test_what_must_not_be_written(self) -> None:
        for changed in (
            {"content_type": "text/plain\r\nX: y"},
            {"from_uri": "sip:a\n@b"},
            {"call_id": "c\r"},
            {"to_uri": "sip:a\0@b"},
            {"uri": "sip:a b"},
            {"more": (("Msrpgw-Hops", "2\r\nX: y"),)},
        ):
            for looked in (False, True):
                request = pager(**changed)
                request.push_via("SIP/2.0/UDP a;branch=b")
                if looked:
                    request.headers  # noqa: B018
                self.assertRaises(RenderError, request.render)
