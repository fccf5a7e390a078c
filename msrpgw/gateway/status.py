"""SIP status to MSRP status and back: what one side's refusal is told to the other as.

The tables are data: ``docs/status-mapping.md`` is compared with them by a test.
"""

from collections.abc import Mapping

#: SIP final status of a MESSAGE -> status of the failure REPORT (RFC 4975 §10 has few to choose
#: from).  What isn't here goes by its class: SIP 481, too, since MSRP 481 would make the sender
#: give up a session that is fine.
SIP_TO_MSRP: Mapping[int, int] = {
    400: 400,
    401: 403,
    403: 403,
    404: 403,
    405: 501,
    407: 403,
    408: 408,
    410: 403,
    413: 413,
    415: 415,
    480: 408,
    482: 400,
    483: 408,
    486: 408,
    488: 415,
    500: 408,
    501: 501,
    503: 408,
    504: 408,
    513: 413,
    600: 408,
    603: 403,
    604: 403,
    606: 415,
}

#: what a status of no entry is told as, by its class
SIP_CLASS_TO_MSRP: Mapping[int, int] = {2: 200, 3: 403, 4: 403, 5: 408, 6: 403}

#: MSRP status of a SEND, or of a REPORT about it -> final response to the MESSAGE.  Never SIP
#: 408: RFC 4320 §4.2 forbids it, and a sender's own time-out could not be told from it.
MSRP_TO_SIP: Mapping[int, tuple[int, str]] = {
    0: (480, "MSRP session lost"),
    400: (400, "Refused by the MSRP user"),
    403: (403, "Refused by the MSRP user"),
    408: (504, "No answer from the MSRP user"),
    413: (413, "Message too large for the MSRP user"),
    415: (415, "Unsupported Media Type"),
    423: (480, "Refused by the MSRP user"),
    481: (480, "MSRP session gone"),
    501: (501, "Not supported by the MSRP user"),
    506: (480, "MSRP session in use"),
}


def sip_to_msrp(status: int) -> int:
    """The status of a REPORT for a SIP final status."""
    return SIP_TO_MSRP.get(status) or SIP_CLASS_TO_MSRP.get(status // 100, 408)


def msrp_to_sip(status: int) -> tuple[int, str]:
    """Status and reason phrase of a SIP response for an MSRP status; 0: lost without an answer."""
    return MSRP_TO_SIP.get(status, (500, f"MSRP status {status}"))


#: SIP status that the call to an MSRP user failed with, and that a MESSAGE which waited for it gets
#: as well, if it has had no answer: 4xx that are about the user; all 6xx do.
PASSED_ON: Mapping[int, str] = {
    403: "Forbidden",
    404: "Not Found",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    484: "Address Incomplete",
    486: "Busy Here",
    488: "Not Acceptable Here",
}


def setup_to_sip(status: int) -> tuple[int, str]:
    """Status and reason phrase of a SIP response when the call to the MSRP user failed.

    Never 408 (RFC 4320 §4.2), nor 401 and 407, which ask for what the sender can't give, nor 503,
    which a proxy would take for the whole gateway's.
    """
    if status >= 600:
        return status, "Refused by the MSRP user"
    if status in PASSED_ON:
        return status, PASSED_ON[status]
    return 480, f"No session with the MSRP user: {status}"
