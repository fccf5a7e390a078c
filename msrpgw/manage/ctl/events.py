"""Events as they come: a UDP port that is subscribed for as long as somebody looks."""

import contextlib
import fnmatch
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from msrpgw.manage.ctl.client import Client
from msrpgw.manage.ctl.exits import BadUsage, CtlError, NoGateway, Refused
from msrpgw.manage.ctl.show import rows_of
from msrpgw.manage.ctl.words import plain

#: seconds that a subscription lives when nobody refreshes it: what is left of a killed command
EXPIRE = 120
#: seconds from one refresh to the next
REFRESH = 60.0
#: seconds to the next attempt when the gateway does not answer a refresh
RETRY = 5.0
#: bytes of the largest datagram
_MAX_DATAGRAM = 65_535


class Received(NamedTuple):
    """One event."""

    name: str
    parameters: dict[str, Any]
    raw: dict[str, Any]  #: the whole notification


def parse_event(datagram: bytes) -> Received | None:
    """A JSON-RPC notification as OpenSIPS's event_datagram sends it; None when it is none."""
    try:
        raw = json.loads(datagram)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("method"), str):
        return None
    params = raw.get("params", {})
    if isinstance(params, list):
        params = {str(number): value for number, value in enumerate(params)}
    if not isinstance(params, dict):
        return None
    return Received(raw["method"], params, raw)


def choose(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that one of the patterns fits; all without patterns.

    Raises BadUsage when a pattern fits none: a misspelt name would wait for ever.
    """
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise BadUsage(f"there is no event {pattern!r}; there are: {', '.join(sorted(names))}")
    return [
        name
        for name in names
        if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]


class LiveEvents:
    """A subscription.  Enter it to subscribe, leave it to unsubscribe."""

    def __init__(
        self,
        client: Client,
        patterns: Sequence[str],
        note: Callable[[str], object],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``note`` takes what has to be said beside the events."""
        self._client = client
        self._patterns = patterns
        self._note = note
        self._monotonic = monotonic
        self._names: list[str] = []
        self._lost = False  # the gateway did not answer the latest refresh
        self._udp, self._where = _open_udp(client)

    def __enter__(self) -> "LiveEvents":
        """Subscribe.  Raises CtlError."""
        try:
            rows = rows_of(self._client.call("events_list"), "Events")
            names = [row["name"] for row in rows if isinstance(row.get("name"), str)]
            self._names = choose(names, self._patterns)
            self._subscribe_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Unsubscribe, if the gateway hears it; else the subscription expires by itself."""
        self._udp.close()
        with contextlib.suppress(CtlError):
            for name in self._names:
                # One that was never subscribed is refused; the others still are to be ended.
                with contextlib.suppress(Refused):
                    self._subscribe(name, 0)

    def _subscribe(self, name: str, expire: int) -> None:
        self._client.call("event_subscribe", event=name, socket=self._where, expire=expire)

    def _subscribe_all(self) -> None:
        for name in self._names:
            self._subscribe(name, EXPIRE)

    def _refresh(self) -> float:
        """Subscribe again; seconds until the next time."""
        try:
            self._subscribe_all()
        except NoGateway as error:
            if not self._lost:
                self._note(f"{plain(error)}; trying again every {RETRY:g} s")
            self._lost = True
            return RETRY
        if self._lost:
            self._note("the gateway answers again; what happened in between is not shown")
        self._lost = False
        return REFRESH

    def __iter__(self) -> Iterator[Received]:
        """Events as they come, without an end.  Raises CtlError when a refresh is refused."""
        refresh_at = self._monotonic() + REFRESH
        while True:
            left = refresh_at - self._monotonic()
            if left <= 0:
                refresh_at = self._monotonic() + self._refresh()
                continue
            self._udp.settimeout(left)
            try:
                datagram = self._udp.recv(_MAX_DATAGRAM)
            except TimeoutError:
                continue
            event = parse_event(datagram)
            if event is not None:
                yield event


def _open_udp(client: Client) -> tuple[socket.socket, str]:
    """A UDP port that the gateway can reach, and how event_subscribe names it."""
    where = client.where
    host, port = where.host or "127.0.0.1", where.port or 9
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        # Connecting sends nothing: it asks which address of ours the gateway would see.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            own = probe.getsockname()[0]
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_048_576)
            udp.bind((own, 0))
        except OSError:
            udp.close()
            raise
    except OSError as error:
        raise NoGateway(f"no UDP port towards {host}: {error.strerror or error}") from None
    shown = f"[{own}]" if family == socket.AF_INET6 else own
    return udp, f"udp:{shown}:{udp.getsockname()[1]}"
