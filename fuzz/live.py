"""Attacks a running gateway while an honest conversation goes on: ``make fuzz-live``.

    attacker ──spoilt datagrams and connections──► gateway ◄──MESSAGEs, SENDs──► honest users

Fails when an honest message is lost or late by more than a second, when the gateway dies, keeps
file descriptors open, or grows from the first half of the attack to the second.
"""

import argparse
import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, cast

from fuzz.mutation import ROOT, Mutator, load_corpus
from msrpgw.msrp.frame import FrameParser
from msrpgw.msrp.frame import Request as Frame
from msrpgw.msrp.render import render_response
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, parse_datagram

#: seconds between two honest messages of one direction
PACE = 0.05
#: an honest message that takes longer is late
LATE = 1.0
#: what may be open that was not before, and how much larger the gateway may be, in bytes
FD_SLACK = 5
GROWTH = 40 * 1024 * 1024
#: seconds until all transactions of the attack are forgotten
SETTLING = 40.0

BOB = "sip:bob@127.0.0.1"
ALICE = "sip:alice@127.0.0.1"


def free_port(kind: socket.SocketKind) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Honest(asyncio.DatagramProtocol):
    """Both honest users and the proxy before them, in one socket; Bob's MSRP in another."""

    def __init__(self, sip: int, msrp: int, own_msrp: int) -> None:
        self.gateway = ("127.0.0.1", sip)
        self.msrp = msrp
        self.own_msrp = own_msrp
        self.port = 0
        self.serial = 0
        self.sent: dict[str, float] = {}  # text -> when
        self.took: list[float] = []
        self.unanswered: dict[str, tuple[bytes, float]] = {}  # Call-ID -> what is repeated, when
        self.refused: list[int] = []
        self.writer: asyncio.StreamWriter | None = None
        self.paths = ("", "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """What the gateway asks and answers."""
        message = parse_datagram(data, Limits())
        if isinstance(message, Response) and message.status >= 200:
            known = message.cseq.method == "MESSAGE" and self.unanswered.pop(message.call_id, None)
            if known and message.status >= 300:
                self.refused.append(message.status)
        elif isinstance(message, Request) and message.method != "ACK":
            self._answer(message)

    def _answer(self, request: Request) -> None:
        status, headers, body = 200, [("Contact", f"<sip:127.0.0.1:{self.port}>")], b""
        if request.method == "INVITE" and request.uri.startswith(BOB):
            headers.append(("Content-Type", "application/sdp"))
            path = f"msrp://127.0.0.1:{self.own_msrp}/bobbobbob;tcp"
            body = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                f"m=message {self.own_msrp} TCP/MSRP *\r\na=accept-types:*\r\n"
                f"a=setup:passive\r\na=path:{path}\r\n"
            ).encode()
        elif request.method == "MESSAGE" and request.uri.startswith(ALICE):
            self._arrived(request.body.decode("utf-8", "replace"))
        elif request.method in ("INVITE", "MESSAGE"):
            status = 404
        response = request.response(status, to_tag="honest", headers=headers, body=body)
        self.transport.sendto(response.render(), self.gateway)

    def _arrived(self, text: str) -> None:
        since = self.sent.pop(text, None)
        if since is not None:
            self.took.append(time.monotonic() - since)

    async def talk_msrp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bob's side of the MSRP session."""
        parser = FrameParser()
        while data := await reader.read(65536):
            for frame in parser.feed(data):
                if isinstance(frame, Frame) and frame.method == "SEND":
                    writer.write(render_response(frame, 200, "OK"))
                    self.paths = (frame.from_path_text, frame.to_path_text)
                    self.writer = writer
                    if frame.body:
                        self._arrived(frame.body.decode("utf-8", "replace"))
        writer.close()

    def say(self) -> None:
        """One message each way."""
        self.serial += 1
        text = f"to bob {self.serial}"
        call_id = f"honest-{self.serial}"
        data = (
            f"MESSAGE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.port};rport;"
            f"branch=z9hG4bKhonest{self.serial}\r\nMax-Forwards: 70\r\n"
            f"From: <{ALICE}>;tag=h{self.serial}\r\nTo: <{BOB}>\r\nCall-ID: {call_id}\r\n"
            f"CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
            f"{text}"
        ).encode()
        self.sent[text] = time.monotonic()
        self.unanswered[call_id] = (data, time.monotonic())
        self.transport.sendto(data, self.gateway)
        if self.writer is not None and not self.writer.is_closing():
            text = f"to alice {self.serial}"
            tid = f"honest{self.serial}"
            self.sent[text] = time.monotonic()
            self.writer.write(
                f"MSRP {tid} SEND\r\nTo-Path: {self.paths[0]}\r\nFrom-Path: {self.paths[1]}\r\n"
                f"Message-ID: {tid}\r\nByte-Range: 1-{len(text)}/{len(text)}\r\n"
                f"Content-Type: text/plain\r\n\r\n{text}\r\n-------{tid}$\r\n".encode()
            )

    def repeat(self) -> None:
        """RFC 3261 §17.1.2: what has no answer goes again after T1."""
        now = time.monotonic()
        for call_id, (data, since) in list(self.unanswered.items()):
            if now - since > 0.5:
                self.unanswered[call_id] = (data, now)
                self.transport.sendto(data, self.gateway)

    async def converse(self, stop: asyncio.Event) -> None:
        """Say something every ``PACE`` seconds."""
        while not stop.is_set():
            self.say()
            self.repeat()
            await asyncio.sleep(PACE)
        deadline = time.monotonic() + 5.0
        while (self.sent or self.unanswered) and time.monotonic() < deadline:
            self.repeat()
            await asyncio.sleep(PACE)


def attack(sip: int, msrp: int, count: int, seed: int) -> None:
    """Send ``count`` spoilt datagrams and connections, three datagrams to a connection."""
    chance = random.Random(seed)
    texts, frames = Mutator(load_corpus("sip"), seed), Mutator(load_corpus("msrp"), seed)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held: list[socket.socket] = []
    for number in range(count):
        if number % 4:
            with contextlib.suppress(OSError):
                udp.sendto(texts.next()[:60_000], ("127.0.0.1", sip))
            if number % 40 == 1:
                time.sleep(0.005)  # the honest ones' datagrams must find room in the queue
            continue
        port, source = chance.choice(((sip, texts), (msrp, frames)))
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), 5.0)
            connection.settimeout(1.0)
            held.append(connection)
            connection.sendall(source.next())
        if len(held) > 100:
            held.pop(chance.randrange(len(held))).close()
    for connection in held:
        connection.close()


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def configuration(sip: int, msrp: int, proxy: int) -> str:
    """For a gateway that sends all to the honest users and asks no name server."""
    return (
        f'[sip]\nlisten = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]\n'
        f'outbound_proxy = "sip:127.0.0.1:{proxy};lr"\nidle_timeout = 10.0\n'
        f'[msrp]\nlisten = "127.0.0.1:{msrp}"\nbind_timeout = 5.0\n'
        "[gateway]\nsetup_timeout = 5.0\n[delivery]\nmessage_ttl = 0.0\n[manage]\nhttp = []\n"
        '[dns]\nservers = ["127.0.0.1:9"]\ntimeout = 0.5\n[limits]\nprogress_timeout = 5.0\n'
    )


