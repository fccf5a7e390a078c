"""MSRPS: who is believed to be the session's peer, and who is not."""

from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import NotAcceptable
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Session, SessionState
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls, _Contexts, _make_contexts
from msrpgw.tls.fingerprints import make_fingerprint
from tests.msrp.support import Listener, sdp, send
from tests.network import Network
from tests.sip.transport_cases import PeerFactory
from tests.support import CountingRandom, LogLines, check_no_timers
from tests.tls.authority import CA, Issued, issue, make_authority, make_tls

A, B = "10.0.0.1", "10.0.0.2"
TYPES = ("text/plain",)


class Side:
    """One endpoint and its session."""

    def __init__(self, network: Network, host: str, tls: Tls, **settings: Any) -> None:
        reactor = network.host(host)
        self.timers = Timers(reactor)
        self.endpoint = Endpoint(
            reactor,
            self.timers,
            CountingRandom(host),
            MsrpSettings(listen=f"{host}:2855", listen_tls=f"{host}:2856", **settings),
            allow_source=lambda address: True,
            tls=tls,
        )
        self.endpoint.listen()
        self.listener = Listener(accept=True)
        self.session = self.endpoint.create_session(self.listener, TYPES)


def without_fingerprint(body: bytes) -> bytes:
    """The same SDP without that attribute."""
    lines = body.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"a=fingerprint"))


def forge(side: Side, fingerprint: bytes, body: bytes) -> bytes:
    """The same SDP with another fingerprint in place of a side's."""
    assert side.endpoint.secure is not None
    return body.replace(side.endpoint.secure.fingerprint.encode(), fingerprint)


class SecureTestCase(SynchronousTestCase):
    """Alice, a, and Bob, b, whose SDP is exchanged by hand."""

    def setUp(self) -> None:
        self.network = Network()
        self.network.names.update({"a.example": [A], "b.example": [B]})
        self.log = LogLines(self, "msrpgw")
        self.sides: list[Side] = []

    def side(
        self, host: str, own: Issued, tls: dict[str, Any] | None = None, **settings: Any
    ) -> Side:
        """One of the two."""
        made = make_tls(self.mktemp(), own, host=settings.pop("name", host), **(tls or {}))
        side = Side(self.network, host, made, **settings)
        self.sides.append(side)
        return side

    def pair(
        self,
        one: Issued | None = None,
        two: Issued | None = None,
        **more: Any,
    ) -> tuple[Side, Side]:
        """Both; by default with self-signed certificates that name nobody."""
        return self.side(A, one or issue(), **more), self.side(B, two or issue(), **more)

    def negotiate(
        self,
        one: Side,
        two: Side,
        *,
        protected: bool = True,
        setup: bytes = b"",
        change: Callable[[bytes], bytes] = lambda body: body,
    ) -> None:
        """One calls two.  ``change``: what happens to both SDP bodies on their way."""
        offer = one.session.offer(True)
        self.assertIn(b" TCP/TLS/MSRP *\r\n", offer)
        if setup:
            offer = offer.replace(b"a=setup:actpass", b"a=setup:" + setup)
        answer = two.session.answer(change(offer), protected)
        one.session.apply_answer(change(answer), protected)
        for side in (one, two):
            side.session.start()
        self.network.run()

    def assertTalk(self, one: Side, two: Side) -> None:
        """Texts cross both ways, and nothing of them in clear."""
        one.listener.send(one.session, b"from one")
        two.listener.send(two.session, b"from two", "out2")
        self.network.run()
        self.assertEqual((one.listener.bodies, two.listener.bodies), ([b"from two"], [b"from one"]))
        for ends in self.network.connections:
            for end in ends:
                self.assertNotIn(b"MSRP", end.written)

    def assertNothing(self, one: Side, two: Side, *words: str) -> None:
        """Neither is up, nothing crossed, and the log says why."""
        for side in (one, two):
            self.assertNotIn("up", side.listener.events)
            self.assertEqual(side.listener.bodies, [])
        lines = "\n".join(self.log.lines)
        for each in words:
            self.assertIn(each, lines)
        self.assertTrue(all(line.isprintable() for line in self.log.lines))
        self.finish()

    def finish(self) -> None:
        """Close; nothing is left."""
        closed = [side.endpoint.close() for side in self.sides]
        self.network.run(6)
        for each in closed:
            self.successResultOf(each)
        for side in self.sides:
            check_no_timers(self, self.network.clock, side.timers)


