"""SDP for MSRP: offers and answers with one m=message line (RFC 4975 §8, RFC 3264, RFC 6135).

Reads leniently: line ends, order and missing optional attributes never make a failure.
Pure: imports content, errors, uri and fingerprints of tls.
"""

import ipaddress
import re

import msgspec

from msrpgw.content.media import MediaType, accepts
from msrpgw.errors import MsrpSyntaxError, NotAcceptable
from msrpgw.msrp.uri import MsrpUri, parse_path
from msrpgw.tls.fingerprints import Fingerprint, parse_fingerprint

PROTOCOL = "TCP/MSRP"
_TLS_PROTOCOL = "TCP/TLS/MSRP"
_DEFAULT_PORT = 2855

#: most m-lines of an offer that are answered
_MAX_MEDIA = 32
#: most a=fingerprint lines of one section that are read
_MAX_FINGERPRINTS = 8
_TOKEN = re.compile(r"[!-~]+\Z")
_TIME = re.compile(r"\d+ \d+\Z", re.ASCII)


class MessageMedia(msgspec.Struct, frozen=True):
    """What one m=message line and its attributes say."""

    port: int
    protocol: str
    path: tuple[MsrpUri, ...]
    accept_types: tuple[str, ...] = ("*",)  #: ``*`` too when the attribute was missing
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None  #: bytes
    setup: str | None = None  #: active, passive, actpass; None when absent or holdconn
    host: str = ""  #: of the c-line; not used to connect (RFC 4975 §8.1)
    fingerprints: tuple[Fingerprint, ...] = ()  #: of the peer's certificate (RFC 4572 §5)
    cema: bool = False  #: whether its sender connects to c- and m-lines (RFC 6714)

    @property
    def secure(self) -> bool:
        """Whether it is MSRPS."""
        return self.protocol == _TLS_PROTOCOL

    @property
    def anchored(self) -> bool:
        """Whether c- and m-line name another place than the path does: a middle box wrote them.

        A name is not looked up for it: what can't be compared is taken for the same (§4.4).
        """
        ours = _plain(self.host)
        return not any(
            self.port == (uri.port or _DEFAULT_PORT) and _same(ours, _plain(uri.host))
            for uri in self.path
        )


class LocalMedia(msgspec.Struct, frozen=True):
    """Our side of a session."""

    path: MsrpUri
    accept_types: tuple[str, ...]
    max_size: int  #: bytes
    reachable: bool = True  #: whether peers can connect to ``path``
    origin: int = 1  #: sess-id of the o-line: the same through a whole dialog (RFC 3264 §8)
    version: int = 1  #: sess-version: one more with each change
    fingerprint: str = ""  #: of our certificate, for MSRPS
    relays: tuple[MsrpUri, ...] = ()  #: of ours, before ``path``; the outermost is the first
    cema: bool = False  #: whether we connect to c- and m-lines (RFC 6714)

    @property
    def first(self) -> MsrpUri:
        """Whom peers connect to."""
        return self.relays[0] if self.relays else self.path

    @property
    def secure(self) -> bool:
        """Whether it is MSRPS."""
        return self.first.scheme == "msrps"

    @property
    def protocol(self) -> str:
        """Of the m-line."""
        return _TLS_PROTOCOL if self.secure else PROTOCOL


class Negotiated(msgspec.Struct, frozen=True):
    """What offer and answer agreed on."""

    remote_path: tuple[MsrpUri, ...]
    active: bool  #: we connect
    accept_types: tuple[str, ...] = ("*",)
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None  #: bytes that the peer takes; None for no limit told
    fingerprints: tuple[Fingerprint, ...] = ()  #: of the peer's certificate, for MSRPS
    #: host and port to connect to in place of those of the path's first URI (RFC 6714)
    anchor: tuple[str, int] | None = None
    #: whether a middle box is in the way of a peer who does not know it: §4.2 wants a new offer
    falls_back: bool = False

    def accepts(self, media_type: MediaType) -> bool:
        """Whether the peer takes this type unwrapped."""
        return accepts(self.accept_types, media_type)

    def accepts_wrapped(self, media_type: MediaType) -> bool:
        """Whether the peer takes this type inside a wrapper such as message/cpim (§8.6)."""
        return accepts((*self.accept_types, *self.accept_wrapped_types), media_type)


class _Media:
    """One m-section, raw."""

    __slots__ = (
        "attributes",
        "connection",
        "fingerprints",
        "formats",
        "media",
        "port",
        "protocol",
    )

    def __init__(self, value: str) -> None:
        fields = value.split()
        self.media = fields[0].lower() if fields else ""
        port = fields[1].partition("/")[0] if len(fields) > 1 else ""
        self.port = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        self.protocol = fields[2] if len(fields) > 2 else ""
        self.formats = fields[3:]
        self.connection = ""
        self.attributes: dict[str, str] = {}
        self.fingerprints: list[str] = []


