"""What a leg tells the gateway session that it belongs to."""

from typing import TYPE_CHECKING, Protocol

from msrpgw.msrp.session import Incoming, Report

if TYPE_CHECKING:
    from msrpgw.gateway.leg import Leg


class LegEnd:
    """Why a leg ended."""

    __slots__ = ("code", "reason", "retry_after", "was_up")

    def __init__(self, code: int, reason: str, was_up: bool, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after  #: seconds that the peer asks us to wait; 0: it did not
        self.code = code  #: SIP status that set-up failed with; 0 after BYE
        self.reason = reason  #: in words for an operator
        self.was_up = was_up  #: False: set-up failed


class LegListener(Protocol):
    """Who hears of the leg: its gateway session, which may have two for a moment."""

    def is_of_use(self, leg: "Leg") -> bool:
        """Whether a call that we made is wanted, now that the peer told what it takes."""

    def leg_up(self, leg: "Leg") -> None:
        """Messages can be sent now; after a move, again."""

    def leg_moving(self, leg: "Leg", reason: str) -> None:
        """The MSRP session was lost or replaced; messages wait until ``leg_up``."""

    def dialog_changed(self, leg: "Leg") -> None:
        """The dialog is there, or its target has changed."""

    def leg_ended(self, leg: "Leg", end: LegEnd) -> None:
        """The leg is over; told exactly once."""

    @property
    def urgent(self) -> bool:
        """Whether it is a call for help."""

    def send_received(self, leg: "Leg", incoming: Incoming) -> None:
        """The MSRP user sent a whole message."""

    def report_received(self, leg: "Leg", report: Report) -> None:
        """The MSRP user, or a relay, sent a REPORT."""
