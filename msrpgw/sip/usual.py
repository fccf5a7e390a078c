"""Heads of MESSAGE, BYE and ACK and of responses as nearly all peers write them, read in one go.

One regular expression knows the fields that come with them, in any order, each but once, in
their usual spelling and without white space to spare.  What is any different, and all that is
wrong, is left to ``head``, which makes the same of it: half of what reading a message costs.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from msrpgw.errors import SipSyntaxError
from msrpgw.sip.fields import (
    NameAddr,
    make_via,
    parse_contact,
    parse_cseq,
    parse_max_forwards,
    parse_to,
    parse_vias,
)
from msrpgw.sip.grammar import TOKEN_CHARS
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.uri import CACHE_SIZE, SipUri, parse_uri

#: how long a body is when nothing says it
NO_LENGTH = -1

#: longer heads are not usual; bytes
MOST = 1800

#: longer Contacts are rare; they must not fill the cache
LONGEST = 256

#: least bytes of a line, its end included
LEAST_LINE = 7

#: fields that may come in any number, since nobody on a message's way asks for them
IGNORED = (
    *("Accept", "Accept-Language", "Allow", "Allow-Events", "Date", "Organization", "Server"),
    *("Subject", "Supported", "User-Agent"),
)

_VALUE = "[!-~]+(?: [!-~]+)*"
_FIRST_VIA = (
    r"SIP/2\.0/([A-Z]+) ([A-Za-z0-9_][A-Za-z0-9_.\-]*)(?::([0-9]{1,5}))?"
    rf";branch=([{TOKEN_CHARS}]+)(;rport)?"
)
_FROM = rf'(?:"([^"\\\0-\x1f\x7f]*)" ?|([{TOKEN_CHARS}]+) ?)?<([!#-;=?-~]+)>;tag=([{TOKEN_CHARS}]+)'


def _compile(start: str, fields: Iterable[tuple[str, str]]) -> "re.Pattern[str]":
    """A head: the start line, then the fields, each once; groups in the order of ``fields``."""
    number = re.compile(start).groups + 1
    alternatives = []
    for name, value in fields:
        # (?(n)(?!)): a field that came before makes the match fail.
        alternatives.append(rf"{name}: (?({number})(?!))({value})")
        number += 1 + re.compile(value).groups
    alternatives.append(f"(?:{'|'.join(IGNORED)}): {_VALUE}")
    # Atomic: a field that is not known does not make it go back through those before it, which
    # took six times as long as finding out.
    return re.compile(rf"{start}(?>(?:\r\n(?:{'|'.join(alternatives)}))*)")


_REQUEST = _compile(
    r"(MESSAGE|BYE|ACK) ([!-~]+) SIP/2\.0",
    (
        # Those of proxies follow the sender's own.
        ("Via", rf"{_FIRST_VIA}((?:\r\nVia: {_VALUE})*)"),
        ("Max-Forwards", "[0-9]{1,3}"),
        ("From", _FROM),
        ("To", _VALUE),
        ("Call-ID", "[!-~]+"),
        ("CSeq", "[0-9]{1,9} (?:MESSAGE|BYE|ACK)"),
        ("Contact", _VALUE),
        ("Content-Type", _VALUE),
        ("Content-Length", "[0-9]{1,9}"),
    ),
)
_RESPONSE = _compile(
    rf"SIP/2\.0 ([1-6][0-9]{{2}}) ({_VALUE})",
    (
        ("Via", _VALUE),
        ("From", _VALUE),
        ("To", _VALUE),
        ("Call-ID", "[!-~]+"),
        ("CSeq", "[0-9]{1,9} (?!INVITE)[A-Z]+"),  # dialogs come from an INVITE's: see ``head``
        ("Contact", _VALUE),
        ("Content-Length", "[0-9]{1,9}"),
    ),
)


def read_usual(text: str) -> tuple[Request | Response, int] | None:
    """Read a head of the usual kind.

    Returns the message without its body and the length of that, NO_LENGTH where nothing says it;
    None for all else, wrong or right.
    """
    try:
        return _read_response(text) if text[:4] == "SIP/" else _read_request(text)
    except SipSyntaxError:
        return None  # the long way says what is wrong


def _read_request(text: str) -> tuple[Request, int] | None:
    match = _REQUEST.fullmatch(text)
    if match is None:
        return None
    (method, uri, via, transport, host, port, branch, asked, others, hops, from_, quoted, bare,
     from_uri, tag, to, call_id, cseq, contact, content_type, length) = match.groups()  # fmt: skip
    if not (via and from_ and to and call_id and cseq) or not _may_be_asked(uri):
        return None
    number = parse_cseq(cseq)
    if number.method != method:
        return None
    typed: dict[str, object] = {
        "via": make_via(transport, host, port, branch, asked is not None),
        "from": NameAddr(quoted or bare or "", parse_uri(from_uri), from_uri, (("tag", tag),)),
        "to": parse_to(to),
        "cseq": number,
    }
    first = {"via": via, "from": from_, "to": to, "call-id": call_id, "cseq": cseq}
    more: dict[str, list[str]] = {}
    if others:
        via = first["via"] = via[: -len(others)]
        more["via"] = [via, *others.split("\r\nVia: ")[1:]]
        for value in more["via"][1:]:
            parse_vias(value)
    if hops is not None:
        parse_max_forwards(hops)
        first["max-forwards"] = hops
    if contact is not None:
        if len(contact) > LONGEST:
            return None
        _check_contact(contact)
        first["contact"] = contact
    if content_type is not None:
        first["content-type"] = content_type
    if length is not None:
        first["content-length"] = length
    request = Request(method, uri, Headers.of_text(text, first, more, typed, partial=True))
    return request, NO_LENGTH if length is None else int(length)


def _read_response(text: str) -> tuple[Response, int] | None:
    match = _RESPONSE.fullmatch(text)
    if match is None:
        return None
    status, reason, via, from_, to, call_id, cseq, contact, length = match.groups()
    if not (via and from_ and to and call_id and cseq):
        return None
    first = {"via": via, "from": from_, "to": to, "call-id": call_id, "cseq": cseq}
    if contact is not None:
        first["contact"] = contact
    if length is not None:
        first["content-length"] = length
    typed: dict[str, object] = {"cseq": parse_cseq(cseq)}
    headers = Headers.of_text(text, first, {}, typed, partial=True)
    response = Response(int(status), reason, headers)
    return response, NO_LENGTH if length is None else int(length)


def _may_be_asked(uri: str) -> bool:
    """Whether a request may have this Request-URI (RFC 3261 §19.1.1).  Raises SipSyntaxError."""
    target = parse_uri(uri)
    return not (isinstance(target, SipUri) and target.headers)


@lru_cache(CACHE_SIZE)
def _check_contact(value: str) -> None:
    """Find out whether a Contact is one; nobody asks for that of a MESSAGE.  Raises
    SipSyntaxError."""
    parse_contact(value)
