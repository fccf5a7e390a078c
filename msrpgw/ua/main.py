"""``msrpgw-ua``: a SIP MESSAGE user or an MSRP user in the terminal.

With the demo the only module of this room that knows the reactor.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from msrpgw.errors import MsrpgwError, UriError
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls
from msrpgw.tls.settings import TlsSettings
from msrpgw.ua.terminal import Step, Terminal, User
from msrpgw.ua.users import MsrpUser, PageUser

_EXAMPLE = """\
a conversation through a gateway on 127.0.0.1:5060, in two terminals:
  msrpgw-ua msrp --me sip:bob@127.0.0.1:6070 --peer sip:alice@127.0.0.1:6060
  msrpgw-ua page --me sip:alice@127.0.0.1:6060 --peer sip:bob@127.0.0.1:6070

with --send, --expect or --count nothing is typed: --send and --expect are done in the order in
which they are given; it ends when all was sent and came, with exit status 0 only if every text
sent arrived and every expected one came
"""


def _sip_uri(text: str) -> SipUri:
    try:
        uri = parse_uri(text)
    except UriError as error:
        raise argparse.ArgumentTypeError(error.reason) from error
    if not isinstance(uri, SipUri) or not uri.user:
        raise argparse.ArgumentTypeError(f"{text!r} must read sip:USER@HOST:PORT")
    return uri


def _proxy(text: str) -> str:
    if text == "none":
        return ""
    try:
        parse_uri(f"sip:{text}")
    except UriError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must read HOST:PORT") from error
    return text


def _send_step(text: str) -> Step:
    return Step(True, text)


def _expect_step(text: str) -> Step:
    return Step(False, text)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="msrpgw-ua",
        description="A SIP MESSAGE user or an MSRP user: type a line to send it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=("page", "msrp"), help="SIP MESSAGE or MSRP")
    parser.add_argument("--me", type=_sip_uri, required=True, help="own URI, and where to listen")
    parser.add_argument("--peer", type=_sip_uri, required=True, help="URI to talk to")
    parser.add_argument(
        "--proxy",
        type=_proxy,
        default="127.0.0.1:5060",
        metavar="HOST:PORT",
        help="the gateway or proxy that everything is sent through, or none (default: %(default)s)",
    )
    parser.add_argument("--tcp", action="store_true", help="SIP over TCP, both ways")
    parser.add_argument(
        "--tls",
        metavar="FILE",
        help="SIP over TLS, and MSRPS; own certificate with its key, PEM",
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="PEM, who vouches for others (default: the system says)"
    )
    parser.add_argument(
        "--call", action="store_true", help="msrp: call the peer at once, not with the first text"
    )
    parser.add_argument(
        "--active", action="store_true", help="msrp: always be the one who connects"
    )
    for name, step, words in (
        ("--send", _send_step, "send this"),
        ("--expect", _expect_step, "wait until this came"),
    ):
        parser.add_argument(
            name, action="append", dest="steps", default=[], type=step, metavar="TEXT", help=words
        )
    parser.add_argument("--count", type=int, default=0, metavar="N", help="wait for N texts")
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="give up after so long"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--verbose", action="store_true", help="show the log, on standard error")
    return parser


class Lines(LineReceiver):
    """What is typed, line by line."""

    delimiter = b"\n"
    MAX_LENGTH = 1_048_576

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def lineReceived(self, line: bytes) -> None:
        """Send one line."""
        text = line.decode("utf-8", "replace").strip()
        if text:
            self._terminal.say(text)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end of the input."""
        self._terminal.input_ended()


