"""What can be set in the SIP room: the table ``[sip]`` of the configuration file."""

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class RegistrationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address that we register."""

    aor: str  #: address of record: ``sip:USER@DOMAIN``
    #: URI that REGISTER goes to; default: the domain
    registrar: str | None = None
    expires: Annotated[float, Meta(ge=60)] = 3600.0  #: seconds that we ask for


class SipSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the SIP user agent.  Times in seconds, sizes in bytes."""

    #: where to listen: ``udp:ADDRESS:PORT``, the same with ``tcp`` or ``tls``, IPv6 in brackets
    listen: tuple[str, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    #: host[:port] that others reach us at, for Contact and Via, or one for each address family;
    #: default: the bound address
    advertised_contact: str | tuple[str, ...] | None = None
    #: a ``sip:`` or ``sips:`` URI that requests outside dialogs go through (RFC 3261 §8.1.2), or
    #: several, to be tried in this order
    outbound_proxy: str | tuple[str, ...] | None = None
    #: domain of the request URI, ``*.`` for all below it -> what stands for ``outbound_proxy``
    routes: dict[str, str | tuple[str, ...]] = {}
    #: silence of a target after which the next one is tried (RFC 3263 §4.3); 0: timer B or F
    failover_time: Seconds = 1.5
    #: how long a target that failed is asked after all others; 0: it is not remembered
    blacklist_time: Seconds = 30.0
    #: value of User-Agent and Server
    user_agent: str = "msrpgw"
    #: estimate of the round-trip time (RFC 3261 §17.1.1.1)
    t1: Seconds = 0.5
    #: longest interval between retransmissions of a request other than INVITE
    t2: Seconds = 4.0
    #: how long a message stays in the network
    t4: Seconds = 5.0
    #: how long a ringing INVITE may stay without a final answer (timer C, RFC 3261 §16.6)
    timer_c: Seconds = 180.0
    #: how long an INVITE dialog lives without a refresh (RFC 4028); 0: we ask for no limit
    session_expires: Seconds = 1800.0
    #: the least of that which a peer may ask us for, at least 90
    min_se: Annotated[float, Meta(ge=90)] = 90.0
    #: a request larger than this goes over TCP (RFC 3261 §18.1.1)
    udp_limit: Count = 1300
    #: how much of what came over UDP the kernel keeps until it is read, if it may
    udp_buffer: Count = 1_048_576
    #: largest message taken from the wire
    max_message_size: Count = 262144
    #: most header fields of a message
    max_headers: Count = 200
    #: longest header line
    max_line_length: Count = 8192
    #: most transactions at a time; more requests get 503
    max_transactions: Count = 100_000
    #: most TCP connections at a time, and as many TLS connections
    max_connections: Count = 10_000
    #: a TCP connection on which nothing came for so long is closed
    idle_timeout: Seconds = 600.0
    #: time for a TCP connection to be made
    connect_timeout: Seconds = 5.0
    #: addresses that requests for us are to reach us by, registered as long as we run: tables with
    #: ``aor`` and, if need be, ``registrar`` and ``expires``
    registrations: tuple[RegistrationSettings, ...] = ()
    #: follow a 3xx answer to an INVITE to its first Contact
    follow_redirects: bool = False
