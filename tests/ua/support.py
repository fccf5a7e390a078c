"""Two users on a network in memory, with nothing between them."""

from typing import Any

from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timers
from msrpgw.ua.users import MsrpUser, PageUser, Received, Sent, Signal
from tests.support import CountingRandom, Network, make_agent


class Hearing:
    """What happened to a user."""

    uri: str

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.sent: list[Sent] = []
        self.states: list[str] = []
        self.signals: list[Signal] = []

    @property
    def texts(self) -> list[str]:
        """The texts that came."""
        return [received.text for received in self.received]

    @property
    def statuses(self) -> list[int]:
        """What became of the texts sent."""
        return [sent.status for sent in self.sent]

    @property
    def wire(self) -> list[str]:
        """The signals, ``>`` for what the user sent."""
        return [
            f"{'>' if one.outgoing else '<'} {one.what} {one.text}".rstrip() for one in self.signals
        ]


class Page(Hearing):
    """A page-mode user."""

    def __init__(self, network: Network, host: str, **behaviour: Any) -> None:
        super().__init__()
        self.uri = f"sip:page@{host}"
        self.agent = make_agent(network, host)
        self.user = PageUser(
            self.agent,
            self.agent.timers,
            self.uri,
            self.received.append,
            on_signal=self.signals.append,
            **behaviour,
        )

    def send(self, to: str, *texts: str) -> None:
        """Send texts."""
        for text in texts:
            self.user.send(to, text, self.sent.append)


class Msrp(Hearing):
    """An MSRP user."""

    def __init__(
        self, network: Network, host: str, *, reachable: bool = True, **behaviour: Any
    ) -> None:
        super().__init__()
        self.uri = f"sip:msrp@{host}"
        self.agent = make_agent(network, host)
        reactor = network.host(host)
        self.endpoint = Endpoint(
            reactor,
            Timers(reactor),
            CountingRandom(f"msrp {host}"),
            MsrpSettings(listen=f"{host}:2855", reachable=reachable),
            allow_source=lambda address: True,
        )
        self.endpoint.listen()
        self.user = MsrpUser(
            self.agent,
            self.endpoint,
            self.agent.timers,
            self.uri,
            self.received.append,
            on_signal=self.signals.append,
            **behaviour,
        )
        self.user.on_state = lambda peer, state: self.states.append(state)

    def send(self, to: str, *texts: str) -> None:
        """Send texts."""
        for text in texts:
            self.user.send(to, text, self.sent.append)
