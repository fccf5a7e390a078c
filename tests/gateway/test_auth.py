"""Digest authentication in conversations, both ways: asked for by the gateway, and of it."""

from typing import Any

from msrpgw.auth.client import Keyring, Secret
from msrpgw.auth.digest import (
    Challenge,
    answer_challenge,
    make_ha1,
    make_response,
    parse_challenge,
    parse_parameters,
    render_challenge,
)
from msrpgw.auth.server import Authenticator
from msrpgw.auth.settings import AuthSettings
from msrpgw.auth.users import Users
from msrpgw.sip.message import Request, Response
from msrpgw.types import UserCredentials
from tests.gateway.meeting import MeetingTestCase
from tests.gateway.wire import Wire, WireMsrp
from tests.support import CountingRandom

REALM = "example.com"
PASSWORDS = {"alice": "apple", "bob": "banana", "mallory": "mango"}
URIS = {"alice": "sip:alice@192.0.2.1", "bob": "sip:bob@192.0.2.2"}


def prove(
    request: Request, refusal: Response, name: str, password: str = "", count: int = 1
) -> Request:
    """The request once more, with credentials and the next CSeq number."""
    challenge = parse_challenge(refusal.headers.get("WWW-Authenticate") or "")
    assert challenge is not None
    value = answer_challenge(
        challenge,
        name,
        password or PASSWORDS[name],
        request.method,
        request.uri,
        count=count,
        cnonce="cnonce",
    )
    headers = request.headers
    while "Authorization" in headers:
        headers.remove_first("Authorization")
    headers.add("Authorization", value)
    via = headers.get("Via") or ""
    headers.replace_first("Via", via + "a")  # at the end of the branch
    headers.replace_first("CSeq", f"{request.cseq.number + 1} {request.method}")
    return request


