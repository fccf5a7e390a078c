"""The table of transactions (RFC 3261 §17): finds the machine that a message belongs to.

The machines are in ``server_transaction`` and ``client_transaction``.  What comes from the wire
goes in through ``receive``; requests that belong to no transaction come out through the
``TransactionListener``.  Pure: time comes from the timers handed in.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from msrpgw.sip.client_transaction import (
    ClientKey,
    ClientState,
    ClientTransaction,
    InviteClientTransaction,
    NonInviteClientTransaction,
    SendFailure,
    TransactionUser,
)
from msrpgw.sip.fields import Via, find_branch
from msrpgw.sip.head import Limits, read_head
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import parse_datagram
from msrpgw.sip.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ReplyPath,
    ServerState,
    ServerTransaction,
    Timing,
)
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import DelayLine, Timers

__all__ = [
    "ClientState",
    "ClientTransaction",
    "InviteClientTransaction",
    "InviteServerTransaction",
    "NonInviteClientTransaction",
    "NonInviteServerTransaction",
    "ReplyPath",
    "SendFailure",
    "ServerState",
    "ServerTransaction",
    "TransactionListener",
    "TransactionUser",
    "Transactions",
]

#: most branches of one fork that are looked at; nobody forks that wide in earnest
MAX_FORKS = 32

#: what we wrote ourselves has been measured
_NO_LIMITS = Limits(max_message_size=2**31, max_headers=2**31, max_line_length=2**31)

#: stands for the transaction of a response that belongs to none
_STRANGER: Any = object()

#: §8.1.1.7: a branch that begins so was made to be unique
_MAGIC_COOKIE = "z9hG4bK"


class TransactionListener(Protocol):
    """Who stands above the table: the user agent core."""

    def request_received(self, transaction: ServerTransaction) -> None:
        """A new request; it waits for ``respond``."""

    def ack_received(self, request: Request, source: ReplyPath) -> None:
        """An ACK that belongs to a 2xx, or to nothing."""

    def merged_request_received(self, request: Request, source: ReplyPath) -> None:
        """A request that came before by another way (§8.2.2.2): to be answered 482."""

    def overloaded(self, request: Request, source: ReplyPath) -> None:
        """There is no room for another transaction: to be answered 503."""

    def stray_response_received(self, response: Response, source: ReplyPath) -> None:
        """A response to nothing that we sent and still know of."""

    def settled_accepted(self, invite: Request, response: Response, first: bool) -> None:
        """A 2xx came for an INVITE that was settled; ``first``: none of its branch came before."""


class Cancelled(Protocol):
    """What a CANCEL may be for."""

    to_tag: str  #: of its responses


class _Answered(msgspec.Struct, gc=False):
    """What is left of a non-INVITE server transaction over UDP: state Completed (§17.2.2).

    Hundreds of thousands of these may wait for timer J.  So all else is let go, and the garbage
    collector has nothing to do with them: its visits would hold everybody up.
    """

    merge_key: str | None
    data: bytes  #: the final response
    source: ReplyPath

    def retransmitted(self) -> None:
        """The request came again: so does the final response, whose Via says where to."""
        response = parse_datagram(self.data, _NO_LIMITS)
        if isinstance(response, Response):
            self.source.send_response(self.data, response.via)


class _Settled(msgspec.Struct, gc=False):
    """What is left of an INVITE that got its 2xx (RFC 6026), and whose user has done with it.

    As light as ``_Answered``: a call that is up needs it no more, and one that is over would
    otherwise be kept whole for 32 s.
    """

    merge_key: str | None = None
    to_tag: str = ""  #: of the 2xx
    invite: bytes = b""  #: its head as sent; b"": it was received
    others: tuple[str, ...] = ()  #: To tags of other 2xx that came

    def retransmitted(self) -> None:
        """The INVITE came again: absorb it."""


class Transactions:
    """All transactions of a user agent.  Lives as long as it; ``close`` ends all of them."""

    def __init__(
        self, timers: Timers, settings: SipSettings, listener: TransactionListener
    ) -> None:
        self.timing = timing = Timing(timers, settings)
        self._limit = settings.max_transactions
        self._listener = listener
        #: says whether a new request outside of dialogs is refused at once; None: it isn't
        self.refuse: Callable[[Request, ReplyPath], bool] | None = None
        # Keys are strings, since tuples are the garbage collector's business.
        self._servers: dict[str, ServerTransaction | _Answered | _Settled] = {}
        self._merge_keys: dict[str, None] = {}
        # None: answered, and retransmissions of the response are absorbed (timer K).
        self._clients: dict[ClientKey, ClientTransaction | _Settled | None] = {}
        # RFC 4320's 100; and timers J and L, E (the first one), K, M, alike for all transactions.
        # They hold keys, so that an answered request is let go at once.
        self._unanswered = DelayLine(timers, timing.trying, self._answer_late)
        self._answered = DelayLine(timers, timing.lifetime, self._server_over)
        self._unacknowledged = DelayLine(timers, timing.t1, self._retransmit)
        self._absorbing = DelayLine(timers, timing.t4, self._forget_client)
        self._accepted = DelayLine(timers, timing.lifetime, self._client_over)
        self.request_retransmissions = 0  #: requests absorbed because they had come before
        self.response_retransmissions = 0  #: the same for responses
        self.sent_again = 0  #: messages of ours that were retransmitted because no answer came

    def __len__(self) -> int:
        """How many transactions still have something to do but absorb retransmissions."""
        over = len(self._answered) + len(self._absorbing) + len(self._accepted)
        return len(self._servers) + len(self._clients) - over

    def close(self) -> None:
        """Forget all transactions, without a word to their users."""
        for entry in list(self._servers.values()):
            if isinstance(entry, ServerTransaction):
                entry.discard()
        for client in list(self._clients.values()):
            if isinstance(client, ClientTransaction):
                client.abandon()
        self._unanswered.clear()
        self._answered.clear()
        self._unacknowledged.clear()
        self._absorbing.clear()
        self._accepted.clear()
        self._servers.clear()
        self._merge_keys.clear()
        self._clients.clear()

    # Receiving

    def knows(self, request: Request) -> bool:
        """Whether a request has come before.

        Raises SipSyntaxError when it lacks what transactions are matched by.
        """
        return self._server_key(request) in self._servers

    def has_branch(self, branch: str, host: str, port: int | None, method: str) -> bool:
        """Whether a request with this branch has come before; ``host``, ``port``: of its Via."""
        return f"{branch} {host.lower()} {port} {method}" in self._servers

    @staticmethod
    def _server_key(request: Request) -> str:
        """§17.2.3."""
        via = request.via
        parameters = via.parameters
        # Mostly the first; to ask the Via takes twice as long.
        first = parameters and parameters[0][0] == "branch"
        branch = parameters[0][1] if first else via.branch
        if branch is not None and branch[:7] == _MAGIC_COOKIE and branch != _MAGIC_COOKIE:
            return _key(branch, via, request.method)
        return _rfc2543_key(request, via, request.method)

    def receive(self, message: Request | Response, source: ReplyPath) -> None:
        """Take a message from the wire, its topmost Via stamped (§18.2.1).

        Raises SipSyntaxError when it lacks what transactions are matched by.
        """
        if isinstance(message, Response):
            self._receive_response(message, source)
            return
        method = message.method
        key = self._server_key(message)
        entry = self._servers.get(key)
        if method == "ACK":
            if not isinstance(entry, InviteServerTransaction) or not entry.acknowledge():
                self._listener.ack_received(message, source)
        elif entry is not None:
            self.request_retransmissions += 1
            entry.retransmitted()
        else:
            self._open(message, source, method, key)

    def _open(self, request: Request, source: ReplyPath, method: str, key: str) -> None:
        merge_key = None
        if request.to.tag is None and method != "CANCEL":
            # §8.2.2.2; two CANCELs of one INVITE that was merged are both in order.
            call_id = request.headers.usual()["call-id"]
            merge_key = f"{call_id} {request.from_.tag or ''} {request.cseq.number} {method}"
            if merge_key in self._merge_keys:
                self._listener.merged_request_received(request, source)
                return
        if len(self._servers) + len(self._clients) >= self._limit and len(self) >= self._limit:
            self._listener.overloaded(request, source)
            return
        if self.refuse is not None and merge_key is not None and self.refuse(request, source):
            self._listener.overloaded(request, source)  # RFC 6357: early, and without a state
            return
        transaction: ServerTransaction
        if method == "INVITE":
            transaction = InviteServerTransaction(self, request, source, key, merge_key)
        else:
            transaction = NonInviteServerTransaction(self, request, source, key, merge_key)
            self._unanswered.push(key)
        self._servers[key] = transaction
        if merge_key is not None:
            self._merge_keys[merge_key] = None
        self._listener.request_received(transaction)

    def _receive_response(self, response: Response, source: ReplyPath) -> None:
        headers = response.headers
        via = headers.usual()["via"]
        branch = find_branch(via) or response.via.branch or ""
        key = f"{branch} {response.cseq.method}"
        client = self._clients.get(key, _STRANGER)
        # §8.1.3.3: ours has one Via; with more it was meant for somebody behind us.
        if client is _STRANGER or "," in via or headers.repeated("via"):
            self._listener.stray_response_received(response, source)
        elif client is None:
            self.response_retransmissions += 1
        elif not isinstance(client, _Settled):
            client.receive(response)
        elif 200 <= response.status < 300:
            self._receive_late(client, response)

    def _receive_late(self, settled: _Settled, response: Response) -> None:
        tag = response.to.tag or ""
        first = tag != settled.to_tag and tag not in settled.others
        if first:
            if len(settled.others) >= MAX_FORKS:
                return
            settled.others = (*settled.others, tag)
        invite, _ = read_head(settled.invite, _NO_LIMITS)
        if isinstance(invite, Request):
            self._listener.settled_accepted(invite, response, first)

    def find_cancelled(self, cancel: Request, methods: Iterable[str]) -> Cancelled | None:
        """The transaction that a CANCEL is for, and is not answered yet or is an INVITE (§9.2).

        None when there is none; then the CANCEL is answered 481.
        """
        via = cancel.via
        branch = via.branch
        unique = (
            branch is not None and branch.startswith(_MAGIC_COOKIE) and (branch != _MAGIC_COOKIE)
        )
        for method in methods:
            key = _key(branch, via, method) if unique else _rfc2543_key(cancel, via, method)
            entry = self._servers.get(key)
            if isinstance(entry, (ServerTransaction, _Settled)):
                return entry
        return None

    # Sending

    def send_request(
        self,
        request: Request,
        branch: str,
        data: bytes,
        user: TransactionUser,
        reliable: bool,
    ) -> ClientTransaction:
        """Open a client transaction and send ``data``, the rendered request.

        ``branch`` is that of its topmost Via, and was never used before with its method.
        """
        method = request.method
        key = f"{branch} {method}"
        transaction: ClientTransaction
        if method == "INVITE":
            transaction = InviteClientTransaction(self, key, request, data, user, reliable)
        else:
            transaction = NonInviteClientTransaction(self, key, request, data, user, reliable)
        self._clients[key] = transaction
        transaction.start()
        return transaction

    def find_client(self, branch: str, method: str) -> ClientTransaction | None:
        """The client transaction with this branch and method, unless it was answered."""
        found = self._clients.get(f"{branch} {method}")
        return found if isinstance(found, ClientTransaction) else None

    # For the machines

    def server_answered(self, transaction: NonInviteServerTransaction, data: bytes) -> None:
        """Keep the answer until timer J; under load, less long."""
        key = transaction.key
        self._servers[key] = _Answered(transaction.merge_key, data, transaction.source)
        self._absorb(key)

    def _absorb(self, key: str) -> None:
        if len(self._answered) >= self._limit:
            self._forget_server(self._answered.pop())
        self._answered.push(key)

    def server_accepted(self, transaction: InviteServerTransaction) -> None:
        """A 2xx went out: absorb retransmissions of the INVITE until timer L."""
        self._absorb(transaction.key)

    def server_settled(self, transaction: InviteServerTransaction) -> None:
        """The 2xx got its ACK, or waits for none any more."""
        if self._servers.get(transaction.key) is transaction:
            settled = _Settled(transaction.merge_key, transaction.to_tag)
            self._servers[transaction.key] = settled

    def server_ended(self, transaction: ServerTransaction) -> None:
        """Forget the transaction."""
        self._forget_server(transaction.key)

    def retransmit_later(self, transaction: NonInviteClientTransaction) -> None:
        """Call ``retransmit`` when T1 is over."""
        self._unacknowledged.push(transaction.key)

    def client_answered(self, transaction: NonInviteClientTransaction) -> None:
        """Absorb retransmissions of the final response until timer K."""
        self._clients[transaction.key] = None
        self._absorbing.push(transaction.key)

    def client_accepted(self, transaction: InviteClientTransaction) -> None:
        """A 2xx came: more of them may, until timer M."""
        if len(self._accepted) >= self._limit:
            self._clients.pop(self._accepted.pop(), None)
        self._accepted.push(transaction.key)

    def settle_client(self, invite: Request, to_tag: str) -> None:
        """An INVITE made a call, and its only 2xx had this To tag: its user has done with it.

        If a 2xx comes once more, the listener has to deal with it.
        """
        key = f"{find_branch(invite.headers.firsts()['via'])} INVITE"
        client = self._clients.get(key)
        if isinstance(client, InviteClientTransaction) and client.state is ClientState.ACCEPTED:
            head, _, _ = client.data.partition(b"\r\n\r\n")
            self._clients[key] = _Settled(to_tag=to_tag, invite=head)

    def client_ended(self, transaction: ClientTransaction) -> None:
        """Forget the transaction."""
        self._clients.pop(transaction.key, None)

    # For the delay lines

    def _answer_late(self, key: str) -> None:
        entry = self._servers.get(key)
        if isinstance(entry, NonInviteServerTransaction):
            entry.answer_late()

    def _forget_server(self, key: str) -> None:
        entry = self._servers.pop(key, None)
        if entry is not None and entry.merge_key is not None:
            self._merge_keys.pop(entry.merge_key, None)

    def _server_over(self, key: str) -> None:
        entry = self._servers.get(key)
        self._forget_server(key)
        if isinstance(entry, InviteServerTransaction):
            entry.discard()

    def _client_over(self, key: ClientKey) -> None:
        client = self._clients.pop(key, None)
        if isinstance(client, InviteClientTransaction):
            client.abandon()

    def _retransmit(self, key: ClientKey) -> None:
        client = self._clients.get(key)
        if isinstance(client, NonInviteClientTransaction):
            client.retransmit()

    def _forget_client(self, key: ClientKey) -> None:
        self._clients.pop(key, None)


def _key(branch: str | None, via: Via, method: str) -> str:
    """What the requests of a transaction share (§17.2.3)."""
    return f"{branch} {via.host.lower()} {via.port} {'INVITE' if method == 'ACK' else method}"


def _rfc2543_key(request: Request, via: Via, method: str) -> str:
    """What the requests of a transaction share when the branch says nothing (§17.2.3).

    The To tag of an ACK is that of our response, which the INVITE did not have; since a client
    does not reuse the other values within a transaction's lifetime it is left out of both.
    """
    parts = (
        request.uri,
        None if method in ("INVITE", "ACK") else request.to.tag,
        request.from_.tag,
        request.call_id,
        request.cseq.number,
        "INVITE" if method == "ACK" else method,
        via.transport,
        via.host.lower(),
        via.port,
        via.branch,
    )
    return repr(parts)
