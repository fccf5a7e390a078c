"""The wiring: the order of starting and stopping, and what is said when that fails."""

import contextlib
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.logger import LogLevel, globalLogPublisher
from twisted.logger import formatEvent as format_event
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.config import Config, Overrides, StateSettings, load
from msrpgw.dns.resolver import Resolver
from msrpgw.errors import JournalError
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.journal.memory import MemoryJournal
from msrpgw.journal.settings import JournalSettings
from msrpgw.service import GatewayService, StartError, make_service
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transport import Target
from msrpgw.systemd import Notifier
from msrpgw.timers import Timers
from msrpgw.types import JournalContents

OPTIONS = (
    b"OPTIONS sip:gw@127.0.0.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 127.0.0.1:40000;branch=z9hG4bKa\r\n"
    b"From: <sip:a@127.0.0.1>;tag=a\r\n"
    b"To: <sip:gw@127.0.0.1>\r\n"
    b"Call-ID: a\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Max-Forwards: 70\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)

SEND = (
    b"MSRP a786hjs2 SEND\r\n"
    b"To-Path: msrp://127.0.0.1:2855/nobody;tcp\r\n"
    b"From-Path: msrp://127.0.0.1:40000/somebody;tcp\r\n"
    b"Message-ID: 1\r\n"
    b"-------a786hjs2$\r\n"
)


class Wire(StringTransportWithDisconnection):
    """A TCP connection in memory."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nobody to keep alive."""


class Rooms:
    """All three rooms in one; records what is asked of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.results: dict[str, Deferred[None]] = {}
        self.refused: dict[str, CannotListenError] = {}
        self.durable = False
        self.management: list[str] = []
        self.journal_error = ""

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.refused:
            raise self.refused[name]

    def ask(self, name: str) -> Deferred[None]:
        self.calls.append(name)
        return self.results.get(name, succeed(None))


class Sip:
    """The SIP side."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def start(self) -> None:
        self.rooms.call("sip start")

    def stop(self) -> Deferred[None]:
        return self.rooms.ask("sip stop")

    def addresses(self) -> list[str]:
        return ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]


class Msrp:
    """The MSRP side."""

    address = "127.0.0.1:2855"
    tls_address = ""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def listen(self) -> None:
        self.rooms.call("msrp listen")

    def close(self) -> Deferred[None]:
        return self.rooms.ask("msrp close")


class Journal(MemoryJournal):
    """The journal."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__(JournalSettings())
        self.rooms = rooms

    @property
    def durable(self) -> bool:
        """As the test says."""
        return self.rooms.durable

    def open(self, found: Callable[[JournalContents], None]) -> None:
        self.rooms.call("journal open")
        if self.rooms.journal_error:
            raise JournalError(self.rooms.journal_error)
        found(JournalContents())

    def close(self) -> Deferred[None]:
        return self.rooms.ask("journal close")


class Program:
    """The program's control."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def reload(self) -> None:
        self.rooms.call("reload")
        if self.rooms.journal_error:
            raise ValueError(self.rooms.journal_error)


class Management:
    """The management interface."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def start(self) -> None:
        self.rooms.call("management start")

    def stop(self) -> Deferred[None]:
        return self.rooms.ask("management stop")

    def addresses(self) -> list[str]:
        return self.rooms.management


class Sinks:
    """Where events and records go."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def reopen(self) -> None:
        self.rooms.call("sinks reopen")

    def close(self) -> Deferred[None]:
        return self.rooms.ask("sinks close")


class Names:
    """The program's resolver."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def start(self) -> None:
        self.rooms.call("names start")

    def stop(self) -> Deferred[None]:
        return self.rooms.ask("names stop")


class Middle:
    """The gateway."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def use_key(self, key: bytes) -> None:
        self.rooms.call("gateway key")

    def resume(self, contents: JournalContents) -> None:
        self.rooms.call("gateway resume")

    def start(self) -> None:
        self.rooms.call("gateway start")

    def stop(self, grace: float) -> Deferred[None]:
        return self.rooms.ask(f"gateway stop {grace:g}")


