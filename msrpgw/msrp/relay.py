"""A relay of our own (RFC 4976): it is reached once, and lends URIs, one for each session.

    start ──► CONNECTING ──► ASKING (AUTH, 401, AUTH) ──200──► READY: some URIs in stock
                  ▲               │ refused, silent, lost         │
                  └── RESTING ◄───┴───────────────────────────────┘

The connection is ours as long as it lasts, and all sessions behind the relay are on it.

Imports the pure rooms of msrp, connection, settings and timers; the endpoint by name only.
"""

import typing
from collections import deque
from collections.abc import Callable
from functools import partial

from twisted.logger import Logger

from msrpgw.auth.client import Secret
from msrpgw.auth.digest import Challenge, answer_challenge, parse_challenge
from msrpgw.auth.settings import read_password
from msrpgw.errors import MsrpSyntaxError, RenderError, SipError
from msrpgw.msrp.chunks import new_transaction_id
from msrpgw.msrp.connection import Connection
from msrpgw.msrp.frame import Response
from msrpgw.msrp.render import render_auth
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.uri import MsrpUri, parse_msrp_uri, parse_path
from msrpgw.timers import Timer, Timers

_log = Logger()

#: URIs that are kept for sessions to come
STOCK = 16

#: AUTH requests under way at a time
_AT_ONCE = 4

#: seconds until a relay that was lost, or refused us, is tried again; doubled each time
_FIRST_REST, _LAST_REST = 1.0, 60.0

#: seconds that an AUTH may take
_PATIENCE = 10.0

#: seconds before a URI's end when it is no good for anything new, and its session moves
MARGIN = 30.0

#: what we ask for, in seconds, unless the relay wants something else (RFC 4976 §4.6)
_EXPIRES = 3600

#: most times that one request for a URI is sent, each time for another reason
_MOST_TRIES = 4


class Lease(typing.NamedTuple):
    """A way through the relay, for one session."""

    path: tuple[MsrpUri, ...]  #: Use-Path: ours first, as To-Path begins with it (§5.1)
    connection: Connection
    ends: float  #: on the clock


Dial = Callable[[Callable[[Connection], None], Callable[[str], None]], None]


