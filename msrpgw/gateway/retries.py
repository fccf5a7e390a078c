"""Which failure another attempt may mend, by ``[delivery]``.

Pure: values in, yes or no out.
"""

from msrpgw.gateway.items import Keeper, PageItem, SendItem
from msrpgw.gateway.settings import DeliverySettings
from msrpgw.types import Outcome, OutcomeKind


class Retries:
    """The rules, as configured.  Owned by custody; the gateway asks it, too."""

    def __init__(self, settings: DeliverySettings) -> None:
        self.ttl = settings.message_ttl  #: seconds that delivery is tried; 0: once
        self._sip = frozenset(settings.retry_sip)
        self._msrp = frozenset(settings.retry_msrp)

    def to_msrp(self, outcome: Outcome) -> bool:
        """Whether another attempt at an MSRP user may mend this failure."""
        if not self.ttl:
            return False
        if outcome.setup:
            return outcome.setup in self._sip
        if outcome.kind is OutcomeKind.UNREACHABLE and not outcome.status:
            return True  # its session was lost
        return outcome.status in self._msrp

    def keeps(self, item: PageItem, outcome: Outcome) -> bool:
        """Whether this failure is not its sender's to deal with: the message is ours, or is to be,
        since another call may mend that this one came to nothing."""
        return item.keeper is Keeper.OURS or (outcome.setup > 0 and self.to_msrp(outcome))

    def to_page(self, item: SendItem, outcome: Outcome) -> bool:
        """Whether another attempt at a page user may mend this failure."""
        if not self.ttl or outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.DROPPED):
            return False
        if outcome.kind is OutcomeKind.UNREACHABLE or outcome.status in self._sip:
            return True
        # The page user still knows the same MESSAGE from before the restart: nobody can tell
        # what became of that.
        return outcome.status == 482 and item.repeated
