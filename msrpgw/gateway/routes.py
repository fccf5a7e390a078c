"""What the policy says of requests: asked once for each conversation, where that is enough.

Imports facts and the public types and interfaces.
"""

from msrpgw.gateway.facts import facts_of
from msrpgw.interfaces import IAddressPolicy, IPolicy
from msrpgw.sip.message import Request
from msrpgw.sip.transaction import ReplyPath
from msrpgw.types import Refusal, Route

#: conversations whose route is kept; with more, the one that was asked for first is forgotten
REMEMBERED = 16_384


class Routes:
    """Asks the policy.  One for the gateway."""

    def __init__(self, policy: IPolicy) -> None:
        self.use(policy)

    def use(self, policy: IPolicy) -> None:
        """Ask this one from now on."""
        self.policy = policy  #: who is asked
        # By request URI, From and To of a MESSAGE, as they came.
        self._kept: dict[tuple[str, str, str], Route | Refusal] = {}
        self._keeps = IAddressPolicy.providedBy(policy)

    def of_message(self, request: Request, source: ReplyPath) -> Route | Refusal:
        """Where a MESSAGE belongs.  Raises SipError when a URI of it can't be read."""
        if not self._keeps:
            return self.policy.route_message(facts_of(request, source))
        addresses = (request.uri, request.from_.uri_text, request.to.uri_text)
        route = self._kept.get(addresses)
        if route is None:
            if len(self._kept) >= REMEMBERED:
                # One by one: all at once, memory went up and down by 20 MB, and left holes.
                del self._kept[next(iter(self._kept))]
            route = self._kept[addresses] = self.policy.route_message(facts_of(request, source))
        return route

    def of_invite(self, request: Request, source: ReplyPath) -> Route | Refusal:
        """Where an initial INVITE belongs.  Raises SipError when a URI of it can't be read."""
        return self.policy.route_invite(facts_of(request, source))
