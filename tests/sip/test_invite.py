"""The INVITE usage: every input in every state, and what must hold after each."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.invite import UsageState
from msrpgw.sip.transaction import InviteServerTransaction
from tests.sip.fake_agent import ANSWER, OFFER, Call, Sent

INPUTS: dict[str, Callable[[Call], object]] = {
    "ring": lambda call: call.usage.ring(),
    "accept": lambda call: call.usage.accept(ANSWER),
    "reject": lambda call: call.usage.reject(486),
    "reinvite": lambda call: call.usage.reinvite(OFFER),
    "answer": lambda call: call.usage.answer(ANSWER),
    "refuse_offer": lambda call: call.usage.refuse_offer(488),
    "end": lambda call: call.usage.end("enough"),
    "got 180": lambda call: call.answer_invite(180),
    "got 200": lambda call: call.answer_invite(200, body=ANSWER),
    "got bare 200": lambda call: call.answer_invite(200),
    "got fork 200": lambda call: call.answer_invite(200, tag="other", body=ANSWER),
    "got 486": lambda call: call.answer_invite(486),
    "got 302": lambda call: call.answer_invite(302),
    "BYE got 100": lambda call: call.answer_byes(100),
    "BYE got 200": lambda call: call.answer_byes(200),
    "BYE got 481": lambda call: call.answer_byes(481),
    "CANCEL": lambda call: call.cancel(),
    "ACK": lambda call: call.acknowledge(1),
    "stray ACK": lambda call: call.acknowledge(77),
    "BYE": lambda call: call.receive("BYE"),
    "INVITE": lambda call: call.receive("INVITE", body=OFFER),
    "OPTIONS": lambda call: call.receive("OPTIONS"),
    "INFO": lambda call: call.receive("INFO"),
    "UPDATE": lambda call: call.receive("UPDATE"),
    "old INFO": lambda call: call.receive("INFO", cseq=0),
    "64*T1": lambda call: call.agent.clock.pump([1.0] * 33),
    "minutes": lambda call: call.agent.clock.pump([1.0] * 400),
}

# What the state is after the input; "." where it stays as it was.
CALLER = """
                CALLING      CANCELLING  ESTABLISHED  ENDING  ENDED
ring            .            .           .            .       .
accept          .            .           .            .       .
reject          .            .           .            .       .
reinvite        .            .           .            .       .
answer          .            .           .            .       .
refuse_offer    .            .           .            .       .
end             CANCELLING   .           ENDING       .       .
got 180         .            .           .            .       .
got 200         ESTABLISHED  ENDING      .            .       .
got bare 200    ENDING       ENDING      .            .       .
got fork 200    ESTABLISHED  ENDING      .            .       .
got 486         ENDED        ENDED       .            .       .
got 302         ENDED        ENDED       .            .       .
BYE got 100     .            .           .            .       .
BYE got 200     .            .           .            ENDED   .
BYE got 481     .            .           .            ENDED   .
CANCEL          .            .           .            .       .
ACK             .            .           .            .       .
stray ACK       .            .           .            .       .
BYE             .            .           ENDED        ENDED   .
INVITE          .            .           .            .       .
OPTIONS         .            .           .            .       .
INFO            .            .           .            .       .
UPDATE          .            .           .            .       .
old INFO        .            .           .            .       .
64*T1           .            .           .            .       .
minutes         .            .           .            .       .
"""

CALLEE = """
                OFFERED   ACCEPTED     CLOSING  ESTABLISHED  ENDING  ENDED
