"""Everything over TLS: MESSAGE to MSRPS and back through Kamailio, and peers that are not right."""

import os
import re
import socket
from pathlib import Path

import msgspec
from twisted.internet import reactor

from msrpgw.auth.client import Keyring, Secret
from msrpgw.auth.settings import AuthSettings, Credential
from msrpgw.config import Config, StateSettings
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.tls.contexts import Tls
from msrpgw.tls.settings import TlsSettings
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import MsrpUser, PageUser, Received
from tests.interop.kamailio import KAMAILIO, ProxiedTestCase
from tests.interop.peers import HOST, T1, PeerTestCase, installed
from tests.support import LogLines
from tests.tls.authority import CA, Issued, issue, make_authority, make_tls

OPENSSL = installed("openssl")


def tls_module() -> bool:
    """Whether Kamailio can do TLS here."""
    return any(Path("/usr/lib").glob("*/kamailio/modules/tls.so"))


class OverTls(PeerTestCase):
    """Each hop is TLS, and each side asks for the other's certificate."""

    def configuration(self) -> Config:
        """The gateway's: whoever connects must have a certificate."""
        self.log = LogLines(self, "msrpgw")
        self.answers: list[str] = []
        own = issue(ips=(HOST,), issuer=CA).write(self.mktemp())
        ca = self.mktemp()
        Path(ca).write_bytes(CA.pem)
        [self.msrps_port] = free_ports(1)
        return Config(
            sip=SipSettings(
                listen=(f"tls:{HOST}:{self.gateway_port}",),
                outbound_proxy=f"sip:{HOST}:{self.gateway_proxy_port};lr;transport=tls",
                t1=T1,
                t2=8 * T1,
            ),
            msrp=MsrpSettings(
                listen=f"{HOST}:{self.msrp_port}",
                listen_tls=f"{HOST}:{self.msrps_port}",
                require_tls=True,
            ),
            tls=TlsSettings(certificate=(own,), ca_file=ca, require_client_certificate=True),
            gateway=GatewaySettings(backoff=0.0, shutdown_grace=1.0),
            state=StateSettings(directory=self.state_directory()),
        )

    def uri(self, name: str, port: int) -> str:
        """Of a user."""
        return f"sip:{name}@{HOST}:{port};transport=tls"

    def tls(self, own: Issued) -> Tls:
        """A user's."""
        return make_tls(self.mktemp(), own, host=HOST)

    def agent(self, port: int, proxy: int) -> UserAgent:
        """A user's, over TLS."""
        agent = UserAgent(
            reactor,
            self.timers,
            SipSettings(
                listen=(f"tls:{HOST}:{port}",),
                outbound_proxy=f"sip:{HOST}:{proxy};lr;transport=tls",
            ),
            os.urandom,
            allow_source=lambda address: True,
            tls=self.tls(issue(ips=(HOST,), issuer=CA)),
        )
        agent.start()
        self.addCleanup(agent.stop)
        return agent

    def msrp_user(self, proxy: int) -> MsrpUser:
        """``sip:bob``, whose MSRPS certificate is his own word alone."""
        self.bob_uri = self.uri("bob", self.user_port)
        agent = self.agent(self.user_port, self.proxy_port)
        self.endpoint = Endpoint(
            reactor,
            self.timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0", listen_tls=f"{HOST}:0"),
            allow_source=lambda address: True,
            tls=self.tls(issue()),
        )
        self.endpoint.listen()
        self.addCleanup(self.endpoint.close)
        user = MsrpUser(agent, self.endpoint, self.timers, self.bob_uri, self.came)
        self.addCleanup(user.leave)
        return user

    def page_user(self) -> tuple[str, PageUser]:
        """``sip:alice``."""
        uri = self.uri("alice", self.peer_port)
        agent = self.agent(self.peer_port, self.proxy_port)
        return uri, PageUser(agent, self.timers, uri, self.answered)

    def answered(self, received: Received) -> None:
        self.answers.append(received.text)


