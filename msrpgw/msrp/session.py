"""One MSRP session: its SDP, the connection it is bound to, and its two halves.

                 offer/answer          active: connect     empty SEND        200
    create ──► NEGOTIATING ──start──┬──► CONNECTING ──────► BINDING ──────────┐
                                    │                                         ▼
                                    └──► WAITING ── first SEND of the peer ──► UP
    every state ──► OVER, by ``close`` or, told to the listener, by the loss of the connection

Imports the pure rooms of msrp, connection, pool, settings and timers; the endpoint by name only.
"""

import enum
import typing
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from msrpgw.content.media import accepts, parse_media_type
from msrpgw.errors import NotAcceptable
from msrpgw.msrp.chunks import new_transaction_id
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.frame import Request, Response
from msrpgw.msrp.incoming import Incoming, Receiver
from msrpgw.msrp.outgoing import OnDone, Outgoing, Report, Sender, SendResult
from msrpgw.msrp.relay import MARGIN, Lease
from msrpgw.msrp.render import render_send
from msrpgw.msrp.sdp import (
    LocalMedia,
    Negotiated,
    accept_answer,
    make_answer,
    make_offer,
    parse_message_media,
)
from msrpgw.msrp.secure import Wanted
from msrpgw.msrp.uri import MsrpUri
from msrpgw.timers import Timer

if typing.TYPE_CHECKING:
    from msrpgw.msrp.endpoint import Endpoint

__all__ = ["Incoming", "Report", "SendResult", "Session", "SessionListener", "SessionState"]

#: SENDs that may come before our side of the SDP exchange is done; more get 403
EARLY_REQUESTS = 64


class SessionState(enum.Enum):
    """What the session waits for."""

    NEGOTIATING = "negotiating"  #: offer and answer
    CONNECTING = "connecting"  #: a TCP connection to the peer
    BINDING = "binding"  #: the 200 to our first SEND
    WAITING = "waiting"  #: the peer's first SEND
    UP = "up"  #: nothing: messages flow
    OVER = "over"  #: nothing ever again


# Looked up in the class they took 2 % of a set-up, until Python 3.12.
_NEGOTIATING, _CONNECTING, _BINDING, _WAITING, _UP, _OVER = SessionState


class SessionListener(typing.Protocol):
    """Who hears of sessions, of which it may have several."""

    def session_up(self, session: "Session") -> None:
        """The session is bound to a connection; called once."""

    def session_lost(self, session: "Session", reason: str) -> None:
        """The session has failed (RFC 4975 §5.4) and can't be used again.

        Each SEND without its answer was given up before, in order.  Not called after ``close``.
        """

    @property
    def patient(self) -> bool:
        """Whether no message is refused for coming late."""

    def message_received(self, session: "Session", incoming: Incoming) -> None:
        """A whole message came; it is to be accepted or refused, at once or later."""

    def report_received(self, session: "Session", report: Report) -> None:
        """A REPORT about a message of ours came, after that message's ``on_done``."""


