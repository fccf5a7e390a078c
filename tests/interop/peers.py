"""What the tests with real peers share: gateway and MSRP user in this process, and programs."""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from msrpgw.config import Config, StateSettings
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.service import GatewayService, make_service
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import MsrpUser, Received, Sent

HOST = "127.0.0.1"
T1 = 0.02  # of the gateway, so that silence is over in a good second


def both(port: int) -> tuple[str, ...]:
    """UDP and TCP on one port."""
    return (f"udp:{HOST}:{port}", f"tcp:{HOST}:{port}")


def taken(port: int, transport: str = "udp") -> bool:
    """Whether somebody has this port; ``transport``: of SIP."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def stop_wheels() -> None:
    """Take wake-up calls for slots whose timers were all cancelled from the reactor."""
    for call in reactor.getDelayedCalls():
        if isinstance(getattr(call.func, "__self__", None), Timers):
            call.cancel()


class Program(ProcessProtocol):
    """A real peer's process; keeps what it prints."""

    def __init__(self, command: Iterable[str], directory: str) -> None:
        self.output = ""
        self.ended: Deferred[None] = Deferred()
        self.running = True
        arguments = list(command)
        environment = {**os.environ, "TERM": "dumb", "HOME": directory}
        # A process group of its own, so that its children can be ended with it.
        self._process = reactor.spawnProcess(
            self, "/usr/bin/setsid", ["setsid", *arguments], env=environment, path=directory
        )

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode(errors="replace")

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.running = False
        self.ended.callback(None)

    def kill(self) -> "Deferred[None]":
        """End it and its children; fires when all have ended."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self.ended


class PeerTestCase(TestCase):
    """A gateway on its port, and ``sip:bob`` who has MSRP."""

    timeout = 60

    def setUp(self) -> None:
        self.gateway_port, self.msrp_port, *ports = free_ports(6)
        self.user_port, self.peer_port, self.proxy_port, self.gateway_proxy_port = ports
        self.addCleanup(stop_wheels)
        self.service = self.build()
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.received: list[str] = []
        self.sent: list[Sent] = []
        self.timers = Timers(reactor)
        self.bob_uri = f"sip:bob@{HOST}:{self.user_port}"
        self.bob = self.msrp_user(self.gateway_port)

    def build(self) -> GatewayService:
        """The gateway."""
        return make_service(self.configuration(), reactor)

    def state_directory(self) -> str:
        """One of this test's own, for the journal."""
        directory = self.mktemp()
        os.mkdir(directory)
        return directory

    def configuration(self) -> Config:
        """The gateway's."""
        return Config(
            sip=SipSettings(listen=both(self.gateway_port), t1=T1, t2=8 * T1),
            msrp=MsrpSettings(listen=f"{HOST}:{self.msrp_port}"),
            gateway=GatewaySettings(backoff=0.0, shutdown_grace=1.0),
            state=StateSettings(directory=self.state_directory()),
        )

    def agent(self, port: int, proxy: int) -> UserAgent:
        """A user's, who sends through a port of somebody else."""
        agent = UserAgent(
            reactor,
            self.timers,
            SipSettings(listen=both(port), outbound_proxy=f"sip:{HOST}:{proxy};lr"),
            os.urandom,
            allow_source=lambda address: True,
        )
        agent.start()
        self.addCleanup(agent.stop)
        return agent

    def msrp_user(self, proxy: int) -> MsrpUser:
        """``sip:bob``, who sends through a port."""
        agent = self.agent(self.user_port, proxy)
        endpoint = Endpoint(
            reactor,
            self.timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0"),
            allow_source=lambda address: True,
        )
        endpoint.listen()
        self.addCleanup(endpoint.close)
        user = MsrpUser(agent, endpoint, self.timers, self.bob_uri, self.came, reports=True)
        self.addCleanup(user.leave)
        return user

    def came(self, received: Received) -> None:
        self.received.append(received.text)

    def start(self, *command: str, directory: str = "") -> Program:
        """Start a program that is killed in the end."""
        program = Program(command, directory or self.directory())
        self.addCleanup(program.kill)
        return program

    def directory(self) -> str:
        """A new one, for this test."""
        path = Path(self.mktemp()).absolute()
        path.mkdir(parents=True)
        return str(path)

    async def until(self, condition: Callable[[], Any], program: Program | None = None) -> None:
        """Wait for something to become true; ``program`` must not end before."""
        while not condition():
            if program is not None and not program.running:
                self.fail(f"the peer ended: {program.output}")
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.05, waiting.callback, None)
            await waiting


def installed(program: str) -> str:
    """Path of a program; empty where it isn't installed."""
    return shutil.which(program) or (
        f"/usr/sbin/{program}" if Path(f"/usr/sbin/{program}").exists() else ""
    )