class KamailioTests(OverTls, ProxiedTestCase):
    """Kamailio between all of them."""

    if KAMAILIO and not tls_module():
        skip = "Kamailio has no TLS here (Debian package kamailio-tls-modules)"

    transport = "tls"
    proxy_listens = ("tls",)

    def more(self, directory: str) -> list[str]:
        """Kamailio's certificate, and that it wants to see others'."""
        own = issue(ips=(HOST,), issuer=CA)
        Path(directory, "own.pem").write_bytes(own.pem)
        Path(directory, "key.pem").write_bytes(own.key_pem())
        Path(directory, "ca.pem").write_bytes(CA.pem)
        parameters = {
            "tls_method": '"TLSv1.2+"',
            "certificate": f'"{directory}/own.pem"',
            "private_key": f'"{directory}/key.pem"',
            "ca_list": f'"{directory}/ca.pem"',
            "verify_certificate": "1",
            "require_certificate": "1",
        }
        return [
            "enable_tls=yes",
            f'mpath="{next(Path("/usr/lib").glob("*/kamailio/modules"))}/"',
            'loadmodule "tls.so"',
            *(f'modparam("tls", "{name}", {value})' for name, value in parameters.items()),
        ]

    async def test_both_ways(self) -> None:
        alice_uri, alice = self.page_user()
        alice.send(self.bob_uri, "one", self.sent.append)
        await self.until(lambda: self.received == ["one"])
        self.bob.send(alice_uri, "two", self.sent.append)
        await self.until(lambda: self.answers == ["two"])
        alice.send(self.bob_uri, "three", self.sent.append)
        await self.until(lambda: len(self.received) == 2 and len(self.sent) == 3)
        self.assertEqual(self.sent[-1].status, 200)
        self.assertEqual(self.endpoint.connections, 1)
        [session] = self.endpoint.sessions()
        self.assertTrue(session.secure)
        self.assertEqual([line for line in self.log.lines if "TLS handshake" in line], [])
        self.bob.hang_up()
        await self.until(lambda: not self.bob.calls)

    async def test_another_fingerprint(self) -> None:
        """Kamailio hands on what Bob promised, and Bob shows something else."""
        assert self.endpoint.secure is not None
        self.endpoint.secure._tls = self.tls(issue())
        _, alice = self.page_user()
        alice.send(self.bob_uri, "one", self.sent.append)
        wanted = (
            "TLS handshake failed, the certificate has another fingerprint, from 127.0.0.1: MSRPS"
        )
        await self.until(lambda: any(line.startswith(wanted) for line in self.log.lines))
        self.assertEqual(self.received, [])


class DigestTests(KamailioTests):
    """And Kamailio asks each of them for a password, whatever its certificate says."""

    modules_more = (
        'loadmodule "auth.so"\n'
        'modparam("auth", "nonce_count", 1)\n'
        'modparam("auth", "qop", "auth")\n'
        'modparam("auth", "algorithm", "SHA-256")\n'
    )
    admission = """
    if (!is_method("ACK")) {
        if (!pv_proxy_authenticate("kamailio", "secret", "0")) {
            xlog("L_NOTICE", "asked $rm $hdr(Proxy-Authorization)\\n");
            proxy_challenge("kamailio", "1");
            exit;
        }
        consume_credentials();
    }
    """

    def configuration(self) -> Config:
        """The gateway knows its password."""
        file = Path(self.mktemp()).absolute()
        file.write_text("secret\n")
        credential = Credential(realm="kamailio", username="gw", password_file=str(file))
        return msgspec.structs.replace(
            super().configuration(), auth=AuthSettings(credentials=(credential,))
        )

    def agent(self, port: int, proxy: int) -> UserAgent:
        """A user's, who knows it too."""
        agent = super().agent(port, proxy)
        agent.keyring = Keyring({"kamailio": Secret("user", "secret")}, os.urandom)
        return agent

    async def test_both_ways(self) -> None:
        """Each was asked once, then it knew: Alice, the gateway when it called, Bob at the end."""
        await super().test_both_ways()
        asked = re.findall("asked ([A-Z]+) ", self.kamailio.output)
        self.assertEqual(sorted(asked), ["BYE", "INVITE", "MESSAGE"])


