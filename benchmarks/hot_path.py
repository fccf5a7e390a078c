"""The hot path: messages over sessions that are up, floor and gateway in turn.

May import: subjects and what is below it, figures.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.driving import Outcome
from benchmarks.figures import Disturbance, Spread, disturbance, median, ratios, verdict
from benchmarks.subjects import DEFAULTS, Room, Setting, Subject, kamailio, running

ARROWS = {"page2msrp": "page->msrp", "msrp2page": "msrp->page", "both": "both ways"}
RATES = (0, 500, 1000, 5000)  #: messages a second; 0: as many as there can be
#: seconds after which what a fixed rate brought is lost; a closed loop loses nothing
DRAIN = 2


class Load(NamedTuple):
    """What the driver is to do over sessions that are up."""

    way: str
    rate: int = 0  #: messages a second; 0: closed loop
    # So many that what each of them leaves behind for a while weighs as it does in service: the
    # floor's timers for 5 s, the gateway's transactions for 32 s.
    messages: int = 30_000
    warmup: int = 5_000
    window: int = 50
    size: int = 100
    chunk: int = 100
    slow: int = 0  #: milliseconds that MSRP users take to answer

    def __str__(self) -> str:
        return f"{self.rate}/s" if self.rate else "saturation"


def load_of(way: str, rate: int, seconds: float = 1.0) -> Load:
    """An open loop for so many seconds, a tenth of it warm-up; a closed one if ``rate`` is 0."""
    if not rate:
        return Load(way)
    return Load(way, rate, int(rate * seconds), max(1, int(rate * seconds / 10)))


class Row(NamedTuple):
    """One load on one setting, measured several times."""

    setting: Setting
    sessions: int
    load: Load
    floor: Sequence[Outcome]
    gateway: Sequence[Outcome]
    kamailio: Sequence[Outcome] = ()

    @property
    def ratio(self) -> Spread:
        """CPU a message, to the floor's."""
        return ratios([each.cpu_us for each in self.gateway], [each.cpu_us for each in self.floor])

    @property
    def ratio_to_kamailio(self) -> Spread | None:
        """The same to Kamailio's, where it was measured."""
        if not self.kamailio:
            return None
        return ratios(
            [each.cpu_us for each in self.gateway], [each.cpu_us for each in self.kamailio]
        )

    @property
    def harmed(self) -> int:
        """Messages that the gateway refused or lost: the rate was too high for this machine."""
        return sum(each.harmed for each in self.gateway)

    @property
    def verdict(self) -> str:
        """Whether the target is met; there is none for both ways at once."""
        return "MISSED" if self.harmed else verdict(self.ratio.median)

    @property
    def driver_busy(self) -> float:
        """The most that the driver needed of its core."""
        return max(each.driver_busy for each in (*self.floor, *self.gateway, *self.kamailio))

    @property
    def disturbance(self) -> Disturbance:
        """What the machine did to floor and gateway meanwhile."""
        return disturbance((*self.floor, *self.gateway))

    def remarks(self) -> Iterator[str]:
        """What makes the row worth less than it seems."""
        if self.driver_busy > 0.8:
            yield "the driver was the bottleneck: don't trust the messages a second"
        if later := sum(each.accepted_later for each in self.gateway):
            yield f"{later} MESSAGEs were answered 202, not 200: overloaded"
        if self.harmed:
            yield f"{self.harmed} messages were refused or lost"
        behind = median(self.gateway, "rate") < 0.98 * self.load.rate
        if behind:
            yield "the gateway did not keep up with the rate"
        if self.disturbance.severe:
            yield f"the machine was not quiet: {self.disturbance}"


def measure(subject: Subject, load: Load, sessions: int) -> Outcome:
    """One load on one subject."""
    if subject.name == "floor":
        # It does not know chunks from messages.
        load = load._replace(chunk=load.size)
    return subject.driver.flow(**load._asdict(), sessions=sessions, drain=DRAIN if load.rate else 0)


def hot_path(
    room: Room,
    runs: int,
    loads: Sequence[Load],
    setting: Setting = DEFAULTS,
    sessions: int = 50,
    with_kamailio: bool = False,
) -> list[Row]:
    """Rows, one for each load.  Each run has fresh processes; in it the subjects take turns."""
    names = ["floor", "gateway"]
    if with_kamailio and kamailio() and setting.transport == "udp":
        names.append("kamailio")
    outcomes: dict[tuple[str, Load], list[Outcome]] = {}
    for _ in range(runs):
        with contextlib.ExitStack() as stack:
            subjects = [stack.enter_context(running(name, room, setting)) for name in names]
            for subject in subjects:
                subject.driver.open(sessions)
            for load in loads:
                for subject in subjects:
                    # It only relays MESSAGEs: one way, whatever becomes of them.
                    if subject.name == "kamailio" and load.way != "page2msrp":
                        continue
                    outcome = measure(subject, load, sessions)
                    outcomes.setdefault((subject.name, load), []).append(outcome)
    return [
        Row(
            *(setting, sessions, load, outcomes["floor", load], outcomes["gateway", load]),
            # A MESSAGE relayed is the same peer for both ways.
            outcomes.get(("kamailio", load._replace(way="page2msrp")), ()),
        )
        for load in loads
    ]
