"""What the policy is asked, and how often."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from msrpgw.gateway import routes
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.routes import Routes
from msrpgw.gateway.settings import PolicySettings
from msrpgw.interfaces import IAddressPolicy, IPolicy
from msrpgw.sip.message import Request
from msrpgw.types import Refusal, RequestFacts, Route
from tests.sip.test_message import message


@implementer(IPolicy)
class Asked:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[RequestFacts] = []

    def route_message(self, facts: RequestFacts) -> Route | Refusal:
        self.asked.append(facts)
        return Route(f"{facts.to.uri} {len(self.asked)}", "sip:a@x", "sip:b@x", "sip:b@x")

    def route_invite(self, facts: RequestFacts) -> Route | Refusal:
        return self.route_message(facts)


@implementer(IAddressPolicy)
class AskedOnce(Asked):
    """The same, of one whose answer depends on addresses alone."""


#: where requests come from
SOURCE: Any = type("Source", (), {"host": "::1", "port": 5, "transport": "UDP"})()


def asked(uri: str = "sip:bob@example.com", **headers: str) -> tuple[Request, Any]:
    """A MESSAGE, and where it came from."""
    request = message()
    request.uri = uri
    for name, value in headers.items():
        request.headers.set(name, value)
    return request, SOURCE


class RoutesTests(SynchronousTestCase):
    def test_any_policy_is_asked_each_time(self) -> None:
        policy = Asked()
        kept = Routes(policy)
        self.assertNotEqual(kept.of_message(*asked()), kept.of_message(*asked()))
        self.assertEqual(len(policy.asked), 2)

    def test_one_by_address_is_asked_once_for_each_three(self) -> None:
        policy = AskedOnce()
        kept = Routes(policy)
        first = kept.of_message(*asked())
        self.assertIs(kept.of_message(*asked(Subject="other")), first)
        self.assertIs(kept.of_message(*asked(From="<sip:alice@example.com>;tag=other")), first)
        for other in (
            asked("sip:carol@example.com"),
            asked(From="<sip:carol@example.com>;tag=1"),
            asked(To="<sip:carol@example.com>"),
        ):
            self.assertIsNot(kept.of_message(*other), first)
        self.assertEqual(len(policy.asked), 4)

    def test_an_invite_is_asked_each_time(self) -> None:
        policy = AskedOnce()
        kept = Routes(policy)
        kept.of_invite(*asked())
        kept.of_invite(*asked())
        self.assertEqual(len(policy.asked), 2)

    def test_another_policy_begins_anew(self) -> None:
        kept = Routes(AskedOnce())
        first = kept.of_message(*asked())
        kept.of_message(*asked())
        kept.use(AskedOnce())
        self.assertIsNot(kept.of_message(*asked()), first)

    def test_bounded(self) -> None:
        """The latest are kept."""
        self.patch(routes, "REMEMBERED", 3)
        policy = AskedOnce()
        kept = Routes(policy)
        for number in (*range(10), 7, 8, 9):
            kept.of_message(*asked(f"sip:{number}@example.com"))
        self.assertEqual(len(kept._kept), 3)
        self.assertEqual(len(policy.asked), 10)
        kept.of_message(*asked("sip:6@example.com"))
        self.assertEqual(len(policy.asked), 11)

    def test_templates_say_whether_addresses_are_enough(self) -> None:
        for settings, enough in (
            (PolicySettings(), True),
            (PolicySettings(message_key="{ruri_user} {from_aor}"), True),
            (PolicySettings(message_key="{to_uri} {source_ip}"), False),
            (PolicySettings(message_key="{header[X-Room]}"), False),
            (PolicySettings(invite_ruri="sip:{header[X-Room]}@x"), False),
        ):
            provided = IAddressPolicy.providedBy(TemplatePolicy(settings))
            self.assertEqual(provided, enough, settings)
