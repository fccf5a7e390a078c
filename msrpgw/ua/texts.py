"""What the users of this room say and hear: plain values."""

from collections.abc import Callable

import msgspec

#: what our users read
CONTENT_TYPES = ("text/plain",)


class Received(msgspec.Struct, frozen=True):
    """A text that came."""

    sender: str  #: URI
    text: str
    at: float  #: seconds, on the user's clock


class Sent(msgspec.Struct, frozen=True):
    """What became of a text that was sent."""

    text: str
    status: int  #: SIP or MSRP status; 0 when the session ended before an answer came
    reason: str
    delay: float  #: seconds from sending to the answer
    final: bool = True  #: False: accepted; a report may follow

    @property
    def ok(self) -> bool:
        """Whether it was accepted or delivered."""
        return 200 <= self.status < 300

    @property
    def state(self) -> str:
        """``delivered``, ``accepted`` or ``failed``."""
        if not self.ok:
            return "failed"
        return "delivered" if self.final else "accepted"


class Signal(msgspec.Struct, frozen=True):
    """Something that a user sent or got, for a message ladder."""

    at: float  #: seconds, on the user's clock
    outgoing: bool  #: from the user to the gateway
    what: str  #: method or status
    text: str = ""  #: the text that it carried


OnSent = Callable[[Sent], None]


def decoded(body: bytes) -> str:
    """A body as text, whatever it holds."""
    return body.decode("utf-8", "replace")
