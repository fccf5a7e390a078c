"""The exception tree.  Each error carries the status to answer with, so that
whoever catches it need not guess.  Imports nothing of msrpgw."""


class MsrpgwError(Exception):
    """Root of everything that msrpgw raises on purpose."""


class ConfigError(MsrpgwError):
    """The configuration can't be used.

    ``problems`` holds every problem found, one line each, naming file, table and key.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class JournalError(MsrpgwError):
    """The journal can't be used as it is; the text says what to do about it."""


class SipError(MsrpgwError):
    """A SIP request that is answered with an error (RFC 3261 §21)."""

    status: int = 400  #: status of the response to send

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(reason)
        self.reason = reason  #: reason phrase: says what was wrong
        self.headers = headers  #: to be added to the response, for example Allow or Warning
        if status is not None:
            self.status = status


class SipSyntaxError(SipError):
    """A SIP element that does not follow the grammar (RFC 3261 §25); 400."""


class UriError(SipSyntaxError):
    """A URI that does not follow the grammar (RFC 3261 §19.1); 400."""


class RenderError(MsrpgwError):
    """A value that must not be written to the wire, for example one holding CR or LF."""


class NotAcceptable(SipError):
    """An offer or answer that can't be used: 488 with a Warning (RFC 3261 §20.43)."""

    status = 488


class MsrpError(MsrpgwError):
    """An MSRP request that is answered with an error (RFC 4975 §10)."""

    status: int = 400  #: status of the response to send

    def __init__(self, comment: str, *, status: int | None = None) -> None:
        super().__init__(comment)
        self.comment = comment  #: comment of the response
        if status is not None:
            self.status = status


class MsrpSyntaxError(MsrpError):
    """An MSRP element that does not follow the grammar (RFC 4975 §9); 400."""


class FramingError(MsrpgwError):
    """The byte stream can't be cut into frames any more: close the connection."""
