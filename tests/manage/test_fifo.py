"""Management over a FIFO."""

import json
import os
import stat
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.fifo import MAX_REQUEST, PATIENCE, REPLY_TIMEOUT, FifoManagement
from msrpgw.manage.rpc import Command, Dispatcher, Parameter
from msrpgw.timers import Timers
from tests.support import check_no_timers


class FakeReactor:
    """Keeps readers."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """One more."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """One less."""
        self.readers.remove(reader)


class FifoTests(SynchronousTestCase):
    """A client in the same process."""

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "fifo")
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.reactor = FakeReactor()
        self.called: list[str] = []
        echo = Command("echo", self.echo, "Echo.", (Parameter("text", str, "what"),))
        self.fifo = FifoManagement(
            self.reactor, self.timers, self.path, self.directory, Dispatcher([echo])
        )
        self.fifo.start()
        self.addCleanup(self.fifo.stop)

    def echo(self, text: str) -> str:
        self.called.append(text)
        return text

    def request(self, text: str = "x", name: str = "reply") -> bytes:
        call = {"jsonrpc": "2.0", "method": "echo", "params": [text], "id": 1}
        return f":{name}:{json.dumps(call)}".encode()

    def reply_fifo(self, name: str = "reply") -> int:
        """A reply FIFO that somebody reads."""
        path = os.path.join(self.directory, name)
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        return fd

    def read(self, fd: int) -> Any:
        return json.loads(os.read(fd, 65536))

    def write(self, data: bytes) -> None:
        """Through the FIFO itself."""
        fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, data)
        os.close(fd)
        self.fifo.doRead()

    def test_answer(self) -> None:
        fd = self.reply_fifo()
        self.write(self.request())
        self.assertEqual(self.read(fd), {"jsonrpc": "2.0", "result": "x", "id": 1})
        check_no_timers(self, self.clock, self.timers)

    def test_client_that_opens_late(self) -> None:
        """As OpenSIPS's own does."""
        path = os.path.join(self.directory, "reply")
        os.mkfifo(path, 0o600)
        self.write(self.request())
        self.clock.pump([0.05] * 10)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, fd)
        self.clock.pump([0.05] * 2)
        self.assertEqual(self.read(fd)["result"], "x")
        check_no_timers(self, self.clock, self.timers)

    def test_client_that_never_opens(self) -> None:
        os.mkfifo(os.path.join(self.directory, "reply"), 0o600)
        self.write(self.request())
        self.clock.pump([0.1] * int(REPLY_TIMEOUT * 10 + 2))
        check_no_timers(self, self.clock, self.timers)

    def test_long_answer(self) -> None:
        """More than the FIFO holds at a time."""
        fd = self.reply_fifo()
        self.fifo.received(self.request("y" * 200_000))
        got = b""
        for _ in range(10):
            got += os.read(fd, 65536)
            self.clock.advance(0.05)
            if got.endswith(b"\n"):
                break
        self.assertEqual(json.loads(got)["result"], "y" * 200_000)

    def test_parts_and_several(self) -> None:
        data = self.request("a", "") + b"\n" + self.request("b:{", "") + self.request("c", "")
        for size in (1, 7, len(data)):
            self.called.clear()
            for start in range(0, len(data), size):
                self.fifo.received(data[start : start + size])
            self.assertEqual(self.called, ["a", "b:{", "c"])
        check_no_timers(self, self.clock, self.timers)

    def test_nonsense(self) -> None:
        """It is dropped, its writer told if there is a name; the next is answered."""
        fd = self.reply_fifo()
        for data in (b"nonsense", b":reply:{", b"::", b":a/b:{}", b"\xff\xfe", b":reply"):
            self.fifo.received(data)
            self.clock.advance(PATIENCE + 0.02)
        self.assertEqual(self.read(fd)["error"]["code"], -32700)
        self.fifo.received(b":reply:{" + b" " * MAX_REQUEST)
        self.write(self.request())
        self.assertEqual(self.called, ["x"])

    def test_reply_names_that_lead_elsewhere(self) -> None:
        """Nothing is written but into a FIFO of ours in the directory."""
        target = os.path.join(self.directory, "file")
        with open(target, "wb") as file:
            file.write(b"precious")
        os.symlink(target, os.path.join(self.directory, "link"))
        real = self.reply_fifo("real")
        os.symlink(os.path.join(self.directory, "real"), os.path.join(self.directory, "linked"))
        for name in ("file", "link", "linked", "missing", ".", ".."):
            self.fifo.received(self.request("x", name))
        for name in ("../x", "/etc/passwd", "a\0b"):
            self.fifo.received(self.request("x", name))
            self.clock.advance(PATIENCE + 0.02)
        with open(target, "rb") as file:
            self.assertEqual(file.read(), b"precious")
        self.assertEqual(os.read(real, 10), b"")
        check_no_timers(self, self.clock, self.timers)

    def test_mode_and_end(self) -> None:
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(self.fifo.addresses(), [f"fifo:{self.path}"])
        self.successResultOf(self.fifo.stop())
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual(self.reactor.readers, [])

    def test_left_by_a_crash(self) -> None:
        os.chmod(self.path, 0o666)
        again = FifoManagement(self.reactor, self.timers, self.path, "/tmp", Dispatcher([]))
        again.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        again.stop()

    def test_something_else_is_there(self) -> None:
        path = os.path.join(self.directory, "file")
        with open(path, "wb"):
            pass
        other = FifoManagement(self.reactor, self.timers, path, "/tmp", Dispatcher([]))
        with self.assertRaises(CannotListenError):
            other.start()
        self.assertEqual(other.addresses(), [])
