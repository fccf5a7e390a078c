"""MSRP requests and responses as bytes (RFC 4975 §7).

Pure: imports errors and frame.
"""

from msrpgw.errors import RenderError
from msrpgw.msrp.frame import CONTROL, Malformed, Request


def _clean(text: str) -> str:
    """A comment that may hold a peer's words, fit for one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def render_send(
    transaction_id: str,
    to_path: str,
    from_path: str,
    message_id: str,
    start: int,
    end: int | None,
    total: int,
    content_type: str | None,
    body: bytes | None,
    flag: str = "$",
    success_report: bool = False,
    failure_report: str = "yes",
    extension: str = "",
) -> bytes:
    """A SEND (RFC 4975 §7.1).  ``end`` None writes ``*``: the chunk can be interrupted.

    ``body`` None: no body, and then no Content-Type either.  ``extension``: a header line of our
    own, without its end.
    Raises RenderError for a Content-Type that would break the frame.
    """
    optional = "Success-Report: yes\r\n" if success_report else ""
    if failure_report != "yes":
        optional += f"Failure-Report: {failure_report}\r\n"
    if extension:
        optional += f"{extension}\r\n"
    head = (
        f"MSRP {transaction_id} SEND\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\n"
        f"Message-ID: {message_id}\r\nByte-Range: {start}-{'*' if end is None else end}/{total}"
        f"\r\n{optional}"
    )
    if content_type is not None and CONTROL.search(content_type):
        raise RenderError("control character in Content-Type")
    if body is None:
        return f"{head}-------{transaction_id}{flag}\r\n".encode()
    return b"%b%b\r\n-------%b\r\n" % (
        f"{head}Content-Type: {content_type}\r\n\r\n".encode("utf-8", "surrogateescape"),
        body,
        f"{transaction_id}{flag}".encode(),
    )


def render_response(request: Request | Malformed, status: int, comment: str = "") -> bytes:
    """The response to a request (RFC 4975 §7.2).

    A SEND's goes to the previous hop only, any other's all the way back.
    """
    transaction_id = request.transaction_id
    to_path = request.from_path_text
    if request.method == "SEND":
        to_path = to_path.split(None, 1)[0]
    from_path = request.to_path_text.split(None, 1)[0]
    phrase = f" {_clean(comment)}" if comment else ""
    return (
        f"MSRP {transaction_id} {status}{phrase}\r\nTo-Path: {to_path}\r\n"
        f"From-Path: {from_path}\r\n-------{transaction_id}$\r\n"
    ).encode("utf-8", "surrogateescape")


def render_report(
    transaction_id: str,
    to_path: str,
    from_path: str,
    message_id: str,
    size: int,
    status: int,
    comment: str = "",
) -> bytes:
    """A REPORT about a whole message of ``size`` bytes (RFC 4975 §7.1.2).

    ``to_path`` is the From-Path of the SEND: a REPORT goes all the way back.
    """
    phrase = f" {_clean(comment)}" if comment else ""
    return (
        f"MSRP {transaction_id} REPORT\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\n"
        f"Message-ID: {message_id}\r\nByte-Range: 1-{size}/{size}\r\n"
        f"Status: 000 {status:03}{phrase}\r\n-------{transaction_id}$\r\n"
    ).encode("utf-8", "surrogateescape")


def render_auth(
    transaction_id: str, to_path: str, from_path: str, authorization: str, expires: int
) -> bytes:
    """An AUTH, for a relay (RFC 4976 §4.1).  ``authorization``: empty for none."""
    proof = f"Authorization: {authorization}\r\n" if authorization else ""
    return (
        f"MSRP {transaction_id} AUTH\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\n"
        f"{proof}Expires: {expires}\r\n-------{transaction_id}$\r\n"
    ).encode("utf-8", "surrogateescape")
