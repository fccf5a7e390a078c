"""The MSRP endpoint: one listener and one table for all sessions.

    bytes ──► Connection ──Request──► Endpoint: To-Path finds the session, From-Path and
                                      connection must be its own ──► Session

Imports all of msrp and timers.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from msrpgw.auth.client import Secret
from msrpgw.errors import MsrpSyntaxError
from msrpgw.limits import Limits
from msrpgw.line import Line
from msrpgw.msrp.chunks import Budget
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.counters import MsrpCounters
from msrpgw.msrp.frame import Request
from msrpgw.msrp.pool import Pool
from msrpgw.msrp.relay import Relay
from msrpgw.msrp.secure import SecureSide
from msrpgw.msrp.session import Session, SessionListener, SessionState
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri, split_address
from msrpgw.sockets import at_turn_end
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls

_log = Logger()

#: most spellings of its own From-Path that a peer is known by
SPELLINGS = 8


class _Connections(ServerFactory):
    """Makes connections for the endpoint: the accepted ones, and its own."""

    noisy = False

    def __init__(self, endpoint: "Endpoint", *, accepted: bool) -> None:
        self._endpoint = endpoint
        self._accepted = accepted

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """One more connection, unless there are too many: then Twisted closes it."""
        return self._endpoint.build_connection(addr, accepted=self._accepted)


class Endpoint:
    """Owns the listener, the session table, the connections and the memory for half messages.

    One for the whole program; ``close`` ends it.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: MsrpSettings,
        *,
        allow_source: Callable[[str], bool],
        tls: Tls | None = None,
        limits: Limits | None = None,
        relay_secret: Secret | None = None,
    ) -> None:
        """``tls``: needed for ``listen_tls``, and for a ``relay_uri`` of MSRPS.

        ``limits`` None: nobody is limited.  ``relay_secret``: what we prove to that relay.
        """
        self.limits = limits or Limits()
        self.peers = self.limits.connections()  #: how many connections each address has
        #: connections whose requests wait for their turn
        self.line = Line(IReactorTime(reactor), self.limits, at_turn_end(reactor))
        self._reactor = reactor
        self._allow_source = allow_source
        self._port: IListeningPort | None = None
        self._reached: tuple[str, int] | None = None
        self._sessions: dict[str, Session] = {}  # by our URI, as we wrote it
        self._by_id: dict[str, Session] = {}  # by the session-id, which is in no other URI of ours
        self._connections: set[Connection] = set()
        self._closed: list[Deferred[None]] = []
        self.timers = timers
        self.random = random
        self.settings = settings
        self.counters = MsrpCounters()
        self.budget = Budget(settings.assembly_budget)
        self.secure: SecureSide | None = None  #: MSRPS; None: it is not spoken
        if tls is not None and settings.listen_tls is not None:
            self.secure = SecureSide(self, reactor, timers, settings, tls)
        own = _Connections(self, accepted=False)
        self.pool = Pool(reactor, settings.connect_timeout, own, self.secure)
        self.relay: Relay | None = None  #: of our own; None: peers reach us by themselves
        if settings.relay_uri is not None and relay_secret is not None:
            uri = parse_msrp_uri(f"{settings.relay_uri};tcp")
            secure = self.secure
            if secure is None and tls is not None and uri.scheme == "msrps":
                secure = SecureSide(self, reactor, timers, settings, tls)
            dial = partial(Pool(reactor, settings.connect_timeout, own, secure).dial_relay, uri)
            self.relay = Relay(uri, self._relayed_path, relay_secret, timers, random, dial)

    # Listening

    def listen(self) -> None:
        """Listen on all that ``settings`` say.  Raises CannotListenError."""
        host, port = split_address(self.settings.listen)
        factory = _Connections(self, accepted=True)
        self._port = self._reactor.listenTCP(port, factory, backlog=1024, interface=host)
        if self.secure is not None:
            self.secure.listen()
        if self.relay is not None:
            self.relay.start()

    def _relayed_path(self) -> MsrpUri:
        """A URI for AUTH: of ours, in the scheme of the relay."""
        assert self.relay is not None
        return msgspec.structs.replace(self.new_path(tls=False), scheme=self.relay.uri.scheme)

    @property
    def relay_uris(self) -> int:
        """How many URIs of our relay wait for a session."""
        return self.relay.stock if self.relay is not None else 0

    @property
    def address(self) -> str:
        """``ADDRESS:PORT`` that we really listen on; the configured one before ``listen``."""
        if self._port is None:
            return self.settings.listen
        bound = self._port.getHost()
        assert isinstance(bound, IPv4Address | IPv6Address)
        host = bound.host
        return f"[{host}]:{bound.port}" if ":" in host else f"{host}:{bound.port}"

    @property
    def tls_address(self) -> str:
        """The same for MSRPS; empty when it is not spoken."""
        return self.secure.address if self.secure is not None else ""

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def build_connection(self, addr: IAddress | None, *, accepted: bool) -> Connection | None:
        """Make the protocol of a connection; None when there are as many as there may be."""
        host = str(getattr(addr, "host", ""))
        if not self.has_room(host) or (accepted and self.peers.full(host)):
            return None
        trusted = not accepted or self.may_speak(host)
        connection = Connection(
            self, self.timers, self.settings, accepted=accepted, trusted=trusted
        )
        self.add(connection)
        return connection

    def has_room(self, host: str) -> bool:
        """Whether there may be another connection; counted and logged if not."""
        opening = len(self.secure) if self.secure is not None else 0
        if len(self._connections) + opening < self.settings.max_connections:
            return True
        self.counters.refused_connections += 1
        _log.warn("no MSRP connection with {host}: max_connections reached", host=host)
        return False

    def may_speak(self, host: str) -> bool:
        """Whether requests from an address are served; counted and logged if not."""
        trusted = self._allow_source(host)
        if not trusted:
            self.counters.refused_sources += 1
            _log.info("MSRP connection from {host}, which is no trusted source", host=host)
        return trusted

    def add(self, connection: Connection) -> None:
        """One more connection."""
        self._connections.add(connection)

    def connection_gone(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self.pool.forget(connection)
        self.check_closed()

    def check_closed(self) -> None:
        """Whoever waits for the end is told, if this is it."""
        if not self._connections and not self.secure:
            closed, self._closed = self._closed, []
            for waiting in closed:
                waiting.callback(None)

    # Sessions

    def create_session(
        self,
        listener: SessionListener,
        accept_types: Sequence[str],
        *,
        replaces: Session | None = None,
    ) -> Session:
        """Make a session with a URI of its own, which nobody can guess (§14.1).

        ``replaces``: the session that was lost, of which this one is the continuation (§5.4); what
        the peer repeats is recognised by its Message-ID, REPORTs still owed go out here.
        """
        path = self.new_path(tls=replaces is not None and replaces.secure)
        session = Session(self, listener, accept_types, path, replaces)
        self.remember(session)
        return session

    def remember(self, session: Session) -> None:
        """From now on requests to a session's URI find it."""
        self._sessions[session.path_text] = session
        self._by_id[session.path.session_id] = session

    def forget(self, session: Session) -> None:
        """A session is over: its URI is spent."""
        self._sessions.pop(session.path_text, None)
        self._by_id.pop(session.path.session_id, None)

    def _key(self, uri: MsrpUri) -> object:
        return uri.session_id if self.settings.path_match == "session-id" else uri.key()

    def sessions(self) -> list[Session]:
        """The sessions that aren't over."""
        return list(self._sessions.values())

    def new_path(self, *, tls: bool) -> MsrpUri:
        """A URI that nobody can guess (§14.1); ``tls``: for MSRPS."""
        if tls and self.secure is not None:
            return self.secure.new_path(self.random(16).hex())
        host, port = self._reached or self._reached_at()
        return MsrpUri("msrp", host, port, self.random(16).hex())

    def _reached_at(self) -> tuple[str, int]:
        """Host and port of our URIs; kept once we listen."""
        host, port = split_address(self.address)
        if self.settings.my_uri is not None:
            # A whole session URI names its transport; the setting is only where we are reached.
            mine = parse_msrp_uri(f"{self.settings.my_uri};tcp")
            host, port = mine.host, mine.port or port
        elif ":" in host:
            host = f"[{host}]"
        if self._port is not None:
            self._reached = host, port  # to ask the socket each time is 3 % of a set-up
        return host, port

    # Requests

    def request_received(self, connection: Connection, request: Request) -> None:
        """Find the session of a request, and let it have the request when all is right (§7.3)."""
        session = self._sessions.get(request.to_path_text)
        if (
            session is not None
            and session.connection is connection
            and session.state is SessionState.UP
            and request.method == "SEND"
            and request.from_path_text in session.from_paths
        ):
            session.receiver.send_received(connection, request)
        else:
            try:
                self._examine(connection, request)
            except MsrpSyntaxError as error:
                connection.refuse(request, error.status, error.comment)

    def _examine(self, connection: Connection, request: Request) -> None:
        """Everything that is not a SEND of a session that is up, from whom and where it should."""
        method = request.method
        if not connection.trusted:
            connection.refuse(request, 403, "Source not trusted")
            return
        if method == "AUTH":  # RFC 4976: for relays, whatever the session
            connection.refuse(request, 501, "Not a relay")
            return
        session = self._find(request)
        if session is None:
            connection.refuse(request, 481, "No such session")
        elif session.peer is not None and not self._is_from_peer(session, request):
            connection.refuse(request, 403, "From-Path is not the session's peer")
        elif session.secure is not connection.secure:
            if session.secure and self.secure is not None:
                self.secure.plain_text_came(connection.peer_host)
            connection.refuse(request, 403, "Not over the transport of the session")
        elif method == "SEND":
            if session.state is SessionState.NEGOTIATING:
                session.hold(connection, request)
            elif session.connection is connection or session.admit(connection, request):
                if request.content_type is not None:
                    session.proven()
                session.receiver.send_received(connection, request)
        elif method == "REPORT":
            if session.connection is connection:
                session.report(request)
        else:
            connection.refuse(request, 501, "Unknown method")

    def _find(self, request: Request) -> Session | None:
        session = self._sessions.get(request.to_path_text)
        if session is None:
            to_path = request.to_path
            if len(to_path) == 1:  # §7.3: to an endpoint, exactly one
                session = self._by_id.get(to_path[0].session_id)
                if session is not None and self._key(to_path[0]) != self._key(session.path):
                    return None
        return session

    def _is_from_peer(self, session: Session, request: Request) -> bool:
        if request.from_path_text in session.from_paths:
            return True
        # The rightmost URI names the sender, those before it are relays on the way.
        assert session.peer is not None
        if self._key(request.from_path[-1]) != self._key(session.peer.remote_path[-1]):
            return False
        if len(session.from_paths) < SPELLINGS:
            session.from_paths = (*session.from_paths, request.from_path_text)
        return True

    # The end

    def close(self) -> Deferred[None]:
        """End all sessions, close all connections, stop listening.  Fires when all is done."""
        for session in list(self._sessions.values()):
            session.close()
        if self.relay is not None:
            self.relay.stop()
        self.pool.close()
        for connection in list(self._connections):
            connection.close()
        waiting: list[Deferred[None]] = []
        if self._port is not None:
            stopped = self._port.stopListening()
            self._port = None
            if stopped is not None:
                waiting.append(stopped)
        if self.secure is not None:
            waiting.append(self.secure.close())
        if self._connections or self.secure:
            closed: Deferred[None] = Deferred()
            self._closed.append(closed)
            waiting.append(closed)
        done: Deferred[None] = DeferredList(waiting).addCallback(lambda _: None)
        return done
