"""SIP over TLS: who is believed to be whom, and what a connection is good for."""

import contextlib
from random import Random
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Response
from msrpgw.sip.transaction import ServerTransaction
from msrpgw.tls import handshake
from msrpgw.tls.contexts import Evidence, Tls, _Contexts, _make_contexts
from msrpgw.tls.settings import TlsSettings
from tests.network import FakeTcp
from tests.sip.transport_cases import PeerFactory
from tests.support import LogLines, Network, check_no_timers, make_agent
from tests.tls.authority import CA, Issued, issue, make_authority, make_tls

A, B = "10.0.0.1", "10.0.0.2"
NAMES = {"a.example": [A], "b.example": [B], "c.example": [B]}


class SecureTestCase(SynchronousTestCase):
    """Two agents, a and b; what came to each is answered with 200."""

    def setUp(self) -> None:
        self.network = Network()
        self.network.names.update(NAMES)
        self.log = LogLines(self, "msrpgw.tls")
        self.got: list[ServerTransaction] = []
        self.answers: list[Response] = []
        self.agents: list[UserAgent] = []

    def tls(self, own: Issued | None, ca: Issued = CA, **settings: object) -> Tls:
        """TLS of one agent."""
        return make_tls(self.mktemp(), own, ca, **settings)

    def make(self, host: str, tls: Tls | None, **settings: Any) -> UserAgent:
        """An agent."""
        agent = make_agent(self.network, host, tls=tls, **settings)

        def received(transaction: ServerTransaction) -> None:
            self.got.append(transaction)
            agent.respond(transaction, 200)

        agent.on("MESSAGE", received)
        self.agents.append(agent)
        return agent

    def pair(self, **settings: object) -> tuple[UserAgent, UserAgent]:
        """Both with the certificates that they should have."""
        return (
            self.make(A, self.tls(issue("a.example", issuer=CA))),
            self.make(B, self.tls(issue("b.example", issuer=CA), **settings)),
        )

    def send(
        self, agent: UserAgent, ruri: str = "sip:bob@b.example;transport=tls", **more: Any
    ) -> Response:
        """Send a MESSAGE; its final answer."""
        answers: list[Response] = []
        request = agent.new_message(ruri, "sip:al@a.example", ruri, "text/plain", b"hi")
        agent.request(request, answers.append, **more)
        self.network.run()
        self.assertEqual(len(answers), 1)
        return answers[0]

    def finish(self) -> None:
        """Stop; nothing may be left."""
        stopped = [agent.stop() for agent in self.agents]
        self.network.run(1.2)
        for each in stopped:
            self.successResultOf(each)
        for agent in self.agents:
            check_no_timers(self, self.network.clock, agent.timers)

    def assertRefused(self, answer: Response, *words: str) -> None:
        """It failed, the log says why, and nothing crossed."""
        self.assertEqual((answer.status, answer.local), (503, True))
        self.assertEqual(self.got, [])
        line = "\n".join(self.log.lines)
        for word in words:
            self.assertIn(word, line)
        self.finish()

    def assertNothingInClear(self) -> None:
        """No byte of a text or a header went over any wire as it is."""
        self.assertEqual(self.network.datagrams, [])
        for ends in self.network.connections:
            for end in ends:
                self.assertNotIn(b"MESSAGE", end.written)


