"""What the endpoint counts."""


class MsrpCounters:
    """Plain numbers since the start; whoever shows them reads them here."""

    __slots__ = ("malformed", "refused_connections", "refused_sources", "stalled")

    def __init__(self) -> None:
        self.malformed = 0  #: connections closed because their bytes made no sense
        self.refused_connections = 0  #: connections above ``max_connections``
        self.refused_sources = 0  #: connections that may say nothing for where they came from
        self.stalled = 0  #: connections cut off because the peer did not read
