"""Management over UDP datagrams on loopback, as OpenSIPS's mi_datagram: a request, an answer."""

import ipaddress
import json
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from msrpgw.manage.rpc import INTERNAL_ERROR, Dispatcher
from msrpgw.manage.settings import parse_place

#: what fits into a datagram of loopback
MAX_ANSWER = 65_000


class DatagramManagement(DatagramProtocol):
    """Listens where ``[manage] datagram`` says.  Owned by the service."""

    noisy = False

    def __init__(self, reactor: IReactorUDP, where: str, dispatcher: Dispatcher) -> None:
        """``where``: ``ADDRESS:PORT`` on loopback."""
        self._reactor = reactor
        self._place = parse_place(where)
        self._dispatcher = dispatcher
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """Listen.  Raises CannotListenError."""
        self._port = self._reactor.listenUDP(
            self._place.port, self, interface=self._place.host, maxPacketSize=65536
        )

    def addresses(self) -> list[str]:
        """What is listened on."""
        if self._port is None:
            return []
        host: Any = self._port.getHost()
        return [f"{host.host}:{host.port}"]

    def stop(self) -> Deferred[Any]:
        """Listen no more."""
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(list)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer a request to where it came from; only loopback is answered at all."""
        if not ipaddress.ip_address(addr[0].partition("%")[0]).is_loopback:
            return

        def answered(answer: bytes | None) -> None:
            if answer is None or self.transport is None:
                return
            if len(answer) > MAX_ANSWER:
                answer = _too_long(answer)
            self.transport.write(answer, addr)

        self._dispatcher.handle(datagram).addCallback(answered)


def _too_long(answer: bytes) -> bytes:
    decoded = json.loads(answer)
    id_ = decoded.get("id") if isinstance(decoded, dict) else None
    error = {
        "code": INTERNAL_ERROR,
        "message": "The answer is too long for a datagram",
        "data": "Ask for less with limit and after, or over HTTP",
    }
    return json.dumps({"jsonrpc": "2.0", "error": error, "id": id_}).encode()