class GoodTests(SecureTestCase):
    """What should work does."""

    def test_message(self) -> None:
        a, _ = self.pair()
        for ruri in ("sip:bob@b.example;transport=tls", "sips:bob@B.example"):
            self.assertEqual(self.send(a, ruri).status, 200)
        request, source = self.got[0].request, self.got[0].source
        self.assertEqual((source.transport, source.host), ("TLS", A))
        self.assertEqual((request.via.transport, request.via.port), ("TLS", 5061))
        self.assertTrue(request.protected)
        self.assertNothingInClear()
        self.assertEqual(len(self.network.connections), 1)
        self.finish()

    def test_versions_and_keys(self) -> None:
        """TLS 1.2 and 1.3, keys of both usual kinds."""
        key = rsa.generate_private_key(65537, 2048)
        for version, own in (
            (SSL.TLS1_2_VERSION, issue("b.example", issuer=CA)),
            (SSL.TLS1_2_VERSION, issue("b.example", issuer=CA, key=key)),
            (SSL.TLS1_3_VERSION, issue("b.example", issuer=CA, key=key)),
        ):
            a_tls = self.tls(issue("a.example", issuer=CA))
            a_tls._contexts.by_role["SIP client"].set_max_proto_version(version)
            a, _ = self.make(A, a_tls), self.make(B, self.tls(own))
            self.assertEqual(self.send(a).status, 200)
            self.finish()
            self.setUp()

    def test_an_address_that_the_certificate_has(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue("b.example", ips=(B,), issuer=CA)))
        self.assertEqual(self.send(a, f"sips:bob@{B}").status, 200)
        self.finish()

    def test_reload_keeps_connections(self) -> None:
        """New connections get the new certificate, those that are there go on."""
        a, _ = self.pair()
        tls = self.agents[1].transports._secure._handshakes._tls  # type: ignore[union-attr]
        self.assertEqual(self.send(a).status, 200)
        settings = TlsSettings(
            certificate=(issue("c.example", issuer=CA).write(self.mktemp()),),
            ca_file=tls.settings.ca_file,
        )
        tls.use(settings, tls.prepare(settings))
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(len(self.network.connections), 1)
        self.assertEqual(self.send(a, "sips:bob@c.example").status, 200)
        self.assertEqual(len(self.network.connections), 2)
        self.assertIn("c.example", self.log.lines[-1])
        self.finish()

    def test_certificate_by_name(self) -> None:
        """SNI chooses among several; who names none gets the first."""
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        tls = self.tls(issue("b.example", ips=(B,), issuer=CA))
        files = (*tls.settings.certificate, issue("c.example", issuer=CA).write(self.mktemp()))
        settings = TlsSettings(certificate=files, ca_file=tls.settings.ca_file)
        tls.use(settings, tls.prepare(settings))
        self.make(B, tls)
        for host in ("b.example", "c.example", B):
            self.assertEqual(self.send(a, f"sips:bob@{host}").status, 200, host)
        self.finish()

    def test_stop_in_the_middle_of_handshakes(self) -> None:
        """Nothing is left of them."""
        a, b = self.pair()
        self.network.delay = 0.2
        for agent, host in ((a, "b.example"), (b, "a.example")):
            request = agent.new_message(f"sips:x@{host}", "sip:y@z", "sip:x@z", "text/plain", b"")
            agent.request(request, self.answers.append)
        self.network.run(0.3)
        self.assertTrue(self.network.connections)
        self.finish()
        self.assertEqual(self.got, [])


