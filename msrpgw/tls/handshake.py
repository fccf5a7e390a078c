"""Handshakes: what stands in a protocol's place until its peer is known.

    TCP made ──► Handshake ──done──► judged ──► the real protocol takes its place
                    │                   └── refused ──┐
                    └── failed, or took too long ─────┴──► told once, and one line in the log

The protocol behind it is not even made before the peer is known to be who it should be, so that
nothing crosses.  Imports complaints, timers and this room's other modules.
"""

import typing
from collections.abc import Callable

from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IHandshakeListener,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.complaints import Complaints
from msrpgw.timers import Timer, Timers
from msrpgw.tls.contexts import Creator, Evidence, Role, Tls, evidence_of, problem_of
from msrpgw.tls.failures import TIMED_OUT, UNVERIFIED, explain, explain_loss


class Untrusted(Exception):
    """The peer is not who it should be."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason  #: ours, one of few
        self.detail = detail  #: may hold the peer's own words


#: makes the protocol for a peer that has shown this; raises Untrusted
Admit = Callable[[Evidence], IProtocol | None]
#: told once why there will be no protocol
OnFailed = Callable[[str], None]
#: told once that the protocol is there
OnDone = Callable[[IProtocol], None]


def _nobody(reason: str) -> None:
    """Nobody waits."""


def _known(protocol: IProtocol) -> None:
    """Whoever made it knows already."""


def _unheard(reason: Failure) -> None:
    """Whoever connects hears of it by another way."""


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """One handshake.  Owned by ``Handshakes``; ends when it is done, fails or takes too long."""

    transport: TLSMemoryBIOProtocol

    def __init__(
        self, owner: "Handshakes", role: Role, admit: Admit, failed: OnFailed, done: OnDone
    ) -> None:
        self._owner = owner
        self.accepted = role.endswith("server")  #: whether the peer connected
        self._role = role
        self._admit = admit
        self._failed = failed
        self._done = done
        self._timer: Timer | None = None
        self._over = False
        self._host = ""

    def connectionMade(self) -> None:
        """The TCP connection is there: the handshake begins."""
        self._host = str(getattr(self.transport.getPeer(), "host", ""))
        self._timer = self._owner.timers.call_later(self._owner.timeout, self._timed_out)

    def handshakeCompleted(self) -> None:
        """OpenSSL is content; are we?"""
        if self._over:
            return
        tls = self.transport
        try:
            evidence = evidence_of(tls.getHandle())
        except Exception:  # of a certificate that OpenSSL can read, and cryptography can't
            self._fail("the certificate can't be read", "")
            return
        try:
            protocol = self._admit(evidence)
        except Untrusted as error:
            self._fail(error.reason, error.detail)
            return
        if protocol is None:
            self._fail("", "")
            return
        self._end()
        self._owner.discard(self)
        tls.wrappedProtocol = protocol
        protocol.makeConnection(tls)
        self._done(protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It failed."""
        if not self._over:
            self._end()
            why = explain_loss(reason)
            handle = self.transport.getHandle()
            if why == UNVERIFIED and handle is not None:
                why = problem_of(handle) or why
            self._tell(why, "")
        self._owner.discard(self)

    def _timed_out(self) -> None:
        self._timer = None
        self._fail(TIMED_OUT, "")

    def abort(self) -> None:
        """Give it up: nothing to complain of."""
        if not self._over:
            self._fail("", "")

    def _fail(self, reason: str, detail: str) -> None:
        self._end()
        self.transport.abortConnection()
        self._tell(reason, detail)

    def _tell(self, reason: str, detail: str) -> None:
        if reason:
            what = f"{self._role}, {detail}" if detail else self._role
            self._owner.complain(reason, self._host, what)
        self._failed(f"{reason}: {detail}" if detail else reason or "given up")

    def _end(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Counters(typing.Protocol):
    """What a room counts of its handshakes."""

    failed_handshakes: int  #: handshakes that came to nothing, whatever the reason
    refused_handshakes: int  #: connections above ``max_handshakes``


class Handshakes:
    """The handshakes of one room that are under way; their number counts towards its limits."""

    def __init__(
        self,
        tls: Tls,
        reactor: IReactorTime,
        timers: Timers,
        counters: Counters,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is told when there is one less."""
        self._tls = tls
        self._counters = counters
        self._accepted = 0  # of those under way, how many peers began
        self._changed = changed
        self._reactor = reactor
        self._complaints = Complaints(timers, "msrpgw.tls")
        self._going: set[Handshake] = set()
        self.timers = timers

    @property
    def timeout(self) -> float:
        """Seconds that one may take."""
        return self._tls.settings.handshake_timeout

    def __len__(self) -> int:
        """How many connections there are that no protocol has yet, or none any more."""
        return len(self._going)

    def accepting(
        self, role: Role, open_: Callable[[IAddress | None], Admit | None]
    ) -> ServerFactory:
        """A factory for a listening port.

        ``open_`` decides at once whether a connection from there may begin its handshake.
        """

        def build(address: IAddress | None) -> Handshake | None:
            if self._accepted >= self._tls.settings.max_handshakes:
                self._counters.refused_handshakes += 1
                host = str(getattr(address, "host", ""))
                self._complaints.add("TLS handshake refused: too many under way,", host, role)
                return None
            admit = open_(address)
            if admit is None:
                return None
            self._accepted += 1
            return self._begin(role, admit, _nobody, _known)

        # What Twisted's annotations don't say: any factory will do for a port.
        return typing.cast(ServerFactory, self._factory(self._tls.creator(role), False, build))

    def connecting(
        self,
        role: Role,
        name: str,
        admit: Admit,
        failed: OnFailed,
        refused: Callable[[Failure], None] = _unheard,
        done: OnDone = _known,
    ) -> ClientFactory:
        """A factory for one connection to ``name``.

        ``failed`` is told of a handshake that comes to nothing, ``refused`` of a TCP connection
        that does, ``done`` of a protocol that is there and connected.
        """
        creator = self._tls.creator(role, name)
        factory = self._factory(
            creator, True, lambda address: self._begin(role, admit, failed, done), refused
        )
        return typing.cast(ClientFactory, factory)

    def _begin(self, role: Role, admit: Admit, failed: OnFailed, done: OnDone) -> Handshake:
        handshake = Handshake(self, role, admit, failed, done)
        self._going.add(handshake)
        return handshake

    def _factory(
        self,
        creator: Creator,
        client: bool,
        build: Callable[[IAddress | None], Handshake | None],
        refused: Callable[[Failure], None] = _unheard,
    ) -> "_Wrapping":
        return _Wrapping(creator, client, _Building(build, refused), clock=self._reactor)

    def discard(self, handshake: Handshake) -> None:
        """One is done, or its connection is closed."""
        if handshake in self._going:
            self._going.discard(handshake)
            self._accepted -= handshake.accepted
        self._changed()

    def abort_all(self) -> None:
        """Give all of them up."""
        for handshake in list(self._going):
            handshake.abort()

    def complain(self, reason: str, host: str, what: str) -> None:
        """Count a handshake that failed, and say in the log why."""
        self._counters.failed_handshakes += 1
        self._complaints.add(f"TLS handshake failed, {reason},", host, what)

    def connection_lost(self, role: Role, host: str, reason: Failure) -> str:
        """A connection whose handshake was done is gone; what TLS says of it, which is logged.

        In TLS 1.3 who connects hears only afterwards that its certificate was refused.
        Empty when it was not TLS that ended it.
        """
        why = explain(reason)
        if why:
            self._complaints.add(f"TLS connection broken, {why},", host, role)
        return why


class _Building(ClientFactory):
    """Makes handshakes."""

    noisy = False

    def __init__(
        self,
        build: Callable[[IAddress | None], Handshake | None],
        refused: Callable[[Failure], None],
    ) -> None:
        self._build = build
        self._refused = refused

    def buildProtocol(self, addr: IAddress | None) -> Handshake | None:
        """One more."""
        return self._build(addr)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """There is no TCP connection."""
        self._refused(reason)


class _Wrapping(TLSMemoryBIOFactory):
    """Puts TLS under each handshake, unless it is refused."""

    noisy = False

    def buildProtocol(  # type: ignore[override]  # None is what Factory may give
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        """None closes the connection."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)
