"""What is measured: the bare floor, the gateway and Kamailio, each with a driver of its own.

May import: driving, processes.
"""

import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import processes
from benchmarks.driving import HERE, BenchError, Driver, compile_driver, driving

START_TIMEOUT = 30.0  #: seconds for a process to say that it is ready
LOOPBACK = "127.0.0.1"


class Ports(NamedTuple):
    """Where the measured process listens, and where the users are."""

    sip: int
    msrp: int
    users: int
    manage: int


class Setting(NamedTuple):
    """What is measured, and how it is reached."""

    transport: str = "udp"  #: of SIP: udp, tcp or tls
    msrps: bool = False  #: whether MSRP goes over TLS, too
    configuration: str = ""  #: of the gateway, as TOML; everything else is at its default


DEFAULTS = Setting()


class Place(NamedTuple):
    """Where a process is started."""

    ports: Ports
    state: Path  #: its own directory
    certificate: Path  #: PEM file for TLS, its own CA


class Room:
    """A directory for the time of a benchmark, with the driver in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.driver = compile_driver(directory)
        self.certificate = directory / "certificate.pem"

    def place(self, setting: Setting) -> Place:
        """For another process."""
        if "tls" in (setting.transport, setting.msrps and "tls") and not self.certificate.exists():
            self.certificate.write_bytes(make_certificate())
        # The next one must not go on with what this one leaves behind.
        state = Path(tempfile.mkdtemp(dir=self.directory))
        return Place(Ports(*free_ports(4)), state, self.certificate)


@contextlib.contextmanager
def room(near: str | None = None) -> Iterator[Room]:
    """A room; ``near``: on the same disk as this directory."""
    with tempfile.TemporaryDirectory(prefix="msrpgw-bench-", dir=near) as temporary:
        yield Room(Path(temporary).resolve())


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free for UDP and TCP, all different."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            stream = held.enter_context(socket.socket())
            datagrams = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            stream.bind((LOOPBACK, 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagrams.bind((LOOPBACK, port))
                ports.append(port)
    return ports


def make_certificate() -> bytes:
    """A key, and a certificate for loopback that vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "msrpgw benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)


