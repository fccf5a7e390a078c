"""Boxes between the gateway and the MSRP user, which change what they pass on."""

from msrpgw.sip.message import Request
from tests.gateway.meeting import MeetingTestCase
from tests.gateway.support import GATEWAY, Town
from tests.gateway.wire import WireMsrp

BOX = "192.0.2.77"


class PathTests(MeetingTestCase):
    """Hosts in paths that are other ones than in the SDP: ``path_match``."""

    def rewritten(self, match: str) -> list[int]:
        self.found(Town(msrp={"path_match": match}))
        self.bob.setup = "active"
        self.start()
        self.bob.connect()
        self.assertEqual(self.bob.send(None), [200])
        changed = self.bob.gateway_path().replace(GATEWAY, BOX)
        own = self.bob.path.replace(self.bob.host, BOX)
        return self.bob.send("hi", To_Path=changed, From_Path=own)

    def test_whole_uris(self) -> None:
        """RFC 4975 §6.1, unless we are told otherwise."""
        self.assertEqual(self.rewritten("uri"), [481])
        self.assertEqual(self.alice.texts(), [])

    def test_session_ids(self) -> None:
        self.assertEqual(self.rewritten("session-id"), [200])
        self.assertEqual(self.alice.texts(), ["hi"])
        # Whose session-id it is must still be right, of both.
        self.assertEqual(self.bob.send("hi", From_Path=f"msrp://{BOX}:2855/other;tcp"), [403])
        self.assertEqual(self.bob.send("hi", To_Path=f"msrp://{GATEWAY}:2855/other;tcp"), [481])


class CemaTests(MeetingTestCase):
    """A box that anchors media writes itself into c- and m-lines (RFC 6714)."""

    def build(
        self, *, cema: bool = True, knows: bool = True, box: str = "", relay: str = ""
    ) -> None:
        """``knows``: whether Bob has RFC 6714; ``box``: host in his c-line, as a box changed it."""
        self.found(Town(msrp={"cema": cema}))
        bob = self.bob
        bob.relay = relay
        plain = bob.sdp

        def sdp() -> bytes:
            text = plain()
            if box:
                text = text.replace(f"c=IN IP4 {bob.host}".encode(), f"c=IN IP4 {box}".encode())
            return text + b"a=msrp-cema\r\n" if knows else text

        bob.sdp = sdp  # type: ignore[method-assign]
        self.box = WireMsrp(self.town, "bob", BOX)
        self.box.on_send = bob.on_send

    def offers(self) -> list[Request]:
        return self.bob.requests("INVITE")

    def test_off(self) -> None:
        """Nobody hears of it, and the path is what counts (RFC 4975 §8.1)."""
        self.build(cema=False, box=BOX)
        self.alice.message(self.bob.uri, "hi")
        self.town.run(0.2)
        self.assertNotIn(b"msrp-cema", self.offers()[0].body)
        self.assertEqual(len(self.bob.connections), 1)

    def test_offered(self) -> None:
        """§4.2: TCP goes to the box, the path stays that of the SDP."""
        self.build(box=BOX)
        self.alice.message(self.bob.uri, "hi")
        self.town.run(0.2)
        self.assertIn(b"a=msrp-cema\r\n", self.offers()[0].body)
        self.assertEqual((len(self.box.connections), self.bob.connections), (1, []))
        self.assertEqual(self.box.frames[-1].to_path_text, self.bob.path)

    def test_no_box(self) -> None:
        for knows in (True, False):
            self.build(knows=knows)
            self.alice.message(self.bob.uri, "hi")
            self.town.run(0.2)
            self.assertEqual(len(self.offers()), 1)
            self.check_both_ways()

    def test_a_name(self) -> None:
        """§4.4 wants it looked up; we take it for the same as any address."""
        self.build(knows=False, box="bob.example.com")
        self.alice.message(self.bob.uri, "hi")
        self.town.run(0.2)
        self.assertEqual(len(self.offers()), 1)

    def test_answered(self) -> None:
        """§4.3."""
        self.build(box=BOX)
        self.start()
        self.assertIn(b"a=msrp-cema\r\n", self.bob.received[-1].body)
        self.assertEqual((len(self.box.connections), self.bob.connections), (1, []))

    def test_a_box_that_spoils_the_offer(self) -> None:
        """§4.3: who wrote the path does not know of it, so nobody would ever meet."""
        self.build(knows=False, box=BOX)
        answer = self.bob.call(self.alice.uri)
        self.assertEqual(answer.status, 488)
        self.assertIn("a=msrp-cema", answer.headers.get("Warning") or "")

    def test_a_box_that_spoils_the_answer(self) -> None:
        """§4.2: offered once more without it, for the box to do what it did before RFC 6714."""
        self.build(knows=False, box=BOX)
        self.bob.setup = "active"
        self.alice.message(self.bob.uri, "hi")
        self.town.run(0.1)
        first, second = self.offers()
        self.assertIn(b"a=msrp-cema\r\n", first.body)
        self.assertNotIn(b"msrp-cema", second.body)
        self.assertNotEqual(first.body, second.body)
        path = second.body.decode().partition("a=path:")[2].partition("\r\n")[0]
        self.bob.connect()
        self.assertEqual(self.bob.send(None, To_Path=path), [200])
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_behind_a_relay(self) -> None:
        """§4.3: an offerer behind one that will connect: no RFC 6714; that one's address counts."""
        self.build(relay=f"msrp://{BOX}:2855/relay;tcp", box=BOX)
        self.bob.setup = "active"
        self.start()
        self.assertNotIn(b"msrp-cema", self.bob.received[-1].body)