class ServiceCase(SynchronousTestCase):
    """Listens to the log."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.levels: list[LogLevel] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, object]) -> None:
        if str(event.get("log_namespace", "")).startswith("msrpgw"):
            self.lines.append(format_event(event))
            self.levels.append(event["log_level"])


class OrderTests(ServiceCase):
    """Starting and stopping, with rooms that only record."""

    START = (
        "gateway key",
        "journal open",
        "gateway resume",
        "names start",
        "msrp listen",
        "gateway start",
    )
    STOP = (
        "gateway stop 7",
        "msrp close",
        "sip stop",
        "journal close",
        "management stop",
        "sinks close",
        "names stop",
    )

    def setUp(self) -> None:
        super().setUp()
        self.rooms = Rooms()
        directory = self.mktemp()
        os.mkdir(directory)
        self.clock = Clock()
        # systemd's is listened to by a path that is short enough for a socket.
        manager = os.path.join(tempfile.mkdtemp(), "notify")
        self.addCleanup(shutil.rmtree, os.path.dirname(manager))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(manager)
        self.manager.setblocking(False)
        self.notifier = Notifier({"NOTIFY_SOCKET": manager, "WATCHDOG_USEC": "20000000"})
        self.service = GatewayService(
            Sip(self.rooms),
            Msrp(self.rooms),
            Middle(self.rooms),
            Journal(self.rooms),
            Config(
                gateway=GatewaySettings(shutdown_grace=7), state=StateSettings(directory=directory)
            ),
            bytes,
            Program(self.rooms),
            Management(self.rooms),
            Sinks(self.rooms),
            Timers(self.clock),
            self.notifier,
            Names(self.rooms),
        )

    def refuse(self, name: str, error: OSError) -> None:
        port = 5060 if name == "sip start" else 2855
        self.rooms.refused[name] = CannotListenError("127.0.0.1", port, error)

    def test_start(self) -> None:
        self.service.startService()
        self.assertEqual(self.rooms.calls, [*self.START, "sip start", "management start"])
        self.assertTrue(self.service.running)

    def test_ready_line(self) -> None:
        self.service.startService()
        self.assertRegex(
            self.lines[0],
            r"^msrpgw [\d.]+ is ready: SIP on udp:127\.0\.0\.1:5060, tcp:127\.0\.0\.1:5060; "
            r"MSRP on 127\.0\.0\.1:2855$",
        )
        self.assertIn("the journal is in memory only", self.lines[1])

    def test_management(self) -> None:
        """It is said where, if anywhere."""
        self.rooms.management = ["127.0.0.1:8888", "fifo:/run/f"]
        self.service.startService()
        self.assertEqual(self.lines[1], "management on 127.0.0.1:8888, fifo:/run/f")

    def test_path_in_use(self) -> None:
        self.rooms.refused["management start"] = CannotListenError(
            None, "/run/f", OSError(errno.EEXIST, "there is something else")
        )
        with self.assertRaises(StartError):
            self.service.startService()
        self.assertIn("management can't listen on /run/f: there is something", self.lines[0])

    def test_durable(self) -> None:
        """Then nothing is to be said."""
        self.rooms.durable = True
        self.service.startService()
        self.assertEqual(len(self.lines), 1)

    def test_journal_in_use(self) -> None:
        """Nothing listens."""
        self.rooms.journal_error = "journal.db is in use by another process"
        with self.assertRaises(StartError):
            self.service.startService()
        self.assertEqual(
            self.lines, ["msrpgw can't start: journal.db is in use by another process"]
        )
        self.assertEqual(self.rooms.calls, ["gateway key", "journal open"])

    def test_reload(self) -> None:
        """What goes wrong was logged already."""
        for self.rooms.journal_error in ("", "a bad file"):
            self.service.reload()
        self.assertEqual(self.rooms.calls, ["reload"] * 2)

    def told(self) -> list[str]:
        """What the service manager was told since the last look."""
        lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(self.manager.recv(1000).decode().partition("\n")[0])
        return lines

    def test_service_manager(self) -> None:
        self.service.startService()
        self.assertEqual(self.told(), ["READY=1", "WATCHDOG=1"])
        for _ in range(3):
            self.clock.advance(10.1)
        self.assertEqual(self.told(), ["WATCHDOG=1"] * 3)
        self.service.reload()
        self.assertEqual(self.told(), ["RELOADING=1", "READY=1"])
        self.service.stopService()
        self.assertEqual(self.told(), ["STOPPING=1"])

    def test_reopen(self) -> None:
        self.service.reopen()
        self.assertEqual(self.rooms.calls, ["sinks reopen"])

    def test_stop(self) -> None:
        self.service.startService()
        self.rooms.calls.clear()
        done = self.service.stopService()
        self.assertEqual(self.rooms.calls, list(self.STOP))
        self.assertIsNone(self.successResultOf(done))
        self.assertFalse(self.service.running)

    def test_each_step_waits_for_the_one_before(self) -> None:
        self.service.startService()
        self.rooms.calls.clear()
        waiting = {name: Deferred[None]() for name in self.STOP}
        self.rooms.results = dict(waiting)
        done = self.service.stopService()
        for number, name in enumerate(self.STOP, 1):
            self.assertEqual(self.rooms.calls, list(self.STOP[:number]))
            self.assertNoResult(done)
            waiting[name].callback(None)
        self.successResultOf(done)

    def test_a_failing_step_does_not_stop_the_next(self) -> None:
        self.service.startService()
        self.rooms.calls.clear()
        self.rooms.results["gateway stop 7"] = fail(RuntimeError("no BYE for you"))
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.rooms.calls, list(self.STOP))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_msrp_port_in_use(self) -> None:
        self.refuse("msrp listen", OSError(errno.EADDRINUSE, "Address already in use"))
        with self.assertRaises(StartError) as caught:
            self.service.startService()
        self.assertEqual(
            self.lines,
            [
                "msrpgw can't start: MSRP can't listen on 127.0.0.1:2855: Address already in use;"
                " free it or change [msrp] listen"
            ],
        )
        self.assertEqual(self.levels, [LogLevel.critical])
        self.assertEqual(caught.exception.code, 1)
        self.assertEqual(self.rooms.calls, [*self.START[:-1], *self.STOP])
        self.assertFalse(self.service.running)

    def test_sip_port_in_use(self) -> None:
        self.refuse("sip start", OSError(errno.EADDRINUSE, "Address already in use"))
        with self.assertRaises(StartError):
            self.service.startService()
        self.assertEqual(len(self.lines), 1)
        self.assertIn(
            "SIP can't listen on udp:127.0.0.1:5060 or tcp:127.0.0.1:5060: Address already in use",
            self.lines[0],
        )
        self.assertEqual(self.rooms.calls, [*self.START, "sip start", *self.STOP])

    def test_start_error_is_told_to_twistd_and_ends_quietly(self) -> None:
        error = StartError("reason")
        # twistd removes its pid file and tells the daemon's parent on an Exception;
        # Python ends without a traceback on a SystemExit.
        self.assertIsInstance(error, Exception)
        self.assertIsInstance(error, SystemExit)
        self.assertEqual((str(error), error.code), ("reason", 1))


class StateDirectoryTests(ServiceCase):
    """``[state] directory`` must be there and writable."""

    def start(self, directory: str) -> None:
        rooms = Rooms()
        config = load(None, Overrides(state_dir=directory))
        service = GatewayService(
            Sip(rooms),
            Msrp(rooms),
            Middle(rooms),
            Journal(rooms),
            config,
            bytes,
            Program(rooms),
            Management(rooms),
            Sinks(rooms),
            Timers(Clock()),
            Notifier({}),
            Names(rooms),
        )
        service.startService()

    def test_writable(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        self.start(directory)

    def test_missing(self) -> None:
        with self.assertRaisesRegex(StartError, "is no directory; make it"):
            self.start(self.mktemp())

    def test_read_only(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        self.patch(os, "access", lambda path, mode: path != directory)  # root may always write
        with self.assertRaisesRegex(StartError, "can't be written to by this user"):
            self.start(directory)


class WiringTests(ServiceCase):
    """The real rooms on a reactor in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        directory = self.mktemp()
        os.mkdir(directory)
        config = Config(
            sip=SipSettings(listen=("tcp:127.0.0.1:5060",)),
            journal=JournalSettings(backend="memory"),
            state=StateSettings(directory=directory),
        )
        self.service = make_service(config, self.reactor, bytes)

    def exchange(self, port: int, peer: str, data: bytes) -> bytes:
        """What is answered to bytes from a peer's address on one of our ports."""
        [factory] = [server[1] for server in self.reactor.tcpServers if server[0] == port]
        address = IPv4Address("TCP", peer, 40000)
        protocol = factory.buildProtocol(address)
        transport = Wire(peerAddress=address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        self.reactor.advance(0)
        return transport.value()

    def test_nothing_listens_before_the_start(self) -> None:
        self.assertEqual(self.reactor.tcpServers, [])

    def test_listens_where_the_configuration_says(self) -> None:
        self.service.startService()
        self.assertEqual(
            [(server[3], server[0]) for server in self.reactor.tcpServers],
            [("127.0.0.1", 2855), ("127.0.0.1", 5060)],
        )
        # The reactor in memory says 0.0.0.0 of every port.
        self.assertRegex(self.lines[0], "SIP on tcp:127.0.0.1:5060; MSRP on .*:2855$")

    def test_capabilities(self) -> None:
        self.service.startService()
        answer = self.exchange(5060, "127.0.0.1", OPTIONS)
        self.assertTrue(answer.startswith(b"SIP/2.0 200 OK\r\n"), answer)
        self.assertIn(b"Accept: application/sdp, text/plain\r\n", answer)
        self.assertIn(b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE\r\n", answer)

    def test_sources_are_asked_on_both_sides(self) -> None:
        self.service.startService()
        answer = self.exchange(5060, "192.0.2.1", OPTIONS)
        self.assertTrue(answer.startswith(b"SIP/2.0 403 "), answer)
        for peer, status in (("192.0.2.1", b"403"), ("127.0.0.1", b"481")):
            answer = self.exchange(2855, peer, SEND)
            self.assertTrue(answer.startswith(b"MSRP a786hjs2 " + status), answer)

    def test_names(self) -> None:
        """Ours is the reactor's resolver from the start to the stop."""
        former = self.reactor.nameResolver
        self.service.startService()
        self.assertIsInstance(self.reactor.nameResolver, Resolver)
        self.successResultOf(self.service.stopService())
        self.assertIs(self.reactor.nameResolver, former)

    def test_black_list(self) -> None:
        """A next hop that failed is told as an event."""
        self.service.startService()
        agent = self.service._sip
        assert isinstance(agent, UserAgent)
        agent.dead.add(Target("TCP", "2001:db8::1", 5060), "no answer")
        self.assertIn("E_MSRPGW_PEER_DOWN", self.lines[-1])
        self.assertIn("sip:[2001:db8::1]:5060;transport=tcp", self.lines[-1])

    def test_nothing_is_left_after_the_stop(self) -> None:
        self.service.startService()
        self.exchange(5060, "127.0.0.1", OPTIONS)
        self.successResultOf(self.service.stopService())
        self.reactor.advance(60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
