"""MSRP connections that are too many of one address, or too slow."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.limits import Limits, LimitSettings
from tests.msrp.support import Listener, Rig


class SlowTests(SynchronousTestCase):
    """A frame must arrive in time."""

    def setUp(self) -> None:
        self.limits = Limits(LimitSettings(progress_timeout=5.0, slowest=100))
        self.rig = Rig(self.limits)

    def test_slow(self) -> None:
        """One byte a second, on a connection that a session is bound to."""
        peer = self.rig.accept()
        self.rig.passive(Listener(), peer)
        for byte in b"MSRP abcdefgh SEND\r\nTo-Path: msrp://":
            peer.write(bytes((byte,)))
            self.rig.clock.advance(1.0)
        self.assertTrue(peer.transport.disconnecting or peer.transport.disconnected)
        self.assertEqual(self.limits.counters.slow, 1)

    def test_large(self) -> None:
        """A large frame may take longer, a second for each ``slowest`` bytes."""
        peer = self.rig.accept()
        self.rig.passive(Listener(), peer)
        peer.write(b"MSRP abcdefgh SEND\r\nTo-Path: a\r\n\r\n")
        for _ in range(20):
            peer.write(b"x" * 150)
            self.rig.clock.advance(1.0)
        self.assertEqual(self.limits.counters.slow, 0)

    def test_idle(self) -> None:
        peer = self.rig.accept()
        self.rig.passive(Listener(), peer)
        self.rig.clock.advance(100.0)
        self.assertEqual(self.limits.counters.slow, 0)


class ConnectionTests(SynchronousTestCase):
    """So many of each address."""

    def test_share(self) -> None:
        limits = Limits(LimitSettings(source_connections=2), lambda host: False)
        rig = Rig(limits)
        first = rig.accept()
        rig.accept()
        factory = rig.clock.tcpServers[0][1]
        address = first.transport.getPeer()
        self.assertIsNone(factory.buildProtocol(address))
        self.assertEqual(limits.counters.source_connections, 1)
        first.hang_up()
        self.assertIsNotNone(factory.buildProtocol(address))
