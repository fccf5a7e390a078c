"""What can be set in the journal room: the table ``[journal]`` of the configuration file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]


class JournalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the journal.  Times in seconds, sizes in bytes."""

    #: "sqlite": a file in the state directory; "memory": nothing outlives the process
    backend: Literal["sqlite", "memory"] = "sqlite"
    #: how long the first of several changes waits for others, so that one commit does for all
    commit_interval: Annotated[float, Meta(ge=0, le=0.1)] = 0.002
    #: most changes in one commit
    commit_batch: Count = 1000
    #: most messages kept
    max_messages: Count = 100_000
    #: most bytes of messages kept
    max_bytes: Count = 268_435_456
