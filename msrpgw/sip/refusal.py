"""503 to MESSAGEs that would have to wait too long, made of their bytes (RFC 3261 §21.5.4).

A refusal the usual way costs a third of a delivery: at twice the rate that can be served, those
that are too much would take the time of those that are not.  What is let go of without an answer
costs next to nothing, but its sender repeats it.  Here a refusal costs a seventh, half of that the
kernel's.

May import the grammar of this room; knows transactions by what they are found by.
"""

import re
from collections.abc import Callable

from msrpgw.sip.grammar import TOKEN_CHARS

#: what MESSAGEs for help are sent to (RFC 5031)
_URGENT = b"urn:service:sos"

_VALUE = r"[^\x00-\x1f\x7f]+"
_WITHOUT_TAG = r"[^\x00-\x1f\x7f;<]*(?:<[^\x00-\x1f\x7f>]+>)?"
#: those that come with nearly all, so that they need not be told from the others
_COMMON = "Max-Forwards|Content-Type|Content-Length|Contact|User-Agent"
#: of the topmost Via, the others follow it
_VIAS = (
    rf"(SIP/2\.0/UDP ([A-Za-z0-9_][A-Za-z0-9_.\-]*)(?::([0-9]{{1,5}}))?(;rport)?"
    rf";branch=(z9hG4bK[{TOKEN_CHARS}]+))(;rport)?((?:\r\nVia: {_VALUE})*)"
)
#: what an answer has of a request, each but once, and in which group; all else is passed over, but
#: for what says that it is urgent and for fields that are written otherwise, compact ones too
_HEAD = (
    r"MESSAGE ([!-~]+) SIP/2\.0(?>(?:\r\n(?:"
    rf"Via: (?(2)(?!)){_VIAS}"
    rf"|From: (?(9)(?!))({_VALUE})"
    rf"|To: (?(10)(?!))({_WITHOUT_TAG})"
    r"|Call-ID: (?(11)(?!))([!-~]+)"
    r"|CSeq: (?(12)(?!))([0-9]{1,9} MESSAGE)"
    rf"|(?:{_COMMON}): [^\x00\r\n]*"
    r"|(?!(?i:via|from|to|call-id|cseq|priority:[ \t]*emergency)\b)"
    rf"[{TOKEN_CHARS}]{{2,}}: [^\x00\r\n]*"
    r"))*)\r\n\r\n"
)
_match = re.compile(_HEAD.encode()).match

#: every answer is a multiple of so many bytes long: those of one length leave in one call
STEP = 32


class EarlyRefusal:
    """Makes the answers.  One for a user agent."""

    def __init__(
        self, is_known: Callable[[str, str, int | None, str], bool], server: str, tag: str
    ) -> None:
        """``is_known``: whether branch, host, port and method are those of a request that we have;
        ``server``: value of Server; ``tag``: for To, the same in all answers (§8.2.7)."""
        self._is_known = is_known
        self._server = server
        self._tag = f";tag={tag}\r\nCall-ID: ".encode()
        self.retry_after = 0

    @property
    def retry_after(self) -> int:
        """After how many seconds one may try again."""
        return self._retry_after

    @retry_after.setter
    def retry_after(self, seconds: int) -> None:
        self._retry_after = seconds
        end = f"{self._server}\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode()
        name = b"\r\nServer: "
        # By the length of what is before it.  White space there means nothing (§7.3.1).
        self._ends = [
            name + b" " * (-(before + len(name) + len(end)) % STEP) + end for before in range(STEP)
        ]

    @staticmethod
    def may_discard(datagram: bytes) -> bool:
        """Whether a datagram need not be answered: its sender repeats it (RFC 3261 §17.1.2.2).

        Not so anything but a MESSAGE, nor a MESSAGE that is, or seems to be, a call for help.
        """
        if datagram[:8] != b"MESSAGE " or b"mergency" in datagram:
            return False
        return datagram[8 : 8 + len(_URGENT)].lower() != _URGENT

    def answer_to(self, datagram: bytes, address: tuple[str, int]) -> bytes:
        """The 503 to a datagram; empty for what is to be taken the usual way.

        That is all but a MESSAGE outside of dialogs that is new, wants its answer where it came
        from, is no call for help, and has the fields that make an answer in their usual spelling.
        """
        found = _match(datagram)
        if found is None:
            return b""
        # This is done for each request that is too much, and unpacking is what costs least.
        uri, via, host, port, before, branch, after, more, from_, to, call_id, cseq = found.groups()
        if not (via and from_ and to and call_id and cseq):
            return b""
        source, source_port = address
        number = int(port) if port else None
        name = host.decode()
        if after:
            stamp = f";rport={source_port};received={source}"
        elif before:
            via = via.replace(b";rport", b";rport=%d" % source_port, 1)
            stamp = f";received={source}"
        elif (number or 5060) == source_port:
            stamp = "" if name == source else f";received={source}"
        else:
            return b""
        if uri[: len(_URGENT)].lower() == _URGENT or self._is_known(
            branch.decode(), name, number, "MESSAGE"
        ):
            return b""
        start = b"SIP/2.0 503 Service Unavailable\r\nVia: "
        answer = b"".join(
            (start, via, stamp.encode(), more, b"\r\nFrom: ", from_, b"\r\nTo: ", to, self._tag,
             call_id, b"\r\nCSeq: ", cseq)
        )  # fmt: skip
        return answer + self._ends[len(answer) % STEP]