class _Description:
    """A whole body, raw."""

    __slots__ = ("attributes", "connection", "fingerprints", "media", "time")

    def __init__(self, body: bytes) -> None:
        self.attributes: dict[str, str] = {}
        self.fingerprints: list[str] = []
        self.connection = ""
        self.media: list[_Media] = []
        self.time = "0 0"
        self._read(body.decode("utf-8", "replace"))

    def _read(self, text: str) -> None:
        section: _Description | _Media = self
        for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            kind = line[:2]
            if kind == "a=":
                name, _, text_value = line[2:].partition(":")
                name = name.strip().lower()
                text_value = text_value.strip()
                section.attributes.setdefault(name, text_value)
                if name == "fingerprint" and len(section.fingerprints) < _MAX_FINGERPRINTS:
                    section.fingerprints.append(text_value)
            elif kind == "m=":
                if len(self.media) == _MAX_MEDIA:
                    raise _refused(399, "Too many media descriptions")
                section = _Media(line[2:])
                self.media.append(section)
            elif kind == "c=":
                section.connection = (line[2:].split() or [""])[-1]
            elif kind == "t=" and _TIME.match(value := line[2:].strip()):
                self.time = value

    def message(self, media: _Media, plain: bool, tls: bool) -> MessageMedia:
        """Read an m=message section.  Raises NotAcceptable when it can't be used."""
        protocol = media.protocol.upper()
        if protocol == _TLS_PROTOCOL and not tls:
            raise _refused(302, "TCP/TLS/MSRP is not supported")
        if protocol == PROTOCOL and not plain:
            raise _refused(302, "Only TCP/TLS/MSRP will do")
        if protocol not in (PROTOCOL, _TLS_PROTOCOL):
            raise _refused(302, "Only TCP/MSRP is supported")
        attributes = media.attributes
        if self.attributes:
            attributes = {**self.attributes, **attributes}
        text = attributes.get("path")
        if text is None:
            raise _refused(399, "a=path is missing")
        try:
            path = parse_path(text)
        except MsrpSyntaxError as error:
            raise _refused(399, f"a=path: {error.comment}") from error
        # Whom to connect to, and how, is said by the first; what relays do is their affair.
        if (path[0].scheme == "msrps") is not (protocol == _TLS_PROTOCOL):
            raise _refused(302, f"a=path of {path[0].scheme} URIs does not go with {protocol}")
        if not path[-1].session_id:
            raise _refused(399, "a=path without a session-id")
        setup = (attributes.get("setup") or "").lower()
        size = attributes.get("max-size") or ""
        wrapped = attributes.get("accept-wrapped-types")
        fingerprints = media.fingerprints or self.fingerprints
        return MessageMedia(
            port=media.port,
            protocol=protocol,
            path=path,
            accept_types=tuple((attributes.get("accept-types") or "*").split()),
            accept_wrapped_types=tuple(wrapped.split()) if wrapped else (),
            max_size=int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
            setup=setup if setup in ("active", "passive", "actpass") else None,
            host=media.connection or self.connection,
            fingerprints=tuple(filter(None, map(parse_fingerprint, fingerprints))),
            cema="msrp-cema" in attributes,
        )


def _refused(code: int, text: str) -> NotAcceptable:
    """488 with a Warning that says why (RFC 3261 §20.43)."""
    return NotAcceptable(
        "Not Acceptable Here", headers=(("Warning", f'{code} msrpgw "{_quotable(text)}"'),)
    )


def _quotable(text: str) -> str:
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def _choose(description: _Description, *, plain: bool, tls: bool) -> tuple[_Media, MessageMedia]:
    """The first m-line that we can use."""
    problem: NotAcceptable | None = None
    for media in description.media:
        if media.media != "message" or media.port == 0:
            continue
        try:
            return media, description.message(media, plain, tls)
        except NotAcceptable as error:
            problem = problem or error
    if problem is not None:
        raise problem
    if any(media.media == "message" for media in description.media):
        raise _refused(399, "m=message has port 0")
    raise _refused(304, "No m=message line")


def parse_message_media(body: bytes, *, plain: bool = True, tls: bool = False) -> MessageMedia:
    """What the m=message line of an offer or answer says.

    ``plain``, ``tls``: whether it may be one for MSRP, for MSRPS.
    Raises NotAcceptable, with a Warning that says why, when there is none that can be used.
    """
    return _choose(_Description(body), plain=plain, tls=tls)[1]