class Subject:
    """A measured process with its driver.  Ends with the ``running_*`` that made it."""

    def __init__(self, name: str, pid: int, place: Place, driver: Driver) -> None:
        self.name = name
        self.pid = pid
        self.ports = place.ports
        self.state = place.state  #: directory
        self.driver = driver

    def cpu_seconds(self) -> float:
        """Of all its processes."""
        return sum(map(processes.cpu_seconds, processes.family(self.pid)))

    def resident(self) -> int:
        """Bytes of memory."""
        return processes.resident(self.pid)

    def descriptors(self) -> int:
        """How many are open."""
        return processes.descriptors(self.pid)

    def statistics(self) -> dict[str, int]:
        """What the gateway says about itself.  Only where it has its management port."""
        request = {"jsonrpc": "2.0", "id": 1, "method": "get_statistics", "params": [["all"]]}
        asked = urllib.request.Request(
            f"http://{LOOPBACK}:{self.ports.manage}/mi",
            json.dumps(request).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            told: dict[str, Any] = json.load(answer)
        return {name: int(value) for name, value in told["result"].items()}


def floor_command(setting: Setting, place: Place) -> list[str]:
    """How the floor is started."""
    ports = place.ports
    command = [sys.executable, str(HERE / "floor.py"), setting.transport]
    command += map(str, (ports.sip, ports.msrp, ports.users))
    return [*command, str(place.certificate), *(["msrps"] if setting.msrps else [])]


def gateway_command(setting: Setting, place: Place) -> list[str]:
    """How the gateway is started: on its defaults, but for the ports and what the setting says."""
    sip, msrp = f"{LOOPBACK}:{place.ports.sip}", f"{LOOPBACK}:{place.ports.msrp}"
    twistd = Path(sys.executable).with_name("twistd")
    tls = [f"tls:{sip}"] if setting.transport == "tls" else []
    text = setting.configuration
    if tls or setting.msrps:
        text += f'[tls]\ncertificate = ["{place.certificate}"]\nca_file = "{place.certificate}"\n'
    if setting.msrps:
        text += f'[msrp]\nlisten_tls = "{msrp}"\n'
        msrp = f"{LOOPBACK}:{free_ports(1)[0]}"
    file = place.state / "bench.toml"
    file.write_text(text)
    return [
        *(sys.executable, str(twistd), "--nodaemon", "--pidfile=", "msrpgw"),
        *(word for way in tls or [f"udp:{sip}", f"tcp:{sip}"] for word in ("--sip", way)),
        *("--msrp", msrp, "--mi", f"{LOOPBACK}:{place.ports.manage}"),
        *("--state-dir", str(place.state), "--config", str(file)),
    ]


#: MESSAGEs come and go: a transaction each way, and nothing else.
ROUTES = """\
debug=1
log_stderror=yes
children=1
auto_aliases=no
listen={transport}:{host}:{sip}
mpath="{modules}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "maxfwd.so"
request_route {{
    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    t_relay();
}}
"""


def kamailio() -> str:
    """Path of the program; empty where it isn't installed."""
    return shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def kamailio_command(setting: Setting, place: Place) -> list[str]:
    """How Kamailio is started: one worker that relays statefully."""
    found = list(Path("/usr/lib").glob("*/kamailio/modules")) or list(
        Path("/usr/lib").glob("kamailio/modules")
    )
    if not found:
        raise BenchError("kamailio has no modules")
    file = place.state / "kamailio.cfg"
    file.write_text(
        ROUTES.format(
            transport=setting.transport, host=LOOPBACK, sip=place.ports.sip, modules=found[0]
        )
    )
    return [
        *(kamailio(), "-f", str(file), "-DD", "-E", "-m", "256", "-M", "16"),
        *("-Y", str(place.state), "-w", str(place.state)),
    ]


COMMANDS: dict[str, Callable[[Setting, Place], list[str]]] = {
    "floor": floor_command,
    "gateway": gateway_command,
    "kamailio": kamailio_command,
}


def _ready(name: str, ports: Ports, log: Path) -> bool:
    if name != "kamailio":
        return "is ready" in log.read_text(errors="replace")
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((LOOPBACK, ports.sip))
        except OSError:
            return True
    return False


def _start(
    name: str, room: Room, setting: Setting, wrap: Callable[[list[str]], list[str]]
) -> tuple[subprocess.Popen[bytes], Place, Path]:
    """Start it on free ports.  Raises BenchError when it does not come up."""
    place = room.place(setting)
    command = wrap(COMMANDS[name](setting, place))
    log = place.state / f"{name}.log"
    # The checkout itself is measured, installed or not.
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=place.state,
            env={**os.environ, "PYTHONPATH": path},
        )
    limit = time.monotonic() + START_TIMEOUT
    try:
        while not _ready(name, place.ports, log):
            if process.poll() is not None or time.monotonic() > limit:
                raise BenchError(f"{name} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, place, log


@contextlib.contextmanager
def running(
    name: str,
    room: Room,
    setting: Setting = DEFAULTS,
    wrap: Callable[[list[str]], list[str]] = list,
) -> Iterator[Subject]:
    """Run floor, gateway or kamailio, and its driver.  ``wrap``: makes another command of it.

    Raises BenchError when it does not start.
    """
    try:
        process, place, log = _start(name, room, setting, wrap)
    except BenchError:
        # A port that was free may be a connection's by now.
        process, place, log = _start(name, room, setting, wrap)
    try:
        if name == "kamailio":
            time.sleep(0.3)  # its children come after its sockets
        pids = ",".join(map(str, processes.family(process.pid)))
        numbers = map(str, (*place.ports[:3], pids))
        words = [str(room.driver), name, setting.transport, *numbers]
        if setting.transport == "tls" or setting.msrps:
            words += [str(place.certificate), *(["msrps"] if setting.msrps else [])]
        with driving(words, log) as driver:
            yield Subject(name, process.pid, place, driver)
    finally:
        children = processes.family(process.pid)[1:]
        process.kill()  # its sessions need no farewell: their users are gone
        process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
