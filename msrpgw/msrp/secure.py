"""MSRPS: whom to believe (RFC 4975 §5.4, §14.4; RFC 4572), and its sockets.

    we connect:    TCP ─► handshake ─► judge ─► Connection ─► the sessions that wait for it
    a peer does:   TCP ─► handshake ─► Connection ─► first SEND ─► judge ─► its session

Which session a peer has connected for is known by its first SEND alone.  Imports tls, and
connection, sdp, settings and uri of this room.
"""

import typing
from collections.abc import Callable
from functools import partial

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from msrpgw.msrp.connection import Connection, Owner
from msrpgw.msrp.sdp import Negotiated
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri, split_address
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Evidence, Role, Tls
from msrpgw.tls.fingerprints import Fingerprint, make_fingerprint, matches, usable
from msrpgw.tls.handshake import Admit, Handshakes, Untrusted
from msrpgw.tls.settings import TlsSettings


class Wanted(msgspec.Struct, frozen=True):
    """What a certificate must prove: that it is of whoever wrote the SDP."""

    host: str  #: of the first URI in the peer's path
    #: of the SDP, those that count: the certificate must have one of them, if there are any
    fingerprints: tuple[Fingerprint, ...] = ()
    promised: bool = False  #: whether the SDP had any, even if none counts
    enough: bool = False  #: whether having it makes up for an unknown authority and another name
    remark: str = ""  #: for the log: why fingerprints don't count, or not for everything


def make_wanted(peer: Negotiated, protected: bool, settings: TlsSettings) -> Wanted:
    """What the certificate of a session's peer must prove.

    ``protected``: the SDP came over TLS, so that nobody has changed it on the way (RFC 4572 §6.1).
    """
    host = peer.remote_path[0].host
    if len(peer.remote_path) > 1:
        # §14.4 is about peers; a relay has a certificate of its own, with its name (RFC 4976).
        return Wanted(host)
    found = usable(peer.fingerprints, sha1=settings.sha1_fingerprints)
    if not found:
        hashes = ", ".join(sorted({each.hash for each in peer.fingerprints}))
        remark = f"no fingerprint counts, the SDP has {hashes or 'none'}"
        return Wanted(host, promised=bool(peer.fingerprints), remark=remark)
    if settings.self_signed == "always" or (settings.self_signed == "protected" and protected):
        return Wanted(host, found, promised=True, enough=True)
    if settings.self_signed == "never":
        return Wanted(host, found, promised=True, remark="[tls] self_signed is never")
    remark = "its fingerprint came over SIP in plain text"
    return Wanted(host, found, promised=True, remark=remark)


def judge(evidence: Evidence, wanted: Wanted) -> None:
    """Find out whether a peer is who it should be.  Raises Untrusted.

    A peer that connected without a certificate is known by our URI, which nobody else was told
    (§5.4), unless its SDP promised one.
    """
    if not evidence.der:
        if wanted.promised:
            raise Untrusted("no client certificate", "its SDP has the fingerprint of one")
        return
    if evidence.outdated:
        raise Untrusted(evidence.problem, evidence.names.shown())
    if wanted.fingerprints:
        if not matches(wanted.fingerprints, evidence.der):
            first = wanted.fingerprints[0]
            shown = make_fingerprint(evidence.der, first.hash)
            raise Untrusted(
                "the certificate has another fingerprint",
                f"wanted {first.render()}, it has {shown.render()}",
            )
        if wanted.enough:
            return
    if not evidence.vouched:
        raise Untrusted(evidence.problem, wanted.remark or evidence.names.shown())
    if not evidence.names.covers_host(wanted.host):
        raise Untrusted(
            "the certificate has another name",
            f"wanted {wanted.host}, it has {evidence.names.shown()}",
        )


