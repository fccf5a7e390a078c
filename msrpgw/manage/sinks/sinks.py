"""All sinks of events and records, as the configuration has them now."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from msrpgw.errors import ConfigError
from msrpgw.gateway.events import EVENTS, EventHub
from msrpgw.interfaces import IEventSink
from msrpgw.journal.worker import Worker
from msrpgw.manage.sinks.filters import EventFilter
from msrpgw.manage.sinks.lines import AppendedFile, LineFile
from msrpgw.manage.sinks.records import Recorder
from msrpgw.manage.sinks.settings import EventSettings, RecordSettings, Webhook, read_secret
from msrpgw.manage.sinks.tally import Tally
from msrpgw.manage.sinks.webhooks import Poster, WebhookSink
from msrpgw.timers import Timers
from msrpgw.types import Event

#: makes the sinks of the plugins that ``[events]`` names; raises ConfigError
Plugins = Callable[[EventSettings], list[IEventSink]]


@implementer(IEventSink)
class _Filtered:
    """Hands on what a filter lets through."""

    def __init__(self, wanted: EventFilter, take: Callable[[Event], None]) -> None:
        self._wanted = wanted
        self._take = take

    def event_raised(self, event: Event) -> None:
        """Take one event."""
        if self._wanted.wants(event):
            self._take(event)


class Sinks:
    """Owns every sink.  One for the program."""

    def __init__(
        self,
        hub: EventHub,
        recorder: Recorder,
        plugins: Plugins,
        poster: Poster,
        timers: Timers,
        make_worker: Callable[[], Worker],
        *,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._hub = hub
        self._recorder = recorder
        self._plugins = plugins
        self._poster = poster
        self._timers = timers
        self._make_worker = make_worker
        self._now = now
        self._new_id = new_id
        self._at_hub: list[IEventSink] = []
        self._hooks: list[WebhookSink] = []
        self._files: dict[str, tuple[LineFile, Worker]] = {}  # by path
        self.lines = Tally()  #: of events and records in files
        self.requests = Tally()  #: of events to web hooks

    def prepare(self, events: EventSettings, records: RecordSettings) -> Callable[[], None]:
        """Make all that may fail.  What is returned puts it in the place of what there is.

        Raises ConfigError, and everything stays as it is.
        """
        plugins = self._plugins(events)
        hooks = [(hook, self._secret(hook)) for hook in events.webhooks]
        return lambda: self._use(plugins, events, hooks, records)

    def reopen(self) -> None:
        """Begin the files anew: somebody has moved them."""
        for file, _ in self._files.values():
            file.reopen()

    def close(self) -> Deferred[Any]:
        """Write what waits; fires when all is closed."""
        self._leave_hub()
        self._recorder.sessions = self._recorder.messages = None
        return gatherResults([self._close_file(path) for path in list(self._files)])

    def _secret(self, hook: Webhook) -> bytes | None:
        if hook.secret_file is None:
            return None
        try:
            return read_secret(hook.secret_file)
        except ValueError as error:
            raise ConfigError([f"[events] webhooks: secret_file {error}"]) from None

    def _use(
        self,
        plugins: list[IEventSink],
        events: EventSettings,
        hooks: list[tuple[Webhook, bytes | None]],
        records: RecordSettings,
    ) -> None:
        self._leave_hub()
        for plugin in plugins:
            self._add(plugin, None)
        for hook, secret in hooks:
            sink = WebhookSink(
                hook.url,
                secret,
                hook.timeout,
                hook.give_up,
                self._poster,
                self._timers,
                self.requests,
                now=self._now,
                new_id=self._new_id,
            )
            self._hooks.append(sink)
            self._add(_Filtered(hook, sink.put), hook.names(EVENTS))
        wanted = {file.path for file in events.files}
        for file in events.files:
            lines = self._file(file.path)
            self._add(_Filtered(file, self._line_writer(lines)), file.names(EVENTS))
        self._recorder.sessions = self._record_file(records.sessions, wanted)
        self._recorder.messages = self._record_file(records.messages, wanted)
        for path in [each for each in self._files if each not in wanted]:
            self._close_file(path)

    def _add(self, sink: IEventSink, names: frozenset[str] | None) -> None:
        self._at_hub.append(sink)
        self._hub.add(sink, names)

    def _leave_hub(self) -> None:
        for sink in self._at_hub:
            self._hub.remove(sink)
        self._at_hub.clear()
        for hook in self._hooks:
            hook.close()
        self._hooks.clear()

    def _record_file(self, path: str | None, wanted: set[str]) -> LineFile | None:
        if path is None:
            return None
        wanted.add(path)
        return self._file(path)

    def _file(self, path: str) -> LineFile:
        if path not in self._files:
            worker = self._make_worker()
            file = LineFile(path, AppendedFile(path), worker, self._timers, self.lines)
            self._files[path] = (file, worker)
        return self._files[path][0]

    def _close_file(self, path: str) -> Deferred[None]:
        file, worker = self._files.pop(path)
        return file.close().addCallback(lambda _: worker.stop())

    def _line_writer(self, file: LineFile) -> Callable[[Event], None]:
        def write(event: Event) -> None:
            file.put(
                {
                    "time": round(self._now(), 3),
                    "event": event.name,
                    "params": event.parameters,
                }
            )

        return write
