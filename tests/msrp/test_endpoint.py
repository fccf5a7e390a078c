"""The endpoint: which session a request belongs to, who may send it, and who connects."""

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError, TimeoutError
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.msrp.frame import Request, Response
from tests.msrp.support import PEER_PATH, Listener, Rig, sdp, send

OTHER_PATH = "msrp://203.0.113.9:2855/other;tcp"


class Table(SynchronousTestCase):
    """RFC 4975 §7.3 and §5.4: the To-Path finds the session, or else."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener(accept=True)
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)

    def check(self, status: int | None, body: bytes | None = b"hello", **fields: str) -> None:
        """A SEND gets this answer, and a normal one its 200 afterwards."""
        tid = self.peer.send(self.session, body, **fields)
        self.assertEqual(self.peer.statuses(), [] if status is None else [(tid, status)])
        tid = self.peer.send(self.session)
        self.assertEqual(self.peer.statuses(), [(tid, 200)])

    def test_uris(self) -> None:
        """Each session has a URI of its own, with 128 random bits."""
        paths = {self.rig.session(self.listener).path_text for _ in range(50)}
        self.assertEqual(len(paths), 50)
        for path in paths:
            self.assertRegex(path, r"^msrp://127\.0\.0\.1:2855/[0-9a-f]{32};tcp$")

    def test_unknown(self) -> None:
        """481 for a session that isn't there."""
        for to_path in (
            "msrp://127.0.0.1:2855/nobody;tcp",
            "msrp://127.0.0.1:2855;tcp",
            self.session.path_text.replace("msrp:", "msrps:"),
            self.session.path_text[:-4].upper().replace("MSRP:", "msrp:") + ";tcp",
        ):
            self.check(481, To_Path=to_path)
        self.check(None, To_Path="msrp://127.0.0.1:2855/nobody;tcp", Failure_Report="no")
        self.assertEqual(len(self.listener.bodies), 5)

    def test_equivalent(self) -> None:
        """§6.1: host in any case, other parameters ignored."""
        self.check(200, To_Path=self.session.path_text + ";x=y")
        self.check(200, From_Path="msrp://someone@192.0.2.7:7654/peersession;tcp;x")

    def test_several_uris(self) -> None:
        """An endpoint gets exactly one URI in the To-Path."""
        self.check(481, To_Path=f"{self.session.path_text} {OTHER_PATH}")

    def test_closed(self) -> None:
        """481 when the session has ended, and no REPORT or response ever."""
        self.session.close()
        tid = self.peer.send(self.session)
        self.assertEqual(self.peer.statuses(), [(tid, 481)])
        self.peer.send(self.session, None, method="REPORT", Status="000 200 OK")
        self.assertEqual(self.peer.raw(), b"")

    def test_second_connection(self) -> None:
        """506 on a second connection for a bound session, whoever it is."""
        foreign = self.rig.accept("203.0.113.9")
        tid = foreign.send(self.session)
        self.assertEqual(foreign.statuses(), [(tid, 506)])
        tid = foreign.send(self.session, None)
        self.assertEqual(foreign.statuses(), [(tid, 506)])
        self.assertEqual(self.listener.bodies, [])
        self.check(200)

    def test_foreign_from_path(self) -> None:
        """Only the negotiated peer may send, also when it comes first on the session."""
        self.check(403, From_Path=OTHER_PATH)
        session = self.rig.passive(self.listener)
        tid = self.peer.send(session, None, From_Path=OTHER_PATH)
        self.assertEqual(self.peer.statuses(), [(tid, 403)])
        self.peer.send(session, None)
        self.assertEqual(self.listener.events.count("up"), 2)

    def test_through_relays(self) -> None:
        """The rightmost URI of the From-Path is the sender; the response goes to the leftmost."""
        relay = "msrp://relay.example:9/r;tcp"
        tid = self.peer.send(self.session, From_Path=f"{relay} {PEER_PATH}")
        [response] = self.peer.read()
        assert isinstance(response, Response)
        self.assertEqual((response.transaction_id, response.status), (tid, 200))
        self.assertEqual(response.to_path_text, relay)
        self.assertEqual(response.from_path_text, self.session.path_text)

    def test_bad_path(self) -> None:
        """A path that is none gets 400, or 481."""
        for name in ("To_Path", "From_Path"):
            tid = self.peer.send(self.session, **{name: "sip:bob@example.com"})
            [(answered, status)] = self.peer.statuses()
            self.assertEqual(answered, tid)
            self.assertIn(status, (400, 481))

    def test_methods(self) -> None:
        """501 for what we don't understand; 481 comes first; AUTH is for relays."""
        for method in ("AUTH", "NICKNAME", "X", "FROBNICATE"):
            self.check(501, None, method=method)
        self.check(None, None, method="NICKNAME", Failure_Report="no")
        unknown = "msrp://127.0.0.1:2855/nobody;tcp"
        self.check(481, None, method="NICKNAME", To_Path=unknown)
        self.check(501, None, method="AUTH", To_Path=unknown)

    def test_report(self) -> None:
        """A REPORT is never answered, whatever is wrong with it."""
        for fields in (
            {"Status": "000 200 OK"},
            {"Status": "000 200"},
            {"Status": "001 481 what"},
            {"Message_ID": "m-unknown", "Status": "000 413"},
            {"Byte_Range": "1-5/5"},
            {"To_Path": "msrp://127.0.0.1:2855/nobody;tcp", "Status": "000 200 OK"},
            {"From_Path": OTHER_PATH, "Status": "000 200 OK"},
        ):
            self.check(None, None, method="REPORT", **fields)
        self.assertEqual(self.listener.reports, [])

    def test_untrusted(self) -> None:
        """403 for all that comes from a source that isn't trusted."""
        self.rig.forbidden.add("203.0.113.66")
        peer = self.rig.accept("203.0.113.66")
        session = self.rig.passive(Listener())
        for fields in ({}, {"method": "AUTH"}, {"To_Path": OTHER_PATH}):
            tid = peer.send(session, None, **fields)
            self.assertEqual(peer.statuses(), [(tid, 403)])
        self.rig.clock.advance(31)
        self.assertTrue(peer.transport.disconnecting)


