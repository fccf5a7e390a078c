"""The management interface as a whole: commands, and what carries them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from msrpgw.errors import ConfigError
from msrpgw.gateway.events import EVENTS, EventHub
from msrpgw.gateway.operator import Operator
from msrpgw.histogram import Histogram
from msrpgw.limits import Limits
from msrpgw.manage.commands import Commands, Program
from msrpgw.manage.datagram import DatagramManagement
from msrpgw.manage.fifo import FifoManagement
from msrpgw.manage.http import HttpManagement
from msrpgw.manage.lag import Lag
from msrpgw.manage.metrics import exposition
from msrpgw.manage.settings import ManageSettings, read_token
from msrpgw.manage.sinks.sinks import Sinks
from msrpgw.manage.statistics import Number, Statistics
from msrpgw.manage.subscribers import Subscribers
from msrpgw.manage.tls import tls_options
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.sip.agent import UserAgent
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls


class Management:
    """Listens where ``[manage]`` says.  Owned by the service."""

    def __init__(
        self,
        reactor: Any,
        timers: Timers,
        settings: ManageSettings,
        operator: Operator,
        program: Program,
        hub: EventHub,
        agent: UserAgent,
        endpoint: Endpoint,
        sinks: Sinks,
        limits: Limits,
        *,
        now: Callable[[], float],
        seconds: Callable[[], float],
        tls: Tls | None = None,
    ) -> None:
        """``seconds``: a clock that goes on while the reactor is busy.  ``tls``: of SIP and MSRP.

        Raises ConfigError for a token that can't be used.
        """
        try:
            token = read_token(settings.token_file) if settings.token_file else None
        except ValueError as error:
            raise ConfigError([f"[manage] token_file: {error}"]) from None
        try:
            https = tls_options(settings)
        except ValueError as error:
            key, text = error.args
            raise ConfigError([f"[manage] {key}: {text}"]) from None
        self._hub = hub
        self.subscribers = Subscribers(reactor, timers, EVENTS, self._subscribed)
        self._operator = operator
        self.lag = Lag(timers, seconds)
        self._numbers = Statistics(
            numbers(operator, agent, endpoint, self.subscribers, sinks, self.lag, limits, tls)
        )
        commands = Commands(
            operator, program, self._numbers, self.subscribers, hub, list(EVENTS), now=now
        )
        dispatcher = commands.dispatcher
        self._parts: list[HttpManagement | DatagramManagement | FifoManagement] = []
        if settings.http:
            self._parts.append(
                HttpManagement(
                    reactor,
                    settings,
                    token,
                    https,
                    dispatcher,
                    lambda: exposition(self._numbers, self._histograms()),
                    self.live,
                    self.ready,
                )
            )
        if settings.datagram is not None:
            self._parts.append(DatagramManagement(reactor, settings.datagram, dispatcher))
        if settings.fifo is not None:
            self._parts.append(
                FifoManagement(
                    reactor, timers, settings.fifo, settings.fifo_reply_directory, dispatcher
                )
            )

    def _subscribed(self, names: frozenset[str]) -> None:
        if names:
            self._hub.add(self.subscribers, names)
        else:
            self._hub.remove(self.subscribers)

    def start(self) -> None:
        """Listen.  Raises CannotListenError."""
        for part in self._parts:
            part.start()
        self.lag.start()

    def _histograms(self) -> dict[str, Histogram]:
        durations = self._operator.durations()
        return {**durations, "lag": self.lag.histogram}

    def addresses(self) -> list[str]:
        """What is listened on."""
        return [place for part in self._parts for place in part.addresses()]

    def stop(self) -> Deferred[Any]:
        """Listen no more; subscribers hear nothing more."""
        self.lag.stop()
        self.subscribers.close()
        return gatherResults([part.stop() for part in self._parts])

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether it works at all; no restart would mend a journal that fails."""
        status = self._operator.status()
        return True, {"state": status["state"], "journal_healthy": status["journal"]["healthy"]}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether new sessions are taken."""
        status = self._operator.status()
        ready = status["state"] == "running" and not self._operator.full
        return ready, {
            "state": status["state"],
            "full": self._operator.full,
            "journal_healthy": status["journal"]["healthy"],
        }


def numbers(
    operator: Operator,
    agent: UserAgent,
    endpoint: Endpoint,
    subscribers: Subscribers,
    sinks: Sinks,
    lag: Lag,
    limits: Limits,
    tls: Tls | None = None,
) -> dict[str, Number]:
    """All statistics by their names."""
    found = {f"msrpgw:{name}": Number("gauge", read) for name, read in operator.gauges().items()}
    found |= {
        f"msrpgw:{name}": Number("counter", read) for name, read in operator.counters().items()
    }
    counters = agent.counters
    for name in type(counters).__slots__:
        found[f"sip:{name}"] = Number("counter", partial(getattr, counters, name))
    transactions = agent.transactions
    for name in ("request_retransmissions", "response_retransmissions", "sent_again"):
        found[f"sip:{name}"] = Number("counter", partial(getattr, transactions, name))
    for name in type(endpoint.counters).__slots__:
        found[f"msrp:{name}"] = Number("counter", partial(getattr, endpoint.counters, name))
    for name in type(limits.counters).__slots__:
        found[f"limits:{name}"] = Number("counter", partial(getattr, limits.counters, name))
    resolver = agent.resolver
    for name in type(resolver.counters).__slots__:
        found[f"dns:{name}"] = Number("counter", partial(getattr, resolver.counters, name))
    found["dns:pending"] = Number("gauge", lambda: resolver.pending)
    found["sip:blacklisted"] = Number("gauge", lambda: len(agent.dead))
    found["msrpgw:reactor_lag_ms"] = Number("gauge", lag.worst)
    found["tls:certificate_seconds"] = Number(
        "gauge", lambda: tls.seconds_left if tls is not None else 0
    )
    found["sip:transactions"] = Number("gauge", lambda: len(agent.transactions))
    found["msrp:sessions"] = Number("gauge", lambda: len(endpoint.sessions()))
    found["msrp:connections"] = Number("gauge", lambda: endpoint.connections)
    found["msrp:relay_uris"] = Number("gauge", lambda: endpoint.relay_uris)
    found["msrpgw:events_sent"] = Number("counter", lambda: subscribers.sent)
    found["msrpgw:events_dropped"] = Number("counter", lambda: subscribers.dropped)
    found["msrpgw:lines_written"] = Number("counter", lambda: sinks.lines.written)
    found["msrpgw:lines_dropped"] = Number("counter", lambda: sinks.lines.dropped)
    found["msrpgw:webhooks_sent"] = Number("counter", lambda: sinks.requests.written)
    found["msrpgw:webhooks_dropped"] = Number("counter", lambda: sinks.requests.dropped)
    # What OpenSIPS's module calls it.
    found["msrp_gateway:active_sessions"] = found["msrpgw:sessions"]
    return found
