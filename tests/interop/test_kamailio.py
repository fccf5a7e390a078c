"""Both users and the gateway behind Kamailio."""

from twisted.internet.defer import Deferred

from msrpgw.ua.users import PageUser
from tests.interop.kamailio import ProxiedTestCase
from tests.interop.peers import HOST


class UdpTests(ProxiedTestCase):
    """Conversations that a proxy relays and record-routes."""

    def setUp(self) -> "Deferred[None]":
        self.answers: list[str] = []
        return super().setUp()

    def page_user(self) -> tuple[str, PageUser]:
        """``sip:alice``, who sends through Kamailio."""
        uri = f"sip:alice@{HOST}:{self.peer_port}"
        agent = self.agent(self.peer_port, self.proxy_port)
        user = PageUser(
            agent, self.timers, uri, lambda received: self.answers.append(received.text)
        )
        return uri, user

    async def test_opened_by_a_message(self) -> None:
        alice_uri, alice = self.page_user()
        alice.send(self.bob_uri, "one", self.sent.append)
        alice.send(self.bob_uri, "two", self.sent.append)
        await self.until(lambda: len(self.received) == 2)
        self.assertEqual(self.received, ["one", "two"])
        self.bob.send(alice_uri, "three", self.sent.append)
        await self.until(lambda: len(self.sent) >= 3 and self.sent[-1].final)
        self.assertEqual(self.answers, ["three"])
        first, second, *_, last = (sent.status for sent in self.sent)
        # 202 when the journal had the text before Bob did.
        self.assertLessEqual({first, second}, {200, 202})
        self.assertEqual(last, 200)
        await self.hang_up()

    async def test_opened_by_an_invite(self) -> None:
        alice_uri, alice = self.page_user()
        self.bob.send(alice_uri, "one", self.sent.append)
        await self.until(lambda: self.answers)
        alice.send(self.bob_uri, "two", self.sent.append)
        await self.until(lambda: len([sent for sent in self.sent if sent.final]) == 2)
        self.assertEqual([sent.status for sent in self.sent if sent.final], [200, 200])
        self.assertEqual((self.answers, self.received), (["one"], ["two"]))
        self.assertEqual(len(self.bob.calls), 1)
        await self.hang_up()

    async def hang_up(self) -> None:
        """Bob's BYE, over the record-routed path, ends the gateway session."""
        self.bob.hang_up()
        await self.until(lambda: not self.bob.calls)


class TcpTests(UdpTests):
    """The same with TCP between proxy and gateway."""

    transport = "tcp"
