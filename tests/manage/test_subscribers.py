"""Events to those who subscribed, over datagrams and streams."""

import json
from typing import Any

from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage import subscribers
from msrpgw.manage.subscribers import MAX_FAILURES, Subscribers, parse_socket
from msrpgw.timers import Timers
from msrpgw.types import Event
from tests.network import Network

UDP = "udp:127.0.0.1:9000"
TCP = "tcp:127.0.0.1:9001"


class Listener(ServerFactory):
    """Takes one event for each connection."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def buildProtocol(self, addr: object) -> Protocol:
        """One more."""
        listener = self

        class Reader(Protocol):
            def dataReceived(self, data: bytes) -> None:
                listener.events.append(json.loads(data))

        return Reader()


class SubscribersCase(SynchronousTestCase):
    """A network and subscriptions."""

    def setUp(self) -> None:
        self.network = Network()
        self.clock = self.network.clock
        self.wanted: list[frozenset[str]] = []
        self.subscribers = Subscribers(
            self.host(), Timers(self.clock), ["E_X", "E_Y"], self.wanted.append
        )

    def host(self) -> Any:
        """The gateway's, whose UDP sockets can be connected."""
        network = self.network
        host = network.host()
        test = self

        class Port:
            def __init__(self, protocol: Any) -> None:
                self.protocol = protocol
                self.where: tuple[str, int] | None = None
                self.open = True

            def connect(self, host: str, port: int) -> None:
                self.where = (host, port)

            def write(self, data: bytes) -> None:
                test.sent.append((self.where, json.loads(data)))
                if self.where in test.closed:
                    network.clock.callLater(0, self.protocol.connectionRefused)

            def stopListening(self) -> None:
                self.open = False

        def listen(port: int, protocol: Any, interface: str) -> Port:
            made = Port(protocol)
            self.ports.append(made)
            protocol.makeConnection(made)
            return made

        self.sent: list[Any] = []
        self.closed: set[Any] = set()
        self.ports: list[Any] = []
        host.listenUDP = listen  # type: ignore[assignment]
        return host

    def raise_event(self, name: str = "E_X", **parameters: Any) -> None:
        self.subscribers.event_raised(Event(name, parameters))
        self.network.run(0.1)

    def listen(self) -> Listener:
        listener = Listener()
        self.network.host().listenTCP(9001, listener)
        return listener


class DatagramTests(SubscribersCase):
    """event_datagram."""

    def test_notification(self) -> None:
        self.subscribers.subscribe("E_X", UDP, 60)
        self.raise_event(key="k", code=486, strange="\udcff")
        self.raise_event("E_Y")
        self.assertEqual(
            self.sent,
            [
                (
                    ("127.0.0.1", 9000),
                    {
                        "jsonrpc": "2.0",
                        "method": "E_X",
                        "params": {"key": "k", "code": 486, "strange": "\\xff"},
                    },
                )
            ],
        )

    def test_expiry_and_refresh(self) -> None:
        self.subscribers.subscribe("E_X", UDP, 60)
        self.clock.advance(50)
        self.subscribers.subscribe("E_X", UDP, 60)
        self.clock.advance(50)
        self.raise_event()
        self.assertEqual(len(self.sent), 1)
        self.clock.advance(20)
        self.raise_event()
        self.assertEqual(len(self.sent), 1)
        self.assertFalse(self.ports[0].open)
        self.assertEqual(self.subscribers.list(), [])

    def test_unsubscribe(self) -> None:
        """One socket may have several events."""
        for event in ("E_X", "E_Y"):
            self.subscribers.subscribe(event, UDP, 60)
        self.assertEqual(len(self.ports), 1)
        self.subscribers.subscribe("E_X", UDP, 0)
        self.raise_event("E_X")
        self.raise_event("E_Y")
        self.assertEqual([data["method"] for _, data in self.sent], ["E_Y"])
        self.subscribers.subscribe("E_Y", UDP, 0)
        self.assertFalse(self.ports[0].open)

    def test_who_makes_events_hears_which_are_wanted(self) -> None:
        for event, expire in (("E_X", 60), ("E_Y", 10), ("E_X", 90), ("E_X", 0)):
            self.subscribers.subscribe(event, "udp:10.0.0.9:7000", expire)
        self.clock.advance(11)
        self.subscribers.list()
        self.assertEqual(
            self.wanted,
            [frozenset({"E_X"}), frozenset({"E_X", "E_Y"}), frozenset({"E_Y"}), frozenset()],
        )

    def test_list(self) -> None:
        self.subscribers.subscribe("E_Y", UDP, 60)
        self.clock.advance(10)
        self.assertEqual(
            self.subscribers.list(),
            [{"name": "E_Y", "id": 1, "Subscribers": [{"socket": UDP, "expire": 50}]}],
        )

    def test_port_that_is_tcp_in_truth(self) -> None:
        """Refused, it is tried over TCP, beginning with the same event."""
        socket = "udp:127.0.0.1:9001"
        listener = self.listen()
        self.closed.add(("127.0.0.1", 9001))
        self.subscribers.subscribe("E_X", socket, 60)
        for number in range(3):
            self.raise_event(number=number)
        self.assertEqual([each["params"]["number"] for each in listener.events], [0, 1, 2])
        self.assertEqual(len(self.sent), 1)

    def test_nobody_there_at_all(self) -> None:
        self.closed.add(("127.0.0.1", 9000))
        self.subscribers.subscribe("E_X", UDP, 60)
        for _ in range(MAX_FAILURES + 1):
            self.raise_event()
        self.assertEqual(self.subscribers.list(), [])


