"""Asking a target that keeps silent whether it is there (RFC 3261 §11).

A proxy says nothing of a request other than INVITE until it has the answer of somebody behind it
(RFC 4320): slow and dead look alike.  An OPTIONS that may go no further tells them apart.
"""

from collections.abc import Callable
from typing import Any, Protocol

from msrpgw.sip.dead import DeadTargets
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.sending import Target


class ProbingAgent(Protocol):
    """What is needed of the user agent."""

    dead: DeadTargets

    def request(
        self, request: Request, on_response: Callable[[Response], None], *, target: Target
    ) -> Any:
        """Send a request."""

    def new_tag(self) -> str:
        """A tag."""

    def new_call_id(self) -> str:
        """A Call-ID."""

    def contact_uri(self, transport: str = ..., towards: str = ...) -> str:
        """Our own URI."""


class Prober:
    """Owned by the user agent.  There is at most one question to a target at a time."""

    def __init__(self, agent: ProbingAgent) -> None:
        self._agent = agent
        self._asked: set[tuple[str, str, int]] = set()

    def ask(self, target: Target) -> None:
        """Ask; whatever it answers counts as heard from it."""
        key = target[:3]
        if key in self._asked:
            return
        self._asked.add(key)
        agent = self._agent
        uri = target.uri
        fields = [
            ("Max-Forwards", "0"),
            ("From", f"<{agent.contact_uri(target.transport, target.host)}>;tag={agent.new_tag()}"),
            ("To", f"<{uri}>"),
            ("Call-ID", agent.new_call_id()),
            ("CSeq", "1 OPTIONS"),
            ("Accept", "application/sdp"),
        ]

        def answered(response: Response) -> None:
            if not response.local:
                agent.dead.heard(target)
            if response.status >= 200:
                self._asked.discard(key)

        agent.request(Request("OPTIONS", uri, Headers(fields)), answered, target=target)