class SipsTests(KamailioTests):
    """The same with URIs that want TLS all the way (RFC 3261 §26.2.2)."""

    def uri(self, name: str, port: int) -> str:
        """Of a user."""
        return f"sips:{name}@{HOST}:{port}"


class WrongTests(OverTls):
    """Peers made of openssl, each with something wrong about it."""

    if not OPENSSL:
        skip = "openssl is not installed"

    def write(self, own: Issued) -> str:
        """A file with certificate and key."""
        return str(Path(own.write(self.mktemp())).absolute())

    async def assertProxyRefused(self, own: Issued, words: str) -> None:
        """The gateway calls nobody through a proxy with this certificate."""
        port = str(self.gateway_proxy_port)
        proxy = self.start(OPENSSL, "s_server", "-accept", port, "-cert", self.write(own))
        await self.until(lambda: "ACCEPT" in proxy.output, proxy)
        await self.write_to_bob()
        await self.until(lambda: self.logged("E_MSRP_GW_SETUP_FAILED"))
        self.assertTrue(self.logged(f"TLS handshake failed, {words}, from 127.0.0.1: SIP client"))
        self.assertNotIn("INVITE", proxy.output)

    async def write_to_bob(self) -> None:
        """Alice writes, straight to the gateway."""
        agent = self.agent(self.peer_port, self.gateway_port)
        uri = self.uri("alice", self.peer_port)
        alice = PageUser(agent, self.timers, uri, self.answered)
        alice.send(self.bob_uri, "secret", self.sent.append)
        await self.until(lambda: self.sent)

    def logged(self, words: str) -> bool:
        """Whether the gateway said so."""
        return any(words in line for line in self.log.lines)

    async def test_proxy_of_another_name(self) -> None:
        await self.assertProxyRefused(
            issue("evil.example", issuer=CA), "the certificate has another name"
        )
        self.assertTrue(self.logged("wanted 127.0.0.1, it has evil.example"))

    async def test_proxy_of_another_authority(self) -> None:
        await self.assertProxyRefused(
            issue(ips=(HOST,), issuer=make_authority("Other")),
            "the certificate is of an unknown authority",
        )

    async def test_expired_proxy(self) -> None:
        await self.assertProxyRefused(
            issue(ips=(HOST,), issuer=CA, expired=True), "the certificate has expired"
        )

    async def assertClientRefused(self, words: str, *options: str) -> None:
        """Who connects like this gets no answer to anything."""
        where = f"{HOST}:{self.gateway_port}"
        client = self.start(OPENSSL, "s_client", "-connect", where, "-quiet", *options)
        await self.until(lambda: not client.running)
        self.assertTrue(
            self.logged(f"TLS handshake failed, {words}, from 127.0.0.1: SIP server"),
            self.log.lines,
        )
        self.assertNotIn("SIP/2.0", client.output)

    async def test_client_without_certificate(self) -> None:
        await self.assertClientRefused("no client certificate")

    async def test_clients_with_a_bad_one(self) -> None:
        for own, words in (
            (issue(), "the certificate is of an unknown authority (self-signed)"),
            (issue(issuer=CA, expired=True), "the certificate has expired"),
        ):
            path = self.write(own)
            await self.assertClientRefused(words, "-cert", path, "-key", path)

    async def test_client_of_another_time(self) -> None:
        await self.assertClientRefused("no protocol version in common", "-tls1_1")

    async def test_plain_text(self) -> None:
        with socket.create_connection((HOST, self.gateway_port)) as client:
            client.sendall(b"OPTIONS sip:gw SIP/2.0\r\n\r\n")
            await self.until(
                lambda: self.logged("TLS handshake failed, plain text arrived, from 127.0.0.1")
            )
            client.settimeout(5)
            self.assertNotIn(b"SIP", client.recv(1000))