class StreamTests(SubscribersCase):
    """event_stream."""

    def test_one_connection_for_each_event_in_order(self) -> None:
        listener = self.listen()
        self.subscribers.subscribe("E_X", TCP, 60)
        for number in range(5):
            self.subscribers.event_raised(Event("E_X", {"number": number}))
        self.network.run(1)
        self.assertEqual([each["params"]["number"] for each in listener.events], list(range(5)))
        self.assertEqual(len(self.network.connections), 5)
        self.assertEqual((self.subscribers.sent, self.subscribers.dropped), (5, 0))

    def test_gone(self) -> None:
        """After some failures it is forgotten."""
        self.subscribers.subscribe("E_X", TCP, 60)
        for _ in range(MAX_FAILURES):
            self.assertEqual(len(self.subscribers.list()), 1)
            self.raise_event()
        self.assertEqual(self.subscribers.list(), [])
        self.assertEqual(self.subscribers.dropped, MAX_FAILURES)
        self.raise_event()

    def test_slow(self) -> None:
        """What waits is bounded; others are not slowed."""
        self.patch(subscribers, "MAX_QUEUE", 3)
        self.network.hung.add(("127.0.0.1", 9001))
        self.subscribers.subscribe("E_X", TCP, 600)
        self.subscribers.subscribe("E_X", UDP, 600)
        for _ in range(10):
            self.subscribers.event_raised(Event("E_X", {}))
        self.assertEqual(len(self.sent), 10)
        self.assertEqual(self.subscribers.dropped, 7)


class BadTests(SubscribersCase):
    """What can't be."""

    def test_sockets(self) -> None:
        for text in ("", "udp", "udp:x:1", "udp:127.0.0.1", "udp:127.0.0.1:0", "sctp:127.0.0.1:1"):
            with self.assertRaises(ValueError):
                self.subscribers.subscribe("E_X", text, 60)
        self.assertEqual(parse_socket("udp:[::1]:9"), ("udp", "::1", 9))

    def test_event(self) -> None:
        with self.assertRaisesRegex(ValueError, "there is no event 'E_Z'"):
            self.subscribers.subscribe("E_Z", UDP, 60)

    def test_too_many(self) -> None:
        self.patch(subscribers, "MAX_SUBSCRIPTIONS", 2)
        for port in (1, 2):
            self.subscribers.subscribe("E_X", f"udp:127.0.0.1:{port}", 60)
        self.subscribers.subscribe("E_X", "udp:127.0.0.1:1", 60)
        with self.assertRaisesRegex(ValueError, "there are 2 subscriptions already"):
            self.subscribers.subscribe("E_X", "udp:127.0.0.1:3", 60)

    def test_close(self) -> None:
        self.subscribers.subscribe("E_X", UDP, 60)
        self.subscribers.close()
        self.assertFalse(self.ports[0].open)
