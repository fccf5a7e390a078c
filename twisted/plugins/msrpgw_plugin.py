"""Makes ``twistd msrpgw`` known."""

from twisted.application.service import ServiceMaker

msrpgw = ServiceMaker(
    "msrpgw",
    "msrpgw.tap",
    "Gateway between SIP MESSAGE and MSRP sessions.",
    "msrpgw",
)
