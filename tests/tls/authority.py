"""Certificates of every kind, made on the spot."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from msrpgw.tls.contexts import Tls
from msrpgw.tls.fingerprints import Fingerprint, make_fingerprint
from msrpgw.tls.settings import TlsSettings

#: seconds since 1970 at which the tests take place, as far as our own checks go
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

_VALID = (datetime.datetime(2020, 1, 1), datetime.datetime(2099, 1, 1))
_EXPIRED = (datetime.datetime(2001, 1, 1), datetime.datetime(2002, 1, 1))
_LATER = (datetime.datetime(2098, 1, 1), datetime.datetime(2099, 1, 1))


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Issued:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """What a fingerprint is of."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def fingerprint(self) -> Fingerprint:
        """The usual one."""
        return make_fingerprint(self.der)

    def key_pem(self, password: bytes = b"") -> bytes:
        """The key, encrypted if there is a password."""
        how: KeySerializationEncryption = NoEncryption()
        if password:
            how = BestAvailableEncryption(password)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    def write(self, path: str) -> str:
        """Certificate and key in one file."""
        Path(path).write_bytes(self.pem + self.key_pem())
        return path


def issue(
    *dns: str,
    uris: tuple[str, ...] = (),
    ips: tuple[str, ...] = (),
    common_name: str = "test",
    issuer: Issued | None = None,
    authority: bool = False,
    expired: bool = False,
    later: bool = False,
    key: Key | None = None,
) -> Issued:
    """Make one; without ``issuer`` it vouches for itself, without ``key`` a key is made."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begin, end = _EXPIRED if expired else _LATER if later else _VALID
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    names: list[x509.GeneralName] = [
        *map(x509.DNSName, dns),
        *map(x509.UniformResourceIdentifier, uris),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in ips),
    ]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, SHA256()), key)


def make_authority(name: str = "Test CA") -> Issued:
    """One whose word may count."""
    return issue(common_name=name, authority=True)


#: the authority that the tests' peers know; made once, for it takes its time
CA = make_authority()


def make_tls(
    folder: str, own: Issued | None, ca: Issued = CA, host: str = "", **settings: object
) -> Tls:
    """TLS of one party that keeps its files in ``folder``, which is made."""
    Path(folder).mkdir(parents=True)
    Path(folder, "ca.pem").write_bytes(ca.pem)
    certificate = (own.write(f"{folder}/own.pem"),) if own is not None else ()
    made = TlsSettings(certificate=certificate, ca_file=f"{folder}/ca.pem", **settings)  # type: ignore[arg-type]
    return Tls(made, host=host, now=NOW.timestamp)
