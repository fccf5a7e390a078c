"""Who a request is from, and what is asked for."""

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth.digest import answer_challenge, make_ha1, parse_challenge
from msrpgw.auth.server import Authenticator, Demand, User
from msrpgw.auth.settings import AuthSettings
from msrpgw.auth.users import Users
from msrpgw.types import UserCredentials
from tests.support import CountingRandom

REALM = "example.com"
URI = "sip:bob@example.com"


def credentials(
    name: str, password: str, *algorithms: str, uris: tuple[str, ...] = ()
) -> UserCredentials:
    """What the file has of a user."""
    sums = {each: make_ha1(each, name, REALM, password) for each in algorithms}
    return UserCredentials(ha1=sums, uris=uris)


class AuthenticatorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.settings = AuthSettings(realm=REALM, domains=("example.net",), nonce_lifetime=300)
        self.users = Users(
            {
                ("alice", REALM): credentials("alice", "secret", "SHA-256", "SHA-512-256", "MD5"),
                ("bob@example.org", REALM): credentials("bob@example.org", "pw", "SHA-256"),
                ("carol", REALM): credentials("carol", "pw", "MD5", uris=("sip:c@example.com",)),
            }
        )
        self.authenticator = Authenticator(
            self.settings, self.users, CountingRandom("server"), lambda: self.now
        )

    def demand(self, *values: str) -> Demand:
        found = self.authenticator.check("MESSAGE", values)
        self.assertIsInstance(found, Demand)
        assert isinstance(found, Demand)
        return found

    def answer(
        self,
        demand: Demand,
        name: str = "alice",
        password: str = "secret",
        *,
        which: int = 0,
        count: int = 1,
        method: str = "MESSAGE",
    ) -> str:
        challenge = parse_challenge(demand.challenges[which])
        assert challenge is not None
        return answer_challenge(
            challenge, name, password, method, URI, count=count, cnonce="cnonce"
        )

    def test_nothing_came(self) -> None:
        """RFC 8760 §2.4: a challenge for each algorithm, the preferred one first."""
        demand = self.demand()
        self.assertEqual(demand.problem, "")
        algorithms = [getattr(parse_challenge(each), "algorithm", "") for each in demand.challenges]
        self.assertEqual(algorithms, ["SHA-512-256", "SHA-256"])
        self.assertTrue(all('qop="auth"' in each for each in demand.challenges))

    def test_right(self) -> None:
        for which in (0, 1):
            value = self.answer(self.demand(), which=which)
            self.assertEqual(
                self.authenticator.check("MESSAGE", ["Basic x", 'Digest realm="other"', value]),
                User("alice", ("sip:alice@example.com", "sip:alice@example.net")),
            )

    def test_once(self) -> None:
        demand = self.demand()
        value = self.answer(demand)
        self.assertIsInstance(self.authenticator.check("MESSAGE", [value]), User)
        again = self.demand(value)
        self.assertEqual(again.problem, "")
        self.assertIn("stale=true", again.challenges[0])
        value = self.answer(demand, count=2)
        self.assertIsInstance(self.authenticator.check("MESSAGE", [value]), User)

    def test_stale(self) -> None:
        """§3.3: the password was right, so nobody is asked for it."""
        value = self.answer(self.demand())
        self.now += 301
        self.assertIn("stale=true", self.demand(value).challenges[0])
        # After a restart, too.
        value = self.answer(self.demand())
        self.authenticator = Authenticator(
            self.settings, self.users, CountingRandom("next"), lambda: self.now
        )
        self.assertIn("stale=true", self.demand(value).challenges[0])

    def test_wrong(self) -> None:
        demand = self.demand()
        good = self.answer(demand)
        cut = good[: good.index("response=")] + 'response="", ' + good[good.index("algorithm=") :]
        for value, problem in (
            (self.answer(demand, password="guess"), "wrong password of 'alice'"),
            (self.answer(demand, name="mallory"), "unknown user 'mallory'"),
            (self.answer(demand, name="carol", password="pw"), "wrong password of 'carol'"),
            (self.answer(demand, method="INVITE"), "wrong password of 'alice'"),
            (good.replace(URI, "sip:eve@example.com"), "wrong password of 'alice'"),
            (good.replace("00000001", "00000002"), "wrong password of 'alice'"),
            (cut, "wrong password of 'alice'"),
            (good.replace("SHA-512-256", "MD5"), "an algorithm that was not offered"),
            (good.replace("algorithm=SHA-512-256, ", ""), "an algorithm that was not offered"),
            (good.replace("qop=auth, ", ""), "without qop=auth"),
            (good.replace("qop=auth", "qop=auth-int"), "without qop=auth"),
            (good.replace('cnonce="cnonce"', 'cnonce=""'), "without qop=auth"),
            (self.answer(demand, name="al\u00efce"), "unknown user 'al\u00efce'"),
        ):
            found = self.demand(value)
            self.assertEqual(found.problem, problem, value)
            self.assertNotIn("stale", found.challenges[0])

    def test_not_to_be_read(self) -> None:
        for value in ("Digest", "x" * 5000, self.answer(self.demand()) + ", x" * 5000):
            self.assertEqual(self.demand(value).problem, "")

    def test_identities(self) -> None:
        for name, uris in (
            ("bob@example.org", ("sip:bob@example.org",)),
            ("alice", ("sip:alice@example.com", "sip:alice@example.net")),
        ):
            password = "pw" if "@" in name else "secret"
            value = self.answer(self.demand(), name, password, which=1)
            self.assertEqual(self.authenticator.check("MESSAGE", [value]), User(name, uris))

    def test_configured_anew(self) -> None:
        """MD5 where it is allowed; nonces that are out stay good."""
        demand = self.demand()
        settings = msgspec.structs.replace(self.settings, algorithms=("SHA-256", "MD5"))
        self.authenticator.configure(settings, self.users)
        value = self.answer(demand, which=1)
        self.assertIsInstance(self.authenticator.check("MESSAGE", [value]), User)
        value = self.answer(self.demand(), "carol", "pw", which=1)
        self.assertEqual(
            self.authenticator.check("MESSAGE", [value]), User("carol", ("sip:c@example.com",))
        )
