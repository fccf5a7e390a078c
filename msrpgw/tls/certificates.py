"""Our certificates: read from files, checked, chosen by name.

Imports errors, names, fingerprints and settings.
"""

import datetime
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from msrpgw.errors import ConfigError
from msrpgw.tls.fingerprints import Fingerprint, make_fingerprint
from msrpgw.tls.names import Names, names_of
from msrpgw.tls.settings import TlsSettings


class BadTlsSettings(ConfigError):
    """The table [tls] can't be used; ``found`` has each key with what is wrong."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__([f"[tls] {key}: {text}" for key, text in found])
        self.found = found


class OwnCertificate:
    """One certificate of ours, with its chain and its key."""

    def __init__(
        self, file: str, chain: list[x509.Certificate], key: PrivateKeyTypes | None
    ) -> None:
        self.file = file
        self.chain = chain  #: our own comes first
        self.key = key
        self.names: Names = names_of(chain[0])
        self.until: datetime.datetime = chain[0].not_valid_after_utc

    @property
    def fingerprint(self) -> Fingerprint:
        """What ``a=fingerprint`` of our SDP says."""
        return make_fingerprint(self.chain[0].public_bytes(Encoding.DER))


class Certificates:
    """What the files of ``[tls]`` hold at one moment.

    Invariant: each certificate has its key and is valid.
    """

    def __init__(self, settings: TlsSettings, now: datetime.datetime) -> None:
        """Read the files.  Raises BadTlsSettings with everything that is wrong."""
        self.own: list[OwnCertificate] = []
        self.authorities: list[x509.Certificate] = []
        problems = list(self._read(settings, now))
        if problems:
            raise BadTlsSettings(problems)

    def _read(self, settings: TlsSettings, now: datetime.datetime) -> Iterator[tuple[str, str]]:
        files, keys = settings.certificate, settings.private_key or settings.certificate
        if len(keys) != len(files):
            yield (
                "private_key",
                f"must name as many files as certificate, {len(files)}, or none",
            )
            return
        for file, key_file in zip(files, keys, strict=True):
            try:
                own = OwnCertificate(file, _read_certificates(file), None)
                _check_dates(own, now)
            except ValueError as error:
                yield "certificate", str(error)
                continue
            try:
                own.key = _read_key(key_file)
                _check_key(own, key_file)
            except ValueError as error:
                yield "private_key", str(error)
                continue
            self.own.append(own)
        if settings.ca_file is not None:
            try:
                self.authorities = _read_certificates(settings.ca_file)
            except ValueError as error:
                yield "ca_file", str(error)

    def for_host(self, host: str) -> OwnCertificate | None:
        """The first that covers a host, else the first of all; None when there are none."""
        for own in self.own:
            if own.names.covers_host(host) or own.names.covers_sip(host):
                return own
        return self.own[0] if self.own else None


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"{path!r}: {error.strerror}") from None


def _read_certificates(path: str) -> list[x509.Certificate]:
    data = _read_file(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ValueError(f"{path!r} holds no certificate in PEM form") from None


def _read_key(path: str) -> PrivateKeyTypes:
    data = _read_file(path)
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise ValueError(f"{path!r}: the key is encrypted, and nobody is there to ask") from None
    except Exception:  # ValueError, UnsupportedAlgorithm
        raise ValueError(f"{path!r} holds no private key in PEM form that can be used") from None


def _check_dates(own: OwnCertificate, now: datetime.datetime) -> None:
    begin = own.chain[0].not_valid_before_utc
    if own.until < now:
        raise ValueError(f"{own.file!r} has expired on {own.until:%Y-%m-%d %H:%M} UTC")
    if begin > now:
        raise ValueError(f"{own.file!r} is not valid before {begin:%Y-%m-%d %H:%M} UTC")


def _check_key(own: OwnCertificate, key_file: str) -> None:
    assert own.key is not None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own.key.public_key().public_bytes(*form) != own.chain[0].public_key().public_bytes(*form):
        raise ValueError(f"{key_file!r} is not the key of {own.file!r}")
