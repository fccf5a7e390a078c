"""Management commands, each in the states of a session that matter to it."""

import os
from typing import Any

from msrpgw import __version__
from msrpgw.gateway.operator import LISTING_TIME, MAX_ROWS
from msrpgw.manage.rpc import INVALID_PARAMS
from tests.gateway.wire import WireMsrp
from tests.manage.support import CommandsCase

KEY = "sip:bob@192.0.2.2:sip:alice@192.0.2.1"


class SessionsTests(CommandsCase):
    """Looking at sessions."""

    def meet(self) -> WireMsrp:
        """A session, up."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        self.town.run(0.1)
        return bob

    def test_list(self) -> None:
        """OpenSIPS's fields, and ours."""
        self.assertEqual(self.ask("msrp_gw_list_sessions"), [])
        bob = self.meet()
        self.town.run(10)
        for name in ("msrp_gw_list_sessions", "msrp_gateway:list_sessions"):
            (row,) = self.ask(name)
            self.assertEqual(row["key"], KEY)
            self.assertEqual(row["msg_side_from"], bob.uri)
            self.assertEqual(row["msg_side_to"], self.alice.uri)
            self.assertEqual(row["msg_side_ruri"], self.alice.uri)
            self.assertIn(row["msrp_ua_session_id"], bob.gateway_path())
            self.assertEqual((row["state"], row["called"]), ("up", False))
            self.assertLess(abs(row["age"] - 10.1), 0.2)

    def test_pages(self) -> None:
        users = [WireMsrp(self.town, f"u{n:02}", f"192.0.3.{n}") for n in range(1, 26)]
        for user in users:
            user.call(self.alice.uri)
        self.town.run(0.5)
        found: list[str] = []
        after: str | None = None
        while True:
            params: dict[str, Any] = {} if after is None else {"after": after}
            answer = self.ask("msrpgw:list_sessions", limit=10, **params)
            found += [row["key"] for row in answer["Sessions"]]
            after = answer["next"]
            if after is None:
                break
        self.assertEqual(found, sorted(self.town.gateway.sessions))
        late = WireMsrp(self.town, "u98", "192.0.3.98")
        late.call(self.alice.uri)
        gone = found.pop()
        self.ask("msrp_gw_end_session", gone)
        rows = self.ask("msrp_gw_list_sessions", after=found[-2])
        self.assertEqual([row["key"] for row in rows], found[-1:], "as when it began")
        self.town.run(LISTING_TIME + 1)
        rows = self.ask("msrp_gw_list_sessions", after=found[-2])
        self.assertEqual([row["key"] for row in rows][1], f"{late.uri}:{self.alice.uri}")
        rows = self.ask("msrp_gw_list_sessions", limit=3, after=found[4])
        self.assertEqual([row["key"] for row in rows], found[5:8])
        answer = self.ask("msrpgw:list_sessions", pattern="*u0[12]*", state="up")
        self.assertEqual(len(answer["Sessions"]), 2)
        self.assertEqual(self.ask("msrpgw:list_sessions", state="moving")["Sessions"], [])
        for limit in (0, MAX_ROWS + 1, -5):
            self.assertEqual(self.refused("msrp_gw_list_sessions", limit=limit)[0], INVALID_PARAMS)

    def test_show(self) -> None:
        bob = self.meet()
        self.send("one")
        bob.send("two")
        bob.send_status = 403
        self.send("three")
        shown = self.ask("msrpgw:show_session", KEY)
        self.assertEqual(
            shown["counters"],
            {
                "to_msrp": {"delivered": 1, "failed": 1, "bytes": 3},
                "to_page": {"delivered": 1, "failed": 0, "bytes": 3},
            },
        )
        self.assertEqual(shown["dialog"]["target"], bob.uri)
        self.assertEqual(shown["msrp"]["peer_path"], bob.path)
        self.assertEqual(shown["msrp"]["accept_types"], ["*"])
        self.assertEqual(shown["invite"]["from_uri"], bob.uri)
        self.assertEqual(self.refused("msrpgw:show_session", "x"), (404, "Session doesn't exist"))

    def test_msrp_side(self) -> None:
        bob = self.meet()
        (row,) = self.ask("msrp_ua_list_sessions")
        self.assertEqual((row["type"], row["peer_path"]), ("UAS", bob.path))
        self.assertEqual(row["b2b_key"], bob.dialog[-1][1])
        self.assertEqual(self.ask("msrp_ua_end_session", row["session_id"]), "OK")
        self.town.run(0.1)
        self.assertEqual(len(bob.requests("BYE")), 1)
        self.assertEqual(
            self.refused("msrp_ua_end_session", row["session_id"]), (404, "Unknown session")
        )


