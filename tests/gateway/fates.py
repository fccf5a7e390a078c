"""The fate table: each way in which the far side can fail, and what the sender is told, and when.

    python -m tests.gateway.fates > docs/fates.md

``test_fates`` plays each entry and compares; ``docs/fates.md`` is made of the same entries.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msrpgw.gateway.settings import DeliverySettings, GatewaySettings, PolicySettings
from msrpgw.msrp import frame
from msrpgw.sip.message import Message, Request, Response
from tests.gateway.keeping import KeepingJournal
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

#: seconds that delivery is tried, and seconds that the sender is watched
TTL = 1800.0
WATCHED = 2400.0


class Stage:
    """Alice has MESSAGE, Bob has MSRP, in a town where things go wrong."""

    def __init__(self, **settings: Any) -> None:
        delivery = {"message_ttl": TTL, **settings.pop("delivery", {})}
        if settings.pop("policy_safe", False):
            settings["policy"] = PolicySettings(congestion_safe=True)
        self.journal = KeepingJournal()
        settings.setdefault("hold_setup", GatewaySettings().hold_setup)
        self.town = Town(journal=self.journal, delivery=DeliverySettings(**delivery), **settings)
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.began = 0.0
        self.told: list[tuple[float, str]] = []

    def meet(self) -> None:
        """Their session is up."""
        self.bob.call(self.alice.uri)
        self.town.run(0.1)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Time passes."""
        self.town.run(seconds, step)

    def note(self, what: str) -> None:
        """The sender is told something."""
        self.told.append((self.town.clock.seconds() - self.began, what))

    # Who tells what to the sender of a MESSAGE

    def send_message(self, *texts: str, headers: list[tuple[str, str]] | None = None) -> None:
        """Alice writes."""
        self.began = self.town.clock.seconds()
        received, take = self.alice.datagramReceived, self.alice.on_request

        def hear(data: bytes, addr: Any) -> None:
            received(data, addr)
            message: Message = self.alice.received[-1]
            if isinstance(message, Response) and message.status >= 200:
                self.note(f"{message.status}")

        def take_notice(request: Request) -> None:
            if request.method == "MESSAGE":
                self.note(f"notice: {request.body.decode()}")
            take(request)

        self.alice.datagramReceived = hear  # type: ignore[method-assign]
        self.alice.on_request = take_notice
        for text in texts or ("hi",):
            body = text.encode()
            self.alice.write(
                self.alice.make("MESSAGE", self.bob.uri, body, "text/plain", headers or [])
            )
        self.run(0.01)

    # Who tells what to the sender of a SEND

    def send_send(self, *texts: str, **fields: str) -> None:
        """Bob writes."""
        self.began = self.town.clock.seconds()
        segments = self.bob.connections[-1]
        received = segments.dataReceived

        def hear(data: bytes) -> None:
            before = len(self.bob.frames)
            received(data)
            for each in self.bob.frames[before:]:
                if isinstance(each, frame.Response):
                    self.note(f"MSRP {each.status}")
                elif each.status is not None:
                    self.note(f"REPORT {each.status.code}")

        segments.dataReceived = hear  # type: ignore[method-assign]
        for text in texts or ("hi",):
            self.bob.send(text, **{"Success_Report": "yes", **fields})

    def answer(self, *statuses: int) -> None:
        """Alice's phone answers with these, the last one ever after; 0: not at all."""
        left = list(statuses)

        def take(request: Request) -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            if status:
                self.alice.answer(request, status)

        self.alice.on_request = take


class Fate(NamedTuple):
    """One row."""

    what: str  #: happens at the far side
    told: tuple[str, ...]  #: the sender, each with its time
    play: Callable[[Stage], None]
    settings: dict[str, Any] = {}


def when(seconds: float) -> str:
    """A time as the table has it: short ones exact, long ones in whole minutes, rounded up."""
    if seconds < 0.1:
        return "at once"
    if seconds < 1:
        return f"after {seconds:.1f} s"
    if seconds < 100:
        return f"after {seconds:.0f} s"
    return f"after {-(-seconds // 60):.0f} min"


