"""Management over datagrams."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.datagram import MAX_ANSWER, DatagramManagement
from msrpgw.manage.rpc import Command, Dispatcher
from tests.network import Network


class DatagramTests(SynchronousTestCase):
    """A client on the same host."""

    def setUp(self) -> None:
        self.network = Network()
        commands = [
            Command("short", lambda: "x", "Short."),
            Command("long", lambda: "x" * MAX_ANSWER, "Long."),
        ]
        self.management = DatagramManagement(
            self.network.host(), "127.0.0.1:8080", Dispatcher(commands)
        )
        self.management.start()

    def ask(self, request: bytes, source: str = "127.0.0.1") -> list[Any]:
        before = len(self.network.datagrams)
        self.management.datagramReceived(request, (source, 4000))
        sent = self.network.datagrams[before:]
        for datagram in sent:
            self.assertEqual(datagram.target, (source, 4000))
        return [json.loads(datagram.data) for datagram in sent]

    def test_answer(self) -> None:
        (answer,) = self.ask(b'{"jsonrpc": "2.0", "method": "short", "id": "7"}')
        self.assertEqual(answer, {"jsonrpc": "2.0", "result": "x", "id": "7"})

    def test_nothing_to_answer(self) -> None:
        self.assertEqual(self.ask(b'{"jsonrpc": "2.0", "method": "short"}'), [])

    def test_too_long(self) -> None:
        (answer,) = self.ask(b'{"jsonrpc": "2.0", "method": "long", "id": 7}')
        self.assertEqual(answer["id"], 7)
        self.assertIn("limit and after", answer["error"]["data"])

    def test_nonsense(self) -> None:
        (answer,) = self.ask(b"\xff\x00")
        self.assertEqual(answer["error"]["code"], -32700)

    def test_from_elsewhere(self) -> None:
        """Not even an error."""
        request = b'{"jsonrpc": "2.0", "method": "short", "id": 1}'
        self.assertEqual(self.ask(request, "192.0.2.1"), [])
        self.assertEqual(len(self.ask(request, "127.0.0.9")), 1)

    def test_stopped(self) -> None:
        self.assertEqual(self.management.addresses(), ["127.0.0.1:8080"])
        self.successResultOf(self.management.stop())
        self.assertEqual(self.network.udp, {})
        self.assertEqual(self.management.addresses(), [])
