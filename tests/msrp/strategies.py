"""Hypothesis strategies for MSRP."""

from hypothesis import strategies as st

from msrpgw.msrp.uri import MsrpUri

ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKENS = st.text(ALPHANUMERIC + "-.!%*_+`'~", min_size=1, max_size=10)
IDENTS = st.tuples(
    st.sampled_from(ALPHANUMERIC), st.text(ALPHANUMERIC + ".-+%=", min_size=3, max_size=31)
).map("".join)
HOSTS = st.one_of(
    st.text("abcxyz0189-.", min_size=1, max_size=12),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
URIS = st.builds(
    MsrpUri,
    scheme=st.sampled_from(("msrp", "msrps")),
    host=HOSTS,
    port=st.none() | st.integers(0, 65535),
    session_id=st.text(ALPHANUMERIC + "-._~+=/", max_size=20),
    transport=st.just("tcp") | TOKENS.map(str.lower),
    userinfo=st.text(ALPHANUMERIC + "-._~", max_size=8),
    parameters=st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=2).map(tuple),
)
#: bodies with line ends and hyphens in them, where a parser goes wrong if it can
BODIES = st.lists(
    st.sampled_from((b"\r\n", b"-------", b"$", b"+", b"\r", b"\n", b"abcd", b"\0", b"\xc3\xa9"))
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)
