"""Every case of ``tests/torture/msrp`` through a real endpoint, with a session that is up.

``index.json`` says what may happen; after each case a normal SEND on a fresh connection works.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.msrp.support import ACCEPT, PEER_PATH, Listener, Peer, Rig, sdp, send

TORTURE = Path(__file__).parent.parent / "torture" / "msrp"
CASES: list[dict[str, Any]] = json.loads((TORTURE / "index.json").read_text())["cases"]

#: larger ones are not fed octet by octet
SMALL = 8_192

RESPONSE = re.compile(rb"(?:^|\r\n)MSRP (\S+) (\d{3})(?: [^\r\n]*)?\r\n")
REPORT = re.compile(
    rb"(?:^|\r\n)MSRP \S+ REPORT\r\n.*?\r\nMessage-ID: (\S+)\r\n.*?-------", re.DOTALL
)
STATUS = re.compile(rb"\r\nStatus: 000 200\b")


def fill(case: dict[str, Any], to_path: str) -> bytes:
    """The bytes of a case, for our session."""
    data = (TORTURE / case["file"]).read_bytes()
    pad = case.get("pad")
    if pad is not None:
        numbered = pad.get("number", False)
        padding = "".join(
            re.sub("%06d", f"{number:06d}", pad["text"]) if numbered else pad["text"]
            for number in range(pad["count"])
        )
        data = data.replace(b"@@PAD@@", padding.encode())
    swapped = to_path[:-4].rpartition("/")
    for name, value in (
        ("TO-CASE", f"{swapped[0]}/{swapped[2].swapcase()};tcp"),
        ("TO-MSRPS", to_path.replace("msrp:", "msrps:")),
        ("TO-NONE", "msrp://127.0.0.1:2855;tcp"),
        ("TO", to_path),
        ("FROM", PEER_PATH),
    ):
        data = data.replace(f"@@{name}@@".encode(), value.encode())
    return data


def whole(data: bytes) -> Iterator[bytes]:
    """All in one read."""
    yield data


def octets(data: bytes) -> Iterator[bytes]:
    """One octet a read."""
    for octet in data:
        yield bytes([octet])


class Torture(SynchronousTestCase):
    """One method for each case and way to send it, made below."""

    def setUp(self) -> None:
        self.rig = Rig()

    def run_case(self, case: dict[str, Any], pieces: Callable[[bytes], Iterator[bytes]]) -> None:
        """Send a case; check what the index says of it; then send something normal."""
        listener, peer, path = self.bound()
        for piece in pieces(fill(case, path)):
            if not peer.transport.disconnecting:
                peer.write(piece)
        closed = peer.transport.disconnecting
        self.check(case, path, peer.raw(), closed, listener)
        if case.get("close_after"):
            peer.hang_up()
        self.works()

    def bound(self) -> tuple[Listener, Peer, str]:
        """A connection with a session that is up, as the peer sees it."""
        listener = Listener(accept=True)
        session = self.rig.session(listener, *ACCEPT)
        session.answer(sdp())
        session.start()
        peer = self.rig.accept()
        peer.send(session, None)
        self.assertEqual(len(peer.statuses()), 1)
        return listener, peer, session.path_text

    def check(
        self, case: dict[str, Any], path: str, out: bytes, closed: bool, listener: Listener
    ) -> None:
        """Compare with the index."""
        responses = RESPONSE.findall(out)
        for tid, expected, allowed in case["tx"]:
            statuses = {status.decode() for found, status in responses if found == tid.encode()}
            self.assertLessEqual(statuses or {"none"}, {*expected, *allowed}, (tid, out[-500:]))
        self.assertNotIn("408", {status.decode() for _, status in responses})
        self.assertNotIn("423", {status.decode() for _, status in responses})
        if case["close"] == "no":
            self.assertFalse(closed)
        reports = [match for match in REPORT.finditer(out) if STATUS.search(match[0])]
        self.assertEqual(bool(reports), case["report"] == "success")
        # The index has no content for the one body that is padded; what got 200 is delivered.
        if case["deliver"] is not None and case["name"] != "body-almost-endlines":
            bodies = [  # the index knows them as they are in the files
                body.replace(path.encode(), b"@@TO@@").replace(PEER_PATH.encode(), b"@@FROM@@")
                for body in listener.bodies
            ]
            delivered = [
                {"len": len(body), "sha256": hashlib.sha256(body).hexdigest()} for body in bodies
            ]
            self.assertEqual(delivered, case["deliver"])
        if "response_to" in case:
            self.assertIn(f"\r\nTo-Path: {case['response_to']}\r\n".encode(), out)

    def works(self) -> None:
        """The endpoint is well: a fresh connection and session carry a message."""
        listener, peer, path = self.bound()
        peer.write(send(path, "good0001", b"still here"))
        self.assertEqual(peer.statuses(), [("good0001", 200)])
        self.assertEqual(listener.bodies, [b"still here"])

    def run_followed(self, case: dict[str, Any]) -> None:
        """Send a case with a good SEND right behind it, in the same read."""
        listener, peer, path = self.bound()
        peer.write(fill(case, path) + send(path, "good0002", b"right behind"))
        self.assertFalse(peer.transport.disconnecting)
        self.assertIn((b"good0002", b"200"), RESPONSE.findall(peer.raw()))
        self.assertEqual(listener.bodies[-1], b"right behind")

    def run_splits(self, case: dict[str, Any]) -> None:
        """Send a case in two reads, for every place to cut it."""
        size = len(fill(case, "msrp://127.0.0.1:2855/" + "0" * 32 + ";tcp"))
        for cut in range(size):
            self.run_case(case, lambda data, cut=cut: iter((data[:cut], data[cut:])))  # type: ignore[misc]


def _add(name: str, method: Callable[[Torture], None], case: dict[str, Any]) -> None:
    method.__name__ = f"test_{name.replace('-', '_').replace('.', '_')}"
    method.__doc__ = case["what"]
    setattr(Torture, method.__name__, method)


for _case in CASES:
    _name = _case["name"]
    _add(_name, lambda self, case=_case: self.run_case(case, whole), _case)  # type: ignore[misc]
    if "pad" not in _case and (TORTURE / _case["file"]).stat().st_size < SMALL:
        _add(
            f"{_name}_octets",
            lambda self, case=_case: self.run_case(case, octets),  # type: ignore[misc]
            _case,
        )
    if _case["close"] == "no":
        _add(f"{_name}_followed", lambda self, case=_case: self.run_followed(case), _case)  # type: ignore[misc]
    if _case["send"] == "splits":
        _add(f"{_name}_splits", lambda self, case=_case: self.run_splits(case), _case)  # type: ignore[misc]
