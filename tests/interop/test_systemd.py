"""The program as systemd runs it: told of readiness and end, and given a socket that is open."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.demo import HOST, free_ports

ROOT = Path(__file__).resolve().parents[2]

#: seconds that a start or an answer may take
PATIENCE = 20

OPTIONS = """\
OPTIONS sip:msrpgw@{host} SIP/2.0\r
Via: SIP/2.0/UDP {host}:9;rport;branch=z9hG4bKsystemd\r
Max-Forwards: 70\r
From: <sip:alice@{host}>;tag=1\r
To: <sip:msrpgw@{host}>\r
Call-ID: systemd\r
CSeq: 1 OPTIONS\r
Content-Length: 0\r
\r
"""

#: systemd numbers what it hands over from 3 and names the process that it is for.
START = 'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=t:u exec "$0" "$@" 3<&{tcp} 4<&{udp}'


class SystemdTests(SynchronousTestCase):
    """A service manager's view."""

    def test_a_life(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (msrp,) = free_ports(1)
        with (
            socket.create_server((HOST, 0)) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.bind("")  # the kernel finds a name
            manager.settimeout(PATIENCE)
            port = tcp.getsockname()[1]
            udp.bind((HOST, port))
            configuration = directory / "msrpgw.toml"
            configuration.write_text(
                f'[sip]\nlisten = ["udp:{HOST}:{port}", "tcp:{HOST}:{port}"]\n'
                f'[msrp]\nlisten = "{HOST}:{msrp}"\n'
                f'[state]\ndirectory = "{directory.resolve()}"\n'
            )
            gateway = subprocess.Popen(
                [
                    *("bash", "-c", START.format(tcp=tcp.fileno(), udp=udp.fileno())),
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("-n", "--pidfile=", "msrpgw", "--config", str(configuration.resolve())),
                ],
                cwd=ROOT,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": "@" + manager.getsockname().decode()[1:],
                    "WATCHDOG_USEC": "200000",
                },
                pass_fds=[tcp.fileno(), udp.fileno()],
                stdout=subprocess.DEVNULL,
            )
            self.addCleanup(gateway.wait)
            self.addCleanup(gateway.kill)
            self.assertIn(b"READY=1", manager.recv(1000))
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            for caller in (
                socket.socket(socket.AF_INET, socket.SOCK_STREAM),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            ):
                with caller:
                    caller.settimeout(PATIENCE)
                    caller.connect((HOST, port))
                    caller.send(OPTIONS.format(host=HOST).encode())
                    self.assertIn(b"SIP/2.0 200 ", caller.recv(1000))
            gateway.send_signal(signal.SIGTERM)
            while not (told := manager.recv(1000)).startswith(b"STOPPING=1"):
                self.assertEqual(told, b"WATCHDOG=1")
            # twistd ends by the signal that ended it, which systemd takes for success.
            self.assertEqual(gateway.wait(PATIENCE), -signal.SIGTERM)
