"""What the gateway reads from a request: RequestFacts for the policy, and a few numbers.

May import sip.
"""

import hashlib
from functools import lru_cache

from msrpgw.errors import SipError
from msrpgw.sip.message import Request
from msrpgw.sip.transaction import ReplyPath
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.types import Address, RequestFacts


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address:
    """A URI as policies see it.  Raises UriError when it is none."""
    uri = parse_uri(text)
    received = text
    if isinstance(uri, SipUri) and uri.headers:
        received = text.partition("?")[0]
    canonical = uri.canonical()
    user = parse_uri(canonical).user  # with needless escapes undone, as keys want it
    return Address(canonical, user, uri.host.lower(), uri.port, received)


def is_urgent(ruri: str) -> bool:
    """Whether a request URI calls for help (RFC 5031)."""
    return ruri[:15].lower() == "urn:service:sos"


def message_id_of(request: Request, keyed: hashlib.blake2b) -> str:
    """The Message-ID of a MESSAGE: the same for each copy of it, and nobody else's to guess.

    ``keyed``: of ``keyed_hash``.
    """
    call_id = request.headers.usual().get("call-id")
    text = f"{call_id}\0{request.cseq.number}\0{request.from_.tag}\0{request.uri}"
    copy = keyed.copy()
    copy.update(text.encode("utf-8", "surrogateescape"))
    return copy.hexdigest()


def keyed_hash(key: bytes) -> hashlib.blake2b:
    """What all Message-IDs made with a key of up to 64 bytes begin with."""
    return hashlib.blake2b(digest_size=12, key=key)


def text_of(request: Request) -> tuple[str, float]:
    """Content-Type of a MESSAGE, and the seconds that its Expires gives it (RFC 3428 §4): 0 for
    no limit, or one that can't be read.

    Raises SipError for a body of no type, or in an encoding that we don't have.
    """
    headers = request.headers.usual()
    content_type = headers.get("content-type")
    if content_type is None:
        if request.body:
            raise SipError("Missing Content-Type header field")
        content_type = "text/plain"
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise SipError(
            "Unsupported Content-Encoding",
            status=415,
            headers=(("Accept-Encoding", "identity"),),
        )
    expires = headers.get("expires")
    if expires is None:
        return content_type, 0.0
    text = expires.strip()
    seconds = float(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0.0
    return content_type, seconds


def hops_left(request: Request) -> int:
    """Max-Forwards of a request that we send because of this one (RFC 3261 §16.6 step 3)."""
    hops = request.max_forwards
    return 70 if hops is None else hops - 1


def facts_of(request: Request, source: ReplyPath) -> RequestFacts:
    """What the policy may know of a request, and of where it came from.

    Raises SipError when a URI of the request can't be read.
    """
    return RequestFacts(
        request.method,
        address_of(request.uri),
        address_of(request.from_.uri_text),
        address_of(request.to.uri_text),
        source.host,
        source.port,
        source.transport,
        tuple(request.headers.items()),
        request.content_type,
    )
