"""What a DNS answer says (RFC 1035 §4, RFC 2782, RFC 3403, RFC 2308).

Pure: reads the messages that twisted.names has decoded.
"""

import enum
import ipaddress
from typing import Any, NamedTuple

from twisted.names import dns

#: most records of one answer that are looked at
_RECORDS = 64
#: most aliases in a row
_ALIASES = 8


class Kind(enum.Enum):
    """What is asked for."""

    A = dns.A
    AAAA = dns.AAAA
    SRV = dns.SRV
    NAPTR = dns.NAPTR


class Srv(NamedTuple):
    """Where a service is (RFC 2782)."""

    priority: int  #: lower comes first
    weight: int  #: share among those of the same priority
    port: int
    host: str  #: lower case; empty: the service is not to be had at all


class Naptr(NamedTuple):
    """Which services a domain has (RFC 3403, RFC 3263 §4.1)."""

    order: int  #: lower comes first
    preference: int  #: the same, within an order
    flags: str  #: lower case
    service: str  #: upper case, for example ``SIP+D2U``
    replacement: str  #: name to ask for next, lower case


#: an address, as text
Value = str | Srv | Naptr


class Answer(NamedTuple):
    """What a server said."""

    values: tuple[Value, ...]  #: empty: there is no such name or record
    ttl: float | None  #: seconds that it holds; None: the answer does not tell


def read_answer(message: dns.Message, name: str, kind: Kind) -> Answer:
    """The records that were asked for, aliases followed."""
    names = {name}
    ttls: list[float] = []
    values: list[Value] = []
    records = message.answers[:_RECORDS]
    aliases = [record for record in records if record.type == dns.CNAME]
    for _ in range(_ALIASES):
        for record in [each for each in aliases if _text(each.name) in names]:
            payload: Any = record.payload
            names.add(_text(payload.name))
            ttls.append(record.ttl)
            aliases.remove(record)
    for record in records:
        if record.type == kind.value and _text(record.name) in names:
            value = _read(record.payload, kind)
            if value is not None and value not in values:
                values.append(value)
                ttls.append(record.ttl)
    if values:
        return Answer(tuple(values), float(min(ttls)))
    for record in message.authority[:_RECORDS]:
        if record.type == dns.SOA:  # RFC 2308 §5
            soa: Any = record.payload
            return Answer((), float(min(record.ttl, soa.minimum)))
    return Answer((), None)


def _read(payload: Any, kind: Kind) -> Value | None:
    if kind is Kind.A:
        return str(payload.dottedQuad())
    if kind is Kind.AAAA:
        return str(ipaddress.IPv6Address(payload.address))
    if kind is Kind.SRV:
        return Srv(payload.priority, payload.weight, payload.port, _text(payload.target))
    if payload.regexp.string:
        return None  # RFC 3263 §4.1: those of SIP only replace
    return Naptr(
        payload.order,
        payload.preference,
        payload.flags.string.decode("ascii", "replace").lower(),
        payload.service.string.decode("ascii", "replace").upper(),
        _text(payload.replacement),
    )


def _text(name: dns.Name) -> str:
    return bytes(name.name).decode("ascii", "replace").lower().rstrip(".")


def is_name(text: str) -> bool:
    """Whether a text can be put as a question (RFC 1035 §2.3.4)."""
    return (
        0 < len(text) <= 253
        and text.isascii()
        and all(0 < len(label) <= 63 for label in text.split("."))
    )
