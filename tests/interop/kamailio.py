"""Kamailio as the proxy of an operator: users on one side, the gateway on the other."""

from pathlib import Path

from twisted.internet.defer import Deferred, ensureDeferred

from msrpgw.config import Config, StateSettings
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.settings import SipSettings
from msrpgw.ua.users import MsrpUser
from tests.interop.peers import HOST, T1, PeerTestCase, both, installed, taken

KAMAILIO = installed("kamailio")

#: What comes from users goes to the gateway, what comes from the gateway to its request URI.
ROUTES = """\
debug=1
log_stderror=yes
children=1
auto_aliases=no
%(listen)s
mpath="%(modules)s"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
%(modules_more)s
request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if (is_method("CANCEL")) {
        if (t_check_trans()) t_relay();
        exit;
    }
    %(admission)s
    if (has_totag()) {
        if (!loose_route() && !is_method("ACK")) {
            sl_send_reply("404", "Not Here");
            exit;
        }
        t_relay();
        exit;
    }
    if (is_method("INVITE")) record_route();
    remove_hf("Route");
    if ($Rp == %(users)d) $du = "sip:%(host)s:%(gateway)d;transport=%(transport)s";
    t_relay();
}
"""


class ProxiedTestCase(PeerTestCase):
    """The gateway behind Kamailio: neither side knows the other's SIP address."""

    if not KAMAILIO:
        skip = "kamailio is not installed (Debian package kamailio)"

    transport = "udp"  #: between proxy and gateway
    proxy_listens: tuple[str, ...] = ("udp", "tcp")
    modules_more = ""  #: lines that load others
    admission = ""  #: lines for each request but CANCEL

    def setUp(self) -> "Deferred[None]":
        super().setUp()
        return ensureDeferred(self.start_proxy())

    async def start_proxy(self) -> None:
        """Start Kamailio; returns when it listens."""
        directory = self.directory()
        [modules] = Path("/usr/lib").glob("*/kamailio/modules")
        ports = (self.proxy_port, self.gateway_proxy_port)
        listen = [f"listen={kind}:{HOST}:{port}" for port in ports for kind in self.proxy_listens]
        routes = ROUTES % {
            "host": HOST,
            "listen": "\n".join([*listen, *self.more(directory)]),
            "users": self.proxy_port,
            "gateways": self.gateway_proxy_port,
            "gateway": self.gateway_port,
            "transport": self.transport,
            "modules": f"{modules}/",
            "modules_more": self.modules_more,
            "admission": self.admission,
        }
        Path(directory, "kamailio.cfg").write_text(routes)
        kamailio = self.kamailio = self.start(
            *(KAMAILIO, "-f", f"{directory}/kamailio.cfg", "-DD", "-E", "-m", "64", "-M", "8"),
            *("-Y", directory, "-w", directory),
            directory=directory,
        )
        await self.until(
            lambda: all(taken(port, self.proxy_listens[0]) for port in ports), kamailio
        )

    def more(self, directory: str) -> list[str]:
        """Further lines of its configuration."""
        return []

    def configuration(self) -> Config:
        """The gateway's."""
        proxy = f"sip:{HOST}:{self.gateway_proxy_port};lr;transport={self.transport}"
        return Config(
            sip=SipSettings(listen=both(self.gateway_port), t1=T1, t2=8 * T1, outbound_proxy=proxy),
            msrp=MsrpSettings(listen=f"{HOST}:{self.msrp_port}"),
            gateway=GatewaySettings(backoff=0.0, shutdown_grace=1.0),
            state=StateSettings(directory=self.state_directory()),
        )

    def msrp_user(self, proxy: int) -> MsrpUser:
        """``sip:bob``, who sends through Kamailio."""
        return super().msrp_user(self.proxy_port)
