"""Whom a certificate names, and whether that is who was wanted (RFC 5922 §7).

Pure: imports nothing of msrpgw.
"""

import ipaddress
from collections.abc import Iterable

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

#: most names of one certificate that are looked at
MAX_NAMES = 256

#: longest part of a certificate's names that is shown in one go
_SHOWN = 200


class Names(msgspec.Struct, frozen=True):
    """What a certificate says of its holder; hosts in lower case, without a dot at the end."""

    #: hosts of sip: URIs without a user part (RFC 5922 §7.1)
    sip: frozenset[str] = frozenset()
    #: DNS names; the common name where there is no subjectAltName at all
    dns: frozenset[str] = frozenset()
    #: IP addresses, in their usual form
    addresses: frozenset[str] = frozenset()

    @property
    def sip_domains(self) -> frozenset[str]:
        """SIP domain identities: DNS names count only where there is no sip: URI (§7.1)."""
        return self.sip or self.dns

    def covers_sip(self, host: str) -> bool:
        """Whether the holder may answer for a SIP URI's host.

        Names are compared whole; a wildcard stands for nothing but itself (§7.2).
        """
        return _plain(host) in (self.addresses | self.sip if is_address(host) else self.sip_domains)

    def covers_host(self, host: str) -> bool:
        """Whether the holder may be an MSRP URI's host (RFC 4975 §5.4).  No wildcards either."""
        return _plain(host) in (self.addresses if is_address(host) else self.dns)

    def shown(self) -> str:
        """All of them, for a log line: visible ASCII only, cut short."""
        names = sorted({f"sip:{each}" for each in self.sip} | self.dns | self.addresses)
        return ascii(", ".join(names)[:_SHOWN])[1:-1] or "no name"


def is_address(host: str) -> bool:
    """Whether a host, in brackets or not, is an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _plain(host: str) -> str:
    host = host.strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def names_of(certificate: x509.Certificate) -> Names:
    """Whom a certificate names.  One whose names can't be read names nobody."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return Names(dns=_common_name(certificate))
    except Exception:  # each kind of nonsense has an exception of its own, with no common root
        return Names()
    sip: set[str] = set()
    dns: set[str] = set()
    addresses: set[str] = set()
    for name in list(extension.value)[:MAX_NAMES]:
        if isinstance(name, x509.DNSName):
            dns.add(_plain(name.value))
        elif isinstance(name, x509.IPAddress):
            addresses.add(str(name.value))
        elif isinstance(name, x509.UniformResourceIdentifier):
            sip.update(_sip_domain(name.value))
    return Names(frozenset(sip), frozenset(dns), frozenset(addresses))


def _common_name(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except Exception:
        return frozenset()
    # §7.1: only a valid DNS name counts, and a person's name is none.
    texts = (_plain(str(each.value)) for each in found)
    return frozenset(text for text in texts if "." in text and not _odd(text))


def _odd(text: str) -> bool:
    return not all(c.isascii() and (c.isalnum() or c in "-.*") for c in text)


def _sip_domain(uri: str) -> Iterable[str]:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "sip" or "@" in rest:
        return  # sips: does not count either, and a user part names a person
    hostport = rest.partition(";")[0].partition("?")[0]
    host = hostport[: hostport.find("]") + 1] or hostport.partition(":")[0]
    if host:
        yield _plain(host)