class Session:
    """One run of ``msrpgw-ua``: its user, its terminal, and their end."""

    def __init__(self, reactor: Any, options: argparse.Namespace) -> None:
        transport = ";transport=tls" if options.tls else ";transport=tcp" if options.tcp else ""
        timers = Timers(reactor)
        tls: Tls | None = None
        if options.tls:
            settings = TlsSettings(certificate=(options.tls,), ca_file=options.ca)
            tls = Tls(settings, host=options.me.host, now=time.time)
        me, peer = (
            uri.text if uri.transport else uri.text + transport
            for uri in (options.me, options.peer)
        )
        where = f"{options.me.host}:{options.me.port or (5061 if tls else 5060)}"
        self._options = options
        self._peer = peer
        self._agent = UserAgent(
            reactor,
            timers,
            SipSettings(
                listen=(f"tls:{where}",) if tls else (f"udp:{where}", f"tcp:{where}"),
                outbound_proxy=f"sip:{options.proxy};lr{transport}" if options.proxy else None,
                user_agent="msrpgw-ua",
            ),
            os.urandom,
            allow_source=lambda address: True,
            tls=tls,
        )
        self.terminal = Terminal(
            timers,
            peer,
            lambda line: print(line, flush=True),
            steps=options.steps,
            count=options.count,
            timeout=options.timeout,
            as_json=options.json,
            reports=options.kind == "msrp",
        )
        self._endpoint: Endpoint | None = None
        self._msrp_user: MsrpUser | None = None
        self._left: Deferred[None] | None = None
        self.user: User
        if options.kind == "page":
            self.user = PageUser(self._agent, timers, me, self.terminal.received)
        else:
            self._endpoint = Endpoint(
                reactor,
                timers,
                os.urandom,
                MsrpSettings(
                    listen=f"{options.me.host}:0",
                    listen_tls=f"{options.me.host}:0" if tls else None,
                    reachable=not options.active,
                ),
                allow_source=lambda address: True,
                tls=tls,
            )
            self.user = self._msrp_user = MsrpUser(
                self._agent, self._endpoint, timers, me, self.terminal.received, reports=True
            )
            self._msrp_user.on_state = self.terminal.state

    def listen(self) -> None:
        """Listen for SIP and MSRP.  Raises CannotListenError."""
        if self._endpoint is not None:
            self._endpoint.listen()
        self._agent.start()

    @property
    def scripted(self) -> bool:
        """Whether nothing is to be typed."""
        return bool(self._options.steps or self._options.count)

    def start(self) -> None:
        """Place the call and send the texts that the command line asks for."""
        if not self.scripted:
            me = self._options.me.text
            self.terminal.note(f"{me} is ready; type a line to send it, Ctrl-D to leave")
        if self._options.call and self._msrp_user is not None:
            self._msrp_user.call(self._peer)
        self.terminal.start(self.user)

    def leave(self) -> Deferred[None]:
        """Hang up and close all sockets.  Only the first call does anything."""
        if self._left is None:
            self._left = Deferred.fromCoroutine(self._leave())
            return self._left
        return succeed(None)

    async def _leave(self) -> None:
        if self._msrp_user is not None:
            await self._msrp_user.leave()
        if self._endpoint is not None:
            await self._endpoint.close()
        await self._agent.stop()


def _begin_logging(verbose: bool) -> None:
    level = LogLevel.debug if verbose else LogLevel.warn
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(level)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run until the script is done, or Ctrl-C or the end of the input."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.kind == "page" and (options.call or options.active):
        parser.error("--call and --active are for msrp")
    _begin_logging(options.verbose)

    from twisted.internet import reactor as installed
    from twisted.internet import stdio

    reactor: Any = installed
    try:
        session = Session(reactor, options)
        session.listen()
    except (MsrpgwError, CannotListenError) as error:
        raise SystemExit(f"msrpgw-ua: {error}") from error
    status = 1

    def over(result: int) -> None:
        nonlocal status
        status = result
        session.leave().addBoth(lambda _: reactor.stop())

    def start() -> None:
        session.terminal.done.addCallback(over)
        if not session.scripted:
            stdio.StandardIO(Lines(session.terminal))
        session.start()

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", session.leave)  # Ctrl-C
    reactor.run()
    sys.exit(status)


if __name__ == "__main__":
    main()
