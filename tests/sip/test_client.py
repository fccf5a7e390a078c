"""The requests that a user agent sends: where they go, and what comes of them (RFC 3261 §8.1)."""

from msrpgw.errors import ConfigError, RenderError
from msrpgw.sip.transport import Target
from tests.sip.agent_cases import PEER, US, SendingTestCase
from tests.support import lose, make_agent


class SendingTests(SendingTestCase):
    """What goes out, and where."""

    def test_what_is_added(self) -> None:
        """Via with branch and rport, Max-Forwards and User-Agent."""
        client = self.send()
        self.assertEqual(self.statuses(), [200])
        sent = self.received[0].request
        self.assertEqual(sent.max_forwards, 70)
        self.assertEqual(sent.headers.get("User-Agent"), "msrpgw")
        self.assertEqual((sent.via.host, sent.via.port, sent.via.transport), (US, 5060, "UDP"))
        self.assertEqual(sent.via.rport, 5060)
        self.assertEqual(sent.via.branch, client.request.via.branch)
        self.finish()

    def test_what_is_kept(self) -> None:
        """A Max-Forwards of the caller's stays: a gateway hands on the value less one."""
        self.send(self.request(headers=(("Max-Forwards", "12"), ("User-Agent", "mine"))))
        sent = self.received[0].request
        self.assertEqual(sent.headers.get_all("Max-Forwards"), ["12"])
        self.assertEqual(sent.headers.get_all("User-Agent"), ["mine"])

    def test_never_before_it_returns(self) -> None:
        """Failures that are known at once are told a moment later."""
        for uri in ("tel:+15551234", "sip:bob@[2001:db8::2]"):
            client = self.us.request(self.request(uri=uri), self.answers.append)
            self.assertEqual(self.answers, [])
            self.network.run()
            self.assertTrue(self.answers[0].local)
            self.assertEqual(self.statuses(), [503])
            client.cancel()
        self.finish()

    def test_bad_value(self) -> None:
        """A value that can't be written is the caller's mistake; nothing is sent."""
        with self.assertRaises(RenderError):
            self.send(self.request(headers=(("X", "a\r\nb"),)))
        self.assertEqual(self.network.datagrams, [])

    def test_failing_callback(self) -> None:
        """An exception in ``on_response`` is logged and goes no further."""
        self.us.request(self.request(), lambda response: 1 // 0)
        self.network.run()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_time_out(self) -> None:
        """Silence for 64*T1 gives a local 408."""
        self.send(self.request(uri="sip:bob@10.0.0.99"))
        self.network.run(31.9)
        self.assertEqual(self.statuses(), [])
        self.network.run(0.2)
        self.assertTrue(self.answers[0].local)
        self.assertEqual(self.statuses(), [408])
        self.finish()

    def test_lost_datagrams(self) -> None:
        """Retransmissions get through; the peer's user sees one request."""
        self.network.lost = lose("xx.xx.")
        self.send()
        self.network.run(20)
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(len(self.received), 1)

    def test_target(self) -> None:
        """An explicit target overrides the URI."""
        self.send(self.request(uri="sip:bob@nowhere.example"), target=Target("TCP", PEER, 5060))
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.received[0].source.transport, "TCP")
        self.assertEqual(self.network.look_ups, [])

    def test_route(self) -> None:
        """§8.1.2: the Route is the next hop; a strict router is in the request URI already."""
        self.make_peer("10.0.0.3")
        routes = (("Route", "<sip:10.0.0.3;lr>"),)
        self.send(self.request(headers=routes))
        strict = self.request(headers=routes)
        strict.strictly_routed = True
        self.send(strict)
        self.assertEqual(
            [one.target[0] for one in self.network.datagrams if one.source[0] == US],
            ["10.0.0.3", PEER],
        )

    def test_names(self) -> None:
        """A host name is looked up; one that does not exist gives a local 503."""
        self.network.names["peer.example"] = [PEER]
        self.send(self.request(uri="sip:bob@peer.example"))
        self.send(self.request(uri="sip:bob@nowhere.example"))
        self.assertEqual(self.statuses(), [200, 503])
        self.finish()

    def test_bad_value_after_a_look_up(self) -> None:
        """Nobody is there to take the exception any more: it becomes an answer."""
        self.network.names["peer.example"] = [PEER]
        self.send(self.request(uri="sip:bob@peer.example", headers=(("X", "a\r\nb"),)))
        self.assertEqual(self.statuses(), [500])

    def test_ids(self) -> None:
        """Tags, branches and Call-IDs are never the same twice; Contact says the transport."""
        self.assertEqual(len({self.us.new_tag() for _ in range(50)}), 50)
        self.assertTrue(self.us.new_branch().startswith("z9hG4bK"))
        self.assertNotEqual(self.us.new_call_id(), self.us.new_call_id())
        self.assertEqual(self.us.contact_uri(), f"sip:{US}:5060")
        self.assertEqual(self.us.contact_uri("TCP"), f"sip:{US}:5060;transport=tcp")
        self.assertEqual(self.us.addresses(), [f"udp:{US}:5060", f"tcp:{US}:5060"])


