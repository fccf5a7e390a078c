"""What the user agent counts.

Imports nothing.
"""


class SipCounters:
    """Plain numbers since the start; whoever shows them reads them here."""

    __slots__ = (
        "authenticated",
        "challenged",
        "fail_overs",
        "failed_handshakes",
        "malformed",
        "merged",
        "overloaded",
        "refused_connections",
        "refused_credentials",
        "refused_handshakes",
        "refused_identities",
        "refused_sources",
        "stray_responses",
        "undeliverable",
    )

    def __init__(self) -> None:
        self.fail_overs = 0  #: requests of ours that were sent to another target
        self.authenticated = 0  #: requests whose sender proved who he is
        self.challenged = 0  #: requests answered 401
        self.failed_handshakes = 0  #: TLS handshakes that came to nothing
        self.malformed = 0  #: messages that could not be understood
        self.merged = 0  #: requests answered 482 because they came by two ways
        self.overloaded = 0  #: requests answered 503 for lack of room
        self.refused_connections = 0  #: connections above ``max_connections``
        self.refused_credentials = 0  #: of those, requests with a wrong password or user
        self.refused_identities = 0  #: requests answered 403 for who they said they are from
        self.refused_handshakes = 0  #: TLS connections above ``max_handshakes``
        self.refused_sources = 0  #: requests answered 403 for where they came from
        self.stray_responses = 0  #: responses to nothing that we still know of
        self.undeliverable = 0  #: datagrams that the network gave back (ICMP)
