"""Floods a running gateway while an honest conversation goes on: ``make flood``.

Slow connections, handshakes of TLS that are never finished, calls without ACK, and MESSAGEs to ever
new users; the honest users are at another address.  Fails when honest messages are lost, when one
in a hundred takes more than a second, when the gateway grows without bound, or when its counters
don't say what it refused.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from fuzz.live import LATE, Honest, configuration, free_port, memory, start_gateway, wait_for
from tests.tls.authority import issue

ATTACKER = "127.0.0.66"
SILENT = "127.0.0.67"
#: bytes that the gateway may grow by
GROWTH = 60 * 1024 * 1024

LIMITS = """exempt_trusted = false
user_rate = 0.0
source_rate = 200.0
source_burst = 300
source_half_open = 50
source_connections = 400
[tls]
max_handshakes = 200
handshake_timeout = 3.0
certificate = ["{certificate}"]
"""


def slow(sip: int, msrp: int, count: int) -> None:
    """So many connections, a byte a second on each, until the gateway has cut all off."""
    held = []
    for number in range(count):
        data = b"MSRP abcdefgh SEND\r\n" if number % 2 else b"MESSAGE sip:a@b SIP/2.0\r\n"
        with contextlib.suppress(OSError):
            where = ("127.0.0.1", msrp if number % 2 else sip)
            held.append((socket.create_connection(where, 5.0, (ATTACKER, 0)), data))
    for second in range(12):
        for connection, data in held:
            with contextlib.suppress(OSError):
                connection.send(data[second : second + 1])
        time.sleep(1.0)


def half_open(port: int, count: int) -> None:
    """So many connections that begin a handshake and say no more, until all are cut off."""
    held = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", port), 5.0, (SILENT, 0)))
            held[-1].send(b"\x16\x03\x01")
    for connection in held:
        connection.settimeout(10.0)
        with contextlib.suppress(OSError):
            connection.recv(1)
        connection.close()


def requests(sip: int, method: str, count: int) -> None:
    """So many requests, each to another user, a thousand a second."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((ATTACKER, 0))
    port = udp.getsockname()[1]
    udp.setblocking(False)
    body = ""
    kind = "text/plain"
    if method == "INVITE":
        kind = "application/sdp"
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {ATTACKER}\r\ns=-\r\nc=IN IP4 {ATTACKER}\r\nt=0 0\r\n"
            "m=message 9 TCP/MSRP *\r\na=accept-types:*\r\na=setup:active\r\n"
            f"a=path:msrp://{ATTACKER}:9/x;tcp\r\n"
        )
    for number in range(count):
        data = (
            f"{method} sip:new{number}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {ATTACKER}:{port};"
            f"rport;branch=z9hG4bKflood{method}{number}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:mallory{number}@{ATTACKER}>;tag=f{number}\r\n"
            f"To: <sip:new{number}@127.0.0.1>\r\nCall-ID: flood-{method}-{number}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:{ATTACKER}:{port}>\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        with contextlib.suppress(OSError):
            udp.sendto(data.encode(), ("127.0.0.1", sip))
        with contextlib.suppress(OSError):
            udp.recv(65536)
        if number % 10 == 9:
            time.sleep(0.01)


def counters(port: int) -> dict[str, float]:
    """What was refused, by reason, as ``/metrics`` has it."""
    found: dict[str, float] = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(("msrpgw_limited_total{", "msrpgw_sip_refused_total{")):
                found[line.split('"')[1]] = float(line.rsplit(" ", 1)[1])
    return found


async def run(connections: int, count: int) -> list[str]:
    """The whole of it; returns what is wrong."""
    sip, msrp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
    own, http = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
    sips = free_port(socket.SOCK_STREAM)
    loop = asyncio.get_running_loop()
    _, honest = await loop.create_datagram_endpoint(
        lambda: Honest(sip, msrp, own), ("127.0.0.1", 0)
    )
    server = await asyncio.start_server(honest.talk_msrp, "127.0.0.1", own)
    problems: list[str] = []
    refused: dict[str, float] = {}
    sizes = [0, 0]
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "msrpgw.toml"
        certificate = issue(ips=("127.0.0.1",)).write(str(Path(directory) / "own.pem"))
        text = configuration(sip, msrp, honest.port) + LIMITS.format(certificate=certificate)
        text = text.replace('"]\noutbound', f'", "tls:127.0.0.1:{sips}"]\noutbound')
        text = text.replace("http = []", f'http = ["127.0.0.1:{http}"]')
        config.write_text(text, encoding="utf-8")
        with open(Path(directory) / "log", "wb") as log:
            gateway = start_gateway(config, log)
        try:
            await wait_for(sip)
            stop = asyncio.Event()
            talk = asyncio.create_task(honest.converse(stop))
            await asyncio.sleep(2.0)
            sizes[0] = memory(gateway.pid)
            await asyncio.gather(
                asyncio.to_thread(slow, sip, msrp, connections),
                asyncio.to_thread(half_open, sips, connections),
                asyncio.to_thread(requests, sip, "INVITE", count),
                asyncio.to_thread(requests, sip, "MESSAGE", count),
            )
            sizes[1] = memory(gateway.pid)
            refused = await asyncio.to_thread(counters, http)
            stop.set()
            await talk
        except (FileNotFoundError, OSError) as error:
            problems.append(f"the gateway died or did not answer: {error}")
        finally:
            gateway.terminate()
            await asyncio.to_thread(gateway.wait)
            server.close()
    took = sorted(honest.took) or [0.0]
    if honest.sent or honest.refused or len(took) < 20:
        problems.append(f"{len(honest.sent)} lost, {honest.refused[:5]} of {len(took)}")
    if took[len(took) * 99 // 100] > LATE:
        problems.append("more than one in a hundred honest messages is late")
    if sizes[1] - sizes[0] > GROWTH:
        problems.append(f"it grew from {sizes[0]} to {sizes[1]} bytes")
    for reason in (
        *("slow", "source_half_open", "source_rate", "source_connections"),
        *("failed_handshakes", "refused_handshakes"),
    ):
        if not refused.get(reason):
            problems.append(f"nothing was counted as {reason}")
    print(
        f"{connections} slow connections and half handshakes, {count} calls, {count} messages;"
        f" {len(took)} honest messages, p50 {took[len(took) // 2]:.3f} s,"
        f" p99 {took[len(took) * 99 // 100]:.3f} s,"
        f" longest {took[-1]:.3f} s; memory {[size // 1024 // 1024 for size in sizes]} MiB;"
        f" refused { {reason: int(number) for reason, number in refused.items() if number} }"
    )
    return problems


def main() -> int:
    """Run from the command line; 1 if something failed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--connections", type=int, default=1000)
    options.add_argument("--count", type=int, default=5000)
    chosen = options.parse_args()
    problems = asyncio.run(run(chosen.connections, chosen.count))
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("all well")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
