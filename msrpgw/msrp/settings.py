"""What can be set in the MSRP room: the table ``[msrp]`` of the configuration file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class MsrpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the MSRP endpoint.  Times in seconds, sizes in bytes."""

    #: where to listen: ``ADDRESS:PORT``, IPv6 in brackets; port 0 lets the system choose
    listen: str = "127.0.0.1:2855"
    #: ``msrp://HOST[:PORT]`` that peers reach us at; default: the bound address.
    #: Whether it can be reached decides a=setup: see ``reachable``
    my_uri: str | None = None
    #: where to listen for MSRPS: ``ADDRESS:PORT``; None: MSRPS is not spoken
    listen_tls: str | None = None
    #: ``msrps://HOST[:PORT]`` that peers reach us at; default: the bound address
    my_uri_tls: str | None = None
    #: whether only MSRPS will do; else a call that goes over TLS offers MSRPS, others MSRP,
    #: and peers have their choice
    require_tls: bool = False
    #: what of a path must be the same for two to be one session's: ``uri`` (RFC 4975 §6.1), or
    #: the ``session-id`` alone, where middle boxes change hosts and ports on the way
    path_match: Literal["uri", "session-id"] = "uri"
    #: whether TCP goes to c- and m-lines in place of the path, as middle boxes that anchor media
    #: want it (RFC 6714); peers and boxes that don't know of it are found out
    cema: bool = False
    #: whether peers can connect to ``my_uri``: offers say actpass, else active (RFC 6135)
    reachable: bool = True
    #: ``msrps://[USER@]HOST[:PORT]`` of an MSRP relay that all sessions go through (RFC 4976);
    #: ``msrp://`` for one that is reached in plain text
    relay_uri: str | None = None
    #: who we are to that relay; default: the user in its URI
    relay_username: str | None = None
    #: file whose first line is the password for it
    relay_password_file: str | None = None
    #: a longer message is sent in chunks of this size (RFC 4975 §7.1.1)
    chunk_size: Count = 2048
    #: largest message taken, written to a=max-size; a larger one gets 413
    max_size: Count = 1_048_576
    #: memory for all messages that are being put together; over it 413
    assembly_budget: Count = 67_108_864
    #: a message of which no chunk came for so long is dropped
    assembly_timeout: Seconds = 60.0
    #: most messages being put together at a time in one session
    max_assemblies: Count = 64
    #: how long a SEND waits for its response (RFC 4975 §7.1)
    transaction_timeout: Seconds = 30.0
    #: most SENDs of one session that wait for their response; more are queued in the session
    window: Count = 256
    #: how long a connection may stay without being bound to a session
    bind_timeout: Seconds = 30.0
    #: time for a TCP connection to be made
    connect_timeout: Seconds = 10.0
    #: most connections at a time
    max_connections: Count = 20_000
    #: largest header section of a request
    max_header_size: Count = 16_384
    #: most bytes waiting to be written on one connection before sessions are paused
    write_buffer: Count = 262_144
    #: how many Message-IDs of a session are remembered to recognise repetitions
    remembered_ids: Count = 1024
