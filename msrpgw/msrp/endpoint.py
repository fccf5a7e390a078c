"""The MSRP endpoint: one listener and one table for all sessions.

    bytes ──► Connection ──Request──► Endpoint: To-Path finds the session, From-Path and
                                      connection must be its own ──► Session

Imports all of msrp and timers.
"""

from collections.abc import Callable, Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTCP
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from msrpgw.errors import MsrpSyntaxError
from msrpgw.msrp.chunks import Budget
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.counters import MsrpCounters
from msrpgw.msrp.frame import Request
from msrpgw.msrp.pool import Pool
from msrpgw.msrp.session import Session, SessionListener, SessionState
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri
from msrpgw.timers import Timers

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
    ) -> None:
        self._reactor = reactor
        self._allow_source = allow_source
        self._port: IListeningPort | None = None
        self._sessions: dict[str, Session] = {}  # by our URI, as we wrote it
        self._by_key: dict[object, Session] = {}  # by our URI's parts that count (§6.1)
        self._connections: set[Connection] = set()
        self._closed: list[Deferred[None]] = []
        self.timers = timers
        self.random = random
        self.settings = settings
        self.counters = MsrpCounters()
        self.budget = Budget(settings.assembly_budget)
        self.pool = Pool(reactor, settings.connect_timeout, _Connections(self, accepted=False))

    # Listening

    def listen(self) -> None:
        """Listen on ``settings.listen``.  Raises CannotListenError."""
        host, port = split_address(self.settings.listen)
        factory = _Connections(self, accepted=True)
        self._port = self._reactor.listenTCP(port, factory, backlog=1024, interface=host)

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
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def build_connection(self, addr: IAddress | None, *, accepted: bool) -> Connection | None:
        """Make the protocol of a connection; None when there are as many as there may be."""
        host = str(getattr(addr, "host", ""))
        if len(self._connections) >= self.settings.max_connections:
            self.counters.refused_connections += 1
            _log.warn("no MSRP connection with {host}: max_connections reached", host=host)
            return None
        trusted = not accepted or self._allow_source(host)
        if not trusted:
            self.counters.refused_sources += 1
            _log.info("MSRP connection from {host}, which is no trusted source", host=host)
        connection = Connection(
            self, self.timers, self.settings, accepted=accepted, trusted=trusted
        )
        self._connections.add(connection)
        return connection

    def connection_gone(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self.pool.forget(connection)
        if not self._connections:
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
        path = self._new_path()
        session = Session(self, listener, accept_types, path, replaces)
        self._sessions[session.path_text] = session
        self._by_key[path.key()] = session
        return session

    def forget(self, session: Session) -> None:
        """A session is over: its URI is spent."""
        self._sessions.pop(session.path_text, None)
        self._by_key.pop(session.path.key(), None)

    def sessions(self) -> list[Session]:
        """The sessions that aren't over."""
        return list(self._sessions.values())

    def _new_path(self) -> MsrpUri:
        host, port = split_address(self.address)
        if self.settings.my_uri is not None:
            # A whole session URI names its transport; the setting is only where we are reached.
            mine = parse_msrp_uri(f"{self.settings.my_uri};tcp")
            host, port = mine.host, mine.port or port
        elif ":" in host:
            host = f"[{host}]"
        return parse_msrp_uri(f"msrp://{host}:{port}/{self.random(16).hex()};tcp")

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
                session = self._by_key.get(to_path[0].key())
        return session

    def _is_from_peer(self, session: Session, request: Request) -> bool:
        if request.from_path_text in session.from_paths:
            return True
        # The rightmost URI names the sender, those before it are relays on the way.
        assert session.peer is not None
        if not request.from_path[-1].equivalent(session.peer.remote_path[-1]):
            return False
        if len(session.from_paths) < SPELLINGS:
            session.from_paths.add(request.from_path_text)
        return True

    # The end

    def close(self) -> Deferred[None]:
        """End all sessions, close all connections, stop listening.  Fires when all is done."""
        for session in list(self._sessions.values()):
            session.close()
        self.pool.close()
        for connection in list(self._connections):
            connection.close()
        waiting: list[Deferred[None]] = []
        if self._port is not None:
            stopped = self._port.stopListening()
            self._port = None
            if stopped is not None:
                waiting.append(stopped)
        if self._connections:
            closed: Deferred[None] = Deferred()
            self._closed.append(closed)
            waiting.append(closed)
        done: Deferred[None] = DeferredList(waiting).addCallback(lambda _: None)
        return done


def split_address(text: str) -> tuple[str, int]:
    """Split ``ADDRESS:PORT``; an IPv6 address loses its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
