"""Kamailio's ``msrp`` module as the relay that the gateway's sessions go through (RFC 4976)."""

import os
from pathlib import Path

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred

from msrpgw.config import Config
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.tls.settings import TlsSettings
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import MsrpUser, PageUser
from tests.interop.kamailio import KAMAILIO
from tests.interop.peers import HOST, PeerTestCase, Program, taken
from tests.interop.test_tls import tls_module
from tests.tls.authority import CA, issue, make_tls

#: nearly as the module's documentation has it
ROUTES = """\
debug=2
log_stderror=yes
children=1
auto_aliases=no
tcp_accept_no_cl=yes
listen=%(transport)s:%(host)s:%(port)d
mpath="%(modules)s"
%(tls)s
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "cfgutils.so"
loadmodule "htable.so"
loadmodule "textops.so"
loadmodule "msrp.so"
modparam("htable", "htable", "msrp=>size=8;autoexpire=3600;")
modparam("auth", "qop", "auth")
request_route {
    sl_send_reply("403", "Only MSRP");
}
event_route[msrp:frame-in] {
    msrp_reply_flags("1");
    if (msrp_is_reply()) {
        msrp_relay();
    } else if ($msrp(method) == "AUTH") {
        if (!pv_www_authenticate("relay", "secret", "0", "AUTH")) {
            if (auth_get_www_authenticate("relay", "1", "$var(wauth)")) {
                xlog("L_NOTICE", "asked AUTH\\n");
                msrp_reply("401", "Unauthorized", "$var(wauth)");
            } else {
                msrp_reply("500", "Server Error");
            }
            exit;
        }
        $var(id) = "s" + $RANDOM + "x" + $RANDOM;
        $sht(msrp=>$var(id)::srcaddr) = $msrp(srcaddr);
        $sht(msrp=>$var(id)::srcsock) = $msrp(srcsock);
        $var(path) = "Use-Path: %(scheme)s://%(host)s:%(port)d/" + $var(id) + ";tcp";
        $var(more) = $var(path) + "\\r\\nExpires: 600\\r\\n";
        msrp_reply("200", "OK", "$var(more)");
    } else if ($msrp(method) == "SEND" || $msrp(method) == "REPORT") {
        $var(id) = $msrp(sessid);
        if ($sht(msrp=>$var(id)::srcaddr) == $null) {
            msrp_reply("481", "No such session");
            exit;
        }
        if ($msrp(method) != "REPORT") msrp_reply("200", "OK");
        if ($sht(msrp=>$var(id)::srcaddr) != $msrp(srcaddr)) {
            msrp_relay_flags("1");
            msrp_set_dst("$sht(msrp=>$var(id)::srcaddr)", "$sht(msrp=>$var(id)::srcsock)");
            $sht(msrp=>$var(id)::faraddr) = $msrp(srcaddr);
            $sht(msrp=>$var(id)::farsock) = $msrp(srcsock);
        } else if ($sht(msrp=>$var(id)::faraddr) != $null) {
            msrp_relay_flags("1");
            msrp_set_dst("$sht(msrp=>$var(id)::faraddr)", "$sht(msrp=>$var(id)::farsock)");
        }
        msrp_relay();
    } else {
        msrp_reply("501", "Not Implemented");
    }
}
"""