def watch(fate: Fate) -> tuple[str, ...]:
    """What the sender is really told."""
    stage = Stage(**fate.settings)
    fate.play(stage)
    stage.run(40, step=0.05)
    stage.run(WATCHED, step=0.5)
    told: dict[str, int] = {}
    for seconds, what in stage.told:
        line = f"{what} {when(seconds)}" if "notice" not in what else f"{when(seconds)} {what}"
        told[line] = told.get(line, 0) + 1
    return tuple(f"{count} times {line}" if count > 1 else line for line, count in told.items())


# To the MSRP user


def _refusal(status: int) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.meet()
        stage.bob.send_status = status
        stage.send_message()

    return play


def _late(status: int) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.meet()
        stage.bob.send_status = 0
        stage.send_message()
        stage.run(1)
        stage.bob.connections[0].answer(stage.bob.sends()[0], status)
        stage.bob.send_status = status

    return play


def _renewed(stage: Stage) -> None:
    stage.meet()
    stage.bob.send_status = 481

    def take(request: Request) -> None:
        stage.bob.session, stage.bob.send_status = 2, 200
        stage.bob.pick_up(request) if request.method == "INVITE" else stage.bob.take(request)

    stage.bob.on_request = take
    stage.send_message()


def _reset(stage: Stage) -> None:
    """In the middle of the chunks of a long text."""
    stage.meet()
    stage.bob.on_send = lambda connection, send: connection.break_off()

    def take(request: Request) -> None:
        stage.bob.session, stage.bob.on_send = 2, stage.bob.take_send
        stage.bob.pick_up(request) if request.method == "INVITE" else stage.bob.take(request)

    stage.bob.on_request = take
    stage.send_message("long " * 2000)


def _reset_for_good(stage: Stage) -> None:
    stage.meet()
    stage.bob.on_send = lambda connection, send: connection.break_off()
    stage.bob.status = 404
    stage.bob.on_request = lambda request: stage.bob.answer(request, 404)
    stage.send_message()


def _bye(seconds: float) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.meet()
        stage.bob.send_status = 0
        stage.send_message()
        stage.run(seconds)
        stage.bob.send_status = 200
        stage.bob.in_dialog("BYE")

    return play


def _setup(status: int, count: int = 1, after: float = 0.0) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.bob.status = 0
        stage.send_message(*(f"text {number}" for number in range(count)))
        stage.run(after)
        stage.bob.status = status
        if status == 200:
            stage.bob.pick_up(stage.bob.requests("INVITE")[0])
        elif status:
            stage.bob.answer(stage.bob.requests("INVITE")[0], status)

    return play


def _hour(stage: Stage) -> None:
    stage.bob.status = 480
    stage.send_message()
    stage.run(3600, step=0.5)
    stage.bob.status = 200


def _nobody_listens(stage: Stage) -> None:
    stage.bob.sdp = lambda: (  # type: ignore[method-assign]
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
        b"m=message 2855 TCP/MSRP *\r\na=accept-types:*\r\na=setup:passive\r\n"
        b"a=path:msrp://192.0.2.9:2855/x;tcp\r\n"
    )
    stage.send_message()


def _no_type(stage: Stage) -> None:
    stage.bob.accept_types = "text/html"
    stage.send_message()


def _relay(status: int) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.bob.relay = "msrp://192.0.2.2:2855/relay;tcp"
        stage.meet()
        stage.send_message()
        stage.run(2)
        if status:
            _report(stage, status)

    return play


def _report(stage: Stage, status: int) -> None:
    (send, *_) = stage.bob.sends()
    stage.bob.send(
        None,
        method="REPORT",
        Message_ID=send.message_id,
        Byte_Range="1-2/2",
        Status=f"000 {status} Told later",
    )


def _report_after_200(stage: Stage) -> None:
    stage.meet()
    stage.send_message()
    stage.run(2)
    _report(stage, 408)


def _disk_full(stage: Stage) -> None:
    stage.journal.full = True
    stage.send_message()


def _never_and_disk_full(stage: Stage) -> None:
    stage.bob.status = 0
    _disk_full(stage)


def _disk_full_on_the_wire(stage: Stage) -> None:
    stage.meet()
    stage.journal.full = True
    stage.bob.send_status = 0
    stage.send_message()


