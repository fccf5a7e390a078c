"""msrpgw: a gateway between SIP MESSAGE (RFC 3428) and MSRP sessions (RFC 4975)."""

__version__ = "0.1.0"