class RelayTests(PeerTestCase):
    """``sip:alice`` has MESSAGE; ``sip:bob`` has MSRP and knows the gateway's relay alone."""

    if not KAMAILIO:
        skip = "kamailio is not installed (Debian package kamailio)"

    scheme, transport = "msrp", "tcp"

    def setUp(self) -> "Deferred[None]":
        [self.relay_port] = free_ports(1)
        super().setUp()
        self.answers: list[str] = []
        return ensureDeferred(self.until_ready())

    async def until_ready(self) -> None:
        """The relay runs, and has given URIs."""
        self.kamailio = await self.start_relay()
        await self.until(lambda: self.service._msrp.relay_uris == 16, self.kamailio)

    async def start_relay(self) -> Program:
        """Start Kamailio; returns when it listens."""
        directory = self.directory()
        [modules] = Path("/usr/lib").glob("*/kamailio/modules")
        routes = ROUTES % {
            "host": HOST,
            "port": self.relay_port,
            "modules": f"{modules}/",
            "scheme": self.scheme,
            "transport": self.transport,
            "tls": self.tls_lines(directory),
        }
        Path(directory, "kamailio.cfg").write_text(routes)
        kamailio = self.start(
            *(KAMAILIO, "-f", f"{directory}/kamailio.cfg", "-DD", "-E", "-m", "64", "-M", "8"),
            *("-Y", directory, "-w", directory),
            directory=directory,
        )
        await self.until(lambda: taken(self.relay_port, "tcp"), kamailio)
        return kamailio

    def tls_lines(self, directory: str) -> str:
        """Of Kamailio's configuration."""
        return ""

    def configuration(self) -> Config:
        """The gateway's, with the relay."""
        file = Path(self.mktemp()).absolute()
        file.write_text("secret\n")
        config = super().configuration()
        msrp = msgspec.structs.replace(
            config.msrp,
            relay_uri=f"{self.scheme}://gw@{HOST}:{self.relay_port}",
            relay_password_file=str(file),
        )
        return msgspec.structs.replace(config, msrp=msrp)

    def page_user(self) -> tuple[str, PageUser]:
        """``sip:alice``."""
        uri = f"sip:alice@{HOST}:{self.peer_port}"
        agent = self.agent(self.peer_port, self.gateway_port)
        return uri, PageUser(
            agent, self.timers, uri, lambda received: self.answers.append(received.text)
        )

    async def test_opened_by_a_message(self) -> None:
        alice_uri, alice = self.page_user()
        alice.send(self.bob_uri, "one", self.sent.append)
        await self.until(lambda: self.received == ["one"])
        self.bob.send(alice_uri, "two", self.sent.append)
        await self.until(lambda: self.answers == ["two"])
        [session] = self.service._gateway.sessions.values()
        self.assertIn(f":{self.relay_port}/", session.leg.paths[0] + self.bob_path())
        await self.until(lambda: self.service._gateway.room.used == 0)
        self.assertIn("asked AUTH", self.kamailio.output)

    def bob_path(self) -> str:
        """Where Bob's SENDs go first."""
        [call] = self.bob.calls.values()
        peer = call._session.peer
        assert peer is not None
        return " ".join(uri.render() for uri in peer.remote_path)

    async def test_opened_by_an_invite(self) -> None:
        alice_uri, alice = self.page_user()
        self.bob.send(alice_uri, "one", self.sent.append)
        await self.until(lambda: self.answers == ["one"])
        alice.send(self.bob_uri, "two", self.sent.append)
        await self.until(lambda: self.received == ["two"])

    async def test_lost_and_back(self) -> None:
        _, alice = self.page_user()
        alice.send(self.bob_uri, "one", self.sent.append)
        await self.until(lambda: self.received == ["one"])
        await self.kamailio.kill()
        await self.until(lambda: self.service._msrp.relay_uris == 0)
        await self.until_ready()
        alice.send(self.bob_uri, "two", self.sent.append)
        await self.until(lambda: self.received == ["one", "two"])


class TlsTests(RelayTests):
    """The same over TLS, as RFC 4976 has it: the relay's certificate is of a known authority."""

    if KAMAILIO and not tls_module():
        skip = "Kamailio has no TLS here (Debian package kamailio-tls-modules)"

    scheme, transport = "msrps", "tls"

    def tls_lines(self, directory: str) -> str:
        """With a certificate of its own."""
        own = issue(ips=(HOST,), issuer=CA)
        Path(directory, "own.pem").write_bytes(own.pem)
        Path(directory, "key.pem").write_bytes(own.key_pem())
        return (
            'enable_tls=yes\nloadmodule "tls.so"\nmodparam("tls", "tls_method", "TLSv1.2+")\n'
            f'modparam("tls", "certificate", "{directory}/own.pem")\n'
            f'modparam("tls", "private_key", "{directory}/key.pem")\n'
        )

    def configuration(self) -> Config:
        """The gateway listens for no TLS itself, and knows the authority."""
        ca = Path(self.mktemp()).absolute()
        ca.write_bytes(CA.pem)
        return msgspec.structs.replace(super().configuration(), tls=TlsSettings(ca_file=str(ca)))

    def msrp_user(self, proxy: int) -> MsrpUser:
        """``sip:bob``, who has MSRPS."""
        endpoint = Endpoint(
            reactor,
            self.timers,
            os.urandom,
            MsrpSettings(listen=f"{HOST}:0", listen_tls=f"{HOST}:0", require_tls=True),
            allow_source=lambda address: True,
            tls=make_tls(self.mktemp(), issue(ips=(HOST,), issuer=CA), host=HOST),
        )
        endpoint.listen()
        self.addCleanup(endpoint.close)
        agent = self.agent(self.user_port, proxy)
        user = MsrpUser(agent, endpoint, self.timers, self.bob_uri, self.came, reports=True)
        self.addCleanup(user.leave)
        return user
