"""Management over HTTP: who gets in, and what is answered."""

import json
import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.http import MAX_BODY, HttpManagement, _remove_stale
from msrpgw.manage.rpc import Command, Dispatcher, Parameter
from msrpgw.manage.settings import ManageSettings

CALL = b'{"jsonrpc": "2.0", "method": "echo", "params": ["x"], "id": 1}'


class HttpCase(SynchronousTestCase):
    """A site without sockets."""

    token: bytes | None = None

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.called: list[str] = []
        self.well = True
        self.manage(ManageSettings(http=("127.0.0.1:8888",)))

    def manage(self, settings: ManageSettings) -> None:
        echo = Command("echo", self.echo, "Echo.", (Parameter("text", str, "what"),))
        self.management = HttpManagement(
            self.reactor,
            settings,
            self.token,
            None,
            Dispatcher([echo]),
            lambda: (b"text/plain; version=0.0.4", b"metric 1\n"),
            lambda: (self.well, {"well": self.well}),
            lambda: (False, {"why": "starting"}),
        )

    def echo(self, text: str) -> str:
        self.called.append(text)
        return text

    def connect(self) -> tuple[Any, StringTransport]:
        protocol = self.management._site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        transport.protocol = protocol  # type: ignore[attr-defined]
        if protocol is not None:
            protocol.callLater = self.reactor.callLater
            protocol.makeConnection(transport)
        return protocol, transport

    def ask(
        self,
        body: bytes = CALL,
        *,
        path: str = "/mi",
        method: str = "POST",
        host: str | None = "127.0.0.1:8888",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        lines = [f"{method} {path} HTTP/1.1"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        protocol, transport = self.connect()
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, rest = transport.value().partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        found = dict(field.lower().split(": ", 1) for field in fields)
        return int(status.split()[1]), found, rest


class CallTests(HttpCase):
    """JSON-RPC."""

    def test_call(self) -> None:
        status, headers, body = self.ask()
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["result"], "x")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(headers["cache-control"], "no-store")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["server"], "msrpgw")

    def test_notification(self) -> None:
        status, _, body = self.ask(b'{"jsonrpc": "2.0", "method": "echo", "params": ["n"]}')
        self.assertEqual((status, body, self.called), (204, b"", ["n"]))

    def test_errors_are_answers(self) -> None:
        for body in (b"{", b"[]", b"\xff"):
            status, _, answer = self.ask(body)
            self.assertEqual(status, 200)
            self.assertIn("error", json.loads(answer))

    def test_content_types(self) -> None:
        for kind in ("application/json", "application/json; charset=utf-8", "application/x"):
            self.assertEqual(self.ask(Content_Type=kind)[0], 200)
        for kind in (
            "text/plain",
            "text/plain;charset=UTF-8",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ):
            self.assertIn(self.ask(Content_Type=kind)[0], (400, 415))
        self.assertEqual(len(self.called), 3)

    def test_too_large(self) -> None:
        """It is refused by its length, before it is there."""
        protocol, transport = self.connect()
        head = "POST /mi HTTP/1.1\r\nHost: localhost\r\n"
        protocol.dataReceived(f"{head}Content-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        self.assertIn(b" 413 ", transport.value())
        self.assertTrue(transport.disconnecting)
        protocol, transport = self.connect()
        protocol.dataReceived(
            b"POST /mi HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.assertIn(b" 413 ", transport.value())
        self.assertEqual(self.called, [])

    def test_slow(self) -> None:
        """Half a request, and then silence."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"POST /mi HTTP/1.1\r\nHost: local")
        self.reactor.pump([1.0] * 61)
        self.assertTrue(transport.disconnecting)

    def test_too_many_connections(self) -> None:
        self.manage(ManageSettings(http=("127.0.0.1:8888",), max_connections=2))
        first, _ = self.connect()
        self.assertIsNotNone(self.connect()[0])
        self.assertIsNone(self.connect()[0])
        first.connectionLost(None)
        self.assertIsNotNone(self.connect()[0])


class GateTests(HttpCase):
    """Who gets in."""

    def test_hosts(self) -> None:
        for host in ("127.0.0.1", "127.0.0.1:8888", "LOCALHOST:8888", None):
            self.assertEqual(self.ask(host=host)[0] in (200, 400), True, host)
        for host in ("evil.example", "127.0.0.1.evil.example", "[::1]", ""):
            self.assertEqual(self.ask(host=host)[0], 403, host)
        self.assertEqual(len(self.called), 3 + (self.ask(host=None)[0] == 200))

    def test_configured_hosts(self) -> None:
        self.manage(ManageSettings(http=("[::1]:8888",), hosts=("gw.example.com",)))
        for host in ("[::1]:8888", "gw.example.com"):
            self.assertEqual(self.ask(host=host)[0], 200)
        self.assertEqual(self.ask(host="127.0.0.1")[0], 403)

    def test_other_sites(self) -> None:
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            self.assertEqual(self.ask(Origin=origin)[0], 403)
        self.assertEqual(self.called, [])
        self.assertEqual(self.ask(Origin="http://127.0.0.1:8888")[0], 200)

    def test_paths_and_methods(self) -> None:
        self.assertEqual(self.ask(path="/")[0], 404)
        self.assertEqual(self.ask(path="/mi/x")[0], 404)
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = self.ask(method=method)
            self.assertEqual((status, headers["allow"]), (405, "post"))
        self.assertEqual(self.ask(path="/metrics")[0], 405)


class TokenTests(HttpCase):
    """With a token."""

    token = b"0123456789abcdef"

    def test_token(self) -> None:
        self.assertEqual(self.ask(Authorization="Bearer 0123456789abcdef")[0], 200)
        for value in ("Bearer 0123456789abcdeX", "Bearer", "Basic 0123456789abcdef", "x"):
            status, headers, _ = self.ask(Authorization=value)
            self.assertEqual((status, headers["www-authenticate"]), (401, 'bearer realm="msrpgw"'))
        self.assertEqual(self.ask()[0], 401)
        self.assertEqual(self.ask(b"", path="/metrics", method="GET")[0], 401)
        self.assertEqual(self.called, ["x"])


class ConditionTests(HttpCase):
    """What machines ask."""

    def test_metrics(self) -> None:
        status, headers, body = self.ask(b"", path="/metrics", method="GET")
        self.assertEqual((status, body), (200, b"metric 1\n"))
        self.assertEqual(headers["content-type"], "text/plain; version=0.0.4")
        status, _, body = self.ask(b"", path="/metrics", method="HEAD")
        self.assertEqual((status, body), (200, b""))

    def test_health(self) -> None:
        for self.well, expected in ((True, 200), (False, 503)):
            status, _, body = self.ask(b"", path="/healthz", method="GET")
            self.assertEqual((status, json.loads(body)), (expected, {"well": self.well}))
        self.assertEqual(self.ask(b"", path="/readyz", method="GET")[0], 503)


class ListenTests(HttpCase):
    """Where it listens."""

    def test_tcp_and_unix(self) -> None:
        path = os.path.abspath(self.mktemp())
        self.manage(ManageSettings(http=("127.0.0.1:8888", f"unix:{path}")))
        self.management.start()
        self.assertEqual(self.reactor.tcpServers[0][0], 8888)
        self.assertEqual(self.reactor.tcpServers[0][3], "127.0.0.1")
        self.assertEqual(self.reactor.unixServers[0][0], path)
        self.assertEqual(self.reactor.unixServers[0][3], 0o600)
        self.successResultOf(self.management.stop())

    def test_stale_socket(self) -> None:
        """What a crash left is removed; what somebody uses, and what is no socket, is not."""
        directory = self.mktemp()
        os.mkdir(directory)
        path = os.path.join(directory, "s")
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(path)
            live.listen()
            _remove_stale(path)
            self.assertTrue(os.path.exists(path))
        _remove_stale(path)
        self.assertFalse(os.path.exists(path))
        _remove_stale(path)
        with open(path, "w", encoding="utf-8"):
            pass
        _remove_stale(path)
        self.assertTrue(os.path.exists(path))