class ServerTests(MeetingTestCase):
    """Nobody has a trusted source."""

    def setUp(self) -> None:
        super().setUp()
        agent = self.town.agent
        agent._allow_source = lambda ip: False
        users = {
            (name, REALM): UserCredentials(
                ha1={"SHA-256": make_ha1("SHA-256", name, REALM, password)},
                uris=(URIS[name],) if name in URIS else (),
            )
            for name, password in PASSWORDS.items()
        }
        agent.gate.authenticator = Authenticator(
            AuthSettings(realm=REALM, algorithms=("SHA-256",)),
            Users(users),
            CountingRandom("auth"),
            self.town.clock.seconds,
        )
        self.counters = agent.counters

    def message(self) -> Request:
        return self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")

    def refused(self, user: Wire, request: Request) -> Response:
        """What it says when nothing is proven."""
        before = len(self.town.agent.transactions)
        refusal = user.ask(request)
        self.assertEqual(refusal.status, 401)
        self.assertEqual(len(self.town.agent.transactions), before, "nothing is remembered")
        return refusal

    def invite(self, bob: WireMsrp) -> Request:
        return bob.make("INVITE", self.alice.uri, bob.sdp(), "application/sdp")

    def call(self, bob: WireMsrp, name: str = "bob") -> int:
        """A call that proves who it is from; its final status."""
        request = self.invite(bob)
        answer = bob.ask(prove(request, self.refused(bob, request), name))
        if answer.status == 200:
            bob.invite = request
            bob.dialog = [
                ("From", f"<{bob.uri}>;tag={request.from_.tag}"),
                ("To", f"<{self.alice.uri}>;tag={answer.to.tag}"),
                ("Call-ID", request.call_id),
            ]
            bob.acknowledge(request.cseq.number)
            self.town.run(0.1)
        return answer.status

    def test_message(self) -> None:
        self.call(self.bob)
        request = self.message()
        refusal = self.refused(self.alice, request)
        self.assertEqual(self.bob.bodies(), [])
        self.assertEqual(self.alice.ask(prove(request, refusal, "alice")).status, 200)
        self.assertEqual(self.bob.bodies(), ["hi"])
        second = self.message()
        second.headers.add("Authorization", "x")
        self.assertEqual(self.alice.ask(prove(second, refusal, "alice", count=2)).status, 200)
        self.assertEqual((self.counters.challenged, self.counters.authenticated), (2, 3))

    def test_sent_again(self) -> None:
        """A retransmission is no replay: it gets the answer once more."""
        self.call(self.bob)
        request = self.message()
        prove(request, self.refused(self.alice, request), "alice")
        self.alice.write(request)
        self.town.run(0.1)
        self.alice.write(request)
        self.town.run(0.1)
        self.assertEqual([each.status for each in self.alice.responses(request)], [200, 200])
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_replay(self) -> None:
        """The same credentials in another request."""
        self.call(self.bob)
        request = self.message()
        prove(request, self.refused(self.alice, request), "alice")
        self.assertEqual(self.alice.ask(request).status, 200)
        stolen = self.message()
        stolen.headers.add("Authorization", request.headers.get("Authorization") or "")
        self.assertIn(
            "stale", self.refused(self.alice, stolen).headers.get("WWW-Authenticate") or ""
        )
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_wrong_password(self) -> None:
        request = self.message()
        refusal = self.refused(self.alice, request)
        for _ in range(3):
            refusal = self.refused(self.alice, prove(request, refusal, "alice", "guess"))
        self.assertEqual(self.counters.refused_credentials, 3)
        self.assertEqual(self.town.gateway.sessions, {})

    def test_somebody_else(self) -> None:
        """From and P-Asserted-Identity must be the user's own."""
        self.call(self.bob)
        request = self.message()
        answer = self.alice.ask(prove(request, self.refused(self.alice, request), "mallory"))
        self.assertEqual(
            (answer.status, answer.reason), (403, "From is not the authenticated user")
        )
        for asserted, status in (
            (self.alice.uri, 200),
            (f"Alice <{self.alice.uri};x=y>", 200),
            (self.bob.uri, 403),
            (f"<{self.alice.uri}>, <{self.bob.uri}>", 403),
            ("<", 403),
        ):
            request = self.message()
            request.headers.add("P-Asserted-Identity", asserted)
            refusal = self.refused(self.alice, request)
            answer = self.alice.ask(prove(request, refusal, "alice"))
            self.assertEqual(answer.status, status, asserted)
        self.assertEqual(self.counters.refused_identities, 4)

    def test_a_call(self) -> None:
        """ACK is not asked; BYE is."""
        self.assertEqual(self.call(self.bob), 200)
        self.assertEqual(self.bob.send("one"), [200])
        bye = self.bob.make_in_dialog("BYE")
        refusal = self.refused(self.bob, bye)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.assertEqual(self.bob.ask(prove(bye, refusal, "bob")).status, 200)
        self.assertEqual(self.town.gateway.sessions, {})

    def test_a_call_from_elsewhere(self) -> None:
        """The user may take his conversation with him; nobody else may."""
        self.assertEqual(self.call(self.bob), 200)
        moved = WireMsrp(self.town, "bob", "192.0.2.3")
        moved.uri = self.bob.uri
        self.assertEqual(self.call(moved), 200)
        self.assertEqual(moved.send("from elsewhere"), [200])
        self.assertEqual(len(self.town.gateway.sessions), 1)
        other = WireMsrp(self.town, "bob", "192.0.2.4")
        other.uri = self.bob.uri
        self.assertEqual(self.call(other, "mallory"), 403)

    def test_no_amplifier(self) -> None:
        """Whoever sends in another's name: he gets no more than three times as much."""
        for body in (b"", b"hi", b"x" * 500):
            for short in (True, False):
                request = self.alice.make(
                    "MESSAGE", "sip:b@g", body, "text/plain" if body else None
                )
                if short:
                    for name in ("Contact", "Max-Forwards"):
                        request.headers.remove_first(name)
                sent = len(self.town.network.datagrams)
                self.alice.write(request)
                self.town.run(5)
                back = self.town.network.datagrams[sent:]
                size = sum(len(each.data) for each in back[1:])
                self.assertLessEqual(size, 3 * len(back[0].data))

    def test_nobody_is_asked(self) -> None:
        """Without users: 403, as ever."""
        self.town.agent.gate.authenticator = None
        self.assertEqual(self.alice.ask(self.message()).status, 403)
        self.assertEqual(self.counters.refused_sources, 1)


