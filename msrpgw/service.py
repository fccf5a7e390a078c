"""The only wiring: builds the objects of all rooms, starts and stops them in order.

    start:  journal opens ─► MSRP listens ─► gateway takes requests ─► SIP listens ─► management
    stop:   gateway ends its sessions (BYE) ─► MSRP, SIP, journal, management, event sinks close

SIP comes last and goes last: no request arrives that could not be served, and the BYEs and
their answers get through.  The journal spans all of it.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTCP, IReactorTime
from twisted.logger import Logger

from msrpgw import __version__
from msrpgw.access import Access
from msrpgw.auth.client import Secret
from msrpgw.auth.settings import read_password
from msrpgw.config import Config
from msrpgw.config import load as load_config
from msrpgw.dns.program import ProgramResolver
from msrpgw.dns.resolver import Resolver
from msrpgw.errors import ConfigError, JournalError, MsrpgwError
from msrpgw.gateway.admission import Admission
from msrpgw.gateway.events import EventHub, peer_down
from msrpgw.gateway.gateway import Gateway
from msrpgw.gateway.operator import Operator
from msrpgw.interfaces import IJournal
from msrpgw.journal.memory import MemoryJournal
from msrpgw.journal.sqlite import SqliteJournal
from msrpgw.journal.store import FILE_NAME, Store
from msrpgw.journal.worker import ThreadWorker
from msrpgw.limits import Limits
from msrpgw.log import Threshold
from msrpgw.manage.management import Management
from msrpgw.manage.sinks.records import Recorder
from msrpgw.manage.sinks.sinks import Sinks
from msrpgw.manage.sinks.webhooks import TreqPoster
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import parse_msrp_uri, split_address
from msrpgw.plugins import build_policy, build_sinks
from msrpgw.program import ProgramControl
from msrpgw.randomness import Randomness
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.registration import Registrations
from msrpgw.sources import TrustedSources
from msrpgw.state import load_key
from msrpgw.systemd import Notifier
from msrpgw.timers import Timer, Timers
from msrpgw.tls.contexts import Tls
from msrpgw.types import JournalContents

_log = Logger()


class StartError(SystemExit, MsrpgwError):
    """The service can't start.  It was logged already, in one line.

    Of two natures: ``twistd`` treats an Exception that comes out of ``startService`` properly
    (pid file removed, the daemon's parent told), and Python ends on a SystemExit without a
    traceback, with this exit status.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.code = 1


class SipSide(Protocol):
    """What the service needs of a UserAgent."""

    def start(self) -> None:
        """Listen."""

    def stop(self) -> Deferred[None]:
        """Listen no more."""

    def addresses(self) -> list[str]:
        """What is listened on, as ``[sip] listen`` writes it."""


class MsrpSide(Protocol):
    """What the service needs of an Endpoint."""

    @property
    def address(self) -> str:
        """What is listened on."""

    @property
    def tls_address(self) -> str:
        """The same for MSRPS; empty when it is not spoken."""

    def listen(self) -> None:
        """Listen."""

    def close(self) -> Deferred[None]:
        """Listen no more, close all connections."""


class Middle(Protocol):
    """What the service needs of a Gateway."""

    def use_key(self, key: bytes) -> None:
        """Make Message-IDs with this key."""

    def resume(self, contents: JournalContents) -> None:
        """Go on with what an earlier process left."""

    def start(self) -> None:
        """Take requests."""

    def stop(self, grace: float) -> Deferred[None]:
        """End all sessions, within ``grace`` seconds."""


class Reloadable(Protocol):
    """What the service needs of the program's control."""

    def reload(self) -> object:
        """Read the configuration again.  Raises ValueError; it was logged already."""


class ManagementSide(Protocol):
    """What the service needs of the management interface."""

    def start(self) -> None:
        """Listen."""

    def stop(self) -> Deferred[None]:
        """Listen no more."""

    def addresses(self) -> list[str]:
        """What is listened on."""


class NamesSide(Protocol):
    """What the service needs of the program's resolver."""

    def start(self) -> None:
        """Take the place of the reactor's."""

    def stop(self) -> Deferred[None]:
        """Give it back."""


class RegistrationSide(Protocol):
    """What the service needs of the addresses that are registered."""

    def start(self) -> None:
        """Register them."""

    def stop(self) -> Deferred[None]:
        """Take them back."""


class SinksSide(Protocol):
    """What the service needs of the sinks of events and records."""

    def reopen(self) -> None:
        """Begin all files anew."""

    def close(self) -> Deferred[None]:
        """Write what waits."""


class GatewayService(Service):
    """Starts and stops the rooms.  Owned by twistd; made by ``make_service``."""

    name = "msrpgw"

    def __init__(
        self,
        sip: SipSide,
        msrp: MsrpSide,
        gateway: Middle,
        journal: IJournal,
        config: Config,
        random: Callable[[int], bytes],
        program: Reloadable,
        management: ManagementSide,
        sinks: SinksSide,
        timers: Timers,
        notifier: Notifier,
        names: NamesSide,
        admission: Admission | None = None,
        registrations: RegistrationSide | None = None,
    ) -> None:
        self._registrations = registrations
        self._admission = admission
        self._sip = sip
        self._msrp = msrp
        self._gateway = gateway
        self._journal = journal
        self._config = config
        self._random = random
        self._program = program
        self._management = management
        self._sinks = sinks
        self._timers = timers
        self._notifier = notifier
        self._names = names
        self._watchdog: Timer | None = None

    def startService(self) -> None:
        """Start all, and say what listens where.  Raises StartError, all stopped again."""
        directory = self._config.state.directory
        self._check_state_directory(directory)
        try:
            self._gateway.use_key(load_key(directory, self._random))
            self._journal.open(self._gateway.resume)
        except JournalError as error:
            self._fail(str(error))
        self._names.start()
        try:
            msrp = (self._config.msrp.listen, self._config.msrp.listen_tls or "")
            self._listen("MSRP", "[msrp] listen", msrp, self._msrp.listen)
            self._gateway.start()
            self._listen("SIP", "[sip] listen", self._config.sip.listen, self._sip.start)
            manage = self._config.manage
            places = (*manage.http, manage.datagram or "", manage.fifo or "")
            self._listen("management", "[manage]", places, self._management.start)
        except StartError:
            self._stopping()
            raise
        Service.startService(self)
        _log.info(
            "msrpgw {version} is ready: SIP on {sip}; MSRP on {msrp}",
            version=__version__,
            sip=", ".join(self._sip.addresses()),
            msrp=", MSRPS on ".join(filter(None, (self._msrp.address, self._msrp.tls_address))),
        )
        management = self._management.addresses()
        if management:
            _log.info("management on {places}", places=", ".join(management))
        if not self._journal.durable:
            _log.warn(
                "the journal is in memory only: messages answered 202 that still wait for their"
                " receiver are lost when this process ends"
            )
        if self._admission is not None:
            self._admission.start()
        if self._registrations is not None:
            self._registrations.start()
        self._notifier.tell(READY=1, STATUS="taking requests")
        self._live()

    def _live(self) -> None:
        if self._notifier.interval:
            self._notifier.tell(WATCHDOG=1)
            self._watchdog = self._timers.call_later(self._notifier.interval, self._live)

    def reload(self) -> None:
        """Read the configuration again; what is wrong with it is logged, and changes nothing."""
        self._notifier.tell(RELOADING=1)
        with contextlib.suppress(ValueError):
            self._program.reload()
        self._notifier.tell(READY=1)

    def stopService(self) -> Deferred[None]:
        """Stop all.  Fires when nothing is left; a step that fails does not stop the next."""
        Service.stopService(self)
        _log.info("msrpgw is stopping: ending all sessions")
        self._notifier.tell(STOPPING=1, STATUS="ending all sessions")
        return self._stopping()

    def _stopping(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def reopen(self) -> None:
        """Begin the files of events and records anew: somebody has moved them."""
        self._sinks.reopen()

    async def _stop(self) -> None:
        grace = self._config.gateway.shutdown_grace
        steps: tuple[tuple[str, Callable[[], Deferred[None]]], ...] = (
            ("gateway", lambda: self._gateway.stop(grace)),
            ("MSRP", self._msrp.close),
            ("SIP", self._sip.stop),
            ("journal", self._journal.close),
            ("management", self._management.stop),
            ("events", self._sinks.close),
            ("names", self._names.stop),
        )
        if self._registrations is not None:
            steps = (("registration", self._registrations.stop), *steps)
        for room, stop in steps:
            try:
                await stop()
            except Exception:
                _log.failure("stopping the {room} side failed; going on", room=room)
        if self._admission is not None:
            self._admission.stop()
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _check_state_directory(self, directory: str) -> None:
        if not os.path.isdir(directory):
            self._fail(f"[state] directory: {directory!r} is no directory; make it")
        if not os.access(directory, os.W_OK | os.X_OK):
            self._fail(f"[state] directory: {directory!r} can't be written to by this user")

    def _listen(
        self, what: str, setting: str, listeners: tuple[str, ...], listen: Callable[[], None]
    ) -> None:
        try:
            listen()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            address = str(error.port)  # a path, if it has no interface
            if error.interface is not None:
                host = f"[{error.interface}]" if ":" in error.interface else error.interface
                address = f"{host}:{error.port}"
            # The error does not tell UDP from TCP: name what stands in the configuration.
            where = " or ".join(each for each in listeners if each.endswith(address)) or address
            self._fail(f"{what} can't listen on {where}: {reason}; free it or change {setting}")

    def _fail(self, reason: str) -> None:
        _log.critical("msrpgw can't start: {reason}", reason=reason)
        raise StartError(reason)


def make_journal(config: Config, reactor: IReactorTCP, timers: Timers) -> IJournal:
    """The journal that the configuration asks for, not open yet."""
    if config.journal.backend == "memory":
        return MemoryJournal(config.journal)
    file = Store(os.path.join(config.state.directory, FILE_NAME))
    worker = ThreadWorker(IReactorFromThreads(reactor), "journal")
    return SqliteJournal(file, worker, timers, config.journal, time.time)


def make_tls(config: Config) -> Tls | None:
    """TLS for both sides; None if nothing listens on it.  Raises ConfigError."""
    msrp = config.msrp
    relayed = (msrp.relay_uri or "").startswith("msrps:")
    sip = any(one.startswith("tls:") for one in config.sip.listen)
    if msrp.listen_tls is None and not sip and not relayed:
        return None
    host = split_address(msrp.listen_tls)[0] if msrp.listen_tls is not None else ""
    if msrp.my_uri_tls is not None:
        host = parse_msrp_uri(f"{msrp.my_uri_tls};tcp").host
    return Tls(config.tls, host=host, now=time.time)


def read_relay_secret(msrp: MsrpSettings) -> Secret | None:
    """What we prove to our relay; None without one.  Raises ConfigError."""
    if msrp.relay_uri is None or msrp.relay_password_file is None:
        return None
    name = msrp.relay_username or parse_msrp_uri(f"{msrp.relay_uri};tcp").userinfo
    try:
        return Secret(name, read_password(msrp.relay_password_file))
    except ValueError as error:
        raise ConfigError([f"[msrp] relay_password_file: {error}"]) from None


def make_service(
    config: Config,
    reactor: IReactorTCP,
    random: Callable[[int], bytes] | None = None,
    journal: IJournal | None = None,
    load: Callable[[str | None], Config] | None = None,
    threshold: Threshold | None = None,
    notifier: Notifier | None = None,
) -> GatewayService:
    """Build everything that the configuration asks for.  Nothing listens before the start.

    ``journal``: in place of the configuration's.  ``load`` reads the configuration again, or
    another file; ``threshold`` is that of the log; ``notifier`` tells the service manager.
    Raises ConfigError for a plugin, a template or a certificate that can't be used.
    """
    random = random or Randomness()
    clock = IReactorTime(reactor)
    timers = Timers(clock)
    trusted = TrustedSources(config.security)
    limits = Limits(config.limits, trusted.listed)
    tls = make_tls(config)
    resolver = Resolver(clock, timers, random, config.dns)
    agent = UserAgent(
        clock,
        timers,
        config.sip,
        random,
        allow_source=trusted,
        resolver=resolver,
        tls=tls,
        limits=limits,
    )
    access = Access(config.security, trusted, random, timers.seconds)
    access.guard(agent, config.auth)
    texts = ("*/*" if each == "*" else each for each in config.policy.content_types)
    agent.accept_types = ["application/sdp", *texts]
    endpoint = Endpoint(
        reactor,
        timers,
        random,
        config.msrp,
        allow_source=access.msrp_may_come,
        tls=tls,
        limits=limits,
        relay_secret=read_relay_secret(config.msrp),
    )
    hub = EventHub()
    agent.dead.on_dead = lambda target, reason: hub.raise_event(
        peer_down(target.uri, f"{reason}; next hop black-listed", 0)
    )
    journal = journal or make_journal(config, reactor, timers)
    admission = Admission(agent, timers, limits, time.monotonic, lambda: endpoint.line.waits)
    gateway = Gateway(
        agent,
        endpoint,
        timers,
        config.gateway,
        config.delivery,
        config.notice,
        build_policy(config.policy),
        journal,
        hub,
        random=random,
        now=time.time,
        admission=admission,
    )
    gateway.teller.text = config.events.text
    recorder = Recorder(timers, time.time)
    gateway.teller.recorder = recorder
    sinks = Sinks(
        hub,
        recorder,
        lambda settings: build_sinks(settings, gateway),
        TreqPoster(reactor),
        timers,
        lambda: ThreadWorker(IReactorFromThreads(reactor), "lines"),
        now=time.time,
        new_id=lambda: random(16).hex(),
    )
    sinks.prepare(config.events, config.records)()
    operator = Operator(gateway)
    program = ProgramControl(
        config,
        load or load_config,
        operator,
        sinks,
        access,
        threshold or Threshold(config.log.level),
        lambda: {
            "sip": agent.addresses(),
            "msrp": endpoint.address,
            **({"msrps": endpoint.tls_address} if endpoint.tls_address else {}),
        },
        now=time.time,
        tls=tls,
        limits=limits,
    )
    management = Management(
        reactor,
        timers,
        config.manage,
        operator,
        program,
        hub,
        agent,
        endpoint,
        sinks,
        limits,
        now=time.time,
        seconds=time.monotonic,
        tls=tls,
    )
    return GatewayService(
        agent,
        endpoint,
        gateway,
        journal,
        config,
        random,
        program,
        management,
        sinks,
        timers,
        notifier or Notifier({}),
        ProgramResolver(reactor, resolver),
        admission,
        Registrations(agent),
    )
