"""UDP sockets, Via stamps, and what we call ourselves (RFC 3261 §18, RFC 3581)."""

import errno

from twisted.internet.error import CannotListenError

from msrpgw.sip import transport
from msrpgw.sip.fields import parse_via
from msrpgw.sip.message import Request
from msrpgw.sip.parser import Malformed
from msrpgw.sip.stream import plain_address
from msrpgw.sip.transport import Listener, Target, Transports, bracketed, parse_listen
from msrpgw.sip.uri import SipUri, parse_uri
from tests.sip.transport_cases import PEER, US, TransportTestCase, message
from tests.support import check_no_timers


def sip(where: str) -> SipUri:
    """A URI there."""
    uri = parse_uri(f"sip:{where}")
    assert isinstance(uri, SipUri)
    return uri


class UdpTests(TransportTestCase):
    """Datagrams."""

    def receive(self, via: str, port: int = 40001) -> str:
        """Receive a request with this Via; returns the Via as handed up."""
        self.network.send(message(via), (PEER, port), (US, 5060))
        self.network.run()
        request, source = self.got[-1]
        assert isinstance(request, Request)
        self.assertEqual((source.host, source.port, source.transport), (PEER, port, "UDP"))
        self.assertFalse(source.reliable)
        return request.headers.get_all("Via")[0]

    def answered_to(self) -> tuple[str, int]:
        """Where the answer to the last request goes."""
        self.answer()
        return self.network.datagrams[-1].target

    def test_received(self) -> None:
        """§18.2.1, §18.2.2: ``received`` where sent-by differs; the answer to sent-by's port."""
        self.start()
        via = self.receive("SIP/2.0/UDP pc33.example.com:5070;branch=z9hG4bK1")
        self.assertEqual(parse_via(via).received, PEER)
        self.assertEqual(self.answered_to(), (PEER, 5070))
        via = self.receive(f"SIP/2.0/UDP {PEER};branch=z9hG4bK2")
        self.assertEqual(via, f"SIP/2.0/UDP {PEER};branch=z9hG4bK2")
        self.assertEqual(self.answered_to(), (PEER, 5060))

    def test_rport(self) -> None:
        """RFC 3581 §4: the answer to the source port, from the socket that got the request."""
        self.start()
        via = parse_via(self.receive(f"SIP/2.0/UDP {PEER}:5070;rport;branch=z9hG4bK1"))
        self.assertEqual((via.received, via.rport), (PEER, 40001))
        self.assertEqual(self.answered_to(), (PEER, 40001))
        self.assertEqual(self.network.datagrams[-1].source, (US, 5060))

    def test_waits(self) -> None:
        """Whatever waits longest on any wire."""
        self.start()
        self.assertEqual(self.transports.waits, 0.0)
        self.patch(transport, "waits", lambda port: 3.0)
        self.assertEqual(self.transports.waits, 3.0)

    def test_false_stamps(self) -> None:
        """What a client writes into ``received`` itself does not lead answers elsewhere."""
        self.start()
        self.receive(f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bK1;received=192.0.2.99;rport=1")
        self.assertEqual(self.answered_to(), (PEER, 40001))

    def test_maddr(self) -> None:
        """§18.2.2: ``maddr`` overrides the source where it is an address of the same family."""
        self.start()
        for maddr, host in (("10.0.0.9", "10.0.0.9"), ("x.example", PEER), ("[::1]", PEER)):
            self.receive(f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bK1;maddr={maddr}")
            self.assertEqual(self.answered_to(), (host, 5070))

    def test_second_via_stays(self) -> None:
        """Only the topmost value is stamped."""
        self.start()
        line = "SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example;branch=z9hG4bK2"
        self.receive(line)
        request = self.got[-1][0]
        assert isinstance(request, Request)
        self.assertEqual([via.received for via in request.vias], [PEER, None])

    def test_malformed_is_stamped(self) -> None:
        """A request that is refused for its syntax can be answered to its source."""
        self.start()
        data = message("SIP/2.0/UDP x.example;rport;branch=z9hG4bK1").replace(
            b"CSeq: 1", b"CSeq: x"
        )
        self.network.send(data, (PEER, 40001), (US, 5060))
        self.network.run()
        found, _ = self.got[-1]
        assert isinstance(found, Malformed)
        assert found.request is not None
        self.assertEqual(found.request.via.rport, 40001)

    def test_keep_alives_and_nothing(self) -> None:
        """Keep-alives and empty datagrams are no messages, and are not answered."""
        self.start()
        for data in (b"\r\n\r\n", b"\r\n", b"", b"\0" * 4):
            self.network.send(data, (PEER, 5060), (US, 5060))
        self.network.run()
        self.assertEqual([one for one in self.got if not isinstance(one[0], Malformed)], [])
        self.assertEqual(len(self.network.datagrams), 4)

    def test_send(self) -> None:
        """A request leaves from the listening socket; a refusing system is a failure, later."""
        self.start()
        target = Target("UDP", PEER, 5060)
        self.assertIsNone(self.send(b"data", target))
        sent = self.network.datagrams[-1]
        self.assertEqual((sent.data, sent.source, sent.target), (b"data", (US, 5060), (PEER, 5060)))
        self.network.udp[(US, 5060)].failing = OSError(errno.ENETUNREACH, "unreachable")
        self.send(b"data", target)
        self.assertEqual(self.failures, [])
        self.network.run()
        self.assertEqual(len(self.failures), 1)
        self.assertIn("unreachable", self.failures[0].reason)

    def test_no_socket_of_the_family(self) -> None:
        """Without a socket for IPv6 an IPv6 address can't be reached."""
        self.start()
        self.send(b"data", Target("UDP", "2001:db8::2", 5060))
        self.network.run()
        self.assertEqual(len(self.failures), 1)
        self.assertIn("address family", self.failures[0].reason)

    def test_which_socket(self) -> None:
        """Of several sockets the one that suits the peer is used."""
        self.start("udp:127.0.0.1:5060", f"udp:{US}:5060", "udp:[::1]:5060", "udp:[::]:5061")
        for host, source in (
            ("127.0.0.9", ("127.0.0.1", 5060)),
            (PEER, (US, 5060)),
            ("::1", ("::1", 5060)),
            ("2001:db8::2", ("2001:db8::2", 5061)),  # the fake's way to show the wildcard
        ):
            self.send(b"data", Target("UDP", host, 5060))
            self.assertEqual(self.network.datagrams[-1].source, source)

    def test_ipv4_over_the_ipv6_wildcard(self) -> None:
        """``[::]`` reaches IPv4 peers by their mapped address, and shows them plain."""
        self.start("udp:[::]:5060")
        self.send(b"data", Target("UDP", PEER, 5060))
        self.assertEqual(self.network.datagrams[-1].target, (f"::ffff:{PEER}", 5060))
        self.network.send(message(), (f"::ffff:{PEER}", 5070), ("::", 5060))
        self.network.run()
        self.assertEqual(self.got[-1][1].host, PEER)
        self.answer()
        self.assertEqual(self.network.datagrams[-1].target, (f"::ffff:{PEER}", 5070))

    def test_after_stop(self) -> None:
        """A late answer has no socket to leave from, and that is all."""
        self.start()
        self.network.send(message(), (PEER, 5070), (US, 5060))
        self.network.run()
        self.successResultOf(self.transports.stop())
        self.network.udp.clear()
        self.answer()
        check_no_timers(self, self.network.clock, self.timers)

    def test_sources_are_bounded(self) -> None:
        """A flood from many ports does not grow our tables without end."""
        self.start()
        port = self.network.udp[(US, 5060)]
        for number in range(5000):
            port.protocol.datagramReceived(message(), (PEER, number + 1))
        self.assertLessEqual(len(port.protocol._sources), 4096)
        self.got.clear()
        for number in range(5000):
            self.transports.via_prefix(Target("UDP", f"10.1.{number // 250}.{number % 250}", 1))
            self.send(b"", Target("UDP", f"10.1.{number // 250}.{number % 250}", 1))
        self.assertLessEqual(len(self.transports._routes), 4096)
        self.assertLessEqual(len(self.transports._prefixes), 4096)


class AddressTests(TransportTestCase):
    """What we call ourselves."""

    def test_listening(self) -> None:
        """The ports really bound are told."""
        transports = self.start("udp:127.0.0.1:0", "TCP:[::1]:0")
        udp_address, tcp_address = transports.addresses()
        self.assertTrue(udp_address.startswith("udp:127.0.0.1:4"))
        self.assertTrue(tcp_address.startswith("tcp:[::1]:4"))

    def test_port_in_use(self) -> None:
        """A port in use closes what was open already."""
        self.network.host(US).listenTCP(5060, self.peers)
        self.assertRaises(CannotListenError, self.start)
        self.assertEqual(self.network.udp, {})

    def test_sent_by(self) -> None:
        """The listener of the transport that suits the peer; without one, any."""
        transports = self.start(f"udp:{US}:5060", "udp:127.0.0.1:5062", f"tcp:{US}:5061")
        self.assertEqual(transports.sent_by(Target("UDP", PEER, 5060)), (US, 5060))
        self.assertEqual(transports.sent_by(Target("UDP", "127.0.0.1", 5060)), ("127.0.0.1", 5062))
        self.assertEqual(transports.sent_by(Target("TCP", PEER, 5060)), (US, 5061))
        self.assertEqual(
            transports.via_prefix(Target("TCP", PEER, 5060)),
            f"SIP/2.0/TCP {US}:5061;rport;branch=",
        )
        self.assertEqual(transports.contact_address("UDP"), (US, 5060))
        self.assertEqual(self.start_again("udp:[::1]:5060").contact_address("TCP"), ("::1", 5060))

    def start_again(self, *listen: str, **settings: object) -> Transports:
        """Another set of listeners."""
        self.setUp()
        return self.start(*listen, **settings)

    def test_wildcard(self) -> None:
        """A wildcard is no address to be reached at: the way to the peer says which one is."""
        transports = self.start("udp:0.0.0.0:5060")
        self.assertEqual(transports.contact_address("UDP"), ("192.0.2.7", 5060))
        transports = self.start_again("udp:[::]:5060")
        self.assertEqual(transports.sent_by(Target("UDP", "2001:db8::9", 1)), ("2001:db8::7", 5060))
        self.assertEqual(
            transports.via_prefix(Target("UDP", "2001:db8::9", 1)),
            "SIP/2.0/UDP [2001:db8::7]:5060;rport;branch=",
        )

    def test_advertised(self) -> None:
        """``advertised_contact`` overrides, with or without a port."""
        for text, wanted in (
            ("gw.example.com", ("gw.example.com", 5060)),
            ("gw.example.com:5080", ("gw.example.com", 5080)),
            ("[2001:db8::5]:5080", ("2001:db8::5", 5080)),
            ("[2001:db8::5]", ("2001:db8::5", 5060)),
            ("2001:db8::5", ("2001:db8::5", 5060)),
        ):
            transports = self.start_again(advertised_contact=text)
            self.assertEqual(transports.contact_address("UDP"), wanted)

    def test_is_local(self) -> None:
        """Which URIs name us."""
        transports = self.start(advertised_contact="GW.example.com")
        for where, wanted in (
            (US, True),
            (f"{US}:5060", True),
            (f"{US}:5070", False),
            (f"{PEER}:5060", False),
            ("gw.EXAMPLE.com", True),
            ("gw.example.com:5070", False),
            (f"{US};transport=tls", False),
        ):
            self.assertEqual(transports.is_local(sip(where)), wanted, where)
        transports = self.start_again("udp:0.0.0.0:5060", advertised_contact="gw.example.com:5080")
        for where, wanted in (
            ("192.0.2.7", True),
            ("192.0.2.8", False),
            ("name.example", False),
            ("gw.example.com:5080", True),
            ("gw.example.com", False),
        ):
            self.assertEqual(transports.is_local(sip(where)), wanted, where)

    def test_parse_listen(self) -> None:
        """What ``listen`` may hold."""
        self.assertEqual(parse_listen("udp:127.0.0.1:5060"), ("UDP", "127.0.0.1", 5060))
        self.assertEqual(parse_listen("tcp:[::1]:5060"), ("TCP", "::1", 5060))
        for bad in ("", "udp", "udp:5060", "ws:127.0.0.1:5061", "udp:127.0.0.1:x"):
            self.assertRaises(ValueError, parse_listen, bad)

    def test_plain_address(self) -> None:
        """IPv4 in IPv6 is shown as IPv4; zones are dropped."""
        self.assertEqual(plain_address("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(plain_address("::ffff:a00:1"), "::ffff:a00:1")
        self.assertEqual(plain_address("fe80::1%eth0"), "fe80::1")
        self.assertEqual(bracketed("::1"), "[::1]")

    def test_reach(self) -> None:
        """A loopback socket suits loopback peers best."""
        local, outer = Listener("UDP", "127.0.0.1", 1), Listener("UDP", US, 1)
        self.assertGreater(local.reaches("127.0.0.2"), outer.reaches("127.0.0.2"))
        self.assertGreater(outer.reaches(PEER), local.reaches(PEER))
        self.assertEqual(local.reaches("::1"), 0)
