"""Who may use the program, set up from the configuration and changed by reloads."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.access import Access
from msrpgw.auth.digest import make_ha1
from msrpgw.auth.settings import AuthSettings, Credential, find_auth_problems
from msrpgw.errors import ConfigError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.sources import SecuritySettings, TrustedSources
from msrpgw.timers import Timers
from tests.network import Network
from tests.sip.fake_agent import Path as ReplyPath
from tests.sip.fake_agent import make_request
from tests.support import CountingRandom


class AccessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.users = Path(self.mktemp())
        self.password = Path(self.mktemp())
        self.password.write_text("secret\n")
        self.write("alice")
        self.trusted = TrustedSources(SecuritySettings())
        reactor = Network().host("192.0.2.9")
        self.agent = UserAgent(
            reactor,
            Timers(reactor),
            SipSettings(),
            CountingRandom("agent"),
            allow_source=self.trusted,
        )
        self.access = Access(
            SecuritySettings(), self.trusted, CountingRandom("access"), reactor.seconds
        )

    def write(self, name: str) -> None:
        ha1 = make_ha1("SHA-256", name, "example.com", "secret")
        self.users.write_text(f"{name}:example.com:SHA-256:{ha1}\n")

    def settings(self, **more: object) -> AuthSettings:
        return AuthSettings(realm="example.com", users_file=str(self.users), **more)  # type: ignore[arg-type]

    def status(self, **path: object) -> int:
        """What a stranger's MESSAGE is told at once; 0: it is let in."""
        source = ReplyPath()
        for name, value in path.items():
            setattr(source, name, value)
        if self.agent.gate.admits(make_request("MESSAGE"), source):
            return 0
        return int(source.sent[-1].split(b" ")[1])

    def test_nobody(self) -> None:
        self.access.guard(self.agent, AuthSettings())
        self.assertEqual(self.status(), 403)
        self.assertIsNone(self.agent.keyring)
        self.assertTrue(self.access.msrp_may_come("127.0.0.1"))
        self.assertFalse(self.access.msrp_may_come("192.0.2.1"))

    def test_users(self) -> None:
        """Their MSRP comes from anywhere."""
        self.access.guard(self.agent, self.settings())
        self.assertEqual(self.status(), 401)
        self.assertTrue(self.access.msrp_may_come("192.0.2.1"))

    def test_certificates(self) -> None:
        """RFC 5922: of a proxy that has connected."""
        security = SecuritySettings(trusted_names=("Proxy.example.com",))
        self.access.guard(self.agent, AuthSettings())
        self.access.prepare(security, AuthSettings())()
        self.assertEqual(self.status(names=frozenset({"other.example.com"})), 403)
        self.assertEqual(self.status(names=frozenset()), 403)
        self.assertEqual(self.status(names=frozenset({"a.example", "proxy.example.com"})), 0)

    def test_reload(self) -> None:
        """What is good is used; what is not changes nothing."""
        self.access.guard(self.agent, AuthSettings())
        self.access.prepare(SecuritySettings(trusted_sources=("192.0.2.1",)), self.settings())()
        self.assertEqual(self.status(), 401)
        self.assertTrue(self.trusted("192.0.2.1"))
        self.users.write_text("nonsense")
        with self.assertRaisesRegex(ConfigError, r"\[auth\] users_file"):
            self.access.prepare(SecuritySettings(), self.settings())
        self.assertTrue(self.trusted("192.0.2.1"))
        self.access.prepare(SecuritySettings(), AuthSettings())()
        self.assertEqual(self.status(), 403)

    def test_ourselves(self) -> None:
        credential = Credential(realm="r", username="gw", password_file=str(self.password))
        self.access.guard(self.agent, AuthSettings(credentials=(credential,)))
        self.assertIsNotNone(self.agent.keyring)
        self.password.write_text("\n")
        with self.assertRaisesRegex(ConfigError, "no password in the first line"):
            self.access.prepare(SecuritySettings(), AuthSettings(credentials=(credential,)))


class ProblemTests(SynchronousTestCase):
    """What can't be: each names its key."""

    def test_problems(self) -> None:
        users = Path(self.mktemp())
        users.write_text("")
        file = {"realm": "r", "users_file": str(users)}
        credential = Credential(realm="r", username="gw", password_file="/nowhere")
        for settings, key, text in (
            ({"users_file": str(users)}, "users_file", "needs realm"),
            ({"plugin": "x"}, "plugin", "needs realm"),
            ({"realm": "r"}, "realm", "needs users_file or plugin"),
            ({**file, "plugin": "x"}, "realm", "needs users_file or plugin"),
            ({**file, "realm": 'r"'}, "realm", "must be a name"),
            ({**file, "realm": " "}, "realm", "must be a name"),
            ({"realm": "r", "users_file": "/nowhere"}, "users_file", "No such file"),
            ({**file, "algorithms": ("SHA-1",)}, "algorithms", "unknown 'SHA-1'"),
            ({**file, "algorithms": ()}, "algorithms", "at least one"),
            ({**file, "algorithms": ("MD5", "MD5")}, "algorithms", "none twice"),
            ({"credentials": (credential,)}, "credentials", "/nowhere: No such file"),
        ):
            found = list(find_auth_problems(AuthSettings(**settings)))  # type: ignore[arg-type]
            self.assertEqual([each for each, _ in found], [key], settings)
            self.assertIn(text, found[0][1])
        twice = AuthSettings(credentials=(credential, credential))
        self.assertIn(
            ("credentials", "must name a realm only once"), list(find_auth_problems(twice))
        )
        self.assertEqual(list(find_auth_problems(AuthSettings(**file))), [])  # type: ignore[arg-type]
