"""The whole program with ``[tls]``: it listens, and takes new certificates at a reload."""

import datetime
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.config import Config, load
from msrpgw.journal.memory import MemoryJournal
from msrpgw.journal.settings import JournalSettings
from msrpgw.service import GatewayService, make_service
from tests.support import CountingRandom, LogLines
from tests.tls.authority import CA, Issued, issue


class Transport(StringTransport):
    """A peer's TCP connection."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As it likes."""

    setTcpKeepAlive = setTcpNoDelay


class ReloadTests(SynchronousTestCase):
    """A reload is all or nothing."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.log = LogLines(self, "msrpgw")
        (self.folder / "msrpgw.toml").write_text(
            '[sip]\nlisten = ["tls:127.0.0.1:5061"]\n'
            f'[tls]\ncertificate = ["{self.folder}/own.pem"]\n'
            f'[state]\ndirectory = "{self.folder}"\n'
        )
        self.install(issue("a.example", issuer=CA))
        self.reactor = MemoryReactorClock()
        self.service = self.build()
        self.service.startService()

    def build(self) -> GatewayService:
        """The program."""

        def read(path: str | None) -> Config:
            return load(path or str(self.folder / "msrpgw.toml"))

        return make_service(
            read(None),
            self.reactor,
            CountingRandom("reload"),
            MemoryJournal(JournalSettings()),
            load=read,
        )

    def install(self, issued: Issued) -> None:
        """Put a certificate where the program looks for it."""
        issued.write(str(self.folder / "own.pem"))

    def shown(self) -> set[str]:
        """Names in the certificate that a client gets to see."""
        [factory] = [each[1] for each in self.reactor.tcpServers if each[0] == 5061]
        context = ssl.create_default_context(cadata=CA.pem.decode())
        context.check_hostname = False
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(into, out)
        protocol = factory.buildProtocol(None)
        transport = Transport()
        protocol.makeConnection(transport)
        for _ in range(2):
            self.step(client.do_handshake)
            protocol.dataReceived(out.read())
            into.write(transport.value())
            transport.clear()
        certificate = client.getpeercert()
        assert certificate is not None
        return {str(name) for _, name in certificate["subjectAltName"]}

    def step(self, handshake: Callable[[], None]) -> None:
        """Go on as far as it goes."""
        try:
            handshake()
        except ssl.SSLWantReadError:
            return

    def test_a_new_certificate(self) -> None:
        self.assertEqual(self.shown(), {"a.example"})
        self.install(issue("b.example", issuer=CA))
        self.assertEqual(self.shown(), {"a.example"})
        self.service.reload()
        self.assertEqual(self.shown(), {"b.example"})

    def test_one_that_is_no_good(self) -> None:
        for spoil in (
            lambda: self.install(issue("b.example", issuer=CA, expired=True)),
            lambda: os.remove(self.folder / "own.pem"),
        ):
            spoil()
            self.service.reload()
            self.assertIn("was not reloaded, all stays as it was: ", self.log.lines[-1])
            self.assertIn("[tls] certificate: ", self.log.lines[-1])
            self.assertEqual(self.shown(), {"a.example"})

    def test_the_time_that_is_left(self) -> None:
        """So that somebody can be woken before it is over."""
        statistics = self.service._management._numbers  # type: ignore[attr-defined]
        [left] = statistics.get(["tls:certificate_seconds"]).values()
        wanted = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC).timestamp() - time.time()
        self.assertLess(abs(left - wanted), 60)

    def test_listens(self) -> None:
        self.assertIn("tls:127.0.0.1:5061", "\n".join(self.log.lines))