class RefusedTests(SecureTestCase):
    """Each kind of failure has its line in the log, and nothing crosses."""

    def test_wrong_name(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue("evil.example", uris=("sip:other.example",), issuer=CA)))
        self.assertRefused(
            self.send(a),
            "the certificate has another name",
            "wanted b.example, it has evil.example, sip:other.example",
        )

    def test_wildcard(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue("*.example", issuer=CA)))
        self.assertRefused(self.send(a), "the certificate has another name", "*.example")

    def test_name_of_hostile_bytes(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue(uris=("sip:x\x1b[2J\nmsrpgw",), issuer=CA)))
        self.assertRefused(self.send(a), r"x\\x1b[2j\\nmsrpgw")
        self.assertTrue(all(line.isprintable() for line in self.log.lines))

    def test_unknown_authority(self) -> None:
        other = make_authority("Other CA")
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue("b.example", issuer=other)))
        self.assertRefused(
            self.send(a),
            "the certificate is of an unknown authority, from 10.0.0.2: SIP client",
            "the peer does not know the authority of our certificate, from 10.0.0.1: SIP server",
        )

    def test_self_signed(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.make(B, self.tls(issue("b.example")))
        self.assertRefused(self.send(a), "unknown authority (self-signed)")

    def test_expired(self) -> None:
        """Not ours: that would not even start."""
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        old = self.tls(issue("b.example", issuer=CA))
        expired = issue("b.example", issuer=CA, expired=True)
        own = old._contexts.certificates.own[0]
        own.chain, own.key = [expired.certificate], expired.key
        made = _make_contexts(old.settings, old._contexts.certificates, "")
        old.use(old.settings, _Contexts(old._contexts.certificates, made))
        self.make(B, old)
        self.assertRefused(
            self.send(a),
            "the certificate has expired, from 10.0.0.2: SIP client",
            "the peer says that our certificate has expired, from 10.0.0.1: SIP server",
        )

    def test_no_client_certificate(self) -> None:
        a = self.make(A, self.tls(None))
        self.make(B, self.tls(issue("b.example", issuer=CA), require_client_certificate=True))
        self.assertRefused(
            self.send(a),
            "no client certificate, from 10.0.0.1: SIP server",
            # In TLS 1.3 who connects learns of it afterwards.
            "the peer wants a client certificate of ours, from 10.0.0.2: SIP client",
        )

    def test_bad_client_certificate(self) -> None:
        a = self.make(A, self.tls(issue("a.example")))
        self.make(B, self.tls(issue("b.example", issuer=CA), require_client_certificate=True))
        self.assertRefused(self.send(a), "unknown authority (self-signed), from 10.0.0.1: SIP")

    def test_bad_client_certificate_that_nobody_asked_for(self) -> None:
        """It proves nothing, that is all."""
        a = self.make(A, self.tls(issue("a.example")))
        self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)

    def test_plain_text_arrives(self) -> None:
        self.pair()
        peers = PeerFactory()
        self.network.host("10.0.0.3").connectTCP(B, 5061, peers)
        self.network.run()
        peers.peers[0].transport.write(b"MESSAGE sip:bob@b.example SIP/2.0\r\n\r\n")  # type: ignore[union-attr]
        self.network.run()
        self.assertIsNotNone(peers.peers[0].lost)
        self.assertEqual(self.got, [])
        self.assertIn(
            "TLS handshake failed, plain text arrived, from 10.0.0.3: SIP server", self.log.lines
        )
        self.finish()

    def test_the_peer_speaks_plain_text(self) -> None:
        """What we say is no SIP to it."""
        a, _ = self.pair()
        request = a.new_message("sips:b@b.example:5060", "sip:a@a", "sip:b@b", "text/plain", b"")
        a.request(request, self.answers.append)
        self.network.run(10.5, step=0.5)
        self.assertRefused(self.answers[0], "the handshake took too long, from 10.0.0.2")

    def test_the_peer_answers_in_plain_text(self) -> None:
        a, _ = self.pair()
        peers = PeerFactory()
        self.network.host(B).listenTCP(7000, peers)
        request = a.new_message("sips:b@b.example:7000", "sip:a@a", "sip:b@b", "text/plain", b"")
        a.request(request, self.answers.append)
        self.network.run()
        peers.peers[0].transport.write(b"SIP/2.0 400 What?\r\n\r\n")  # type: ignore[union-attr]
        self.network.run()
        self.assertRefused(self.answers[0], "plain text arrived, from 10.0.0.2: SIP client")

    def test_protocol_version(self) -> None:
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        tls = self.tls(issue("b.example", issuer=CA), min_version="1.3")
        self.make(B, tls)
        contexts = self.agents[0].transports._secure._handshakes._tls._contexts.by_role  # type: ignore[union-attr]
        contexts["SIP client"].set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertRefused(
            self.send(a),
            "no protocol version in common, from 10.0.0.1: SIP server",
            "no protocol version in common, from 10.0.0.2: SIP client",
        )

    def test_time_out(self) -> None:
        a, _ = self.pair()
        self.network.host(B).listenTCP(7000, PeerFactory())
        request = a.new_message("sips:b@b.example:7000", "sip:a@a", "sip:b@b", "text/plain", b"")
        a.request(request, self.answers.append)
        self.network.run(10.5, step=0.5)
        self.assertRefused(self.answers[0], "the handshake took too long, from 10.0.0.2")

    def test_silent_peers_are_bounded(self) -> None:
        """A connection in its handshake counts, and ends when it takes too long."""
        b = self.make(B, self.tls(issue("b.example", issuer=CA)), max_connections=2)
        peers = PeerFactory()
        for _ in range(3):
            self.network.host("10.0.0.3").connectTCP(B, 5061, peers)
        self.network.run(0.1)
        self.assertEqual([each.lost is None for each in peers.peers], [True, True, False])
        self.assertEqual(b.counters.refused_connections, 1)
        self.network.run(10.5, step=0.5)
        self.assertEqual([each.lost is None for each in peers.peers], [False] * 3)
        self.finish()

    def test_silent_peers_leave_room_for_ours(self) -> None:
        """``max_handshakes`` is for those whom peers begin."""
        a, _ = self.pair(max_handshakes=1)
        peers = PeerFactory()
        for _ in range(2):
            self.network.host("10.0.0.3").connectTCP(B, 5061, peers)
        self.network.run(0.1)
        self.assertEqual([each.lost is None for each in peers.peers], [True, False])
        b = self.agents[1]
        self.assertEqual(b.counters.refused_handshakes, 1)
        self.assertEqual(self.send(b, "sips:al@a.example").status, 200)
        self.assertIn(
            "TLS handshake refused: too many under way, from 10.0.0.3: SIP server", self.log.lines
        )
        self.network.run(10.5, step=0.5)
        self.assertEqual(b.counters.failed_handshakes, 1)
        self.assertEqual(self.send(a).status, 200)
        self.finish()

    def test_refused_connection(self) -> None:
        a, _ = self.pair()
        answer = self.send(a, "sips:bob@b.example:9")
        self.assertEqual(answer.reason, "TCP connection refused")
        self.assertRefused(answer)

    def test_a_certificate_that_nobody_can_read(self) -> None:
        """It proves nothing, and breaks nothing."""
        a = self.make(A, self.tls(self.unreadable("a.example")))
        self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)
        self.finish()

    def test_what_cryptography_refuses(self) -> None:
        a, _ = self.pair()

        def refuse(connection: object) -> Evidence:
            raise ValueError("what?")

        self.patch(handshake, "evidence_of", refuse)
        self.assertRefused(self.send(a), "the certificate can't be read, from 10.0.0.2: SIP")

    def unreadable(self, name: str) -> Issued:
        """One with two subjectAltNames, which says that it is its own authority."""
        made = issue(name)
        der = made.der.replace(b"\x55\x1d\x13", b"\x55\x1d\x11")
        return Issued(x509.load_der_x509_certificate(der), made.key)

    def test_garbage(self) -> None:
        """Bytes of any kind, before and in the middle of a handshake."""
        _, b = self.pair()
        random = Random(8446)
        hello = self.client_hello()
        for cut in range(0, len(hello), 16):
            peers = PeerFactory()
            self.network.host("10.0.0.3").connectTCP(B, 5061, peers)
            self.network.run(0.05)
            peers.peers[0].transport.write(hello[:cut] + random.randbytes(300))  # type: ignore[union-attr]
            self.network.run(0.05)
        self.network.run(11, step=0.5)
        assert b.transports._secure is not None
        self.assertEqual(b.transports._secure.opening, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertTrue(all(line.isprintable() for line in self.log.lines))
        self.finish()

    def client_hello(self) -> bytes:
        """How a client begins."""
        client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        client.set_connect_state()
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        return client.bio_read(65536)

    def test_several_certificates_and_mutual_tls(self) -> None:
        """SNI changes what we show, and not what we ask for."""
        tls = self.tls(issue("c.example", issuer=CA), require_client_certificate=True)
        files = (*tls.settings.certificate, issue("b.example", issuer=CA).write(self.mktemp()))
        settings = msgspec.structs.replace(tls.settings, certificate=files)
        tls.use(settings, tls.prepare(settings))
        b = self.make(B, tls)
        without = self.make("10.0.0.4", self.tls(None))
        self.assertEqual(self.send(without).status, 503)
        stranger = self.make("10.0.0.5", self.tls(issue("a.example")))
        self.assertEqual(self.send(stranger).status, 503)
        self.assertIn("no client certificate, from 10.0.0.4", "\n".join(self.log.lines))
        self.assertIn("unknown authority (self-signed), from 10.0.0.5", "\n".join(self.log.lines))
        self.assertEqual(self.got, [])
        a = self.make(A, self.tls(issue("a.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)
        made = len(self.network.connections)
        self.assertEqual(self.send(b, "sips:al@a.example").status, 200)
        self.assertEqual(len(self.network.connections), made, "the certificate was not seen")
        self.finish()


class ReuseTests(SecureTestCase):
    """RFC 5923: a connection is good for the names that its certificate covers."""

    def test_a_connection_of_theirs(self) -> None:
        """Who said alias, and has the name, need not be connected to."""
        a, b = self.pair()
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(self.send(b, "sips:al@a.example").status, 200)
        self.assertEqual(len(self.network.connections), 1)
        self.assertEqual(self.got[1].source.host, B)
        self.finish()

    def test_not_for_another_name(self) -> None:
        self.network.names["other.example"] = [A]
        a, b = self.pair()
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(self.send(b, "sips:al@other.example").status, 503)
        self.assertEqual(len(self.network.connections), 2)
        self.finish()

    def test_not_without_a_certificate(self) -> None:
        a = self.make(A, self.tls(None))
        b = self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(self.send(b, "sips:al@a.example").status, 503)
        self.assertEqual(len(self.network.connections), 2)
        self.finish()

    def test_not_with_a_certificate_of_nobody(self) -> None:
        a = self.make(A, self.tls(issue("a.example")))
        b = self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(self.send(b, "sips:al@a.example").status, 503)
        self.finish()

    def test_the_very_place_it_came_from(self) -> None:
        """A phone has no certificate, and its Contact is where its connection comes from."""
        a = self.make(A, self.tls(None))
        b = self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a).status, 200)
        port = self.got[0].source.port  # type: ignore[attr-defined]
        self.assertEqual(self.send(b, f"sip:al@{A}:{port};transport=tls").status, 200)
        self.assertEqual(len(self.network.connections), 1)
        self.finish()

    def test_ours_for_the_name_that_was_wanted(self) -> None:
        """Both names lead to one address, and the certificate has but one of them."""
        a, _ = self.pair()
        self.assertEqual(self.send(a).status, 200)
        self.assertEqual(self.send(a, "sips:bob@c.example").status, 503)
        self.assertEqual(len(self.network.connections), 2)
        self.finish()

    def test_lost_connection(self) -> None:
        """A response goes over a new one, to whom Via names and nobody else."""
        a, b = self.pair()
        b.on("MESSAGE", self.got.append)
        request = a.new_message("sips:b@b.example", "sip:a@a", "sip:b@b", "text/plain", b"")
        a.request(request, self.answers.append)
        self.network.run()
        connection: FakeTcp = self.network.connections[0][0]
        connection.break_off()
        self.network.run()
        b.respond(self.got[0], 200)
        self.network.run()
        # Via has the address, which is not in the certificate of a.
        self.assertIn("wanted 10.0.0.1, it has a.example", "\n".join(self.log.lines))
        self.finish()


class NeverPlainTests(SecureTestCase):
    """``sips:`` is TLS on each hop or nothing (RFC 3261 §26.2.2)."""

    def test_without_tls(self) -> None:
        a = self.make(A, None)
        self.make(B, self.tls(issue("b.example", issuer=CA)))
        for ruri in ("sips:bob@b.example", "sip:bob@b.example;transport=tls"):
            self.assertEqual(self.send(a, ruri).status, 503)
        self.assertEqual((self.network.connections, self.network.datagrams), ([], []))

    def test_no_udp(self) -> None:
        a, _ = self.pair()
        self.assertEqual(self.send(a, "sips:bob@b.example;transport=udp").status, 503)
        self.assertEqual((self.network.connections, self.network.datagrams), ([], []))
        self.finish()

    def test_proxy_that_is_not_secure(self) -> None:
        """§8.1.2: the proxy's URI counts as if it were a ``sips:`` one."""
        a = self.make(A, self.tls(None), outbound_proxy="sip:b.example;lr")
        self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a, "sips:x@c.example").status, 200)
        self.assertNothingInClear()
        self.finish()

    def test_proxy_that_is(self) -> None:
        a = self.make(A, self.tls(None), outbound_proxy="sips:b.example;lr")
        self.make(B, self.tls(issue("b.example", issuer=CA)))
        self.assertEqual(self.send(a, "sip:x@c.example").status, 200)
        self.assertNothingInClear()
        self.finish()

    def test_large_requests(self) -> None:
        a, _ = self.pair()
        request = a.new_message(
            "sips:b@b.example", "sip:a@a", "sip:b@b", "text/plain", b"x" * 100_000
        )
        a.request(request, self.answers.append)
        self.network.run()
        self.assertEqual(self.answers[0].status, 200)
        self.assertNothingInClear()
        self.finish()
