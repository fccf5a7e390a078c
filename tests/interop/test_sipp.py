"""SIPp as MESSAGE user: sends over UDP and TCP, and answers with whatever status."""

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from tests.interop.peers import HOST, PeerTestCase, installed, taken

SCENARIOS = Path(__file__).parent / "scenarios"
SIPP = installed("sipp")


class SippTests(PeerTestCase):
    """SIPp as the page user."""

    if not SIPP:
        skip = "sipp is not installed (Debian package sip-tester)"

    def setUp(self) -> None:
        super().setUp()
        self.sipp_uri = f"sip:sipp@{HOST}:{self.peer_port}"

    def sipp(self, scenario: str, *arguments: str) -> "Deferred[tuple[bytes, bytes, int]]":
        """Run SIPp; fires when it ends."""
        command = [
            *("-sf", str(SCENARIOS / scenario), "-i", HOST, "-p", str(self.peer_port)),
            *("-nostdin", "-timeout", "20", "-timeout_error", *arguments),
        ]
        environment = {**os.environ, "TERM": "dumb"}
        return getProcessOutputAndValue(SIPP, command, env=environment, path=self.directory())

    async def send(self, transport: str) -> None:
        out, err, status = await self.sipp(
            "message_uac.xml",
            *("-t", transport, "-m", "20", "-r", "100"),
            *("-key", "user", "bob", "-key", "user_host", f"{HOST}:{self.user_port}"),
            f"{HOST}:{self.gateway_port}",
        )
        self.assertEqual(status, 0, (out + err).decode(errors="replace"))
        await self.until(lambda: len(self.received) >= 20)
        self.assertEqual(self.received, [f"text {n} of SIPp\r\n" for n in range(1, 21)])

    async def test_sends_over_udp(self) -> None:
        await self.send("u1")

    async def test_sends_over_tcp(self) -> None:
        await self.send("t1")

    async def answer(self, code: int, phrase: str, reported: int) -> None:
        """SIPp answers a MESSAGE with a status; the MSRP user hears of it by REPORT."""
        # SIPp takes no keyword for a status.
        scenario = (SCENARIOS / "message_uas.xml").read_text()
        filled = Path(self.mktemp()).absolute()
        filled.write_text(scenario.replace("CODE PHRASE", f"{code} {phrase}"))
        running = self.sipp(str(filled), "-m", "1")
        await self.until(lambda: running.called or taken(self.peer_port))
        self.bob.send(self.sipp_uri, "hello", self.sent.append)
        out, err, status = await running
        self.assertEqual(status, 0, (out + err).decode(errors="replace"))
        await self.until(lambda: any(sent.final for sent in self.sent))
        self.assertEqual(self.sent[-1].status, reported)
        self.assertEqual(self.sent[-1].text, "hello")

    async def test_200(self) -> None:
        await self.answer(200, "OK", 200)

    async def test_202(self) -> None:
        await self.answer(202, "Accepted", 200)

    async def test_404(self) -> None:
        await self.answer(404, "Not Found", 403)

    async def test_480(self) -> None:
        await self.answer(480, "Temporarily Unavailable", 408)

    async def test_486(self) -> None:
        await self.answer(486, "Busy Here", 408)

    async def test_603(self) -> None:
        await self.answer(603, "Decline", 403)

    async def test_silence(self) -> None:
        running = self.sipp("message_silent.xml", "-m", "1")
        await self.until(lambda: running.called or taken(self.peer_port))
        self.bob.send(self.sipp_uri, "hello", self.sent.append)
        await self.until(lambda: any(sent.final for sent in self.sent))
        self.assertEqual(self.sent[-1].status, 408)
        await running
