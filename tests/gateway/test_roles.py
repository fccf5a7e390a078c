"""Who connects (RFC 6135 §4.2): every combination, as offerer and answerer, texts both ways."""

from tests.gateway.meeting import MeetingTestCase
from tests.gateway.support import Town

#: what the MSRP user's SDP may say; None: nothing, as before RFC 6135
VALUES = ("active", "passive", "actpass", "holdconn", None)


class RoleTests(MeetingTestCase):
    def meet(self, *, reachable: bool, setup: str | None) -> None:
        self.found(Town(msrp={"reachable": reachable}))
        self.bob.setup = setup

    def converse(self, bob_connects: bool) -> None:
        """Exactly one side connects, and both are heard."""
        if bob_connects:
            self.assertEqual(self.bob.connections, [])
            self.bob.connect()
            self.assertEqual(self.bob.send(None), [200])
        self.town.run(0.2)
        self.assertEqual(len(self.bob.connections), 1)
        self.check_both_ways()

    def setup_said(self) -> str:
        """What the gateway's SDP says."""
        messages = [*self.bob.requests("INVITE"), *self.bob.received]
        bodies = [each.body.decode() for each in messages if b"a=setup" in each.body]
        return bodies[0].partition("a=setup:")[2].partition("\r\n")[0]

    def test_we_offer(self) -> None:
        """actpass, unless we can't be reached; only who says active connects to us."""
        for reachable in (True, False):
            for setup in VALUES:
                with self.subTest(reachable=reachable, setup=setup):
                    self.meet(reachable=reachable, setup=setup)
                    self.assertEqual(self.alice.message(self.bob.uri, "first").status, 202)
                    self.town.run(0.2)
                    self.assertEqual(self.setup_said(), "actpass" if reachable else "active")
                    self.converse(bob_connects=reachable and setup == "active")
                    self.assertEqual(self.bob.bodies()[0], "first")

    def test_we_answer(self) -> None:
        """The offerer connects, unless it says passive, or leaves it to us and can't reach us."""
        for reachable in (True, False):
            for setup in VALUES:
                with self.subTest(reachable=reachable, setup=setup):
                    self.meet(reachable=reachable, setup=setup)
                    self.start()
                    active = setup == "passive" or (setup == "actpass" and not reachable)
                    self.assertEqual(self.setup_said(), "active" if active else "passive")
                    self.converse(bob_connects=not active)

    def test_after_a_loss(self) -> None:
        """The same in the re-INVITE that mends it."""
        for setup in ("active", "passive", None):
            with self.subTest(setup=setup):
                self.meet(reachable=True, setup="passive")
                self.start()
                self.check_both_ways()
                self.bob.setup = setup
                self.bob.session += 1
                self.bob.connections.pop().break_off()
                self.town.run(0.2)
                self.converse(bob_connects=setup == "active")
