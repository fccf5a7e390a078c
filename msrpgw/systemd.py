"""What systemd offers a service: to be told how it is (sd_notify), and sockets that it opened.

Both are silent where there is no systemd.  Imports nothing of msrpgw.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping

from twisted.python.systemd import ListenFDs

#: kind of socket, address and port
Bound = tuple[int, str, int]


class Notifier:
    """Tells the service manager how the service is (sd_notify(3)).  Never blocks, never raises."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path
        usec = environment.get("WATCHDOG_USEC", "")
        pid = environment.get("WATCHDOG_PID", "")
        watched = usec.isdigit() and (not pid or pid == str(os.getpid()))
        #: seconds from one sign of life to the next; 0: nobody waits for any
        self.interval = int(usec) / 2_000_000 if self._path and watched else 0.0

    def tell(self, **state: object) -> None:
        """Send assignments such as ``READY=1``."""
        if not self._path:
            return
        text = "\n".join(f"{name}={value}" for name, value in state.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            with contextlib.suppress(OSError):
                channel.sendto(text.encode(), self._path)


def first_environment() -> dict[str, str]:
    """The environment that this process began with; empty where there is no Linux /proc.

    Twisted's parser of ``systemd:`` endpoints takes ``LISTEN_FDS`` out of ``os.environ`` when
    twistd looks for its plugins.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = file.read().split(b"\0")
    except OSError:
        return {}
    return {
        os.fsdecode(name): os.fsdecode(value)
        for name, equals, value in (pair.partition(b"=") for pair in pairs)
        if equals
    }


def inherited(environment: MutableMapping[str, str]) -> dict[Bound, int]:
    """Descriptors of sockets that systemd opened for us (sd_listen_fds(3)), by what they are."""
    found: dict[Bound, int] = {}
    for descriptor in ListenFDs.fromEnvironment(environment).inheritedDescriptors():
        with socket.socket(fileno=os.dup(descriptor)) as handle:
            if handle.family in (socket.AF_INET, socket.AF_INET6):
                handle.setblocking(False)  # systemd hands over what blocks
                host, port = handle.getsockname()[:2]
                found[handle.type, host, port] = descriptor
    return found
