"""The MESSAGEs that tell a page user what was not delivered.

Imports templates and settings.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from msrpgw.errors import ConfigError
from msrpgw.gateway.settings import NoticeSettings
from msrpgw.gateway.templates import Template
from msrpgw.timers import DelayLine, Timers

#: From, To, request URI, Content-Type, body
SendPage = Callable[[str, str, str, str, bytes, int], None]


#: most characters of a text that a notice quotes
_QUOTED = 40

#: what stands between the lines and words of a quoted text
_SPACE = re.compile(r"\s+")


class Failure(msgspec.Struct, frozen=True):
    """What a notice tells."""

    page_uri: str
    msrp_uri: str
    code: int
    reason: str
    text: str = ""  #: first words of the message
    time: str = ""  #: when it came
    others: int = 0  #: how many more failed since the last notice
    hops: int = 0  #: gateways that the message has passed before us


_URIS: dict[str, Callable[[Failure], str]] = {
    "from_uri": lambda facts: facts.page_uri,
    "to_uri": lambda facts: facts.msrp_uri,
}

_SETUP: dict[str, Callable[[Failure], str]] = {
    **_URIS,
    "code": lambda facts: str(facts.code),
    "reason": lambda facts: facts.reason,
}

_MESSAGE: dict[str, Callable[[Failure], str]] = {
    **_SETUP,
    "text": lambda facts: facts.text,
    "time": lambda facts: facts.time,
    "others": lambda facts: f", and {facts.others} more" if facts.others else "",
}

_FIELDS = {
    "from_uri": _URIS,
    "to_uri": _URIS,
    "ruri": _URIS,
    "setup_failed": _SETUP,
    "delayed": _SETUP,
    "message_failed": _MESSAGE,
}


def first_words(content_type: str, body: bytes) -> str:
    """How a notice names a message: the beginning of its text, or its type."""
    if not content_type.lower().lstrip().startswith("text/"):
        return content_type
    text = _SPACE.sub(" ", body[: 8 * _QUOTED].decode("utf-8", "replace")).strip()
    text = "".join(each if each.isprintable() else "?" for each in text)
    if len(text) <= _QUOTED:
        return text
    return text[:_QUOTED].rsplit(" ", 1)[0] + "…"


def time_of_day(epoch: float) -> str:
    """A time as notices write it, in UTC.  ``epoch``: seconds since then."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def compile_templates(settings: NoticeSettings) -> dict[str, Template[Failure]]:
    """The templates of ``[notice]``, by key.

    Raises ConfigError with every template that can't be read.
    """
    problems: list[str] = []
    templates: dict[str, Template[Failure]] = {}
    for key, fields in _FIELDS.items():
        try:
            templates[key] = Template(getattr(settings, key), fields)
        except ValueError as error:
            problems.append(f"[notice] {key}: {error}")
    if problems:
        raise ConfigError(problems)
    return templates


class _Recent:
    """A session that was told something less than ``interval`` ago."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.first: Failure | None = None  # of the messages that failed since then
        self.count = 0


class Notices:
    """Fills in the templates of ``[notice]``; at most one notice to a session in ``interval``.

    What fails meanwhile is told together when the interval is over.
    Raises ConfigError with every template that can't be read.
    """

    def __init__(self, settings: NoticeSettings, timers: Timers, send_page: SendPage) -> None:
        self._send_page = send_page
        self._recent: dict[str, _Recent] = {}  # by key
        self._line: DelayLine[str] = DelayLine(timers, settings.interval, self._interval_over)
        self.configure(settings)

    def configure(self, settings: NoticeSettings) -> None:
        """Use these settings from now on.  Raises ConfigError, and goes on as before."""
        self._templates = compile_templates(settings)
        self._settings = settings
        self._line.delay = settings.interval

    def setup_failed(self, key: str, failure: Failure, *, delayed: bool) -> None:
        """Tell that no session came about.  ``delayed``: the messages wait for another attempt."""
        if key not in self._recent:
            self._send(key, "delayed" if delayed else "setup_failed", failure)

    def message_failed(self, key: str, failure: Failure) -> None:
        """Tell that a message which was accepted was not delivered, now or with others later."""
        recent = self._recent.get(key)
        if recent is None:
            self._send(key, "message_failed", failure)
        else:
            recent.count += 1
            if recent.first is None:
                recent.first = failure

    def _send(self, key: str, body: str, failure: Failure) -> None:
        settings = self._settings
        if not settings.enabled:
            return
        if settings.interval:
            self._recent[key] = _Recent()
            self._line.push(key)
        render = {name: template.render(failure) for name, template in self._templates.items()}
        self._send_page(
            render["from_uri"],
            render["to_uri"],
            render["ruri"],
            settings.content_type,
            render[body].encode("utf-8", "replace"),
            failure.hops,
        )

    def _interval_over(self, key: str) -> None:
        recent = self._recent.pop(key)
        if recent.first is not None:
            failure = msgspec.structs.replace(recent.first, others=recent.count - 1)
            self._send(key, "message_failed", failure)

    def close(self) -> None:
        """Tell now what was still to be told."""
        self._line.clear()
        for key in list(self._recent):
            self._interval_over(key)
        self._line.clear()
