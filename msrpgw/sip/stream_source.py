"""The source of what came over TCP or TLS (RFC 3261 §18.2)."""

from typing import Protocol

from msrpgw.sip.fields import Via


class Answering(Protocol):
    """A connection that responses go back over."""

    def send_response(self, data: bytes, via: Via) -> None:
        """Send a response, over another connection if this one is gone."""


class StreamSource:
    """The connection that a message came over."""

    __slots__ = ("connection", "host", "late", "local_host", "local_port", "port")

    transport = "TCP"
    reliable = True
    proven = True

    @property
    def names(self) -> frozenset[str]:
        """Nothing is proven without TLS."""
        return frozenset()

    def __init__(
        self, connection: Answering, host: str, port: int, local_host: str, local_port: int
    ) -> None:
        self.connection = connection
        self.host = host
        self.port = port
        self.local_host = local_host
        self.local_port = local_port
        self.late = False  #: whether the request that comes now has waited too long for its turn

    def send_response(self, data: bytes, via: Via) -> None:
        """Send over the same connection; when it is gone, over one to the Via (§18.2.2)."""
        self.connection.send_response(data, via)

    def prove(self) -> None:
        """Nothing to prove: the handshake of TCP did."""
