"""503 to MESSAGEs that come faster than they are read, made of their bytes (RFC 3261 §21.5.4).

A refusal the usual way costs a third of a delivery: at twice the rate that can be served, those
that are too much would take the time of those that are not.  What is dropped unread costs nothing,
but its sender repeats it.  Here a refusal costs a tenth.

May import the codec of this room; knows transactions by what they are found by.
"""

from collections.abc import Callable

from msrpgw.sip.usual import MOST, match_request

#: what MESSAGEs for help are sent to (RFC 5031)
_URGENT = "urn:service:sos"


class EarlyRefusal:
    """Makes the answers.  One for a user agent."""

    def __init__(
        self, is_known: Callable[[str, str, int | None, str], bool], server: str, tag: str
    ) -> None:
        """``is_known``: whether branch, host, port and method are those of a request that we have;
        ``server``: value of Server; ``tag``: for To, the same in all answers (§8.2.7)."""
        self._is_known = is_known
        self._end = f";tag={tag}\r\n", f"\r\nServer: {server}\r\n"

    def answer_to(self, datagram: bytes, address: tuple[str, int], retry_after: int) -> bytes:
        """The 503 to a datagram; empty for what is to be taken the usual way.

        That is all but a MESSAGE of the usual kind, outside of dialogs, that is new, wants its
        answer where it came from, and is no call for help.  ``retry_after``: seconds.
        """
        end = datagram.find(b"\r\n\r\n")
        if not 0 < end <= MOST or datagram[:8] != b"MESSAGE ":
            return b""
        found = match_request(datagram[:end].decode("latin-1"))
        if found is None or ";tag=" in found.to:
            return b""
        port = int(found.port) if found.port else None
        source, source_port = address
        if found.rport:
            stamp = f"={source_port};received={source}"
        elif (port or 5060) == source_port:
            stamp = "" if found.host == source else f";received={source}"
        else:
            return b""
        if found.uri[: len(_URGENT)].lower() == _URGENT or self._is_known(
            found.branch, found.host, port, "MESSAGE"
        ):
            return b""
        tag, server = self._end
        return (
            "SIP/2.0 503 Service Unavailable\r\n"
            f"Via: {found.via}{stamp}{found.more_vias}\r\n"
            f"From: {found.from_}\r\nTo: {found.to}{tag}"
            f"Call-ID: {found.call_id}\r\nCSeq: {found.cseq}{server}"
            f"Retry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n"
        ).encode("latin-1")
