"""HTTPS, and clients that must show who they are: over real sockets."""

import datetime
import os
import socket
import ssl
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from msrpgw.manage.http import HttpManagement
from msrpgw.manage.rpc import Dispatcher
from msrpgw.manage.settings import ManageSettings, find_problems
from msrpgw.manage.tls import tls_options


class Person:
    """A key and a certificate for it, signed by itself."""

    def __init__(self, directory: str, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(key, hashes.SHA256())
        )
        self.certificate = os.path.join(directory, f"{name}.crt")
        self.key = os.path.join(directory, f"{name}.key")
        with open(self.certificate, "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
        with open(self.key, "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )


class TlsTests(TestCase):
    """One gateway, one client."""

    timeout = 20

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.gateway = Person(self.directory, "gateway")
        self.client = Person(self.directory, "client")

    def settings(self, **changes: Any) -> ManageSettings:
        defaults = {
            "http": ("127.0.0.1:0",),
            "certificate": self.gateway.certificate,
            "private_key": self.gateway.key,
        }
        return ManageSettings(**{**defaults, **changes})

    def listen(self, settings: ManageSettings) -> int:
        """The port."""
        management = HttpManagement(
            reactor,
            settings,
            None,
            tls_options(settings),
            Dispatcher([]),
            lambda: (b"text/plain", b""),
            lambda: (True, {}),
            lambda: (True, {}),
        )
        management.start()
        self.addCleanup(management.stop)
        return int(management.addresses()[0].rpartition(":")[2])

    async def ask(self, port: int, client: Person | None) -> bytes:
        """The first line of the answer."""

        def ask() -> bytes:
            context = ssl.create_default_context(cafile=self.gateway.certificate)
            if client is not None:
                context.load_cert_chain(client.certificate, client.key)
            with (
                socket.create_connection(("127.0.0.1", port), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return secure.recv(15)

        return await deferToThread(ask)

    async def test_https(self) -> None:
        port = self.listen(self.settings())
        self.assertEqual(await self.ask(port, None), b"HTTP/1.1 200 OK")

    async def test_certificate_of_the_client(self) -> None:
        port = self.listen(self.settings(client_ca=self.client.certificate))
        self.assertEqual(await self.ask(port, self.client), b"HTTP/1.1 200 OK")
        for stranger in (None, Person(self.directory, "stranger")):
            with self.assertRaises(ssl.SSLError):
                await self.ask(port, stranger)

    def test_settings(self) -> None:
        """What can't be used is told by its key."""
        good = self.settings(http=("192.0.2.1:1",), client_ca=self.client.certificate)
        self.assertEqual(list(find_problems(good)), [])
        missing = os.path.join(self.directory, "missing")
        for changes, key, text in (
            ({"certificate": missing}, "certificate", f"{missing!r}: No such file or directory"),
            (
                {"certificate": self.gateway.key},
                "certificate",
                f"{self.gateway.key!r} has nothing of that kind in PEM",
            ),
            (
                {"private_key": self.client.key},
                "private_key",
                f"{self.client.key!r} does not belong to the certificate",
            ),
            (
                {"private_key": None},
                "private_key",
                f"{self.gateway.certificate!r} has nothing of that kind in PEM",
            ),
            ({"client_ca": missing}, "client_ca", f"{missing!r}: No such file or directory"),
            ({"certificate": None}, "private_key", "has no effect without certificate"),
        ):
            self.assertEqual(list(find_problems(self.settings(**changes))), [(key, text)])
        exposed = self.settings(http=("192.0.2.1:1",))
        self.assertEqual(
            list(find_problems(exposed)),
            [("http", "'192.0.2.1:1' is off loopback: that needs token_file or client_ca")],
        )
