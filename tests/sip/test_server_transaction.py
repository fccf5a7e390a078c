"""The server transaction machines (RFC 3261 §17.2, RFC 6026, RFC 4320).

The table tests say for every (state, input) pair what goes out, what the user hears and which
state follows.
"""

from collections.abc import Callable

from msrpgw.errors import RenderError
from msrpgw.sip.server_transaction import ServerState
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    Transactions,
)
from tests.sip.transaction_cases import Path, TransactionTestCase, make_request

S = ServerState


class NonInviteServerTests(TransactionTestCase):
    """§17.2.2 and RFC 4320."""

    def reach(self, state: S, path: Path) -> NonInviteServerTransaction:
        """A transaction in the given state; what it sent so far is forgotten."""
        transaction = self.serve(make_request(), path)
        assert isinstance(transaction, NonInviteServerTransaction)
        if state is S.PROCEEDING:
            self.run_for(3.5)
        elif state is S.COMPLETED:
            transaction.respond(transaction.request.response(200))
        elif state is S.TERMINATED:
            self.run_for(32.0)
        path.sent.clear()
        self.assertIs(transaction.state, state)
        return transaction

    def test_table(self) -> None:
        """Every input in every state, over UDP."""
        inputs: dict[str, Callable[[NonInviteServerTransaction, Path], object]] = {
            "request": lambda tx, path: self.table.receive(make_request(), path),
            "respond 100": lambda tx, path: tx.respond(tx.request.response(100)),
            "respond 183": lambda tx, path: tx.respond(tx.request.response(183)),
            "respond 200": lambda tx, path: tx.respond(tx.request.response(200)),
            "respond 408": lambda tx, path: tx.respond(tx.request.response(408)),
            "respond 480": lambda tx, path: tx.respond(tx.request.response(480)),
            "3.5 s": lambda tx, path: self.run_for(3.5),
            "32 s": lambda tx, path: self.run_for(32.0),
            "discard": lambda tx, path: tx.discard(),
        }
        wanted = {
            (S.TRYING, "request"): ([], S.TRYING),
            (S.TRYING, "respond 100"): ([], S.TRYING),
            (S.TRYING, "respond 183"): ([], S.TRYING),
            (S.TRYING, "respond 200"): ([200], S.COMPLETED),
            (S.TRYING, "respond 408"): ([], S.TRYING),
            (S.TRYING, "respond 480"): ([480], S.COMPLETED),
            (S.TRYING, "3.5 s"): ([100], S.PROCEEDING),
            (S.TRYING, "32 s"): ([100], S.TERMINATED),
            (S.TRYING, "discard"): ([], S.TERMINATED),
            (S.PROCEEDING, "request"): ([100], S.PROCEEDING),
            (S.PROCEEDING, "respond 100"): ([], S.PROCEEDING),
            (S.PROCEEDING, "respond 183"): ([], S.PROCEEDING),
            (S.PROCEEDING, "respond 200"): ([200], S.COMPLETED),
            (S.PROCEEDING, "respond 408"): ([], S.PROCEEDING),
            (S.PROCEEDING, "respond 480"): ([480], S.COMPLETED),
            (S.PROCEEDING, "3.5 s"): ([], S.PROCEEDING),
            (S.PROCEEDING, "32 s"): ([], S.TERMINATED),
            (S.PROCEEDING, "discard"): ([], S.TERMINATED),
            # The table repeats the final response; timer J ends the absorbing.
            (S.COMPLETED, "request"): ([200], S.COMPLETED),
            (S.COMPLETED, "respond 100"): ([], S.COMPLETED),
            (S.COMPLETED, "respond 183"): ([], S.COMPLETED),
            (S.COMPLETED, "respond 200"): ([], S.COMPLETED),
            (S.COMPLETED, "respond 408"): ([], S.COMPLETED),
            (S.COMPLETED, "respond 480"): ([], S.COMPLETED),
            (S.COMPLETED, "3.5 s"): ([], S.COMPLETED),
            (S.COMPLETED, "32 s"): ([], S.COMPLETED),
            (S.COMPLETED, "discard"): ([], S.TERMINATED),
            # A request after the end is a new one.
            (S.TERMINATED, "request"): ([], S.TERMINATED),
            (S.TERMINATED, "respond 100"): ([], S.TERMINATED),
            (S.TERMINATED, "respond 183"): ([], S.TERMINATED),
            (S.TERMINATED, "respond 200"): ([], S.TERMINATED),
            (S.TERMINATED, "respond 408"): ([], S.TERMINATED),
            (S.TERMINATED, "respond 480"): ([], S.TERMINATED),
            (S.TERMINATED, "3.5 s"): ([], S.TERMINATED),
            (S.TERMINATED, "32 s"): ([], S.TERMINATED),
            (S.TERMINATED, "discard"): ([], S.TERMINATED),
        }
        states = (S.TRYING, S.PROCEEDING, S.COMPLETED, S.TERMINATED)
        self.assertEqual(set(wanted), {(state, name) for state in states for name in inputs})
        for (state, name), (sent, after) in wanted.items():
            self.setUp()
            path = Path()
            transaction = self.reach(state, path)
            inputs[name](transaction, path)
            self.assertEqual((path.statuses(), transaction.state), (sent, after), (state, name))

    def test_retransmissions_make_one_transaction(self) -> None:
        """Three copies, one call; each copy after the answer gets it again (timer J)."""
        path = Path()
        transaction = self.serve(make_request(), path)
        self.table.receive(make_request(), path)
        self.assertFalse(transaction.answered)
        transaction.respond(transaction.request.response(200, to_tag="t"))
        self.assertTrue(transaction.answered)
        self.table.receive(make_request(), path)
        self.run_for(31.5)
        self.table.receive(make_request(), path)
        self.assertEqual(len(self.user.received), 1)
        self.assertEqual(len(path.sent), 3)
        self.assertEqual(len(set(path.sent)), 1)
        self.assertEqual(self.table.request_retransmissions, 3)
        self.run_for(1)
        self.assert_clean()

    def test_reliable(self) -> None:
        """Over TCP timer J is 0."""
        path = Path(reliable=True)
        transaction = self.serve(make_request(), path)
        transaction.respond(transaction.request.response(202))
        self.assertEqual(path.statuses(), [202])
        self.assertIs(transaction.state, S.TERMINATED)
        self.run_for(4)
        self.assert_clean()

    def test_100_after_3_5_seconds(self) -> None:
        """RFC 4320 §4.1: a 100 when timer E has reached T2, not before; then silence (§4.2)."""
        path = Path()
        self.serve(make_request(), path)
        self.run_for(3.4)
        self.assertEqual(path.statuses(), [])
        self.run_for(0.2)
        self.assertEqual(path.statuses(), [100])
        self.run_for(28.5)
        self.assertEqual(path.statuses(), [])
        self.assert_clean()

    def test_late_final(self) -> None:
        """A final response may follow the 100."""
        path = Path()
        transaction = self.serve(make_request(), path)
        self.run_for(5)
        transaction.respond(transaction.request.response(504))
        self.assertEqual(path.statuses(), [100, 504])
        self.run_for(33)
        self.assert_clean()

    def test_response_that_cannot_be_written(self) -> None:
        """Nothing is sent, and another response may follow."""
        path = Path()
        transaction = self.serve(make_request(), path)
        bad = transaction.request.response(200, headers=[("X", "a\r\nb")])
        self.assertRaises(RenderError, transaction.respond, bad)
        self.assertFalse(transaction.answered)
        transaction.respond(transaction.request.response(500))
        self.assertEqual(path.statuses(), [500])

    def test_odd_t1(self) -> None:
        """With T1 above T2 the 100 comes after T1."""
        table = Transactions(self.timers, SipSettings(t1=5.0, t2=4.0), self.user)
        self.assertEqual(table.timing.trying, 5.0)


