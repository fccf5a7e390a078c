"""OpenSIPS's own clients, unmodified, steer the gateway and hear its events."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from opensips.event import OpenSIPSEventHandler
from opensips.mi import OpenSIPSMI, OpenSIPSMIException
from twisted.internet.threads import deferToThread

from msrpgw.config import Config
from msrpgw.gateway.session import SessionState
from msrpgw.gateway.settings import DeliverySettings
from msrpgw.manage.settings import ManageSettings
from msrpgw.ua.demo import HOST, free_ports
from tests.interop.peers import PeerTestCase


class ManagementCase(PeerTestCase):
    """A gateway that takes commands in all three ways."""

    def configuration(self) -> Config:
        """With management."""
        self.http, self.datagrams = free_ports(2)
        # Not in /tmp: the kernel protects FIFOs in directories that everybody may write to.
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        manage = ManageSettings(
            http=(f"{HOST}:{self.http}",),
            datagram=f"{HOST}:{self.datagrams}",
            fifo=os.path.join(self.directory, "fifo"),
            fifo_reply_directory=self.directory,
        )
        return msgspec.structs.replace(
            super().configuration(), manage=manage, delivery=DeliverySettings(message_ttl=0)
        )

    def clients(self) -> list[OpenSIPSMI]:
        """One for each way."""
        return [
            OpenSIPSMI("http", url=f"http://{HOST}:{self.http}/mi"),
            OpenSIPSMI(
                "datagram", datagram_ip=HOST, datagram_port=self.datagrams, datagram_timeout=5
            ),
            OpenSIPSMI(
                "fifo",
                fifo_file=os.path.join(self.directory, "fifo"),
                fifo_file_fallback=os.path.join(self.directory, "fifo"),
                fifo_reply_dir=self.directory,
            ),
        ]

    async def ask(self, client: OpenSIPSMI, method: str, params: Any = None) -> Any:
        """What a client gets, which may block."""
        return await deferToThread(client.execute, method, params)

    async def meet(self) -> str:
        """Bob calls; the key of the session."""
        self.bob.call(self.page_uri)
        sessions = self.service._gateway.sessions
        await self.until(lambda: bool(sessions))
        await self.until(lambda: all(each.state is SessionState.UP for each in sessions.values()))
        (key,) = sessions
        return str(key)

    @property
    def page_uri(self) -> str:
        """A page user who is not there."""
        return f"sip:alice@{HOST}:{self.peer_port}"


class ClientTests(ManagementCase):
    """The package ``opensips``."""

    async def test_sessions(self) -> None:
        """Listed, ended, and unknown then, in each way."""
        for client in self.clients():
            key = await self.meet()
            rows = await self.ask(client, "msrp_gw_list_sessions")
            self.assertEqual([row["key"] for row in rows], [key])
            self.assertEqual(rows[0]["msg_side_to"], self.page_uri)
            self.assertEqual(await self.ask(client, "msrp_gateway:end_session", {"key": key}), "OK")
            with self.assertRaisesRegex(OpenSIPSMIException, "404: Session doesn't exist"):
                await self.ask(client, "msrp_gw_end_session", [key])
            await self.until(lambda: not self.bob.calls)

    async def test_statistics(self) -> None:
        await self.meet()
        for client in self.clients():
            found = await self.ask(client, "get_statistics", {"statistics": ["msrpgw:"]})
            self.assertEqual(found["msrpgw:sessions"], 1)
            kinds = await self.ask(client, "list_statistics")
            self.assertEqual(kinds["msrpgw:to_msrp_delivered"], "counter")
            self.assertIn("Server", await self.ask(client, "version"))
            self.assertIn("msrp_gw_end_session", await self.ask(client, "which"))

    async def test_events(self) -> None:
        """Over datagrams, and over streams that say they were datagrams."""
        http = self.clients()[0]
        for kind in ("datagram", "stream"):
            heard: list[Any] = []
            handler = OpenSIPSEventHandler(http, kind, ip=HOST)
            event = await deferToThread(handler.subscribe, "E_MSRP_GW_SETUP_FAILED", heard.append)
            self.addCleanup(deferToThread, event.stop)
            listed = await self.ask(http, "subscribers_list")
            self.assertEqual(listed["Events"][0]["name"], "E_MSRP_GW_SETUP_FAILED")
            await self.ask(
                http,
                "msrpgw:send_message",
                {"from_uri": self.page_uri, "to_uri": f"sip:carol@{HOST}:1", "text": "x"},
            )
            await self.until(lambda heard=heard: bool(heard))  # type: ignore[misc]
            self.assertEqual(heard[0]["method"], "E_MSRP_GW_SETUP_FAILED")
            self.assertEqual(heard[0]["params"]["from_uri"], f"sip:carol@{HOST}:1")
            self.assertEqual(heard[0]["params"]["code"], 503)
            await deferToThread(event.unsubscribe)
            self.assertEqual((await self.ask(http, "subscribers_list"))["Events"], [])


class CtlTests(ManagementCase):
    """``msrpgw-ctl``, as an operator types it."""

    async def ctl(self, *arguments: str, status: int = 0) -> Any:
        """Run it with ``--json``; what it prints."""
        program = str(Path(sys.executable).with_name("msrpgw-ctl"))
        command = [program, "--json", "--url", f"http://{HOST}:{self.http}/mi", *arguments]
        done = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=30
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout

    async def test_every_command(self) -> None:
        key = await self.meet()
        self.assertEqual((await self.ctl("status"))["sessions"]["up"], 1)
        listed = json.dumps(await self.ctl("sessions", "--state", "up"))
        self.assertIn(key, listed)
        self.assertEqual((await self.ctl("show", key))["state"], "up")
        self.assertIn(key, json.dumps(await self.ctl("keys", key[:6])))
        stats = await self.ctl("stats", "msrpgw:")
        self.assertEqual(stats["msrpgw:sessions"], 1)
        await self.ctl("stats", "--reset", "all")
        sent = await self.ctl("send", "--from", self.page_uri, "--to", self.bob_uri, "hello")
        self.assertIn("200", json.dumps(sent))
        await self.ctl("journal")
        await self.ctl("journal", "fate", "nobody", status=5)
        await self.ctl("journal", "retry", "nobody", status=5)
        await self.ctl("journal", "drop", "nobody", status=5)
        await self.ctl("mi", "version")
        await self.ctl("check", "/nowhere", status=6)
        await self.ctl("end", key)
        await self.ctl("end", key, status=5)
        await self.ctl("show", key, status=5)
        self.assertIn("changed", await self.ctl("reload"))
        await self.ctl("drain", "--wait")
        self.assertEqual((await self.ctl("status"))["state"], "draining")
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("msrpgw-ctl", await self.ctl("completion", shell))

    async def test_nobody_there(self) -> None:
        self.http = 1
        await self.ctl("status", status=3)


class CommandLineTests(ManagementCase):
    """``opensips-cli``."""

    async def cli(self, *arguments: str) -> tuple[int, str]:
        """Run it once; exit status and output."""
        options = {
            "communication_type": "http",
            "url": f"http://{HOST}:{self.http}/mi",
            "log_level": "ERROR",
        }
        command = [str(Path(sys.executable).with_name("opensips-cli"))]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        done = await deferToThread(
            subprocess.run,
            [*command, "-x", "mi", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=self.directory,
        )
        return done.returncode, done.stdout + done.stderr

    async def test_session(self) -> None:
        key = await self.meet()
        status, output = await self.cli("msrp_gw_list_sessions")
        self.assertEqual(status, 0, output)
        self.assertIn(f'"key": "{key}"', output)
        status, output = await self.cli("get_statistics", "msrpgw:sessions")
        self.assertIn('"msrpgw:sessions": 1', output)
        status, output = await self.cli("msrp_gw_end_session", f"key={key}")
        self.assertIn("OK", output)
        await self.until(lambda: not self.bob.calls)
        status, output = await self.cli("msrp_gw_end_session", f"key={key}")
        self.assertIn("404: Session doesn't exist", output)
