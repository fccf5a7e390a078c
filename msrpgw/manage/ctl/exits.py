"""How the control command ends: exit codes, and the errors that lead to them."""

import enum


class Exit(enum.IntEnum):
    """Exit codes of ``msrpgw-ctl``; ``words`` says what each means."""

    words: str

    def __new__(cls, code: int, words: str) -> "Exit":
        """A code and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.words = words
        return member

    DONE = 0, "done"
    REFUSED = 1, "the gateway refused; its error is printed: code and message"
    USAGE = 2, "bad command line"
    NO_GATEWAY = 3, "no gateway there: connection refused, no answer in time"
    NOT_ALLOWED = 4, "not allowed: a token or certificate is missing or wrong"
    NOT_FOUND = 5, "no such session, message or statistic"
    BAD_NEWS = 6, "done, with bad news: problems in the file, or the text was not delivered"
    BAD_ANSWER = 7, "what answered is no gateway, or one of another version"
    INTERRUPTED = 130, "ended by Ctrl-C (live events end with 0)"
    BROKEN_PIPE = 141, "whoever read the output has gone"


class CtlError(Exception):
    """Nothing more can be done; the text is for people, ``code`` is the exit code."""

    code = Exit.REFUSED


class BadUsage(CtlError):
    """The command line, or a file that it names, can't be used."""

    code = Exit.USAGE


class NoGateway(CtlError):
    """Nobody answers."""

    code = Exit.NO_GATEWAY


class NotAllowed(CtlError):
    """The gateway does not let us in."""

    code = Exit.NOT_ALLOWED


class BadAnswer(CtlError):
    """The answer is not one of the gateway's."""

    code = Exit.BAD_ANSWER


class Refused(CtlError):
    """The gateway answered with an error.

    ``error_code`` and the text are the gateway's; ``data`` says more, None for nothing.
    """

    def __init__(self, error_code: int, message: str, data: object = None) -> None:
        super().__init__(f"{error_code} {message}")
        self.error_code = error_code
        self.data = data
        if error_code in (401, 403):
            self.code = Exit.NOT_ALLOWED
        elif error_code == 404:
            self.code = Exit.NOT_FOUND