def make_offer(local: LocalMedia) -> bytes:
    """Our offer: one m-line; actpass when we can be reached, else active (RFC 6135 §4.2)."""
    # RFC 6135 §4.2.2: who is behind a relay can be reached by it.
    setup = "actpass" if local.reachable or local.relays else "active"
    return (_session_lines(local, "0 0") + _media_lines(local, setup)).encode()


def make_answer(offer: bytes, local: LocalMedia) -> tuple[bytes, Negotiated]:
    """Our answer to an offer, and what it agrees on; m-lines not used are refused by port 0.

    An m-line for MSRPS is used if ``local`` is MSRPS, and no other.
    Raises NotAcceptable, with a Warning that says why, when there is no m-line that can be used.
    """
    description = _Description(offer)
    chosen, remote = _choose(description, plain=not local.secure, tls=local.secure)
    # RFC 6135 §4.2: who says nothing, or holdconn, is active when it offers.
    reachable = local.reachable or bool(local.relays)
    active = remote.setup == "passive" or (remote.setup == "actpass" and not reachable)
    if local.cema:
        local = msgspec.structs.replace(local, cema=_answers_cema(local, remote))
    anchor = (remote.host, remote.port) if local.cema and active else None
    text = _session_lines(local, description.time)
    for media in description.media:
        if media is chosen:
            text += _media_lines(local, "active" if active else "passive")
        else:
            text += _refusal_line(media)
    return text.encode(), _negotiated(remote, active, anchor)


def _answers_cema(local: LocalMedia, remote: MessageMedia) -> bool:
    """Whether an offer is answered by RFC 6714 §4.3.

    Raises NotAcceptable for one that a middle box spoilt.
    """
    if not remote.cema:
        if remote.anchored:
            raise _refused(399, "c= and m= lines are not those of a=path, and no a=msrp-cema")
        return False
    relayed = len(remote.path) > 1
    return not (
        (local.relays and relayed)
        or (relayed and remote.setup == "active")
        or (local.relays and remote.setup == "passive")
    )


def accept_answer(local: LocalMedia, answer: bytes) -> Negotiated:
    """What the peer's answer to our offer agrees on.

    Raises NotAcceptable when the answer refuses our m-line or can't be used.
    """
    remote = parse_message_media(answer, plain=not local.secure, tls=local.secure)
    # Only a peer that says active connects: older ones say nothing and wait (RFC 4975 §5.4).
    active = remote.setup != "active" or not (local.reachable or local.relays)
    if not local.cema or not remote.anchored:
        return _negotiated(remote, active)
    if remote.cema:
        anchor = (remote.host, remote.port) if active and not local.relays else None
        return _negotiated(remote, active, anchor)
    relayed = bool(local.relays) or len(remote.path) > 1
    return _negotiated(remote, active, falls_back=relayed if active else True)


def _negotiated(
    remote: MessageMedia,
    active: bool,
    anchor: tuple[str, int] | None = None,
    *,
    falls_back: bool = False,
) -> Negotiated:
    return Negotiated(
        remote.path,
        active,
        remote.accept_types,
        remote.accept_wrapped_types,
        remote.max_size,
        remote.fingerprints,
        anchor,
        falls_back,
    )


def _session_lines(local: LocalMedia, time: str) -> str:
    host = local.first.host.strip("[]")
    place = f"IN IP6 {host}" if ":" in host else f"IN IP4 {host}"
    return f"v=0\r\no=- {local.origin} {local.version} {place}\r\ns=-\r\nc={place}\r\nt={time}\r\n"


def _media_lines(local: LocalMedia, setup: str) -> str:
    first = local.first
    path = local.path.render()
    if local.relays:
        path = " ".join([*[uri.render() for uri in local.relays], path])
    text = (
        f"m=message {first.port or 2855} {local.protocol} *\r\n"
        f"a=accept-types:{' '.join(local.accept_types)}\r\n"
        f"a=path:{path}\r\na=max-size:{local.max_size}\r\na=setup:{setup}\r\n"
    )
    if local.cema:
        text += "a=msrp-cema\r\n"
    if local.fingerprint and local.secure and not local.relays:
        text += f"a=fingerprint:{local.fingerprint}\r\n"
    return text


def _plain(host: str) -> str:
    """An address in its usual form (RFC 5952); empty for a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""


def _same(one: str, other: str) -> bool:
    return not one or not other or one == other


def _refusal_line(media: _Media) -> str:
    fields = [media.media or "message", "0", media.protocol or PROTOCOL, *(media.formats or ["*"])]
    written = " ".join(field if _TOKEN.match(field) else "-" for field in fields)
    return f"m={written}\r\n"
