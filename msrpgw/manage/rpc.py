"""JSON-RPC 2.0 over whatever carries bytes: requests and batches in, answers out.

Knows nothing of HTTP, datagrams and FIFOs, nor of what the commands do.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpgw.manage.readable import encode

_log = Logger()

#: most requests in one batch
MAX_BATCH = 1000

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

_TYPES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class RpcError(Exception):
    """What a command answers when it can't do what it is asked to.

    ``code``: 404, 409, 500 and so on in OpenSIPS's manner, or one of JSON-RPC's own.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Parameter(NamedTuple):
    """One parameter of a command."""

    name: str
    kind: type  #: str, int, float, list (of strings) or bool
    summary: str
    optional: bool = False


class Command(NamedTuple):
    """One command.  ``run`` gets the parameters that were given, by name.

    It returns what can be written as JSON, or a Deferred of that; raises RpcError.
    """

    name: str
    run: Callable[..., Any]
    summary: str
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()  #: OpenSIPS's newer names


class Dispatcher:
    """All commands by their names."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands: dict[str, Command] = {}
        for command in commands:
            for name in (command.name, *command.aliases):
                assert name not in self._commands, name
                self._commands[name] = command

    @property
    def names(self) -> list[str]:
        """All names, aliases too, in alphabetical order."""
        return sorted(self._commands)

    @property
    def commands(self) -> list[Command]:
        """All commands, each once, by name."""
        found = {command.name: command for command in self._commands.values()}
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Command | None:
        """The command of a name or alias."""
        return self._commands.get(name)

    def handle(self, request: bytes) -> Deferred[bytes | None]:
        """Answer a request or a batch; never fails.

        Fires with None when nothing is to be answered: notifications have no answer.
        """
        try:
            decoded = msgspec.json.decode(request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return succeed(_encode(_error(None, PARSE_ERROR, "Parse error")))
        if not isinstance(decoded, list):
            return self._answer(decoded).addCallback(_encode)
        if not decoded or len(decoded) > MAX_BATCH:
            return succeed(_encode(_error(None, INVALID_REQUEST, "Invalid Request")))
        return gatherResults([self._answer(each) for each in decoded]).addCallback(_encode_batch)

    def _answer(self, request: object) -> Deferred[dict[str, Any] | None]:
        """Answer one request; None for a notification."""
        id_ = request.get("id") if isinstance(request, dict) else None
        if (
            not isinstance(request, dict)
            or request.get("jsonrpc") != "2.0"
            or not isinstance(request.get("method"), str)
            or not isinstance(request.get("params", {}), dict | list)
            or isinstance(id_, dict | list | bool)
        ):
            return succeed(_error(None, INVALID_REQUEST, "Invalid Request"))
        notification = "id" not in request
        done = maybeDeferred(self._run, request["method"], request.get("params", {}))

        def answered(result: Any) -> dict[str, Any] | None:
            return None if notification else {"jsonrpc": "2.0", "result": result, "id": id_}

        def failed(failure: Failure) -> dict[str, Any] | None:
            error = failure.value
            if not isinstance(error, RpcError):
                _log.failure("command {method!r} failed", failure, method=request["method"])
                error = RpcError(INTERNAL_ERROR, "Internal error")
            return None if notification else _error(id_, error.code, error.message, error.data)

        return done.addCallbacks(answered, failed)

    def _run(self, method: str, params: dict[str, Any] | list[Any]) -> Any:
        command = self._commands.get(method)
        if command is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found", method[:100])
        return command.run(**_arguments(command, params))


def _arguments(command: Command, params: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """The parameters by name, each of its kind.  Raises RpcError."""
    known = {parameter.name: parameter for parameter in command.parameters}
    if isinstance(params, list):
        if len(params) > len(command.parameters):
            raise RpcError(INVALID_PARAMS, "Invalid params", "Too many parameters")
        params = dict(zip(known, params, strict=False))
    unknown = [name for name in params if name not in known]
    if unknown:
        raise RpcError(INVALID_PARAMS, "Invalid params", f"Unknown parameter {unknown[0][:100]!r}")
    missing = [
        each.name for each in command.parameters if not each.optional and each.name not in params
    ]
    if missing:
        raise RpcError(INVALID_PARAMS, "Invalid params", f"Missing parameter {missing[0]!r}")
    return {name: _convert(known[name], value) for name, value in params.items()}


def _convert(parameter: Parameter, value: Any) -> Any:
    """A value of the kind that the command wants; command lines have strings for everything."""
    kind = parameter.kind
    if kind is list:
        values: Sequence[Any] = value if isinstance(value, list) else [value]
        if all(isinstance(each, str) for each in values):
            return list(values)
        raise RpcError(
            INVALID_PARAMS, "Invalid params", f"{parameter.name!r} must be a list of strings"
        )
    try:
        return msgspec.convert(value, kind, strict=kind is str)
    except msgspec.ValidationError:
        raise RpcError(
            INVALID_PARAMS, "Invalid params", f"{parameter.name!r} must be {_TYPES[kind]}"
        ) from None


def _error(id_: object, code: int, message: str, data: object = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "error": error, "id": id_}


def _encode(answer: dict[str, Any] | None) -> bytes | None:
    return encode(answer) if answer is not None else None


def _encode_batch(answers: list[dict[str, Any] | None]) -> bytes | None:
    encoded = [encode(each) for each in answers if each is not None]
    return b"[" + b",".join(encoded) + b"]" if encoded else None
