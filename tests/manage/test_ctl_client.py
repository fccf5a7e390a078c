"""JSON-RPC over HTTP, as ``msrpgw-ctl`` speaks it: where the gateway is, who may, what fails."""

import datetime
import ipaddress
import json
import os
import socket
import ssl
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.ctl import client as client_module
from msrpgw.manage.ctl.client import Client, Tls, Url, parse_url
from msrpgw.manage.ctl.exits import BadAnswer, BadUsage, Exit, NoGateway, NotAllowed, Refused
from tests.manage.ctl_support import CtlCase, Error, FakeGateway


def make_certificate(directory: Path, name: str) -> str:
    """A certificate of 127.0.0.1 that vouches for itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path)


class UrlTests(SynchronousTestCase):
    """Where the gateway is."""

    def test_read(self) -> None:
        for text, url in (
            ("http://127.0.0.1:8888/mi", Url("http", "127.0.0.1", 8888, "/mi")),
            ("http://localhost", Url("http", "localhost", 80, "/mi")),
            ("https://gw.example.com/", Url("https", "gw.example.com", 443, "/mi")),
            ("http://[::1]:1/a/b", Url("http", "::1", 1, "/a/b")),
            ("unix:/run/msrpgw/mi.socket", Url("unix", "", 0, "/run/msrpgw/mi.socket")),
        ):
            self.assertEqual(parse_url(text), url)

    def test_refused(self) -> None:
        for text in (
            "",
            "127.0.0.1:8888",
            "ftp://x/mi",
            "http://",
            "http://x:y/mi",
            "http://x:99999/mi",
            "http://[::1/mi",
            "http://user:secret@x/mi",
            "http://x/mi?a",
            "http://x/mi#a",
            "http://x/m i",
            "http://x/mi\r\nHost: y",
            "http://b\u00f6b/mi",
            "unix:relative",
        ):
            with self.assertRaises(BadUsage):
                parse_url(text)


class ClientTests(CtlCase):
    """Questions and answers."""

    def client(self, url: str | None = None, timeout: float = 5.0) -> Client:
        return Client(url or self.gateway.url, timeout=timeout)

    def test_result(self) -> None:
        self.answers["x"] = lambda params: params
        self.assertEqual(self.client().call("x", a=[1], b="\u00e4"), {"a": [1], "b": "\u00e4"})
        self.assertEqual(self.gateway.paths, ["/mi"])
        self.assertEqual(self.gateway.headers[0]["Content-Type"], "application/json")

    def test_errors(self) -> None:
        for code, status in (
            (404, Exit.NOT_FOUND),
            (401, Exit.NOT_ALLOWED),
            (403, Exit.NOT_ALLOWED),
            (500, Exit.REFUSED),
            (-32602, Exit.REFUSED),
        ):
            self.answers["x"] = Error(code, "No", {"why": "x"})
            with self.assertRaises(Refused) as caught:
                self.client().call("x")
            error = caught.exception
            self.assertEqual((error.code, error.error_code), (status, code))
            self.assertEqual((str(error), error.data), (f"{code} No", {"why": "x"}))

    def test_not_allowed(self) -> None:
        for status in (401, 403):
            self.gateway.raw = (status, b"A bearer token is needed\x1b[2J\n")
            with self.assertRaises(NotAllowed):
                self.client().call("x")
            self.assertEqual(self.ctl("status"), Exit.NOT_ALLOWED)
            said = f"{status}: A bearer token is needed\\x1b[2J\n"
            self.assertTrue(self.err.getvalue().endswith(said), self.err.getvalue())

    def test_no_json_rpc(self) -> None:
        for body in (
            b"",
            b"<html>",
            b"\xff",
            b"[]",
            b"1",
            b"{}",
            b'{"result": 1}',
            b'{"result": 1, "id": 2}',
            b'{"result": NaN, "id": 1}',
            b'{"error": "x"}',
            b"[" * 100_000,
        ):
            self.gateway.raw = (200, body)
            with self.assertRaises(BadAnswer):
                self.client().call("x")

    def test_an_error_counts_whatever_http_says(self) -> None:
        self.gateway.raw = (400, b'{"jsonrpc": "2.0", "error": {"code": -32700}, "id": null}')
        with self.assertRaises(Refused):
            self.client().call("x")

    def test_too_long(self) -> None:
        self.patch(client_module, "MAX_ANSWER", 1000)
        self.answers["x"] = "x" * 1000
        with self.assertRaises(BadAnswer):
            self.client().call("x")

    def test_unix(self) -> None:
        gateway = FakeGateway(str(self.directory() / "mi"))
        self.addCleanup(gateway.stop)
        gateway.answers["x"] = "OK"
        self.assertEqual(self.client(gateway.url).call("x"), "OK")
        self.assertEqual(gateway.headers[0]["Host"], "localhost")

    def test_nobody_there(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
            for url in (nobody, f"unix:{self.directory()}/x"):
                with self.assertRaises(NoGateway):
                    self.client(url).call("x")
            self.assertEqual(self.ctl("status", url=nobody), Exit.NO_GATEWAY)

    def test_no_permission(self) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(client_module.HTTPConnection, "connect", refuse)
        with self.assertRaises(NotAllowed):
            self.client().call("x")

    def test_no_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with self.assertRaises(NoGateway) as caught:
                self.client(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.05).call("x")
            self.assertIn("within 0.05 s", str(caught.exception))

    def test_an_answer_that_drips(self) -> None:
        now = [0.0]

        def monotonic() -> float:
            now[0] += 0.6
            return now[0]

        self.answers["x"] = "x" * 1_000_000
        with self.assertRaises(NoGateway):
            Client(self.gateway.url, timeout=1.0, monotonic=monotonic).call("x")

    def test_something_else(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def greet() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"220 mail.example.com\r\n")

            thread = Thread(target=greet, daemon=True)
            thread.start()
            with self.assertRaises(BadAnswer):
                self.client(f"http://127.0.0.1:{server.getsockname()[1]}").call("x")
            thread.join()


class TlsTests(CtlCase):
    """https."""

    def setUp(self) -> None:
        super().setUp()
        directory = self.directory()
        self.theirs = make_certificate(directory, "theirs")
        self.ours = make_certificate(directory, "ours")
        self.other = make_certificate(directory, "other")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.theirs)
        # In TLS 1.3 the client goes on before its certificate is looked at, and what it has sent
        # then may reset the connection before the refusal is read.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.ours)
        context.verify_mode = ssl.CERT_REQUIRED
        self.secure = FakeGateway(tls=context)
        self.addCleanup(self.secure.stop)
        self.secure.answers["x"] = "OK"

    def call(self, **files: str) -> object:
        return Client(self.secure.url, timeout=5.0, tls=Tls(**files)).call("x")

    def test_certificates(self) -> None:
        self.assertEqual(self.call(ca=self.theirs, certificate=self.ours), "OK")
        given = ("--ca", self.theirs, "--certificate", self.ours, "--key", self.ours)
        shown = self.ok(*given, "mi", "x", url=self.secure.url)
        self.assertEqual(json.loads(shown), "OK")

    def test_who_is_this(self) -> None:
        with self.assertRaises(NoGateway) as caught:
            self.call(certificate=self.ours)
        self.assertIn("--ca", str(caught.exception))

    def test_who_are_we(self) -> None:
        for files in ({}, {"certificate": self.other}):
            with self.assertRaises(NotAllowed):
                self.call(ca=self.theirs, **files)

    def test_bad_files(self) -> None:
        for files in (
            {"ca": os.devnull + "x"},
            {"certificate": os.devnull},
            {"key": self.ours},
        ):
            with self.assertRaises(BadUsage):
                self.call(**files)
        with self.assertRaises(BadUsage):
            Client(self.gateway.url, timeout=1.0, tls=Tls(ca=self.theirs))
