"""The two files that say something of names: hosts(5) and resolv.conf(5).

Each is read again when it has changed; it is looked at only when there is a name to look up.
"""

import ipaddress
import os
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from msrpgw.dns.settings import parse_server

_Read = TypeVar("_Read")

#: most bytes of a file that are read
_MAX_SIZE = 1_048_576
#: most servers and search domains that count, as in the C library
_MAX_SERVERS = 3
_MAX_SEARCH = 6


class WatchedFile(Generic[_Read]):
    """What a text file says, as of now; one that can't be read says nothing."""

    def __init__(self, path: str, parse: Callable[[str], _Read]) -> None:
        self._path = path
        self._parse = parse
        self._stamp: tuple[int, ...] | None = None
        self._content = parse("")

    def read(self) -> _Read:
        """The content."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._content = self._parse(self._text() if stamp is not None else "")
        return self._content

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except (OSError, ValueError):
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _text(self) -> str:
        try:
            with open(self._path, "rb") as file:
                return file.read(_MAX_SIZE).decode("utf-8", "replace")
        except OSError:
            return ""


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """The addresses of each name, in the order of the file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        try:
            address = str(ipaddress.ip_address(fields[0])) if fields else ""
        except ValueError:
            continue
        for name in fields[1:]:
            known = found.setdefault(name.lower().rstrip("."), [])
            if address not in known:
                known.append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}


class ResolvConf(NamedTuple):
    """What resolv.conf(5) says."""

    servers: tuple[tuple[str, int], ...]  #: address and port; the local host if there are none
    search: tuple[str, ...]  #: domains to put behind a name
    ndots: int  #: with so many dots a name stands for itself


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read it; what makes no sense is left out."""
    servers: list[tuple[str, int]] = []
    search: list[str] = []
    ndots = 1
    for line in text.splitlines():
        fields = line.partition("#")[0].partition(";")[0].split()
        if len(fields) < 2:
            continue
        if fields[0] == "nameserver":
            try:
                servers.append(parse_server(fields[1].partition("%")[0]))
            except ValueError:
                continue
        elif fields[0] in ("search", "domain"):
            search = [each.lower().strip(".") for each in fields[1:]]
        elif fields[0] == "options":
            for option in fields[1:]:
                name, _, value = option.partition(":")
                if name == "ndots" and value.isascii() and value.isdigit():
                    ndots = min(int(value), 15)
    return ResolvConf(
        tuple(servers[:_MAX_SERVERS]) or (("127.0.0.1", 53),),
        tuple(filter(None, search[:_MAX_SEARCH])),
        ndots,
    )
