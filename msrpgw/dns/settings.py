"""What can be set about names: the table ``[dns]`` of the configuration file."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]

_PORT = 53


class DnsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the resolver.  Times in seconds."""

    #: servers to ask, ``ADDRESS`` or ``ADDRESS:PORT``, IPv6 in brackets if there is a port;
    #: default: those of /etc/resolv.conf
    servers: tuple[str, ...] = ()
    #: file of names that are looked up there and nowhere else; empty: none
    hosts: str = "/etc/hosts"
    #: how long one look-up may take, all its repetitions included
    timeout: Seconds = 5.0
    #: longest time that an answer is kept, whatever its TTL
    max_ttl: Seconds = 3600.0
    #: longest time that it is kept that there is no such name or record
    negative_ttl: Seconds = 30.0
    #: most answers kept
    max_kept: Count = 10_000
    #: most look-ups at a time; more fail at once
    max_look_ups: Count = 500


def parse_server(text: str) -> tuple[str, int]:
    """Read ``ADDRESS`` or ``ADDRESS:PORT``.  Raises ValueError saying what is wrong."""
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port[1:] if port.startswith(":") else "" if port or not bracket else str(_PORT)
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(
            f"{text!r} must read ADDRESS or ADDRESS:PORT, with an IP address"
        ) from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{text!r} has no valid port")
    return str(address), int(port)


def find_problems(settings: DnsSettings) -> Iterator[tuple[str, str]]:
    """Key and text of each thing that is wrong."""
    for text in settings.servers:
        try:
            parse_server(text)
        except ValueError as error:
            yield "servers", str(error)
    if settings.timeout == 0:
        yield "timeout", "must be more than 0"