class Relay:
    """Owned by the endpoint, which starts and stops it."""

    patient = True  # what it gets, it asked for

    def __init__(
        self,
        uri: MsrpUri,
        own: Callable[[], MsrpUri],
        secret: Secret,
        timers: Timers,
        random: Callable[[int], bytes],
        dial: Dial,
    ) -> None:
        """``own`` makes URIs of ours; ``dial`` connects, and tells one of two how that ended."""
        self.uri = uri
        self._to_path = uri.render()
        self._own = own
        self._secret = secret
        self._timers = timers
        self._random = random
        self._dial = dial
        self._connection: Connection | None = None
        self._stock: deque[Lease] = deque()
        self._asking: set[_Asking] = set()
        self._attempt = 0  # of coming to a connection, to be told apart
        self._challenge: Challenge | None = None
        self._count = 0  # uses of its nonce
        self._names_uri = True  # whether Authorization has uri=; relays differ
        self._expires = _EXPIRES
        self._rest = _FIRST_REST
        self._timer: Timer | None = None  # until the next attempt, or the end of a URI in stock
        self._proven = False  # whether this connection's AUTHs are answered as they should
        self._told: bool | None = None  # what the log says: there, or not; None: nothing yet
        self._stopped = False

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.uri.scheme == "msrps"

    @property
    def stock(self) -> int:
        """How many URIs wait for a session."""
        return len(self._stock)

    # For sessions

    def take(self) -> Lease:
        """A way for one session.  Raises SipError (480) when there is none at hand."""
        soonest = self._timers.seconds() + MARGIN
        while self._stock:
            lease = self._stock.popleft()
            if lease.ends > soonest and lease.connection is self._connection:
                self._fill()
                return lease
        self._fill()
        raise SipError(
            "The MSRP relay is not available", status=480, headers=(("Retry-After", "5"),)
        )

    # The connection

    def start(self) -> None:
        """Connect, and stay connected."""
        self._timer = None
        self._attempt += 1
        attempt = self._attempt
        self._dial(partial(self._connected, attempt), partial(self._failed, attempt))

    def stop(self) -> None:
        """The end."""
        self._stopped = True
        self._attempt += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self._connection = self._connection, None
        self._forget()
        if connection is not None:
            connection.unbind(self)

    def _forget(self) -> None:
        """All that belonged to a connection."""
        self._stock.clear()
        asking, self._asking = self._asking, set()
        for each in asking:
            each.cancel()

    def _connected(self, attempt: int, connection: Connection) -> None:
        if attempt != self._attempt:
            return
        self._connection = connection
        connection.bind(self)
        self._challenge = None
        self._proven = False
        self._fill()

    def connection_lost(self, reason: str) -> None:
        """The relay hung up, or the network did.  Sessions hear of it by themselves."""
        if self._connection is not None:
            self._connection = None
            self._failed(self._attempt, reason)

    def _failed(self, attempt: int, reason: str) -> None:
        """No relay for now: try again later."""
        if attempt != self._attempt or self._stopped:
            return
        self._attempt += 1
        connection, self._connection = self._connection, None
        self._forget()
        if self._told is not False:
            self._told = False
            _log.error(
                "MSRP relay {uri!r} is not available: {reason!r}; trying again",
                uri=self._to_path,
                reason=reason,
            )
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_later(self._rest, self.start)
        self._rest = min(2 * self._rest, _LAST_REST)
        if connection is not None:
            connection.unbind(self)
            connection.close()

    # URIs

    def _fill(self) -> None:
        """Ask for as many as are missing; for one, until the relay has shown that it gives any."""
        connection = self._connection
        most = _AT_ONCE if self._proven else 1
        while (
            connection is self._connection
            and connection is not None
            and len(self._asking) < most
            and len(self._stock) + len(self._asking) < STOCK
        ):
            asking = _Asking(self, connection)
            self._asking.add(asking)
            asking.send()

    def authorization(self) -> str:
        """What an AUTH must carry; empty while nobody has asked."""
        challenge = self._challenge
        if challenge is None:
            return ""
        self._count += 1
        return answer_challenge(
            challenge,
            self._secret.username,
            self._secret.password,
            "AUTH",
            self._to_path,
            count=self._count,
            cnonce=self._random(8).hex(),
            names_uri=self._names_uri,
        )

    def render(self, transaction_id: str) -> bytes:
        """An AUTH request (§5.1).  Raises RenderError."""
        own = self._own().render()
        return render_auth(transaction_id, self._to_path, own, self.authorization(), self._expires)

    def new_transaction_id(self) -> str:
        """Of an AUTH."""
        return new_transaction_id(self._random, b"")

    def wait(self) -> Timer:
        """Be patient with an AUTH."""
        return self._timers.call_later(_PATIENCE, self._silent)

    def challenged(self, response: Response) -> bool:
        """A 401 came; whether it can be met."""
        challenge = parse_challenge(response.header("www-authenticate"))
        if challenge is None:
            return False
        self._challenge, self._count = challenge, 0
        return True

    def out_of_bounds(self, response: Response) -> bool:
        """A 423 came: ask for as long as the relay likes (§4.6)."""
        wanted = self._expires
        for name, choose in (("min-expires", max), ("max-expires", min)):
            text = response.header(name)
            if text.isascii() and text.isdigit() and len(text) < 8:
                wanted = choose(wanted, int(text))
        changed = wanted != self._expires and wanted > 2 * MARGIN
        self._expires = wanted if changed else self._expires
        return changed

    def granted(self, asking: "_Asking", connection: Connection, response: Response) -> None:
        """A 200 came, with a URI."""
        self._asking.discard(asking)
        text = response.header("expires")
        lifetime = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else _EXPIRES
        try:
            path = parse_path(response.header("use-path"))
        except MsrpSyntaxError as error:
            self.refused(f"its Use-Path can't be read: {error.comment}")
            return
        if lifetime <= MARGIN:
            self.refused(f"its URIs last for {lifetime} s only")
            return
        ends = self._timers.seconds() + lifetime
        self._stock.append(Lease(path, connection, ends))
        self._proven = True
        self._rest = _FIRST_REST
        self._watch_stock(ends - MARGIN)
        if not self._told:
            self._told = True
            _log.info("MSRP relay {uri!r} is ready", uri=self._to_path)
        self._fill()

    def _watch_stock(self, until: float) -> None:
        if self._timer is None:
            delay = max(0.0, until - self._timers.seconds())
            self._timer = self._timers.call_later(delay, self._renew_stock)

    def _renew_stock(self) -> None:
        """Let go of what would end soon, and get others."""
        self._timer = None
        soonest = self._timers.seconds() + MARGIN
        self._stock = deque(lease for lease in self._stock if lease.ends > soonest)
        self._fill()
        if self._stock:
            self._watch_stock(min(lease.ends for lease in self._stock) - MARGIN)

    def refused(self, reason: str) -> None:
        """An AUTH came to nothing."""
        self._names_uri = True
        self._failed(self._attempt, reason)

    def _silent(self) -> None:
        """An AUTH got no answer: some relays don't bear ``uri=``, others want it."""
        self._names_uri = self._challenge is None or not self._names_uri
        self._failed(self._attempt, "no answer to AUTH")


