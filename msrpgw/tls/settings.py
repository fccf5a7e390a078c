"""What can be set about TLS: the table ``[tls]`` of the configuration file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of TLS, for SIP and MSRPS.  Certificates are read again at each reload."""

    #: PEM files, each with a certificate of ours and the chain that leads to its CA; who connects
    #: and names a host gets the one that covers it, others the first
    certificate: tuple[str, ...] = ()
    #: PEM files with their keys, in the same order; empty when each stands beside its certificate
    private_key: tuple[str, ...] = ()
    #: PEM file with the CAs whose word counts; default: those of the system
    ca_file: str | None = None
    #: oldest version of TLS that is spoken
    min_version: Literal["1.2", "1.3"] = "1.2"
    #: ciphers of TLS 1.2, as OpenSSL writes them; those of TLS 1.3 are all good
    ciphers: str = "ECDHE+AESGCM:ECDHE+CHACHA20"
    #: whether peers that connect must have a certificate that a CA of ours vouches for; MSRPS
    #: peers may have one with the fingerprint of their SDP instead
    require_client_certificate: bool = False
    #: MSRPS: when a certificate that no CA of ours vouches for is good, if it has the fingerprint
    #: of its owner's SDP (RFC 4572): when that SDP came over TLS, ``always``, or ``never``
    self_signed: Literal["protected", "always", "never"] = "protected"
    #: whether fingerprints made with SHA-1 count (RFC 4572 §5), where there are no better ones
    sha1_fingerprints: bool = False
    #: seconds that a handshake may take
    handshake_timeout: Annotated[float, Meta(gt=0)] = 10.0
    #: most handshakes of peers under way at a time, on the SIP side and on the MSRP side
    max_handshakes: Annotated[int, Meta(ge=1)] = 1000
