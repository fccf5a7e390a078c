"""Messages put together from chunks (RFC 4975 §5.1, §7.3.1).

The payload tells how long a chunk is; Byte-Range is trusted for its start alone.
Pure: imports errors, frame and settings.
"""

from collections.abc import Callable

from msrpgw.errors import MsrpError
from msrpgw.msrp.frame import Request
from msrpgw.msrp.settings import MsrpSettings


def new_transaction_id(random: Callable[[int], bytes], body: bytes) -> str:
    """A transaction id whose end-line can't occur in the body (RFC 4975 §7.1)."""
    while True:
        transaction_id = random(8).hex()
        if not body or transaction_id.encode() not in body:
            return transaction_id


class Budget:
    """Memory that all half-received messages share, in bytes."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Reserve; False when there is not so much left."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Return what was reserved."""
        self.used -= size


class _Assembly:
    """One message of which not all chunks came yet."""

    __slots__ = ("content", "content_type", "end", "ranges", "touched")

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self.content = bytearray()
        self.ranges: list[tuple[int, int]] = []  # what came, sorted, disjoint, as [first, last)
        self.end: int | None = None  # length of the whole, once the last chunk came
        self.touched = 0.0  # when the last chunk came

    def put(self, offset: int, data: bytes) -> None:
        """Take a chunk; where it overlaps others, it wins (RFC 4975 §7.3.1)."""
        self.content[offset : offset + len(data)] = data
        first, last = offset, offset + len(data)
        joined: list[tuple[int, int]] = []
        for start, stop in self.ranges:
            if stop < first or last < start:
                joined.append((start, stop))
            else:
                first, last = min(first, start), max(last, stop)
        joined.append((first, last))
        joined.sort()
        self.ranges = joined

    @property
    def complete(self) -> bool:
        """Whether the last chunk came, and nothing before it is missing."""
        end = self.end
        return end is not None and (
            not end or (bool(self.ranges) and self.ranges[0][0] == 0 and self.ranges[0][1] >= end)
        )


class Assembler:
    """Puts one session's interleaved messages together.

    Invariant: the budget has reserved exactly the bytes of all contents here.
    """

    __slots__ = (
        "_assemblies", "_budget", "_max_assemblies", "_max_gaps", "_max_size", "_timeout",
    )  # fmt: skip

    def __init__(self, budget: Budget, settings: MsrpSettings) -> None:
        self._budget = budget
        self._max_size = settings.max_size
        self._max_assemblies = settings.max_assemblies
        self._max_gaps = 64
        self._timeout = settings.assembly_timeout
        self._assemblies: dict[str, _Assembly] = {}  # by Message-ID, least recently touched first

    def __len__(self) -> int:
        """How many messages are incomplete."""
        return len(self._assemblies)

    def __contains__(self, message_id: str) -> bool:
        """Whether chunks of this message came, but not all."""
        return message_id in self._assemblies

    def add(self, request: Request, now: float) -> tuple[str, bytes] | None:
        """Take a chunk at time ``now``, in seconds.

        Returns Content-Type and content when the message is whole, else None.
        Raises MsrpError with 413 when the message or all of them get too large, and with 400 for a
        range that can't be.
        """
        message_id = request.message_id
        if request.continuation == "#":
            self._drop(message_id)
            return None
        data = request.body or b""
        assembly = self._assemblies.pop(message_id, None)
        if assembly is None:
            if len(self._assemblies) >= self._max_assemblies:
                raise MsrpError("Too many messages under way", status=413)
            assembly = _Assembly(request.content_type or "")
        # Popped and put back: the order of the table is that of the last chunks.
        self._assemblies[message_id] = assembly
        assembly.touched = now
        try:
            self._put(assembly, request, data)
        except MsrpError:
            self._drop(message_id)
            raise
        if not assembly.complete:
            return None
        content = bytes(assembly.content[: assembly.end])
        self._drop(message_id)
        return assembly.content_type, content

    def _put(self, assembly: _Assembly, request: Request, data: bytes) -> None:
        content = assembly.content
        byte_range = request.byte_range
        # Without a range the chunks come in order: some peers write none at all.
        offset = len(content) if byte_range is None else byte_range.start - 1
        if offset < 0:
            raise MsrpError("Byte-Range starts before the first octet")
        grown = offset + len(data) - len(content)
        declared = byte_range.total if byte_range is not None else None
        if max(offset + len(data), declared or 0) > self._max_size:
            raise MsrpError("Message too large", status=413)
        if grown > 0:
            if not self._budget.take(grown):
                raise MsrpError("Too many messages under way", status=413)
            content.extend(bytes(grown))
        if data:
            assembly.put(offset, data)
            if len(assembly.ranges) > self._max_gaps:
                raise MsrpError("Too many gaps between the chunks", status=413)
        if request.continuation == "$":
            assembly.end = offset + len(data)

    def expire(self, now: float) -> float | None:
        """Drop messages of which nothing came for too long.

        Returns in how many seconds to look again, None when nothing is left.
        """
        for message_id, assembly in list(self._assemblies.items()):
            wait = assembly.touched + self._timeout - now
            if wait > 0:
                return wait
            self._drop(message_id)
        return None

    def clear(self) -> None:
        """Drop everything."""
        for message_id in list(self._assemblies):
            self._drop(message_id)

    def _drop(self, message_id: str) -> None:
        assembly = self._assemblies.pop(message_id, None)
        if assembly is not None:
            self._budget.give(len(assembly.content))