class _Asking:
    """One URI being asked for."""

    def __init__(self, relay: Relay, connection: Connection) -> None:
        self._relay = relay
        self._connection = connection
        self._tries = 0
        self._answered = False  # whether credentials were sent
        self._transaction_id = ""
        self._timer: Timer | None = None

    def send(self) -> None:
        """The AUTH, or once more with what it lacked."""
        self._tries += 1
        self._transaction_id = self._relay.new_transaction_id()
        try:
            data = self._relay.render(self._transaction_id)
        except RenderError as error:
            self._relay.refused(str(error))
            return
        self._connection.transactions[self._transaction_id] = self
        self._timer = self._relay.wait()
        self._connection.write(data)

    def cancel(self) -> None:
        """It is of no more use."""
        self._connection.transactions.pop(self._transaction_id, None)
        if self._timer is not None:
            self._timer.cancel()

    def response_received(self, response: Response) -> None:
        """The relay answered."""
        if self._timer is not None:
            self._timer.cancel()
        relay, status = self._relay, response.status
        if status == 200:
            relay.granted(self, self._connection, response)
        elif self._tries >= _MOST_TRIES:
            relay.refused(f"{status} {response.comment}")
        elif status == 401 and not self._is_hopeless(response) and relay.challenged(response):
            self._answered = True
            self.send()
        elif status == 423 and relay.out_of_bounds(response):
            self.send()
        else:
            relay.refused(f"{status} {response.comment}")

    def _is_hopeless(self, response: Response) -> bool:
        """Whether the password is wrong: it was asked for again, and not for the nonce's age."""
        challenge = parse_challenge(response.header("www-authenticate"))
        return self._answered and challenge is not None and not challenge.stale


def check_relay(settings: MsrpSettings) -> None:
    """Look at ``relay_uri`` and what goes with it.  Raises ValueError, saying what is wrong."""
    text = settings.relay_uri or ""
    try:
        uri = parse_msrp_uri(f"{text};tcp")
    except MsrpSyntaxError as error:
        raise ValueError(f"{text!r}: {error.comment}") from error
    if uri.session_id or uri.parameters:
        raise ValueError(f"{text!r} must read msrps://HOST, with a user before or a port behind")
    if not (settings.relay_username or uri.userinfo):
        raise ValueError("needs relay_username, or a user in it")
    if settings.relay_password_file is None:
        raise ValueError("needs relay_password_file")
    read_password(settings.relay_password_file)
