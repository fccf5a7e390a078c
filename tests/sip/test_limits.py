"""TCP connections that are too many of one address, or too slow."""

from msrpgw.limits import Limits, LimitSettings
from tests.sip.transport_cases import PEER, TransportTestCase, message


class SlowTests(TransportTestCase):
    """A message must arrive in time."""

    def setUp(self) -> None:
        super().setUp()
        self.limits = Limits(LimitSettings(progress_timeout=5.0, slowest=100))

    def trickle(self, data: bytes, seconds: float) -> None:
        """Send so many bytes, one each so many seconds."""
        for byte in data:
            if self.peer.lost is not None:
                return
            self.peer.transport.write(bytes((byte,)))
            self.network.run(seconds, seconds)

    def test_slow(self) -> None:
        """One byte a second: closed when the time is over, though something came all along."""
        self.start()
        self.peer = self.connect()
        self.trickle(message(), 1.0)
        self.assertIsNotNone(self.peer.lost)
        self.assertEqual(self.got, [])
        self.assertEqual(self.limits.counters.slow, 1)
        self.assertEqual(len(self.timers), 0)

    def test_body(self) -> None:
        """The same with a body that doesn't come."""
        self.start()
        self.peer = self.connect()
        self.peer.transport.write(message(body=b"x" * 50)[:-10])
        self.network.run(20.0, 1.0)
        self.assertIsNotNone(self.peer.lost)

    def test_steady(self) -> None:
        """Who always has a message under way, but completes them, may go on."""
        self.start()
        self.peer = self.connect()
        data = message()
        for _ in range(12):
            half = len(data) // 2
            self.peer.transport.write(data[half:] if self.got else data)
            self.peer.transport.write(data[:half])
            self.network.run(3.0, 1.0)
        self.assertIsNone(self.peer.lost)
        self.assertGreater(len(self.got), 10)

    def test_idle(self) -> None:
        """Between messages there is no hurry."""
        self.start()
        self.peer = self.connect()
        self.peer.transport.write(message())
        self.network.run(60.0, 1.0)
        self.assertIsNone(self.peer.lost)
        self.assertEqual(self.limits.counters.slow, 0)


class ConnectionTests(TransportTestCase):
    """So many of each address."""

    def test_share(self) -> None:
        self.limits = Limits(LimitSettings(source_connections=2), lambda host: host == "10.0.0.9")
        self.start()
        first, second, third = (self.connect() for _ in range(3))
        self.assertEqual([first.lost, second.lost], [None, None])
        self.assertIsNotNone(third.lost)
        self.assertIsNone(self.connect("10.0.0.3").lost)
        self.assertEqual(self.limits.counters.source_connections, 1)
        first.transport.loseConnection()
        self.network.run()
        self.assertIsNone(self.connect(PEER).lost)
        self.assertTrue(all(self.connect("10.0.0.9").lost is None for _ in range(5)))