class SecureConnection(Connection):
    """A connection over TLS, whose handshake is done."""

    secure = True

    def __init__(
        self,
        owner: "SecureOwner",
        timers: Timers,
        settings: MsrpSettings,
        *,
        accepted: bool,
        trusted: bool,
        evidence: Evidence,
        broken: Callable[[str, Failure], str],
    ) -> None:
        """``broken`` logs what TLS says of the end, if it was TLS that ended it."""
        super().__init__(owner, timers, settings, accepted=accepted, trusted=trusted)
        self.evidence = evidence
        self._broken = broken

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, and its sessions hear why in words of ours."""
        why = self._broken(self.peer_host, reason)
        super().connectionLost(Failure(ConnectionLost(f"TLS: {why}")) if why else reason)


class SecureOwner(Owner, typing.Protocol):
    """The endpoint, as far as it matters here."""

    def has_room(self, host: str) -> bool:
        """Whether there may be another connection; counted and logged if not."""

    def may_speak(self, host: str) -> bool:
        """Whether requests from an address are served; counted and logged if not."""

    def add(self, connection: Connection) -> None:
        """One more connection."""

    def check_closed(self) -> None:
        """There is one handshake less."""


class SecureSide:
    """What an endpoint needs for MSRPS.  Owned by the endpoint."""

    def __init__(
        self,
        owner: SecureOwner,
        reactor: IReactorTCP,
        timers: Timers,
        settings: MsrpSettings,
        tls: Tls,
    ) -> None:
        """``settings`` have ``listen_tls``."""
        self._owner = owner
        self._reactor = reactor
        self._timers = timers
        self._settings = settings
        self._tls = tls
        self._port: IListeningPort | None = None
        clock = IReactorTime(reactor)
        self._handshakes = Handshakes(tls, clock, timers, owner.counters, owner.check_closed)

    def __len__(self) -> int:
        """How many handshakes are under way."""
        return len(self._handshakes)

    def listen(self) -> None:
        """Listen on ``settings.listen_tls``.  Raises CannotListenError."""
        host, port = split_address(self._settings.listen_tls or "")
        factory = self._handshakes.accepting("MSRPS server", self._open)
        self._port = self._reactor.listenTCP(port, factory, backlog=1024, interface=host)

    @property
    def address(self) -> str:
        """``ADDRESS:PORT`` that is really listened on; the configured one before ``listen``."""
        if self._port is None:
            return self._settings.listen_tls or ""
        bound = self._port.getHost()
        assert isinstance(bound, IPv4Address | IPv6Address)
        return f"[{bound.host}]:{bound.port}" if ":" in bound.host else f"{bound.host}:{bound.port}"

    @property
    def fingerprint(self) -> str:
        """Value of ``a=fingerprint``: of the certificate that all our connections show."""
        own = self._tls.msrps_certificate
        return own.fingerprint.render() if own is not None else ""

    def new_path(self, session_id: str) -> MsrpUri:
        """The URI of a session of ours."""
        if self._settings.my_uri_tls is None:
            return parse_msrp_uri(f"msrps://{self.address}/{session_id};tcp")
        mine = parse_msrp_uri(f"{self._settings.my_uri_tls};tcp")
        port = mine.port or split_address(self.address)[1]
        return parse_msrp_uri(f"msrps://{mine.host}:{port}/{session_id};tcp")

    def wanted(self, peer: Negotiated, protected: bool) -> Wanted:
        """What the peer of a session must prove."""
        return make_wanted(peer, protected, self._tls.settings)

    # Peers connect

    def _open(self, address: IAddress | None) -> Admit | None:
        host = str(getattr(address, "host", ""))
        if not self._owner.has_room(host) or self._owner.peers.full(host):
            return None
        return partial(self._make, host, True)

    def _make(self, host: str, accepted: bool, evidence: Evidence) -> SecureConnection:
        role: Role = "MSRPS server" if accepted else "MSRPS client"
        connection = SecureConnection(
            self._owner,
            self._timers,
            self._settings,
            accepted=accepted,
            trusted=not accepted or self._owner.may_speak(host),
            evidence=evidence,
            broken=partial(self._handshakes.connection_lost, role),
        )
        self._owner.add(connection)
        return connection

    def disbelief(self, connection: Connection, wanted: Wanted, session_id: str) -> str:
        """Why a peer that connected to us is not the one of a session, which is logged.

        Empty when it is.
        """
        if not isinstance(connection, SecureConnection):
            return "not over TLS"
        try:
            judge(connection.evidence, wanted)
        except Untrusted as error:
            what = f"MSRPS server, session {session_id}, {error.detail}"
            self._handshakes.complain(error.reason, connection.peer_host, what)
            return f"TLS: {error}"
        return ""

    def plain_text_came(self, host: str) -> None:
        """A peer knows an MSRPS session of ours, and speaks to it without TLS: log it."""
        self._handshakes.complain("plain text arrived", host, "MSRPS server, for a session of ours")

    # We connect

    def dial(
        self,
        where: IStreamClientEndpoint,
        wanted: Wanted,
        connected: Callable[[Connection], None],
        failed: Callable[[str], None],
    ) -> "Deferred[IProtocol]":
        """Connect to a peer.  What is returned fails if there is no TCP connection.

        If there is one, either ``connected`` or ``failed`` is called once.
        """

        def admit(evidence: Evidence) -> SecureConnection | None:
            judge(evidence, wanted)
            if not self._owner.has_room(wanted.host):
                return None
            return self._make(wanted.host, False, evidence)

        factory = self._handshakes.connecting(
            "MSRPS client",
            wanted.host,
            admit,
            lambda reason: failed(f"TLS: {reason}"),
            done=lambda protocol: connected(typing.cast(Connection, protocol)),
        )
        return where.connect(factory)

    # The end

    def close(self) -> "Deferred[None]":
        """Listen no more, give up handshakes.  Fires when nothing listens."""
        self._handshakes.abort_all()
        port, self._port = self._port, None
        stopped = port.stopListening() if port is not None else None
        return stopped or succeed(None)
