"""TCP connections (RFC 3261 §18, RFC 5626)."""

from msrpgw import line
from msrpgw.limits import LimitSettings
from msrpgw.line import AT_ONCE, SHARE
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.message import Response
from msrpgw.sip.parser import Malformed
from msrpgw.sip.stream import MOST_WAITING
from msrpgw.sip.transport import Target
from tests.sip.transport_cases import PEER, TransportTestCase, message
from tests.support import check_no_timers


class TcpTests(TransportTestCase):
    """Connections."""

    def tearDown(self) -> None:
        """Nothing is left after a stop."""
        stopped = self.transports.stop()
        self.network.run(1.1)
        self.successResultOf(stopped)
        check_no_timers(self, self.network.clock, self.timers)

    def test_answer_over_the_same_connection(self) -> None:
        """§18.2.2: responses go back over the connection that the request came on."""
        self.start()
        peer = self.connect()
        peer.transport.write(message("SIP/2.0/TCP x.example:5070;branch=z9hG4bK1"))
        self.network.run()
        source = self.got[-1][1]
        self.assertEqual((source.host, source.transport, source.reliable), (PEER, "TCP", True))
        self.answer()
        self.assertTrue(peer.received.startswith(b"SIP/2.0 200 OK\r\n"))
        self.assertEqual(len(self.network.connections), 1)

    def test_split_anywhere(self) -> None:
        """Messages come whole however TCP cuts them; several in one piece, too."""
        data = message("SIP/2.0/TCP x.example;branch=z9hG4bK1", "grüße".encode()) * 2
        for size in (1, 7, len(data)):
            self.setUp()
            self.start()
            peer = self.connect()
            for start in range(0, len(data), size):
                peer.transport.write(data[start : start + size])
                self.network.clock.advance(0)
            self.network.run()
            self.assertEqual([one.body for one, _ in self.got], ["grüße".encode()] * 2)
            self.assertTrue(self.network.connections[-1][1].no_delay)

    def test_more_than_has_a_turn(self) -> None:
        """The others wait; responses do not.  What waits too long is marked as late."""
        self.start()
        self.connect()
        served = self.network.connections[0][1].protocol
        request = message("SIP/2.0/TCP x.example;branch=z9hG4bK1")
        response = (
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\n"
            b"To: <sip:a@b>;tag=2\r\nCall-ID: 3\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        )
        served.dataReceived(request * (AT_ONCE + SHARE + 2) + response)
        self.assertEqual(len(self.got), AT_ONCE + 1)
        self.assertIsInstance(self.got[-1][0], Response)
        self.network.clock.rightNow += 0.5
        self.assertEqual(self.transports.waits, 0.5)
        self.limits.overloaded = True
        self.network.clock.advance(0)
        self.assertEqual(len(self.got), AT_ONCE + 1 + SHARE + 2)
        self.assertEqual(self.late, [False] * (AT_ONCE + 1) + [True] * (SHARE + 2))
        self.assertEqual(self.transports.waits, 0.0)

    def test_no_room(self) -> None:
        """With so many waiting that one more would wait too long, more are late at once."""
        self.start()
        self.connect()
        self.limits.overloaded = True
        self.limits.configure(LimitSettings(overload_wait=3 / line._RATE))
        served = self.network.connections[0][1].protocol
        served.dataReceived(message("SIP/2.0/TCP x.example;branch=z9hG4bK1") * (AT_ONCE + 5))
        self.assertEqual(self.late, [False] * AT_ONCE + [True] * 2)
        self.network.run()
        self.assertEqual(self.late, [False] * AT_ONCE + [True] * 2 + [False] * 3)

    def test_most_that_waits(self) -> None:
        """With so many requests nothing is read; when they had their turn it is."""
        self.start()
        peer = self.connect()
        served = self.network.connections[0][1]
        request = message("SIP/2.0/TCP x.example;branch=z9hG4bK1")
        served.protocol.dataReceived(request * (AT_ONCE + MOST_WAITING))
        self.assertEqual(served.paused, True)
        self.network.run(0.1)
        self.assertEqual(served.paused, False)
        self.assertEqual(len(self.got), AT_ONCE + MOST_WAITING)
        served.protocol.dataReceived(request * (AT_ONCE + 1))
        peer.transport.loseConnection()
        self.network.run()
        self.assertEqual(self.transports.waits, 0.0)

    def test_who_is_not_read_is_not_slow(self) -> None:
        """A message of which the rest waits for us to read it is not the peer's to finish."""
        self.start()
        self.connect()
        served = self.network.connections[0][1]
        request = message("SIP/2.0/TCP x.example;branch=z9hG4bK1")
        served.protocol.dataReceived(request * (AT_ONCE + MOST_WAITING) + request[:-1])
        self.network.clock.rightNow += 60.0
        served.protocol._slow.cancel()
        served.protocol._check_progress()
        self.assertFalse(served.lost)
        self.network.run()
        served.protocol.dataReceived(request[-1:])
        self.assertEqual(len(self.got), AT_ONCE + MOST_WAITING + 1)

    def test_fallback_to_the_via(self) -> None:
        """§18.2.2: with the connection gone, a new one to the source at sent-by's port."""
        self.start()
        self.listen(5070)
        peer = self.connect()
        peer.transport.write(message("SIP/2.0/TCP x.example:5070;branch=z9hG4bK1"))
        self.network.run()
        peer.transport.loseConnection()
        self.network.run()
        self.answer()
        self.assertEqual(len(self.network.connections), 2)
        self.assertTrue(self.peers.peers[-1].received.startswith(b"SIP/2.0 200 OK\r\n"))

    def test_fallback_without_received(self) -> None:
        """The same where sent-by is the source; and a peer that is gone is no problem."""
        self.start()
        peer = self.connect()
        peer.transport.write(message(f"SIP/2.0/TCP {PEER};branch=z9hG4bK1"))
        self.network.run()
        peer.transport.loseConnection()
        self.network.run()
        self.answer()
        self.assertEqual(self.failures, [])
        self.listen(5060)
        self.answer()
        self.assertTrue(self.peers.peers[-1].received.startswith(b"SIP/2.0 200 OK\r\n"))

    def test_keep_alive(self) -> None:
        """RFC 5626 §3.5.1: a double CRLF is answered with one CRLF, a single one is not."""
        self.start()
        peer = self.connect()
        peer.transport.write(b"\r\n\r\n")
        self.network.run()
        self.assertEqual(peer.received, b"\r\n")
        self.assertEqual(self.got, [])

    def test_broken_framing(self) -> None:
        """What can't be framed is handed up once, then the connection is closed."""
        self.start()
        peer = self.connect()
        bad = message("SIP/2.0/TCP x.example;branch=z9hG4bK1").replace(
            b"Content-Length: 2", b"Content-Length: -2"
        )
        peer.transport.write(bad + message())
        peer.transport.write(message())
        self.network.run()
        self.assertEqual(len(self.got), 1)
        self.assertIsInstance(self.got[0][0], Malformed)
        self.assertIsNotNone(peer.lost)

    def test_connect_and_reuse(self) -> None:
        """Requests wait for the connection, in order; then it is used again."""
        self.start()
        self.listen()
        for data in (b"one ", b"two ", b"three "):
            self.send(data)
        self.network.run()
        self.send(b"four")
        self.network.run()
        self.assertEqual(len(self.network.connections), 1)
        self.assertEqual(self.peers.peers[0].received, b"one two three four")

    def test_reuse_of_the_peers_connection(self) -> None:
        """A connection that the peer made is used for requests to the same address and port."""
        self.start()
        peer = self.connect()
        port = self.network.connections[0][0].host.port
        self.send(b"request", Target("TCP", PEER, port))
        self.network.run()
        self.assertEqual(peer.received, b"request")

    def test_refused(self) -> None:
        """A refusal is told as one, after ``send`` has returned."""
        self.start()
        self.send()
        self.assertEqual(self.failures, [])
        self.network.run()
        self.assertEqual(self.failures, [SendFailure("TCP connection refused", True)])

    def test_hanging_connect_stalls_nobody(self) -> None:
        """A peer whose TCP never answers fails alone, after ``connect_timeout``."""
        self.start(connect_timeout=5.0)
        self.network.hung.add(("10.0.0.66", 5060))
        self.listen()
        self.send(b"hung", Target("TCP", "10.0.0.66", 5060))
        self.send(b"fine")
        self.network.run()
        self.assertEqual(self.peers.peers[0].received, b"fine")
        self.network.run(5.1)
        self.assertEqual(self.failures, [SendFailure("TCP connect timed out")])

    def test_done_while_connecting(self) -> None:
        """What nobody waits for any more is not sent when the connection comes."""
        self.start()
        self.listen()
        first, _second = self.send(b"first "), self.send(b"second")
        first.done()
        self.network.run()
        self.assertEqual(self.peers.peers[0].received, b"second")

    def test_loss_of_a_fresh_connection(self) -> None:
        """A request lost with the connection that was made for it has failed."""
        self.start()
        self.listen()
        self.send(b"one")
        self.network.run()
        self.peers.peers[0].transport.loseConnection()
        self.network.run()
        self.assertEqual(self.failures, [SendFailure("TCP connection lost")])

    def test_loss_of_a_reused_connection(self) -> None:
        """A request lost with a connection that had grown stale goes out once more, only once."""
        self.start()
        self.listen()
        self.send(b"one").done()
        self.network.run()
        self.send(b"two")
        self.peers.peers[0].transport.abortConnection()
        self.network.run()
        self.assertEqual(self.peers.peers[1].received, b"two")
        self.assertEqual(self.failures, [])
        self.peers.peers[1].transport.abortConnection()
        self.network.run()
        self.assertEqual(len(self.peers.peers), 2)
        self.assertEqual(self.failures, [SendFailure("TCP connection lost")])

    def test_one_way(self) -> None:
        """What has no response is sent, over a new connection too, and then forgotten."""
        self.start()
        self.transports.send(b"refused", Target("TCP", PEER, 5060), None)
        self.network.run()
        self.listen()
        for data in (b"one ", b"two"):
            self.transports.send(data, Target("TCP", PEER, 5060), None)
            self.network.run()
        self.assertEqual(self.peers.peers[0].received, b"one two")
        self.peers.peers[0].transport.abortConnection()
        self.network.run()
        self.assertEqual(len(self.peers.peers), 1)

    def test_answered_request_is_not_repeated(self) -> None:
        """After ``done`` the loss of the connection is nobody's concern."""
        self.start()
        self.listen()
        sending = self.send(b"one")
        self.network.run()
        sending.done()
        self.peers.peers[0].transport.loseConnection()
        self.network.run()
        self.assertEqual((self.failures, len(self.peers.peers)), ([], 1))

    def test_idle(self) -> None:
        """A connection on which nothing comes is closed after ``idle_timeout``, not before."""
        self.start(idle_timeout=10.0)
        peer = self.connect()
        self.network.run(9, step=0.5)
        peer.transport.write(b"\r\n\r\n")
        self.network.run(9, step=0.5)
        self.assertIsNone(peer.lost)
        self.network.run(2, step=0.5)
        self.assertIsNotNone(peer.lost)

    def test_too_many_connections(self) -> None:
        """Above ``max_connections`` peers are turned away and ours are not made."""
        self.start(max_connections=2)
        self.listen()
        first, second, third = self.connect(), self.connect(), self.connect()
        self.assertEqual((first.lost, second.lost), (None, None))
        self.assertIsNotNone(third.lost)
        self.assertEqual(self.counters.refused_connections, 1)
        self.send()
        self.network.run()
        self.assertEqual(self.failures, [SendFailure("too many TCP connections", ours=True)])
        first.transport.loseConnection()
        self.network.run()
        self.send(b"now")
        self.network.run()
        self.assertEqual(self.peers.peers[-1].received, b"now")

    def test_peer_that_does_not_read(self) -> None:
        """What may wait for a slow peer is bounded; the connection is broken off, others go on."""
        self.start()
        peer = self.connect()
        port = self.network.connections[0][0].host.port
        ours = self.network.connections[0][1]
        ours.blocked = True
        self.send(b"x", Target("TCP", PEER, port))
        for _ in range(4):
            self.send(bytes(1024 * 1024), Target("TCP", PEER, port))
        self.assertIsNone(peer.lost)
        ours.unblock()
        ours.blocked = True
        for _ in range(6):
            self.send(bytes(1024 * 1024), Target("TCP", PEER, port))
        self.network.run()
        self.assertIsNotNone(peer.lost)
        self.assertIn(SendFailure("TCP connection lost"), self.failures)

    def test_stop_aborts_what_lingers(self) -> None:
        """A peer that does not take our last bytes does not hold up the end."""
        self.start()
        self.listen()
        self.network.hung.add(("10.0.0.66", 5060))
        self.send(b"hung", Target("TCP", "10.0.0.66", 5060))
        self.send(b"x")
        self.network.run()
        self.network.connections[0][0].blocked = True
        self.network.connections[0][0].write(b"more")
        stopped = self.transports.stop()
        self.network.run(0.5)
        self.assertNoResult(stopped)
        self.network.run(0.6)
        self.successResultOf(stopped)
        self.assertEqual(self.failures, [])
        self.send(b"late")
        self.network.run()
        self.assertEqual(self.failures, [SendFailure("too many TCP connections", ours=True)])
        self.start()  # for tearDown
