"""Kamailio's ``msrp`` module as the relay that the gateway's sessions go through (RFC 4976)."""

from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred

from msrpgw.config import Config
from msrpgw.ua.demo import free_ports
from msrpgw.ua.users import PageUser
from tests.interop.kamailio import KAMAILIO
from tests.interop.peers import HOST, PeerTestCase, Program, taken

#: nearly as the module's documentation has it
ROUTES = """\
debug=2
log_stderror=yes
children=1
auto_aliases=no
tcp_accept_no_cl=yes
listen=tcp:%(host)s:%(port)d
mpath="%(modules)s"
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
        $var(path) = "Use-Path: msrp://%(host)s:%(port)d/" + $var(id) + ";tcp";
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
        routes = ROUTES % {"host": HOST, "port": self.relay_port, "modules": f"{modules}/"}
        Path(directory, "kamailio.cfg").write_text(routes)
        kamailio = self.start(
            *(KAMAILIO, "-f", f"{directory}/kamailio.cfg", "-DD", "-E", "-m", "64", "-M", "8"),
            *("-Y", directory, "-w", directory),
            directory=directory,
        )
        await self.until(lambda: taken(self.relay_port, "tcp"), kamailio)
        return kamailio

    def configuration(self) -> Config:
        """The gateway's, with the relay."""
        file = Path(self.mktemp()).absolute()
        file.write_text("secret\n")
        config = super().configuration()
        msrp = msgspec.structs.replace(
            config.msrp,
            relay_uri=f"msrp://gw@{HOST}:{self.relay_port}",
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