class FingerprintTests(SecureTestCase):
    """RFC 4975 §14.4: a certificate is as good as the SDP that has its fingerprint."""

    def test_self_signed(self) -> None:
        for setup in (b"actpass", b"passive"):
            one, two = self.pair()
            self.negotiate(one, two, setup=setup)
            self.assertTalk(one, two)
            self.finish()
            self.setUp()

    def test_in_the_offer(self) -> None:
        own = issue()
        one = self.side(A, own)
        offer = one.session.offer(True).decode()
        self.assertIn(f"a=fingerprint:{own.fingerprint.render()}\r\n", offer)
        self.assertIn("a=path:msrps://10.0.0.1:2856/", offer)
        self.assertIn("m=message 2856 TCP/TLS/MSRP *\r\n", offer)
        self.finish()

    def test_of_another_certificate(self) -> None:
        """Whoever connects: we hear of it, and the session is torn down."""
        for setup, role in ((b"actpass", "MSRPS server"), (b"passive", "MSRPS client")):
            one, two = self.pair()
            wrong = issue().fingerprint.render().encode()
            self.negotiate(one, two, setup=setup, change=partial(forge, one, wrong))
            reason = "TLS handshake failed, the certificate has another fingerprint, from 10.0.0.1"
            self.assertNothing(one, two, reason, f"wanted {wrong.decode()}, it has", "MSRPS")
            self.assertIn(role, "\n".join(self.log.lines))
            self.assertIs(two.session.state, SessionState.OVER)
            self.assertIn("fingerprint", two.listener.events[-1])
            self.setUp()

    def test_over_plain_sip(self) -> None:
        """Anybody could have changed it."""
        one, two = self.pair()
        self.negotiate(one, two, protected=False)
        self.assertNothing(
            one,
            two,
            "the certificate is of an unknown authority (self-signed)",
            "its fingerprint came over SIP in plain text",
        )

    def test_over_plain_sip_by_configuration(self) -> None:
        one, two = self.pair(tls={"self_signed": "always"})
        self.negotiate(one, two, protected=False)
        self.assertTalk(one, two)
        self.finish()

    def test_never(self) -> None:
        one, two = self.pair(tls={"self_signed": "never"})
        self.negotiate(one, two)
        self.assertNothing(one, two, "unknown authority (self-signed)", "self_signed is never")

    def test_a_certificate_that_was_promised(self) -> None:
        """RFC 4572 §6.2: also whoever connects must show it."""
        one, two = self.pair(issue(ips=(A,), issuer=CA), issue(ips=(B,), issuer=CA))
        assert one.endpoint.secure is not None
        one.endpoint.secure._tls._contexts.by_role["MSRPS client"] = SSL.Context(SSL.TLS_METHOD)
        self.negotiate(one, two)
        self.assertNothing(one, two, "no client certificate, from 10.0.0.1: MSRPS server")

    def test_a_certificate_that_was_not(self) -> None:
        """§5.4: then the URI, which nobody else was told, says who it is; unless we want one."""
        for required in (False, True):
            one, two = self.pair(
                issue(ips=(A,), issuer=CA),
                issue(ips=(B,), issuer=CA),
                tls={"require_client_certificate": required},
            )
            assert one.endpoint.secure is not None
            bare = SSL.Context(SSL.TLS_METHOD)
            one.endpoint.secure._tls._contexts.by_role["MSRPS client"] = bare
            self.negotiate(one, two, change=without_fingerprint, setup=b"active")
            if required:
                # In TLS 1.3 who connects learns of it afterwards.
                self.assertIn("TLS: the peer wants a client certificate", one.listener.events[-1])
                self.assertNothing(
                    one,
                    two,
                    "no client certificate, from 10.0.0.1: MSRPS server",
                    "TLS connection broken, the peer wants a client certificate of ours,",
                )
            else:
                self.assertTalk(one, two)
                self.finish()
            self.setUp()

    def test_a_connection_that_comes_before_the_answer(self) -> None:
        """RFC 4572 §6.2: nothing that it brings counts until the SDP is there."""
        for right in (True, False):
            one, two = self.pair()
            offer = one.session.offer(True)
            answer = two.session.answer(offer.replace(b"actpass", b"passive"), True)
            if not right:
                answer = forge(two, issue().fingerprint.render().encode(), answer)
            two.session.start()
            two.listener.send(two.session, b"early")
            self.network.run()
            self.assertEqual(one.listener.bodies, [])
            one.session.apply_answer(answer.replace(b"a=setup:passive", b"a=setup:active"), True)
            one.session.start()
            self.network.run()
            if right:
                self.assertEqual(one.listener.bodies, [b"early"])
                self.finish()
            else:
                self.assertNothing(one, two, "the certificate has another fingerprint")
            self.setUp()

    def test_expired(self) -> None:
        """No fingerprint mends that."""
        for setup in (b"actpass", b"passive"):
            one, two = self.pair()
            self.spoil(one, issue(expired=True))
            self.negotiate(one, two, setup=setup)
            self.assertNothing(one, two, "the certificate has expired, from 10.0.0.1: MSRPS")
            self.setUp()

    def spoil(self, side: Side, own: Issued) -> None:
        """Give a side a certificate that it would not start with."""
        assert side.endpoint.secure is not None
        tls = side.endpoint.secure._tls
        certificates = tls._contexts.certificates
        certificates.own[0].chain, certificates.own[0].key = [own.certificate], own.key
        contexts = _make_contexts(tls.settings, certificates, "")
        tls.use(tls.settings, _Contexts(certificates, contexts))
        side.session.close()
        side.session = side.endpoint.create_session(side.listener, TYPES)

    def test_none(self) -> None:
        one, two = self.pair()
        self.negotiate(one, two, change=without_fingerprint)
        self.assertNothing(one, two, "unknown authority (self-signed)", "the SDP has none")

    def test_sha1(self) -> None:
        for allowed in (False, True):
            certificates = (issue(), issue())
            one, two = self.pair(*certificates, tls={"sha1_fingerprints": allowed})

            def weaken(body: bytes, certificates: tuple[Issued, ...] = certificates) -> bytes:
                for each in certificates:
                    weak = make_fingerprint(each.der, "sha-1")
                    # RFC 4975's own example writes the hash in capitals.
                    weaker = weak.render().replace("sha", "SHA").encode()
                    body = body.replace(each.fingerprint.render().encode(), weaker)
                return body

            self.negotiate(one, two, change=weaken)
            if allowed:
                self.assertTalk(one, two)
                self.finish()
            else:
                self.assertNothing(one, two, "no fingerprint counts, the SDP has sha-1")
            self.setUp()