def _expires(stage: Stage) -> None:
    stage.bob.status = 480
    stage.send_message(headers=[("Expires", "60")])


def _full_queue(stage: Stage) -> None:
    stage.bob.status = 480
    stage.send_message(*(f"text {number}" for number in range(5)))


DELAYED = "notice: Not delivered yet, error: {}; trying again"
FAILED = "notice: Failed to establish session, error: {}"
GIVEN_UP = 'notice: Message not delivered, error: {}; it was "{}" of 2023-11-14 22:13:20 UTC{}'

TO_MSRP: tuple[Fate, ...] = (
    Fate("SEND: 200", ("200 at once",), _refusal(200)),
    Fate("SEND: 403", ("403 at once",), _refusal(403)),
    Fate("SEND: 408", ("504 at once",), _refusal(408)),
    Fate("SEND: 413", ("413 at once",), _refusal(413)),
    Fate("SEND: 415", ("415 at once",), _refusal(415)),
    Fate("SEND: 501", ("501 at once",), _refusal(501)),
    Fate("SEND: 481, and a re-INVITE is taken", ("200 at once",), _renewed),
    Fate("SEND: 200 after 1 s", ("202 after 0.3 s",), _late(200)),
    Fate(
        "SEND: 413 after 1 s",
        (
            "202 after 0.3 s",
            "after 1 s " + GIVEN_UP.format("413 Message too large for the MSRP user", "hi", ""),
        ),
        _late(413),
    ),
    Fate(
        "SEND: never answered",
        ("202 after 0.3 s", "after 31 min " + GIVEN_UP.format("504 No MSRP response", "hi", "")),
        _refusal(0),
    ),
    Fate("connection reset amid chunks, and a re-INVITE is taken", ("200 at once",), _reset),
    Fate("connection reset, and the re-INVITE refused", ("480 at once",), _reset_for_good),
    Fate("BYE while the SEND is under way", ("480 after 0.3 s",), _bye(0.05)),
    Fate("BYE after the hold; called again, and delivered", ("202 after 0.3 s",), _bye(1)),
    Fate(
        "REPORT 408, although the SEND had its 200",
        ("200 at once", "after 2 s " + GIVEN_UP.format("504 Told later", "hi", "")),
        _report_after_200,
    ),
    Fate("a relay has it; REPORT 200", ("202 at once",), _relay(200)),
    Fate(
        "a relay has it; REPORT 403",
        ("202 at once", "after 2 s " + GIVEN_UP.format("403 Told later", "hi", "")),
        _relay(403),
    ),
    Fate(
        "a relay has it; no REPORT",
        (
            "202 at once",
            "after 3 min " + GIVEN_UP.format("480 No REPORT came from behind the relay", "hi", ""),
        ),
        _relay(0),
    ),
    Fate("call: 200", ("200 at once",), _setup(200)),
    Fate("call: 200, with 3 waiting", ("3 times 200 at once",), _setup(200, 3)),
    Fate("call: 200 after 1 s", ("202 after 0.3 s",), _setup(200, after=1)),
    Fate("call: 404", ("404 at once",), _setup(404)),
    Fate("call: 404, with 3 waiting", ("3 times 404 at once",), _setup(404, 3)),
    Fate(
        "call: 404 after 1 s",
        ("202 after 0.3 s", "after 1 s " + FAILED.format("404 Not Found")),
        _setup(404, after=1),
    ),
    Fate(
        "call: 404 after 1 s, with 3 waiting",
        ("3 times 202 after 0.3 s", "after 1 s " + FAILED.format("404 Not Found")),
        _setup(404, 3, after=1),
    ),
    Fate(
        "call: 603 after 1 s, with 300 waiting",
        ("300 times 202 after 0.3 s", "after 1 s " + FAILED.format("603 Decline")),
        _setup(603, 300, after=1),
    ),
    Fate(
        "call: 480, as long as it is tried",
        (
            "at once " + DELAYED.format("480 Temporarily Unavailable"),
            "202 at once",
            "after 31 min " + GIVEN_UP.format("480 Temporarily Unavailable", "text 0", ""),
        ),
        _setup(480),
    ),
    Fate(
        "call: 480, with 3 waiting",
        (
            "at once " + DELAYED.format("480 Temporarily Unavailable"),
            "3 times 202 at once",
            "after 31 min " + GIVEN_UP.format("480 Temporarily Unavailable", "text 0", ""),
            "after 31 min "
            + GIVEN_UP.format("480 Temporarily Unavailable", "text 1", ", and 1 more"),
        ),
        _setup(480, 3),
    ),
    Fate(
        "call: 480 for an hour, then 200",
        ("at once " + DELAYED.format("480 Temporarily Unavailable"), "202 at once"),
        _hour,
        {"delivery": {"message_ttl": 86400.0}},
    ),
    Fate(
        "call: never answered",
        (
            "202 after 0.3 s",
            "after 32 s " + DELAYED.format("408 Request Timeout"),
            "after 31 min " + GIVEN_UP.format("408 Request Timeout", "text 0", ""),
        ),
        _setup(0),
    ),
    Fate(
        "call: 200, but no MSRP connection",
        (
            "at once "
            + DELAYED.format(
                "480 MSRP connection failed: connect failed: Connection was refused by other side."
            ),
            "202 at once",
            "after 31 min "
            + GIVEN_UP.format(
                "480 MSRP connection failed: connect failed: Connection was refused by other side.",
                "hi",
                "",
            ),
        ),
        _nobody_listens,
    ),
    Fate(
        "call: 200, but no common type",
        ("488 at once",),
        _no_type,
    ),
    Fate(
        "call: 480, and the MESSAGE has Expires: 60",
        (
            "at once " + DELAYED.format("480 Temporarily Unavailable"),
            "202 at once",
            "after 60 s " + GIVEN_UP.format("480 Temporarily Unavailable", "hi", ""),
        ),
        _expires,
    ),
    Fate(
        "call: 480, and the queue has room for 2",
        (
            "3 times 480 at once",
            "at once " + DELAYED.format("480 Temporarily Unavailable"),
            "2 times 202 at once",
            "after 31 min " + GIVEN_UP.format("480 Temporarily Unavailable", "text 0", ""),
            "after 31 min " + GIVEN_UP.format("480 Temporarily Unavailable", "text 1", ""),
        ),
        _full_queue,
        {"queue_limit": 2},
    ),
    Fate("call: 200, and our disk is full", ("200 at once",), _disk_full),
    Fate("call: never answered, and our disk is full", ("480 after 0.3 s",), _never_and_disk_full),
    Fate("SEND never answered, and our disk is full", ("504 after 30 s",), _disk_full_on_the_wire),
)


