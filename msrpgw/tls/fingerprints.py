"""Fingerprints of certificates, as SDP carries them: ``a=fingerprint`` (RFC 4572 §5, RFC 8122).

Pure: imports nothing of msrpgw.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

#: hash functions, the strongest first; MD5 and MD2 prove nothing
HASHES = ("sha-512", "sha-384", "sha-256", "sha-224")
#: counts only where the configuration says so
WEAK_HASH = "sha-1"

_HEX = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*\Z")


class Fingerprint(msgspec.Struct, frozen=True):
    """The hash of a certificate's DER form."""

    hash: str  #: name of the function, lower case: ``sha-256``
    digest: bytes

    def render(self) -> str:
        """As it stands in SDP: ``sha-256 AB:CD:…``."""
        return f"{self.hash} {self.digest.hex(':').upper()}"


def parse_fingerprint(text: str) -> Fingerprint | None:
    """Read the value of ``a=fingerprint``; None when it is none.  The hash may be unknown."""
    name, _, digest = text.strip().partition(" ")
    digest = digest.strip()
    if not name or not _HEX.match(digest):
        return None
    return Fingerprint(name.lower(), bytes.fromhex(digest.replace(":", "")))


def make_fingerprint(der: bytes, hash_name: str = "sha-256") -> Fingerprint:
    """Fingerprint of a certificate."""
    return Fingerprint(hash_name, hashlib.new(hash_name.replace("-", ""), der).digest())


def usable(fingerprints: Sequence[Fingerprint], *, sha1: bool) -> tuple[Fingerprint, ...]:
    """Those of the strongest hash that counts (RFC 8122 §5); empty when none does."""
    for name in (*HASHES, WEAK_HASH) if sha1 else HASHES:
        found = tuple(each for each in fingerprints if each.hash == name)
        if found:
            return found
    return ()


def matches(fingerprints: Sequence[Fingerprint], der: bytes) -> bool:
    """Whether a certificate has one of these fingerprints, each of a hash that is known."""
    return any(
        hmac.compare_digest(make_fingerprint(der, each.hash).digest, each.digest)
        for each in fingerprints
    )
