"""Why a handshake failed, in the words of an operator.

Pure: OpenSSL's words in, ours out.
"""

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

#: what X509_verify_cert says (openssl/x509_vfy.h)
_VERIFICATION = {
    7: "the certificate's signature is wrong",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is of an unknown authority (self-signed)",
    19: "the certificate is of an unknown authority",
    20: "the certificate is of an unknown authority",
    21: "the certificate is of an unknown authority",
    22: "the certificate's chain is too long",
    24: "the certificate is signed by one that is no authority",
    26: "the certificate is not for this purpose (extendedKeyUsage)",
}

#: those that are about dates
OUTDATED = frozenset({9, 10})

#: in place of what ``explain_verification`` says, which is known to who was called back alone
UNVERIFIED = "the certificate does not verify"

#: parts of OpenSSL's reasons, the first that fits counts
_REASONS = (
    ("certificate verify failed", UNVERIFIED),
    ("peer did not return a certificate", "no client certificate"),
    ("wrong version number", "plain text arrived"),
    ("http request", "plain text arrived"),
    ("https proxy request", "plain text arrived"),
    ("packet length too long", "plain text arrived"),
    ("record layer failure", "plain text arrived"),
    ("unsupported protocol", "no protocol version in common"),
    ("protocol version", "no protocol version in common"),
    ("version too low", "no protocol version in common"),
    ("no protocols available", "no protocol version in common"),
    ("no shared cipher", "no cipher in common"),
    ("alert handshake failure", "no cipher in common, or no certificate that suits the peer"),
    ("alert unknown ca", "the peer does not know the authority of our certificate"),
    ("alert certificate expired", "the peer says that our certificate has expired"),
    ("alert certificate required", "the peer wants a client certificate of ours"),
    ("alert bad certificate", "the peer refused our certificate"),
    ("alert certificate unknown", "the peer refused our certificate"),
    ("alert unsupported certificate", "the peer refused our certificate"),
    ("alert certificate revoked", "the peer says that our certificate was revoked"),
    ("alert unrecognized name", "the peer has no certificate of that name"),
    ("alert no application protocol", "the peer wants an application protocol (ALPN)"),
)

TIMED_OUT = "the handshake took too long"


def explain_verification(number: int) -> str:
    """What is wrong with a certificate, by OpenSSL's number."""
    return _VERIFICATION.get(number, f"{UNVERIFIED} (OpenSSL {number})")


def explain(failure: Failure) -> str:
    """Why TLS ended a connection; "" when it was not TLS."""
    error = failure.value
    if isinstance(error, SSL.Error):
        return _explain_error(error)
    return ""


def explain_loss(failure: Failure) -> str:
    """Why a connection ended before its handshake was done."""
    if failure.check(ConnectionDone, ConnectionLost, ConnectionAborted):
        return "the peer closed the connection"
    return explain(failure) or type(failure.value).__name__


def _explain_error(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in queue if entry]
    text = "; ".join(filter(None, reasons))
    lowered = text.lower()
    for part, words in _REASONS:
        if part in lowered:
            return words
    return text or "OpenSSL gave up without a word"