# To the page user


def _answers(*statuses: int, **fields: str) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.meet()
        stage.answer(*statuses)
        stage.send_send(**fields)

    return play


def _after_6_s(status: int, later: int) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        stage.meet()
        stage.answer(0)
        stage.send_send()
        stage.run(6)
        stage.answer(later)
        stage.alice.answer(stage.alice.requests("MESSAGE")[0], status)

    return play


def _page_hour(stage: Stage) -> None:
    stage.meet()
    stage.answer(480)
    stage.send_send("one", "two", Failure_Report="partial")
    stage.run(3600, step=0.5)
    stage.answer(200)


def _page_bye(stage: Stage) -> None:
    stage.meet()
    stage.answer(0)
    stage.send_send()
    stage.run(6)
    stage.bob.in_dialog("BYE")
    stage.answer(200)


def _no_host(stage: Stage) -> None:
    stage.bob.call("sip:alice@nowhere.example")
    stage.run(0.1)
    stage.send_send()


def _tcp_refused(stage: Stage) -> None:
    stage.meet()
    stage.send_send("long " * 1000)


def _long(stage: Stage) -> None:
    stage.meet()
    stage.send_send("long " * 1000)


def _page_disk_full(stage: Stage) -> None:
    stage.meet()
    stage.journal.full = True
    stage.answer(0)
    stage.send_send("one", "two")


def _page_queue(stage: Stage) -> None:
    stage.meet()
    stage.answer(0)
    stage.send_send("one", "two", "three")
    stage.run(1)
    stage.answer(200)


