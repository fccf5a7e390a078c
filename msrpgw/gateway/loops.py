"""Messages that go round in circles between gateways.

A SEND knows nothing of Max-Forwards, and two gateways that take each other for the page user and
the MSRP user would pass one message to and fro for ever.  So each MESSAGE that a gateway makes of a
SEND, or as a notice, says how many gateways have made it so far, and a SEND carries the number on.

May import errors.
"""

from msrpgw.errors import SipError

#: header field of a MESSAGE, and extension header of a SEND (RFC 4975 §9)
HOPS = "Msrpgw-Hops"
#: how SIP headers are looked up
HOPS_KEY = HOPS.lower()

#: gateways that a message may have passed; nobody has need of more in a row
MOST = 4


def hops_of(value: str | None) -> int:
    """The number in the header; 0 where there is none, or nothing that can be read."""
    text = value.strip() if value else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def check_hops(value: str) -> int:
    """The same of a MESSAGE.  Raises SipError (482) when it goes round in circles."""
    hops = hops_of(value)
    if hops > MOST:
        raise SipError("Loop Detected", status=482)
    return hops