class ClientTests(MeetingTestCase):
    """Others ask the gateway who it is."""

    def setUp(self) -> None:
        super().setUp()
        self.secrets = {REALM: Secret("gw", "secret")}
        self.town.agent.keyring = Keyring(self.secrets, CountingRandom("keyring"))
        self.nonce = "n1"

    def challenge(self, user: Wire, request: Request, status: int = 401) -> bool:
        """Ask for credentials; whether they were there and right."""
        header = "Authorization" if status == 401 else "Proxy-Authorization"
        found = parse_parameters(request.headers.get(header) or "")
        if found and found["nonce"] == self.nonce:
            expected = make_response(
                "SHA-256",
                make_ha1("SHA-256", "gw", REALM, "secret"),
                request.method,
                request.uri,
                self.nonce,
                found["nc"],
                found["cnonce"],
            )
            if found["response"] == expected:
                return True
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        stale = bool(found) and found["nonce"] != self.nonce
        value = render_challenge(Challenge(REALM, self.nonce, "SHA-256", True, None, stale))
        user.answer(request, status, headers=[(name, value)])
        return False

    def test_message(self) -> None:
        """Once more with the next number; from then on at once."""
        self.start()

        def take(request: Request) -> None:
            if self.challenge(self.alice, request):
                self.alice.answer(request, 200)

        self.alice.on_request = take
        self.assertEqual(self.bob.send("one"), [200])
        first, second = self.alice.requests("MESSAGE")
        self.assertEqual(first.call_id, second.call_id)
        self.assertEqual((first.cseq.number, second.cseq.number), (1, 2))
        self.assertEqual(self.bob.send("two"), [200])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 3)
        self.nonce = "n2"
        self.assertEqual(self.bob.send("three"), [200])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 5)
        self.town.check_settled(self, sessions=1)

    def test_wrong_password(self) -> None:
        """Nobody is asked twice."""
        self.town.agent.keyring = Keyring({REALM: Secret("gw", "old")}, CountingRandom("k"))
        self.start()
        self.alice.on_request = lambda request: self.challenge(self.alice, request)
        self.bob.send("one")
        self.assertEqual(self.bob.reports(), [403])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 2)

    def test_no_password(self) -> None:
        self.town.agent.keyring = Keyring({}, CountingRandom("k"))
        self.start()
        self.alice.on_request = lambda request: self.challenge(self.alice, request)
        self.bob.send("one")
        self.assertEqual(self.bob.reports(), [403])
        self.assertEqual(len(self.alice.requests("MESSAGE")), 1)

    def test_call(self) -> None:
        """By a proxy: INVITE, its ACK, and what follows in the dialog."""

        def take(request: Request) -> None:
            if request.method == "ACK" or self.challenge(self.bob, request, 407):
                self.bob.take(request)

        self.bob.on_request = take
        self.assertEqual(self.alice.message(self.bob.uri, "one").status, 202)
        self.town.run(0.5)
        self.assertEqual(self.bob.bodies(), ["one"])
        refused, taken = self.bob.requests("INVITE")
        self.assertEqual((refused.cseq.number, taken.cseq.number), (1, 2))
        self.assertEqual(refused.call_id, taken.call_id)
        *_, ack = self.bob.requests("ACK")
        self.assertEqual(ack.cseq.number, 2)
        self.assertEqual(
            ack.headers.get("Proxy-Authorization"), taken.headers.get("Proxy-Authorization")
        )
        self.nonce = "n2"
        (session,) = self.town.gateway.sessions.values()
        session.end("enough")
        self.town.run(1)
        first, again = self.bob.requests("BYE")
        self.assertEqual((first.cseq.number, again.cseq.number), (3, 4))

    def test_a_move(self) -> None:
        """A re-INVITE that had to be sent twice: the next request counts on."""
        self.start()

        def take(request: Request) -> None:
            if request.method == "ACK" or self.challenge(self.bob, request):
                self.bob.take(request)

        self.bob.on_request = take
        self.bob.connections[-1].break_off()
        self.town.run(3)
        self.check_both_ways_with(take)
        (session,) = self.town.gateway.sessions.values()
        session.end("enough")
        self.town.run(1)
        numbers = [each.cseq.number for each in self.bob.requests("INVITE")]
        self.assertEqual(numbers, [1, 2])
        self.assertEqual([each.cseq.number for each in self.bob.requests("BYE")], [3])

    def check_both_ways_with(self, take: Any) -> None:
        """As before the move."""
        self.assertEqual(self.alice.message(self.bob.uri, "to bob").status, 200)
        self.assertEqual(self.bob.send("to alice"), [200])

    def test_cancelled(self) -> None:
        """A call that nobody wants any more is not tried again."""
        self.bob.on_request = lambda request: None
        self.assertEqual(self.alice.message(self.bob.uri, "one").status, 202)
        (session,) = self.town.gateway.sessions.values()
        session.end("enough")
        self.challenge(self.bob, self.bob.requests("INVITE")[0])
        self.town.run(1)
        self.assertEqual(len(self.bob.requests("INVITE")), 1)
