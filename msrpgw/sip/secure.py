"""TLS connections for SIP (RFC 3261 §26.3, RFC 5922): whose they are decides what they are for.

One that we made is used for the name that we wanted.  One that a peer made is used for the names
in its certificate, at the port that it came from or, when it says ``alias``, listens on (RFC 5923);
without a certificate only for the very address and port that it came from, where nobody else can
be.  Imports tls, and stream of this room.
"""

from functools import partial

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.python.failure import Failure

from msrpgw.limits import Connections, Limits
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.fields import Via
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Malformed
from msrpgw.sip.sending import Target, explain_refusal
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.stream import (
    CLOSING_TIME,
    Connecting,
    Connection,
    Key,
    OnMessage,
    Streams,
)
from msrpgw.sip.stream_source import StreamSource
from msrpgw.timers import Timer, Timers
from msrpgw.tls.contexts import Evidence, Role, Tls
from msrpgw.tls.handshake import Admit, Handshakes, Untrusted

DEFAULT_PORT = 5061  #: RFC 3261 §19.1.2

#: most names of one certificate by which its connection is known
_MAX_IDENTITIES = 32


class SecureSource(StreamSource):
    """The TLS connection that a message came over."""

    __slots__ = ()

    transport = "TLS"

    @property
    def names(self) -> frozenset[str]:
        """SIP domains that the peer's certificate proves."""
        connection = self.connection
        return connection.identities if isinstance(connection, SecureConnection) else frozenset()


class SecureConnection(Connection):
    """One TLS connection whose handshake is done.

    ``target``: whom we connected to; None when the peer connected.
    """

    source_class = SecureSource

    def __init__(self, pool: "SecureStreams", evidence: Evidence, target: Target | None) -> None:
        super().__init__(pool)
        self._secure_pool = pool
        self._evidence = evidence
        self._target = target
        self._aliased = target is not None or not evidence.vouched
        self._patience: Timer | None = None
        self.loss = "TLS connection lost"

    def make_keys(self) -> list[Key]:
        """What it can be used for."""
        target = self._target
        if target is not None:
            return [(target.host, target.port, target.name)]
        host, port = self.address
        return [(host, port, host), *((host, port, name) for name in self._identities())]

    @property
    def identities(self) -> frozenset[str]:
        """SIP domains that the peer's certificate proves; none if no authority vouches for it."""
        return self._evidence.names.sip_domains if self._evidence.vouched else frozenset()

    def _identities(self) -> list[str]:
        return sorted(self.identities)[:_MAX_IDENTITIES]

    def request_received(self, request: Request) -> None:
        """The first request may allow us to use the connection as if we had made it (RFC 5923)."""
        if self._aliased or not self.alive:
            return
        self._aliased = True
        via = request.via
        if any(name == "alias" for name, _ in via.parameters):
            for name in self._identities():
                key = (self.address[0], via.port or DEFAULT_PORT, name)
                self.keys.append(key)
                self._pool.use(key, self)

    def return_target(self, via: Via) -> Target:
        """Where a response goes when the connection is gone: to whom Via names, and nobody else."""
        host = via.received or self.address[0]
        return Target("TLS", host, via.port or DEFAULT_PORT, name=via.host.strip("[]").lower())

    def close(self) -> None:
        """Close when what was written is sent; whoever does not say good-bye is cut off."""
        super().close()
        if self._patience is None:
            self._patience = self._pool.timers.call_later(CLOSING_TIME, self.abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave the pool."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        why = self._secure_pool.broken(self, reason)
        if why:
            self.loss = f"TLS connection broken: {why}"
        super().connectionLost(reason)

    @property
    def ours(self) -> bool:
        """Whether we made it."""
        return self._target is not None


class SecureStreams(Streams):
    """All TLS connections of a user agent."""

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        settings: SipSettings,
        counters: SipCounters,
        on_message: OnMessage,
        limits: Limits,
        peers: Connections,
        tls: Tls,
    ) -> None:
        super().__init__(reactor, timers, settings, counters, on_message, limits, peers)
        self._handshakes = Handshakes(tls, reactor, timers, counters, self.check_closed)
        self.accepting = self._handshakes.accepting("SIP server", self._open_accepted)

    @property
    def opening(self) -> int:
        """How many connections are in their handshake."""
        return len(self._handshakes)

    def _open_accepted(self, address: IAddress | None) -> Admit | None:
        if not self.may_connect(address):
            return None
        return lambda evidence: SecureConnection(self, evidence, None)

    def connecting_factory(self, connecting: Connecting) -> ClientFactory:
        """What makes the protocol of a connection of ours, once its peer is who it should be."""
        return self._handshakes.connecting(
            "SIP client",
            connecting.target.name,
            partial(self._admit, connecting.target),
            lambda reason: self.connecting_failed(connecting, SendFailure(f"TLS: {reason}")),
            lambda failure: self.connecting_failed(connecting, explain_refusal(failure.value)),
        )

    def _admit(self, target: Target, evidence: Evidence) -> SecureConnection:
        if not evidence.vouched:
            raise Untrusted(evidence.problem or "the peer has no certificate", target.name)
        if not evidence.names.covers_sip(target.name):
            raise Untrusted(
                "the certificate has another name",
                f"wanted {target.name}, it has {evidence.names.shown()}",
            )
        return SecureConnection(self, evidence, target)

    def broken(self, connection: SecureConnection, reason: Failure) -> str:
        """What TLS says of a connection's end; empty for an end like others."""
        role: Role = "SIP client" if connection.ours else "SIP server"
        return self._handshakes.connection_lost(role, connection.address[0], reason)

    def message_received(
        self, message: Request | Response | Malformed, source: StreamSource
    ) -> None:
        """Something came over a connection."""
        connection = source.connection
        if not isinstance(message, Malformed):
            message.protected = True
        if isinstance(message, Request) and isinstance(connection, SecureConnection):
            connection.request_received(message)
        super().message_received(message, source)

    def abandon(self) -> None:
        """Give up the handshakes that are under way."""
        self._handshakes.abort_all()
