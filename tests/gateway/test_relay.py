"""The gateway behind a relay of its own (RFC 4976): both ways, lost and back, and refused."""

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth.client import Secret
from msrpgw.msrp.relay import MARGIN, STOCK
from tests.gateway.relays import HOST, PORT, StandIn
from tests.gateway.support import Town
from tests.gateway.wire import Segments, Wire, WireMsrp
from tests.support import LogLines


class RelayTests(SynchronousTestCase):
    """Alice has MESSAGE; Bob has MSRP, and sees the relay alone."""

    def setUp(self) -> None:
        self.log = LogLines(self, "msrpgw.msrp.relay")
        self.build()

    def build(self, *, there: bool = True, **relay: Any) -> None:
        self.town = Town(
            msrp={
                "relay_uri": f"msrp://gw@{HOST}:{PORT}",
                "relay_secret": Secret("gw", relay.pop("knows", "secret")),
            }
        )
        self.relay = StandIn(self.town)
        for name, value in relay.items():
            setattr(self.relay, name, value)
        if not there:
            self.relay.close()
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.on_send = self.take
        self.own = self.town.endpoint.relay
        self.town.run(1.5)

    def take(self, connection: Any, request: Any) -> None:
        """Bob answers, and reports when he is asked to (RFC 4975 §7.1.2)."""
        self.bob.take_send(connection, request)
        if request.body and request.success_report:
            size = len(request.body)
            connection.write(
                f"MSRP rep{len(self.bob.frames)} REPORT\r\nTo-Path: {request.from_path_text}\r\n"
                f"From-Path: {self.bob.path}\r\nMessage-ID: {request.message_id}\r\n"
                f"Byte-Range: 1-{size}/{size}\r\nStatus: 000 200 OK\r\n"
                f"-------rep{len(self.bob.frames)}$\r\n".encode()
            )

    def path(self) -> str:
        """a=path that Bob was told."""
        assert self.bob.invite is not None
        messages = [*self.bob.requests("INVITE")[-1:], *self.bob.received]
        for message in messages:
            for line in message.body.decode().split("\r\n"):
                if line.startswith("a=path:"):
                    return line[7:]
        raise AssertionError("no a=path")

    def test_stock(self) -> None:
        """§5.1: asked without credentials once, then with; a URI for each session to come."""
        assert self.own is not None
        self.assertEqual(self.own.stock, STOCK)
        self.assertEqual(len(self.relay.auths), STOCK + 1)
        self.assertNotIn("Authorization", self.relay.auths[0])
        self.assertEqual(self.relay.auths[0]["To-Path"], f"msrp://gw@{HOST}:{PORT};tcp")
        self.assertEqual(len(self.relay.hops), 1)
        self.assertIn("is ready", self.log.lines[-1])

    def test_opened_by_a_message(self) -> None:
        """The relay's 200 is no delivery; Bob's REPORT is."""
        self.assertEqual(self.alice.message(self.bob.uri, "one").status, 202)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), ["one"])
        first, own = self.path().split()
        self.assertTrue(first.startswith(f"msrp://{HOST}:{PORT}/s"), first)
        sdp = self.bob.requests("INVITE")[0].body.decode()
        self.assertIn(f"c=IN IP4 {HOST}\r\n", sdp)
        self.assertEqual(self.bob.sends()[0].from_path_text, f"{first} {own}")
        self.assertTrue(self.bob.sends()[0].success_report)
        self.town.check_settled(self, sessions=1)
        self.check_both_ways()

    def test_opened_by_an_invite(self) -> None:
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        self.bob_connects()
        self.check_both_ways()

    def bob_connects(self) -> None:
        """His first SEND, by way of the relay, binds the session."""
        factory = Factory()
        factory.buildProtocol = lambda addr: Segments(self.bob)  # type: ignore[assignment]
        reactor = self.town.network.host(self.bob.host)
        TCP4ClientEndpoint(reactor, HOST, PORT).connect(factory)
        self.town.run(0.05)
        self.assertEqual(self.send(None), [200])

    def send(self, text: str | None) -> list[int]:
        return self.bob.send(text, To_Path=self.path())

    def check_both_ways(self) -> None:
        before = len(self.bob.bodies())
        self.assertEqual(self.alice.message(self.bob.uri, "to bob").status, 202)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies()[before:], ["to bob"])
        self.assertEqual(self.send("to alice"), [200])
        self.town.run(0.2)
        self.assertEqual(self.alice.texts()[-1:], ["to alice"])
        self.town.check_settled(self, sessions=1)

    def test_no_report(self) -> None:
        """It is not known to be delivered: its sender is told."""
        self.bob.on_send = self.bob.take_send
        self.assertEqual(self.alice.message(self.bob.uri, "one").status, 202)
        self.town.run(130, 0.5)
        self.assertIn("No REPORT", self.alice.texts()[-1])

    def test_each_session_has_a_uri_of_its_own(self) -> None:
        """§3.1."""
        seen = set()
        for number in range(3 * STOCK):
            bob = WireMsrp(self.town, f"b{number}", f"192.0.3.{number + 1}")
            bob.call(self.alice.uri)
            self.town.run(0.1)
            [line] = [
                line for line in bob.received[-1].body.decode().split("\r\n") if "a=path" in line
            ]
            seen.add(line.split()[0])
        self.assertEqual(len(seen), 3 * STOCK)
        self.assertEqual(len(set(self.relay.lent.values())), 1, "over one connection")

    def test_not_there(self) -> None:
        """Who writes waits, and is served when it is."""
        self.build(there=False)
        self.assertEqual(len([line for line in self.log.lines if "not available" in line]), 1)
        self.assertEqual(self.alice.message(self.bob.uri, "one").status, 202)
        self.town.run(0.1)
        self.assertIn("480 The MSRP relay is not available", self.alice.texts()[-1])
        self.assertEqual(self.bob.call(self.alice.uri).status, 480)
        self.relay.open()
        self.town.run(5)
        self.assertIn("is ready", self.log.lines[-1])
        self.assertEqual(self.alice.message(self.bob.uri, "two").status, 202)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), ["two"])

    def test_lost_and_back(self) -> None:
        self.alice.message(self.bob.uri, "one")
        self.town.run(0.5)
        self.relay.close()
        self.town.run(0.5)
        self.assertIn("not available", self.log.lines[-1])
        self.assertEqual(self.town.gateway.sessions, {})
        self.relay.open()
        self.town.run(3)
        self.assertEqual(self.alice.message(self.bob.uri, "two").status, 202)
        self.town.run(1)
        self.assertEqual(self.bob.bodies(), ["one", "two"])
        self.assertEqual(len([line for line in self.log.lines if "is ready" in line]), 2)

    def test_uris_end(self) -> None:
        """The session moves before its URI ends, and nothing is lost; those in stock are new."""
        self.build(expires=100)
        assert self.own is not None
        self.alice.message(self.bob.uri, "one")
        self.town.run(0.5)
        before = self.path()
        self.bob.session += 1
        self.town.run(100 - MARGIN + 2)
        self.assertEqual(len(self.bob.requests("INVITE")), 2)
        self.assertNotEqual(self.path(), before)
        self.check_both_ways()
        self.assertEqual(self.own.stock, STOCK)
        soonest = min(lease.ends for lease in self.own._stock)
        self.assertGreater(soonest, self.town.clock.seconds() + MARGIN)

    def test_wrong_password(self) -> None:
        """Tried again, but seldom, and told once."""
        self.build(knows="guess")
        self.town.run(600, 0.5)
        self.assertLess(len(self.relay.auths), 50)
        told = [line for line in self.log.lines if "not available" in line]
        self.assertEqual(len(told), 1)
        self.assertIn("401", told[0])

    def test_stale_nonce(self) -> None:
        assert self.own is not None
        self.relay.nonce = "nonce2"
        self.bob.call(self.alice.uri)
        self.town.run(0.5)
        self.assertEqual(self.own.stock, STOCK)
        self.assertEqual(len(self.log.lines), 1)

    def test_a_relay_that_does_not_bear_uri(self) -> None:
        """msrprelay gives no answer when Authorization has it; Kamailio wants it."""
        self.build(deaf_to_uri=True)
        self.town.run(20)
        assert self.own is not None
        self.assertEqual(self.own.stock, STOCK)
        self.assertNotIn("uri=", self.relay.auths[-1]["Authorization"])

    def test_out_of_bounds(self) -> None:
        """§4.6: as long as the relay likes."""
        self.build(bounds=("Max-Expires: 600",))
        asked = [each["Expires"] for each in self.relay.auths]
        self.assertEqual(asked[:3], ["3600", "3600", "600"])
        self.relay.bounds = ()
        self.town.run(5)
        assert self.own is not None
        self.assertEqual(self.own.stock, STOCK)

    def test_nonsense(self) -> None:
        """Whatever it answers: told once, tried again later."""
        for expires in (0, 20):
            self.build(expires=expires)
            self.town.run(100, 0.5)
            self.assertLess(len(self.relay.auths), 30)
            self.assertEqual(self.bob.call(self.alice.uri).status, 480)

    def test_by_another_way(self) -> None:
        """Who knows a session's URI comes through the relay, or not at all."""
        self.alice.message(self.bob.uri, "one")
        self.town.run(0.5)
        own = self.path().split()[1]
        direct = self.bob.connect()
        self.assertEqual(self.bob.send("hi", over=direct, To_Path=own), [506])

    def test_stop(self) -> None:
        assert self.own is not None
        self.town.endpoint.close()
        self.town.run(1)
        self.assertTrue(all(hop.lost for hop in self.relay.hops))
        self.assertEqual(self.own.stock, 0)