TO_PAGE: tuple[Fate, ...] = (
    Fate("200", ("MSRP 200 at once", "REPORT 200 at once"), _answers(200)),
    Fate("202", ("MSRP 200 at once", "REPORT 200 at once"), _answers(202)),
    Fate("302", ("MSRP 200 at once", "REPORT 403 at once"), _answers(302)),
    Fate("404", ("MSRP 200 at once", "REPORT 403 at once"), _answers(404)),
    Fate("408", ("MSRP 200 at once", "REPORT 408 at once"), _answers(408)),
    Fate("413", ("MSRP 200 at once", "REPORT 413 at once"), _answers(413)),
    Fate("415", ("MSRP 200 at once", "REPORT 415 at once"), _answers(415)),
    Fate("480", ("MSRP 200 at once", "REPORT 408 at once"), _answers(480)),
    Fate("486", ("MSRP 200 at once", "REPORT 408 at once"), _answers(486)),
    Fate("500", ("MSRP 200 at once", "REPORT 408 at once"), _answers(500)),
    Fate("503", ("MSRP 200 at once", "REPORT 408 at once"), _answers(503)),
    Fate("603", ("MSRP 200 at once", "REPORT 403 at once"), _answers(603)),
    Fate("no answer", ("MSRP 200 after 5 s", "REPORT 408 after 31 min"), _answers(0)),
    Fate("200 after 6 s", ("MSRP 200 after 5 s", "REPORT 200 after 6 s"), _after_6_s(200, 200)),
    Fate("404 after 6 s", ("MSRP 200 after 5 s", "REPORT 403 after 6 s"), _after_6_s(404, 404)),
    Fate(
        "480 after 6 s, then 200",
        ("MSRP 200 after 5 s", "REPORT 200 after 8 s"),
        _after_6_s(480, 200),
    ),
    Fate(
        "480 for an hour, then 200; Failure-Report: partial",
        ("2 times REPORT 200 after 61 min",),
        _page_hour,
        {"delivery": {"message_ttl": 86400.0}},
    ),
    Fate(
        "480, as long as it is tried; Failure-Report: partial",
        ("REPORT 408 after 31 min",),
        _answers(480, Failure_Report="partial"),
    ),
    Fate("404; Failure-Report: no", (), _answers(404, Failure_Report="no")),
    Fate("its host has no address", ("MSRP 200 at once", "REPORT 408 at once"), _no_host),
    Fate(
        "a long text on a congestion-safe route, and TCP is refused",
        ("MSRP 200 at once", "REPORT 408 at once"),
        _tcp_refused,
        {"policy_safe": True},
    ),
    Fate(
        'a long text, and `long_messages = "refuse"`',
        ("MSRP 413 at once",),
        _long,
        {"delivery": {"long_messages": "refuse"}},
    ),
    Fate("BYE of the sender, then 200", ("MSRP 200 after 5 s",), _page_bye),
    Fate(
        "no answer to the first of two, and our disk is full",
        ("MSRP 413 after 5 s", "MSRP 200 after 32 s", "REPORT 408 after 32 s"),
        _page_disk_full,
    ),
    Fate(
        "200 after 2 s, and the queue has room for 2 of 3",
        ("MSRP 413 after 0.1 s", "2 times MSRP 200 after 2 s", "2 times REPORT 200 after 2 s"),
        _page_queue,
        {"queue_limit": 2},
    ),
)


def document() -> str:
    """``docs/fates.md``."""
    lines = [
        "# What a sender is told when the far side fails",
        "",
        "Each row is a test (`tests/gateway/test_fates.py`), played with the defaults but"
        " `message_ttl`,",
        f"which is {TTL / 60:.0f} minutes here, not a day. [custody.md](custody.md) says why it is"
        " so. Made by",
        "`python -m tests.gateway.fates`.",
    ]
    for title, fates in (
        ("A MESSAGE for an MSRP user", TO_MSRP),
        ("A SEND for a page user", TO_PAGE),
    ):
        lines += ["", f"## {title}", "", "| the far side | its sender is told |", "| --- | --- |"]
        for fate in fates:
            lines.append(f"| {fate.what} | {'; '.join(fate.told) or 'nothing'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
