"""Operators and sinks that misbehave while messages flow both ways: no message notices."""

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent as format_event
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from msrpgw.config import Config, Overrides, load
from msrpgw.manage.management import Management
from msrpgw.program import ProgramControl
from msrpgw.service import GatewayService, make_service
from msrpgw.ua.call import CallState
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import PageUser, Received, Sent
from tests.interop.peers import HOST, PeerTestCase

#: messages a second, each way
RATE = 200

CONFIGURATION = """\
[sip]
listen = ["udp:{host}:{sip}", "tcp:{host}:{sip}"]
[msrp]
listen = "{host}:{msrp}"
[state]
directory = "{directory}"
[gateway]
shutdown_grace = 1.0
"""


class LoadCase(PeerTestCase):
    """``sip:alice`` has MESSAGE, ``sip:bob`` has called her, and both have much to say."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        super().setUp()
        self.alice_uri = f"sip:alice@{HOST}:{self.peer_port}"
        agent = self.agent(self.peer_port, self.gateway_port)
        self.heard: list[str] = []
        self.alice = PageUser(agent, self.timers, self.alice_uri, self.hear)
        self.said = 0
        self.answers: list[Sent] = []

    def observe(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").startswith("msrpgw."):
            self.lines.append(format_event(event))

    def build(self) -> GatewayService:
        """From a file, which can be read again."""
        self.file = Path(self.mktemp()).absolute()
        self.state = self.state_directory()
        self.write("")
        return make_service(self.load(None), reactor, load=self.load)

    def load(self, path: str | None) -> Config:
        return load(path or str(self.file), Overrides())

    def write(self, more: str) -> None:
        """Another configuration, in the same place."""
        self.file.write_text(
            CONFIGURATION.format(
                host=HOST,
                sip=self.gateway_port,
                msrp=self.msrp_port,
                directory=os.path.abspath(self.state),
            )
            + more
        )

    @property
    def program(self) -> ProgramControl:
        """What a signal or a command would reach."""
        program = self.service._program
        assert isinstance(program, ProgramControl)
        return program

    def hear(self, received: Received) -> None:
        self.heard.append(received.text)

    def answered(self, sent: Sent) -> None:
        """What a text's sender is told; that it is on its way is not the end of it."""
        if sent.final:
            self.answers.append(sent)

    async def talk(self, count: int) -> None:
        """So many texts each way, at the rate."""
        start = self.timers.seconds()
        for number in range(count):
            text = str(self.said)
            self.said += 1
            self.alice.send(self.bob_uri, text, self.answered)
            self.bob.send(self.alice_uri, text, self.answered)
            due = start + (number + 1) / RATE
            await deferLater(reactor, max(0.0, due - self.timers.seconds()), int)

    async def begin(self) -> None:
        """The call, and the first words."""
        call = self.bob.call(self.alice_uri)
        await self.until(lambda: call.state is CallState.UP)
        await self.talk(1)
        await self.until(lambda: len(self.answers) == 2)
        self.session = self.session_id()

    def session_id(self) -> str:
        """Of the only session."""
        (session,) = self.service._gateway.sessions.values()
        return str(session.leg.session_id)

    async def check(self) -> None:
        """All that was said was heard, in order, by a receiver, once, over the same session."""
        await self.until(lambda: len(self.answers) == 2 * self.said)
        wanted = [str(number) for number in range(self.said)]
        self.assertEqual((self.received, self.heard), (wanted, wanted))
        self.assertEqual({answer.status for answer in self.answers}, {200})
        self.assertEqual(self.session_id(), self.session)

    def told(self, what: str) -> list[str]:
        """Lines of the log that say it."""
        return [line for line in self.lines if what in line]


class ReloadTests(LoadCase):
    """An operator who can't leave the configuration alone."""

    async def test_fifty(self) -> None:
        """200 messages a second both ways, 50 reloads, half of them of bad files."""
        await self.begin()
        for number in range(25):
            self.write("[gateway\n")
            with self.assertRaises(ValueError):
                self.program.reload()
            await self.talk(10)
            self.write(f"message_timeout = {1000 + number}\n")
            changed = self.program.reload()["changed"]
            self.assertEqual(changed, ["[gateway] message_timeout"])
            await self.talk(10)
        await self.check()
        self.assertEqual(self.said, 501)
        self.assertEqual(len(self.told("all stays as it was")), 25)


class Hook(Resource):
    """A web server that takes requests and, until it recovers, never answers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.well = False
        self.heard = 0
        self.hanging: list[Any] = []

    def render_POST(self, request: Any) -> Any:
        """Hang, or not."""
        if self.well:
            self.heard += 1
            return b""
        self.hanging.append(request)
        return NOT_DONE_YET


SINKS = """
[events]
files = [{{ path = "{file}", events = ["E_MSRPGW_MESSAGE_DELIVERED"] }}]
webhooks = [{{ url = "http://{host}:{port}/", timeout = 0.3 }}]
"""


class SinkTests(LoadCase):
    """A web server that hangs, a disk that is full, a subscriber that is gone: all at once."""

    async def test_all_at_once(self) -> None:
        hook = Hook()
        server = reactor.listenTCP(0, Site(hook), interface=HOST)
        self.addCleanup(server.stopListening)
        file = Path(self.mktemp()).absolute()
        file.symlink_to("/dev/full")
        self.write(SINKS.format(host=HOST, port=server.getHost().port, file=file))
        self.program.reload()
        (nobody,) = free_ports(1)
        gone = f"tcp:{HOST}:{nobody}"
        management = self.service._management
        assert isinstance(management, Management)
        management.subscribers.subscribe("E_MSRPGW_MESSAGE_DELIVERED", gone, 3600.0)
        await self.begin()
        await self.talk(300)
        await self.check()
        self.assertEqual(len(self.told("fails: no answer in time")), 1)
        self.assertEqual(len(self.told("can't be written: ")), 1)
        self.assertEqual(len(self.told(f"{gone!r} is gone")), 1)

        hook.well = True
        file.unlink()
        await self.until(lambda: self.told("answers again"))
        await self.until(lambda: self.told("is written again"))
        await self.talk(10)
        await self.check()
        await self.until(lambda: file.read_text().count("\n") >= 2 * self.said)
        await self.until(lambda: hook.heard >= 2 * self.said)
        self.assertEqual(len(self.told("fails: ")), 1)