class NameTests(SecureTestCase):
    """§5.4: without a fingerprint that is enough, authority and name count."""

    def good(self) -> tuple[Issued, Issued]:
        """Certificates that name the hosts of the URIs."""
        return issue(ips=(A,), issuer=CA), issue(ips=(B,), issuer=CA)

    def test_without_fingerprints(self) -> None:
        for setup in (b"actpass", b"passive"):
            one, two = self.pair(*self.good())
            self.negotiate(one, two, protected=False, change=without_fingerprint, setup=setup)
            self.assertTalk(one, two)
            self.finish()
            self.setUp()

    def test_host_names(self) -> None:
        one = self.side(
            A, issue("a.example", issuer=CA), my_uri_tls="msrps://A.example", name="a.example"
        )
        two = self.side(
            B, issue("b.example", issuer=CA), my_uri_tls="msrps://b.example", name="b.example"
        )
        self.negotiate(one, two, protected=False, change=without_fingerprint)
        self.assertTalk(one, two)
        self.finish()

    def test_another_name(self) -> None:
        for setup in (b"actpass", b"passive"):
            one, two = self.pair(issue("evil.example", issuer=CA), self.good()[1])
            self.negotiate(one, two, protected=False, change=without_fingerprint, setup=setup)
            self.assertNothing(
                one,
                two,
                "the certificate has another name, from 10.0.0.1: MSRPS",
                "wanted 10.0.0.1, it has evil.example",
            )
            self.setUp()

    def test_a_fingerprint_in_plain_sip_still_must_match(self) -> None:
        one, two = self.pair(*self.good())
        wrong = issue().fingerprint.render().encode()
        self.negotiate(one, two, protected=False, change=partial(forge, one, wrong))
        self.assertNothing(one, two, "the certificate has another fingerprint")

    def test_relay(self) -> None:
        """Fingerprints are of the user; the relay before him must have its own name."""
        for names, enough in ((("relay.example",), True), (("other.example",), False)):
            self.network.names["relay.example"] = [B]
            one = self.side(A, self.good()[0])
            relay = self.side(B, issue(*names, issuer=CA))
            offer = sdp(
                "msrps://relay.example:2856/;tcp msrps://bob.invalid:9/x;tcp", setup="passive"
            )
            promise = f"a=fingerprint:{issue().fingerprint.render()}\r\n".encode()
            one.session.answer(offer.replace(b"TCP/MSRP", b"TCP/TLS/MSRP") + promise, True)
            one.session.start()
            self.network.run()
            if enough:  # as far as TLS goes
                self.assertIn("peer refused the first SEND: 481", one.listener.events[-1])
                self.finish()
            else:
                self.assertNothing(
                    one, relay, "wanted relay.example, it has other.example", "MSRPS client"
                )
            self.setUp()

    def test_another_authority(self) -> None:
        one, two = self.pair(
            issue(ips=(A,), issuer=make_authority("Other")), issue(ips=(B,), issuer=CA)
        )
        self.negotiate(one, two, change=without_fingerprint)
        self.assertNothing(
            one, two, "the certificate is of an unknown authority, from 10.0.0.1: MSRPS"
        )


