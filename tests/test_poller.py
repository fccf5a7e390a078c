"""Turns on one epoll: on socket pairs, with a reactor that only notes."""

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from msrpgw import poller
from msrpgw.poller import Poller
from msrpgw.turn import Turn


class Reactor(Clock):
    """Knows who wants to read, and calls nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class End:
    """A socket that is read and written as a test wants."""

    def __init__(self, made: socket.socket, owner: Poller) -> None:
        made.setblocking(False)
        self.socket = made
        self.poller = owner
        self.reads: list[bytes] = []
        self.writes = 0
        self.lost: list[Failure] = []
        self.half: list[Failure] = []  # only reading was lost
        self.on_read: Callable[[], object] = lambda: None
        self.on_write: Callable[[], object] = lambda: None
        self.on_lost: Callable[[], object] = lambda: None

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> Any:
        self.reads.append(self.socket.recv(100))
        return self.on_read()

    def doWrite(self) -> Any:
        self.writes += 1
        return self.on_write()

    def turn_ended(self) -> None:
        self.socket.send(b"written")

    def readConnectionLost(self, reason: Failure) -> None:
        self.half.append(reason)

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)
        self.close()
        self.on_lost()

    def close(self) -> None:
        self.poller.removeReader(self)
        self.poller.removeWriter(self)
        self.socket.close()


class PollerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.turn = Turn(self.reactor)
        self.poller = Poller(self.reactor, self.turn)
        self.addCleanup(self.poller._epoll.close)

    def pair(self) -> tuple[End, socket.socket]:
        """An end that the poller has, and its peer."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        theirs.setblocking(False)
        return End(ours, self.poller), theirs

    def reading(self) -> tuple[End, socket.socket]:
        """One that wants to read."""
        end, peer = self.pair()
        self.poller.addReader(end)
        return end, peer

    @property
    def ready(self) -> bool:
        """What the reactor sees."""
        return bool(select.select([self.poller], [], [], 0)[0])


