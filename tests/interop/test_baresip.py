"""baresip as the page user, directly and behind Kamailio."""

import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from msrpgw.ua.demo import free_ports
from tests.interop.kamailio import ProxiedTestCase
from tests.interop.peers import HOST, PeerTestCase, Program, installed, taken

BARESIP = installed("baresip")
MODULES = "/usr/lib/baresip/modules"

CONFIG = f"""\
sip_listen {HOST}:%(sip)d
module_path {MODULES}
module ctrl_tcp.so
module cons.so
module_app account.so
module_app menu.so
module_app contact.so
ctrl_tcp_listen {HOST}:%(control)d
cons_listen {HOST}:%(console)d
"""


class Console(Protocol):
    """One of baresip's TCP ports; keeps what it says."""

    def __init__(self) -> None:
        self.said = ""

    def dataReceived(self, data: bytes) -> None:
        self.said += data.decode(errors="replace")


class DirectTests(PeerTestCase):
    """baresip sends to, and shows messages from, an MSRP user."""

    if not BARESIP:
        skip = "baresip is not installed (Debian package baresip-core)"

    async def connect(self, port: int, program: Program) -> Console:
        """Connect to one of baresip's ports as soon as it listens."""
        while True:
            try:
                console: Console = await connectProtocol(
                    TCP4ClientEndpoint(reactor, HOST, port), Console()
                )
            except Exception:
                self.assertTrue(program.running, program.output)
                waiting: Deferred[None] = Deferred()
                reactor.callLater(0.1, waiting.callback, None)
                await waiting
            else:
                self.addCleanup(console.transport.loseConnection)
                return console

    def command(self, control: Console, name: str, parameters: str = "") -> None:
        """Give baresip a command, as a netstring."""
        text = json.dumps({"command": name, "params": parameters, "token": name})
        control.transport.write(f"{len(text)}:{text},".encode())

    async def converse(self, proxy: int) -> None:
        """Both ways, opened by baresip, whose requests go to ``proxy``."""
        # It listens for TLS on the next port, come what may.
        while taken(self.peer_port + 1, "tls"):
            [self.peer_port] = free_ports(1)
        directory = self.directory()
        ports = dict(zip(("control", "console"), free_ports(2), strict=True))
        alice = f"sip:alice@{HOST}:{self.peer_port}"
        for name, text in (
            ("config", CONFIG % {"sip": self.peer_port, **ports}),
            ("accounts", f'<{alice}>;outbound="sip:{HOST}:{proxy};lr";regint=0\n'),
            ("contacts", f'"Bob" <{self.bob_uri}>\n'),
        ):
            with open(f"{directory}/{name}", "w") as file:
                file.write(text)
        baresip = self.start(BARESIP, "-f", directory, directory=directory)
        control = await self.connect(ports["control"], baresip)
        console = await self.connect(ports["console"], baresip)
        self.command(control, "contact_next")
        await self.until(lambda: "Bob" in control.said, baresip)
        self.command(control, "message", "hello from baresip")
        await self.until(lambda: self.received, baresip)
        self.assertEqual(self.received, ["hello from baresip"])
        self.bob.send(alice, "hello from bob", self.sent.append)
        await self.until(lambda: any(sent.final for sent in self.sent), baresip)
        self.assertEqual(self.sent[-1].status, 200)
        await self.until(lambda: "hello from bob" in console.said, baresip)
        self.assertEqual(len(self.bob.calls), 1)

    async def test_both_ways(self) -> None:
        await self.converse(self.gateway_port)


class ProxiedTests(ProxiedTestCase, DirectTests):
    """The same with Kamailio in between."""

    async def test_both_ways(self) -> None:
        await self.converse(self.proxy_port)