class Early(SynchronousTestCase):
    """A peer that connects before its SDP answer has come to us."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener(accept=True)
        self.session = self.rig.session(self.listener)
        self.session.offer()
        self.peer = self.rig.accept()

    def test_held(self) -> None:
        """Its SENDs wait for the answer; then they are taken in order."""
        first = self.peer.send(self.session, None)
        second = self.peer.send(self.session, b"early")
        self.assertEqual(self.peer.raw(), b"")
        self.rig.clock.advance(60)
        self.assertFalse(self.peer.transport.disconnecting)
        self.session.apply_answer(sdp(setup="active"))
        self.session.start()
        self.assertEqual(self.peer.statuses(), [(first, 200), (second, 200)])
        self.assertEqual(self.listener.events, ["up", "message"])

    def test_someone_else(self) -> None:
        """Who turns out not to be the peer gets 403, and the peer can still come."""
        foreign = self.peer.send(self.session, b"early", From_Path=OTHER_PATH)
        self.session.apply_answer(sdp(setup="active"))
        self.session.start()
        self.assertEqual(self.peer.statuses(), [(foreign, 403)])
        peer = self.rig.accept()
        peer.send(self.session, None)
        self.assertEqual(self.listener.events, ["up"])

    def test_second_connection(self) -> None:
        """A connection that came first keeps others out."""
        self.peer.send(self.session, None)
        other = self.rig.accept("203.0.113.9")
        tid = other.send(self.session, None)
        self.assertEqual(other.statuses(), [(tid, 506)])

    def test_gone_again(self) -> None:
        """A connection that goes before the answer comes leaves the session as it was."""
        self.peer.send(self.session, None)
        self.peer.hang_up()
        self.session.apply_answer(sdp(setup="active"))
        self.session.start()
        self.assertEqual(self.listener.events, [])
        peer = self.rig.accept()
        peer.send(self.session, None)
        self.assertEqual(self.listener.events, ["up"])

    def test_bounded(self) -> None:
        """Only so many SENDs are kept."""
        for _ in range(70):
            self.peer.send(self.session, b"early")
        self.assertEqual([status for _, status in self.peer.statuses()], [403] * 6)

    def test_connected_though_passive(self) -> None:
        """A peer that connected is taken as it comes, though its answer has us connect."""
        tid = self.peer.send(self.session, None)
        self.session.apply_answer(sdp(setup="passive"))
        self.session.start()
        self.assertEqual(self.peer.statuses(), [(tid, 200)])
        self.assertEqual(self.listener.events, ["up"])
        self.assertEqual(self.rig.clock.tcpClients, [])


class Connecting(SynchronousTestCase):
    """The active side: connects, binds with an empty SEND, shares where the peer lets it."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener()

    def test_binds(self) -> None:
        """RFC 4975 §5.4: an empty SEND at once; up when it has its 200."""
        session = self.rig.active(self.listener)
        self.assertEqual(self.rig.clock.tcpClients[0][:2], ("192.0.2.7", 7654))
        self.assertEqual(self.rig.clock.tcpClients[0][3], 10.0)
        self.listener.send(session)
        peer = self.rig.dialled()
        [request] = peer.requests()
        self.assertEqual(request.method, "SEND")
        self.assertIsNone(request.content_type)
        self.assertIsNone(request.body)
        self.assertEqual(request.to_path_text, PEER_PATH)
        self.assertEqual(request.from_path_text, session.path_text)
        self.assertTrue(request.message_id)
        assert request.byte_range is not None
        self.assertEqual(
            (request.byte_range.start, request.byte_range.end, request.byte_range.total), (1, 0, 0)
        )
        self.assertEqual(self.listener.events, [])
        peer.answer(request)
        [request] = peer.requests()
        self.assertEqual(request.body, b"hello")
        peer.answer(request)
        self.assertEqual(self.listener.events, ["up", "out1: 200"])

    def test_bare_200(self) -> None:
        """A 200 without a phrase is one."""
        self.rig.active(self.listener)
        peer = self.rig.dialled()
        [request] = peer.requests()
        peer.write(
            f"MSRP {request.transaction_id} 200\r\nTo-Path: {request.from_path_text}\r\n"
            f"From-Path: {request.to_path_text}\r\n-------{request.transaction_id}$\r\n".encode()
        )
        self.assertEqual(self.listener.events, ["up"])

    def test_refused(self) -> None:
        """A peer that refuses the first SEND has lost the session."""
        self.listener.send(self.rig.active(self.listener))
        peer = self.rig.dialled()
        [request] = peer.requests()
        peer.answer(request, 481, "No such session")
        self.assertEqual(
            self.listener.events,
            ["out1: 0", "lost: peer refused the first SEND: 481 No such session"],
        )
        self.assertTrue(peer.transport.disconnecting)

    def test_no_answer(self) -> None:
        """So has one that doesn't answer it."""
        self.rig.active(self.listener)
        peer = self.rig.dialled()
        self.rig.clock.advance(30.1)
        self.assertEqual(self.listener.events, ["lost: no response to the first SEND"])
        peer.hang_up()
        self.assertEqual(self.rig.pending(), 0)

    def test_connect_fails(self) -> None:
        """Nobody listens."""
        self.rig.active(self.listener)
        self.rig.refused(ConnectionRefusedError())
        self.assertEqual(self.listener.events[0][:20], "lost: connect failed")
        self.assertEqual(self.rig.pending(), 0)

    def test_hanging_connect(self) -> None:
        """One peer whose connect hangs stalls nobody else."""
        self.rig.active(self.listener, path="msrp://198.51.100.1:1/hang;tcp")
        other = Listener()
        self.rig.active(other)
        self.rig.dialled(1).answer_all()
        self.assertEqual((self.listener.events, other.events), ([], ["up"]))
        self.rig.refused(TimeoutError(), 0)
        self.assertEqual(self.listener.events[0][:20], "lost: connect failed")

    def test_closed_while_connecting(self) -> None:
        """Nobody wants the connection any more."""
        self.rig.active(self.listener).close()
        peer = self.rig.dialled()
        self.assertTrue(peer.transport.disconnecting)
        self.assertEqual(peer.raw(), b"")
        self.assertEqual(self.listener.events, [])

    def test_closed_while_binding(self) -> None:
        """A session that ends before its first SEND is answered leaves nothing behind."""
        self.rig.active(Listener())
        peer = self.rig.dialled()
        peer.answer_all()
        session = self.rig.active(self.listener, path="msrp://192.0.2.7:7654/brief;tcp")
        [request] = peer.requests()
        session.close()
        [connection] = self.rig.endpoint._connections
        self.assertEqual(connection.transactions, {})
        peer.answer(request, 481)
        self.assertEqual(self.listener.events, [])

    def test_sessions_share(self) -> None:
        """§5.4: sessions to one host and port use one connection."""
        listeners = [Listener() for _ in range(3)]
        for number, listener in enumerate(listeners):
            self.rig.active(listener, path=f"msrp://192.0.2.7:7654/s{number};tcp")
        self.assertEqual(len(self.rig.clock.tcpClients), 1)
        peer = self.rig.dialled()
        self.assertEqual(
            [request.to_path_text[-6:] for request in peer.answer_all()],
            ["s0;tcp", "s1;tcp", "s2;tcp"],
        )
        late = Listener()
        self.rig.active(late, path="msrp://192.0.2.7:7654/late;tcp")
        peer.answer_all()
        self.assertEqual([one.events for one in [*listeners, late]], [["up"]] * 4)
        self.assertEqual(len(self.rig.clock.tcpClients), 1)

    def test_peer_does_not_share(self) -> None:
        """A refusal on a shared connection is not the last word: a connection of its own."""
        first, second = Listener(), Listener()
        self.rig.active(first)
        peer = self.rig.dialled()
        peer.answer_all()
        self.rig.active(second, path="msrp://192.0.2.7:7654/second;tcp")
        [request] = peer.requests()
        peer.answer(request, 506, "One at a time")
        self.assertEqual(len(self.rig.clock.tcpClients), 2)
        self.rig.dialled().answer_all()
        self.assertEqual((first.events, second.events), (["up"], ["up"]))
        self.assertFalse(peer.transport.disconnecting)
        third = Listener()  # it is not even tried any more
        self.rig.active(third, path="msrp://192.0.2.7:7654/third;tcp")
        self.assertEqual(len(self.rig.clock.tcpClients), 3)

    def test_unknown_on_shared(self) -> None:
        """A session that the peer doesn't know at all says nothing about sharing."""
        self.rig.active(Listener())
        peer = self.rig.dialled()
        peer.answer_all()
        self.rig.active(self.listener, path="msrp://192.0.2.7:7654/gone;tcp")
        peer.answer(peer.requests()[0], 481)
        alone = self.rig.dialled()
        alone.answer(alone.requests()[0], 481)
        self.assertEqual(self.listener.events[0][:5], "lost:")
        third = Listener()
        self.rig.active(third, path="msrp://192.0.2.7:7654/third;tcp")
        peer.answer_all()
        self.assertEqual(third.events, ["up"])
        self.assertEqual(len(self.rig.clock.tcpClients), 2)

    def test_not_shared_when_closing(self) -> None:
        """A connection that is being closed is no good for a new session."""
        self.rig.active(Listener()).close()
        self.rig.dialled()
        self.rig.active(self.listener)
        self.assertEqual(len(self.rig.clock.tcpClients), 2)
        self.rig.dialled().answer_all()
        self.assertEqual(self.listener.events, ["up"])

    def test_lost_takes_all(self) -> None:
        """§5.4: with the connection all its sessions have failed; others haven't."""
        listeners = [Listener() for _ in range(3)]
        for number, listener in enumerate(listeners):
            port = 7654 if number < 2 else 7655
            self.rig.active(listener, path=f"msrp://192.0.2.7:{port}/s{number};tcp")
        peers = [self.rig.dialled(0), self.rig.dialled(1)]
        for peer in peers:
            peer.answer_all()
        peers[0].hang_up()
        self.assertEqual([len(listener.events) for listener in listeners], [2, 2, 1])

    def test_relay(self) -> None:
        """A relay in the peer's path: connect to the first URI, To-Path carries all."""
        path = "msrp://198.51.100.2:9000/relay;tcp msrp://192.0.2.7:7654/peer;tcp"
        session = self.rig.active(self.listener, path=path)
        self.assertTrue(session.behind_relay)
        self.assertEqual(self.rig.clock.tcpClients[0][:2], ("198.51.100.2", 9000))
        peer = self.rig.dialled()
        [binding] = peer.answer_all()
        self.assertEqual(binding.to_path_text, path)
        self.listener.send(session)
        [request] = peer.answer_all()
        self.assertEqual(request.to_path_text, path)
        self.assertTrue(request.success_report)
        peer.send(session, From_Path=path)
        self.assertEqual(self.listener.bodies, [b"hello"])

    def test_peer_connects_meanwhile(self) -> None:
        """A peer that connects to us while our own connect hangs is taken."""
        self.rig.active(self.listener)
        peer = self.rig.accept()
        peer.send(self.rig.endpoint.sessions()[0], None)
        self.assertEqual(self.listener.events, ["up"])
        ours = self.rig.dialled()
        self.assertTrue(ours.transport.disconnecting)

    def test_peer_sends_before_its_200(self) -> None:
        """A message that overtakes the 200 to our first SEND says that the session is up."""
        session = self.rig.active(self.listener)
        peer = self.rig.dialled()
        [binding] = peer.requests()
        self.listener.send(session)
        tid = peer.send(session, None)  # binding in its turn; that is nothing new
        self.assertEqual(peer.statuses(), [(tid, 200)])
        peer.send(session)
        self.assertEqual(len(peer.requests()), 1)
        peer.answer(binding)
        self.assertEqual(self.listener.events, ["up", "message"])

    def test_where_to(self) -> None:
        """IPv6 addresses and the default port."""
        self.rig.active(self.listener, path="msrp://[2001:db8::7]/s;tcp")
        self.assertEqual(self.rig.clock.tcpClients[0][:2], ("2001:db8::7", 2855))

    def test_host_name(self) -> None:
        """A name is looked up by the reactor's resolver, which here knows all names."""
        self.rig.active(self.listener, path="msrp://peer.example:7654/s;tcp")
        self.assertEqual(self.rig.clock.tcpClients[0][:2], ("127.0.0.1", 7654))
        self.rig.dialled().answer_all()
        self.assertEqual(self.listener.events, ["up"])

    def test_bad_host_name(self) -> None:
        """A name that can't be looked up is a connect that fails."""
        self.rig.active(self.listener, path="msrp://" + "x" * 300 + ":7654/s;tcp")
        self.assertEqual(self.listener.events[0][:20], "lost: connect failed")