class TurnTests(PollerTestCase):
    def test_all_that_are_ready_have_their_turn(self) -> None:
        (first, first_peer), (second, second_peer), (third, _) = (self.reading() for _ in "123")
        self.assertFalse(self.ready)
        first_peer.send(b"one")
        second_peer.send(b"two")
        self.assertTrue(self.ready)
        self.poller.doRead()
        self.assertEqual((first.reads, second.reads, third.reads), ([b"one"], [b"two"], []))
        self.assertFalse(self.ready)
        self.poller.doRead()
        self.assertEqual(first.reads, [b"one"])

    def test_what_a_turn_brings_is_written_when_all_have_had_it(self) -> None:
        """And nothing is left to the reactor's next round."""
        (first, first_peer), (second, second_peer) = self.reading(), self.reading()

        def brings() -> None:
            self.assertTrue(self.turn.at_end(first))
            self.assertTrue(self.turn.at_end(second))
            for peer in (first_peer, second_peer):
                self.assertRaises(BlockingIOError, peer.recv, 100)

        first.on_read = second.on_read = brings
        first_peer.send(b"one")
        second_peer.send(b"two")
        self.poller.doRead()
        self.assertEqual([peer.recv(100) for peer in (first_peer, second_peer)], [b"written"] * 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_turn_writes_what_came_before_it(self) -> None:
        _, peer = self.reading()
        other, others_peer = self.reading()
        self.turn.at_end(other)
        peer.send(b"go")
        self.poller.doRead()
        self.assertEqual(others_peer.recv(100), b"written")
        self.reactor.advance(0)
        self.assertRaises(BlockingIOError, others_peer.recv, 100)

    def test_a_turn_has_an_end(self) -> None:
        """What is ready beyond it waits for the next one; nobody is left out."""
        ends = [self.reading() for _ in range(25)]
        self.patch(poller, "AT_ONCE", 10)
        for _, peer in ends:
            peer.send(b"x")
        for turns in range(1, 4):
            self.poller.doRead()
            served = sum(len(end.reads) for end, _ in ends)
            self.assertEqual(served, min(10 * turns, len(ends)))


class InterestTests(PollerTestCase):
    def test_the_reactor_has_it_as_long_as_anybody_waits(self) -> None:
        self.assertEqual(self.reactor.readers, [])
        (first, _), (second, _) = self.reading(), self.reading()
        self.poller.addReader(first)
        self.poller.addWriter(second)
        self.assertEqual(self.reactor.readers, [self.poller])
        self.poller.removeReader(first)
        self.poller.removeReader(second)
        self.poller.removeReader(second)
        self.assertEqual(self.reactor.readers, [self.poller])
        self.poller.removeWriter(second)
        self.assertEqual(self.reactor.readers, [])
        self.poller.addReader(first)
        self.assertEqual(self.reactor.readers, [self.poller])

    def test_reads_and_writes_are_apart(self) -> None:
        end, peer = self.reading()
        self.poller.addWriter(end)
        self.poller.doRead()
        self.assertEqual((end.reads, end.writes), ([], 1))
        peer.send(b"one")
        self.poller.doRead()
        self.assertEqual((end.reads, end.writes), ([b"one"], 2))
        self.poller.removeWriter(end)
        peer.send(b"two")
        self.poller.doRead()
        self.assertEqual((end.reads, end.writes), ([b"one", b"two"], 2))
        self.poller.addWriter(end)
        self.poller.removeReader(end)
        peer.send(b"three")
        self.poller.doRead()
        self.assertEqual((end.reads, end.writes), ([b"one", b"two"], 3))

    def test_who_ends_while_reading_does_not_write(self) -> None:
        end, peer = self.reading()
        self.poller.addWriter(end)
        end.on_read = lambda: CONNECTION_LOST
        peer.send(b"one")
        self.poller.doRead()
        self.assertEqual(end.writes, 0)
        self.assertEqual([reason.type for reason in end.lost], [ConnectionLost])

    def test_who_has_no_number_any_more(self) -> None:
        """As transports that are told of their end a second time."""
        end, _ = self.reading()
        end.close()
        self.poller.removeReader(end)
        self.poller.removeWriter(end)
        self.assertEqual(self.reactor.readers, [])

    def test_one_closes_another_that_is_ready_too(self) -> None:
        """And a third gets its number, with nothing to read yet."""
        (first, first_peer), (second, second_peer) = self.reading(), self.reading()
        opened: list[tuple[End, socket.socket]] = []

        def replace(other: End) -> None:
            if not opened:
                number = other.fileno()
                other.close()
                opened.append(self.reading())
                self.assertEqual(opened[0][0].fileno(), number)

        first.on_read = lambda: replace(second)
        second.on_read = lambda: replace(first)
        first_peer.send(b"one")
        second_peer.send(b"two")
        self.poller.doRead()
        self.assertEqual(len(first.reads) + len(second.reads), 1)
        [(third, third_peer)] = opened
        self.assertEqual((third.reads, third.lost), ([], []))
        third_peer.send(b"three")
        self.poller.doRead()
        self.assertEqual(third.reads, [b"three"])


class LossTests(PollerTestCase):
    def test_the_end(self) -> None:
        end, peer = self.reading()
        end.on_read = lambda: CONNECTION_DONE
        peer.close()
        self.poller.doRead()
        self.assertEqual([reason.type for reason in end.lost], [ConnectionDone])
        self.assertEqual(self.reactor.readers, [])

    def test_only_reading_has_ended(self) -> None:
        end, peer = self.reading()
        directlyProvides(end, IHalfCloseableDescriptor)
        self.poller.addWriter(end)
        end.on_read = lambda: CONNECTION_DONE
        peer.shutdown(socket.SHUT_WR)
        self.poller.doRead()
        self.assertEqual([reason.type for reason in end.half], [ConnectionDone])
        self.assertEqual((end.lost, len(end.reads)), ([], 1))
        self.poller.doRead()
        self.assertEqual((end.writes, len(end.reads)), (1, 1))
        end.on_write = lambda: CONNECTION_DONE  # all is written
        self.poller.doRead()
        self.assertEqual([reason.type for reason in end.lost], [ConnectionDone])

    def test_gone_while_it_waited_to_write(self) -> None:
        end, _ = self.pair()
        end.socket = socket.socket()  # neither connected nor listening: EPOLLHUP, EPOLLOUT
        self.addCleanup(end.socket.close)
        self.poller.addWriter(end)
        self.poller.doRead()
        self.assertEqual([reason.type for reason in end.lost], [ConnectionLost])
        self.assertEqual(end.writes, 0)

    def test_gone_while_it_waited_to_read(self) -> None:
        end, _ = self.pair()
        end.socket = socket.socket()
        self.addCleanup(end.socket.close)
        self.poller.addReader(end)
        self.poller.doRead()
        self.assertEqual([reason.type for reason in end.lost], [ConnectionDone])
        self.assertEqual(end.reads, [])

    def test_trouble_of_one_is_its_own(self) -> None:
        (first, first_peer), (second, second_peer) = self.reading(), self.reading()

        def fail() -> None:
            raise ZeroDivisionError

        first.on_read = first.on_lost = fail
        first_peer.send(b"one")
        second_peer.send(b"two")
        self.poller.doRead()
        self.assertEqual(second.reads, [b"two"])
        self.assertEqual([reason.type for reason in first.lost], [ZeroDivisionError])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        second_peer.send(b"three")
        self.poller.doRead()
        self.assertEqual(second.reads, [b"two", b"three"])

    def test_the_reactor_ends(self) -> None:
        (first, _), (second, _) = self.reading(), self.reading()
        self.poller.connectionLost(Failure(CONNECTION_LOST))
        for end in (first, second):
            self.assertEqual([reason.type for reason in end.lost], [ConnectionLost])
        self.assertEqual(self.reactor.readers, [])