ring            .         .            .        .            .       .
accept          ACCEPTED  .            .        .            .       .
reject          ENDED     .            .        .            .       .
reinvite        .         .            .        .            .       .
answer          .         .            .        .            .       .
refuse_offer    .         .            .        .            .       .
end             ENDED     CLOSING      .        ENDING       .       .
BYE got 100     .         .            .        .            .       .
BYE got 200     .         .            .        .            ENDED   .
BYE got 481     .         .            .        .            ENDED   .
CANCEL          ENDED     .            .        .            .       .
ACK             .         ESTABLISHED  ENDING   .            .       .
stray ACK       .         .            .        .            .       .
BYE             ENDED     ENDED        ENDED    ENDED        ENDED   .
INVITE          .         ESTABLISHED  .        .            .       .
OPTIONS         .         .            .        .            .       .
INFO            .         .            .        .            .       .
UPDATE          .         .            .        .            .       .
old INFO        .         .            .        .            .       .
64*T1           .         ENDING       ENDING   .            .       .
minutes         ENDED     ENDING       ENDING   .            .       .
"""


def cases(table: str) -> list[tuple[UsageState, str, UsageState]]:
    """State, input and following state of each cell."""
    head, *rows = table.strip("\n").splitlines()
    states = [UsageState[name] for name in head.split()]
    found = []
    for row in rows:
        cells = row[16:].split()
        assert len(cells) == len(states), row
        for state, cell in zip(states, cells, strict=True):
            found.append((state, row[:16].strip(), state if cell == "." else UsageState[cell]))
    return found


class TableTests(SynchronousTestCase):
    """Each input in each state."""

    def check(self, side: str, state: UsageState, name: str, following: UsageState) -> None:
        call = Call()
        call.make(side, state)
        self.assertIs(call.usage.state, state)
        INPUTS[name](call)
        where = f"{side} {state.name}: {name}"
        self.assertIs(call.usage.state, following, where)
        self.check_told(call, where)
        self.settle(call, where)

    def check_told(self, call: Call, where: str) -> None:
        """The end is told once and last, and not before it came."""
        told = [name for name, *_ in call.listener.told]
        if call.usage.state is UsageState.ENDED:
            self.assertEqual(call.listener.ends, 1, where)
        if call.listener.ends:
            self.assertIn(told[-1], ("failed", "ended"), where)
            self.assertEqual(told[-1] == "ended", "ended" in told, where)
        for transaction, path in call.received:
            if not isinstance(transaction, InviteServerTransaction):
                self.assertEqual(len(path.sent), 1, where)

    def settle(self, call: Call, where: str) -> None:
        """Whatever happened: after hanging up and the peer's answers nothing is left."""
        call.usage.end()
        call.agent.clock.pump([1.0] * 40)
        done: list[Sent] = []
        while len(done) < len(call.agent.sent):
            sent = call.agent.sent[len(done)]
            done.append(sent)
            sent.answer(487 if sent.request.method == "INVITE" else 200)
        call.agent.clock.pump([1.0] * 40)
        self.assertIs(call.usage.state, UsageState.ENDED, where)
        self.assertEqual(call.listener.ends, 1, where)
        self.check_told(call, where)
        self.assertEqual(call.agent.dialogs, {}, where)
        for transaction, _ in call.received:
            self.assertTrue(transaction.answered, where)
        told = list(call.listener.told)
        sent_before = len(call.agent.sent)
        call.agent.clock.pump([1.0] * 400)
        self.assertEqual(call.listener.told, told, where)
        self.assertEqual(len(call.agent.sent), sent_before, where)
        self.assertEqual(len(call.agent.timers), 0, where)

    def test_caller(self) -> None:
        table = cases(CALLER)
        self.assertEqual({name for _, name, _ in table}, set(INPUTS))
        for state, name, following in table:
            self.check("caller", state, name, following)

    def test_callee(self) -> None:
        table = cases(CALLEE)
        ours = {name for name in INPUTS if not name.startswith("got ")}
        self.assertEqual({name for _, name, _ in table}, ours)
        for state, name, following in table:
            self.check("callee", state, name, following)

    def test_pairs(self) -> None:
        """Two inputs one after the other: no assertion about the state, only what must hold."""
        for side, table in (("caller", CALLER), ("callee", CALLEE)):
            names = list(dict.fromkeys(name for _, name, _ in cases(table)))
            states = list(dict.fromkeys(state for state, _, _ in cases(table)))
            for state in states:
                for first in names:
                    for second in names:
                        if "minutes" in (first, second) or first == second == "64*T1":
                            continue  # slow, and not different
                        call = Call()
                        call.make(side, state)
                        INPUTS[first](call)
                        INPUTS[second](call)
                        where = f"{side} {state.name}: {first}, {second}"
                        self.check_told(call, where)
                        self.settle(call, where)
