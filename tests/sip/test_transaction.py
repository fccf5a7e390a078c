"""The table of transactions: matching and bounds (RFC 3261 §17.1.3, §17.2.3)."""

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request
from msrpgw.sip.server_transaction import InviteServerTransaction, ServerState
from msrpgw.sip.transaction import MAX_FORKS
from tests.sip.transaction_cases import Path, TransactionTestCase, make_request


class MatchingTests(TransactionTestCase):
    """§17.2.3 and §17.1.3: which message belongs to which transaction."""

    def deliver(self, *requests: Request) -> int:
        """Receive requests; returns how many transactions they made."""
        before = len(self.user.received)
        for request in requests:
            self.table.receive(request, Path())
        return len(self.user.received) - before

    def test_branch_sent_by_and_method(self) -> None:
        """Any of the three makes another transaction; the host's case does not."""
        self.assertEqual(
            self.deliver(
                make_request(call_id="1", host="a.example.com"),
                make_request(call_id="1", host="A.EXAMPLE.com"),
                make_request(call_id="2", host="a.example.com", branch="z9hG4bKother"),
                make_request(call_id="3", host="b.example.com"),
                make_request(call_id="4", host="a.example.com", port=5061),
                make_request("OPTIONS", call_id="5", host="a.example.com"),
            ),
            5,
        )

    def test_rfc2543(self) -> None:
        """Without the magic cookie, or with nothing after it, all else is compared."""
        for branch in (None, "1", "z9hG4bK"):
            self.setUp()
            same = {"branch": branch, "call_id": "1"}
            self.assertEqual(
                self.deliver(
                    make_request(**same),
                    make_request(**same),
                    make_request(**{**same, "call_id": "2"}),
                    make_request(**same, cseq=2),
                    make_request(**same, to_tag="x"),
                    make_request(**same, from_tag="y"),
                    make_request(**same, uri="sip:other@example.com", cseq=3),
                    make_request("OPTIONS", **same),
                    make_request(**same, port=5070, cseq=4),
                ),
                8,
            )
            self.assertEqual(self.table.request_retransmissions, 1)

    def test_rfc2543_answer_is_repeated(self) -> None:
        """The answer to an RFC 2543 client's MESSAGE is repeated for its copies."""
        path = Path()
        transaction = self.serve(make_request(branch=None), path)
        transaction.respond(transaction.request.response(200, to_tag="t"))
        self.table.receive(make_request(branch=None), path)
        self.assertEqual(path.statuses(), [200, 200])
        self.assertEqual(len(self.user.received), 1)

    def test_rfc2543_ack(self) -> None:
        """The ACK of an RFC 2543 client has our To tag, which its INVITE had not."""
        path = Path()
        transaction = self.serve(make_request("INVITE", branch=None), path)
        transaction.respond(transaction.request.response(486, to_tag="t"))
        self.table.receive(make_request("ACK", branch=None, to_tag="t"), path)
        self.assertIs(transaction.state, ServerState.CONFIRMED)
        self.assertEqual(self.user.news(), [])

    def test_merged(self) -> None:
        """§8.2.2.2: the same request by another way is told as merged."""
        self.assertEqual(self.deliver(make_request(), make_request(branch="z9hG4bKtwo")), 1)
        self.assertEqual(self.user.news(), ["merged"])
        self.assertEqual(self.deliver(make_request(branch="z9hG4bK3", to_tag="in-dialog")), 1)
        self.assertEqual(self.deliver(make_request(branch="z9hG4bK4", cseq=2)), 1)
        self.assertEqual(self.user.news(), [])

    def test_merged_until_timer_j(self) -> None:
        """A merged request is known as long as the first one's transaction lives."""
        transaction = self.serve(make_request(), Path())
        transaction.respond(transaction.request.response(200))
        self.run_for(31)
        self.assertEqual(self.deliver(make_request(branch="z9hG4bKtwo")), 0)
        self.run_for(2)
        self.assertEqual(self.deliver(make_request(branch="z9hG4bKtwo")), 1)

    def test_cancel_is_never_merged(self) -> None:
        """An INVITE that came twice is cancelled twice."""
        self.assertEqual(
            self.deliver(make_request("CANCEL"), make_request("CANCEL", branch="z9hG4bKtwo")), 2
        )

    def test_find_cancelled(self) -> None:
        """§9.2: the transaction with the CANCEL's branch and sent-by, and another method."""
        for branch in ("z9hG4bKabc", None):
            self.setUp()
            cancel = make_request("CANCEL", branch=branch)
            methods = ("INVITE", "MESSAGE")
            self.assertIsNone(self.table.find_cancelled(cancel, methods))
            invite = self.serve(make_request("INVITE", branch=branch), Path())
            self.assertIs(self.table.find_cancelled(cancel, methods), invite)
            self.assertIsNone(
                self.table.find_cancelled(make_request("CANCEL", branch="z9hG4bKx"), methods)
            )

    def test_find_cancelled_message(self) -> None:
        """A MESSAGE can be found while it is not answered."""
        message = self.serve(make_request(), Path())
        cancel = make_request("CANCEL")
        self.assertIs(self.table.find_cancelled(cancel, ("INVITE", "MESSAGE")), message)
        message.respond(message.request.response(200))
        self.assertIsNone(self.table.find_cancelled(cancel, ("INVITE", "MESSAGE")))

    def test_stray_ack(self) -> None:
        """An ACK that belongs to nothing, or to something else than an INVITE, is passed on."""
        self.deliver(make_request())
        self.table.receive(make_request("ACK"), Path())
        self.table.receive(make_request("ACK", branch="z9hG4bKnew"), Path())
        self.assertEqual(self.user.news(), ["ACK", "ACK"])

    def test_responses(self) -> None:
        """Branch and CSeq method both count; without a branch a response is stray."""
        request = make_request()
        self.table.send_request(request, "z9hG4bKabc", b"", self.user, False)
        self.table.receive(make_request("OPTIONS").response(200), Path())
        self.table.receive(make_request(branch="z9hG4bKx").response(200), Path())
        self.table.receive(make_request(branch=None).response(200), Path())
        self.assertEqual(self.user.news(), ["stray"] * 3)
        for line in ("SIP/2.0/UDP b;branch=z9hG4bKb", None):
            response = request.response(200)
            if line is None:
                top = response.headers.get("Via")
                response.headers.set("Via", f"{top}, SIP/2.0/UDP b;branch=z9hG4bKb")
            else:
                response.headers.add("Via", line)
            self.table.receive(response, Path())
        self.assertEqual(self.user.news(), ["stray"] * 2)
        self.table.receive(request.response(200), Path())
        self.assertEqual(self.user.news(), [200])

    def test_find_client(self) -> None:
        """A request that is not answered can be found by its branch and method."""
        request = make_request()
        made = self.table.send_request(request, "z9hG4bKabc", b"", self.user, False)
        self.assertIs(self.table.find_client("z9hG4bKabc", "MESSAGE"), made)
        self.assertIsNone(self.table.find_client("z9hG4bKabc", "INVITE"))
        self.table.receive(request.response(200), Path())
        self.assertIsNone(self.table.find_client("z9hG4bKabc", "MESSAGE"))

    def test_settled_invite_of_ours(self) -> None:
        """Once its call is over, what is left of an INVITE says which it was, until timer M."""
        request = make_request("INVITE")
        data = request.render()
        self.table.send_request(request, "z9hG4bKabc", data, self.user, False)
        self.table.settle_client(request, "one")  # too early: it has no answer yet
        self.table.receive(request.response(200, to_tag="one"), Path())
        self.assertEqual(len(self.table), 0)
        self.table.settle_client(request, "one")
        self.assertEqual(self.user.news(), [200])
        for status, tag in ((180, "one"), (486, "one"), (200, "one"), *[(200, "two")] * 2):
            self.table.receive(request.response(status, to_tag=tag), Path())
        told = [(data, "one", False), (data, "two", True), (data, "two", False)]
        self.assertEqual(self.user.news(), told)
        for number in range(MAX_FORKS + 1):
            response = request.response(200, to_tag=f"other{number}")
            self.table.receive(response, Path())
        self.assertEqual(len(self.user.news()), MAX_FORKS - 1)
        self.assertIsNone(self.table.find_client("z9hG4bKabc", "INVITE"))
        self.run_for(32.1)
        self.table.receive(request.response(200, to_tag="one"), Path())
        self.assertEqual(self.user.news(), ["stray"])
        self.assert_clean()

    def test_settled_invite_of_a_peer(self) -> None:
        """Once its 2xx has the ACK, what is left of an INVITE absorbs it, and knows its To tag."""
        path = Path()
        transaction = self.serve(make_request("INVITE"), path)
        assert isinstance(transaction, InviteServerTransaction)
        transaction.settle()  # too early: it has no answer yet
        transaction.to_tag = "ours"
        transaction.respond(transaction.request.response(200, to_tag="ours"))
        self.assertEqual(len(self.table), 0)
        transaction.settle()
        self.assertEqual(self.deliver(make_request("INVITE")), 0)
        self.assertEqual(self.deliver(make_request("INVITE", branch="z9hG4bKtwo")), 0)
        self.table.receive(make_request("ACK"), path)
        self.assertEqual((path.statuses(), self.user.news()), ([200], ["merged", "ACK"]))
        cancelled = self.table.find_cancelled(make_request("CANCEL"), ("INVITE",))
        assert cancelled is not None
        self.assertEqual(cancelled.to_tag, "ours")
        self.run_for(32.1)
        self.assertEqual(self.deliver(make_request("INVITE")), 1)

    def test_without_via(self) -> None:
        """What can't be matched raises."""
        self.assertRaises(
            SipSyntaxError, self.table.receive, Request("MESSAGE", "sip:a@b", Headers()), Path()
        )


