"""The client transaction machines (RFC 3261 §17.1, RFC 6026).

The table tests say for every (state, input) pair what goes out, what the user hears and which
state follows.
"""

from collections.abc import Callable

from msrpgw.sip.client_transaction import ClientState, SendFailure
from msrpgw.sip.transaction import (
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from tests.sip.transaction_cases import Path, TransactionTestCase, make_request

C = ClientState


class NonInviteClientTests(TransactionTestCase):
    """§17.1.2."""

    def send(self, reliable: bool = False) -> NonInviteClientTransaction:
        """Send a MESSAGE."""
        self.request = request = make_request()
        made = self.table.send_request(request, "z9hG4bKabc", request.render(), self.user, reliable)
        assert isinstance(made, NonInviteClientTransaction)
        return made

    def answer(self, status: int) -> None:
        """Receive a response."""
        self.table.receive(self.request.response(status), Path())

    def reach(self, state: C) -> NonInviteClientTransaction:
        """A transaction in the given state; what happened so far is forgotten."""
        transaction = self.send()
        if state is C.PROCEEDING:
            self.answer(100)
        elif state is C.COMPLETED:
            self.answer(200)
        elif state is C.TERMINATED:
            transaction.abandon()
        self.assertIs(transaction.state, state)
        self.user.sent.clear()
        self.user.heard.clear()
        return transaction

    def test_table(self) -> None:
        """Every input in every state, over UDP."""
        inputs: dict[str, Callable[[NonInviteClientTransaction], object]] = {
            "100": lambda tx: self.answer(100),
            "200": lambda tx: self.answer(200),
            "480": lambda tx: self.answer(480),
            "timer E": lambda tx: tx.retransmit(),
            "T4": lambda tx: self.run_for(5.0),
            "timer F": lambda tx: self.run_for(32.1),
            "failure": lambda tx: tx.transport_failed(SendFailure("gone")),
            "abandon": lambda tx: tx.abandon(),
        }
        # In 5 s: at 0.5, 1.5 and 3.5 s.  In 32 s: then every 4 s, eleven copies with the first.
        wanted: dict[tuple[C, str], tuple[int, list[object], C]] = {
            (C.TRYING, "100"): (0, [100], C.PROCEEDING),
            (C.TRYING, "200"): (0, [200], C.COMPLETED),
            (C.TRYING, "480"): (0, [480], C.COMPLETED),
            (C.TRYING, "timer E"): (1, [], C.TRYING),
            (C.TRYING, "T4"): (3, [], C.TRYING),
            (C.TRYING, "timer F"): (10, ["timeout"], C.TERMINATED),
            (C.TRYING, "failure"): (0, ["failed"], C.TERMINATED),
            (C.TRYING, "abandon"): (0, [], C.TERMINATED),
            (C.PROCEEDING, "100"): (0, [100], C.PROCEEDING),
            (C.PROCEEDING, "200"): (0, [200], C.COMPLETED),
            (C.PROCEEDING, "480"): (0, [480], C.COMPLETED),
            (C.PROCEEDING, "timer E"): (1, [], C.PROCEEDING),
            # At 0.5 s, as timer E was set before the 100 came; then every T2.
            (C.PROCEEDING, "T4"): (2, [], C.PROCEEDING),
            (C.PROCEEDING, "timer F"): (8, ["timeout"], C.TERMINATED),
            (C.PROCEEDING, "failure"): (0, ["failed"], C.TERMINATED),
            (C.PROCEEDING, "abandon"): (0, [], C.TERMINATED),
            (C.COMPLETED, "100"): (0, [], C.COMPLETED),
            (C.COMPLETED, "200"): (0, [], C.COMPLETED),
            (C.COMPLETED, "480"): (0, [], C.COMPLETED),
            (C.COMPLETED, "timer E"): (0, [], C.COMPLETED),
            (C.COMPLETED, "T4"): (0, [], C.COMPLETED),
            (C.COMPLETED, "timer F"): (0, [], C.COMPLETED),
            (C.COMPLETED, "failure"): (0, [], C.COMPLETED),
            (C.COMPLETED, "abandon"): (0, [], C.TERMINATED),
            # Responses after the end belong to nothing.
            (C.TERMINATED, "100"): (0, ["stray"], C.TERMINATED),
            (C.TERMINATED, "200"): (0, ["stray"], C.TERMINATED),
            (C.TERMINATED, "480"): (0, ["stray"], C.TERMINATED),
            (C.TERMINATED, "timer E"): (0, [], C.TERMINATED),
            (C.TERMINATED, "T4"): (0, [], C.TERMINATED),
            (C.TERMINATED, "timer F"): (0, [], C.TERMINATED),
            (C.TERMINATED, "failure"): (0, [], C.TERMINATED),
            (C.TERMINATED, "abandon"): (0, [], C.TERMINATED),
        }
        states = (C.TRYING, C.PROCEEDING, C.COMPLETED, C.TERMINATED)
        self.assertEqual(set(wanted), {(state, name) for state in states for name in inputs})
        for (state, name), (copies, heard, after) in wanted.items():
            self.setUp()
            transaction = self.reach(state)
            inputs[name](transaction)
            self.assertEqual(
                (len(self.user.sent), self.user.news(), transaction.state),
                (copies, heard, after),
                (state, name),
            )

    def test_eleven_copies(self) -> None:
        """Without an answer: at 0, 0.5, 1.5, 3.5, 7.5 … 31.5 s, and 32 s is the end."""
        self.send()
        times = []
        for tick in range(330):
            if self.user.sent:
                times.append(tick / 10)
                self.user.sent.clear()
            self.clock.advance((tick + 1) / 10 - self.clock.seconds())
        self.assertEqual(times, [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(self.user.news(), ["timeout"])
        self.assert_clean()

    def test_reliable(self) -> None:
        """Over TCP nothing is repeated, timer K is 0, timer F is the same."""
        transaction = self.send(reliable=True)
        self.run_for(31.9)
        self.assertEqual(self.user.methods(), ["MESSAGE"])
        self.answer(200)
        self.assertIs(transaction.state, C.TERMINATED)
        self.assert_clean()
        self.send(reliable=True)
        self.run_for(32.1)
        self.assertEqual(self.user.news(), [200, "timeout"])
        self.assert_clean()

    def test_timer_k(self) -> None:
        """A repeated final response is absorbed for T4, then it is stray."""
        self.send()
        self.answer(200)
        self.answer(200)
        self.assertEqual(self.table.response_retransmissions, 1)
        self.run_for(5.1)
        self.answer(200)
        self.assertEqual(self.user.news(), [200, "stray"])
        self.assert_clean()

    def test_cancelled_timer(self) -> None:
        """A final response after retransmissions leaves no timer behind."""
        self.send()
        self.run_for(2)
        self.answer(200)
        self.run_for(5.1)
        self.assert_clean()
        self.assertEqual(self.user.news(), [200])


class InviteClientTests(TransactionTestCase):
    """§17.1.1 and RFC 6026."""

    def send(self, reliable: bool = False) -> InviteClientTransaction:
        """Send an INVITE."""
        self.request = request = make_request("INVITE")
        request.headers.add("Route", "<sip:proxy.example.com;lr>")
        made = self.table.send_request(request, "z9hG4bKabc", request.render(), self.user, reliable)
        assert isinstance(made, InviteClientTransaction)
        return made

    def answer(self, status: int, to_tag: str = "t") -> None:
        """Receive a response."""
        self.table.receive(self.request.response(status, to_tag=to_tag), Path())

    def reach(self, state: C) -> InviteClientTransaction:
        """A transaction in the given state; what happened so far is forgotten."""
        transaction = self.send()
        if state is C.PROCEEDING:
            self.answer(180)
        elif state is C.ACCEPTED:
            self.answer(200)
        elif state is C.COMPLETED:
            self.answer(486)
        elif state is C.TERMINATED:
            transaction.abandon()
        self.assertIs(transaction.state, state)
        self.user.sent.clear()
        self.user.heard.clear()
        return transaction

    def test_table(self) -> None:
        """Every input in every state, over UDP."""
        inputs: dict[str, Callable[[InviteClientTransaction], object]] = {
            "180": lambda tx: self.answer(180),
            "200": lambda tx: self.answer(200, "other"),
            "486": lambda tx: self.answer(486),
            "T1": lambda tx: self.run_for(0.5),
            "64*T1": lambda tx: self.run_for(32.1),
            "failure": lambda tx: tx.transport_failed(SendFailure("gone")),
            "abandon": lambda tx: tx.abandon(),
        }
        wanted: dict[tuple[C, str], tuple[list[str], list[object], C]] = {
            (C.CALLING, "180"): ([], [180], C.PROCEEDING),
            (C.CALLING, "200"): ([], [200], C.ACCEPTED),
            (C.CALLING, "486"): (["ACK"], [486], C.COMPLETED),
            (C.CALLING, "T1"): (["INVITE"], [], C.CALLING),
            # at 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s: seven copies with the first
            (C.CALLING, "64*T1"): (["INVITE"] * 6, ["timeout"], C.TERMINATED),
            (C.CALLING, "failure"): ([], ["failed"], C.TERMINATED),
            (C.CALLING, "abandon"): ([], [], C.TERMINATED),
            (C.PROCEEDING, "180"): ([], [180], C.PROCEEDING),
            (C.PROCEEDING, "200"): ([], [200], C.ACCEPTED),
            (C.PROCEEDING, "486"): (["ACK"], [486], C.COMPLETED),
            (C.PROCEEDING, "T1"): ([], [], C.PROCEEDING),
            (C.PROCEEDING, "64*T1"): ([], [], C.PROCEEDING),
            (C.PROCEEDING, "failure"): ([], [], C.PROCEEDING),
            (C.PROCEEDING, "abandon"): ([], [], C.TERMINATED),
            (C.ACCEPTED, "180"): ([], [], C.ACCEPTED),
            (C.ACCEPTED, "200"): ([], [200], C.ACCEPTED),
            (C.ACCEPTED, "486"): ([], [], C.ACCEPTED),
            (C.ACCEPTED, "T1"): ([], [], C.ACCEPTED),
            (C.ACCEPTED, "64*T1"): ([], [], C.TERMINATED),
            (C.ACCEPTED, "failure"): ([], [], C.ACCEPTED),
            (C.ACCEPTED, "abandon"): ([], [], C.TERMINATED),
            (C.COMPLETED, "180"): ([], [], C.COMPLETED),
            (C.COMPLETED, "200"): ([], [], C.COMPLETED),
            (C.COMPLETED, "486"): (["ACK"], [], C.COMPLETED),
            (C.COMPLETED, "T1"): ([], [], C.COMPLETED),
            (C.COMPLETED, "64*T1"): ([], [], C.TERMINATED),
            (C.COMPLETED, "failure"): ([], [], C.COMPLETED),
            (C.COMPLETED, "abandon"): ([], [], C.TERMINATED),
            # Responses after the end belong to nothing.
            (C.TERMINATED, "180"): ([], ["stray"], C.TERMINATED),
            (C.TERMINATED, "200"): ([], ["stray"], C.TERMINATED),
            (C.TERMINATED, "486"): ([], ["stray"], C.TERMINATED),
            (C.TERMINATED, "T1"): ([], [], C.TERMINATED),
            (C.TERMINATED, "64*T1"): ([], [], C.TERMINATED),
            (C.TERMINATED, "failure"): ([], [], C.TERMINATED),
            (C.TERMINATED, "abandon"): ([], [], C.TERMINATED),
        }
        states = (C.CALLING, C.PROCEEDING, C.ACCEPTED, C.COMPLETED, C.TERMINATED)
        self.assertEqual(set(wanted), {(state, name) for state in states for name in inputs})
        for (state, name), (sent, heard, after) in wanted.items():
            self.setUp()
            transaction = self.reach(state)
            inputs[name](transaction)
            self.assertEqual(
                (self.user.methods(), self.user.news(), transaction.state),
                (sent, heard, after),
                (state, name),
            )

    def test_ack(self) -> None:
        """§17.1.1.3: the ACK has the INVITE's URI, Via, Route, From and number, and To's tag."""
        self.send()
        self.user.sent.clear()
        self.answer(486)
        self.assertEqual(
            self.user.sent[0],
            b"ACK sip:bob@example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabc\r\n"
            b"Max-Forwards: 70\r\n"
            b"Route: <sip:proxy.example.com;lr>\r\n"
            b"From: <sip:alice@example.com>;tag=f\r\n"
            b"To: <sip:bob@example.com>;tag=t\r\n"
            b"Call-ID: c1\r\n"
            b"CSeq: 1 ACK\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_reliable(self) -> None:
        """Over TCP nothing is repeated; the ACK goes out and timer D is 0."""
        transaction = self.send(reliable=True)
        self.run_for(31)
        self.assertEqual(self.user.methods(), ["INVITE"])
        self.answer(603)
        self.assertEqual(self.user.methods(), ["ACK"])
        self.assertIs(transaction.state, C.TERMINATED)
        self.assert_clean()

    def test_ends(self) -> None:
        """After timers D and M nothing is left."""
        for status in (200, 486):
            self.send()
            self.answer(status)
            self.run_for(32.1)
            self.assert_clean()
