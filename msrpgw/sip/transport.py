"""Where messages come from and go to: sockets, addresses and Via (RFC 3261 §18, RFC 3581).

    Transports ── _Datagrams (one for each UDP listener) ── udp.listen_udp
        ├──────── Streams (all TCP connections)
        └──────── SecureStreams (all TLS connections)

May import the codec of this room and Twisted; knows nothing of transactions.
"""

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime
from twisted.internet.protocol import DatagramProtocol

from msrpgw.limits import Limits as AllLimits
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.fields import Via
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, Malformed, Ping, Pong, parse_datagram
from msrpgw.sip.secure import SecureStreams
from msrpgw.sip.sending import OnFailure, Sending, Target
from msrpgw.sip.server_transaction import ReplyPath
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.stream import (
    Connection,
    OnMessage,
    Streams,
    plain_address,
)
from msrpgw.sip.stream_source import StreamSource
from msrpgw.sip.udp import listen_udp, local_address, waits
from msrpgw.sip.uri import SipUri, default_port
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls

__all__ = ["DatagramSource", "Sending", "Source", "StreamSource", "Target", "Transports"]

#: most entries of the tables that peers' addresses fill
_REMEMBERED = 4096

_WILDCARDS = ("0.0.0.0", "::")


class DatagramSource:
    """Whom a datagram came from."""

    __slots__ = ("_address", "_socket", "allowance", "host", "port")

    transport = "UDP"
    reliable = False
    late = False  # such a datagram has been refused before
    names: frozenset[str] = frozenset()

    def __init__(self, socket: "_Datagrams", address: tuple[str, int]) -> None:
        self._socket = socket
        self._address = address  # as the socket gave it
        self.host = plain_address(address[0])
        self.port = address[1]
        #: bytes that it may get; None: as many as there are.  Its address may be a victim's
        self.allowance: int | None = None if socket.limits.trusted(self.host) else 0

    @property
    def proven(self) -> bool:
        """Whether the address is known to be the sender's own."""
        return self.allowance is None

    def prove(self) -> None:
        """It gets what we send: the address is its own."""
        self.allowance = None

    @property
    def local_host(self) -> str:
        """Address of the socket that it came to."""
        return self._socket.listener.host

    @property
    def local_port(self) -> int:
        """Port of the socket that it came to."""
        return self._socket.listener.port

    def send_response(self, data: bytes, via: Via) -> None:
        """Send from the same socket: to the source, at ``rport`` or the port of sent-by (§18.2.2).

        ``maddr`` is followed only where it is an address.
        """
        if self.allowance is not None:
            if len(data) > self.allowance:
                self._socket.limits.counters.amplification += 1
                return
            self.allowance -= len(data)
        for name, value in via.parameters:
            if name == "rport" and value:
                self._socket.write(data, self._address)
                return
        host = self._address[0]
        maddr = (via.parameter("maddr") or "").strip("[]")
        if maddr and is_address(maddr) and (":" in maddr) == (":" in host):
            host = maddr
        self._socket.write(data, (host, via.port or 5060))


Source = DatagramSource | StreamSource


class Listener:
    """A socket that we listen on."""

    __slots__ = ("host", "port", "transport")

    def __init__(self, transport: str, host: str, port: int) -> None:
        self.transport = transport  #: ``UDP``, ``TCP`` or ``TLS``
        self.host = host  #: bound address, without brackets; may be a wildcard
        self.port = port  #: bound port

    def render(self) -> str:
        """The listener in the way of the setting ``listen``."""
        return f"{self.transport.lower()}:{bracketed(self.host)}:{self.port}"

    def reaches(self, host: str) -> int:
        """How well the socket suits a peer's address: 0 not at all, the more the better."""
        if (":" in self.host) != (":" in host):
            return 1 if self.host == "::" else 0  # by an address that is IPv4 in IPv6
        if self.host in _WILDCARDS:
            return 3
        return 4 if is_loopback(self.host) == is_loopback(host) else 2