class InviteServerTests(TransactionTestCase):
    """§17.2.1 and RFC 6026."""

    def reach(self, state: S, path: Path) -> InviteServerTransaction:
        """A transaction in the given state; what it sent so far is forgotten."""
        transaction = self.serve(make_request("INVITE"), path)
        assert isinstance(transaction, InviteServerTransaction)
        transaction.on_cancel = lambda: self.user.heard.append("cancel")
        transaction.on_ack_timeout = lambda: self.user.heard.append("no ACK")
        if state is S.PROCEEDING:
            transaction.respond(transaction.request.response(180))
        elif state is S.ACCEPTED:
            transaction.respond(transaction.request.response(200))
        elif state in (S.COMPLETED, S.CONFIRMED):
            transaction.respond(transaction.request.response(486))
            if state is S.CONFIRMED:
                self.table.receive(make_request("ACK"), path)
        elif state is S.TERMINATED:
            transaction.discard()
            self.table.server_ended(transaction)
        path.sent.clear()
        self.assertIs(transaction.state, state)
        return transaction

    def test_table(self) -> None:
        """Every input in every state, over UDP."""
        inputs: dict[str, Callable[[InviteServerTransaction, Path], object]] = {
            "INVITE": lambda tx, path: self.table.receive(make_request("INVITE"), path),
            "ACK": lambda tx, path: self.table.receive(make_request("ACK"), path),
            "CANCEL": lambda tx, path: tx.cancelled(),
            "180": lambda tx, path: tx.respond(tx.request.response(180)),
            "200": lambda tx, path: tx.respond(tx.request.response(200)),
            "486": lambda tx, path: tx.respond(tx.request.response(486)),
            "T1": lambda tx, path: self.run_for(0.5),
            "T4": lambda tx, path: self.run_for(5.0),
            "64*T1": lambda tx, path: self.run_for(32.0),
            "discard": lambda tx, path: tx.discard(),
        }
        repeats = [486] * 3  # at 0.5, 1.5 and 3.5 s, then every 4 s
        wanted: dict[tuple[S, str], tuple[list[int], list[object], S]] = {
            (S.PROCEEDING, "INVITE"): ([180], [], S.PROCEEDING),
            (S.PROCEEDING, "ACK"): ([], [], S.PROCEEDING),
            (S.PROCEEDING, "CANCEL"): ([], ["cancel"], S.PROCEEDING),
            (S.PROCEEDING, "180"): ([180], [], S.PROCEEDING),
            (S.PROCEEDING, "200"): ([200], [], S.ACCEPTED),
            (S.PROCEEDING, "486"): ([486], [], S.COMPLETED),
            (S.PROCEEDING, "T1"): ([], [], S.PROCEEDING),
            (S.PROCEEDING, "T4"): ([], [], S.PROCEEDING),
            (S.PROCEEDING, "64*T1"): ([], [], S.PROCEEDING),
            (S.PROCEEDING, "discard"): ([], [], S.TERMINATED),
            (S.ACCEPTED, "INVITE"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "ACK"): ([], ["ACK"], S.ACCEPTED),
            (S.ACCEPTED, "CANCEL"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "180"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "200"): ([200], [], S.ACCEPTED),
            (S.ACCEPTED, "486"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "T1"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "T4"): ([], [], S.ACCEPTED),
            (S.ACCEPTED, "64*T1"): ([], [], S.TERMINATED),
            (S.ACCEPTED, "discard"): ([], [], S.TERMINATED),
            (S.COMPLETED, "INVITE"): ([486], [], S.COMPLETED),
            (S.COMPLETED, "ACK"): ([], [], S.CONFIRMED),
            (S.COMPLETED, "CANCEL"): ([], [], S.COMPLETED),
            (S.COMPLETED, "180"): ([], [], S.COMPLETED),
            (S.COMPLETED, "200"): ([], [], S.COMPLETED),
            (S.COMPLETED, "486"): ([], [], S.COMPLETED),
            (S.COMPLETED, "T1"): ([486], [], S.COMPLETED),
            (S.COMPLETED, "T4"): (repeats, [], S.COMPLETED),
            (S.COMPLETED, "64*T1"): (repeats + [486] * 7, ["no ACK"], S.TERMINATED),
            (S.COMPLETED, "discard"): ([], [], S.TERMINATED),
            (S.CONFIRMED, "INVITE"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "ACK"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "CANCEL"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "180"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "200"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "486"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "T1"): ([], [], S.CONFIRMED),
            (S.CONFIRMED, "T4"): ([], [], S.TERMINATED),
            (S.CONFIRMED, "64*T1"): ([], [], S.TERMINATED),
            (S.CONFIRMED, "discard"): ([], [], S.TERMINATED),
            # Requests after the end belong to nothing, or are new.
            (S.TERMINATED, "INVITE"): ([], [], S.TERMINATED),
            (S.TERMINATED, "ACK"): ([], ["ACK"], S.TERMINATED),
            (S.TERMINATED, "CANCEL"): ([], [], S.TERMINATED),
            (S.TERMINATED, "180"): ([], [], S.TERMINATED),
            (S.TERMINATED, "200"): ([], [], S.TERMINATED),
            (S.TERMINATED, "486"): ([], [], S.TERMINATED),
            (S.TERMINATED, "T1"): ([], [], S.TERMINATED),
            (S.TERMINATED, "T4"): ([], [], S.TERMINATED),
            (S.TERMINATED, "64*T1"): ([], [], S.TERMINATED),
            (S.TERMINATED, "discard"): ([], [], S.TERMINATED),
        }
        states = (S.PROCEEDING, S.ACCEPTED, S.COMPLETED, S.CONFIRMED, S.TERMINATED)
        self.assertEqual(set(wanted), {(state, name) for state in states for name in inputs})
        for (state, name), (sent, heard, after) in wanted.items():
            self.setUp()
            path = Path()
            transaction = self.reach(state, path)
            inputs[name](transaction, path)
            self.assertEqual(
                (path.statuses(), self.user.news(), transaction.state),
                (sent, heard, after),
                (state, name),
            )

    def test_nothing_to_repeat(self) -> None:
        """Before any response a retransmission gets none."""
        path = Path()
        self.serve(make_request("INVITE"), path)
        self.table.receive(make_request("INVITE"), path)
        self.assertEqual(path.sent, [])
        self.assertEqual(len(self.user.received), 1)

    def test_reliable(self) -> None:
        """Over TCP nothing is repeated, and timer I is 0."""
        path = Path(reliable=True)
        transaction = self.reach(S.COMPLETED, path)
        self.run_for(5)
        self.assertEqual(path.sent, [])
        self.table.receive(make_request("ACK"), path)
        self.assertIs(transaction.state, S.TERMINATED)
        self.assert_clean()

    def test_confirmed_absorbs_acks(self) -> None:
        """The ACK's retransmissions are absorbed for timer I."""
        path = Path()
        self.reach(S.CONFIRMED, path)
        self.table.receive(make_request("ACK"), path)
        self.assertEqual(self.user.news(), [])
        self.run_for(5.1)
        self.table.receive(make_request("ACK"), path)
        self.assertEqual(self.user.news(), ["ACK"])
        self.assert_clean()

    def test_without_callbacks(self) -> None:
        """A user that asked for nothing hears nothing."""
        path = Path()
        transaction = self.serve(make_request("INVITE"), path)
        assert isinstance(transaction, InviteServerTransaction)
        transaction.cancelled()
        transaction.respond(transaction.request.response(486))
        self.run_for(33)
        self.assert_clean()
