"""The user agent core (RFC 3261 §8): requests out, requests in, to whoever registered for them.

    Transports ─► UserAgent ─► Transactions ─► UserAgent ─┬─► receiver of the method
                   (source)                   (§8.2)      └─► owner of the dialog

The only part of this room that the gateway talks to, beside the INVITE usage on top of it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpgw.auth.client import Keyring
from msrpgw.complaints import Complaints
from msrpgw.dns.resolver import Resolver
from msrpgw.dns.settings import DnsSettings
from msrpgw.errors import RenderError, SipError
from msrpgw.limits import Limits
from msrpgw.sip.client import ClientRequest, OnResponse, OnTarget
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.dialog import Dialog, DialogId
from msrpgw.sip.gate import Gate, Stateless
from msrpgw.sip.grammar import split_list
from msrpgw.sip.message import REASONS, Reply, Request, Response
from msrpgw.sip.pager import PagerMessage
from msrpgw.sip.parser import Malformed
from msrpgw.sip.probe import Prober
from msrpgw.sip.routing import Router
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import (
    InviteServerTransaction,
    ReplyPath,
    ServerTransaction,
    Transactions,
)
from msrpgw.sip.transport import Target, Transports
from msrpgw.sip.uri import SipUri
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls

__all__ = ["ClientRequest", "DialogOwner", "SipCounters", "UserAgent"]

_log = Logger()

#: schemes of request URIs that a policy can make something of; others get 416
_SCHEMES = ("sip:", "sips:", "tel:", "urn:")

#: how methods are listed in Allow; what else is registered follows
_ALLOW_ORDER = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "MESSAGE")

#: method and branch of a request that the network gave back, perhaps cut short
_GIVEN_BACK = re.compile(rb"([A-Z]+) [^\r\n]*\r\nVia:[^\r\n]*;branch=(z9hG4bK[0-9a-f]+)[;\r]")

#: seconds that a client that got 503 should wait
_RETRY_AFTER = ("Retry-After", "5")


class DialogOwner(Protocol):
    """Who gets the requests of a dialog."""

    def request_received(self, transaction: ServerTransaction) -> None:
        """A request in the dialog, to be answered."""

    def ack_received(self, request: Request) -> None:
        """An ACK of a 2xx in the dialog."""

    def renumbered(self, number: int) -> None:
        """A request of ours in the dialog had to take this CSeq number."""


class UserAgent:
    """A SIP user agent: one for the program, or one for each user in tests and demos.

    Owned by the service.  ``start`` listens, ``stop`` forgets all transactions.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        settings: SipSettings,
        random: Callable[[int], bytes],
        *,
        allow_source: Callable[[str], bool],
        resolver: Resolver | None = None,
        tls: Tls | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``random`` gives that many unpredictable bytes; ``allow_source`` judges IP addresses.

        ``resolver`` is its owner's to close; without one the agent has its own.  ``tls``: needed
        if ``settings`` listen on TLS.  ``limits`` None: nobody is limited.
        Raises ConfigError when ``outbound_proxy`` is no ``sip:`` URI.
        """
        self.settings = settings
        self.timers = timers
        self.random = random
        self.counters = SipCounters()
        #: what bodies we take: Accept of our answer to OPTIONS
        self.accept_types: list[str] = []
        #: option tags that a request may require of us (RFC 3261 §8.2.2.3)
        self.extensions: frozenset[str] = frozenset({"timer"})
        self.transactions = Transactions(timers, settings, self)
        self.transports = Transports(
            reactor,
            timers,
            settings,
            self._message_received,
            counters=self.counters,
            on_undeliverable=self._undeliverable,
            tls=tls,
            limits=limits,
        )
        self.resolver = resolver or Resolver(reactor, timers, random, DnsSettings())
        self._owns_resolver = resolver is None
        self.prober = Prober(self)
        self._router = Router(settings, timers, random, self.resolver)
        self.dead = self._router.dead
        self._allow_source = allow_source
        self._complaints = Complaints(timers, "msrpgw.sip")
        self._receivers: dict[str, Callable[[ServerTransaction], None]] = {}
        self._dialogs: dict[DialogId, DialogOwner] = {}
        self._server = ("Server", settings.user_agent)
        self._answer_statelessly = Stateless(settings.user_agent, random, self._complaints)
        self.gate = Gate(
            self.transactions, self._answer_statelessly, self.counters, self._complaints
        )
        #: answers those who ask us for credentials; None: nobody is answered
        self.keyring: Keyring | None = None

    # Life

    def start(self) -> None:
        """Listen.  Raises CannotListenError."""
        self.transports.start()

    def stop(self) -> Deferred[None]:
        """Forget all transactions and close all sockets; fires when they are closed."""
        self.transactions.close()
        self._router.close()
        if self._owns_resolver:
            self.resolver.close()
        return self.transports.stop()

    def addresses(self) -> list[str]:
        """What is listened on, with the ports really bound: ``udp:127.0.0.1:5060``."""
        return self.transports.addresses()

    # Who receives what

    def on(self, method: str, received: Callable[[ServerTransaction], None]) -> None:
        """Hand requests outside dialogs with this method to ``received``.

        A SipError that it raises becomes the answer.
        """
        self._receivers[method] = received

    def add_dialog(self, dialog_id: DialogId, owner: DialogOwner) -> None:
        """Hand the requests of a dialog to its owner."""
        self._dialogs[dialog_id] = owner

    def remove_dialog(self, dialog_id: DialogId) -> None:
        """The dialog is over: its requests get 481."""
        self._dialogs.pop(dialog_id, None)

    @property
    def allow(self) -> str:
        """Value of Allow: all methods that are answered in some way."""
        methods = {"OPTIONS", *self._receivers}
        if "INVITE" in methods:
            methods.update(("ACK", "BYE", "CANCEL"))
        known = [method for method in _ALLOW_ORDER if method in methods]
        return ", ".join([*known, *sorted(methods.difference(_ALLOW_ORDER))])

    def capabilities(self) -> list[tuple[str, str]]:
        """Headers of our answer to OPTIONS (§11.2)."""
        headers = [
            ("Allow", self.allow),
            ("Accept", ", ".join(self.accept_types) or "application/sdp"),
            ("Accept-Encoding", "identity"),
        ]
        if self.extensions:
            headers.append(("Supported", ", ".join(sorted(self.extensions))))
        return headers

    # Sending

    def request(
        self,
        request: Request,
        on_response: OnResponse,
        *,
        target: Target | None = None,
        branch: str = "",
        safe: bool = False,
        on_target: OnTarget | None = None,
    ) -> ClientRequest:
        """Send a request; it is the agent's from now on.

        Via, and Max-Forwards and User-Agent where missing, are added.  It goes to ``target``,
        else where ``routing`` says.  ``on_response`` is never called before this returns.
        ``branch``: of the first attempt's Via; a new one when empty.  ``safe``: what is too large
        for UDP goes over TCP or not at all.  ``on_target`` hears of each target before it is tried.
        Raises RenderError when a value can't be written, SipSyntaxError for a bad URI.
        """
        if not isinstance(request, PagerMessage):
            self._complete(request)
        client = ClientRequest(self, request, on_response, branch, safe, on_target)
        if target is not None:
            client.start([target])
            return client
        targets = self._router.locate_now(request)
        if targets is not None:
            client.start(targets)
        else:
            self._router.locate(request, client.located)
        return client

    def renumbered(self, request: Request) -> None:
        """A request goes out again with another CSeq number: its dialog must know."""
        dialog_id = DialogId(request.call_id, request.from_.tag or "", request.to.tag or "")
        if (owner := self._dialogs.get(dialog_id)) is not None:
            owner.renumbered(request.cseq.number)

    def send_ack(self, ack: Request) -> None:
        """Send the ACK of a 2xx: no transaction, no answer (§13.2.2.4).

        Raises RenderError and SipSyntaxError as ``request`` does.
        """
        self._complete(ack)
        branch = self.new_branch()

        def located(targets: list[Target]) -> None:
            if not targets:
                return  # the peer repeats its 2xx, and in the end its BYE tells us
            target = targets[0]
            ack.headers.insert_first("Via", self.transports.via_prefix(target) + branch)
            data = ack.render()
            if target.transport == "UDP" and len(data) > self.settings.udp_limit:
                target = target._replace(transport="TCP")
                ack.headers.replace_first("Via", self.transports.via_prefix(target) + branch)
                data = ack.render()
            self.transports.send(data, target, None)

        targets = self._router.locate_now(ack)
        if targets is not None:
            located(targets)
        else:
            self._router.locate(ack, located)

    def settled_accepted(self, invite: Request, response: Response, first: bool) -> None:
        """§13.2.2.4: each 2xx is acknowledged; that of another branch of a fork made a call."""
        dialog = Dialog.uac(invite, response)
        self.send_ack(dialog.ack(invite))
        if first:
            self.request(dialog.request("BYE"), lambda response: None)

    def _complete(self, request: Request) -> None:
        headers = request.headers
        first = headers.firsts()
        if "max-forwards" not in first:
            headers.add("Max-Forwards", "70")
        if "user-agent" not in first:
            headers.add("User-Agent", self.settings.user_agent)

    def new_message(
        self,
        ruri: str,
        from_uri: str,
        to_uri: str,
        content_type: str,
        body: bytes,
        *,
        call_id: str = "",
        tag: str = "",
        cseq: int = 1,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> PagerMessage:
        """A MESSAGE outside of dialogs (RFC 3428 §4).

        ``call_id``, ``tag`` (of From) and ``cseq`` are those of the former when it repeats one.
        """
        return PagerMessage(
            ruri,
            from_uri,
            to_uri,
            content_type,
            body,
            call_id=call_id or self.new_call_id(),
            tag=tag or self.new_tag(),
            cseq=cseq,
            user_agent=self.settings.user_agent,
            more=headers,
        )

    def new_tag(self) -> str:
        """A tag for From or To (§19.3)."""
        return self.random(8).hex()

    def new_call_id(self) -> str:
        """A Call-ID (§8.1.1.4)."""
        return self.random(16).hex()

    def new_branch(self) -> str:
        """A branch for Via, never used before (§8.1.1.7)."""
        return "z9hG4bK" + self.random(12).hex()

    def contact_uri(
        self, transport: str = "UDP", towards: str = "", *, secure: bool = False
    ) -> str:
        """A URI for Contact: where requests reach us over this transport.

        ``towards``: address of the peer, which matters when we listen on several addresses.
        ``secure``: a ``sips:`` URI, as it must be if the request has one (§8.1.1.8, §12.1.1).
        """
        return self.transports.contact_uri(transport, towards, secure)

    # Answering

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """Answer a request: To tag and Server are added.  500 if that can't be written."""
        tag: str | None = None
        if status > 100:
            tag = transaction.to_tag
            if not tag:
                tag = transaction.to_tag = self.new_tag()
        request = transaction.request
        # §8.2.6; what request.response() would check in addition is not so with these.
        own = [self._server, *headers]
        reason = REASONS.get(status, "Unknown") if reason is None else reason
        try:
            transaction.respond(Reply(request, status, reason, tag, own, body))
        except RenderError:
            _log.failure("the answer {status} can't be written; 500 goes out", status=status)
            transaction.respond(request.response(500, to_tag=tag))

    # From the transports

    def _message_received(self, message: Request | Response | Malformed, source: ReplyPath) -> None:
        try:
            if isinstance(message, Malformed):
                self._malformed_received(message, source)
            elif (
                isinstance(message, Response)
                or self._allow_source(source.host)
                or self.gate.admits(message, source)
            ):
                self.transactions.receive(message, source)
        except SipError as error:
            # Of a kind that the parser lets through: it can't even be matched.
            self.counters.malformed += 1
            self._complaints.add("malformed SIP message", source.host, error.reason)
            if isinstance(message, Request):
                self._answer_statelessly(message, source, error.status, error.reason)
        except Exception:
            _log.failure("a SIP message could not be processed; going on")

    def _malformed_received(self, message: Malformed, source: ReplyPath) -> None:
        self.counters.malformed += 1
        self._complaints.add("malformed SIP message", source.host, message.reason)
        if message.request is None:
            return
        if self._allow_source(source.host):
            self._answer_statelessly(message.request, source, message.status, message.reason)
        else:
            self.gate.refuse(message.request, source)

    def _undeliverable(self, data: bytes, reason: str) -> None:
        """ICMP gave a datagram back (§18.4): if it was a request, its transaction fails."""
        found = _GIVEN_BACK.match(data)
        if found is not None:
            client = self.transactions.find_client(found[2].decode(), found[1].decode())
            if client is not None:
                client.transport_failed(SendFailure(reason, True))

    # From the transactions

    def request_received(self, transaction: ServerTransaction) -> None:
        """A new request: find out who answers it (§8.2)."""
        try:
            self._dispatch(transaction)
        except SipError as error:
            self.respond(transaction, error.status, error.reason, error.headers)
        except Exception:
            _log.failure("{method} could not be processed", method=transaction.request.method)
            self.respond(transaction, 500)

    def _dispatch(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        method = request.method
        if method == "CANCEL":
            self._cancel_received(transaction)
            return
        headers = request.headers
        first = headers.usual()
        if "route" in first:
            self._remove_own_route(request)
        if transaction.merge_key is None:  # then To has a tag (§8.2.2.2)
            self._check_require(request)
            owner = self._dialogs.get(DialogId.of_request(request))
            if owner is None:
                self.respond(transaction, 481)
            else:
                transaction.source.prove()
                owner.request_received(transaction)
            return
        receiver = self._receivers.get(method)
        if receiver is None and method != "OPTIONS":
            if method == "BYE" and "INVITE" in self._receivers:
                self.respond(transaction, 481)  # §15.1.2
            else:
                self.respond(transaction, 405, None, (("Allow", self.allow),))
            return
        if request.uri[:4] != "sip:" and not request.uri.lower().startswith(_SCHEMES):
            self.respond(transaction, 416)
            return
        if "," in first["via"] or headers.repeated("via"):
            self._check_loop(request)
        if "require" in first:
            self._check_require(request)
        if receiver is None:
            self.respond(transaction, 200, None, self.capabilities())
        else:
            receiver(transaction)

    def _check_loop(self, request: Request) -> None:
        """Raises SipError 482 for a request of ours, which a proxy took for one to us (§16.3).

        Answered, it would be a call with ourselves, and texts would go round for ever.
        """
        find = self.transactions.find_client
        if any(via.branch and find(via.branch, request.method) for via in request.vias[1:]):
            raise SipError("Loop Detected", status=482)

    def _check_require(self, request: Request) -> None:
        """Raises SipError 420 for an extension that we don't have (§8.2.2.3)."""
        unknown = [tag for tag in request.require if tag not in self.extensions]
        if unknown:
            lacking = (("Unsupported", ", ".join(unknown)),)
            raise SipError("Bad Extension", status=420, headers=lacking)

    def _remove_own_route(self, request: Request) -> None:
        """Clients that have us as outbound proxy say so in a Route (§16.4)."""
        first = request.routes[0].uri
        if not isinstance(first, SipUri) or not self.transports.is_local(first):
            return
        rest = split_list(request.headers.get_all("Route")[0])[1:]
        if rest:
            request.headers.replace_first("Route", ", ".join(rest))
        else:
            request.headers.remove_first("Route")

    def _cancel_received(self, transaction: ServerTransaction) -> None:
        methods = {"INVITE": None, **dict.fromkeys(self._receivers)}
        cancelled = self.transactions.find_cancelled(transaction.request, methods)
        if cancelled is None:
            self.respond(transaction, 481)
            return
        # §9.2: the To tags of both answers should be the same.
        if not cancelled.to_tag:
            cancelled.to_tag = self.new_tag()
        transaction.to_tag = cancelled.to_tag
        self.respond(transaction, 200)
        if isinstance(cancelled, InviteServerTransaction):
            cancelled.cancelled()

    def ack_received(self, request: Request, source: ReplyPath) -> None:
        """An ACK of a 2xx goes to its dialog; without one it is of no use."""
        owner = self._dialogs.get(DialogId.of_request(request))
        if owner is not None:
            source.prove()  # it has seen our To tag
            owner.ack_received(request)

    def merged_request_received(self, request: Request, source: ReplyPath) -> None:
        """The request came before by another way (§8.2.2.2)."""
        self.counters.merged += 1
        self._answer_statelessly(request, source, 482, "Merged Request")

    def overloaded(self, request: Request, source: ReplyPath) -> None:
        """There is no room for another transaction, or no time for another call."""
        self.counters.overloaded += 1
        self._complaints.add("SIP request refused for lack of room", source.host, "503")
        self._answer_statelessly(request, source, 503, None, _RETRY_AFTER)

    def stray_response_received(self, response: Response, source: ReplyPath) -> None:
        """A response to nothing that we know of is dropped (§18.1.2)."""
        self.counters.stray_responses += 1
