"""Whatever several targets do, a request has exactly one final answer, and leaves nothing."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.records import Kind, Srv
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.transaction import ServerTransaction
from tests.support import Network, lose, make_agent

US = "10.0.0.1"


class Behaviour(NamedTuple):
    """What a target does with the request."""

    status: int  #: final answer; 0: none
    delay: float  #: seconds until then
    options: bool  #: whether it says that it is there
    ringing: bool  #: whether it says something before
    there: bool  #: whether anybody is there at all


BEHAVIOURS = st.builds(
    Behaviour,
    status=st.sampled_from((0, 200, 202, 404, 480, 482, 500, 503, 603)),
    delay=st.sampled_from((0.0, 0.3, 0.9, 1.5, 1.6, 2.9, 10.0, 31.0, 40.0)),
    options=st.booleans(),
    ringing=st.booleans(),
    there=st.integers(0, 3).map(bool),
)


class TortureTests(SynchronousTestCase):
    """One to four targets behind one name."""

    def target(self, host: str, behaviour: Behaviour) -> UserAgent:
        """Somebody who behaves so."""
        agent = make_agent(self.network, host)
        agent.on("OPTIONS", self.answering(agent, 200 if behaviour.options else 0))

        def received(transaction: ServerTransaction) -> None:
            self.reached.append(host)
            # Who rings for ever is the matter of timer C, which is the usage's.
            if behaviour.ringing and (behaviour.status or transaction.request.method != "INVITE"):
                agent.respond(transaction, 100)
            if behaviour.status:
                agent.timers.call_later(
                    behaviour.delay, lambda: agent.respond(transaction, behaviour.status)
                )

        agent.on("MESSAGE", received)
        agent.on("INVITE", received)
        return agent

    def answering(self, agent: UserAgent, status: int) -> Callable[[ServerTransaction], None]:
        """Answers at once, if at all."""

        def answer(transaction: ServerTransaction) -> None:
            if status:
                agent.respond(transaction, status)

        return answer

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(BEHAVIOURS, min_size=1, max_size=4),
        st.sampled_from(("MESSAGE", "INVITE")),
        st.sampled_from(("udp", "tcp")),
        st.text(".x", max_size=8),
    )
    def test_one_answer(
        self, behaviours: list[Behaviour], method: str, transport: str, lost: str
    ) -> None:
        # Who repeats the 2xx of an INVITE that was lost is its usage, and there is none here.
        assume(
            method != "INVITE" or "x" not in lost or all(b.status // 100 != 2 for b in behaviours)
        )
        self.network = Network(lost=lose(lost))
        self.reached: list[str] = []
        us = make_agent(self.network, US)
        agents = [us]
        records: list[Srv | object] = []
        for number, behaviour in enumerate(behaviours, 2):
            host = f"10.0.0.{number}"
            records.append(Srv(number, 0, 5060, host))
            if behaviour.there:
                agents.append(self.target(host, behaviour))
        self.network.records[Kind.SRV, f"_sip._{transport}.example.com"] = records  # type: ignore[assignment]
        fields = [
            ("From", f"<sip:a@{US}>;tag=1"),
            ("To", "<sip:b@example.com>"),
            ("Call-ID", "c"),
            ("CSeq", f"1 {method}"),
        ]
        answers: list[Response] = []
        request = Request(method, "sip:b@example.com", Headers(fields), b"hi")
        us.request(request, answers.append)
        self.network.run(32 * (len(behaviours) + 1) + 45, step=0.1)
        final = [answer.status for answer in answers if answer.status >= 200]
        self.assertEqual(len(final), 1, final)
        # Nobody is asked twice in a row, or out of order.
        self.assertEqual(self.reached, sorted(set(self.reached)))
        told = {behaviour.status for behaviour in behaviours if behaviour.there}
        self.assertIn(final[0], told | {408, 503})
        self.assertEqual(len(us.transactions), 0)
        for agent in agents:
            stopped = agent.stop()
            self.network.run(1.1)
            self.successResultOf(stopped)
        self.assertEqual(len(us.timers), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
