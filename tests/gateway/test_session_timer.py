"""Session timers in a conversation: it goes on, and a peer that has gone is noticed."""

from msrpgw.sip.message import Request
from tests.gateway.meeting import MeetingTestCase


class SessionTimerTests(MeetingTestCase):
    """Alice has MESSAGE, Bob MSRP, and knows no timers; neither says anything for long."""

    def be_called(self) -> None:
        """The gateway calls Bob."""
        self.assertEqual(self.alice.message(self.bob.uri, "first").status, 202)
        self.town.run(0.2)

    def test_it_goes_on(self) -> None:
        """§10 of RFC 4028: refreshed twice an hour, over the same MSRP connection."""
        self.be_called()
        for _ in range(3):
            self.town.run(1700)
            self.check_both_ways()
        invites = self.bob.requests("INVITE")
        self.assertGreater(len(invites), 3)
        self.assertEqual({request.body for request in invites}, {invites[0].body})
        self.assertEqual(len(self.bob.connections), 1)

    def test_a_peer_that_has_gone(self) -> None:
        self.be_called()

        def gone(request: Request) -> None:
            """Nobody is there."""

        self.bob.on_request = gone
        self.town.run(1700)
        self.assertEqual(self.town.gateway.sessions, {})
        self.assertEqual(len(self.bob.requests("BYE")), 1)
