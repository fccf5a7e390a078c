"""JSON-RPC 2.0: its own examples, and what commands may expect."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.rpc import MAX_BATCH, Command, Dispatcher, Parameter, RpcError


def subtract(minuend: int, subtrahend: int = 1) -> int:
    """A command of the specification's."""
    return minuend - subtrahend


class RpcCase(SynchronousTestCase):
    """A few commands."""

    def setUp(self) -> None:
        self.notified: list[str] = []
        self.waiting: Deferred[Any] = Deferred()
        minuend = Parameter("minuend", int, "from this")
        subtrahend = Parameter("subtrahend", int, "this", optional=True)
        self.dispatcher = Dispatcher(
            [
                Command("subtract", subtract, "Subtract.", (minuend, subtrahend), ("sub",)),
                Command("note", self.note, "Note.", (Parameter("text", str, "what"),)),
                Command("wait", lambda: self.waiting, "Wait."),
                Command("refuse", self.refuse, "Refuse."),
                Command("break", lambda: 1 / 0, "Break."),
                Command("strange", lambda: {"k\udcff": ["\udcffx"]}, "Strange."),
                Command("many", self.many, "Count.", (Parameter("words", list, "some"),)),
            ]
        )

    def note(self, text: str) -> str:
        self.notified.append(text)
        return "OK"

    def many(self, words: list[str]) -> int:
        return len(words)

    def refuse(self) -> None:
        raise RpcError(404, "Session doesn't exist", {"key": "x"})

    def raw(self, request: bytes | str) -> bytes | None:
        data = request if isinstance(request, bytes) else request.encode()
        answer: bytes | None = self.successResultOf(self.dispatcher.handle(data))
        return answer

    def ask(self, method: str, params: Any = None, **fields: Any) -> Any:
        request = {"jsonrpc": "2.0", "method": method, "id": 1, **fields}
        if params is not None:
            request["params"] = params
        answer = self.raw(json.dumps(request))
        assert answer is not None
        return json.loads(answer)

    def error(self, answer: Any) -> int:
        self.assertNotIn("result", answer)
        return int(answer["error"]["code"])


class CallTests(RpcCase):
    """One request."""

    def test_by_position_and_by_name(self) -> None:
        for params in ([42, 23], {"subtrahend": 23, "minuend": 42}, ["42", "23"]):
            self.assertEqual(
                self.ask("subtract", params), {"jsonrpc": "2.0", "result": 19, "id": 1}
            )
        self.assertEqual(self.ask("sub", [42])["result"], 41)

    def test_ids(self) -> None:
        for id_ in ("a", 7, None, 1.5):
            self.assertEqual(self.ask("sub", [1], id=id_)["id"], id_)
        for id_ in ([], {}, True):
            self.assertEqual(self.error(self.ask("sub", [1], id=id_)), -32600)

    def test_notification(self) -> None:
        """Not even errors are told."""
        self.assertIsNone(self.raw('{"jsonrpc": "2.0", "method": "note", "params": ["x"]}'))
        self.assertEqual(self.notified, ["x"])
        for method in ("refuse", "break", "nobody"):
            self.assertIsNone(self.raw(json.dumps({"jsonrpc": "2.0", "method": method})))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_later(self) -> None:
        answer = self.dispatcher.handle(b'{"jsonrpc": "2.0", "method": "wait", "id": 1}')
        self.assertNoResult(answer)
        self.waiting.callback({"a": 1})
        self.assertIn(b'"a":1', self.successResultOf(answer))

    def test_refused(self) -> None:
        self.assertEqual(
            self.ask("refuse")["error"],
            {"code": 404, "message": "Session doesn't exist", "data": {"key": "x"}},
        )

    def test_broken(self) -> None:
        self.assertEqual(self.error(self.ask("break")), -32603)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bytes_of_peers(self) -> None:
        """What is no UTF-8 can still be shown."""
        self.assertEqual(self.ask("strange")["result"], {"k\\xff": ["\\xffx"]})

    def test_wrong_parameters(self) -> None:
        for method, params, told in (
            ("sub", [], "Missing parameter 'minuend'"),
            ("sub", [1, 2, 3], "Too many parameters"),
            ("sub", {"minuend": 1, "x": 2}, "Unknown parameter 'x'"),
            ("sub", ["x"], "'minuend' must be a whole number"),
            ("sub", [{}], "'minuend' must be a whole number"),
            ("note", [7], "'text' must be a string"),
            ("many", [[1]], "'words' must be a list of strings"),
        ):
            answer = self.ask(method, params)
            self.assertEqual((self.error(answer), answer["error"]["data"]), (-32602, told))
        for params in ("x", 1, True):
            self.assertEqual(self.error(self.ask("sub", params)), -32600)

    def test_lists(self) -> None:
        """A single string will do."""
        self.assertEqual(self.ask("many", [["a", "b"]])["result"], 2)
        self.assertEqual(self.ask("many", ["a"])["result"], 1)

    def test_unknown(self) -> None:
        self.assertEqual(self.error(self.ask("nobody")), -32601)

    def test_nonsense(self) -> None:
        for request, code in (
            ("", -32700),
            ("{", -32700),
            (b"\xff\xfe", -32700),
            ("[" * 100_000, -32700),
            ("1", -32600),
            ('"x"', -32600),
            ("null", -32600),
            ("[]", -32600),
            ('{"method": "sub", "id": 1}', -32600),
            ('{"jsonrpc": "2.0", "method": 1, "id": 1}', -32600),
            (json.dumps([1] * (MAX_BATCH + 1)), -32600),
        ):
            answer = self.raw(request)
            assert answer is not None
            self.assertEqual(self.error(json.loads(answer)), code, request[:40])


class BatchTests(RpcCase):
    """Several requests at once."""

    def test_mixed(self) -> None:
        batch = [
            {"jsonrpc": "2.0", "method": "sub", "params": [3], "id": "a"},
            {"jsonrpc": "2.0", "method": "note", "params": ["n"]},
            {"jsonrpc": "2.0", "method": "refuse", "id": "b"},
            1,
        ]
        answer = self.raw(json.dumps(batch))
        assert answer is not None
        found = json.loads(answer)
        self.assertEqual([each["id"] for each in found], ["a", "b", None])
        self.assertEqual(found[0]["result"], 2)
        self.assertEqual(self.notified, ["n"])

    def test_notifications_alone(self) -> None:
        batch = [{"jsonrpc": "2.0", "method": "note", "params": ["n"]}] * 2
        self.assertIsNone(self.raw(json.dumps(batch)))


class NamesTests(RpcCase):
    """What there is."""

    def test_names(self) -> None:
        self.assertIn("sub", self.dispatcher.names)
        self.assertEqual(
            [command.name for command in self.dispatcher.commands if "sub" in command.name],
            ["subtract"],
        )
