"""SIPp as MESSAGE user: sends over UDP and TCP, and answers with whatever status."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from msrpgw.config import Config
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.service import make_service
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import MsrpUser, Received, Sent

HOST = "127.0.0.1"
SCENARIOS = Path(__file__).parent / "scenarios"
SIPP = shutil.which("sipp")
T1 = 0.02  # of the gateway, so that silence is over in a good second


def stop_wheels() -> None:
    """Take wake-up calls for slots whose timers were all cancelled from the reactor."""
    for call in reactor.getDelayedCalls():
        if isinstance(getattr(call.func, "__self__", None), Timers):
            call.cancel()


class SippTests(TestCase):
    """A gateway and an MSRP user in this process, SIPp as the page user."""

    if SIPP is None:
        skip = "sipp is not installed (Debian package sip-tester)"
    timeout = 60

    def setUp(self) -> None:
        self.gateway_port, self.msrp_port, self.user_port, self.sipp_port = free_ports(4)
        config = Config(
            sip=SipSettings(listen=self.both(self.gateway_port), t1=T1, t2=8 * T1),
            msrp=MsrpSettings(listen=f"{HOST}:{self.msrp_port}"),
            gateway=GatewaySettings(backoff=0.0, grace=1.0),
        )
        self.addCleanup(stop_wheels)
        self.service = make_service(config, reactor)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        timers = Timers(reactor)
        agent = UserAgent(
            reactor,
            timers,
            SipSettings(
                listen=self.both(self.user_port),
                outbound_proxy=f"sip:{HOST}:{self.gateway_port};lr",
            ),
            os.urandom,
            allow_source=lambda address: True,
        )
        agent.start()
        self.addCleanup(agent.stop)
        endpoint = Endpoint(
            reactor,
            timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0"),
            allow_source=lambda address: True,
        )
        endpoint.listen()
        self.addCleanup(endpoint.close)
        self.received: list[str] = []
        self.sent: list[Sent] = []
        self.user = MsrpUser(
            agent, endpoint, timers, f"sip:bob@{HOST}:{self.user_port}", self.came, reports=True
        )
        self.addCleanup(self.user.leave)
        self.sipp_uri = f"sip:sipp@{HOST}:{self.sipp_port}"

    def both(self, port: int) -> tuple[str, ...]:
        """UDP and TCP on one port."""
        return (f"udp:{HOST}:{port}", f"tcp:{HOST}:{port}")

    def came(self, received: Received) -> None:
        self.received.append(received.text)

    def sipp(self, scenario: str, *arguments: str) -> "Deferred[tuple[bytes, bytes, int]]":
        """Run SIPp; fires when it ends."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        command = [
            *("-sf", str(SCENARIOS / scenario), "-i", HOST, "-p", str(self.sipp_port)),
            *("-nostdin", "-timeout", "20", "-timeout_error", *arguments),
        ]
        environment = {**os.environ, "TERM": "dumb"}
        return getProcessOutputAndValue(SIPP, command, env=environment, path=directory)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true."""
        while not condition():
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.05, waiting.callback, None)
            await waiting

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
        await self.until(lambda: running.called or self.sipp_listens())
        self.user.send(self.sipp_uri, "hello", self.sent.append)
        out, err, status = await running
        self.assertEqual(status, 0, (out + err).decode(errors="replace"))
        await self.until(lambda: any(sent.final for sent in self.sent))
        self.assertEqual(self.sent[-1].status, reported)
        self.assertEqual(self.sent[-1].text, "hello")

    def sipp_listens(self) -> bool:
        """Whether SIPp has its UDP port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((HOST, self.sipp_port))
            except OSError:
                return True
        return False

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
        await self.until(self.sipp_listens)
        self.user.send(self.sipp_uri, "hello", self.sent.append)
        await self.until(lambda: any(sent.final for sent in self.sent))
        self.assertEqual(self.sent[-1].status, 408)
        await running
