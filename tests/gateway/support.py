"""A gateway with users around it, all in memory on one clock."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.admission import Admission
from msrpgw.gateway.events import EventHub
from msrpgw.gateway.gateway import Gateway
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.settings import (
    DeliverySettings,
    GatewaySettings,
    NoticeSettings,
    PolicySettings,
)
from msrpgw.interfaces import IJournal
from msrpgw.journal.memory import MemoryJournal
from msrpgw.journal.settings import JournalSettings
from msrpgw.limits import Limits
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.timers import Timers
from msrpgw.types import Event
from msrpgw.ua.users import MsrpUser, PageUser, Received, Sent
from tests.network import Network, lose_none
from tests.support import CountingRandom, make_agent

GATEWAY = "127.0.0.1"

#: what a calendar shows when the clock shows 0, in seconds
EPOCH = 1_700_000_000.0


class RecordingSink:
    """Keeps the events that it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event_raised(self, event: Event) -> None:
        """Keep one."""
        self.events.append(event)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Parameters of all events of one name."""
        return [event.parameters for event in self.events if event.name == name]


class Town:
    """A network with a gateway in it, to which users can be added."""

    def __init__(
        self,
        *,
        lost: Callable[[int], bool] = lose_none,
        age: float = 0.0,
        policy: PolicySettings | None = None,
        notice: NoticeSettings | None = None,
        delivery: DeliverySettings | None = None,
        journal: IJournal | None = None,
        sip: dict[str, Any] | None = None,
        msrp: dict[str, Any] | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
        host: str = GATEWAY,
        **settings: Any,
    ) -> None:
        """``age``: what the clock shows at the start; ``settings`` are those of the gateway.

        Messages are tried once, unless ``delivery`` says otherwise, and journaled as soon as they
        have to wait for a call, unless ``hold_setup`` does.  ``network``, ``host``: where
        the gateway is, when it is not the only one.
        """
        self.host = host
        self.journal = journal or MemoryJournal(JournalSettings())
        self.network = network or Network(lost=lost)
        self.clock = self.network.clock
        self.clock.advance(age)
        self.sink = RecordingSink()
        self._sip = sip or {}
        self._msrp = msrp or {}
        self._settings = GatewaySettings(**{"hold_setup": 0.0, **settings})
        self._delivery = delivery or DeliverySettings(message_ttl=0)
        self._notice = notice or NoticeSettings()
        self._policy = policy or PolicySettings()
        self.limits = limits or Limits()
        self._lives = 0
        self.live()

    def live(self) -> None:
        """Start a gateway process: the first, or the next with what the journal has."""
        self._lives += 1
        self.agent = make_agent(
            self.network, self.host, 5060, life=self._lives, limits=self.limits, **self._sip
        )
        self.endpoint = self._endpoint(self.host, 2855, life=self._lives, **self._msrp)
        self.hub = EventHub()
        self.hub.add(self.sink)
        self.gateway = Gateway(
            self.agent,
            self.endpoint,
            self.agent.timers,
            self._settings,
            self._delivery,
            self._notice,
            TemplatePolicy(self._policy),
            self.journal,
            self.hub,
            random=CountingRandom(f"gateway {self.host} {self._lives}"),
            now=lambda: EPOCH + self.clock.seconds(),
            admission=Admission(
                self.agent,
                self.agent.timers,
                self.limits,
                self.clock.seconds,
                lambda: self.endpoint.line.waits,
            ),
        )
        self.gateway.use_key(b"k" * 32)
        self.gateway.start()
        self.journal.open(self.gateway.resume)

    def kill(self) -> None:
        """The gateway's process ends without a chance to do anything about it."""
        self.network.kill(self.host)

    def _endpoint(self, host: str, port: int, life: int = 1, **settings: Any) -> Endpoint:
        reactor = self.network.host(host)
        tls = settings.pop("tls", None)
        relay_secret = settings.pop("relay_secret", None)
        endpoint = Endpoint(
            reactor,
            Timers(reactor),
            CountingRandom(f"msrp {host}:{port}/{life}"),
            MsrpSettings(listen=f"{host}:{port}", **settings),
            allow_source=lambda address: True,
            tls=tls,
            limits=self.limits,
            relay_secret=relay_secret,
        )
        endpoint.listen()
        return endpoint

    def run(self, seconds: float = 1.0, step: float = 0.01) -> None:
        """Let time pass."""
        self.network.run(seconds, step)

    def check_settled(self, test: SynchronousTestCase, sessions: int = 0) -> None:
        """Fail unless each message has had its one outcome, and ``sessions`` are left."""
        gateway = self.gateway
        test.assertEqual(len(gateway.sessions), sessions)
        test.assertEqual(gateway.room.used, 0)
        test.assertEqual(gateway.pages.pending, 0)
        test.assertEqual(gateway.custody.repeated_outcomes, 0)

    def user_agent(self, host: str, port: int = 5060, **settings: Any) -> UserAgent:
        """A SIP user agent that sends everything through the gateway."""
        settings.setdefault("outbound_proxy", f"sip:{self.host}:5060;lr")
        return make_agent(self.network, host, port, **settings)

    def page_user(self, name: str, host: str, **settings: Any) -> "Page":
        """A page-mode user ``sip:name@host``."""
        return Page(self, name, host, **settings)

    def msrp_user(self, name: str, host: str, **settings: Any) -> "Msrp":
        """An MSRP user ``sip:name@host``."""
        return Msrp(self, name, host, **settings)


class Page:
    """A page-mode user and what happened to it."""

    def __init__(self, town: Town, name: str, host: str, **settings: Any) -> None:
        answer = settings.pop("answer", 200)
        self.uri = f"sip:{name}@{host}"
        self.received: list[str] = []
        self.sent: list[Sent] = []
        self.agent = town.user_agent(host, **settings)
        self.user = PageUser(self.agent, self.agent.timers, self.uri, self._got, answer=answer)

    def _got(self, received: Received) -> None:
        self.received.append(received.text)

    def send(self, to: str, *texts: str) -> None:
        """Send texts."""
        for text in texts:
            self.user.send(to, text, self.sent.append)

    @property
    def statuses(self) -> list[int]:
        """What became of the texts sent."""
        return [sent.status for sent in self.sent]


class Msrp:
    """An MSRP user and what happened to it."""

    def __init__(self, town: Town, name: str, host: str, **settings: Any) -> None:
        behaviour = {
            name: settings.pop(name)
            for name in ("refuse", "ring", "answer", "reports")
            if name in settings
        }
        msrp = settings.pop("msrp", {})
        self.uri = f"sip:{name}@{host}"
        self.received: list[str] = []
        self.sent: list[Sent] = []
        self.states: list[str] = []
        self.agent = town.user_agent(host, **settings)
        self.endpoint = town._endpoint(host, 2855, **msrp)
        self.user = MsrpUser(
            self.agent, self.endpoint, self.agent.timers, self.uri, self._got, **behaviour
        )
        self.user.on_state = lambda peer, state: self.states.append(state)

    def _got(self, received: Received) -> None:
        self.received.append(received.text)

    def send(self, to: str, *texts: str) -> None:
        """Send texts."""
        for text in texts:
            self.user.send(to, text, self.sent.append)

    @property
    def statuses(self) -> list[int]:
        """What became of the texts sent."""
        return [sent.status for sent in self.sent]