class _Datagrams(DatagramProtocol):
    """One UDP socket."""

    noisy = False

    def __init__(self, owner: "Transports", sizes: Limits, limits: AllLimits) -> None:
        self._owner = owner
        self._limits = sizes
        self.limits = limits
        self._sources: dict[tuple[str, int], DatagramSource] = {}
        self.listener = Listener("UDP", "", 0)

    @property
    def waits(self) -> float:
        """For how long a request has waited for its turn, in seconds; 0: none does."""
        return waits(self.transport)

    @property
    def longest_wait(self) -> float:
        """For how many seconds requests may wait for their turn before more are refused."""
        return self.limits.longest_wait

    def refusal_of(self, data: bytes, address: tuple[str, int], silently: bool) -> bytes | None:
        """The answer to a request for which there is no room; see ``Transports.refusal_of``."""
        refusal_of = self._owner.refusal_of
        return None if refusal_of is None else refusal_of(data, address, silently)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Hand up a message, its topmost Via stamped."""
        message = parse_datagram(datagram, self._limits)
        if message is None or isinstance(message, (Ping, Pong)):
            return
        source = self._sources.get(addr)
        if source is None:
            if len(self._sources) >= _REMEMBERED:
                self._sources.clear()
            source = self._sources[addr] = DatagramSource(self, addr)
        if source.allowance is not None:
            source.allowance += self.limits.settings.amplification * len(datagram)
        self._owner.message_received(message, source)

    def write(self, data: bytes, address: tuple[str, int]) -> str:
        """Send a datagram; returns what went wrong at once, "" if nothing did."""
        transport = self.transport
        if transport is None:
            return "UDP socket closed"
        try:
            transport.write(data, address)
        except Exception as error:  # OSError, MessageLengthError, InvalidAddressError
            return f"UDP send failed: {error}"
        return ""


class Transports:
    """All sockets of a user agent."""

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        settings: SipSettings,
        on_message: OnMessage,
        *,
        counters: SipCounters | None = None,
        on_undeliverable: Callable[[bytes, str], None] = lambda data, reason: None,
        local_address: Callable[[str], str] = local_address,
        tls: Tls | None = None,
        limits: AllLimits | None = None,
    ) -> None:
        """``tls``: None if nothing of ``settings`` asks for TLS."""
        self._reactor = reactor
        self._timers = timers
        self._settings = settings
        self._on_message = on_message
        self._counters = counters or SipCounters()
        self._on_undeliverable = on_undeliverable
        self._local_address = local_address
        self._limits = limits = limits or AllLimits()
        peers = limits.connections()
        self._streams = Streams(
            reactor, timers, settings, self._counters, self.message_received, limits, peers
        )
        self._secure: SecureStreams | None = None
        if tls is not None:
            self._secure = SecureStreams(
                reactor, timers, settings, self._counters, self.message_received, limits, peers, tls
            )
        self._ports: list[IListeningPort] = []
        self._listeners: list[Listener] = []
        self._datagrams: list[_Datagrams] = []
        self._advertised = parse_advertised(settings.advertised_contact)
        #: gives the answer to a datagram that would have to wait too long, made of its bytes: empty
        #: if silence is asked for; None if it is to be taken all the same
        self.refusal_of: Callable[[bytes, tuple[str, int], bool], bytes | None] | None = None
        # By the peer's address, filled when first asked for.
        self._routes: dict[str, _Datagrams | None] = {}
        self._prefixes: dict[tuple[str, str], str] = {}
        self._contacts: dict[tuple[str, str, bool], str] = {}

    def start(self) -> None:
        """Listen on all that the settings say.  Raises CannotListenError, nothing left open."""
        try:
            for text in self._settings.listen:
                self._listen(*parse_listen(text))
        except Exception:
            self._stop_listening()
            raise

    def _listen(self, transport: str, host: str, port: int) -> None:
        if transport == "UDP":
            socket = _Datagrams(self, self._streams.limits, self._limits)
            buffer = self._settings.udp_buffer
            made = listen_udp(
                self._reactor, port, host, socket, self._undeliverable, socket, buffer
            )
            self._datagrams.append(socket)
        else:
            factory = self._streams_of(transport).accepting
            made = IReactorTCP(self._reactor).listenTCP(port, factory, backlog=1024, interface=host)
        self._ports.append(made)
        bound = made.getHost()
        if isinstance(bound, (IPv4Address, IPv6Address)):
            port = bound.port  # the setting may say 0: any that is free
        listener = Listener(transport, host, port)
        self._listeners.append(listener)
        if transport == "UDP":
            socket.listener = listener

    def _streams_of(self, transport: str) -> Streams:
        if transport == "TCP":
            return self._streams
        if self._secure is None:
            raise ValueError(f"{transport} without [tls]")
        return self._secure

    def stop(self) -> Deferred[None]:
        """Close all sockets; fires when they are closed."""
        closing = [*self._stop_listening(), self._streams.close()]
        if self._secure is not None:
            closing.append(self._secure.close())
        return gatherResults(closing).addCallback(lambda results: None)

    def _stop_listening(self) -> list[Deferred[None]]:
        stopped = [port.stopListening() or succeed(None) for port in self._ports]
        self._ports.clear()
        self._listeners.clear()
        self._datagrams.clear()
        self._routes.clear()
        self._prefixes.clear()
        self._contacts.clear()
        return stopped

    def addresses(self) -> list[str]:
        """What is listened on, with the ports really bound: ``udp:127.0.0.1:5060``."""
        return [listener.render() for listener in self._listeners]

    @property
    def waits(self) -> float:
        """For how long a request has waited for its turn, in seconds; 0: none does."""
        found = [socket.waits for socket in self._datagrams]
        found.append(self._streams.line.waits)
        if self._secure is not None:
            found.append(self._secure.line.waits)
        return max(found)

    # Receiving

    def message_received(self, message: Request | Response | Malformed, source: ReplyPath) -> None:
        """Stamp the topmost Via of requests (§18.2.1, RFC 3581 §4) and hand all up."""
        request = message if isinstance(message, Request) else None
        if isinstance(message, Malformed):
            request = message.request
        if request is not None:
            request.stamp_via(source.host, source.port)
        self._on_message(message, source)

    def _undeliverable(self, data: bytes, reason: str) -> None:
        self._counters.undeliverable += 1
        self._on_undeliverable(data, reason)

    # Sending

    def send(self, data: bytes, target: Target, on_failure: OnFailure | None) -> Sending | None:
        """Send a request, or with ``on_failure`` None something without a response.

        ``on_failure`` is never called before this returns.  What is returned, if anything,
        wants ``done`` when a response came or none is wanted any more.
        """
        if target.transport != "UDP":
            return self._streams_of(target.transport).send(data, target, on_failure)
        host = target.host
        try:
            socket = self._routes[host]
        except KeyError:
            socket = self._find_route(host)
        if socket is None:
            problem = "no UDP listener of its address family"
        else:
            if ":" in socket.listener.host and ":" not in host:
                host = f"::ffff:{host}"
            problem = socket.write(data, (host, target.port))
        if problem and on_failure is not None:
            tell, failure = on_failure, SendFailure(problem, True)
            self._timers.call_later(0, lambda: tell(failure))
        return None

    def connection(self, target: Target) -> Connection | None:
        """The connection that there is to a target; None over UDP, or if there is none."""
        if target.transport == "UDP":
            return None
        return self._streams_of(target.transport).connection(target)

    def _find_route(self, host: str) -> _Datagrams | None:
        best = max(self._datagrams, key=lambda one: one.listener.reaches(host), default=None)
        if best is not None and not best.listener.reaches(host):
            best = None
        if len(self._routes) >= _REMEMBERED:
            self._routes.clear()
        self._routes[host] = best
        return best

    def via_prefix(self, target: Target) -> str:
        """Via of a request to ``target``, up to where the branch is to be put."""
        key = (target.transport, target.host)
        prefix = self._prefixes.get(key)
        if prefix is None:
            host, port = self.sent_by(target)
            if len(self._prefixes) >= _REMEMBERED:
                self._prefixes.clear()
            # RFC 5923 §5.1: requests may come back over the connection that we made.
            alias = ";alias" if target.transport == "TLS" else ""
            prefix = f"SIP/2.0/{target.transport} {bracketed(host)}:{port}{alias};rport;branch="
            self._prefixes[key] = prefix
        return prefix

    def sent_by(self, target: Target) -> tuple[str, int]:
        """Host and port for the Via of a request to ``target`` (§18.1.1)."""
        return self.contact_address(target.transport, target.host)

    def contact_address(self, transport: str, towards: str = "") -> tuple[str, int]:
        """Host and port that others reach us at over a transport.

        ``towards``: address of the peer, which matters when we listen on several addresses.
        """
        listener = self._best_listener(transport, towards)
        host = listener.host if listener is not None else "127.0.0.1"
        port = listener.port if listener is not None else 5060
        for advertised, other in self._advertised:
            # An address of the other family is of no use to the peer.
            same = (":" in advertised) == (":" in towards)
            if not towards or same or not is_address(advertised):
                # The port that is advertised is that of UDP and TCP.
                return advertised, (other if transport != "TLS" else None) or port
        if host in _WILDCARDS:
            # A documentation address (RFC 5737, RFC 3849) finds the way out into the world.
            anywhere = "192.0.2.1" if host == "0.0.0.0" else "2001:db8::1"
            host = plain_address(self._local_address(towards or anywhere))
        return host, port

    def contact_uri(self, transport: str, towards: str, secure: bool) -> str:
        """The same as a URI for Contact; ``secure``: a ``sips:`` one."""
        # Two or three times in each call: 4 % of setting up a session.
        key = (transport, towards, secure)
        uri = self._contacts.get(key)
        if uri is None:
            host, port = self.contact_address("TLS" if secure else transport, towards)
            uri = f"{'sips' if secure else 'sip'}:{bracketed(host)}:{port}"
            if not secure and transport != "UDP":
                uri += f";transport={transport.lower()}"
            if len(self._contacts) >= _REMEMBERED:
                self._contacts.clear()
            self._contacts[key] = uri
        return uri

    def _best_listener(self, transport: str, towards: str) -> Listener | None:
        # Without a listener of that transport, the address of another is as good as any:
        # responses come back over the connection that we make.
        same = [one for one in self._listeners if one.transport == transport]
        candidates = same or self._listeners
        if not towards:
            return candidates[0] if candidates else None
        return max(candidates, key=lambda one: one.reaches(towards), default=None)

    def is_local(self, uri: SipUri) -> bool:
        """Whether a URI's host and port name one of our listeners, or what we advertise."""
        host = uri.host.strip("[]").lower()
        number = uri.port or default_port(uri)
        for advertised, other in self._advertised:
            if host == advertised.lower() and number in {
                (one.transport != "TLS" and other) or one.port for one in self._listeners
            }:
                return True
        return any(
            number == one.port
            and (host == one.host or (one.host in _WILDCARDS and self._is_own(host)))
            for one in self._listeners
        )

    def _is_own(self, host: str) -> bool:
        return is_address(host) and plain_address(self._local_address(host)) == host


def parse_listen(text: str) -> tuple[str, str, int]:
    """Cut ``udp:127.0.0.1:5060`` into transport, address and port.  Raises ValueError."""
    transport, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if transport.lower() not in ("udp", "tcp", "tls") or not host or not port.isdigit():
        raise ValueError(f"{text!r} is not udp:, tcp: or tls:ADDRESS:PORT")
    return transport.upper(), host.strip("[]").lower(), int(port)


def parse_advertised(texts: str | Sequence[str] | None) -> list[tuple[str, int | None]]:
    """Cut each ``host[:port]``, IPv6 in brackets."""
    found: list[tuple[str, int | None]] = []
    for text in (texts,) if isinstance(texts, str) else texts or ():
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
            found.append((text.strip("[]"), None))
        else:
            found.append((host.strip("[]"), int(port)))
    return found


def bracketed(host: str) -> str:
    """A host as URIs and Via write it."""
    return f"[{host}]" if ":" in host else host


@lru_cache(_REMEMBERED)
def is_address(host: str) -> bool:
    """Whether a host, without brackets, is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an IP address never leaves this machine."""
    return ipaddress.ip_address(host).is_loopback
