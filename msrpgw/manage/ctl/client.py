"""JSON-RPC 2.0 over HTTP, as a synchronous program speaks it: one connection for each request."""

import itertools
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from msrpgw.manage.ctl.exits import BadAnswer, BadUsage, NoGateway, NotAllowed, Refused

#: where the gateway listens when nobody says otherwise
DEFAULT_URL = "http://127.0.0.1:8888/mi"
#: the path of a URL that has none
DEFAULT_PATH = "/mi"
#: most bytes of an answer; a page of 1000 sessions is a hundredth of it
MAX_ANSWER = 67_108_864


class Tls(NamedTuple):
    """Files, in PEM, for https."""

    ca: str | None = None  #: who vouches for the gateway; None for the system's
    certificate: str | None = None  #: ours, None for none
    key: str | None = None  #: of our certificate; None when it is in the same file


NO_TLS = Tls()


class Url(NamedTuple):
    """Where the gateway is."""

    scheme: str  #: "http", "https" or "unix"
    host: str  #: of an IPv6 address without brackets; empty for "unix"
    port: int  #: 0 for "unix"
    path: str  #: of the request, or of the socket for "unix"


def parse_url(text: str) -> Url:
    """``http://``, ``https://`` or ``unix:/path``.  Raises BadUsage."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadUsage(f"URL {text!r}: only printable ASCII without spaces")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise BadUsage(f"URL {text!r}: must read unix:/path/to/socket")
        return Url("unix", "", 0, path)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadUsage(f"URL {text!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadUsage(f"URL {text!r}: must read http://, https:// or unix:/path/to/socket")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadUsage(f"URL {text!r}: only host, port and path; a token goes in a file")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    path = parts.path if parts.path.strip("/") else DEFAULT_PATH
    return Url(parts.scheme, parts.hostname, port, path)


def read_token(path: str) -> str:
    """The bearer token in a file, without the white space around it.  Raises BadUsage."""
    try:
        text = Path(path).read_text("ascii")
    except (OSError, ValueError) as error:
        raise BadUsage(f"token file {path!r}: {error}") from None
    return check_token(text.strip(), f"token file {path!r}")


def check_token(token: str, where: str) -> str:
    """A token that can stand in a header field.  Raises BadUsage, naming ``where``."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadUsage(f"{where}: must hold one token, printable ASCII without spaces")
    return token


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect.  Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _tls_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(repr(each) for each in tls if each is not None)
        raise BadUsage(f"can't use {files}: {error}") from None
    return context


class Client:
    """Asks the gateway.  Needs no end: each request has a connection of its own."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        token: str | None = None,
        tls: Tls = NO_TLS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``timeout``: seconds for one answer.  Raises BadUsage."""
        self.url = url
        self.where = parse_url(url)
        self._timeout = timeout
        self._monotonic = monotonic
        self._numbers = itertools.count(1)
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        if self.where.scheme != "https" and tls != NO_TLS:
            raise BadUsage("--ca, --certificate and --key are for https")
        if tls.key is not None and tls.certificate is None:
            raise BadUsage("--key needs --certificate")
        self._tls = _tls_context(tls) if self.where.scheme == "https" else None

    def call(self, method: str, **params: object) -> Any:
        """The result of a command.  Raises as ``ask`` does."""
        return self.ask(method, params)

    def ask(self, method: str, params: Mapping[str, object]) -> Any:
        """The result of a command.

        Raises Refused with the gateway's error, NoGateway, NotAllowed or BadAnswer.
        """
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}
        status, body = self._exchange(json.dumps(request).encode("ascii"))
        if status in (401, 403):
            raise NotAllowed(f"{self.url} answered {status}{_words(body)}")
        try:
            answer = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise BadAnswer(f"{self.url} answered {status} without JSON{_words(body)}") from None
        if not isinstance(answer, dict):
            raise BadAnswer(f"{self.url} answered {status}, and not in JSON-RPC")
        error = answer.get("error")
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            raise Refused(error["code"], str(error.get("message", "")), error.get("data"))
        if "result" not in answer or answer.get("id") != number:
            raise BadAnswer(f"{self.url} answered {status}, and not to what was asked")
        return answer["result"]

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """POST; status and body of the answer."""
        deadline = self._monotonic() + self._timeout
        connection = self._connection()
        try:
            path = DEFAULT_PATH if self.where.scheme == "unix" else self.where.path
            connection.request("POST", path, body, self._headers)
            response = connection.getresponse()
            return response.status, self._read(connection, response, deadline)
        except TimeoutError:
            raise NoGateway(f"{self.url}: no answer within {self._timeout:g} s") from None
        except PermissionError as error:
            raise NotAllowed(f"{self.url}: {error.strerror}") from None
        except ssl.SSLCertVerificationError as error:
            reason = f"{error.verify_message}; --ca names who vouches for it"
            raise NoGateway(f"{self.url}: its certificate is not trusted: {reason}") from None
        except ssl.SSLError as error:
            # An alert is the other side's word: it wants another certificate of ours.
            if "ALERT" in (error.reason or ""):
                raise NotAllowed(f"{self.url}: refused by TLS: {error.reason}") from None
            raise NoGateway(f"{self.url}: TLS failed: {error.reason or error}") from None
        except (OSError, UnicodeError) as error:
            raise NoGateway(f"{self.url}: {getattr(error, 'strerror', None) or error}") from None
        except HTTPException as error:
            raise BadAnswer(f"{self.url} does not speak HTTP: {error!r}") from None
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        where = self.where
        if where.scheme == "unix":
            return _UnixConnection(where.path, self._timeout)
        if self._tls is not None:
            return HTTPSConnection(where.host, where.port, timeout=self._timeout, context=self._tls)
        return HTTPConnection(where.host, where.port, timeout=self._timeout)

    def _read(self, connection: HTTPConnection, response: HTTPResponse, deadline: float) -> bytes:
        """The whole body.  A socket's time-out starts anew with each byte, the deadline doesn't."""
        parts = []
        size = 0
        while part := response.read1(65_536):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise BadAnswer(f"{self.url} answered with more than {MAX_ANSWER} bytes")
            left = deadline - self._monotonic()
            if left <= 0:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(left)
        return b"".join(parts)


def _words(body: bytes) -> str:
    """The beginning of an answer that is only text."""
    text = body[:200].decode("utf-8", "replace").strip()
    return f": {text}" if text else ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
