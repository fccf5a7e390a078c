"""The demo with a lossy link between each user and the gateway: a UDP proxy that drops datagrams.

    python -m tests.interop.lossy_demo SEED PERCENT [options of the demo]

Run by ``test_demo``, as a process of its own because the reactor runs once.
"""

import random
import sys
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.protocols.portforward import ProxyFactory

from msrpgw.ua.demo import HOST, Link, Reach, main


class _Side(DatagramProtocol):
    """One socket of the link.  Sends on what comes to the other one, if it is not dropped."""

    noisy = False

    def __init__(self, link: "LossyLink") -> None:
        self._link = link
        self.other: _Side | None = None
        self.towards: tuple[str, int] | None = None  # whom this side speaks with

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Pass a datagram on through the other side."""
        other = self.other
        assert other is not None and other.transport is not None
        if other.towards is not None and not self._link.drops():
            other.transport.write(datagram, other.towards)


class LossyLink:
    """Stands between one user and the gateway, with a socket towards each.

    To the gateway it is the user, to the user the gateway.  TCP, which long messages need, passes
    as it is.
    """

    def __init__(
        self, reactor: Any, dice: random.Random, share: float, own: int, gateway: int
    ) -> None:
        self._dice = dice
        self._share = share
        self.passed = self.dropped = 0
        user_side, gateway_side = _Side(self), _Side(self)
        user_side.other, gateway_side.other = gateway_side, user_side
        user_side.towards, gateway_side.towards = (HOST, own), (HOST, gateway)
        self.reach = Reach(*(self._listen(reactor, side) for side in (gateway_side, user_side)))

    def _listen(self, reactor: Any, side: _Side) -> int:
        """Open a UDP port, and the same one for TCP."""
        assert side.other is not None and side.other.towards is not None
        while True:
            streams = reactor.listenTCP(0, ProxyFactory(*side.other.towards), interface=HOST)
            number: int = streams.getHost().port
            try:
                reactor.listenUDP(number, side, interface=HOST)
            except CannotListenError:
                streams.stopListening()
            else:
                return number

    def drops(self) -> bool:
        """Throw the dice for one datagram."""
        dropped = self._dice.random() < self._share
        self.dropped += dropped
        self.passed += not dropped
        return dropped


def link_for(reactor: Any, seed: int, percent: float) -> Link:
    """Makes a link for each user; tells in the end what they did."""
    dice = random.Random(seed)
    links: list[LossyLink] = []

    def link(own_port: int, gateway_port: int) -> Reach:
        links.append(LossyLink(reactor, dice, percent / 100, own_port, gateway_port))
        return links[-1].reach

    def tell() -> None:
        dropped = sum(link.dropped for link in links)
        passed = sum(link.passed for link in links)
        print(f"dropped {dropped} of {dropped + passed} datagrams")

    reactor.addSystemEventTrigger("before", "shutdown", tell)
    return link


if __name__ == "__main__":
    _, seed, percent, *rest = sys.argv
    main(rest, lambda reactor: link_for(reactor, int(seed), float(percent)))
