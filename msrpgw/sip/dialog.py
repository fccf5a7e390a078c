"""Dialogs (RFC 3261 §12): what two user agents remember of each other between requests.

Pure: no clock, no sockets.  May import the codecs of this room only.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.fields import NameAddr, parse_name_addr
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Message, Request, Response
from msrpgw.sip.uri import SipUri, Uri, is_secure
from msrpgw.types import JournalDialog


class DialogId(NamedTuple):
    """What identifies a dialog at one user agent (§12).  A missing tag is the empty string."""

    call_id: str
    local_tag: str
    remote_tag: str

    @classmethod
    def of_request(cls, request: Request) -> "DialogId":
        """The dialog that a received request says it belongs to."""
        return cls(request.call_id, request.to.tag or "", request.from_.tag or "")


class Dialog:
    """One side's view of a dialog.

    Owned by its INVITE usage; ends with it.  From and To are kept as they were on the wire, so
    that a peer that compares them whole (RFC 2543) finds them unchanged.
    """

    __slots__ = (
        "_local",
        "_remote",
        "id",
        "local_cseq",
        "remote_cseq",
        "remote_target",
        "route_set",
        "secure",
    )

    def __init__(
        self,
        dialog_id: DialogId,
        *,
        local: str,
        remote: str,
        remote_target: str,
        route_set: Sequence[NameAddr],
        local_cseq: int,
        remote_cseq: int | None,
        secure: bool,
    ) -> None:
        self.id = dialog_id
        self._local = local  # value of From in our requests, tag included
        self._remote = remote  # value of To in our requests, tag included
        self.secure = secure  #: made with a SIPS request URI
        #: URI that requests go to; as received, but a ``sips:`` dialog never leaves TLS (§26.2.2)
        self.remote_target = _secured(remote_target) if secure else remote_target
        self.route_set: tuple[NameAddr, ...] = tuple(route_set)  #: first to visit comes first
        self.local_cseq = local_cseq  #: number of the last request sent
        self.remote_cseq = remote_cseq  #: highest number received; None when none came

    @classmethod
    def uas(cls, request: Request, local_tag: str) -> "Dialog":
        """The dialog that a received INVITE opens (§12.1.1).

        Raises SipSyntaxError when it has no Contact (§8.1.1.8).
        """
        contact = request.contact
        if contact is None:
            raise SipSyntaxError("Missing Contact header field")
        return cls(
            DialogId(request.call_id, local_tag, request.from_.tag or ""),
            local=f"{request.headers.get('To')};tag={local_tag}",
            remote=request.headers.get("From") or "",
            remote_target=as_request_uri(contact.uri),
            route_set=request.record_routes,
            local_cseq=0,
            remote_cseq=request.cseq.number,
            secure=is_secure(request.uri),
        )

    @classmethod
    def uac(cls, request: Request, response: Response) -> "Dialog":
        """The dialog that a response to our INVITE opens (§12.1.2).

        A response without Contact leaves the request's own URI as the target: it can't be
        refused any more, and the proxies that carried the INVITE can carry the rest.
        """
        contact = response.contact
        return cls(
            DialogId(request.call_id, request.from_.tag or "", response.to.tag or ""),
            local=request.headers.get("From") or "",
            remote=response.headers.get("To") or "",
            remote_target=request.uri if contact is None else as_request_uri(contact.uri),
            route_set=response.record_routes[::-1],
            local_cseq=request.cseq.number,
            remote_cseq=None,
            secure=is_secure(request.uri),
        )

    @property
    def local_uri(self) -> str:
        """From, with its tag, as our requests carry it."""
        return self._local

    @property
    def remote_uri(self) -> str:
        """To, with the peer's tag, as our requests carry it."""
        return self._remote

    def request(self, method: str) -> Request:
        """The next request in the dialog (§12.2.1.1), without Via and Max-Forwards."""
        self.local_cseq += 1
        return self._request(method, self.local_cseq)

    def ack(self, invite: Request) -> Request:
        """The ACK of a 2xx to an INVITE of ours (§13.2.2.4)."""
        ack = self._request("ACK", invite.cseq.number)
        first = invite.headers.firsts()
        if "authorization" in first or "proxy-authorization" in first:
            for name in ("Authorization", "Proxy-Authorization"):  # §22.1: an ACK can't be asked
                for value in invite.headers.get_all(name):
                    ack.headers.add(name, value)
        return ack

    def _request(self, method: str, cseq: int) -> Request:
        target = self.remote_target
        routes = [route.render() for route in self.route_set]
        strict = bool(routes) and not _is_loose(self.route_set[0])
        if strict:
            # A strict router (RFC 2543) wants itself in the request line, the target at the end.
            target = as_request_uri(self.route_set[0].uri)
            routes = [*routes[1:], f"<{self.remote_target}>"]
        fields = [
            ("From", self._local),
            ("To", self._remote),
            ("Call-ID", self.id.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        if routes:
            headers = Headers([*(("Route", route) for route in routes), *fields])
        else:
            headers = Headers.of_request(fields)
        request = Request(method, target, headers)
        request.strictly_routed = strict
        return request

    def kept(self, key: str) -> JournalDialog:
        """What it takes to end the dialog in another process.  ``key``: of its session."""
        return JournalDialog(
            key=key,
            call_id=self.id.call_id,
            local=self._local,
            remote=self._remote,
            target=self.remote_target,
            routes=tuple(route.render() for route in self.route_set),
            cseq=self.local_cseq,
        )

    def check_cseq(self, request: Request) -> bool:
        """Whether a received request is in order (§12.2.2); if so its number is remembered.

        One that is not is answered 500.
        """
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def refresh_target(self, message: Message) -> None:
        """Take the Contact of a re-INVITE, or of a 2xx to one, as the new target (§12.2)."""
        contact = message.contact
        if contact is not None:
            target = as_request_uri(contact.uri)
            self.remote_target = _secured(target) if self.secure else target


#: how much a revived dialog leaps over: requests that were sent after it was kept
_CSEQ_GAP = 1000


def revived(kept: JournalDialog) -> Dialog:
    """A dialog of another process, good for a BYE.  Raises SipSyntaxError."""
    call_id, local, remote = kept.call_id, kept.local, kept.remote
    return Dialog(
        DialogId(call_id, parse_name_addr(local).tag or "", parse_name_addr(remote).tag or ""),
        local=local,
        remote=remote,
        remote_target=kept.target,
        route_set=[parse_name_addr(route) for route in kept.routes],
        local_cseq=kept.cseq + _CSEQ_GAP,
        remote_cseq=None,
        secure=False,
    )


def as_request_uri(uri: Uri) -> str:
    """A URI from Contact or Route, without what a request line must not hold (§19.1.1)."""
    if not isinstance(uri, SipUri) or not (uri.parameters or uri.headers):
        return uri.text
    if uri.headers or uri.has_parameter("method"):
        return uri.without("method").render()
    return uri.render()


def _secured(target: str) -> str:
    return f"sips:{target[4:]}" if target[:4].lower() == "sip:" else target


def _is_loose(route: NameAddr) -> bool:
    return isinstance(route.uri, SipUri) and route.uri.is_loose_router
