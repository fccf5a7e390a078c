"""What systemd offers, and nothing where it is not."""

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.systemd import Notifier, inherited


class NotifierTests(SynchronousTestCase):
    """sd_notify.  What it says in a service's life is tested with the service."""

    def test_nobody_listens(self) -> None:
        for environment in ({}, {"NOTIFY_SOCKET": "/nowhere/notify"}):
            Notifier(environment).tell(READY=1)

    def test_abstract_socket(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("")  # the kernel finds a name
            name = manager.getsockname().decode()
            Notifier({"NOTIFY_SOCKET": "@" + name[1:]}).tell(READY=1, STATUS="well")
            self.assertEqual(manager.recv(100), b"READY=1\nSTATUS=well")

    def test_interval(self) -> None:
        """Half of what the manager waits, if it waits for this process."""
        for environment, interval in (
            ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 15.0),
            ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"}, 0.0),
            ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, 0.0),
            ({"NOTIFY_SOCKET": "/x"}, 0.0),
            ({"WATCHDOG_USEC": "30000000"}, 0.0),
        ):
            self.assertEqual(Notifier(environment).interval, interval, environment)


class InheritedTests(SynchronousTestCase):
    """Socket activation."""

    def test_none(self) -> None:
        self.assertEqual(inherited({}), {})

    def test_for_somebody_else(self) -> None:
        self.assertEqual(inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"}), {})

    def test_by_what_they_are(self) -> None:
        """The descriptors are 3 and following, by systemd's rule."""
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix,
        ):
            udp.bind(("127.0.0.1", 0))
            tcp.bind(("127.0.0.1", 0))
            opened = [udp.fileno(), tcp.fileno(), unix.fileno()]
            self.patch(
                __import__("msrpgw.systemd", fromlist=["ListenFDs"]), "ListenFDs", Given(opened)
            )
            self.assertEqual(
                inherited({}),
                {
                    (socket.SOCK_DGRAM, *udp.getsockname()): opened[0],
                    (socket.SOCK_STREAM, *tcp.getsockname()): opened[1],
                },
            )
            self.assertFalse(os.get_blocking(opened[0]))


class Given:
    """Stands for ListenFDs, whose numbers a test can't choose."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def fromEnvironment(self, environment: object) -> "Given":
        """These."""
        return self

    def inheritedDescriptors(self) -> list[int]:
        """All."""
        return self._descriptors