class Whole(SynchronousTestCase):
    """The endpoint's own life."""

    def test_listens(self) -> None:
        """One listener, on the address of the settings."""
        rig = Rig(listen="[::1]:2856", my_uri=None)
        self.assertEqual(rig.clock.tcpServers[0][0], 2856)
        self.assertEqual(rig.clock.tcpServers[0][3], "::1")
        self.assertEqual(rig.endpoint.address, "[::1]:2856")
        self.assertRegex(rig.session(Listener()).path_text, r"^msrp://\[::1\]:2856/")

    def test_my_uri(self) -> None:
        """Session URIs are made from my_uri, with our port where it has none."""
        rig = Rig(my_uri="msrp://gw.example.com")
        self.assertRegex(rig.session(Listener()).path_text, r"^msrp://gw\.example\.com:2855/")

    def test_cannot_listen(self) -> None:
        """A port in use is the caller's to report."""
        rig = Rig()

        def in_use(*args: object, **named: object) -> None:
            raise CannotListenError("127.0.0.1", 2855, OSError("in use"))

        rig.clock.listenTCP = in_use  # type: ignore[method-assign]
        self.assertRaises(CannotListenError, rig.endpoint.listen)

    def test_too_many_connections(self) -> None:
        """Connections are bounded, ours too; a session that gets none is lost."""
        rig = Rig(max_connections=2)
        peers = [rig.accept(), rig.accept()]
        self.assertIsNone(rig.clock.tcpServers[0][1].buildProtocol(None))
        listener = Listener()
        rig.active(listener)
        factory = rig.clock.tcpClients[0][2]
        self.assertIsNone(factory.buildProtocol(None))
        self.assertEqual(listener.events[0][:20], "lost: connect failed")
        peers[0].hang_up()
        rig.accept()

    def test_close(self) -> None:
        """Sessions end, connections and connects too; then the Deferred fires."""
        rig = Rig()
        up, connecting = Listener(), Listener()
        peer = rig.accept()
        session = rig.passive(up, peer)
        up.send(session)
        rig.active(connecting, path="msrp://198.51.100.1:1/hang;tcp")
        done = rig.endpoint.close()
        self.assertNoResult(done)
        self.assertEqual(up.events, ["up", "out1: 0"])
        self.assertTrue(peer.transport.disconnecting)
        self.assertTrue(rig.clock.connectors[0].stoppedConnecting)
        peer.hang_up()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(rig.pending(), 0)
        self.assertEqual(rig.endpoint.sessions(), [])

    def test_close_idle(self) -> None:
        """With nothing to wait for it fires at once, and can be asked for again."""
        rig = Rig(listen="127.0.0.1:2857")
        self.assertIsNone(self.successResultOf(rig.endpoint.close()))
        self.assertEqual(rig.endpoint.address, "127.0.0.1:2857")
        self.assertIsNone(self.successResultOf(rig.endpoint.close()))

    def test_stops_listening(self) -> None:
        """It waits for the port to be free."""
        rig = Rig()
        stopped: Deferred[None] = Deferred()
        assert rig.endpoint._port is not None
        rig.endpoint._port.stopListening = lambda: stopped  # type: ignore[method-assign]
        done = rig.endpoint.close()
        self.assertNoResult(done)
        stopped.callback(None)
        self.assertIsNone(self.successResultOf(done))


class Shared(SynchronousTestCase):
    """Several sessions that the peer brings on one connection."""

    def test_two(self) -> None:
        """Each gets its own messages; closing one leaves the other."""
        rig = Rig()
        peer = rig.accept()
        listeners = [Listener(accept=True), Listener(accept=True)]
        paths = ["msrp://192.0.2.7:7654/one;tcp", "msrp://192.0.2.7:7654/two;tcp"]
        sessions = [
            rig.passive(listener, peer, path=path)
            for listener, path in zip(listeners, paths, strict=True)
        ]
        peer.write(
            send(sessions[0].path_text, "aaaa", b"one", from_path=paths[0])
            + send(sessions[1].path_text, "bbbb", b"two", from_path=paths[1])
            + send(sessions[0].path_text, "cccc", b"crossed", from_path=paths[1])
        )
        self.assertEqual(peer.statuses(), [("aaaa", 200), ("bbbb", 200), ("cccc", 403)])
        self.assertEqual([listener.bodies for listener in listeners], [[b"one"], [b"two"]])
        sessions[0].close()
        listeners[1].send(sessions[1])
        [request] = peer.requests()
        self.assertIsInstance(request, Request)
        peer.answer(request)
        self.assertEqual(listeners[1].events[-1], "out1: 200")
