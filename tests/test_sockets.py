"""Sockets that write when their turn is over: on socket pairs, with a reactor that only notes."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, IReactorFDSet
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from msrpgw.line import AT_ONCE
from msrpgw.sip.udp import listen_udp
from msrpgw.sockets import PromptReactor, _Server, prompt
from msrpgw.systemd import Bound


class Tolerant:
    """Finds nothing to be too much."""

    longest_wait = math.inf

    def refusal_of(self, data: bytes, address: tuple[str, int], silently: bool) -> bytes | None:
        """None."""
        return None


@implementer(IReactorFDSet)
class Noting(Clock):
    """A reactor that knows who wants to read, and calls nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        raise NotImplementedError

    def removeWriter(self, writer: Any) -> None:
        raise NotImplementedError

    def removeAll(self) -> list[Any]:
        return []

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return []


@implementer(IPushProducer)
class Talker(Protocol):
    """Does with what it received what a test wants; notes when it may write again."""

    def __init__(self, received: Any) -> None:
        self.received = received
        self.paused = self.resumed = 0
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    def pauseProducing(self) -> None:
        self.paused += 1

    def stopProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        self.resumed += 1


class InheritedTests(TestCase):
    """Sockets that were open before us, on the real reactor."""

    timeout = 10

    def inherit(self, kind: int) -> tuple[dict[Bound, int], int]:
        """An open socket, as `systemd.inherited` gives it, and its port."""
        opened = socket.socket(socket.AF_INET, kind)
        opened.setblocking(False)
        opened.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            opened.listen(5)
        port = opened.getsockname()[1]
        return {(kind, "127.0.0.1", port): opened.detach()}, port

    async def test_tcp(self) -> None:
        inherited, port = self.inherit(socket.SOCK_STREAM)
        came: Deferred[Any] = Deferred()
        factory = Factory()
        factory.buildProtocol = came.callback  # type: ignore[method-assign]
        listening = prompt(reactor, inherited).listenTCP(port, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.assertEqual(listening.getHost().port, port)
        with socket.create_connection(("127.0.0.1", port)):
            await came

    async def test_udp(self) -> None:
        inherited, port = self.inherit(socket.SOCK_DGRAM)
        came: Deferred[Any] = Deferred()
        protocol = DatagramProtocol()
        protocol.datagramReceived = lambda data, addr: came.callback(data)  # type: ignore[method-assign]
        where = port, "127.0.0.1", protocol
        listening = listen_udp(
            prompt(reactor, inherited), *where, lambda data, reason: None, Tolerant()
        )
        self.addCleanup(listening.stopListening)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"hello", ("127.0.0.1", port))
        self.assertEqual(await came, b"hello")

    async def test_another_place(self) -> None:
        """What was not asked for is left alone, and what was asked for is opened."""
        inherited, port = self.inherit(socket.SOCK_STREAM)
        (descriptor,) = inherited.values()
        self.addCleanup(os.close, descriptor)
        listening = prompt(reactor, inherited).listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.assertNotEqual(listening.getHost().port, port)


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.noting = Noting()
        self.reactor = prompt(self.noting)
        self.writers: list[Any] = []  # who asked for room, each time
        add = self.reactor.addWriter

        def note(writer: Any) -> None:
            self.writers.append(writer)
            add(writer)

        self.reactor.addWriter = note

    def ready(self) -> None:
        """The reactor gives those their turn that are ready."""
        for reader in list(self.noting.readers):
            reader.doRead()

    def turn(self) -> None:
        """The turn is over."""
        self.noting.advance(0)

    def connect(self, received: Any) -> tuple[_Server, socket.socket, Talker]:
        """A transport, its peer's end and its protocol."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            self.addCleanup(end.close)
        talker = Talker(received)
        server = _Server(ours, talker, ("peer", 1), None, 0, self.reactor)
        talker.makeConnection(server)
        return server, theirs, talker

    def test_what_is_read(self) -> None:
        """What came is no longer in the buffer that all read into; then nothing, and the end."""
        received: list[bytes] = []
        first, first_peer, _ = self.connect(received.append)
        second, second_peer, _ = self.connect(received.append)
        first_peer.send(b"one")
        second_peer.send(b"other")
        self.assertIsNone(first.doRead())
        self.assertIsNone(second.doRead())
        self.assertIsNone(first.doRead())
        self.assertEqual(received, [b"one", b"other"])
        first_peer.close()
        self.assertIs(first.doRead(), CONNECTION_DONE)
        second.socket.close()
        self.assertIs(second.doRead(), CONNECTION_LOST)

    def test_what_a_turn_writes_leaves_at_its_end_in_one_piece(self) -> None:
        def received(data: bytes) -> None:
            other.write(b"one ")
            other.write(b"two")
            with self.assertRaises(BlockingIOError):
                others_peer.recv(100)

        server, peer, _ = self.connect(received)
        other, others_peer, _ = self.connect(None)
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertEqual(others_peer.recv(100), b"one two")
        self.assertEqual(self.writers, [])

    def test_several_sockets_and_the_next_turn(self) -> None:
        first, first_peer, _ = self.connect(None)
        second, second_peer, _ = self.connect(None)
        first.write(b"one")
        second.write(b"two")
        self.turn()
        self.assertEqual((first_peer.recv(100), second_peer.recv(100)), (b"one", b"two"))
        first.write(b"three")
        self.turn()
        self.assertEqual(first_peer.recv(100), b"three")
        self.assertEqual(self.writers, [])
        self.assertEqual(self.noting.getDelayedCalls(), [])

    def test_what_the_kernel_does_not_take_waits_for_the_reactor(self) -> None:
        many = b"x" * 4_000_000
        server, peer, talker = self.connect(lambda data: server.write(many))
        server.registerProducer(talker, True)
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertEqual(self.writers, [server])
        taken = 0
        while taken < len(many):
            taken += len(peer.recv(1_000_000))
            self.ready()
        self.assertEqual(taken, len(many))
        self.assertEqual(talker.resumed, 1)

    def test_a_producer_is_to_pause_when_much_waits(self) -> None:
        """At each write from there on; not when that was written."""
        server, peer, talker = self.connect(None)
        server.registerProducer(talker, True)
        paused = []
        for size in (server.bufferSize - 1, 1, 1, 1):
            server.write(b"x" * size)
            paused.append(talker.paused)
        self.assertEqual(paused, [0, 0, 1, 2])
        self.turn()
        self.assertEqual((len(peer.recv(100_000)), talker.resumed), (server.bufferSize + 2, 1))
        server.write(b"x")
        self.assertEqual(talker.paused, 2)

    def test_what_is_written_to_nobody(self) -> None:
        server, _, _ = self.connect(None)
        server.connectionLost(Failure(ConnectionDone()))
        server.write(b"late")
        self.assertEqual(server._tempDataBuffer, [])

    def test_the_kernel_takes_a_part_of_little(self) -> None:
        little = bytes(range(250)) * 200
        server, peer, talker = self.connect(None)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server.registerProducer(talker, True)
        server.write(little[:9])
        server.write(little[9:])
        self.turn()
        self.assertEqual(self.writers, [server])
        got = peer.recv(100_000)
        self.assertLess(len(got), len(little))
        while len(got) < len(little):
            self.ready()
            got += peer.recv(100_000)
        self.assertEqual(got, little)
        server.write(b"more")
        self.turn()
        self.assertEqual(peer.recv(100), b"more")

    def test_a_producer_that_writes_when_it_is_resumed_does_not_keep_the_turn(self) -> None:
        server, peer, talker = self.connect(lambda data: server.write(b"x" * 70_000))
        server.registerProducer(talker, True)
        talker.resumeProducing = lambda: server.write(b"more")  # type: ignore[method-assign]
        peer.send(b"go")
        server.doRead()
        self.turn()
        taken = len(peer.recv(100_000))
        self.assertGreater(taken, 0)
        self.assertEqual(self.writers, [server])

    def test_a_connection_that_is_closed_in_its_turn_is_told_by_the_reactor(self) -> None:
        def received(data: bytes) -> None:
            server.write(b"bye")
            server.loseConnection()

        server, peer, _ = self.connect(received)
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertEqual(peer.recv(100), b"bye")
        self.assertEqual(self.writers, [server])
        self.assertIsNotNone(server.doWrite())

    def test_a_peer_that_is_gone_is_left_to_the_reactor(self) -> None:
        def received(data: bytes) -> None:
            peer.close()
            server.write(b"to nobody")

        server, peer, _ = self.connect(received)
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertEqual(self.writers, [server])
        self.assertIsNotNone(server.doWrite())

    def test_a_connection_lost_in_the_turn_is_left_alone(self) -> None:
        def received(data: bytes) -> None:
            other.write(b"late")
            other.connectionLost(Failure(ConnectionDone()))

        server, peer, _ = self.connect(received)
        other, _, talker = self.connect(None)
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertTrue(talker.lost)
        self.assertEqual(self.writers, [])

    def test_datagrams_leave_in_the_turn_that_brought_them(self) -> None:
        """All that came with them has had its turn before; nothing is left to the reactor."""
        server, peer, _ = self.connect(lambda data: server.write(b"answer"))
        protocol = DatagramProtocol()
        protocol.datagramReceived = lambda data, addr: port.write(b"answer", addr)  # type: ignore[method-assign]
        judge = Tolerant()
        port: Any = listen_udp(
            self.reactor, 0, "127.0.0.1", protocol, lambda data, reason: None, judge
        )
        self.addCleanup(port.stopListening)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            other.sendto(b"request", ("127.0.0.1", port.getHost().port))
            peer.send(b"request")
            self.ready()
            self.assertEqual((other.recv(100), peer.recv(100)), (b"answer", b"answer"))
        self.assertEqual(self.noting.getDelayedCalls(), [])

    def test_each_turn_takes_as_many_datagrams(self) -> None:
        """What a turn has no room for waits; what the one before had room for is no matter."""
        received: list[bytes] = []
        protocol = DatagramProtocol()
        protocol.datagramReceived = lambda data, addr: received.append(data)  # type: ignore[method-assign]
        port: Any = listen_udp(
            self.reactor, 0, "127.0.0.1", protocol, lambda data, reason: None, Tolerant()
        )
        self.addCleanup(port.stopListening)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for turn in range(1, 4):
                for _ in range(AT_ONCE - 1):
                    peer.sendto(b"request", ("127.0.0.1", port.getHost().port))
                self.ready()
                self.assertEqual(len(received), turn * (AT_ONCE - 1))
        self.assertEqual(self.noting.getDelayedCalls(), [])

    def test_a_connection_in_the_making_waits_for_the_reactor(self) -> None:
        server, peer, _ = self.connect(lambda data: other.startWriting())
        other, _, _ = self.connect(None)
        other.connected = 0
        peer.send(b"go")
        server.doRead()
        self.turn()
        self.assertEqual(self.writers, [other])

    def test_trouble_with_one_does_not_keep_others_from_writing(self) -> None:
        first, _, talker = self.connect(None)
        second, second_peer, _ = self.connect(None)
        first.registerProducer(talker, False)

        def fail() -> None:
            raise ValueError("trouble")

        talker.resumeProducing = fail  # type: ignore[method-assign]
        first.write(b"one")
        second.write(b"two")
        self.turn()
        self.assertEqual(second_peer.recv(100), b"two")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class ReactorTests(SynchronousTestCase):
    def test_only_reactors_with_descriptors_are_wrapped(self) -> None:
        clock = Clock()
        self.assertIs(prompt(clock), clock)

    def test_other_systems_have_no_epoll(self) -> None:
        """Not even its name is there when our modules are imported."""
        program = """
import select
for name in dir(select):
    if name.lower().startswith("epoll"):
        delattr(select, name)
from msrpgw.sockets import prompt
from tests.test_sockets import Noting
noting = Noting()
assert prompt(noting).addReader == noting.addReader
"""
        command, here = [sys.executable, "-c", program], Path(__file__).resolve().parent.parent
        done = subprocess.run(command, capture_output=True, text=True, cwd=here)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_it_is_the_other_reactor_in_all_else(self) -> None:
        noting = Noting()
        wrapped = prompt(noting)
        self.assertIsInstance(wrapped, PromptReactor)
        self.assertTrue(IReactorFDSet.providedBy(wrapped))
        self.assertEqual(wrapped.seconds(), noting.seconds())