def start_gateway(config: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A gateway with this configuration; its state is beside that."""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", "msrpgw", "--config", str(config)),
            *("--state-dir", str(config.parent)),
        ],
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )


async def run(count: int, seed: int, settling: float) -> list[str]:
    """The whole of it; returns what is wrong."""
    sip, msrp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
    own = free_port(socket.SOCK_STREAM)
    loop = asyncio.get_running_loop()
    _, honest = await loop.create_datagram_endpoint(
        lambda: Honest(sip, msrp, own), ("127.0.0.1", 0)
    )
    server = await asyncio.start_server(honest.talk_msrp, "127.0.0.1", own)
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "msrpgw.toml"
        config.write_text(configuration(sip, msrp, honest.port), encoding="utf-8")
        with open(Path(directory) / "log", "wb") as log:
            gateway = start_gateway(config, log)
        try:
            await wait_for(sip)
            stop = asyncio.Event()
            talk = asyncio.create_task(honest.converse(stop))
            await asyncio.sleep(2.0)
            files = descriptors(gateway.pid)
            sizes = []
            for half in (0, 1):
                attacker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "fuzz.live", "--attack", str(sip), str(msrp)),
                    *("--count", str(count // 2), "--seed", str(seed + half)),
                    cwd=ROOT,
                )
                await attacker.wait()
                await asyncio.sleep(settling)
                sizes.append(memory(gateway.pid))
            stop.set()
            await talk
            left = descriptors(gateway.pid) - files
            if left > FD_SLACK:
                problems.append(f"{left} file descriptors are left")
            if sizes[1] - sizes[0] > GROWTH:
                problems.append(f"it grew from {sizes[0]} to {sizes[1]} bytes")
        except FileNotFoundError:
            problems.append("the gateway died")
        finally:
            gateway.terminate()
            await asyncio.to_thread(gateway.wait)
            server.close()
        text = (Path(directory) / "log").read_text(encoding="utf-8", errors="replace")
        if "Traceback" in text:
            problems.append("the log has a traceback:\n" + text[text.index("Traceback") :][:2000])
        if any(not line.isprintable() for line in text.splitlines()):
            problems.append("the log has what a terminal would obey")
    took = sorted(honest.took)
    if honest.sent:
        problems.append(f"{len(honest.sent)} honest messages are lost: {list(honest.sent)[:3]}")
    if honest.refused:
        problems.append(f"{len(honest.refused)} honest messages were refused: {honest.refused[:5]}")
    late = sum(1 for one in took if one > LATE)
    if late or not took:
        problems.append(f"{late} of {len(took)} honest messages are late")
    if took:
        print(
            f"{count} spoilt inputs; {len(took)} honest messages, p50 {took[len(took) // 2]:.3f} s,"
            f" p99 {took[len(took) * 99 // 100]:.3f} s, longest {took[-1]:.3f} s;"
            f" memory {[size // 1024 // 1024 for size in sizes]} MiB, files {left:+d}"
        )
    return problems


async def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise FileNotFoundError("the gateway does not listen")


def main() -> int:
    """Run from the command line; 1 if something failed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--count", type=int, default=200_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--settling", type=float, default=SETTLING)
    options.add_argument("--attack", type=int, nargs=2, metavar=("SIP", "MSRP"))
    chosen = options.parse_args()
    if chosen.attack:
        attack(*chosen.attack, chosen.count, chosen.seed)
        return 0
    problems = asyncio.run(run(chosen.count, chosen.seed, chosen.settling))
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("all well")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
