"""Digest access authentication: challenges, credentials, and the sums (RFC 7616, RFC 8760).

Pure, of both roles and both protocols.  Imports errors only.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msrpgw.errors import RenderError

#: the algorithms that we know, the strongest first, and hashlib's names for them
ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}

_PARAMETER = re.compile(
    r'[ \t,]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s,"]*)[ \t]*(?=,|$)',
    re.DOTALL,
)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_PAIR = re.compile(r'["\\]')
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

#: most parameters that are read; there are eleven in the RFC
_MOST = 30


class Challenge(NamedTuple):
    """What WWW-Authenticate or Proxy-Authenticate asks for (RFC 7616 §3.3)."""

    realm: str
    nonce: str
    algorithm: str = "MD5"  #: as it is written in ALGORITHMS
    qop: bool = False  #: whether ``qop=auth`` is offered; without it the sum is RFC 2069's
    opaque: str | None = None
    stale: bool = False  #: the nonce was too old, the password was right


def digest(algorithm: str, *parts: str) -> str:
    """The hexadecimal hash of the parts with colons between them."""
    text = ":".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.new(ALGORITHMS[algorithm], text, usedforsecurity=False).hexdigest()


def make_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """What stands for the password in files (RFC 7616 §3.4.2)."""
    return digest(algorithm, username, realm, password)


def make_response(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    count: str = "",
    cnonce: str = "",
) -> str:
    """The proof (RFC 7616 §3.4.1); without ``cnonce`` RFC 2069's."""
    ha2 = digest(algorithm, method, uri)
    if cnonce:
        return digest(algorithm, ha1, nonce, count, cnonce, "auth", ha2)
    return digest(algorithm, ha1, nonce, ha2)


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters behind ``Digest``, by name in lower case.

    Empty for another scheme, or what can't be read.  Of several with one name the first counts.
    """
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    found: dict[str, str] = {}
    at = 0
    while at < len(rest.rstrip(" \t,")):
        match = _PARAMETER.match(rest, at)
        if match is None or len(found) >= _MOST:
            return {}
        text = match[2]
        if text.startswith('"'):
            text = _PAIR.sub(r"\1", text[1:-1])
        found.setdefault(match[1].lower(), text)
        at = match.end()
    return found


def parse_challenge(value: str) -> Challenge | None:
    """A challenge that we can meet; None for any other."""
    found = parse_parameters(value)
    if "realm" not in found or "nonce" not in found:
        return None
    wanted = found.get("algorithm", "MD5").upper()
    algorithm = next((each for each in ALGORITHMS if each == wanted), None)
    offers = found.get("qop")
    if algorithm is None:
        return None
    qop = offers is not None and "auth" in (each.strip() for each in offers.lower().split(","))
    if offers is not None and not qop:
        return None  # auth-int alone
    stale = found.get("stale", "").lower() == "true"
    return Challenge(found["realm"], found["nonce"], algorithm, qop, found.get("opaque"), stale)


def render_challenge(challenge: Challenge) -> str:
    """The same as a header value.  Raises RenderError for what can't be quoted."""
    return render(
        {"realm": challenge.realm, "nonce": challenge.nonce},
        {"stale": "true"} if challenge.stale else {},
        {"algorithm": challenge.algorithm},
        {"qop": "auth"} if challenge.qop else {},
    )


def answer_challenge(
    challenge: Challenge,
    username: str,
    password: str,
    method: str,
    uri: str,
    *,
    count: int,
    cnonce: str,
    names_uri: bool = True,
) -> str:
    """The value of Authorization or Proxy-Authorization (RFC 7616 §3.4).

    ``count``: how often the nonce was used, this time included.  ``names_uri``: whether the value
    says what it is about, which one MSRP relay does not bear.  Raises RenderError.
    """
    algorithm = challenge.algorithm
    number = f"{count:08x}"
    proof = make_response(
        algorithm,
        make_ha1(algorithm, username, challenge.realm, password),
        method,
        uri,
        challenge.nonce,
        number,
        cnonce if challenge.qop else "",
    )
    return render(
        {"username": username, "realm": challenge.realm, "nonce": challenge.nonce},
        {"uri": uri} if names_uri else {},
        {"response": proof},
        {"algorithm": algorithm},
        {"opaque": challenge.opaque} if challenge.opaque is not None else {},
        {"cnonce": cnonce, "qop": "auth", "nc": number} if challenge.qop else {},
    )


#: parameters that are written without quotes (RFC 7616 §3.4, RFC 3261 §25.1)
_BARE = frozenset({"algorithm", "nc", "stale"})


def render(*parts: Mapping[str, str]) -> str:
    """A value of scheme Digest.  In a challenge qop is quoted, in credentials it is not."""
    credentials = any("response" in part for part in parts)
    return "Digest " + ", ".join(_rendered(parts, credentials))


def _rendered(parts: Iterable[Mapping[str, str]], credentials: bool) -> Iterable[str]:
    for part in parts:
        for name, value in part.items():
            if _CONTROLS.search(value):
                raise RenderError("a control character in an authentication parameter")
            bare = name in _BARE or (name == "qop" and credentials)
            yield f"{name}={value}" if bare else f'{name}="{_NEEDS_PAIR.sub(_escaped, value)}"'


def _escaped(match: "re.Match[str]") -> str:
    return "\\" + match[0]
