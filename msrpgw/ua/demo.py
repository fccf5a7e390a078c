"""``make demo``: a gateway, page users and MSRP users who talk; prints the message ladder.

The gateway is a process of its own, so what crosses is real UDP and TCP.  Half of the sessions
are opened by a MESSAGE, half by an INVITE.
"""

import argparse
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from msrpgw.ua.ladder import ladder
from msrpgw.ua.users import MsrpUser, PageUser, Received, Sent, Signal

HOST = "127.0.0.1"

#: seconds that a demo may take, all sessions together
PATIENCE = 90.0

#: seconds after the last message in which one that came twice would show
QUIET = 0.3

#: a demo with more messages than this in all prints no ladders
_LADDER_LIMIT = 24


class Reach(NamedTuple):
    """How a user is reached, and where it sends to: different when a link stands between."""

    public_port: int  #: SIP port that the gateway knows the user by
    proxy_port: int  #: SIP port that the user takes for the gateway's


#: of the gateway: long texts cross whole, since all users take TCP
_CONFIGURATION = "[policy]\ncongestion_safe = true\n"

#: from a user's own SIP port and the gateway's
Link = Callable[[int, int], Reach]


class DemoError(Exception):
    """The demo can't run; the text says why."""


class _Gateway(ProcessProtocol):
    """The gateway's process: ready when it says so."""

    def __init__(self) -> None:
        self.ready: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.output = b""

    def outReceived(self, data: bytes) -> None:
        self.output = (self.output + data)[-65536:]
        if b"is ready" in self.output and not self.ready.called:
            self.ready.callback(None)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if not self.ready.called:
            words = self.output.decode(errors="replace")
            self.ready.errback(DemoError(f"the gateway did not start:\n{words}"))
        self.ended.callback(None)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that are free now, for UDP and TCP."""
    held: list[socket.socket] = []
    ports: list[int] = []
    while len(ports) < count:
        stream = socket.socket()
        held.append(stream)
        stream.bind((HOST, 0))
        port: int = stream.getsockname()[1]
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        held.append(datagrams)
        try:
            datagrams.bind((HOST, port))
        except OSError:
            continue
        ports.append(port)
    for each in held:
        each.close()
    return ports


def text_of(side: str, number: int) -> str:
    """A text of the conversation: each fifth is long, and not of ASCII alone."""
    return f"{side} {number}" if number % 5 else f"{side} {number}: " + "Grüße, 世界! " * 200


class Half:
    """What one user of a pair said, and what came of it at the other end."""

    def __init__(self, side: str, count: int) -> None:
        self.side = side
        self.texts = [text_of(side, number) for number in range(1, count + 1)]
        self.arrived: list[str] = []
        self.sent_at: dict[str, float] = {}
        self.delays: list[float] = []  # seconds from sender to receiver
        self.refused: list[Sent] = []
        self.answered = 0

    def settled(self) -> bool:
        """Whether all arrived and all were answered."""
        return len(self.arrived) >= len(self.texts) and self.answered >= len(self.texts)

    def faults(self) -> list[str]:
        """What did not arrive whole, once and in order; empty when all did."""
        found = [f"{len(self.refused)} not delivered: {self.refused[0]}"] if self.refused else []
        missing = [text for text in self.texts if text not in self.arrived]
        if missing:
            found.append(f"{len(missing)} lost: {[text[:20] for text in missing]}")
        strange = [text for text in self.arrived if text not in self.texts]
        if strange:
            found.append(f"{len(strange)} not whole: {[text[:60] for text in strange]}")
        if len(self.arrived) != len(set(self.arrived)):
            found.append(f"{len(self.arrived) - len(set(self.arrived))} came twice")
        if not found and self.arrived != self.texts:
            found.append(f"out of order: {[text[:20] for text in self.arrived]}")
        return [f"from the {self.side} user: {fault}" for fault in found]


class Pair:
    """A page user and an MSRP user who talk with each other."""

    def __init__(
        self, reactor: Any, number: int, gateway_port: int, link: Link, tcp: bool, count: int
    ) -> None:
        self._reactor = reactor
        self._timers = Timers(reactor)
        self._tcp = tcp
        self._done: Deferred[None] = Deferred()
        self._over = False
        self.page_name, self.msrp_name = f"alice{number}", f"bob{number}"
        self.from_page, self.from_msrp = Half("page", count), Half("msrp", count)
        self.page_signals: list[Signal] = []
        self.msrp_signals: list[Signal] = []
        self.started = 0.0
        self._page_agent, self._page_uri = self._agent(self.page_name, gateway_port, link)
        self._page = PageUser(
            self._page_agent,
            self._timers,
            self._page_uri,
            lambda received: self._came(self.from_msrp, received),
            on_signal=self.page_signals.append,
        )
        self._msrp_agent, self._msrp_uri = self._agent(self.msrp_name, gateway_port, link)
        self._endpoint = Endpoint(
            reactor,
            self._timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0"),
            allow_source=lambda address: True,
        )
        self._endpoint.listen()
        self._msrp = MsrpUser(
            self._msrp_agent,
            self._endpoint,
            self._timers,
            self._msrp_uri,
            lambda received: self._came(self.from_page, received),
            reports=True,
            on_signal=self.msrp_signals.append,
        )

    def _agent(self, name: str, gateway_port: int, link: Link) -> tuple[UserAgent, str]:
        own_port = free_ports(1)[0]
        reach = link(own_port, gateway_port)
        transport = ";transport=tcp" if self._tcp else ""
        agent = UserAgent(
            self._reactor,
            self._timers,
            SipSettings(
                listen=(f"udp:{HOST}:{own_port}", f"tcp:{HOST}:{own_port}"),
                advertised_contact=f"{HOST}:{reach.public_port}",
                outbound_proxy=f"sip:{HOST}:{reach.proxy_port};lr{transport}",
                user_agent="msrpgw-demo",
            ),
            os.urandom,
            allow_source=lambda address: True,
        )
        agent.start()
        return agent, f"sip:{name}@{HOST}:{reach.public_port}{transport}"

    def converse(self, *, opened_by_page: bool) -> Deferred[None]:
        """Let one user begin and the other join in; fires when all that was said came."""
        self.started = self._timers.seconds()
        self._opened_by_page = opened_by_page
        self._say(by_page=opened_by_page)
        return self._done

    def _say(self, *, by_page: bool) -> None:
        half = self.from_page if by_page else self.from_msrp
        for text in half.texts:
            half.sent_at[text] = self._timers.seconds()
            if by_page:
                self._page.send(self._msrp_uri, text, lambda sent: self._answered(half, sent))
            else:
                self._msrp.send(self._page_uri, text, lambda sent: self._answered(half, sent))

    def _came(self, half: Half, received: Received) -> None:
        first = not half.arrived
        half.arrived.append(received.text)
        sent_at = half.sent_at.get(received.text)
        if sent_at is not None:
            half.delays.append(received.at - sent_at)
        if first and (half is self.from_page) is self._opened_by_page:
            # The session is up: the other joins in, so that one session serves both.
            self._say(by_page=not self._opened_by_page)
        self._check()

    def _answered(self, half: Half, sent: Sent) -> None:
        if not sent.ok:
            half.refused.append(sent)
        # An accepted SEND has its REPORT to come; an accepted MESSAGE has nothing more.
        if sent.final or half is self.from_page:
            half.answered += 1
        self._check()

    def _check(self) -> None:
        if not self._over and self.from_page.settled() and self.from_msrp.settled():
            self._over = True
            self._reactor.callLater(QUIET, self._done.callback, None)

    def faults(self) -> list[str]:
        """What did not arrive whole, once and in order; empty when all did."""
        both = [*self.from_page.faults(), *self.from_msrp.faults()]
        return [f"{self.page_name} and {self.msrp_name}: {fault}" for fault in both]

    def ladder(self) -> list[str]:
        """The conversation as a ladder."""
        names = (self.page_name, "msrpgw", self.msrp_name)
        return list(ladder(self.started, self.page_signals, self.msrp_signals, names))

    async def close(self) -> None:
        """Hang up and listen no more."""
        await self._msrp.leave()
        await self._endpoint.close()
        await self._page_agent.stop()
        await self._msrp_agent.stop()


def direct(own_port: int, gateway_port: int) -> Reach:
    """The link between a user and the gateway when nothing stands between them."""
    return Reach(own_port, gateway_port)


def _summary(pairs: list[Pair]) -> str:
    lines = []
    for arrow, halves in (
        ("MESSAGE to MSRP", [pair.from_page for pair in pairs]),
        ("MSRP to MESSAGE", [pair.from_msrp for pair in pairs]),
    ):
        delays = [delay * 1000 for half in halves for delay in half.delays]
        sent = sum(len(half.texts) for half in halves)
        came = sum(len(half.arrived) for half in halves)
        times = (
            f"{statistics.median(delays):.1f} ms, at most {max(delays):.1f} ms" if delays else ""
        )
        lines.append(f"{arrow}: {came} of {sent} came, after {times or 'no time at all'}")
    return "\n".join(lines)


async def _talk(reactor: Any, options: argparse.Namespace, pairs: list[Pair]) -> None:
    everyone = []
    for half, opened_by_page in ((pairs[::2], True), (pairs[1::2], False)):
        talks = [pair.converse(opened_by_page=opened_by_page) for pair in half]
        everyone += talks
        if options.ladder and talks:
            # One after the other: easier to read, in a capture of the wire too.
            await _all(reactor, talks)
    await _all(reactor, everyone)


def _all(reactor: Any, talks: list[Deferred[None]]) -> Deferred[Any]:
    everything = DeferredList(talks)
    return everything.addTimeout(PATIENCE, reactor, onTimeoutCancel=lambda result, seconds: None)


async def run(reactor: Any, options: argparse.Namespace, link: Link = direct) -> int:
    """Run the demo; the exit status.  ``link``: what stands between users and gateway."""
    free = free_ports(2)
    sip, msrp = options.sip_port or free[0], options.msrp_port or free[1]
    with tempfile.TemporaryDirectory(prefix="msrpgw-demo-") as state:
        gateway = _Gateway()
        configuration = os.path.join(state, "demo.toml")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(_CONFIGURATION)
        command = [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("--nodaemon", "--pidfile=", "msrpgw", "--config", configuration),
            *("--state-dir", state),
            *("--sip", f"udp:{HOST}:{sip}", "--sip", f"tcp:{HOST}:{sip}"),
            *("--msrp", f"{HOST}:{msrp}"),
        ]
        process = reactor.spawnProcess(gateway, command[0], command, env=dict(os.environ))
        pairs: list[Pair] = []
        try:
            await gateway.ready
            print(f"gateway: SIP {HOST}:{sip} (UDP, TCP), MSRP {HOST}:{msrp}", flush=True)
            for number in range(1, options.sessions + 1):
                # The first sessions get the messages that can't be shared out evenly.
                share, rest = divmod(options.messages, options.sessions)
                count = share + (number <= rest)
                pairs.append(Pair(reactor, number, sip, link, options.tcp, count))
            await _talk(reactor, options, pairs)
        finally:
            await gatherResults([Deferred.fromCoroutine(pair.close()) for pair in pairs])
            try:
                process.signalProcess("TERM")
            except ProcessExitedAlready:
                print("the gateway's process ended by itself", file=sys.stderr)
            await gateway.ended
    return _report(options, pairs)


def _report(options: argparse.Namespace, pairs: list[Pair]) -> int:
    if options.ladder:
        for number, pair in enumerate(pairs):
            print(
                f"\nsession {number + 1}, opened by {'an INVITE' if number % 2 else 'a MESSAGE'}:"
            )
            print("\n".join(pair.ladder()))
    print(f"\n{_summary(pairs)}")
    faults = [fault for pair in pairs for fault in pair.faults()]
    for fault in faults:
        print(f"FAULT: {fault}")
    total = f"{options.messages} messages each way over {options.sessions} sessions"
    if faults:
        print(f"{total}: not all arrived whole, once and in order")
        return 1
    print(f"{total}: none lost, reordered or doubled")
    return 0


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m msrpgw.ua.demo",
        description="Users talk through a gateway; exit status 0 only if every message arrived"
        " whole and in order.",
    )
    parser.add_argument("--messages", type=int, default=6, help="each way, in all sessions")
    parser.add_argument("--sessions", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--tcp", action="store_true", help="SIP over TCP")
    parser.add_argument("--sip-port", type=int, default=0, help="of the gateway; 0: a free one")
    parser.add_argument("--msrp-port", type=int, default=0, help="of the gateway; 0: a free one")
    options = parser.parse_args(arguments)
    if not 1 <= options.sessions <= options.messages:
        parser.error("at least one session, and one message each way in each")
    options.ladder = options.messages * 2 <= _LADDER_LIMIT
    return options


def main(
    arguments: list[str] | None = None,
    link_for: Callable[[Any], Link] = lambda reactor: direct,
) -> None:
    """Parse the command line and run.  ``link_for``: makes what stands between, for tests."""
    options = parse_arguments(arguments)

    from twisted.internet import reactor as installed

    reactor: Any = installed
    status = 1

    def ended(result: object) -> None:
        nonlocal status
        if isinstance(result, Failure):
            print(f"demo: {result.getErrorMessage()}", file=sys.stderr)
            if not result.check(DemoError):
                result.printTraceback(sys.stderr)
        else:
            assert isinstance(result, int)
            status = result
        reactor.stop()

    def start() -> None:
        running = run(reactor, options, link_for(reactor))
        Deferred.fromCoroutine(running).addBoth(ended)

    reactor.callWhenRunning(start)
    reactor.run()
    sys.exit(status)


if __name__ == "__main__":
    main()
