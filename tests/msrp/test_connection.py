"""One connection: reading in any pieces, writing with back-pressure, closing."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw import line
from msrpgw.limits import LimitSettings
from msrpgw.msrp import connection
from msrpgw.msrp.frame import Request, Response
from msrpgw.msrp.incoming import Incoming
from msrpgw.msrp.session import Session
from tests.msrp.support import Listener, Rig, send


class Reading(SynchronousTestCase):
    """Bytes come as TCP likes."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener(accept=True)
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)

    def test_socket_options(self) -> None:
        """No delay by Nagle, and the system looks whether an idle peer is alive."""
        self.assertEqual(self.peer.transport.options, {"nodelay", "keepalive"})

    def test_split_anywhere(self) -> None:
        """A SEND in two TCP reads, for every place to cut it."""
        size = len(send(self.session.path_text, "cut00000", b"a\r\n-------b"))
        for cut in range(size):
            data = send(self.session.path_text, f"cut{cut:05d}", b"a\r\n-------b")
            self.peer.write(data[:cut])
            self.peer.write(data[cut:])
            self.assertEqual(self.peer.statuses(), [(f"cut{cut:05d}", 200)])
        self.assertEqual(self.listener.bodies, [b"a\r\n-------b"] * size)

    def test_four_reads(self) -> None:
        """A SEND in four TCP reads."""
        data = send(self.session.path_text, "four0001", b"hello")
        for start in range(0, len(data), len(data) // 4 + 1):
            self.peer.write(data[start : start + len(data) // 4 + 1])
        self.assertEqual(self.peer.statuses(), [("four0001", 200)])

    def test_byte_by_byte(self) -> None:
        """A SEND in as many reads as it has octets, and the next one's start behind it."""
        data = send(self.session.path_text, "slow0001", b"hello")
        for octet in data:
            self.peer.write(bytes([octet]))
        self.peer.write(data.replace(b"slow0001", b"slow0002") + b"MSRP ")
        self.assertEqual(self.peer.statuses(), [("slow0001", 200), ("slow0002", 200)])

    def test_large(self) -> None:
        """More than 64 KiB in one chunk, in TCP reads of 64 KiB."""
        body = bytes(range(256)) * 1024
        data = send(self.session.path_text, "large001", body)
        for start in range(0, len(data), 65536):
            self.peer.write(data[start : start + 65536])
        self.assertEqual(self.peer.statuses(), [("large001", 200)])
        self.assertEqual(self.listener.bodies, [body])

    def test_malformed(self) -> None:
        """What can't be understood gets 400; the connection stays."""
        data = send(self.session.path_text, "bad00001", b"hello")
        self.peer.write(data.replace(b"Message-ID: ", b"Message-ID "))
        self.assertEqual(self.peer.statuses(), [("bad00001", 400)])
        self.assertEqual(self.peer.send(self.session), "peer0002")
        self.assertEqual(self.peer.statuses(), [("peer0002", 200)])

    def test_framing_lost(self) -> None:
        """Bytes that are no MSRP close the connection, which is the end of its sessions."""
        self.peer.write(b"GET / HTTP/1.1\r\n\r\n" * 4096)
        self.assertTrue(self.peer.transport.disconnecting)
        self.peer.hang_up()
        self.assertEqual(self.listener.events[-1][:5], "lost:")

    def test_cut_short(self) -> None:
        """A SEND whose header is cut short by the end of the connection."""
        self.peer.write(send(self.session.path_text, "half0001", b"hello")[:60])
        self.peer.hang_up()
        self.assertEqual(self.listener.events[-1][:5], "lost:")
        self.assertEqual(self.rig.pending(), 0)

    def test_response_to_nothing(self) -> None:
        """A response that nobody waits for is ignored, also twice."""
        self.listener.send(self.session)
        [request] = self.peer.requests()
        for _ in range(3):
            self.peer.answer(request)
        self.assertEqual([result.status for _, result in self.listener.results], [200])
        self.assertEqual(self.peer.raw(), b"")

    def test_response_after_close(self) -> None:
        """A response that comes when its session is over is ignored."""
        self.listener.send(self.session)
        [request] = self.peer.requests()
        self.session.close()
        self.peer.answer(request)
        self.assertEqual([result.lost for _, result in self.listener.results], [True])
        self.assertFalse(self.peer.transport.disconnecting)

    def test_listener_makes_trouble(self) -> None:
        """An exception in one session's listener keeps the connection for the others."""

        class Broken(Listener):
            def message_received(self, session: object, incoming: object) -> None:
                raise RuntimeError("broken on purpose")

        other = Broken()
        session = self.rig.passive(other, self.peer)
        self.peer.write(
            send(session.path_text, "trou0001", b"boo")
            + send(self.session.path_text, "fine0001", b"x")
        )
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.peer.statuses(), [("fine0001", 200)])

    def test_listener_makes_trouble_at_the_end(self) -> None:
        """An exception over a lost connection doesn't keep the news from the others."""

        class Broken(Listener):
            def session_lost(self, session: object, reason: str) -> None:
                raise RuntimeError("broken on purpose")

        peer = self.rig.accept()
        self.rig.passive(Broken(), peer)
        self.rig.passive(self.listener, peer)
        peer.hang_up()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.listener.events[-1][:5], "lost:")


class Writing(SynchronousTestCase):
    """A peer that reads slowly, or not at all."""

    def setUp(self) -> None:
        self.rig = Rig(write_buffer=65_536)
        self.listener = Listener()
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)

    def test_many_writes(self) -> None:
        """Far more than 32 SENDs can be under way, without the peer reading any."""
        for number in range(200):
            self.listener.send(self.session, message_id=f"out{number}")
        self.assertEqual(len(self.peer.answer_all()), 200)
        self.assertEqual(
            [message_id for message_id, _ in self.listener.results],
            [f"out{number}" for number in range(200)],
        )

    def test_back_pressure(self) -> None:
        """When the transport is full SENDs wait in their session, responses go out."""
        self.peer.transport.limit = 1000
        for number in range(50):
            self.listener.send(self.session, b"x" * 100, f"out{number}")
        self.peer.send(self.session)
        self.listener.messages[0].accept()
        frames = self.peer.read()
        written = [frame for frame in frames if isinstance(frame, Request)]
        self.assertTrue(2 < len(written) < 10, len(written))
        self.assertIsInstance(frames[-1], Response)
        total = len(written)
        while total < 50:
            self.peer.transport.drain()
            more = self.peer.requests()
            self.assertTrue(more)
            total += len(more)
        self.assertEqual(total, 50)

    def test_excess_is_bounded(self) -> None:
        """A larger write_buffer is used, and not more than that."""
        rig = Rig(write_buffer=65_536 + 10_000, window=10_000)
        peer = rig.accept()
        session = rig.passive(self.listener, peer)
        peer.transport.limit = 0
        for number in range(100):
            self.listener.send(session, b"x" * 1000, f"out{number}")
        written = len(peer.raw())
        self.assertTrue(10_000 < written < 13_000, written)

    def test_not_reading_responses(self) -> None:
        """A peer that sends and never reads isn't heard any more, until it reads."""
        self.peer.transport.limit = 0
        listener, transport = Listener(accept=True), self.peer.transport
        session = self.rig.passive(listener)
        count = 0
        while transport.producerState == "producing":
            self.peer.send(session)
            count += 1
            self.assertLess(count, 5000)
        self.assertGreater(count, 100)
        transport.drain()
        self.assertEqual(transport.producerState, "producing")

    def test_rest(self) -> None:
        """A session may have what comes over its connection wait for a while."""
        protocol = self.peer.protocol
        protocol.rest(self.session, 2.0)
        self.peer.send(self.session, b"1")
        self.rig.clock.advance(1.9)
        self.assertEqual(self.listener.bodies, [])
        self.rig.clock.advance(0.2)
        self.assertEqual(self.listener.bodies, [b"1"])
        protocol.rest(self.session, 2.0)
        self.peer.send(self.session, b"2")
        protocol.go_on()
        self.assertEqual(self.listener.bodies, [b"1"])
        self.rig.clock.advance(0)
        self.assertEqual(self.listener.bodies, [b"1", b"2"])
        protocol.rest(self.session, 2.0)
        self.peer.send(self.session, b"3")
        self.peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)
        self.rig.clock.advance(3.0)
        self.assertEqual(self.listener.bodies, [b"1", b"2"])

    def test_responses_need_not_wait(self) -> None:
        """What ends something makes room, and comes before what waits."""
        self.peer.protocol.rest(self.session, 2.0)
        self.listener.send(self.session)
        (request,) = self.peer.requests()
        self.peer.send(self.session, b"1")
        self.peer.answer(request)
        self.assertEqual(self.listener.events[-1], "out1: 200")

    def test_most_that_waits(self) -> None:
        """With so many requests, or bytes, nothing is read until they had their turn."""
        transport = self.peer.transport
        for count, body in ((connection.MOST_KEPT, b"x"), (2, bytes(40_000))):
            self.peer.protocol.rest(self.session, 2.0)
            for _ in range(count):
                self.assertEqual(transport.producerState, "producing")
                self.peer.send(self.session, body)
            self.assertEqual(transport.producerState, "paused")
            self.rig.clock.advance(2.1)
            self.rig.clock.pump([0] * (count // line.SHARE + 1))
            self.assertEqual(transport.producerState, "producing")
            self.assertEqual(len(self.listener.messages), count)
            self.listener.messages.clear()

    def test_who_is_not_read_is_not_slow(self) -> None:
        """A frame of which the rest waits for us to read it is not the peer's to finish."""
        protocol = self.peer.protocol
        protocol.rest(self.session, 60.0)
        for _ in range(connection.MOST_KEPT):
            self.peer.send(self.session, b"x")
        self.peer.write(send(self.session.path_text, "half", b"half")[:-9])
        self.rig.clock.pump([1.0] * 59)
        self.assertFalse(self.peer.transport.aborted)
        protocol.go_on()
        self.rig.clock.pump([1.0] * 25)
        self.assertTrue(self.peer.transport.aborted)

    def test_what_was_read_waits(self) -> None:
        """Frames that came with the one that was too much wait, and come in order."""
        session, protocol = self.session, self.peer.protocol
        taken = self.listener.messages

        def rest_at_two(incoming: Incoming) -> None:
            taken.append(incoming)
            if len(taken) % 2 == 0:
                protocol.rest(session, 1.0)

        self.patch(self.listener, "message_received", lambda session, one: rest_at_two(one))
        self.peer.write(b"".join(send(session.path_text, f"t{n:04d}", b"%d" % n) for n in range(5)))
        for count in (2, 4, 5):
            self.assertEqual([one.body for one in taken], [b"%d" % n for n in range(count)])
            self.rig.clock.advance(1.1)
        self.assertEqual(self.peer.transport.producerState, "producing")

    def test_nobody_rests_for_another(self) -> None:
        """A connection of several sessions is heard, and so is one that another session has."""
        protocol = self.peer.protocol
        other = self.rig.passive(Listener(accept=True), self.peer)
        protocol.rest(self.session, 2.0)
        self.peer.send(self.session, b"1")
        self.assertEqual(self.listener.bodies, [b"1"])
        self.session.close()
        protocol.rest(self.session, 2.0)
        self.peer.send(other, b"2")
        self.assertEqual(len(self.peer.statuses()), 1)
        protocol.rest(other, 2.0)
        self.peer.send(other, b"3")
        self.assertEqual(len(self.peer.statuses()), 0)

    def test_two_reasons_not_to_read(self) -> None:
        """Reading begins when both are over: too much waits, and responses aren't read."""
        transport, protocol = self.peer.transport, self.peer.protocol
        transport.limit = 0
        count = 0
        while transport.producerState == "producing":
            self.peer.write(send("msrp://127.0.0.1:2855/nobody;tcp", f"t{count:04d}", b"x"))
            count += 1
            self.assertLess(count, 5000)
        protocol.rest(self.session, 2.0)
        for _ in range(connection.MOST_KEPT):
            self.peer.send(self.session, b"x")
        transport.drain()
        self.assertEqual(transport.producerState, "paused")
        self.rig.clock.advance(2.1)
        self.rig.clock.pump([0] * 10)
        self.assertEqual(transport.producerState, "producing")

    def test_never_reads(self) -> None:
        """A peer that reads nothing for 30 s is cut off; one that catches up isn't."""
        self.peer.transport.limit = 0
        self.listener.send(self.session)
        self.rig.clock.advance(29)
        self.peer.transport.drain()
        self.rig.clock.advance(10)
        self.assertFalse(self.peer.transport.aborted)
        self.listener.send(self.session, message_id="out2")
        self.rig.clock.advance(30.1)
        self.assertTrue(self.peer.transport.aborted)
        self.peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)

    def test_turns(self) -> None:
        """Long messages of two sessions alternate; a short one of a third waits for neither."""
        listeners = [Listener(), Listener(), Listener()]
        sessions = [self.rig.passive(listener, self.peer) for listener in listeners]
        self.peer.transport.limit = 1
        listeners[0].send(sessions[0], b"a" * 20_000, "long-a")
        listeners[1].send(sessions[1], b"b" * 20_000, "long-b")
        listeners[2].send(sessions[2], b"c", "short")
        order: list[str] = [request.message_id for request in self.peer.requests()]
        while len(order) < 21:
            self.peer.transport.drain()
            order += [request.message_id for request in self.peer.requests()]
        # The first chunk was written before the others asked.
        self.assertEqual(order[:6], ["long-a", "long-a", "long-b", "short", "long-a", "long-b"])
        self.assertEqual(order.count("long-a"), 10)

    def test_leaves_its_turn(self) -> None:
        """A session that ends while it waits for its turn writes nothing more."""
        self.peer.transport.limit = 1
        for number in range(3):
            self.listener.send(self.session, message_id=f"out{number}")
        self.assertEqual(len(self.peer.requests()), 1)
        self.session.close()
        self.peer.transport.drain()
        self.assertEqual(self.peer.raw(), b"")
        self.assertEqual([result.lost for _, result in self.listener.results], [True] * 3)


class Late(SynchronousTestCase):
    """What waited while its connection rested, in a gateway that has too much to do."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener(accept=True)
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)
        self.rig.endpoint.limits.configure(LimitSettings(overload_wait=0.2))
        self.rig.endpoint.limits.overloaded = True

    def come_late(self, wait: float = 0.41, **fields: str) -> None:
        """Two SENDs come with a first one that was too much for now, then more."""
        protocol, session = self.peer.protocol, self.session
        took = self.listener.message_received

        def rest_at_first(of: Session, incoming: Incoming) -> None:
            took(of, incoming)
            if len(self.listener.messages) == 1:
                protocol.rest(session, 10.0)

        self.patch(self.listener, "message_received", rest_at_first)
        made = [send(session.path_text, f"t{n:04d}", b"%d" % n, **fields) for n in range(6)]
        self.peer.write(b"".join(made[:3]))
        self.rig.clock.advance(wait)
        protocol.go_on()
        self.rig.clock.advance(0.0)
        self.peer.write(b"".join(made[3:5]))
        self.peer.write(made[5])

    def found(self) -> list[int]:
        """What was answered, in order."""
        return [status for _, status in self.peer.statuses()]

    def test_late(self) -> None:
        """What waited twice as long as is too long is refused, what comes then is not."""
        self.come_late()
        self.assertEqual(self.found(), [200, 413, 413, 200, 200, 200])
        self.assertEqual(self.listener.bodies, [b"0", b"3", b"4", b"5"])
        counters = self.rig.endpoint.limits.counters
        self.assertEqual((counters.overload_late, counters.rested), (2, 1))

    def test_late_but_not_too_much(self) -> None:
        self.come_late(wait=0.39)
        self.assertEqual(self.found(), [200] * 6)

    def test_late_for_one_slow_page_user(self) -> None:
        """That is no overload: all is delivered, in order."""
        self.rig.endpoint.limits.overloaded = False
        self.come_late(wait=9.0)
        self.assertEqual(self.found(), [200] * 6)
        self.assertEqual(self.listener.bodies, [b"%d" % n for n in range(6)])

    def test_late_and_patient(self) -> None:
        """Nothing of a call for help is refused."""
        self.listener.patient = True
        self.come_late()
        self.assertEqual(self.found(), [200] * 6)

    def test_late_without_a_limit(self) -> None:
        self.rig.endpoint.limits.configure(LimitSettings(overload_wait=0.0))
        self.come_late(wait=9.0)
        self.assertEqual(self.found(), [200] * 6)

    def test_late_and_nobody_would_be_told(self) -> None:
        """A message whose sender wants no failure reported would be lost: it is delivered."""
        self.come_late(Failure_Report="no")
        self.assertEqual(self.listener.bodies, [b"%d" % n for n in range(6)])

    def sends(self, name: str, count: int) -> list[bytes]:
        """So many SENDs."""
        return [send(self.session.path_text, f"{name}{n:04d}", b"x") for n in range(count)]

    def fill(self) -> None:
        """There is no room for another request, and no turn left."""
        self.rig.clock.advance(1.0)
        self.full = self.patch(line.Line, "room", 0)
        while self.rig.endpoint.line.take():
            pass

    def test_no_room(self) -> None:
        """Refused at once, and nothing is read for a while."""
        transport = self.peer.transport
        self.fill()
        self.peer.protocol.dataReceived(b"".join(self.sends("one", 2)))
        self.assertEqual(self.found(), [413, 413])
        self.assertEqual(transport.producerState, "paused")
        self.rig.clock.advance(connection.HOLD - 0.1)
        self.assertEqual(transport.producerState, "paused")
        self.rig.clock.advance(0.1)
        self.assertEqual(transport.producerState, "producing")

    def test_room_again(self) -> None:
        """Then it is read before."""
        self.fill()
        self.peer.protocol.dataReceived(self.sends("one", 1)[0])
        self.full.restore()
        self.assertEqual(self.peer.transport.producerState, "paused")
        self.rig.clock.advance(0)
        self.assertEqual(self.peer.transport.producerState, "producing")
        self.assertEqual(self.rig.pending(), 0)

    def test_closed_while_it_waits(self) -> None:
        """What is kept of a connection that is being closed has no turn, and takes no room."""
        self.fill()
        self.full.restore()
        self.peer.protocol.dataReceived(b"".join(self.sends("one", 3)))
        self.assertEqual(len(self.rig.endpoint.line), 3)
        self.peer.protocol.close()
        self.rig.clock.advance(0)
        self.assertEqual((self.found(), len(self.rig.endpoint.line)), ([], 0))

    def test_hung_up_while_it_waits(self) -> None:
        """The same."""
        self.fill()
        self.full.restore()
        self.peer.protocol.dataReceived(b"".join(self.sends("one", 3)))
        self.peer.hang_up()
        self.assertEqual(len(self.rig.endpoint.line), 0)

    def test_hung_up_while_not_read(self) -> None:
        """No timer is left."""
        self.fill()
        self.peer.protocol.dataReceived(self.sends("one", 1)[0])
        self.peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)

    def test_what_was_not_read(self) -> None:
        """It came by and by."""
        self.fill()
        self.peer.protocol.dataReceived(self.sends("one", 1)[0])
        self.assertEqual(self.peer.transport.producerState, "paused")
        self.rig.clock.advance(1.0)
        self.assertEqual(self.peer.transport.producerState, "producing")
        self.found()
        self.full.restore()
        self.peer.protocol.rest(self.session, 10.0)
        self.peer.write(b"".join(self.sends("two", 4)))  # 1, 0.75, 0.5 and 0.25 seconds old
        self.rig.clock.advance(0.1)
        self.peer.protocol.go_on()
        self.rig.clock.advance(0)
        self.assertEqual(self.found(), [413, 413, 413, 200])

    def test_late_part(self) -> None:
        """A chunk of a longer message is not refused: the rest of it has been read."""
        self.come_late(Byte_Range="2-2/2")
        self.assertNotIn(413, self.found())


class Closing(SynchronousTestCase):
    """Who closes a connection, and when."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener()

    def test_never_bound(self) -> None:
        """A connection on which no session is bound is closed after bind_timeout."""
        peer = self.rig.accept()
        self.rig.clock.advance(29)
        self.assertFalse(peer.transport.disconnecting)
        self.rig.clock.advance(1.1)
        self.assertTrue(peer.transport.disconnecting)
        peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)

    def test_idle_is_kept(self) -> None:
        """A bound connection is never closed for being idle."""
        peer = self.rig.accept()
        session = self.rig.passive(self.listener, peer)
        self.rig.clock.advance(10 * 86400)
        self.assertFalse(peer.transport.disconnecting)
        self.listener.send(session)
        peer.answer_all()
        self.assertEqual(self.listener.events, ["up", "out1: 200"])

    def test_accepted_without_sessions(self) -> None:
        """When the last session has left, the peer closes, or we do after bind_timeout."""
        peer = self.rig.accept()
        first = self.rig.passive(self.listener, peer)
        second = self.rig.passive(Listener(), peer)
        first.close()
        self.rig.clock.advance(60)
        self.assertFalse(peer.transport.disconnecting)
        second.close()
        self.assertFalse(peer.transport.disconnecting)
        third = self.rig.passive(Listener(), peer)  # it may be used again
        self.rig.clock.advance(60)
        self.assertFalse(peer.transport.disconnecting)
        third.close()
        self.rig.clock.advance(30.1)
        self.assertTrue(peer.transport.disconnecting)

    def test_ours_without_sessions(self) -> None:
        """A connection that we made is closed with its last session."""
        session = self.rig.active(self.listener)
        peer = self.rig.dialled()
        peer.answer_all()
        session.close()
        self.assertTrue(peer.transport.disconnecting)
        self.assertIsNone(peer.transport.producer)

    def test_peer_does_not_read(self) -> None:
        """A closing connection that can't get rid of its bytes is cut off."""
        session = self.rig.active(self.listener)
        peer = self.rig.dialled()
        peer.answer_all()
        session.close()
        self.rig.clock.advance(5.1)
        self.assertTrue(peer.transport.aborted)
        peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)