class PlainTests(SecureTestCase):
    """MSRPS never becomes MSRP."""

    def test_plain_text_at_the_port(self) -> None:
        one, two = self.pair()
        peers = PeerFactory()
        self.network.host("10.0.0.3").connectTCP(A, 2856, peers)
        self.network.run(0.1)
        peers.peers[0].transport.write(send(one.session.path_text, "tid0", b"hi"))  # type: ignore[union-attr]
        self.network.run()
        self.assertIsNotNone(peers.peers[0].lost)
        self.assertNothing(
            one, two, "TLS handshake failed, plain text arrived, from 10.0.0.3: MSRPS server"
        )

    def test_plain_text_at_the_other_port(self) -> None:
        """Even who knows the session's URI can't do without TLS."""
        one, two = self.pair()
        offer = one.session.offer(True)
        answer = two.session.answer(offer.replace(b"actpass", b"active"), True)
        one.session.apply_answer(answer, True)
        one.session.start()
        peers = PeerFactory()
        self.network.host(B).connectTCP(A, 2855, peers)
        self.network.run(0.1)
        request = send(one.session.path_text, "tid0", b"hi", from_path=two.session.path_text)
        peers.peers[0].transport.write(request)  # type: ignore[union-attr]
        self.network.run()
        self.assertIn(b"MSRP tid0 403 ", peers.peers[0].received)
        self.assertNothing(one, two, "plain text arrived, from 10.0.0.2")

    def test_an_answer_without_tls(self) -> None:
        one, _ = self.pair()
        one.session.offer(True)
        with self.assertRaises(NotAcceptable):
            one.session.apply_answer(sdp())
        self.finish()

    def test_a_later_offer_without_tls(self) -> None:
        one, two = self.pair()
        self.negotiate(one, two)
        later = two.endpoint.create_session(two.listener, TYPES, replaces=two.session)
        self.assertTrue(later.secure)
        with self.assertRaises(NotAcceptable):
            later.answer(sdp(), True)
        later.close()
        self.assertIn(b" TCP/TLS/MSRP ", self.successor(one).offer())
        self.finish()

    def successor(self, side: Side) -> Session:
        """The session that takes the place of one that was lost."""
        return side.endpoint.create_session(side.listener, TYPES, replaces=side.session)

    def test_required(self) -> None:
        one, _ = self.pair(require_tls=True)
        self.assertIn(b" TCP/TLS/MSRP ", one.session.offer())
        fresh = one.endpoint.create_session(one.listener, TYPES)
        with self.assertRaises(NotAcceptable) as caught:
            fresh.answer(sdp())
        self.assertIn("Only TCP/TLS/MSRP will do", caught.exception.headers[0][1])
        self.finish()

    def test_by_choice_of_the_peer(self) -> None:
        """Who offers plain MSRP gets it, where TLS is not required."""
        one, two = self.pair()
        offer = one.session.offer()
        self.assertNotIn(b"TLS", offer)
        self.assertNotIn(b"fingerprint", offer)
        one.session.apply_answer(two.session.answer(offer, True), True)
        for side in (one, two):
            side.session.start()
        self.network.run()
        self.assertEqual([side.listener.events for side in (one, two)], [["up"], ["up"]])
        self.finish()