class Session:
    """One MSRP session.  Made by ``Endpoint.create_session``, ends with ``close`` or by loss.

    Invariant: it is in the endpoint's table until it is over, and in ``connection.sessions``
    while ``connection`` is set.
    """

    __slots__ = (
        "_alone", "_early", "_early_size", "_endpoint", "_first_send", "_lease",
        "_lease_timer", "_listener", "_local", "_random", "_sender", "_shared", "_timer", "_timers",
        "_to_path", "_wanted", "accept_types", "behind_relay", "connection", "from_paths", "path",
        "path_text", "peer", "receiver", "state",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: "Endpoint",
        listener: SessionListener,
        accept_types: Sequence[str],
        path: MsrpUri,
        replaces: "Session | None" = None,
    ) -> None:
        settings = endpoint.settings
        self._endpoint = endpoint
        self._listener = listener
        self._timers = endpoint.timers
        self._random = endpoint.random
        former: LocalMedia | None = None if replaces is None else replaces._local
        self.accept_types = tuple(accept_types)  #: what we take
        self._local: LocalMedia = LocalMedia(
            path=path,
            accept_types=self.accept_types,
            max_size=settings.max_size,
            reachable=settings.reachable,
            # RFC 3264 §8: in one dialog the origin stays, its version counts the changes.
            origin=former.origin if former else int.from_bytes(endpoint.random(4)),
            version=former.version + 1 if former else 1,
            fingerprint=endpoint.secure.fingerprint if endpoint.secure is not None else "",
            cema=settings.cema,
        )
        #: MSRPS, when it is known: what a peer's certificate must prove
        self._wanted: Wanted | None = None
        self._early: tuple[Request, ...] = ()  # came before start()
        self._early_size = 0
        self._timer: Timer | None = None
        self._shared = False  # whether others were bound to the connection before us
        self._first_send = ""  # transaction id of the SEND that binds
        self._alone = False  # whether the peer refused us on a shared connection
        self._sender = Sender(endpoint.timers, endpoint.random, settings, self)
        self.receiver = Receiver(
            endpoint.timers, endpoint.random, settings, endpoint.budget, self.accept_types, self
        )
        if replaces is not None:
            self.receiver.replace(replaces.receiver)
        self.state = _NEGOTIATING
        self.path = path  #: our URI, made for this session alone
        self.path_text = path.render()
        self.peer: Negotiated | None = None  #: what the SDP exchange agreed on
        #: whether a relay stands before the peer: its 200 says nothing of the receiver
        self.behind_relay = False
        self.connection: Connection | None = None
        self.from_paths: tuple[str, ...] = ()  #: From-Paths that were found to be the peer's
        self._to_path = ""
        self._lease: Lease | None = None  # the way through a relay of ours
        self._lease_timer: Timer | None = None

    # SDP

    def offer(self, protected: bool = False, *, cema: bool = True) -> bytes:
        """Our SDP offer (RFC 4975 §8); the same again in a later offer that changes nothing.

        ``protected``: it goes over TLS, so we may offer MSRPS; ``cema``: whether RFC 6714 may be
        used.  Raises SipError when our relay is not there.
        """
        if self._local.cema and not cema:
            self._local = msgspec.structs.replace(self._local, cema=False)
        self._use_relay()
        if self._lease is None and (protected or self._endpoint.settings.require_tls):
            self._use_tls()
        return make_offer(self._local)

    def answer(self, offer: bytes, protected: bool = False) -> bytes:
        """Our SDP answer to the peer's offer; also to a later one, if it ``is_current``.

        ``protected``: the offer came over TLS.
        Raises NotAcceptable when it has no usable m-line, SipError when our relay is not there.
        """
        self._use_relay()
        if self._endpoint.secure is not None and self._lease is None:
            plain = not self._endpoint.settings.require_tls and not self.secure
            if parse_message_media(offer, plain=plain, tls=True).secure:
                self._use_tls()
        answer, peer = make_answer(offer, self._local)
        self._negotiated(peer, protected)
        return answer

    def apply_answer(self, answer: bytes, protected: bool = False) -> None:
        """Take the peer's answer to our offer.  Raises NotAcceptable when it can't be used.

        ``protected``: it came over TLS.
        """
        self._negotiated(accept_answer(self._local, answer), protected)

    @property
    def patient(self) -> bool:
        """Whether no message of the peer's is refused for coming late."""
        return self._listener.patient

    @property
    def secure(self) -> bool:
        """Whether it is MSRPS; if so, what takes its place is so, too."""
        return self.path.scheme == "msrps"

    def _use_tls(self) -> None:
        """Become an MSRPS session, while nobody knows our URI yet."""
        if self.secure or self.peer is not None or self._endpoint.secure is None:
            return
        self._move(self._endpoint.new_path(tls=True))

    def _use_relay(self) -> None:
        """Be reached through our relay, if we have one, while nobody knows our URI yet."""
        relay = self._endpoint.relay
        if relay is None or self._lease is not None:
            return
        self._lease = lease = relay.take()
        # RFC 4976 §5.1: Use-Path is as To-Path begins; a=path goes the other way.
        self._local = msgspec.structs.replace(self._local, relays=lease.path[::-1])
        self._move(msgspec.structs.replace(self.path, scheme=relay.uri.scheme))

    def _move(self, path: MsrpUri) -> None:
        self._endpoint.forget(self)
        self.path = path
        self.path_text = path.render()
        self._local = msgspec.structs.replace(self._local, path=path)
        self._endpoint.remember(self)

    def is_current(self, sdp: bytes) -> bool:
        """Whether the peer's SDP names the session that we have, and not another one."""
        try:
            path = parse_message_media(sdp, plain=not self.secure, tls=self.secure).path
        except NotAcceptable:
            return False
        peer = self.peer
        return peer is not None and path == peer.remote_path

    def _negotiated(self, peer: Negotiated, protected: bool) -> None:
        self.peer = peer
        if self.secure and self._endpoint.secure is not None and self._lease is None:
            self._wanted = self._endpoint.secure.wanted(peer, protected)
        self.behind_relay = self._lease is not None or len(peer.remote_path) > 1
        remote = " ".join(uri.render() for uri in peer.remote_path)
        ours = "".join(f"{uri.render()} " for uri in self._lease.path) if self._lease else ""
        self._to_path = ours + remote
        self.from_paths = (remote,)

    @property
    def unanswered(self) -> bool:
        """Whether a message of ours waits to be sent, or for its response."""
        return self._sender.unanswered

    def accepts(self, media_type: str) -> bool:
        """Whether the peer takes this type; any that can be one before the SDP exchange."""
        return _takes(self.peer.accept_types if self.peer is not None else ("*",), media_type)

    # Binding

    def start(self) -> None:
        """Offer and answer are done: connect, or wait for the peer to (RFC 6135)."""
        peer = self.peer
        if peer is None or self.state is not _NEGOTIATING:
            return
        self.state = _WAITING
        if self._lease is not None:
            left = max(0.0, self._lease.ends - MARGIN - self._timers.seconds())
            self._lease_timer = self._timers.call_later(left, self._lease_over)
        self._take_early()
        if self.state is _WAITING and peer.active:
            self._connect()

    def hold(self, connection: Connection, request: Request) -> None:
        """Keep a SEND that overtook the SDP answer until ``start`` tells whether it is the peer's.

        Its connection counts as the session's meanwhile, so that no other can come.
        """
        if self.connection is not None and self.connection is not connection:
            connection.refuse(request, 506, "The session is bound to another connection")
            return
        self._early_size += len(request.body or b"")
        too_large = self._early_size > self._endpoint.settings.max_size
        if too_large or len(self._early) >= EARLY_REQUESTS:
            connection.refuse(request, 403, "The session is still being set up")
            return
        self._early = (*self._early, request)
        if self.connection is None:
            self.connection = connection
            connection.bind(self)

    def _take_early(self) -> None:
        early, self._early = self._early, ()
        connection = self.connection
        if connection is None:
            return
        # From here on it is as if they came just now, on a connection bound to nothing.
        self.connection = None
        connection.unbind(self)
        for request in early:
            self._endpoint.request_received(connection, request)

    def _connect(self) -> None:
        assert self.peer is not None
        self.state = _CONNECTING
        if self._lease is not None:
            # RFC 6135 §4.5: who is behind a relay connects to that, and has.
            self.connected(self._lease.connection)
            return
        self._endpoint.pool.connect(
            self.peer.remote_path[0], self, self._alone, self._wanted, self.peer.anchor
        )

    def connected(self, connection: Connection) -> None:
        """The connection to the peer is there: bind it with an empty SEND (§5.4)."""
        if self.state is not _CONNECTING:
            return  # closed meanwhile, or the peer connected to us
        self.state = _BINDING
        self._shared = bool(connection.sessions) and self._lease is None
        self.connection = connection
        connection.bind(self)
        self._first_send = transaction_id = new_transaction_id(self._random, b"")
        connection.transactions[transaction_id] = self
        self._timer = self._timers.call_later(
            self._endpoint.settings.transaction_timeout, self._binding_timed_out
        )
        message_id = new_transaction_id(self._random, b"")
        paths = self._to_path, self.path_text
        connection.write(
            render_send(transaction_id, *paths, message_id, 1, 0, 0, None, None, "$", False)
        )

    def connect_failed(self, reason: str) -> None:
        """No connection to the peer could be made."""
        if self.state is _CONNECTING:
            self._fail(f"connect failed: {reason}")

    def response_received(self, response: Response) -> None:
        """The first SEND got its response."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if 200 <= response.status <= 299:
            if self._alone and self.peer is not None:
                self._endpoint.pool.never_share(self.peer.remote_path[0])
            if self.state is _BINDING:
                self._up()
        elif self._shared and self.state is _BINDING:
            # The peer may just not like to share: once more, on a connection of its own.
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.unbind(self)
            self._alone = True
            self._connect()
        else:
            self._fail(f"peer refused the first SEND: {response.status} {response.comment}")

    def _binding_timed_out(self) -> None:
        self._timer = None
        self._fail("no response to the first SEND")

    def admit(self, connection: Connection, request: Request) -> bool:
        """Decide about a SEND on a connection that is not known to be the session's.

        Its paths were checked.  Returns whether it is to be taken; else it was answered.
        """
        if self.connection is not None:
            connection.refuse(request, 506, "The session is bound to another connection")
            return False
        if self._lease is not None and connection is not self._lease.connection:
            connection.refuse(request, 403, "Not by way of the session's relay")
            return False
        if not self._believe(connection):
            connection.refuse(request, 403, "The certificate is not that of the session's peer")
            if not connection.sessions:
                connection.close()
            return False
        self.connection = connection
        connection.bind(self)
        if request.body is None and not request.truncated:
            # Some block until their first SEND has its 200, and hang up on a SEND before that.
            self.receiver.send_received(connection, request)
            self._up()
            return False
        self._up()
        return True

    def _believe(self, connection: Connection) -> bool:
        """Whether who connected to us is the peer.  If not, and it must connect, that was all:
        §14.4 wants the session torn down."""
        wanted, secure = self._wanted, self._endpoint.secure
        if wanted is None or secure is None:
            return True
        reason = secure.disbelief(connection, wanted, self.path.session_id)
        if reason and self.state is _WAITING:
            self._fail(reason)
        return not reason

    def proven(self) -> None:
        """The peer sent a message on our connection before it answered our first SEND."""
        if self.state is _BINDING:
            self._up()

    def _up(self) -> None:
        connection = self.connection
        assert connection is not None
        self.state = _UP
        self.receiver.start(connection, self.path_text, self._to_path)
        self._sender.start(connection, self._to_path, self.path_text)
        self._listener.session_up(self)

    # Messages

    def message_received(self, incoming: Incoming) -> None:
        """The receiver put a message together."""
        self._listener.message_received(self, incoming)

    def send(
        self,
        message_id: str,
        content_type: str,
        body: bytes,
        on_done: OnDone,
        *,
        success_report: bool = False,
        extension: str = "",
    ) -> None:
        """Send a message, now or when the session is up.

        ``extension``: a header line for its SENDs (RFC 4975 §9), without its end.

        ``on_done`` is called once: when the last chunk was answered, at the first refusal, or
        when the session is lost or closed; before ``send`` returns when it can't be sent at all.
        """
        peer = self.peer
        if self.state is _OVER:
            on_done(SendResult(0, "The session is over", lost=True))
        elif peer is not None and peer.max_size is not None and len(body) > peer.max_size:
            on_done(SendResult(413, "Larger than the peer takes"))
        elif not self.accepts(content_type):
            on_done(SendResult(415, "The peer does not take this type"))
        else:
            # A relay's 200 says only that the relay has it.
            wanted = success_report or self.behind_relay
            self._sender.send(Outgoing(message_id, content_type, body, on_done, wanted, extension))

    def send_refused(self, status: int, comment: str) -> None:
        """The peer answered a SEND with an error; its message's ``on_done`` was told."""
        if status in (481, 506):  # §10.8, §10.10: there is no such session any more
            self._fail(f"peer answered {status} {comment}".rstrip())

    def report(self, request: Request) -> None:
        """Take a REPORT; there is no answer to it, whatever it says (§7.3.2)."""
        report = self._sender.report_received(request)
        if report is not None:
            self._listener.report_received(self, report)

    # The end

    def connection_lost(self, reason: str) -> None:
        """The connection is gone, and the session with it (§5.4)."""
        self.connection = None
        if self.state is _NEGOTIATING:
            self._early = ()  # nothing was agreed on yet; the peer may connect again
            self._early_size = 0
        else:
            self._fail(reason)

    def _lease_over(self) -> None:
        self._fail("the relay's URI runs out")

    def close(self) -> None:
        """End the session.  Messages without their answer are given up as lost, in order."""
        if self.state is not _OVER:
            self._end("The session was closed")

    def _fail(self, reason: str) -> None:
        if self.state is not _OVER:
            self._end(reason)
            self._listener.session_lost(self, reason)

    def _end(self, reason: str) -> None:
        self.state = _OVER
        self._endpoint.forget(self)
        for timer in (self._timer, self._lease_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._lease_timer = None
        self._early = ()
        self.receiver.stop()
        connection, self.connection = self.connection, None
        self._sender.stop(reason)
        if connection is not None:
            connection.transactions.pop(self._first_send, None)
            connection.unbind(self)


# One memory for all sessions: one of its own took each 250 bytes.
@lru_cache(maxsize=1024)
def _takes(accept_types: tuple[str, ...], media_type: str) -> bool:
    """Whether a peer takes a type that may come from anybody."""
    if not media_type.isprintable():
        return False  # it must not become a header of ours
    try:
        parsed = parse_media_type(media_type)
    except ValueError:
        return False
    return accepts(accept_types, parsed)
