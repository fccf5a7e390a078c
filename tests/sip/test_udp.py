"""The UDP port that hears of ICMP errors (RFC 3261 §18.4)."""

import errno
import socket
import struct

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpgw import line
from msrpgw.line import AT_ONCE, REFUSED_AT_ONCE
from msrpgw.sip import udp
from tests.sip.transport_cases import US, Peer
from tests.support import Host, Network


class FakeSocket:
    """A UDP socket with a queue of errors."""

    cuts = True  # whether the kernel knows UDP_SEGMENT

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, object]] = []
        self.errors: list[tuple[bytes, list[tuple[int, int, bytes]], int, object]] = []
        self.incoming: list[tuple[bytes, object] | OSError] = []
        self.send_errors: list[int] = []
        self.calls = 0  # that sent many

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """It is set."""

    def getsockopt(self, level: int, option: int) -> int:
        """What UDP_SEGMENT is, if that is known."""
        assert (level, option) == (socket.SOL_UDP, 103)
        if not self.cuts:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")
        return 0

    def sendto(self, data: bytes, address: object) -> None:
        """Send, or fail."""
        if self.send_errors:
            number = self.send_errors.pop(0)
            raise OSError(number, "failed")
        self.sent.append((data, address))

    def sendmsg(
        self,
        parts: list[bytes],
        ancillary: list[tuple[int, int, bytes]],
        flags: int,
        address: object,
    ) -> None:
        """Send, cut into datagrams of one length, or fail."""
        ((level, kind, length),) = ancillary
        assert (level, kind) == (socket.SOL_UDP, 103)
        assert {len(part) for part in parts} == set(struct.unpack("=H", length))
        assert len(parts) <= 64
        assert sum(map(len, parts)) <= 65_507
        self.calls += 1
        if self.send_errors:
            raise OSError(self.send_errors.pop(0), "failed")
        self.sent += [(part, address) for part in parts]

    def recvfrom_into(self, buffer: memoryview) -> tuple[int, object]:
        """What came."""
        if not self.incoming:
            raise BlockingIOError
        found = self.incoming.pop(0)
        if isinstance(found, OSError):
            raise found
        data, address = found
        buffer[: len(data)] = data
        return len(data), address

    def recvmsg(self, size: int, ancillary: int, flags: int) -> object:
        """The next error."""
        if not self.errors:
            raise BlockingIOError
        return self.errors.pop(0)

    def add_error(self, number: int, origin: int = 2, data: bytes = b"data") -> None:
        """The network gave a datagram back."""
        value = struct.pack("=IBBBBII", number, origin, 3, 3, 0, 0, 0)
        self.errors.append((data, [(socket.IPPROTO_IP, 11, value)], 0, ("10.0.0.2", 5060)))


class FakeCrowded:
    """Refuses what begins with "late", and lets go of it if that is to be silent."""

    ANSWER = b"SIP/2.0 503"

    def __init__(self) -> None:
        self.longest_wait = 0.2
        self.answer = lambda data: self.ANSWER
        self.refusals: list[tuple[bytes, bool]] = []

    def refusal_of(self, data: bytes, address: tuple[str, int], silently: bool) -> bytes | None:
        """The answer, if there is to be one."""
        if not data.startswith(b"late"):
            return None
        self.refusals.append((data, silently))
        return b"" if silently else self.answer(data)


class PortTestCase(SynchronousTestCase):
    """A port with a fake socket."""

    def setUp(self) -> None:
        """A port with a fake socket."""
        test = self

        class Datagrams(Protocol):
            def datagramReceived(self, data: bytes, address: object) -> None:
                """Keep it, or fail."""
                test.received.append((data, address))
                if data == b"bad":
                    raise ZeroDivisionError

        self.received: list[object] = []
        self.given_back: list[tuple[bytes, str]] = []
        self.reading = 0
        self.clock = Clock()
        self.port = udp._IcmpPort(0, Datagrams(), "", 8192, self.clock)
        self.port.undeliverable = lambda data, reason: self.given_back.append((data, reason))
        self.crowded = FakeCrowded()
        self.port.use(self.crowded)
        self.socket = self.port.socket = FakeSocket()
        self.port.startReading = self._start_reading

    def _start_reading(self) -> None:
        self.reading += 1