class OutboundProxyTests(SendingTestCase):
    """``outbound_proxy``: a pre-loaded Route outside dialogs."""

    def setUp(self) -> None:
        """The peer is the proxy."""
        super().setUp()
        self.make_us(outbound_proxy=f"sip:{PEER};lr")

    def test_outside_dialogs(self) -> None:
        """Every request goes through it, whatever its URI."""
        for uri in ("sip:bob@nowhere.example", "tel:+15551234", "urn:service:sos"):
            self.send(self.request(uri=uri))
            self.assertEqual(self.received[-1].request.uri, uri)
        self.assertEqual(self.statuses(), [200] * 3)
        self.assertIn(f"Route: <sip:{PEER};lr>".encode(), self.network.datagrams[0].data)

    def test_inside_dialogs(self) -> None:
        """The dialog's route set rules."""
        request = self.request(uri="sip:bob@10.0.0.3")
        request.headers.set("To", "<sip:bob@10.0.0.3>;tag=t")
        self.send(request)
        self.assertEqual(self.network.datagrams[-1].target[0], "10.0.0.3")

    def test_without_lr(self) -> None:
        """A proxy without ``lr`` is sent to, but not named."""
        self.make_us(outbound_proxy=f"sip:{PEER};transport=tcp")
        self.send(self.request(uri="sip:bob@nowhere.example"))
        self.assertEqual(self.statuses(), [200])
        self.assertNotIn("Route", self.received[0].request.headers)

    def test_fail_over_keeps_one_route(self) -> None:
        """The Route is there once, however many targets are tried."""
        self.network.names["proxy.example"] = ["10.0.0.98", PEER]
        self.make_us(outbound_proxy="sip:proxy.example;transport=tcp;lr")
        self.send(self.request(uri="sip:bob@nowhere.example"))
        self.network.run(1)
        self.assertEqual(self.statuses(), [200])
        request = self.received[0].request
        self.assertEqual(request.headers.get_all("Route"), ["<sip:proxy.example;transport=tcp;lr>"])
        self.assertEqual(len(request.vias), 1)

    def test_not_a_sip_uri(self) -> None:
        """What can't be a proxy is refused at the start, naming the key."""
        for proxy in ("tel:+1", "nothing", "sip:"):
            with self.assertRaises(ConfigError) as caught:
                make_agent(self.network, "10.0.0.8", outbound_proxy=proxy)
            self.assertIn("outbound_proxy", caught.exception.problems[0])


