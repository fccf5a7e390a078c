"""A message on its way over a connection, and where it goes.

Imports Twisted's errors and the failures of client transactions.
"""

import errno
from collections.abc import Callable
from typing import NamedTuple, Protocol

from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)

from msrpgw.sip.client_transaction import SendFailure

#: errors of connect() that mean "no TCP here", so that UDP may be tried (§18.1.1)
_REFUSALS = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT}
)

OnFailure = Callable[[SendFailure], None]


class Carrier(Protocol):
    """The connection that has it."""

    sendings: "dict[Sending, None]"  #: requests without a response yet


class Target(NamedTuple):
    """Where a request goes."""

    transport: str  #: ``UDP``, ``TCP`` or ``TLS``
    host: str  #: IP address, without brackets
    port: int
    #: to be tried only when the target before it refused the connection (§18.1.1)
    fallback: bool = False
    #: TLS: host of the URI, which the certificate must cover (RFC 5922 §7.3); else empty
    name: str = ""
    #: value of the Route that goes with it: the proxy that it belongs to; empty: none
    route: str = ""

    @property
    def uri(self) -> str:
        """The target as a URI."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sip:{host}:{self.port};transport={self.transport.lower()}"


class Sending:
    """A message on its way over a connection.

    Until ``done`` a request is told of the loss of the connection, and with it of its response.
    """

    __slots__ = ("_connection", "data", "dropped", "fresh", "on_failure", "target")

    def __init__(self, data: bytes, target: Target, on_failure: OnFailure | None) -> None:
        self.data = data
        self.target = target
        self.on_failure = on_failure  #: None: no response is expected, nobody is told
        self.dropped = False  #: done before there was a connection: not to be sent any more
        self.fresh = False  #: the connection was made for it: a loss is no accident of reuse
        self._connection: Carrier | None = None

    def sent_over(self, connection: "Carrier | None") -> None:
        """Remember which connection has it; None: it waits for one."""
        self._connection = connection

    def done(self) -> None:
        """A response came, or none is wanted any more."""
        if self._connection is not None:
            self._connection.sendings.pop(self, None)
            self._connection = None
        else:
            self.dropped = True

    def fail(self, failure: SendFailure) -> None:
        """Tell whoever waits for the response."""
        if self.on_failure is not None and not self.dropped:
            self.on_failure(failure)


def explain_refusal(failed: BaseException | None) -> SendFailure:
    """Why there is no TCP connection."""
    if isinstance(failed, (TimeoutError, TCPTimedOutError)):
        return SendFailure("TCP connect timed out")
    refused = isinstance(failed, (ConnectionRefusedError, NoRouteError))
    if isinstance(failed, ConnectError) and isinstance(failed.osError, int):
        refused = refused or failed.osError in _REFUSALS
    return SendFailure("TCP connection refused" if refused else "TCP connect failed", refused)
