"""Frozen values that cross rooms.  Imports nothing of msrpgw."""

import enum
from typing import Any

import msgspec

#: compact forms of header names (RFC 3261 §7.3.3)
_COMPACT = {
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "s": "subject",
    "t": "to",
    "v": "via",
}


class Direction(enum.Enum):
    """Which way a message crosses the gateway."""

    TO_MSRP = "to_msrp"  #: came as a MESSAGE, leaves as a SEND
    TO_PAGE = "to_page"  #: came as a SEND, leaves as a MESSAGE


class Address(msgspec.Struct, frozen=True):
    """A URI of a request, in the canonical form of keys (RFC 3261 §19.1.4) and in parts."""

    uri: str  #: canonical: host in lower case, no default port, no parameters
    user: str = ""  #: canonical user part; empty when the URI has none
    host: str = ""  #: host in lower case, IPv6 with brackets; empty for ``tel:`` and ``urn:``
    port: int | None = None  #: None for the default one
    received: str = (
        ""  #: the URI as it was received, with its parameters: for calling, not for keys
    )

    @property
    def aor(self) -> str:
        """``user@host``, without scheme and port: what different clients agree on."""
        if not self.host:
            return self.uri
        return f"{self.user}@{self.host}" if self.user else self.host


class RequestFacts(msgspec.Struct, frozen=True):
    """What a policy may know of a MESSAGE or an initial INVITE."""

    method: str
    ruri: Address
    from_: Address
    to: Address
    source_ip: str
    source_port: int
    transport: str  #: "UDP", "TCP" or "TLS"
    headers: tuple[tuple[str, str], ...]  #: names and raw values, in wire order
    content_type: str | None  #: raw Content-Type, None without a body

    def header(self, name: str) -> str | None:
        """The first value of a header by its full name, whatever the case; None when absent."""
        wanted = name.lower()
        for found, value in self.headers:
            lower = found.lower()
            if lower == wanted or _COMPACT.get(lower) == wanted:
                return value
        return None


class Parties(msgspec.Struct, frozen=True):
    """From, To and request URI of requests that belong together.

    Of MESSAGEs to a page user: ``from_uri`` is the MSRP user, ``to_uri`` the page user.
    """

    from_uri: str
    to_uri: str
    ruri: str


class Route(msgspec.Struct, frozen=True):
    """A policy's answer: where a request belongs and how the other side is called.

    For a MESSAGE, the URIs are those of the INVITE to the MSRP user; for an initial INVITE,
    those of the MESSAGEs to the page user.
    """

    key: str  #: opaque; one gateway session for each
    from_uri: str
    to_uri: str
    ruri: str
    content_types: tuple[str, ...] = ("text/plain",)  #: what the MSRP user may send us
    #: of an INVITE's route: every hop to the page user takes large MESSAGEs over TCP, none over
    #: UDP (RFC 3428 §8)
    congestion_safe: bool = False

    @property
    def parties(self) -> Parties:
        """From, To and request URI together."""
        return Parties(self.from_uri, self.to_uri, self.ruri)


class Refusal(msgspec.Struct, frozen=True):
    """A policy's answer: the request is refused with this SIP status and reason phrase."""

    code: int
    reason: str


class Message(msgspec.Struct, frozen=True):
    """One instant message on its way across, whatever carried it."""

    message_id: str  #: MSRP Message-ID, the same on each attempt
    direction: Direction
    content_type: str
    body: bytes
    received_at: float  #: seconds, on the gateway's monotonic clock
    call_id: str = ""  #: of the MESSAGE that brought it; empty when a SEND did
    lifetime: float = 0.0  #: seconds that its sender gives it (Expires); 0: no limit
    hops: int = 0  #: gateways that it has passed before us


class UserCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a user who proves who he is with a password (RFC 7616)."""

    #: by algorithm, ``SHA-256`` for example: hexadecimal hash of user, realm and password
    ha1: dict[str, str]
    #: addresses of record that the user may have in From; empty: ``sip:USER@`` realm or domain
    uris: tuple[str, ...] = ()


class OutcomeKind(enum.Enum):
    """How a message ended, or how one attempt to deliver it did."""

    DELIVERED = "delivered"  #: the receiver said that it has the message
    RELAYED = "relayed"  #: a relay has it; its receiver's REPORT is awaited
    REFUSED = "refused"  #: the receiver, or what stands before it, said no
    UNREACHABLE = "unreachable"  #: nobody answered, or nobody could be asked
    EXPIRED = "expired"  #: we gave up waiting
    DROPPED = "dropped"  #: the gateway had no room, or was told to forget it


_DELIVERED = OutcomeKind.DELIVERED


class Outcome(msgspec.Struct, frozen=True):
    """The end of one message.  Each message that was accepted gets exactly one."""

    kind: OutcomeKind
    status: int  #: SIP status when the message went to a page user, else MSRP status; 0: none came
    reason: str = ""
    setup: int = 0  #: SIP status that the call to the MSRP user failed with; 0: not for that
    retry_after: float = 0.0  #: seconds that the far side asks us to wait; 0: it did not

    @property
    def ok(self) -> bool:
        """Whether the receiver has the message, as far as anybody can tell."""
        return self.kind is _DELIVERED


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A message in our custody, with all that delivering it takes in another process.

    Times are seconds since the epoch.
    """

    id: str  #: to the MSRP user: its Message-ID; to the page user: Call-ID of its MESSAGE
    direction: Direction
    key: str  #: of its gateway session
    message_id: str
    content_type: str
    body: bytes
    page_uri: str  #: the page user
    msrp_uri: str  #: the MSRP user
    #: From, To and request URI of what carries it on: the call to be made, or the MESSAGE
    from_uri: str
    to_uri: str
    ruri: str
    content_types: tuple[str, ...] = ()  #: what the MSRP user of that call may send
    congestion_safe: bool = False  #: whether its MESSAGE may be of any size (RFC 3428 §8)
    received_at: float
    expires_at: float
    #: of the MESSAGE: the same on each attempt, but for branch, and CSeq after a refusal
    from_tag: str = ""
    cseq: int = 1
    branch: str = ""
    sent_at: float = 0.0  #: when it first went out with this branch; 0: not known to have
    part: int = 0  #: how many MESSAGEs of a text in several have arrived
    parts: int = 1


class JournalDialog(msgspec.Struct, frozen=True, kw_only=True):
    """A dialog with an MSRP user: what a BYE takes in another process (RFC 3261 §12)."""

    key: str  #: of its gateway session
    call_id: str
    local: str  #: value of From in our requests, tag included
    remote: str  #: value of To in our requests, tag included
    target: str  #: URI that requests go to
    routes: tuple[str, ...]  #: values of Route, first to visit comes first
    cseq: int  #: number of our last request


class JournalContents(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier process left behind."""

    entries: tuple[JournalEntry, ...] = ()  #: in the order in which custody was taken
    dialogs: tuple[JournalDialog, ...] = ()
    ended: tuple[str, ...] = ()  #: ids of messages that ended lately


class Event(msgspec.Struct, frozen=True):
    """Something that an operator or a plugin may want to know, in OpenSIPS's terms."""

    name: str  #: for example ``E_MSRP_GW_SETUP_FAILED``
    parameters: dict[str, Any]  #: names as in OpenSIPS's modules; values are str, int or float
