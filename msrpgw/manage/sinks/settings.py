"""The configuration's tables ``[events]`` and ``[records]``."""

import os
from collections.abc import Iterable, Iterator
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from msrpgw.gateway.events import EVENTS
from msrpgw.manage.sinks.filters import EventFilter

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class EventFile(EventFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that gets one JSON line for each event."""

    path: str


class Webhook(EventFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A web server that gets one POST for each event."""

    url: str
    #: file with the key that requests are signed with
    secret_file: str | None = None
    #: how long one request may take
    timeout: Seconds = 10.0
    #: how long an event is tried again
    give_up: Seconds = 3600.0


class EventSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where events go besides the log."""

    #: E_MSRP_MSG_RECEIVED carries the message's text
    text: bool = False
    #: JSON lines
    files: tuple[EventFile, ...] = ()
    #: POST requests
    webhooks: tuple[Webhook, ...] = ()
    #: names of ``IEventSinkPlugin`` objects
    plugins: tuple[str, ...] = ()
    #: a table for each plugin, handed to it as it is
    options: dict[str, dict[str, object]] = {}


class RecordSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where what has ended is written down, for billing and audit."""

    #: file with one JSON line for each session that ended
    sessions: str | None = None
    #: file with one JSON line for each message that ended
    messages: str | None = None


def read_secret(path: str) -> bytes:
    """The key in a file.  Raises ValueError when there is none of at least 16 bytes."""
    try:
        with open(path, "rb") as file:
            secret = file.read(4096).strip()
    except OSError as error:
        raise ValueError(f"{path!r}: {error.strerror}") from None
    if len(secret) < 16:
        raise ValueError(f"{path!r} must hold a secret of at least 16 bytes")
    return secret


def find_event_problems(settings: EventSettings) -> Iterator[tuple[str, str]]:
    """What can't be configured in ``[events]``: each key with what is wrong."""
    for file in settings.files:
        yield from _check_path("files", file.path)
        yield from _check_filter("files", file)
    yield from _check_apart("files", [file.path for file in settings.files])
    for hook in settings.webhooks:
        parts = urlsplit(hook.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield "webhooks", f"{hook.url!r} must read http://HOST/... or https://HOST/..."
        if hook.secret_file is not None:
            try:
                read_secret(hook.secret_file)
            except ValueError as error:
                yield "webhooks", f"secret_file {error}"
        yield from _check_filter("webhooks", hook)


def find_record_problems(settings: RecordSettings) -> Iterator[tuple[str, str]]:
    """What can't be configured in ``[records]``: each key with what is wrong."""
    for key in ("sessions", "messages"):
        path = getattr(settings, key)
        if path is not None:
            yield from _check_path(key, path)


def _check_path(key: str, path: str) -> Iterator[tuple[str, str]]:
    if not os.path.isabs(path):
        yield key, f"{path!r}: the path must be absolute"
    elif not os.path.isdir(os.path.dirname(path)):
        yield key, f"{path!r}: there is no directory {os.path.dirname(path)!r}"


def _check_apart(key: str, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            yield key, f"{path!r} stands there twice"
        seen.add(path)


def _check_filter(key: str, wanted: EventFilter) -> Iterator[tuple[str, str]]:
    for pattern in wanted.events:
        if not wanted.names(EVENTS, pattern):
            yield key, f"events: no event is called {pattern!r}"
