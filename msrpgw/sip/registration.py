"""Registers an address of ours at a registrar, and keeps it registered (RFC 3261 §10.2, RFC 5626).

start ──► ASKING ──2xx──► REGISTERED ── before it expires, or the connection is lost ──► ASKING
            │ refused, silent                                                              ▲
            └──► RESTING: Retry-After, or ever longer up to half an hour ──────────────────┘
"""

from collections.abc import Iterator, Sequence
from functools import partial

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from msrpgw.errors import RenderError, SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.fields import NameAddr, parse_contact
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import RegistrationSettings
from msrpgw.sip.stream import Connection
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.timers import Timer

_log = Logger()

#: RFC 5626 §4.5: seconds until the next attempt, doubled each time, up to the second
_BASE, _MOST = 30.0, 1800.0

#: RFC 5626 §4.4.1: seconds between keep-alives on a connection, and until one must be answered
_KEEP_ALIVE, _PONG = 95.0, 10.0

#: seconds that a farewell may take
_FAREWELL = 2.0

#: longest that a registrar may ask us to register for, in seconds
_LONGEST = 7 * 86_400


class Registration:
    """One address of record.  Made by the service, which starts and stops it."""

    def __init__(self, agent: UserAgent, settings: RegistrationSettings) -> None:
        """Raises SipSyntaxError for URIs that are none."""
        uri = parse_uri(settings.aor)
        self.aor = settings.aor
        registrar = settings.registrar or f"{uri.scheme}:{uri.host}"
        parse_uri(registrar)
        self._registrar = registrar
        self._agent = agent
        self._timers = agent.timers
        self._expires = round(settings.expires)
        self._call_id = agent.new_call_id()
        self._tag = agent.new_tag()
        self._cseq = 0
        self._contact = ""  # as the last REGISTER had it
        self._target: Target | None = None  # that it went to
        self._failures = 0
        self._told: bool | None = None  # what the log says: registered, or not
        self._timer: Timer | None = None  # until the next REGISTER
        self._pinging: Timer | None = None
        self._asked = 0  # serial number of the REGISTER under way; others don't count
        self.registered = False
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Register."""
        self._timer = None
        self._register(self._expires)

    def stop(self) -> Deferred[None]:
        """Take the address back; fires when the registrar has answered, or has not for too long."""
        for timer in (self._timer, self._pinging):
            if timer is not None:
                timer.cancel()
        self._timer = self._pinging = None
        if not self.registered:
            self._asked += 1
            return succeed(None)
        self.registered = False
        stopped = self._stopped = Deferred()
        timer = self._timers.call_later(_FAREWELL, self._say_stopped)
        stopped.addCallback(lambda _: timer.cancel())
        self._register(0)
        return stopped

    def _say_stopped(self) -> None:
        stopped, self._stopped = self._stopped, None
        self._asked += 1
        if stopped is not None:
            stopped.callback(None)

    # REGISTER

    def _register(self, expires: int) -> None:
        self._cseq += 1
        self._asked += 1
        request = Request(
            "REGISTER",
            self._registrar,
            Headers(
                [
                    ("From", f"<{self.aor}>;tag={self._tag}"),
                    ("To", f"<{self.aor}>"),
                    ("Call-ID", self._call_id),
                    ("CSeq", f"{self._cseq} REGISTER"),
                    ("Contact", f"<{self._agent.contact_uri()}>"),
                    ("Expires", str(expires)),
                ]
            ),
        )
        try:
            self._agent.request(
                request,
                partial(self._answered, self._asked, request),
                on_target=partial(self._going_to, request),
            )
        except (SipError, RenderError) as error:
            self._failed(f"it can't be sent: {error}", 0.0)

    def _going_to(self, request: Request, target: Target) -> None:
        """The next hop is known: so is where we are reached from there."""
        self._target = target
        uri = parse_uri(self._agent.contact_uri(target.transport, target.host))
        user = parse_uri(self.aor)
        host = f"{uri.host}:{uri.port}" if isinstance(uri, SipUri) and uri.port else uri.host
        name = user.user if isinstance(user, SipUri) and user.user else ""
        suffix = "" if target.transport == "UDP" else f";transport={target.transport.lower()}"
        self._contact = f"sip:{name}{'@' if name else ''}{host}{suffix}"
        request.headers.replace_first("Contact", f"<{self._contact}>")

    def _answered(self, asked: int, request: Request, response: Response) -> None:
        if response.status < 200 or asked != self._asked:
            return
        # Who was asked for credentials has sent it with numbers of their own.
        self._cseq = max(self._cseq, request.cseq.number)
        if self._stopped is not None:
            self._say_stopped()
        elif response.status < 300:
            self._accepted(response)
        elif response.status == 423 and self._may_ask_for(response):
            self._register(self._expires)
        else:
            words = "no answer" if response.local else f"{response.status} {response.reason}"
            self._failed(words, response.retry_after)

    def _may_ask_for(self, response: Response) -> bool:
        """Whether the registrar wants it for longer (§10.2.8), and not for too long."""
        least = (response.headers.get("Min-Expires") or "").strip()
        seconds = int(least) if least.isascii() and least.isdigit() and len(least) < 8 else 0
        if not self._expires < seconds <= _LONGEST:
            return False
        self._expires = seconds
        return True

    def _accepted(self, response: Response) -> None:
        granted = self._granted(response)
        if granted <= 0:
            self._failed("the registrar did not keep the address", 0.0)
            return
        self.registered = True
        self._failures = 0
        if not self._told:
            self._told = True
            _log.info(
                "{aor!r} is registered as {contact!r} for {seconds} s",
                aor=self.aor,
                contact=self._contact,
                seconds=granted,
            )
        self._timer = self._timers.call_later(granted - min(60.0, granted / 2), self.start)
        if self._pinging is None and self._flow() is not None:
            self._pinging = self._timers.call_later(_KEEP_ALIVE, self._ping)

    def _granted(self, response: Response) -> int:
        """Seconds that our address is kept for (§10.2.4)."""
        ours = parse_uri(self._contact).canonical()
        for value in response.headers.get_all("Contact"):
            contacts: list[NameAddr] = []
            try:
                contacts = parse_contact(value)
            except SipError:
                continue
            for contact in contacts:
                if contact.uri.canonical() == ours:
                    return _seconds(contact.parameter("expires")) or self._expires_of(response)
        return self._expires_of(response)

    def _expires_of(self, response: Response) -> int:
        return _seconds(response.headers.get("Expires")) or self._expires

    def _failed(self, reason: str, retry_after: float) -> None:
        self.registered = False
        if self._told is not False:
            self._told = False
            _log.error(
                "{aor!r} is not registered: {reason!r}; trying again", aor=self.aor, reason=reason
            )
        rest = min(_BASE * 2.0**self._failures, _MOST)
        self._failures = min(self._failures + 1, 10)
        # RFC 5626 §4.5: so that all who lost the same registrar don't come back at once.
        share = 0.5 + int.from_bytes(self._agent.random(2), "big") / 131_072
        self._timer = self._timers.call_later(max(rest * share, retry_after), self.start)

    # Keep-alives (RFC 5626 §4.4.1)

    def _flow(self) -> Connection | None:
        target = self._target
        return self._agent.transports.connection(target) if target is not None else None

    def _ping(self) -> None:
        self._pinging = None
        flow = self._flow()
        if flow is None:
            self._lost()
            return
        flow.ping()
        sent = self._timers.seconds()
        self._pinging = self._timers.call_later(_PONG, partial(self._check_pong, flow, sent))

    def _check_pong(self, flow: Connection, sent: float) -> None:
        self._pinging = None
        if flow.alive and flow.heard >= sent:
            self._pinging = self._timers.call_later(_KEEP_ALIVE - _PONG, self._ping)
        else:
            flow.abort()
            self._lost()

    def _lost(self) -> None:
        """Nothing comes to us over a connection that is not there: register anew."""
        if self.registered and self._timer is not None:
            self._timer.cancel()
            self.start()


def _seconds(value: str | None) -> int:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


class Registrations:
    """All of them.  One for the program.  Raises SipSyntaxError for URIs that are none."""

    def __init__(self, agent: UserAgent) -> None:
        self._all = [Registration(agent, each) for each in agent.settings.registrations]

    def start(self) -> None:
        """Register all; the agent listens."""
        for each in self._all:
            each.start()

    def stop(self) -> Deferred[None]:
        """Take all back; fires when that is done, or took too long."""
        stopping = [each.stop() for each in self._all]
        return DeferredList(stopping).addCallback(lambda _: None)

    @property
    def registered(self) -> int:
        """How many are registered."""
        return sum(each.registered for each in self._all)


def find_registration_problems(settings: Sequence[RegistrationSettings]) -> Iterator[str]:
    """Everything that is wrong."""
    for each in settings:
        for text in filter(None, (each.aor, each.registrar)):
            try:
                if not isinstance(parse_uri(text), SipUri):
                    yield f"{text!r} is no sip: or sips: URI"
            except SipError as error:
                yield f"{text!r}: {error.reason}"
