"""HTTPS for the management interface, with or without certificates of the clients."""

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import crypto
from twisted.internet import ssl

from msrpgw.manage.settings import ManageSettings


def tls_options(settings: ManageSettings) -> ssl.CertificateOptions | None:
    """How HTTPS is spoken; None for plain HTTP.

    Raises ValueError whose first argument is the key and whose second says what is wrong.
    """
    if settings.certificate is None:
        return None
    chain = _read_pem("certificate", settings.certificate, x509.load_pem_x509_certificates)
    key_file = settings.private_key or settings.certificate
    key = _read_pem(
        "private_key", key_file, lambda data: serialization.load_pem_private_key(data, None)
    )
    if key.public_key() != chain[0].public_key():
        raise ValueError("private_key", f"{key_file!r} does not belong to the certificate")
    trust = None
    if settings.client_ca is not None:
        found = _read_pem("client_ca", settings.client_ca, x509.load_pem_x509_certificates)
        trust = ssl.trustRootFromCertificates(
            [ssl.Certificate(crypto.X509.from_cryptography(each)) for each in found]
        )
    made, *others = (crypto.X509.from_cryptography(each) for each in chain)
    return ssl.CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(key),
        certificate=made,
        extraCertChain=others,
        trustRoot=trust,
        raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
    )


def _read_pem(key: str, path: str, read: Callable[[bytes], Any]) -> Any:
    try:
        with open(path, "rb") as file:
            return read(file.read())
    except OSError as error:
        raise ValueError(key, f"{path!r}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ValueError(key, f"{path!r} has nothing of that kind in PEM") from None
