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
Via: SIP/2.0/TCP {host}:9;branch=z9hG4bKsystemd\r
Max-Forwards: 70\r
From: <sip:alice@{host}>;tag=1\r
To: <sip:msrpgw@{host}>\r
Call-ID: systemd\r
CSeq: 1 OPTIONS\r
Content-Length: 0\r
\r
"""

#: systemd numbers what it hands over from 3 and names the process that it is for.
START = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=sip exec "$0" "$@" 3<&{descriptor}'


class SystemdTests(SynchronousTestCase):
    """A service manager's view."""

    def test_a_life(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (msrp,) = free_ports(1)
        with (
            socket.create_server((HOST, 0)) as opened,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.bind("")  # the kernel finds a name
            manager.settimeout(PATIENCE)
            port = opened.getsockname()[1]
            configuration = directory / "msrpgw.toml"
            configuration.write_text(
                f'[sip]\nlisten = ["tcp:{HOST}:{port}"]\n[msrp]\nlisten = "{HOST}:{msrp}"\n'
                f'[state]\ndirectory = "{directory.resolve()}"\n'
            )
            gateway = subprocess.Popen(
                [
                    *("bash", "-c", START.format(descriptor=opened.fileno())),
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("-n", "--pidfile=", "msrpgw", "--config", str(configuration.resolve())),
                ],
                cwd=ROOT,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": "@" + manager.getsockname().decode()[1:],
                    "WATCHDOG_USEC": "200000",
                },
                pass_fds=[opened.fileno()],
                stdout=subprocess.DEVNULL,
            )
            self.addCleanup(gateway.wait)
            self.addCleanup(gateway.kill)
            self.assertIn(b"READY=1", manager.recv(1000))
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            with socket.create_connection((HOST, port), PATIENCE) as caller:
                caller.sendall(OPTIONS.format(host=HOST).encode())
                self.assertIn(b"SIP/2.0 200 ", caller.recv(1000))
            gateway.send_signal(signal.SIGTERM)
            while not (told := manager.recv(1000)).startswith(b"STOPPING=1"):
                self.assertEqual(told, b"WATCHDOG=1")
            # twistd ends by the signal that ended it, which systemd takes for success.
            self.assertEqual(gateway.wait(PATIENCE), -signal.SIGTERM)
