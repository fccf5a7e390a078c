"""Management over HTTP: JSON-RPC at ``/mi``, metrics, and whether the gateway is well.

Only programs are served, never a page: no browser's form gets through, no other site's script.
"""

import hmac
import json
import os
import socket
import stat
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort, IReactorSSL, IReactorTCP, IReactorUNIX
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from msrpgw.manage.rpc import Dispatcher
from msrpgw.manage.settings import ManageSettings, Place, parse_place

_log = Logger()

#: largest body of a request
MAX_BODY = 1_048_576

#: seconds that a connection may say nothing
TIMEOUT = 60.0

#: what browsers send without asking first: whatever a page of another site makes them send
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain")

#: whether it is well, and what there is to say about that
Condition = Callable[[], tuple[bool, dict[str, Any]]]

#: content type and text
Metrics = Callable[[], tuple[bytes, bytes]]


class Gate:
    """Lets requests in: from the right names, sites and bearers."""

    def __init__(self, hosts: Iterable[str], token: bytes | None) -> None:
        self._hosts = {host.lower().encode() for host in hosts}
        self._token = token

    def refuse(self, request: Request) -> tuple[int, str] | None:
        """Status and text of a refusal; None to let it in."""
        host = request.getHeader(b"host")
        if host is not None and _name(host) not in self._hosts:
            # Somebody made a name of theirs point here (DNS rebinding).
            return 403, "This is not the host that you asked for"
        origin = request.getHeader(b"origin")
        if origin is not None and _name(origin.partition(b"://")[2]) not in self._hosts:
            return 403, "Other sites have no business here"
        if self._token is not None:
            scheme, _, token = (request.getHeader(b"authorization") or b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                request.setHeader(b"www-authenticate", b'Bearer realm="msrpgw"')
                return 401, "A bearer token is needed"
        return None


def _name(host: bytes) -> bytes:
    """A host without its port, in lower case."""
    if host.startswith(b"["):
        return host.partition(b"]")[0].lower() + b"]"
    return host.partition(b":")[0].lower()


class _Plain(Resource):
    """A leaf that answers GET with what a callable returns."""

    isLeaf = True

    def __init__(self, render: Callable[[Request], bytes]) -> None:
        Resource.__init__(self)
        self._render = render

    def render_GET(self, request: Request) -> bytes:
        """Answer; HEAD comes here, too."""
        return self._render(request)


class _Calls(Resource):
    """``/mi``."""

    isLeaf = True

    def __init__(self, dispatcher: Dispatcher) -> None:
        Resource.__init__(self)
        self._dispatcher = dispatcher

    def render_POST(self, request: Request) -> object:
        """One request or batch of JSON-RPC."""
        kind = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind in _FORMS:
            return _answer(request, 415, "application/json, please")
        assert request.content is not None
        answered = self._dispatcher.handle(request.content.read())
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def write(answer: bytes | None) -> None:
            if gone:
                return
            if answer is None:
                request.setResponseCode(204)
            else:
                request.setHeader(b"content-type", b"application/json")
                request.setHeader(b"content-length", b"%d" % len(answer))
                request.write(answer)
            request.finish()

        answered.addCallback(write)
        return NOT_DONE_YET


@implementer(IResource)
class Root:
    """All paths, behind the gate."""

    isLeaf = True

    def __init__(
        self,
        gate: Gate,
        dispatcher: Dispatcher,
        metrics: Metrics,
        live: Condition,
        ready: Condition,
    ) -> None:
        self._gate = gate
        self._leaves: dict[bytes, Resource] = {
            b"/mi": _Calls(dispatcher),
            b"/metrics": _Plain(lambda request: _metrics(request, metrics)),
            b"/healthz": _Plain(lambda request: _condition(request, live)),
            b"/readyz": _Plain(lambda request: _condition(request, ready)),
        }

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """There is nothing below: ``render`` looks at the whole path."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Not for us."""
        raise NotImplementedError

    def render(self, request: Request) -> object:
        """Answer a request."""
        request.setHeader(b"server", b"msrpgw")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-content-type-options", b"nosniff")
        refusal = self._gate.refuse(request)
        if refusal is not None:
            return _answer(request, *refusal)
        leaf = self._leaves.get(request.path)
        if leaf is None:
            return _answer(request, 404, "There is /mi, /metrics, /healthz and /readyz")
        allowed = (b"POST",) if request.path == b"/mi" else (b"GET", b"HEAD")
        if request.method not in allowed:
            request.setHeader(b"allow", b", ".join(allowed))
            return _answer(request, 405, "Method not allowed")
        return leaf.render(request)


def _answer(request: Request, status: int, text: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return f"{text}\n".encode()


def _metrics(request: Request, metrics: Metrics) -> bytes:
    content_type, text = metrics()
    request.setHeader(b"content-type", content_type)
    return text


def _condition(request: Request, condition: Condition) -> bytes:
    well, details = condition()
    request.setResponseCode(200 if well else 503)
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(details).encode() + b"\n"


class _Channel(HTTPChannel):
    """One connection; a body that is too large is never gathered."""

    def allHeadersReceived(self) -> None:
        """Judge by Content-Length; a chunked body has none, and is refused as well."""
        request = self.requests[-1]
        length = request.requestHeaders.getRawHeaders(b"content-length")
        chunked = request.requestHeaders.hasHeader(b"transfer-encoding")
        if chunked or (length is not None and int(length[0]) > MAX_BODY):
            assert self.transport is not None
            self.transport.write(
                b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.loseConnection()
            return
        HTTPChannel.allHeadersReceived(self)


class ManagementSite(Site):
    """The site, with a bound on its connections."""

    def __init__(self, root: IResource, max_connections: int) -> None:
        Site.__init__(self, root, timeout=TIMEOUT)
        self._max_connections = max_connections
        self._connections = 0
        make: Any = _Channel
        self.protocol = make  # type: ignore[method-assign]  # Twisted's own way
        self.noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        """One connection more, if there is room."""
        if self._connections >= self._max_connections:
            return None
        protocol = Site.buildProtocol(self, addr)
        self._connections += 1
        lost = protocol.connectionLost

        def connection_lost(reason: Any) -> None:
            self._connections -= 1
            lost(reason)

        protocol.connectionLost = connection_lost
        return protocol

    def log(self, request: Any) -> None:
        """Who asked what is no news."""


class HttpManagement:
    """Listens where ``[manage] http`` says.  Owned by the service."""

    def __init__(
        self,
        reactor: Any,
        settings: ManageSettings,
        token: bytes | None,
        tls: CertificateOptions | None,
        dispatcher: Dispatcher,
        metrics: Metrics,
        live: Condition,
        ready: Condition,
    ) -> None:
        self._reactor = reactor
        self._tls = tls
        self._places = [parse_place(text) for text in settings.http]
        hosts = {"localhost", *settings.hosts}
        hosts.update(_written(place.host) for place in self._places if place.host)
        root = Root(Gate(hosts, token), dispatcher, metrics, live, ready)
        self._site: Any = ManagementSite(root, settings.max_connections)
        self._ports: list[IListeningPort] = []

    def start(self) -> None:
        """Listen.  Raises CannotListenError."""
        for place in self._places:
            self._ports.append(self._listen(place))

    def _listen(self, place: Place) -> IListeningPort:
        if place.path:
            _remove_stale(place.path)
            port: IListeningPort = IReactorUNIX(self._reactor).listenUNIX(
                place.path, self._site, mode=0o600
            )
            return port
        if self._tls is not None:
            tls: IListeningPort = IReactorSSL(self._reactor).listenSSL(
                place.port, self._site, self._tls, interface=place.host
            )
            return tls
        tcp: IListeningPort = IReactorTCP(self._reactor).listenTCP(
            place.port, self._site, interface=place.host
        )
        return tcp

    def addresses(self) -> list[str]:
        """What is listened on."""
        found = []
        for place, port in zip(self._places, self._ports, strict=False):
            number = getattr(port.getHost(), "port", 0)
            found.append(f"unix:{place.path}" if place.path else f"{_written(place.host)}:{number}")
        return found

    def stop(self) -> Deferred[Any]:
        """Listen no more."""
        ports, self._ports = self._ports, []
        return gatherResults([_stop(port) for port in ports])


async def _stopped(port: IListeningPort) -> None:
    result = port.stopListening()
    if result is not None:
        await result


def _stop(port: IListeningPort) -> Deferred[None]:
    return Deferred.fromCoroutine(_stopped(port))


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _remove_stale(path: str) -> None:
    """Remove a socket that a crashed process left; one that somebody listens on stays."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # listening fails, and says so
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
