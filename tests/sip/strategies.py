"""Hypothesis strategies for SIP elements: text that the grammar allows, and messages of it."""

import string

from hypothesis import strategies as st

from msrpgw.sip.grammar import quote
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response

_ALNUM = string.ascii_letters + string.digits
_TOKEN = _ALNUM + "-.!%*_+`'~"
_UNRESERVED = _ALNUM + "-_.!~*'()"

tokens = st.text(_TOKEN, min_size=1, max_size=12)
escapes = st.integers(0, 255).map(lambda octet: f"%{octet:02x}")

#: any text that a header may carry; octets that are no UTF-8 appear as lone surrogates
texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"]),
        st.integers(0xDC80, 0xDCFF).map(chr),
    ),
    max_size=20,
).filter(
    # A run of octets must not make up a valid character, or it comes back as that.
    lambda text: text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == text
)

hostnames = st.from_regex(
    r"[a-zA-Z0-9]{1,8}(\.[a-zA-Z][a-zA-Z0-9-]{0,5}[a-z]){0,2}", fullmatch=True
)
ipv4s = st.ip_addresses(v=4).map(str)
ipv6s = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
hosts = st.one_of(hostnames, ipv4s, ipv6s)
ports = st.one_of(st.none(), st.integers(0, 65535))


def _joined(characters: str, *, smallest: int) -> st.SearchStrategy[str]:
    parts = st.one_of(st.text(characters, min_size=1, max_size=5), escapes)
    return st.lists(parts, min_size=smallest, max_size=4).map("".join)


users = _joined(_UNRESERVED + "&=+$,;?/", smallest=1)
passwords = _joined(_UNRESERVED + "&=+$,", smallest=1)
uri_words = _joined(_UNRESERVED + "[]/:&+$", smallest=1)


@st.composite
def sip_uris(draw: st.DrawFn, *, headers: bool = True) -> str:
    """The text of a SIP URI."""
    text = draw(st.sampled_from(["sip:", "sips:", "SIP:"]))
    if draw(st.booleans()):
        text += draw(users)
        if draw(st.booleans()):
            text += ":" + draw(passwords)
        text += "@"
    text += draw(hosts)
    port = draw(ports)
    if port is not None:
        text += f":{port}"
    for name in draw(st.lists(uri_words, max_size=3)):
        text += f";{name}"
        if draw(st.booleans()):
            text += "=" + draw(uri_words)
    if headers and draw(st.booleans()):
        text += "?" + draw(_joined(_UNRESERVED, smallest=1)) + "=" + draw(escapes)
    return text


other_uris = st.sampled_from(
    ["tel:+1-201-555-0123", "tel:911;phone-context=+1", "urn:service:sos", "http://a.example/?b=c"]
)
uris = st.one_of(sip_uris(), other_uris)

#: header parameters, as (name, raw value)
parameters = st.lists(
    st.tuples(tokens, st.one_of(st.none(), tokens, texts.map(quote))),
    max_size=4,
    unique_by=lambda item: item[0].lower(),
).map(tuple)

methods = st.one_of(st.sampled_from(["MESSAGE", "INVITE", "BYE", "OPTIONS"]), tokens)
bodies = st.binary(max_size=60)


@st.composite
def name_addrs(draw: st.DrawFn) -> str:
    """The text of an address, quoted, bare or without angle brackets."""
    tail = "".join(
        f";{name}" if value is None else f";{name}={value}" for name, value in draw(parameters)
    )
    form = draw(st.sampled_from(["quoted", "bare", "none", "spec"]))
    if form == "spec":
        return (
            f"sip:{draw(tokens.filter(lambda text: '%' not in text and '`' not in text))}@a{tail}"
        )
    name = {
        "quoted": draw(texts.map(quote)) + " ",
        "bare": " ".join(draw(st.lists(tokens, min_size=1, max_size=3))) + " ",
        "none": "",
    }[form]
    return f"{name}<{draw(uris)}>{tail}"


@st.composite
def vias(draw: st.DrawFn) -> str:
    """The text of a Via value with a branch."""
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "SCTP", "X-Y"]))
    port = draw(ports)
    sent_by = draw(hosts) if port is None else f"{draw(hosts)}:{port}"
    more = draw(st.sampled_from(["", ";rport", ";received=192.0.2.1", ';x="a,b;c"']))
    return f"SIP/2.0/{transport} {sent_by};branch=z9hG4bK{draw(tokens)}{more}"


_UNKNOWN = tokens.map(lambda name: f"X-{name}")
_VALUES = texts.map(str.strip).map(lambda text: text.strip("\x85\xa0"))


@st.composite
def _fields(draw: st.DrawFn, method: str) -> Headers:
    items = [("Via", value) for value in draw(st.lists(vias(), min_size=1, max_size=3))]
    items += [
        ("From", draw(name_addrs())),
        ("To", draw(name_addrs())),
        ("Call-ID", draw(tokens)),
        ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}"),
    ]
    items += draw(st.lists(st.tuples(_UNKNOWN, _VALUES), max_size=4))
    return Headers(draw(st.permutations(items)))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request that may be rendered."""
    method = draw(methods)
    uri = draw(st.one_of(sip_uris(headers=False), other_uris))
    return Request(method, uri, draw(_fields(method)), draw(bodies))


@st.composite
def responses(draw: st.DrawFn) -> Response:
    """A response that may be rendered."""
    method = draw(methods)
    status = draw(st.integers(100, 699))
    reason = draw(_VALUES)
    return Response(status, reason, draw(_fields(method)), draw(bodies))
