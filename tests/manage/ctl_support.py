"""A gateway's management interface without a gateway, and one run of ``msrpgw-ctl`` against it."""

import io
import json
import socketserver
import ssl
import sys
import tempfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.ctl.exits import Exit
from msrpgw.manage.ctl.run import run

SESSION: dict[str, Any] = {
    "key": "sip:alice@example.com|sip:bob@example.net",
    "state": "up",
    "msrp_uri": "sip:bob@example.net",
    "page_uri": "sip:alice@example.com",
    "session_id": "a1b2c3",
    "called": True,
    "age": 7512.25,
    "idle": 4.5,
    "queued": 0,
    "pages_waiting": 2,
}


class Error(Exception):
    """An error to answer with: code, message, and data if there is any."""


class FakeGateway:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, where: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """``where``: path of a Unix socket; None for a free port of the loopback."""
        self.answers: dict[str, Any] = {}  #: results, errors, or functions of the parameters
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.raw: tuple[int, bytes] | None = None  #: status and body, whatever is asked
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gateway.answer(self)

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return "somebody"

        class UnixServer(socketserver.UnixStreamServer):
            server_name = "localhost"
            server_port = 0

        self.server: socketserver.BaseServer
        if where is not None:
            self.server = UnixServer(where, Handler)  # type: ignore[arg-type]
            self.url = f"unix:{where}"
        else:
            server = HTTPServer(("127.0.0.1", 0), Handler)
            if tls is not None:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            self.server = server
            scheme = "http" if tls is None else "https"
            self.url = f"{scheme}://127.0.0.1:{server.server_port}"
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one POST."""
        self.headers.append(dict(request.headers.items()))
        self.paths.append(request.path)
        body = request.rfile.read(int(request.headers["Content-Length"]))
        status, answer = self.raw or (200, self._result(json.loads(body)))
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def _result(self, asked: dict[str, Any]) -> bytes:
        assert asked["jsonrpc"] == "2.0"
        method, params = asked["method"], asked["params"]
        self.asked.append((method, params))
        answer = self.answers.get(method, Error(-32601, "Method not found"))
        try:
            if callable(answer):
                answer = answer(params)
            if isinstance(answer, Error):
                raise answer
        except Error as error:
            fields = dict(zip(("code", "message", "data"), error.args, strict=False))
            return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": fields}).encode()
        return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}).encode()

    def stop(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class CtlCase(SynchronousTestCase):
    """A gateway, and runs of the command against it."""

    environ: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.addCleanup(self.gateway.stop)
        self.answers = self.gateway.answers
        self.slept: list[float] = []
        self.out = io.StringIO()
        self.err = io.StringIO()

    def directory(self) -> Path:
        """A directory of the test's own, with a short path as Unix sockets need it."""
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        return Path(made.name)

    def ctl(
        self,
        *arguments: str,
        url: str | None = None,
        width: int = 100,
        environ: dict[str, str] | None = None,
        out: Any = None,
        sleep: Callable[[float], object] | None = None,
    ) -> Exit:
        """Run it; ``out`` and ``err`` are of this run alone."""
        self.out = out or io.StringIO()
        self.err = io.StringIO()
        return run(
            ["--url", url or self.gateway.url, *arguments],
            self.out,
            self.err,
            self.environ if environ is None else environ,
            width=width,
            sleep=sleep or self.slept.append,
            wall_clock=lambda: 0.0,
        )

    def ok(self, *arguments: str, **how: Any) -> str:
        """What it prints when all is well."""
        code = self.ctl(*arguments, **how)
        self.assertEqual((code, self.err.getvalue()), (Exit.DONE, ""))
        return self.out.getvalue()

    def refused(self, *arguments: str) -> str:
        """What it says of a bad command line."""
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        with self.assertRaises(SystemExit) as caught:
            self.ctl(*arguments)
        self.assertEqual(caught.exception.code, Exit.USAGE)
        return err.getvalue()
