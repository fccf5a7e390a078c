"""Who hears of a transaction that its request does not wait for any more.

Each stands in for the request, as the transaction's user.
"""

from typing import Protocol

from msrpgw.sip.client_transaction import ClientTransaction, SendFailure
from msrpgw.sip.message import Response
from msrpgw.sip.sending import Target
from msrpgw.sip.transport import Sending, Transports


class EarlierOwner(Protocol):
    """The request."""

    def earlier_answered(self, earlier: "EarlierAttempt", response: Response) -> None:
        """A target that had kept silent has an answer after all."""

    def earlier_failed(self, earlier: "EarlierAttempt") -> None:
        """A target that had kept silent will not answer any more."""


class EarlierAttempt:
    """The user of a transaction with a target that kept silent.

    The request is not repeated any more; whoever hears it now would deliver it a second time.
    """

    __slots__ = ("_owner", "_sending", "_transaction", "target")

    def __init__(
        self,
        owner: EarlierOwner,
        transaction: ClientTransaction,
        sending: Sending | None,
        target: Target,
    ) -> None:
        self._owner = owner
        self._transaction = transaction
        self._sending = sending
        self.target = target
        transaction.user = self
        if sending is not None:
            sending.on_failure = self._unsendable

    def transmit(self, data: bytes) -> None:
        """Send no more."""

    def _unsendable(self, failure: SendFailure) -> None:
        self._transaction.transport_failed(failure)

    def response_received(self, response: Response) -> None:
        """An answer after all."""
        if response.status >= 200:
            self._done()
        self._owner.earlier_answered(self, response)

    def timed_out(self) -> None:
        """Silence to the end."""
        self._done()
        self._owner.earlier_failed(self)

    def send_failed(self, failure: SendFailure) -> None:
        """It could not even be sent."""
        self._done()
        self._owner.earlier_failed(self)

    def abandon(self) -> None:
        """Its answer is of no more use."""
        self._done()
        self._transaction.abandon()

    def _done(self) -> None:
        if self._sending is not None:
            self._sending.done()
            self._sending = None


class Unheard:
    """The user of a transaction on whose answer nothing depends: a CANCEL (§9.1), or an INVITE
    that was refused at one target and went to the next, when its ACK was lost."""

    __slots__ = ("_target", "_transports")

    def __init__(self, transports: Transports, target: Target) -> None:
        self._transports = transports
        self._target = target

    def transmit(self, data: bytes) -> None:
        """Send to where the INVITE went."""
        self._transports.send(data, self._target, None)

    def response_received(self, response: Response) -> None:
        """The INVITE's own final response says what came of it."""

    def timed_out(self) -> None:
        """The INVITE's own time-out follows."""

    def send_failed(self, failure: SendFailure) -> None:
        """The INVITE's own time-out follows."""
