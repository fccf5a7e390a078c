"""Why handshakes fail, in an operator's words."""

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.tls.failures import explain, explain_loss, explain_verification


def error(*reasons: str) -> Failure:
    """What pyOpenSSL raises."""
    return Failure(SSL.Error([("SSL routines", "", reason) for reason in reasons]))


class FailureTests(SynchronousTestCase):
    """OpenSSL's words in, ours out."""

    def test_words(self) -> None:
        for theirs, ours in (
            ("wrong version number", "plain text arrived"),
            ("http request", "plain text arrived"),
            ("unsupported protocol", "no protocol version in common"),
            ("tlsv1 alert protocol version", "no protocol version in common"),
            ("no shared cipher", "no cipher in common"),
            ("peer did not return a certificate", "no client certificate"),
            ("certificate verify failed", "the certificate does not verify"),
            ("tlsv1 alert unknown ca", "the peer does not know the authority of our certificate"),
            ("sslv3 alert certificate expired", "the peer says that our certificate has expired"),
            (
                "tlsv13 alert certificate required",
                "the peer wants a client certificate of ours",
            ),
            ("something new", "something new"),
        ):
            self.assertEqual(explain(error(theirs)), ours)
            self.assertEqual(explain_loss(error(theirs)), ours)

    def test_several_reasons(self) -> None:
        self.assertEqual(explain(error("what", "wrong version number")), "plain text arrived")

    def test_no_reason(self) -> None:
        for nothing in (Failure(SSL.Error()), Failure(SSL.Error([])), error("")):
            self.assertEqual(explain(nothing), "OpenSSL gave up without a word")

    def test_no_matter_of_tls(self) -> None:
        for reason in (Failure(ConnectionDone()), Failure(ConnectionLost())):
            self.assertEqual(explain(reason), "")
            self.assertEqual(explain_loss(reason), "the peer closed the connection")
        self.assertEqual(explain_loss(Failure(OSError())), "OSError")

    def test_certificates(self) -> None:
        self.assertEqual(explain_verification(10), "the certificate has expired")
        self.assertEqual(
            explain_verification(9999), "the certificate does not verify (OpenSSL 9999)"
        )