class EndTests(CommandsCase):
    """Ending a session, in every state."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")

    def end(self) -> Any:
        answer = self.ask("msrpgw:end_session", KEY)
        self.assertEqual(self.town.gateway.sessions, {})
        self.assertEqual(self.refused("msrp_gw_end_session", KEY), (404, "Session doesn't exist"))
        return answer

    def test_unknown(self) -> None:
        for name in ("msrp_gw_end_session", "msrp_gateway:end_session", "msrpgw:end_session"):
            self.assertEqual(self.refused(name, KEY), (404, "Session doesn't exist"))
            self.assertEqual(self.refused(name)[0], INVALID_PARAMS)

    def test_as_opensips_answers(self) -> None:
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.assertEqual(self.ask("msrp_gw_end_session", key=KEY), "OK")

    def test_ringing(self) -> None:
        """CANCEL; the messages stay with us."""
        self.bob.on_request = lambda request: self.bob.answer(request, 180)
        self.send("one")
        self.send("two")
        self.assertEqual(self.end(), {"key": KEY, "state": "setting_up", "queued": 2, "kept": 2})
        self.town.run(0.5)
        self.assertEqual(len(self.bob.requests("CANCEL")), 1)
        self.bob.on_request = self.bob.take
        self.bob.answer(self.bob.requests("INVITE")[0], 487)
        self.town.run(10)
        self.assertEqual(self.bob.bodies(), ["one", "two"])

    def test_before_any_answer(self) -> None:
        self.bob.on_request = lambda request: None
        self.send()
        self.assertEqual(self.end()["state"], "setting_up")

    def test_waiting_for_msrp(self) -> None:
        self.bob.setup = "active"
        self.send()
        self.assertEqual(self.end()["kept"], 1)
        self.town.run(0.1)
        self.assertEqual(len(self.bob.requests("BYE")), 1)

    def test_up(self) -> None:
        """BYE; who still waits for an answer gets one."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.bob.send_status = 0
        held = self.alice.make("MESSAGE", self.bob.uri, b"held", "text/plain")
        self.alice.write(held)
        self.town.run(0.05)
        self.assertEqual(self.end(), {"key": KEY, "state": "up", "queued": 1, "kept": 0})
        self.town.run(0.1)
        self.assertEqual(len(self.bob.requests("BYE")), 1)
        self.assertEqual([each.status for each in self.alice.responses(held)], [480])

    def test_broken(self) -> None:
        """The MSRP connection is lost, and the re-INVITE not answered."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.bob.on_request = lambda request: None
        self.bob.connections[-1].break_off()
        self.town.run(0.1)
        self.send("waits")
        self.assertEqual(self.end(), {"key": KEY, "state": "moving", "queued": 1, "kept": 1})
        self.town.run(0.1)
        self.assertEqual(len(self.bob.requests("BYE")), 1)


class StartTests(CommandsCase):
    """Calls and texts of the operator's own."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")

    def start(self) -> Any:
        return self.raw(
            "msrp_ua_start_session",
            "text/plain text/html",
            self.alice.uri,
            self.bob.uri,
            self.bob.uri,
        )

    def test_start(self) -> None:
        self.assertEqual(self.start()["result"], "OK")
        self.town.run(0.5)
        (invite,) = self.bob.requests("INVITE")
        self.assertIn(b"a=accept-types:text/plain text/html\r\n", invite.body)
        self.assertEqual(list(self.town.gateway.sessions), [KEY])
        self.assertEqual(self.start()["error"]["code"], 500)
        self.bob.send("hi")
        self.assertEqual(self.alice.texts(), ["hi"])

    def test_bad_uri(self) -> None:
        self.assertEqual(self.refused("msrp_ua_start_session", "text/plain", "x", "y", "z")[0], 500)

    def test_send_over_a_session(self) -> None:
        self.start()
        self.town.run(0.5)
        (row,) = self.ask("msrp_ua_list_sessions")
        id_ = row["session_id"]
        answer = self.ask("msrp_ua_send_message", id_, "text/plain", "Grüße", seconds=0.1)
        self.assertEqual(answer, "OK")
        self.assertEqual(self.bob.bodies(), ["Grüße"])
        self.bob.send_status = 413
        answer = self.raw("msrp_ua_send_message", id_, "text/plain", "x", seconds=0.1)
        self.assertEqual(answer["error"]["code"], 500)
        self.assertIn("413", answer["error"]["data"])
        self.assertEqual(self.refused("msrp_ua_send_message", "x"), (404, "Unknown session"))

    def test_send(self) -> None:
        params = {"from_uri": self.alice.uri, "to_uri": self.bob.uri, "text": "hello"}
        self.assertEqual(
            self.ask("msrpgw:send_message", **params), {"status": 202, "reason": "Accepted"}
        )
        self.town.run(0.5)
        answer = self.ask("msrpgw:send_message", **params, seconds=0.1)
        self.assertEqual(answer, {"status": 200, "reason": "OK"})
        self.assertEqual(self.bob.bodies(), ["hello", "hello"])
        params["content_type"] = "message/imdn+xml"
        params["to_uri"] = "sip:carol@192.0.2.3"
        self.assertEqual(self.refused("msrpgw:send_message", **params)[0], 500)


