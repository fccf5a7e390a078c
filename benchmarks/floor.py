"""The bare floor: the least Python and Twisted that can carry a message.

    python floor.py udp|tcp|tls SIP_PORT MSRP_PORT PAGE_PORT [CERTIFICATE [msrps]]

No transactions' timers, no sessions, no policy, no limits, no checks: one request read and cut up,
a dictionary look-up, one SEND written, the MSRP 200 read, the SIP 200 written, one timer; or all
of that backwards.  What the gateway costs is quoted as a ratio to this, measured in the same run
under the same traffic.  MESSAGEs go to PAGE_PORT over UDP, over TCP to whoever connected.
"""

import itertools
import re
import sys
from collections.abc import Callable

from twisted.internet import protocol, reactor, ssl

TRANSPORT = sys.argv[1]
SIP_PORT, MSRP_PORT, PAGE_PORT = map(int, sys.argv[2:5])
LOOPBACK = "127.0.0.1"
BACKLOG = 4096  # of thousands of connections at once
PAGE = (LOOPBACK, PAGE_PORT)
URI = re.compile(r"<([^>]*)>")

SEND = (
    b"MSRP %s SEND\r\nTo-Path: msrp://127.0.0.1:9999/abcdef;tcp\r\n"
    b"From-Path: msrp://127.0.0.1:2855/fedcba;tcp\r\nMessage-ID: %s\r\n"
    b"Byte-Range: 1-%d/%d\r\nContent-Type: text/plain\r\n\r\n%s\r\n-------%s$\r\n"
)
MSRP_OK = (
    b"MSRP %s 200 OK\r\nTo-Path: msrp://127.0.0.1:9999/abcdef;tcp\r\n"
    b"From-Path: msrp://127.0.0.1:2855/fedcba;tcp\r\n-------%s$\r\n"
)
MESSAGE = (
    f"MESSAGE sip:p1@127.0.0.1:{PAGE_PORT} SIP/2.0\r\n"
    f"Via: SIP/2.0/{TRANSPORT.upper()} 127.0.0.1:{SIP_PORT};branch=z9hG4bK%x;rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:s1@127.0.0.1>;tag=%x\r\n"
    f"To: <sip:p1@127.0.0.1:{PAGE_PORT}>\r\nCall-ID: f%x@127.0.0.1\r\nCSeq: 1 MESSAGE\r\n"
    "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
)
SIP_OK = (
    "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=floor\r\nCall-ID: %s\r\n"
    "CSeq: %s\r\nContent-Length: 0\r\n\r\n"
)

Reply = Callable[[bytes], object]


class Msrp(protocol.Protocol):
    """One MSRP connection."""

    def connectionMade(self) -> None:
        self.buffer = b""
        self.transport.setTcpNoDelay(True)
        connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        buffer = self.buffer + data
        while True:
            stop = buffer.find(b" ", 5)
            if stop < 0:
                break
            tid = buffer[5:stop]
            end = b"-------" + tid
            at = buffer.find(end)
            if at < 0 or len(buffer) < at + len(end) + 3:
                break
            head, _, body = buffer[:at].partition(b"\r\n\r\n")
            headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            if head.startswith(b"SEND", stop + 1):
                send_received(self, tid, headers, body[:-2])
            else:
                waiting.pop(tid)()
            buffer = buffer[at + len(end) + 3 :]
        self.buffer = buffer


class SipDatagrams(protocol.DatagramProtocol):
    """SIP over UDP: a datagram is a message."""

    def startProtocol(self) -> None:
        pages.append(lambda data: self.transport.write(data, PAGE))

    def datagramReceived(self, data: bytes, address: tuple[str, int]) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        sip_received(head, body, lambda response: self.transport.write(response, address))


class SipStream(protocol.Protocol):
    """SIP over TCP: a message is as long as its Content-Length says."""

    def connectionMade(self) -> None:
        self.buffer = b""
        self.transport.setTcpNoDelay(True)
        pages.append(self.transport.write)

    def dataReceived(self, data: bytes) -> None:
        buffer = self.buffer + data
        while True:
            stop = buffer.find(b"\r\n\r\n")
            if stop < 0:
                break
            head = buffer[:stop]
            length = head.find(b"Content-Length: ") + 16
            end = stop + 4 + int(head[length:].partition(b"\r\n")[0])
            if len(buffer) < end:
                break
            sip_received(head, buffer[stop + 4 : end], self.transport.write)
            buffer = buffer[end:]
        self.buffer = buffer


def sip_received(head: bytes, body: bytes, reply: Reply) -> None:
    """Cut up a SIP message; hand it on."""
    lines = head.decode().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.rstrip().lower()] = value.strip()
    branch = headers["via"].partition("branch=")[2].partition(";")[0]
    if lines[0].startswith("SIP/2.0"):
        answered = waiting.pop(branch, None)
        if answered:
            answered()
    else:
        message_received(reply, branch, headers, body)


def message_received(reply: Reply, branch: str, headers: dict[str, str], body: bytes) -> None:
    """MESSAGE in, SEND out; answered when the SEND is."""
    transaction = transactions.get(branch)
    if transaction is not None:
        if transaction:
            reply(transaction)
        return
    transactions[branch] = b""
    key = URI.search(headers["to"])[1] + ":" + URI.search(headers["from"])[1]
    connection = sessions.get(key)
    if connection is None:
        connection = sessions[key] = connections[len(sessions) % len(connections)]
    tid = b"%x" % next(sequence)

    def acknowledged() -> None:
        response = (
            SIP_OK
            % (headers["via"], headers["from"], headers["to"], headers["call-id"], headers["cseq"])
        ).encode()
        transactions[branch] = response
        reply(response)
        reactor.callLater(5, transactions.pop, branch, None)

    waiting[tid] = acknowledged
    connection.transport.write(SEND % (tid, tid, len(body), len(body), body, tid))


def send_received(connection: Msrp, tid: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
    """SEND in, MESSAGE out; answered when the MESSAGE is."""
    key = headers[b"To-Path"]
    counts[key] = counts.get(key, 0) + 1
    n = next(sequence)
    branch = f"z9hG4bK{n:x}"
    timer = reactor.callLater(32, waiting.pop, branch, None)

    def acknowledged() -> None:
        timer.cancel()
        connection.transport.write(MSRP_OK % (tid, tid))

    waiting[branch] = acknowledged
    pages[-1]((MESSAGE % (n, n, n, len(body))).encode() + body)


pages: list[Reply] = []  # ways to the page users; the latest counts
connections: list[Msrp] = []
sessions: dict[str, Msrp] = {}
counts: dict[bytes, int] = {}
transactions: dict[str, bytes] = {}
waiting: dict = {}
sequence = itertools.count(0x10000000)


def listen(port: int, kind: type[protocol.Protocol], tls: bool) -> None:
    """On loopback, for streams."""
    factory = protocol.Factory.forProtocol(kind)
    if tls:
        context = ssl.DefaultOpenSSLContextFactory(sys.argv[5], sys.argv[5])
        reactor.listenSSL(port, factory, context, BACKLOG, LOOPBACK)
    else:
        reactor.listenTCP(port, factory, BACKLOG, LOOPBACK)


listen(MSRP_PORT, Msrp, "msrps" in sys.argv)
if TRANSPORT == "udp":
    reactor.listenUDP(SIP_PORT, SipDatagrams(), interface=LOOPBACK)
else:
    listen(SIP_PORT, SipStream, TRANSPORT == "tls")
reactor.callWhenRunning(print, f"floor {TRANSPORT} is ready", flush=True)
reactor.run()