class ConnectionTests(SecureTestCase):
    """What is shared, what is bounded."""

    def test_shared_by_who_wants_the_same(self) -> None:
        one, two = self.pair()
        self.negotiate(one, two, setup=b"passive")
        first = (one.session, two.session)
        one.session = one.endpoint.create_session(one.listener, TYPES)
        two.session = two.endpoint.create_session(two.listener, TYPES)
        self.negotiate(one, two, setup=b"passive")
        self.assertEqual(len(self.network.connections), 1)
        self.assertIs(first[0].connection, one.session.connection)
        self.assertTalk(one, two)
        self.finish()

    def test_not_shared_by_who_wants_another(self) -> None:
        """What is good enough for a protected call is not for another."""
        one, two = self.pair()
        self.negotiate(one, two, setup=b"passive")
        one.session = one.endpoint.create_session(one.listener, TYPES)
        two.session = two.endpoint.create_session(two.listener, TYPES)
        self.negotiate(one, two, setup=b"passive", protected=False)
        self.assertEqual(len(self.network.connections), 2)
        self.assertIs(two.session.state, SessionState.OVER)
        self.finish()

    def test_a_peer_that_does_not_speak_tls(self) -> None:
        one, _ = self.pair()
        peers = PeerFactory()
        self.network.host(B).listenTCP(9000, peers)
        offer = sdp("msrps://10.0.0.2:9000/x;tcp", setup="passive")
        one.session.answer(offer.replace(b"TCP/MSRP", b"TCP/TLS/MSRP"))
        one.session.start()
        self.network.run(0.1)
        peers.peers[0].transport.write(b"MSRP hello 200 OK\r\n")  # type: ignore[union-attr]
        self.network.run()
        self.assertEqual(one.listener.events, ["lost: connect failed: TLS: plain text arrived"])
        self.assertEqual(one.endpoint.counters.failed_handshakes, 1)
        self.finish()

    def test_silence_is_bounded(self) -> None:
        one, _ = self.pair(tls={"max_handshakes": 2})
        peers = PeerFactory()
        for _ in range(3):
            self.network.host("10.0.0.3").connectTCP(A, 2856, peers)
        self.network.run(0.1)
        self.assertEqual([each.lost is None for each in peers.peers], [True, True, False])
        self.network.run(10.5, step=0.5)
        self.assertTrue(all(each.lost is not None for each in peers.peers))
        self.assertEqual(one.endpoint.counters.refused_handshakes, 1)
        self.assertIn("the handshake took too long, from 10.0.0.3", "\n".join(self.log.lines))
        self.finish()

    def test_long_messages(self) -> None:
        one, two = self.pair()
        self.negotiate(one, two)
        body = bytes(range(256)) * 4000
        one.listener.send(one.session, body)
        two.listener.send(two.session, body[::-1], "out2")
        self.network.run(5)
        self.assertEqual((one.listener.bodies, two.listener.bodies), ([body[::-1]], [body]))
        self.assertEqual([each[1].status for each in one.listener.results], [200])
        self.finish()

    def test_room(self) -> None:
        """``max_connections`` counts handshakes, too, and both kinds of connections."""
        one, _ = self.pair(max_connections=2)
        peers = PeerFactory()
        for port in (2856, 2855, 2855, 2856):
            self.network.host("10.0.0.3").connectTCP(A, port, peers)
            self.network.run(0.1)
        open_ = [each.lost is None for each in peers.peers]
        self.assertEqual(open_, [True, True, False, False])
        self.assertEqual(one.endpoint.counters.refused_connections, 2)
        self.network.run(31, step=0.5)
        self.finish()

    def test_close_in_the_middle(self) -> None:
        one, two = self.pair()
        self.network.delay = 0.2
        self.negotiate(one, two)
        self.finish()
