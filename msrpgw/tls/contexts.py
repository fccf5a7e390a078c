"""OpenSSL's contexts, made from ``[tls]``, and the connections that are made from them.

    Tls.configure ──► Certificates ──► contexts ──► a connection for each handshake

Existing connections keep the context that they began with.  Imports this room's other modules.
"""

import datetime
from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from msrpgw.complaints import escaped
from msrpgw.tls.certificates import BadTlsSettings, Certificates, OwnCertificate
from msrpgw.tls.failures import OUTDATED, explain_verification
from msrpgw.tls.names import Names, is_address, names_of
from msrpgw.tls.settings import TlsSettings

_log = Logger(namespace="msrpgw.tls")

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

#: days before its end in which a certificate of ours gets a warning
_SOON = 14

#: which rules a connection follows
Role = Literal["SIP server", "SIP client", "MSRPS server", "MSRPS client"]


class Evidence(msgspec.Struct, frozen=True):
    """What a peer's certificate proves."""

    der: bytes = b""  #: the certificate; empty: the peer has shown none
    names: Names = Names()
    problem: str = ""  #: why no authority of ours vouches for it; empty when one does
    outdated: bool = False  #: whether that is, or is among other things, for its dates

    @property
    def vouched(self) -> bool:
        """Whether there is a certificate, and an authority of ours vouches for it."""
        return bool(self.der) and not self.problem


class _Connection(SSL.Connection):
    """An OpenSSL connection that remembers what is wrong with its peer's certificate."""

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context, None)
        self.problem = ""  #: the first thing that OpenSSL found, but the dates before others
        self.outdated = False  #: whether it was the dates
        # SNI may give the connection another context, while OpenSSL still calls back into this.
        self.begun_with = context


class _Contexts(msgspec.Struct, frozen=True):
    """All that is made from one reading of the files."""

    certificates: Certificates
    by_role: dict[Role, SSL.Context]


class Tls:
    """TLS of the whole program.  One for all; what it gives out follows each ``configure``."""

    def __init__(self, settings: TlsSettings, *, host: str = "", now: Callable[[], float]) -> None:
        """``host``: what peers know our MSRPS by; its certificate is the one MSRPS uses, so that
        ``a=fingerprint`` is right for who asks for any name, and for who asks for none.

        Raises BadTlsSettings.
        """
        self._host = host
        self._now = now
        self.settings = settings
        self._contexts = self.prepare(settings)
        self._tell()

    def prepare(self, settings: TlsSettings) -> _Contexts:
        """Read the files, changing nothing yet.  Raises BadTlsSettings."""
        now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        certificates = Certificates(settings, now)
        return _Contexts(certificates, _make_contexts(settings, certificates, self._host))

    def use(self, settings: TlsSettings, prepared: _Contexts) -> None:
        """Begin each new connection with what was prepared."""
        self.settings = settings
        self._contexts = prepared
        self._tell()

    def _tell(self) -> None:
        now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        for own in self._contexts.certificates.own:
            days = (own.until - now).days
            if days < _SOON:
                _log.warn(
                    "TLS certificate {file} ends in {days} days: renew it, then reload",
                    file=own.file,
                    days=days,
                )
            _log.info(
                "TLS certificate {file} for {names}, good until {until}",
                file=own.file,
                names=own.names.shown(),
                until=f"{own.until:%Y-%m-%d}",
            )

    @property
    def seconds_left(self) -> int:
        """Until the first of our certificates ends; 0 when one has, or there is none."""
        own = self._contexts.certificates.own
        ends = min((each.until.timestamp() for each in own), default=0.0)
        return max(0, int(ends - self._now()))

    @property
    def msrps_certificate(self) -> OwnCertificate | None:
        """Our certificate for MSRPS; None when there is none at all."""
        return self._contexts.certificates.for_host(self._host)

    def creator(self, role: Role, name: str = "") -> "Creator":
        """Makes connections of a role.  ``name``: host that a server is to answer for (SNI)."""
        return Creator(lambda: self._contexts.by_role[role], name)


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class Creator:
    """Makes the OpenSSL side of connections, always with the newest context."""

    def __init__(self, context: Callable[[], SSL.Context], name: str) -> None:
        self._context = context
        self._name = name.strip("[]").removesuffix(".")

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One for a peer that connected to us."""
        return _Connection(self._context())

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One to a peer; the name goes along (RFC 6066 §3), but an address is no name."""
        connection = _Connection(self._context())
        if self._name and not is_address(self._name) and self._name.isascii():
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