class BoundTests(TransactionTestCase):
    """The table is bounded."""

    limit = 3

    def test_overload(self) -> None:
        """Above ``max_transactions`` unanswered ones a request is refused; its copies too."""
        for number in range(4):
            self.table.receive(make_request(branch=f"z9hG4bK{number}", cseq=number), Path())
        self.assertEqual(len(self.user.received), 3)
        self.assertEqual(self.user.news(), ["overloaded"])
        first = self.user.received[0]
        first.respond(first.request.response(200))
        self.table.receive(make_request(branch="z9hG4bK9", cseq=9), Path())
        self.assertEqual(len(self.user.received), 4)
        self.run_for(70)
        self.assert_clean()

    def test_answered_ones_make_room(self) -> None:
        """Of the answered ones the oldest is forgotten before its time."""
        path = Path()
        for number in range(5):
            transaction = self.serve(make_request(branch=f"z9hG4bK{number}", cseq=number), path)
            transaction.respond(transaction.request.response(200))
        path.sent.clear()
        self.assertEqual(len(self.table), 0)
        self.table.receive(make_request(branch="z9hG4bK4", cseq=4), path)
        self.assertEqual(path.statuses(), [200])
        self.table.receive(make_request(branch="z9hG4bK0", cseq=0), path)
        self.assertEqual(len(self.user.received), 6)
        self.run_for(70)
        self.assert_clean()

    def test_accepted_ones_make_room(self) -> None:
        """The same of INVITEs that got their 2xx, in both directions."""
        path = Path()
        for number in range(5):
            branch = f"z9hG4bK{number}"
            transaction = self.serve(make_request("INVITE", branch=branch, cseq=number), path)
            transaction.respond(transaction.request.response(200))
            request = make_request("INVITE", branch=branch)
            self.table.send_request(request, branch, b"", self.user, False)
            self.table.receive(request.response(200), path)
        self.assertEqual(len(self.table), 0)
        self.assertEqual((len(self.table._servers), len(self.table._clients)), (3, 3))
        transaction.respond(transaction.request.response(200))
        self.assertEqual(path.statuses(), [200] * 6)
        self.run_for(70)
        self.assert_clean()

    def test_close(self) -> None:
        """Closing forgets everything, without a word."""
        self.limit = 1000
        self.setUp()
        path = Path()
        self.serve(make_request(branch="z9hG4bK0", cseq=1), path)
        waiting = self.serve(make_request(branch="z9hG4bK1", cseq=2), path)
        self.run_for(4)
        ringing = self.serve(make_request("INVITE", branch="z9hG4bK2", cseq=3), path)
        ringing.respond(ringing.request.response(486))
        waiting.respond(waiting.request.response(200))
        for method, branch in (("INVITE", "z9hG4bK3"), ("MESSAGE", "z9hG4bK4")):
            self.table.send_request(make_request(method), branch, b"", self.user, False)
        answered = make_request(branch="z9hG4bK5")
        self.table.send_request(answered, "z9hG4bK5", b"", self.user, False)
        self.table.receive(answered.response(200), path)
        self.user.heard.clear()
        path.sent.clear()
        self.table.close()
        self.assert_clean()
        self.run_for(70)
        self.assertEqual((path.sent, self.user.heard), ([], []))
