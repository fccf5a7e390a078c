"""MESSAGE requests of our own, outside of dialogs (RFC 3428 §4).

May import the codec of this room.
"""

from msrpgw.errors import RenderError
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, encode_head


class PagerMessage(Request):
    """A MESSAGE that we make.

    Most are written once and never looked into: its header fields are made when asked for, which
    saves a twentieth of what a message to a page user costs.
    """

    __slots__ = (
        "_call_id",
        "_content_type",
        "_cseq",
        "_from_uri",
        "_headers",
        "_more",
        "_tag",
        "_to_uri",
        "_user_agent",
        "_via",
    )

    def __init__(
        self,
        uri: str,
        from_uri: str,
        to_uri: str,
        content_type: str,
        body: bytes,
        *,
        call_id: str,
        tag: str,
        cseq: int,
        user_agent: str,
        more: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """``tag`` is that of From; ``more``: header fields whose names are in the usual case."""
        self.method = "MESSAGE"
        self.uri = uri
        self.strictly_routed = False
        self.body = body
        self._from_uri = from_uri
        self._to_uri = to_uri
        self._content_type = content_type
        self._call_id = call_id
        self._tag = tag
        self._cseq = cseq
        self._user_agent = user_agent
        self._more = more
        self._via = ""  # the topmost one; empty: there is none yet
        self._headers: Headers | None = None  # None: nobody has asked

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """All header fields; from now on they alone count."""
        found = self._headers
        if found is None:
            found = self._headers = Headers.of_request(
                [
                    *([("Via", self._via)] if self._via else ()),
                    ("Max-Forwards", "70"),
                    ("From", f"<{self._from_uri}>;tag={self._tag}"),
                    ("To", f"<{self._to_uri}>"),
                    ("Call-ID", self._call_id),
                    ("CSeq", f"{self._cseq} MESSAGE"),
                    ("User-Agent", self._user_agent),
                    *self._more,
                    ("Content-Type", self._content_type),
                ]
            )
        return found

    @property
    def has_route(self) -> bool:
        """Whether it has a Route."""
        return self._headers is not None and "Route" in self._headers

    def push_via(self, value: str) -> None:
        """Put a Via before all others."""
        if self._headers is None and not self._via:
            self._via = value
        else:
            self.headers.insert_first("Via", value)

    def render(self) -> bytes:
        """The request as it goes onto the wire.  Raises RenderError as all messages do."""
        if self._headers is not None or not self._via:
            return super().render()
        if " " in self.uri:
            raise RenderError("a space in the Request-Line")
        more = "".join([f"{name}: {value}\r\n" for name, value in self._more])
        text = (
            f"MESSAGE {self.uri} SIP/2.0\r\nVia: {self._via}\r\nMax-Forwards: 70\r\n"
            f"From: <{self._from_uri}>;tag={self._tag}\r\nTo: <{self._to_uri}>\r\n"
            f"Call-ID: {self._call_id}\r\nCSeq: {self._cseq} MESSAGE\r\n"
            f"User-Agent: {self._user_agent}\r\n{more}Content-Type: {self._content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return encode_head(text, 11 + len(self._more)) + self.body