class FailOverTests(SendingTestCase):
    """RFC 3263 §4.3 and RFC 3261 §18.1.1: the next target."""

    def test_after_refusal_and_time_out(self) -> None:
        """TCP refused, TCP hanging, 503: the next; the branch is new each time."""
        busy = self.make_peer("10.0.0.3", 503)
        self.network.hung.add(("10.0.0.4", 5060))
        self.network.names["peer.example"] = ["10.0.0.99", "10.0.0.4", "10.0.0.3", PEER]
        self.send(self.request(uri="sip:bob@peer.example;transport=tcp"))
        self.network.run(5.1)
        self.assertEqual(self.statuses(), [200])
        branches = [one.request.via.branch for one in self.received]
        self.assertEqual(len(set(branches)), 2)
        self.finish(busy)

    def test_silence_over_udp(self) -> None:
        """A target that never answers is left after timer F."""
        self.network.names["peer.example"] = ["10.0.0.99", PEER]
        self.send(self.request(uri="sip:bob@peer.example"))
        self.network.run(32.1)
        self.assertEqual(self.statuses(), [200])

    def test_other_answers_are_final(self) -> None:
        """A target that answers is the one, unless it says 503."""
        self.make_peer("10.0.0.3", 480)
        self.network.names["peer.example"] = ["10.0.0.3", PEER]
        self.send(self.request(uri="sip:bob@peer.example"))
        self.assertEqual(self.statuses(), [480])

    def test_last_503_is_told(self) -> None:
        """With no target left the peer's own answer is the end."""
        self.make_peer("10.0.0.3", 503)
        self.send(self.request(uri="sip:bob@10.0.0.3"))
        self.assertFalse(self.answers[0].local)
        self.assertEqual(self.statuses(), [503])

    def test_all_refused(self) -> None:
        """A local 503 says why."""
        self.send(self.request(uri="sip:bob@10.0.0.99;transport=tcp"))
        self.assertEqual(self.answers[0].reason, "TCP connection refused")
        self.assertEqual(self.statuses(), [503])

    def test_large_goes_over_tcp(self) -> None:
        """§18.1.1: above ``udp_limit`` TCP, and Via says so; below it UDP."""
        request = self.request(body=b"x" * 1300)
        self.send(request)
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.received[0].request.via.transport, "TCP")
        self.assertEqual(self.network.datagrams, [])
        self.make_us(udp_limit=9000)
        self.send(self.request(body=b"x" * 1300))
        self.assertEqual(self.received[1].request.via.transport, "UDP")

    def test_back_to_udp(self) -> None:
        """Back to UDP when TCP is refused, not when it hangs."""
        self.peer.stop()
        self.make_peer(PEER, listen=(f"udp:{PEER}:5060",))
        self.send(self.request(body=b"x" * 2000))
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.received[0].request.via.transport, "UDP")
        self.assertEqual(len(self.received[0].request.vias), 1)
        self.network.hung.add((PEER, 5060))
        self.send(self.request(body=b"x" * 2000))
        self.network.run(5.1)
        self.assertEqual(self.statuses(), [503])
        self.finish()

    def test_icmp(self) -> None:
        """§18.4: a request that the network gives back has failed at once."""
        self.network.names["peer.example"] = ["10.0.0.99", PEER]
        for uri in ("sip:bob@10.0.0.99", "sip:bob@peer.example"):
            self.send(self.request(uri=uri))
            self.us._undeliverable(self.network.datagrams[-1].data[:300], "Connection refused")
            self.network.run()
        self.assertEqual(self.answers[0].reason, "Connection refused")
        self.assertEqual(self.statuses(), [503, 200])

    def test_icmp_about_other_things(self) -> None:
        """A response, rubbish, or a request long answered changes nothing."""
        self.send()
        for one in (*self.network.datagrams, None):
            self.us._undeliverable(b"?" if one is None else one.data, "Connection refused")
        self.network.run()
        self.assertEqual(self.statuses(), [200])

    def test_connection_lost(self) -> None:
        """TCP lost before the answer came: a local 503, not 32 s of silence."""
        self.peer.on("MESSAGE", lambda transaction: self.network.connections[0][0].break_off())
        self.send(self.request(uri=f"sip:bob@{PEER};transport=tcp"))
        self.assertEqual(self.statuses(), [503])
        self.finish()

    def test_stop_with_requests_pending(self) -> None:
        """Stopping forgets them without a word, and leaves nothing."""
        self.network.hung.add(("10.0.0.4", 5060))
        self.network.silent_names.add("slow.example")
        for uri in ("sip:b@10.0.0.99", "sip:b@10.0.0.4;transport=tcp", "sip:b@slow.example"):
            self.send(self.request(uri=uri))
            self.send(self.request("INVITE", uri=uri))
        self.finish()
        self.assertEqual(self.answers, [])