def evidence_of(connection: SSL.Connection) -> Evidence:
    """What the peer has shown in a handshake that is done."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return Evidence()
    return Evidence(
        certificate.public_bytes(Encoding.DER),
        names_of(certificate),
        problem_of(connection),
        isinstance(connection, _Connection) and connection.outdated,
    )


def problem_of(connection: SSL.Connection) -> str:
    """What OpenSSL found wrong with the peer's certificate; empty for nothing, so far."""
    return connection.problem if isinstance(connection, _Connection) else ""


def _note(connection: SSL.Connection, number: int) -> None:
    assert isinstance(connection, _Connection)
    outdated = number in OUTDATED
    if not connection.problem or (outdated and not connection.outdated):
        connection.problem = explain_verification(number)
    connection.outdated = connection.outdated or outdated


def _strict(
    connection: SSL.Connection, certificate: crypto.X509, number: int, depth: int, good: int
) -> bool:
    """End the handshake at a certificate that does not verify."""
    if not good:
        _note(connection, number)
    return bool(good)


def _lenient(
    connection: SSL.Connection, certificate: crypto.X509, number: int, depth: int, good: int
) -> bool:
    """Let the handshake go on; whoever is told of it judges by what was noted."""
    if not good:
        _note(connection, number)
    return True


def _make_contexts(
    settings: TlsSettings, certificates: Certificates, host: str
) -> dict[Role, SSL.Context]:
    ask, demand = SSL.VERIFY_PEER, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    required = settings.require_client_certificate
    first = certificates.own[0] if certificates.own else None
    media = certificates.for_host(host)

    def make(own: OwnCertificate | None) -> SSL.Context:
        return _make_context(settings, certificates, own)

    contexts: dict[Role, SSL.Context] = {
        "SIP server": make(first),
        "SIP client": make(first),
        "MSRPS server": make(media),
        "MSRPS client": make(media),
    }
    # Who connects for SIP without a certificate of worth is just not known by name.
    contexts["SIP server"].set_verify(
        demand if required else ask, _strict if required else _lenient
    )
    contexts["SIP client"].set_verify(ask, _strict)
    # For MSRPS a fingerprint may say that a certificate is good, and which one is known later.
    contexts["MSRPS server"].set_verify(demand if required else ask, _lenient)
    contexts["MSRPS client"].set_verify(ask, _lenient)
    _choose_by_name(
        contexts["SIP server"], certificates, {id(own): make(own) for own in certificates.own}
    )
    return contexts


def _choose_by_name(
    context: SSL.Context, certificates: Certificates, made: dict[int, SSL.Context]
) -> None:
    def choose(connection: SSL.Connection) -> None:
        name = connection.get_servername()
        own = certificates.for_host(name.decode("ascii", "replace")) if name else None
        if own is not None:
            connection.set_context(made[id(own)])

    if len(made) > 1:
        context.set_tlsext_servername_callback(choose)


def _make_context(
    settings: TlsSettings, certificates: Certificates, own: OwnCertificate | None
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(_VERSIONS[settings.min_version])
    # A resumed session would keep a peer in whose authority was taken off the list since.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(
        SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_TICKET
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    try:
        context.set_cipher_list(settings.ciphers.encode())
    except SSL.Error:
        problem = f"{escaped(settings.ciphers)!r} names no cipher that OpenSSL has"
        raise BadTlsSettings([("ciphers", problem)]) from None
    if settings.ca_file is None:
        context.set_default_verify_paths()
    store = context.get_cert_store()
    if store is not None:
        for authority in certificates.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
    if own is not None:
        _install(context, own)
    return context


def _install(context: SSL.Context, own: OwnCertificate) -> None:
    assert own.key is not None
    try:
        context.use_certificate(crypto.X509.from_cryptography(own.chain[0]))
        for link in own.chain[1:]:
            context.add_extra_chain_cert(crypto.X509.from_cryptography(link))
        context.use_privatekey(crypto.PKey.from_cryptography_key(own.key))  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError, ValueError) as error:
        problem = f"{own.file!r}: OpenSSL does not take it: {error}"
        raise BadTlsSettings([("certificate", problem)]) from None


def find_problems(
    settings: TlsSettings, now: datetime.datetime | None = None
) -> list[tuple[str, str]]:
    """What can't be configured: each key with what is wrong."""
    if settings == TlsSettings():
        return []
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        _make_contexts(settings, Certificates(settings, now), "")
    except BadTlsSettings as error:
        return error.found
    return []