class IcmpTests(PortTestCase):
    """What is read, and what the network gives back."""

    def test_reads(self) -> None:
        """All that is there is read; a datagram that fails does not stop the next."""
        self.socket.incoming = [(b"bad", ("::1", 1, 0, 0)), (b"b", ("10.0.0.1", 2))]
        self.port.doRead()
        self.assertEqual(self.received, [(b"bad", ("::1", 1)), (b"b", ("10.0.0.1", 2))])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_the_kernel_keeps(self) -> None:
        """It is asked for as much as the settings say; if it gives less, the log says so."""
        self.port.buffer = 5000
        with capturedLogs() as logged, socket.socket(type=socket.SOCK_DGRAM) as made:
            self.port.with_errors(made)
            self.assertEqual(made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 10_000)
            self.assertEqual(logged, [])
            self.port.buffer = 2**30
            self.port.with_errors(made)
        self.assertEqual([each["wanted"] for each in logged], [2**30])

    def test_error_only(self) -> None:
        """The queue is emptied whether the reactor calls that reading or the end."""
        self.socket.add_error(errno.ECONNREFUSED)
        self.port.doRead()
        self.socket.add_error(errno.EHOSTUNREACH)
        self.port.readConnectionLost(Failure(OSError()))
        self.port.writeConnectionLost(Failure(OSError()))
        self.assertEqual(
            self.given_back, [(b"data", "Connection refused"), (b"data", "No route to host")]
        )
        self.assertEqual(self.reading, 1)

    def test_error_in_the_way(self) -> None:
        """An error that reading meets closes nothing."""
        self.socket.incoming = [OSError(errno.EHOSTUNREACH, "x")]
        self.socket.add_error(errno.EHOSTUNREACH)
        self.port.doRead()
        self.assertEqual(len(self.given_back), 1)

    def test_other_errors(self) -> None:
        """What is no ICMP error, or only says that the path is narrow, is not told."""
        self.socket.add_error(errno.ECONNREFUSED, origin=1)
        self.socket.add_error(errno.EMSGSIZE)
        self.socket.errors.append((b"", [(0, 0, b"")], 0, None))
        self.port.doRead()
        self.assertEqual(self.given_back, [])

    def send(self, data: bytes, *errors: int) -> None:
        """Write a datagram, and let the turn end; sending fails so many times."""
        self.socket.send_errors = list(errors)
        self.port.write(data, ("10.0.0.2", 5060))
        self.clock.advance(0)

    def test_datagrams_leave_when_the_turn_is_over(self) -> None:
        for data in (b"one", b"two"):
            self.port.write(data, ("10.0.0.2", 5060))
        self.assertEqual((self.socket.sent, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(0)
        self.assertEqual([data for data, _ in self.socket.sent], [b"one", b"two"])
        self.send(b"three")
        self.assertEqual(len(self.socket.sent), 3)
        self.assertRaises(ValueError, self.port.write, b"where to?")

    def test_an_error_of_an_earlier_datagram_costs_nothing(self) -> None:
        self.socket.add_error(errno.ECONNREFUSED)
        self.send(b"one", errno.ECONNREFUSED)
        self.assertEqual(self.socket.sent, [(b"one", ("10.0.0.2", 5060))])
        self.assertEqual(self.given_back, [(b"data", "Connection refused")])

    def test_what_can_not_be_sent_is_told(self) -> None:
        self.send(b"one", errno.ENETUNREACH, errno.ENETUNREACH)
        self.send(b"two", errno.EMSGSIZE)
        self.assertEqual(self.given_back, [(b"one", "failed"), (b"two", "failed")])
        self.assertEqual(self.socket.sent, [])

    def test_a_full_buffer_loses_as_networks_do(self) -> None:
        self.send(b"lost", errno.EAGAIN)
        self.assertEqual((self.socket.sent, self.given_back), ([], []))

    def test_trouble_over_one_does_not_keep_others_from_leaving(self) -> None:
        def fail(data: bytes, reason: str) -> None:
            raise ZeroDivisionError

        self.port.undeliverable = fail
        self.port.write(b"one", ("10.0.0.2", 5060))
        self.send(b"two", errno.EMSGSIZE)
        self.assertEqual([data for data, _ in self.socket.sent], [b"two"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_was_written_leaves_before_the_socket_closes(self) -> None:
        self.port.connected = True
        self.port.stopReading = lambda: None
        self.port.write(b"goodbye", ("10.0.0.2", 5060))
        self.port.stopListening()
        self.assertEqual(self.socket.sent, [(b"goodbye", ("10.0.0.2", 5060))])

    def test_plain_port(self) -> None:
        """A reactor without file descriptors gives its own kind of port."""
        network = Network()
        protocol = Peer()
        made = udp.listen_udp(
            Host(network, US), 5060, US, protocol, lambda data, reason: None, FakeCrowded()
        )
        self.assertIs(network.udp[(US, 5060)], made)
        self.assertEqual(udp.waits(made), 0.0)


class TurnTests(PortTestCase):
    """More requests come than have a turn."""

    def come(self, *datagrams: bytes) -> None:
        """These come, and are read."""
        self.socket.incoming += [(each, ("10.0.0.1", 2)) for each in datagrams]
        self.port.doRead()

    def numbers(self, first: int, count: int, name: bytes = b"x") -> list[bytes]:
        """So many different requests."""
        return [b"%b %d" % (name, first + number) for number in range(count)]

    def bodies(self) -> list[bytes]:
        """What was handed up."""
        return [data for data, _ in self.received]  # type: ignore[misc,attr-defined]

    def test_in_order(self) -> None:
        """AT_ONCE in a turn; the others wait, and nothing overtakes them but responses."""
        requests = self.numbers(0, AT_ONCE + 4)
        response = b"SIP/2.0 200 OK"
        self.come(*requests[:-1], response)
        self.assertEqual(self.bodies(), [*requests[:AT_ONCE], response])
        self.assertEqual(self.socket.incoming, [])
        self.clock.rightNow += 0.25
        self.assertEqual(udp.waits(self.port), 0.25)
        self.come(requests[-1])
        self.clock.advance(0)
        self.assertEqual(self.bodies(), [*requests[:AT_ONCE], response, *requests[AT_ONCE:]])
        self.assertEqual(udp.waits(self.port), 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """What waited twice as long as is too long may be refused; what may not is handed up."""
        waiting = [*self.numbers(0, 3, b"late"), *self.numbers(AT_ONCE, 2)]
        self.come(*self.numbers(0, AT_ONCE), *waiting)
        self.clock.advance(0.39)
        self.assertEqual(self.crowded.refusals, [])
        self.assertEqual(self.bodies()[AT_ONCE:], waiting)
        self.received.clear()
        self.come(*self.numbers(0, AT_ONCE), *waiting)
        self.clock.advance(0.41)
        self.assertEqual(self.crowded.refusals, [(data, False) for data in waiting[:3]])
        self.assertEqual(self.bodies()[-2:], waiting[3:])

    def test_no_room(self) -> None:
        """With so many waiting that one more would wait too long, more are refused at once.

        Who would be refused after so many gets no answer.
        """
        self.crowded.longest_wait = 3 / line._RATE
        late = self.numbers(0, REFUSED_AT_ONCE + 5, b"late")
        self.come(*self.numbers(0, AT_ONCE + 3), *late[:500], b"x", b"SIP/2.0 200 OK")
        for first in range(500, len(late), 500):
            self.come(*late[first : first + 500])
        silences = [silent for _, silent in self.crowded.refusals]
        # The x took one, too, and could not be refused.
        self.assertEqual(silences, [False] * (REFUSED_AT_ONCE - 1) + [True] * 6)
        self.clock.advance(0)
        answers = [data for data, _ in self.socket.sent]
        self.assertEqual(answers, [self.crowded.ANSWER] * (REFUSED_AT_ONCE - 1))
        waited = [*self.numbers(AT_ONCE, 3), b"x"]
        self.assertEqual(self.bodies()[AT_ONCE:], [b"SIP/2.0 200 OK", *waited])

    def test_most_that_waits(self) -> None:
        """What finds no room stays in the kernel."""
        self.patch(udp, "MOST_WAITING", 200_000)
        size = udp.MOST_WAITING // 4
        self.come(*self.numbers(0, AT_ONCE), *[bytes(size)] * 5)
        self.come(b"x")
        self.assertEqual(len(self.socket.incoming), 1)
        self.clock.advance(0)
        self.port.doRead()
        self.assertEqual(self.bodies()[-1], b"x")

    def test_the_end(self) -> None:
        """What waits when the port is closed is let go of."""
        self.port.stopReading = lambda: None
        self.come(*self.numbers(0, AT_ONCE + 1))
        self.port.stopListening()
        self.clock.advance(1.0)
        self.assertEqual(len(self.received), AT_ONCE)
        self.assertEqual(udp.waits(self.port), 0.0)


class RefusalTests(PortTestCase):
    """Refusals leave together when the turn is over."""

    def setUp(self) -> None:
        super().setUp()
        self.crowded.longest_wait = 1e-9
        self.crowded.answer = lambda data: data.removeprefix(b"late ")
        self.ask_kernel()

    def ask_kernel(self) -> None:
        """The port is told what the kernel can do."""
        self.port.with_errors(self.port.socket)

    def refuse(self, *answers: bytes, address: tuple[str, int] = ("10.0.0.1", 2)) -> None:
        """What gets these answers comes, and there is no room for it."""
        self.socket.incoming += [(b"x", address)] * (AT_ONCE + 1)
        self.socket.incoming += [(b"late " + each, address) for each in answers]
        while self.socket.incoming:
            self.port.doRead()

    def sent(self) -> list[bytes]:
        """What left."""
        return [data for data, _ in self.socket.sent]

    def test_together(self) -> None:
        """Those of one length to one address in one call; one alone as any datagram."""
        self.refuse(b"one", b"two", b"longer", b"six")
        self.refuse(b"ten", address=("10.0.0.2", 2))
        self.assertEqual(self.socket.sent, [])
        self.clock.advance(0)
        one, other = ("10.0.0.1", 2), ("10.0.0.2", 2)
        self.assertEqual(
            self.socket.sent,
            [(b"one", one), (b"two", one), (b"six", one), (b"longer", one), (b"ten", other)],
        )
        self.assertEqual(self.socket.calls, 1)
        self.clock.advance(0)
        self.assertEqual(len(self.socket.sent), 5)

    def test_after_what_was_written(self) -> None:
        """Whichever was first: there is one end of a turn."""
        self.port.write(b"first", ("10.0.0.1", 2))
        self.refuse(b"one", b"two")
        self.port.write(b"second", ("10.0.0.1", 2))
        self.assertEqual(self.ends_of_turn(), 1)
        self.clock.advance(0)
        self.assertEqual(self.sent(), [b"first", b"second", b"one", b"two"])
        self.refuse(b"one")
        self.port.write(b"first", ("10.0.0.1", 2))
        self.assertEqual(self.ends_of_turn(), 1)

    def ends_of_turn(self) -> int:
        """How many times the port was told to send."""
        return [call.func for call in self.clock.getDelayedCalls()].count(self.port.turn_ended)

    def test_as_many_as_one_call_takes(self) -> None:
        """No more datagrams, nor bytes, than the kernel would cut."""
        answers = [b"%05d" % number for number in range(150)]
        self.refuse(*answers)
        self.clock.advance(0)
        self.assertEqual((self.sent(), self.socket.calls), (answers, 3))
        self.socket.sent.clear()
        for size, calls in ((1400, 2), (8000, 8), (33_000, 0)):
            self.socket.calls = 0
            answers = [(b"%d" % number) * size for number in range(1, 10)] * 7
            self.refuse(*answers)
            self.clock.advance(0)
            self.assertEqual((self.sent(), self.socket.calls), (answers, calls))
            self.socket.sent.clear()

    def test_an_older_kernel(self) -> None:
        self.socket.cuts = False
        self.ask_kernel()
        self.refuse(b"one", b"two")
        self.clock.advance(0)
        self.assertEqual((self.sent(), self.socket.calls), ([b"one", b"two"], 0))

    def test_what_can_not_leave_together(self) -> None:
        """It leaves one by one; an earlier datagram's error is told."""
        self.socket.add_error(errno.ECONNREFUSED)
        self.socket.send_errors = [errno.ECONNREFUSED]
        self.refuse(b"one", b"two")
        self.clock.advance(0)
        self.assertEqual(self.sent(), [b"one", b"two"])
        self.assertEqual(self.given_back, [(b"data", "Connection refused")])
        self.socket.send_errors = [errno.EINVAL, errno.EMSGSIZE]
        self.refuse(b"six", b"ten")
        self.clock.advance(0)
        self.assertEqual(self.sent()[2:], [b"ten"])
        self.assertEqual(self.given_back[1:], [(b"six", "failed")])

    def test_over_the_network(self) -> None:
        """A real kernel cuts what it is given, whether it is asked to or not."""
        with (
            socket.socket(type=socket.SOCK_DGRAM) as made,
            socket.socket(type=socket.SOCK_DGRAM) as peer,
        ):
            peer.bind(("127.0.0.1", 0))
            peer.settimeout(5.0)
            self.port.with_errors(made)
            self.port.socket = made
            self.port._send_alike([b"one", b"two", b"six"], 3, peer.getsockname())
            self.assertEqual([peer.recv(100) for _ in range(3)], [b"one", b"two", b"six"])
