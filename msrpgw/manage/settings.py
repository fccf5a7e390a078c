"""What can be set in the management room: the table ``[manage]`` of the configuration file."""

import ipaddress
import os
import stat
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta


class ManageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the management interface.  Nothing listens unless it is asked for."""

    #: where to listen for HTTP: ``ADDRESS:PORT``, IPv6 in brackets, or ``unix:/path``
    http: tuple[str, ...] = ()
    #: file with the token that HTTP requests must bear; needed off loopback
    token_file: str | None = None
    #: file with our certificate, and those that vouch for it, for HTTPS on all but paths; PEM
    certificate: str | None = None
    #: file with its private key, PEM; none: it is in the certificate's file
    private_key: str | None = None
    #: file with who vouches for clients, which then must show a certificate; PEM
    client_ca: str | None = None
    #: further names that a Host header may have
    hosts: tuple[str, ...] = ()
    #: where to listen for datagrams, on loopback: ``ADDRESS:PORT``
    datagram: str | None = None
    #: path of a FIFO in OpenSIPS's manner
    fifo: str | None = None
    #: directory of the reply FIFOs that its clients make
    fifo_reply_directory: str = "/tmp"
    #: most HTTP connections at a time
    max_connections: Annotated[int, Meta(ge=1)] = 100


class Place(msgspec.Struct, frozen=True):
    """Where to listen: an address and a port, or a path."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def loopback(self) -> bool:
        """Whether nobody on another machine can reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback


def parse_place(text: str) -> Place:
    """Read ``ADDRESS:PORT`` or ``unix:/path``.  Raises ValueError saying what is wrong."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not os.path.isabs(path):
            raise ValueError(f"{text!r}: the path must be absolute")
        return Place(path=path)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} must read ADDRESS:PORT or unix:/path") from None
    if not colon or (address.version == 6) != bracketed:
        raise ValueError(f"{text!r} must read ADDRESS:PORT, IPv6 in brackets")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{text!r}: {port!r} is no port")
    return Place(str(address), int(port))


def read_token(path: str) -> bytes:
    """The token in a file.  Raises ValueError when others could read it, or it is no token."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(4096).strip()
    except OSError as error:
        raise ValueError(f"{path!r}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ValueError(f"{path!r} can be read by others; its mode must be 0600 or less")
    if len(token) < 16 or not token.isascii() or b" " in token:
        raise ValueError(f"{path!r} must hold one token of at least 16 characters")
    return token


def _check_tls(settings: ManageSettings) -> Iterator[tuple[str, str]]:
    for key in ("private_key", "client_ca"):
        if settings.certificate is None and getattr(settings, key) is not None:
            yield key, "has no effect without certificate"
    if settings.certificate is not None:
        # Not above: OpenSSL is not needed to show twistd's help.
        from msrpgw.manage.tls import tls_options

        try:
            tls_options(settings)
        except ValueError as error:
            key, text = error.args
            yield key, text


def find_problems(settings: ManageSettings) -> Iterator[tuple[str, str]]:
    """What can't be configured: each key with what is wrong."""
    off_loopback = []
    for text in settings.http:
        try:
            place = parse_place(text)
        except ValueError as error:
            yield "http", str(error)
        else:
            if not place.loopback:
                off_loopback.append(text)
    if settings.token_file is not None:
        try:
            read_token(settings.token_file)
        except ValueError as error:
            yield "token_file", str(error)
    elif off_loopback and settings.client_ca is None:
        yield "http", f"{off_loopback[0]!r} is off loopback: that needs token_file or client_ca"
    yield from _check_tls(settings)
    if settings.datagram is not None:
        try:
            place = parse_place(settings.datagram)
        except ValueError as error:
            yield "datagram", str(error)
        else:
            if place.path:
                yield "datagram", f"{settings.datagram!r} must read ADDRESS:PORT"
            elif not place.loopback:
                yield "datagram", f"{settings.datagram!r} must be on loopback"
    if settings.fifo is not None and not os.path.isabs(settings.fifo):
        yield "fifo", f"{settings.fifo!r}: the path must be absolute"
