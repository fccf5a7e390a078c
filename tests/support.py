"""Fakes that the tests of several rooms share: randomness, leak checks, agents on a network."""

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.resolver import Resolver
from msrpgw.dns.servers import Upstream
from msrpgw.dns.settings import DnsSettings
from msrpgw.limits import Limits
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from msrpgw.tls.contexts import Tls
from tests.network import (
    Datagram,
    FakeTcp,
    Host,
    NameServersInMemory,
    Network,
    lose,
    lose_every,
    lose_none,
)

__all__ = [
    "CountingRandom",
    "Datagram",
    "FakeTcp",
    "Host",
    "LogLines",
    "NameServersInMemory",
    "Network",
    "check_no_timers",
    "lose",
    "lose_every",
    "lose_none",
    "make_agent",
    "make_resolver",
]


class LogLines:
    """What is logged under a namespace, as it is written."""

    def __init__(self, test: SynchronousTestCase, namespace: str) -> None:
        self._namespace = namespace
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        test.addCleanup(globalLogPublisher.removeObserver, self._observe)

    def _observe(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith(self._namespace):
            self.lines.append(formatEvent(event))


class CountingRandom:
    """Randomness that is the same in every run, and never the same twice in one."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._numbers = itertools.count(1)

    def __call__(self, size: int) -> bytes:
        """That many bytes."""
        number = next(self._numbers)
        return hashlib.shake_128(f"{self._seed}/{number}".encode()).digest(size)


def check_no_timers(test: SynchronousTestCase, clock: Clock, timers: Timers | None = None) -> None:
    """Fail when anything is still to happen."""
    if timers is not None:
        test.assertEqual(len(timers), 0, "timers are left pending")
    # The wheel of Timers may keep a call for slots whose timers were all cancelled.
    left = [
        call
        for call in clock.getDelayedCalls()
        if not isinstance(wheel := getattr(call.func, "__self__", None), Timers) or len(wheel)
    ]
    test.assertEqual(left, [], "delayed calls are left pending")


def make_resolver(
    network: Network, timers: Timers, upstream: Upstream | None = None, **settings: Any
) -> Resolver:
    """A resolver that asks the network's name servers, unless there are others."""
    settings.setdefault("hosts", "")
    return Resolver(
        network.host(),
        timers,
        CountingRandom("resolver"),
        DnsSettings(**settings),
        upstream or NameServersInMemory(network),
    )


def make_agent(
    network: Network,
    address: str = "127.0.0.1",
    port: int = 5060,
    *,
    allow_source: Callable[[str], bool] = lambda address: True,
    life: int = 1,
    tls: Tls | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> UserAgent:
    """A user agent on the network, started: UDP and TCP unless ``listen`` says otherwise.

    With ``tls`` it listens on port 5061, too.

    ``life``: which of several processes one after the other it is.
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    listen: tuple[str, ...] = (f"udp:{where}", f"tcp:{where}")
    if tls is not None:
        listen += (f"tls:{where.removesuffix(str(port))}5061",)
    settings.setdefault("listen", listen)
    host = network.host(address)
    agent = UserAgent(
        host,
        Timers(host),
        SipSettings(**settings),
        CountingRandom(f"{address}:{port}/{life}"),
        allow_source=allow_source,
        resolver=make_resolver(network, Timers(host)),
        tls=tls,
        limits=limits,
    )
    agent.start()
    return agent
