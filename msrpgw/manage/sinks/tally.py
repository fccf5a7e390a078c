"""What became of the lines and requests of all sinks of a kind, across reloads."""


class Tally:
    """Counters.  Owned by the Sinks; shared by the sinks of one kind."""

    __slots__ = ("dropped", "written")

    def __init__(self) -> None:
        self.written = 0  #: events or records that arrived
        self.dropped = 0  #: that were given up, or for which there was no room