class JournalTests(CommandsCase):
    """Messages in our custody."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.bob.status = 480

    def wait(self, count: int = 3) -> list[dict[str, Any]]:
        for number in range(count):
            self.send(f"text {number}")
        self.town.run(20)
        entries: list[dict[str, Any]] = self.ask("msrpgw:journal_list")["entries"]
        self.assertEqual(len(entries), count)
        return entries

    def test_list(self) -> None:
        entries = self.wait(5)
        first = entries[0]
        self.assertEqual((first["from"], first["to"]), (self.alice.uri, self.bob.uri))
        self.assertEqual((first["direction"], first["size"]), ("to_msrp", 6))
        self.assertGreater(first["attempts"], 1)
        self.assertEqual(first["last_error"], "Temporarily Unavailable")
        answer = self.ask("msrpgw:journal_list", limit=2, after=entries[1]["number"])
        self.assertEqual(
            [each["id"] for each in answer["entries"]], [e["id"] for e in entries[2:4]]
        )
        answer = self.ask("msrpgw:journal_list", after=answer["next"])
        self.assertEqual((len(answer["entries"]), answer["next"]), (1, None))

    def test_retry(self) -> None:
        entries = self.wait()
        self.bob.status = 200
        self.assertEqual(
            self.ask("msrpgw:journal_retry", entries[0]["id"]), {"id": entries[0]["id"]}
        )
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), ["text 0", "text 1", "text 2"])
        self.assertEqual(self.refused("msrpgw:journal_retry", "x")[0], 404)

    def test_drop(self) -> None:
        """Its sender is told."""
        entries = self.wait()
        self.ask("msrpgw:journal_drop", entries[1]["id"])
        self.town.run(0.1)
        self.assertIn('"text 1"', self.alice.texts()[-1])
        self.bob.status = 200
        self.town.run(60)
        self.assertEqual(self.bob.bodies(), ["text 0", "text 2"])

    def test_on_its_way(self) -> None:
        """What is on the wire is neither tried again nor dropped."""
        self.bob.status = 200
        self.send("first")
        self.town.run(0.5)
        self.bob.send_status = 0
        self.alice.message(self.bob.uri, "second", seconds=0.5)
        (entry,) = self.ask("msrpgw:journal_list")["entries"]
        for name in ("msrpgw:journal_retry", "msrpgw:journal_drop"):
            self.assertEqual(self.refused(name, entry["id"]), (409, "The message is on its way"))

    def test_to_a_page_user(self) -> None:
        self.bob.call(self.alice.uri)
        self.town.run(0.1)
        self.alice.status = 480
        self.bob.send("hi", Failure_Report="no")
        self.town.run(100)
        (entry,) = self.ask("msrpgw:journal_list")["entries"]
        self.assertEqual(entry["direction"], "to_page")
        self.alice.status = 200
        before = len(self.alice.texts())
        self.ask("msrpgw:journal_retry", entry["id"])
        self.town.run(0.1)
        self.assertEqual(len(self.alice.texts()), before + 1)
        self.assertEqual(self.ask("msrpgw:journal_list")["entries"], [])

    def test_fate(self) -> None:
        request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
        self.alice.ask(request)
        fate = self.ask("msrpgw:message_fate", request.call_id)
        self.assertEqual((fate["state"], fate["attempts"]), ("waiting", 1))
        self.bob.status = 200
        self.town.run(10)
        for id_ in (request.call_id, fate["message_id"]):
            fate = self.ask("msrpgw:message_fate", id_)
            self.assertEqual((fate["state"], fate["outcome"]), ("ended", "delivered"))
        self.assertEqual(self.refused("msrpgw:message_fate", "x")[0], 404)


class ProgramTests(CommandsCase):
    """What is of the program."""

    def test_version_and_so_on(self) -> None:
        self.assertEqual(self.ask("version"), {"Server": f"msrpgw ({__version__})"})
        self.assertEqual(self.ask("pwd"), {"WD": os.getcwd()})
        self.assertEqual(self.ask("ps")["Processes"][0]["PID"], os.getpid())
        self.town.run(7)
        self.assertEqual(self.ask("uptime")["Up time"], "7 [sec]")
        self.assertEqual(self.ask("msrpgw:status"), {"version": "1"})
        self.assertEqual(self.ask("msrpgw:drain"), {"under_way": 3})

    def test_which(self) -> None:
        names = self.ask("which")
        self.assertIn("msrp_gw_list_sessions", names)
        self.assertIn("msrp_gateway:list_sessions", names)
        self.assertEqual(
            self.ask("which", "event_subscribe"),
            [["event", "socket"], ["event", "socket", "expire"]],
        )
        self.assertEqual(self.refused("which", "x"), (404, "unknown MI command"))

    def test_log_level(self) -> None:
        self.assertEqual(self.ask("log_level"), {"Log level": "info"})
        self.assertEqual(self.ask("log_level", "debug"), {"Log level": "debug"})
        self.assertEqual(self.ask("log_level", "1"), {"Log level": "warn"})
        self.assertEqual(self.refused("log_level", "loud")[0], INVALID_PARAMS)

    def test_configuration(self) -> None:
        self.assertEqual(self.ask("msrpgw:reload"), {"changed": [], "needs_restart": []})
        self.assertEqual(self.ask("msrpgw:check_config"), {"problems": []})
        self.program.problems = ["one", "two"]
        self.assertEqual(self.raw("msrpgw:reload")["error"]["data"], ["one", "two"])
        self.assertEqual(self.ask("msrpgw:check_config", "x.toml"), {"problems": ["one", "two"]})

    def test_statistics(self) -> None:
        self.assertEqual(self.ask("get_statistics", ["msrpgw:messages"]), {"msrpgw:messages": 5})
        self.assertEqual(len(self.ask("get_statistics", ["all"])), 2)
        self.assertEqual(self.refused("get_statistics", ["nothing"]), (404, "Statistics Not Found"))
        self.assertEqual(
            self.ask("list_statistics"),
            {"msrpgw:messages": "counter", "msrpgw:sessions": "gauge"},
        )
        self.assertEqual(self.ask("list_statistics", ["x:"]), {})
        self.assertEqual(self.ask("reset_statistics", ["msrpgw:messages"]), "OK")
        self.assertEqual(self.ask("get_statistics", ["msrpgw:messages"]), {"msrpgw:messages": 0})
        self.assertEqual(self.refused("reset_statistics", ["msrpgw:sessions"])[0], 400)
        self.assertEqual(self.refused("reset_statistics", ["x"])[0], 404)

    def test_events(self) -> None:
        self.assertEqual(
            [each["name"] for each in self.ask("events_list")["Events"]],
            ["E_MSRP_SESSION_NEW", "E_MSRP_SESSION_END"],
        )
        self.assertEqual(
            self.ask("event_subscribe", "E_MSRP_SESSION_NEW", "udp:127.0.0.1:9", 60), "OK"
        )
        self.ask("event_subscribe", "E_MSRP_SESSION_END", "udp:127.0.0.1:10")
        self.assertEqual(self.subscriptions.told[0][2], 60)
        self.assertEqual(self.subscriptions.told[1][2], 3600)
        self.assertEqual(self.refused("event_subscribe", "E_X", "udp:127.0.0.1:9")[0], 400)
        self.assertEqual(len(self.ask("subscribers_list")["Events"]), 2)
        found = self.ask("subscribers_list", socket="udp:127.0.0.1:10")["Events"]
        self.assertEqual([each["name"] for each in found], ["E_MSRP_SESSION_END"])
        found = self.ask("subscribers_list", "E_MSRP_SESSION_NEW")["Events"]
        self.assertEqual([each["name"] for each in found], ["E_MSRP_SESSION_NEW"])

    def test_raise_event(self) -> None:
        self.assertEqual(self.ask("raise_event", "E_MSRP_SESSION_END", ["key=k", "x"]), "OK")
        self.assertEqual(self.town.sink.named("E_MSRP_SESSION_END"), [{"key": "k", "1": "x"}])
        self.assertEqual(self.refused("raise_event", "E_X"), (404, "Event not registered"))
