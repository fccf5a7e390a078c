"""503 to MESSAGEs that would have to wait too long, made of their bytes (RFC 3261 §21.5.4).

A refusal the usual way costs a third of a delivery: at twice the rate that can be served, those
that are too much would take the time of those that are not.  What is let go of without an answer
costs next to nothing, but its sender repeats it.  Here a refusal costs a fifth, most of that the
kernel's.

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

    @staticmethod
    def may_discard(datagram: bytes) -> bool:
        """Whether a datagram need not be answered: its sender repeats it (RFC 3261 §17.1.2.2).

        Not so anything but a MESSAGE, nor a MESSAGE that is, or seems to be, a call for help.
        """
        if datagram[:8] != b"MESSAGE " or b"mergency" in datagram:
            return False
        return datagram[8 : 8 + len(_URGENT)].lower() != _URGENT.encode()

    def answer_to(self, datagram: bytes, address: tuple[str, int], retry_after: int) -> bytes:
        """The 503 to a datagram; empty for what is to be taken the usual way.

        That is all but a MESSAGE of the usual kind, outside of dialogs, that is new, wants its
        answer where it came from, and is no call for help.  ``retry_after``: seconds.
        """
        end = datagram.find(b"\r\n\r\n")
        if not 0 < end <= MOST or datagram[:8] != b"MESSAGE ":
            return b""
        found = match_request(datagram[:end].decode("latin-1"))
        if found is None:
            return b""
        # This is done for each request that is too much, and unpacking is what costs least.
        uri, vias, host, port, branch, asked, more_vias, from_, to, call_id, cseq = found
        if not (uri and vias and host and branch and from_ and to and call_id and cseq):
            return b""
        if ";tag=" in to or cseq[-8:] != " MESSAGE":
            return b""
        source, source_port = address
        number = int(port) if port else None
        if asked:
            stamp = f"={source_port};received={source}"
        elif (number or 5060) == source_port:
            stamp = "" if host == source else f";received={source}"
        else:
            return b""
        if uri[: len(_URGENT)].lower() == _URGENT or self._is_known(
            branch, host, number, "MESSAGE"
        ):
            return b""
        if more_vias:
            stamp += more_vias
            vias = vias[: -len(more_vias)]
        tag, server = self._end
        return (
            "SIP/2.0 503 Service Unavailable\r\n"
            f"Via: {vias}{stamp}\r\nFrom: {from_}\r\nTo: {to}{tag}"
            f"Call-ID: {call_id}\r\nCSeq: {cseq}{server}"
            f"Retry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n"
        ).encode("latin-1")
