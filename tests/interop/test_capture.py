"""What tshark thinks of the bytes that the demo puts on the wire."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from msrpgw.ua.demo import free_ports

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: str) -> "Deferred[tuple[bytes, bytes, int]]":
    """Run the demo."""
    command = ["-m", "msrpgw.ua.demo", *arguments]
    return getProcessOutputAndValue(sys.executable, command, env=os.environ, path=str(ROOT))


class CaptureTests(TestCase):
    """What tshark thinks of the bytes on the wire."""

    timeout = 90

    async def test_no_malformed_packet(self) -> None:
        if shutil.which("tshark") is None:
            self.skipTest("tshark is not installed (Debian package tshark)")
        sip, msrp = free_ports(2)
        with tempfile.TemporaryDirectory() as directory:
            capture = Path(directory) / "demo.pcap"
            sniffer = subprocess.Popen(
                ["tshark", "-q", "-i", "lo", "-w", capture, "-f", "udp or tcp"],
                stderr=subprocess.PIPE,
            )
            try:
                await self.sniffing(sniffer)
                ports = ("--sip-port", str(sip), "--msrp-port", str(msrp))
                out, err, status = await demo(*ports)
                self.assertEqual(status, 0, out + err)
                await self.told(capture, sip)
            finally:
                sniffer.terminate()
                sniffer.wait()
                sniffer.stderr.close()
            decode = ("-d", f"udp.port=={sip},sip", "-d", f"tcp.port=={sip},sip")
            decode += ("-d", f"tcp.port=={msrp},msrp")
            faults = await self.tshark(
                capture,
                *decode,
                "-Y",
                '(sip or sdp or msrp) and (_ws.malformed or _ws.expert.severity == "Error")',
            )
            self.assertEqual(faults, "")
            seen = await self.tshark(capture, *decode, "-Y", "sip or msrp", "-T", "fields", "-e",
                                     "_ws.col.Info")  # fmt: skip
        self.assertRegex(seen, "MESSAGE")
        self.assertRegex(seen, "INVITE")
        self.assertRegex(seen, "SEND")

    async def sniffing(self, sniffer: "subprocess.Popen[bytes]") -> None:
        """Wait until tshark says that it captures."""
        line = b""
        while b"Capturing" not in line:
            line = await deferToThread(sniffer.stderr.readline)
            if not line:
                self.skipTest("tshark may not capture on lo here")

    async def told(self, capture: Path, sip: int) -> None:
        """Wait until the capture holds the last BYE's answer: tshark writes with a delay."""
        for _ in range(100):
            seen = await self.tshark(
                capture, "-d", f"udp.port=={sip},sip", "-Y", 'sip.CSeq.method == "BYE"'
            )
            if len(re.findall(r"200 OK", seen)) >= 2:
                return
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.1, waiting.callback, None)
            await waiting

    async def tshark(self, capture: Path, *arguments: str) -> str:
        out, _, _ = await getProcessOutputAndValue(
            shutil.which("tshark") or "", ["-r", str(capture), *arguments], env=os.environ
        )
        return out.decode(errors="replace")
