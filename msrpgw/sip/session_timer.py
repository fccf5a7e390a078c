"""The timer of one INVITE dialog (RFC 4028): without refreshes it ends, whoever has gone.

A machine over headers and a clock: the usage puts in what was sent and received, and gets out
headers, ``refresh`` when it is time for one, and ``not_refreshed`` when none came.
"""

import re
from collections.abc import Callable
from typing import Protocol

from msrpgw.errors import SipError
from msrpgw.sip.message import Message, Request, Response
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timer, Timers

#: seconds; nobody may ask for less (§5)
LEAST = 90

_DELTA = re.compile(r"[ \t]*([0-9]{1,10})[ \t]*(?:;(.*))?", re.ASCII | re.DOTALL)
_REFRESHER = re.compile(r"(?:^|;)[ \t]*refresher[ \t]*=[ \t]*(ua[cs])[ \t]*(?:;|$)", re.IGNORECASE)


class SessionTimerOwner(Protocol):
    """Whose timer it is: what sends the refreshes."""

    def refresh(self) -> None:
        """It is time for a refresh of ours."""

    def not_refreshed(self) -> None:
        """The time is over, and none came."""


class SessionTimer:
    """Owned by its usage, which stops it."""

    __slots__ = (
        "_asked",
        "_expires_at",
        "_interval",
        "_least",
        "_ours",
        "_owner",
        "_patience",
        "_settings",
        "_timer",
        "_timers",
    )

    def __init__(self, timers: Timers, settings: SipSettings, owner: SessionTimerOwner) -> None:
        self._timers = timers
        self._settings = settings
        self._owner: SessionTimerOwner | None = owner  # None: closed
        self._least = LEAST  # the largest Min-SE that we were told
        self._patience = 5  # how often we look at a 422
        self._asked = 0  # Session-Expires of our last request
        self._interval = 0  # seconds; 0 while no timer runs
        self._ours = False  # whether the refreshes are
        self._expires_at = 0.0
        self._timer: Timer | None = None  # of our next refresh; after that, and else, of the end

    @property
    def running(self) -> bool:
        """Whether the session ends unless it is refreshed."""
        return self._timer is not None

    # Requests of ours

    def ask(self) -> list[tuple[str, str]]:
        """Headers of an INVITE or UPDATE of ours (§7.1, §7.4)."""
        headers = [("Supported", "timer")]
        wanted = self._interval or round(self._settings.session_expires)
        self._asked = max(wanted, self._least) if wanted else 0
        if self._asked:
            refresher = (
                (";refresher=uac" if self._ours else ";refresher=uas") if self.running else ""
            )
            headers.append(("Session-Expires", f"{self._asked}{refresher}"))
        if self._least > LEAST:
            headers.append(("Min-SE", str(self._least)))
        return headers

    def accepted(self, response: Response) -> None:
        """A 2xx to such a request came: it says for how long, and who refreshes (§7.2)."""
        interval, refresher = _session_expires(response)
        if interval:
            self._start(max(interval, LEAST), refresher != "uas")
        elif self._asked and not _supports(response):
            self._start(self._asked, True)  # the peer knows no timers: it is ours alone
        else:
            self.stop()

    def too_short(self, response: Response) -> bool:
        """A 422 came.  Whether to send the request again, with what ``ask`` says then (§7.3)."""
        least = _delta(response.headers.get("Min-SE"))
        if least <= self._least or not self._patience:
            return False  # it says nothing new, or never stops
        self._least = least
        self._patience -= 1
        return True

    def refresh_later(self) -> None:
        """A refresh failed, or could not be sent: once more, while there is time."""
        left = self._expires_at - self._timers.seconds()
        if self.running and self._ours and left > 4.0:
            self._wait(left / 2, self._due)

    # The peer's

    def check(self, request: Request) -> None:
        """Look at an INVITE or UPDATE before it is accepted.

        Raises SipError (422) for an interval that is too short for us (§9).
        """
        least = round(self._settings.min_se)
        interval, _ = _session_expires(request)
        if 0 < interval < least and _supports(request):
            raise SipError(
                "Session Interval Too Small", status=422, headers=(("Min-SE", str(least)),)
            )

    def grant(self, request: Request) -> list[tuple[str, str]]:
        """Headers of our 2xx to an INVITE or UPDATE, which starts the timer anew (§9)."""
        headers = [("Supported", "timer")]
        supported = _supports(request)
        interval, refresher = _session_expires(request)
        least = max(_delta(request.headers.get("Min-SE")), LEAST)
        self._least = max(self._least, least)
        wanted = round(self._settings.session_expires)
        if interval:
            interval = max(min(interval, wanted or interval), least)
        elif supported and wanted:
            interval, refresher = max(wanted, least), ""
        else:
            self.stop()
            return headers
        # Where the choice is ours we refresh: then it does not hang on a peer that promises
        # timers and forgets them.
        ours = refresher != "uac" or not supported
        headers.append(("Session-Expires", f"{interval};refresher={'uas' if ours else 'uac'}"))
        if supported:
            headers.append(("Require", "timer"))
        self._start(interval, ours)
        return headers

    # Time

    def _start(self, interval: int, ours: bool) -> None:
        self.stop()
        self._interval = interval
        self._ours = ours
        # §10: before the proxies and firewalls on the way forget it.
        left = interval - min(32.0, interval / 3)
        self._expires_at = self._timers.seconds() + left
        if ours:
            self._wait(interval / 2, self._due)
        else:
            self._wait(left, self._over)

    def _wait(self, delay: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_later(delay, then)

    def _due(self) -> None:
        self._wait(self._expires_at - self._timers.seconds(), self._over)
        if self._owner is not None:
            self._owner.refresh()

    def _over(self) -> None:
        self.stop()
        if self._owner is not None:
            self._owner.not_refreshed()

    def stop(self) -> None:
        """No session any more, or none that must be refreshed."""
        self._interval = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The call is over."""
        self.stop()
        self._owner = None  # which has us: no circle


def updates(message: Message) -> bool | None:
    """Whether a peer takes UPDATE, as its Allow says (RFC 3311 §5); None when it says nothing."""
    allowed = message.headers.get_list("Allow")
    return "UPDATE" in allowed if allowed else None


def _supports(message: Message) -> bool:
    first = message.headers.firsts()
    if "supported" not in first and "require" not in first:
        return False
    tags = message.headers.get_list("Supported") + message.headers.get_list("Require")
    return any(tag.lower() == "timer" for tag in tags)


def _session_expires(message: Message) -> tuple[int, str]:
    """Seconds, and ``uac``, ``uas`` or ""; 0 when there is none that can be read."""
    value = message.headers.get("Session-Expires")
    found = _DELTA.fullmatch(value) if value else None
    if found is None:
        return 0, ""
    refresher = _REFRESHER.search(found[2] or "")
    return int(found[1]), refresher[1].lower() if refresher else ""


def _delta(value: str | None) -> int:
    found = _DELTA.fullmatch(value) if value else None
    return int(found[1]) if found else 0
