"""What the endpoint counts."""


class MsrpCounters:
    """Plain numbers since the start; whoever shows them reads them here."""

    __slots__ = (
        "failed_handshakes",
        "malformed",
        "refused_connections",
        "refused_handshakes",
        "refused_sources",
        "stalled",
    )

    def __init__(self) -> None:
        self.failed_handshakes = 0  #: TLS handshakes that came to nothing, or proved nothing
        self.malformed = 0  #: connections closed because their bytes made no sense
        self.refused_connections = 0  #: connections above ``max_connections``
        self.refused_handshakes = 0  #: TLS connections above ``max_handshakes``
        self.refused_sources = 0  #: connections that may say nothing for where they came from
        self.stalled = 0  #: connections cut off because the peer did not read
