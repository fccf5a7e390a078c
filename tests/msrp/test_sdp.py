"""SDP offers and answers (RFC 4975 §8, RFC 6135)."""

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.content.media import parse_media_type
from msrpgw.errors import NotAcceptable
from msrpgw.msrp.sdp import (
    LocalMedia,
    Negotiated,
    accept_answer,
    make_answer,
    make_offer,
    parse_message_media,
)
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri
from msrpgw.tls.fingerprints import Fingerprint
from tests.msrp.strategies import URIS

OURS = parse_msrp_uri("msrp://192.0.2.1:2855/ours;tcp")
THEIRS = "msrp://192.0.2.9:7777/theirs;tcp"


def local(**settings: Any) -> LocalMedia:
    """Our side."""
    return LocalMedia(
        **{"path": OURS, "accept_types": ("text/plain", "a/b"), "max_size": 5000, **settings}
    )


def sdp(*attributes: str, media: str = "m=message 7777 TCP/MSRP *", end: str = "\r\n") -> bytes:
    """A peer's body."""
    lines = ("v=0", "o=- 1 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0", media)
    return "".join(f"{line}{end}" for line in (*lines, *attributes)).encode()


PATH = f"a=path:{THEIRS}"


class ReadTests(SynchronousTestCase):
    def test_all(self) -> None:
        found = parse_message_media(
            sdp(
                "a=accept-types:message/cpim text/*",
                "a=accept-wrapped-types:*",
                PATH,
                "a=max-size:12345",
                "a=setup:passive",
            )
        )
        self.assertEqual((found.port, found.host), (7777, "192.0.2.9"))
        self.assertEqual(found.accept_types, ("message/cpim", "text/*"))
        self.assertEqual(found.accept_wrapped_types, ("*",))
        self.assertEqual((found.max_size, found.setup), (12345, "passive"))
        self.assertEqual(found.path, (parse_msrp_uri(THEIRS),))

    def test_only_the_path(self) -> None:
        found = parse_message_media(sdp(PATH))
        self.assertEqual((found.accept_types, found.max_size, found.setup), (("*",), None, None))

    def test_line_ends(self) -> None:
        for end in ("\n", "\r\n", "\r"):
            self.assertEqual(parse_message_media(sdp(PATH, end=end)).path[0].render(), THEIRS)

    def test_attributes_of_the_session(self) -> None:
        body = sdp(PATH).replace(b"t=0 0", b"t=0 0\r\na=setup:active\r\na=accept-types:x/y")
        found = parse_message_media(body)
        self.assertEqual((found.setup, found.accept_types), ("active", ("x/y",)))

    def test_rubbish_in_optional_attributes(self) -> None:
        found = parse_message_media(
            sdp(PATH, "a=max-size:many", "a=setup:holdconn", "nonsense", "a=")
        )
        self.assertEqual((found.max_size, found.setup), (None, None))

    def test_a_relay_in_the_path(self) -> None:
        found = parse_message_media(sdp(f"a=path:msrp://relay:1/;tcp {THEIRS}"))
        self.assertEqual([uri.host for uri in found.path], ["relay", "192.0.2.9"])

    def test_unusable(self) -> None:
        for body, code in (
            (b"", "304"),
            (sdp(PATH, media="m=audio 1 RTP/AVP 0"), "304"),
            (sdp(PATH, media="m=message 0 TCP/MSRP *"), "399"),
            (sdp(), "399"),
            (sdp("a=path:sip:a@b"), "399"),
            (sdp("a=path:msrp://a:1;tcp"), "399"),
            (sdp("a=path:msrps://a:1/x;tcp"), "302"),
            (sdp(PATH, media="m=message 7777 TCP/TLS/MSRP *"), "302"),
            (sdp(PATH, media="m=message 7777 UDP/MSRP *"), "302"),
            (sdp(*["m=audio 1 RTP/AVP 0"] * 40), "399"),
        ):
            with self.assertRaises(NotAcceptable, msg=body) as caught:
                parse_message_media(body)
            self.assertEqual(caught.exception.status, 488)
            [(name, value)] = caught.exception.headers
            self.assertEqual(name, "Warning")
            self.assertRegex(value, rf'\A{code} msrpgw "[^"\r\n]+"\Z')

    def test_tls(self) -> None:
        secure = "a=path:msrps://a:1/x;tcp"
        media = "m=message 7777 TCP/TLS/MSRP *"
        found = parse_message_media(sdp(secure, media=media), tls=True)
        self.assertTrue(found.secure)
        self.assertFalse(parse_message_media(sdp(PATH), tls=True).secure)
        # Whoever stands first is connected to; what follows is the relay's affair.
        relayed = f"a=path:msrps://relay:1/;tcp {THEIRS}"
        self.assertTrue(parse_message_media(sdp(relayed, media=media), tls=True).secure)
        for body, plain in (
            (sdp(PATH, media=media), True),
            (sdp(secure), True),
            (sdp(PATH), False),
        ):
            with self.assertRaises(NotAcceptable, msg=body):
                parse_message_media(body, plain=plain, tls=True)

    def test_first_that_may_be_used(self) -> None:
        both = sdp(PATH, "m=message 7777 TCP/TLS/MSRP *", "a=path:msrps://a:1/x;tcp")
        for plain, tls, secure in ((True, True, False), (False, True, True), (True, False, False)):
            found = parse_message_media(both, plain=plain, tls=tls)
            self.assertEqual(found.secure, secure, (plain, tls))

    def test_fingerprints(self) -> None:
        one, two, three = (Fingerprint("sha-256", bytes([each])) for each in (1, 2, 3))
        body = sdp(
            PATH,
            f"a=fingerprint:{one.render()}",
            f"a=Fingerprint: {two.render()}",
            "a=fingerprint:x",
        )
        self.assertEqual(parse_message_media(body).fingerprints, (one, two))
        # RFC 4572 §5: those of the session count where the medium has none of its own.
        whole = f"t=0 0\r\na=fingerprint:{three.render()}".encode()
        self.assertEqual(
            parse_message_media(body.replace(b"t=0 0", whole)).fingerprints, (one, two)
        )
        self.assertEqual(
            parse_message_media(sdp(PATH).replace(b"t=0 0", whole)).fingerprints, (three,)
        )
        many = sdp(PATH, *[f"a=fingerprint:{one.render()}"] * 1000)
        self.assertLess(len(parse_message_media(many).fingerprints), 20)

    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        with contextlib.suppress(NotAcceptable):
            parse_message_media(body, tls=True)


class OfferTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(
            make_offer(local(origin=7, version=2)),
            b"v=0\r\no=- 7 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
            b"m=message 2855 TCP/MSRP *\r\na=accept-types:text/plain a/b\r\n"
            b"a=path:msrp://192.0.2.1:2855/ours;tcp\r\na=max-size:5000\r\na=setup:actpass\r\n",
        )

    def test_who_cannot_be_reached_is_active(self) -> None:
        self.assertIn(b"a=setup:active\r\n", make_offer(local(reachable=False)))

    def test_ipv6(self) -> None:
        offer = make_offer(local(path=parse_msrp_uri("msrp://[2001:db8::1]:2855/x;tcp")))
        self.assertIn(b"c=IN IP6 2001:db8::1\r\n", offer)

    @settings(deadline=None, derandomize=True)
    @given(URIS, st.integers(1, 10**9))
    def test_round_trip(self, path: MsrpUri, size: int) -> None:
        if path.scheme != "msrp" or not path.session_id or path.port == 0:
            return
        found = parse_message_media(make_offer(local(path=path, max_size=size)))
        self.assertEqual(found.path, (path,))
        self.assertEqual((found.accept_types, found.max_size), (("text/plain", "a/b"), size))


class RoleTests(SynchronousTestCase):
    """Who connects (RFC 6135 §4.2)."""

    def test_answer(self) -> None:
        for offered, reachable, active in (
            ("actpass", True, False),
            ("actpass", False, True),
            ("active", True, False),
            ("active", False, False),
            ("passive", True, True),
            ("passive", False, True),
            (None, True, False),
            ("holdconn", True, False),
        ):
            lines = [PATH] if offered is None else [PATH, f"a=setup:{offered}"]
            answer, agreed = make_answer(sdp(*lines), local(reachable=reachable))
            self.assertEqual(agreed.active, active, offered)
            written = b"a=setup:active\r\n" if active else b"a=setup:passive\r\n"
            self.assertIn(written, answer)

    def test_answered(self) -> None:
        for answered, reachable, active in (
            ("active", True, False),
            ("active", False, True),
            ("passive", True, True),
            ("passive", False, True),
            (None, True, True),
            ("actpass", True, True),
        ):
            lines = [PATH] if answered is None else [PATH, f"a=setup:{answered}"]
            agreed = accept_answer(local(reachable=reachable), sdp(*lines))
            self.assertEqual(agreed.active, active, answered)


class AnswerTests(SynchronousTestCase):
    def test_other_media_are_refused(self) -> None:
        offer = sdp(PATH, media="m=audio 4000 RTP/AVP 0 8\r\nm=message 7777 TCP/MSRP *")
        answer, agreed = make_answer(offer + b"m=message 1 TCP/TLS/MSRP *\r\n", local())
        lines = [line for line in answer.decode().split("\r\n") if line.startswith("m=")]
        self.assertEqual(
            lines,
            [
                "m=audio 0 RTP/AVP 0 8",
                "m=message 2855 TCP/MSRP *",
                "m=message 0 TCP/TLS/MSRP *",
            ],
        )
        self.assertEqual(agreed.remote_path, (parse_msrp_uri(THEIRS),))

    def test_time_of_the_offer(self) -> None:
        answer, _ = make_answer(sdp(PATH).replace(b"t=0 0", b"t=5 6"), local())
        self.assertIn(b"\r\nt=5 6\r\n", answer)

    def test_refused_answer(self) -> None:
        refused = sdp(PATH, media="m=message 0 TCP/MSRP *")
        self.assertRaises(NotAcceptable, accept_answer, local(), refused)

    def test_accepts(self) -> None:
        agreed = Negotiated((), True, ("message/cpim",), ("text/plain",))
        plain = parse_media_type("text/plain")
        self.assertFalse(agreed.accepts(plain))
        self.assertTrue(agreed.accepts_wrapped(plain))
        self.assertTrue(agreed.accepts(parse_media_type("message/CPIM")))
