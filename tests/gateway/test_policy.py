"""The policy of the configuration file: keys, URIs to call, refusals."""

import re
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from msrpgw.errors import ConfigError
from msrpgw.gateway.policy import KEY_FIELDS, URI_FIELDS, TemplatePolicy
from msrpgw.gateway.settings import PolicySettings
from msrpgw.interfaces import IPolicy
from msrpgw.sip.uri import parse_uri
from msrpgw.types import Address, Refusal, RequestFacts, Route

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "policy.md"


def address(text: str) -> Address:
    """A URI as the gateway hands it to a policy."""
    uri = parse_uri(text)
    return Address(uri.canonical(), uri.user, uri.host.lower(), uri.port, text)


def facts(
    from_: str = "sip:alice@example.com",
    to: str = "sip:bob@example.com",
    ruri: str | None = None,
    *headers: tuple[str, str],
    method: str = "MESSAGE",
) -> RequestFacts:
    """A request."""
    return RequestFacts(
        method,
        address(ruri or to),
        address(from_),
        address(to),
        "192.0.2.7",
        5070,
        "UDP",
        (("To", f"<{to}>"), *headers),
        "text/plain",
    )


class PolicyCase(SynchronousTestCase):
    """Routes and refusals."""

    def route(self, decision: Route | Refusal) -> Route:
        assert isinstance(decision, Route), decision
        return decision

    def render(self, template: str, request: RequestFacts) -> str:
        """What a template gives in a key."""
        policy = TemplatePolicy(PolicySettings(message_key=f"{template}|"))
        return self.route(policy.route_message(request)).key[:-1]

    def assertRefused(self, decision: Route | Refusal, reason: str) -> None:
        self.assertEqual(decision, Refusal(400, reason))


class DefaultTests(PolicyCase):
    """The templates that are there when nothing is configured."""

    def setUp(self) -> None:
        self.policy = TemplatePolicy(PolicySettings())

    def test_interface(self) -> None:
        verifyObject(IPolicy, self.policy)

    def test_message(self) -> None:
        route = self.route(
            self.policy.route_message(facts(ruri="sip:bob@192.0.2.1:5066;transport=tcp"))
        )
        self.assertEqual(route.key, "sip:bob@example.com:sip:alice@example.com")
        self.assertEqual(route.from_uri, "sip:alice@example.com")
        self.assertEqual(route.to_uri, "sip:bob@example.com")
        self.assertEqual(route.ruri, "sip:bob@192.0.2.1:5066;transport=tcp")
        self.assertEqual(route.content_types, ("text/plain",))

    def test_both_users_of_a_conversation_have_one_key(self) -> None:
        message = facts("sip:alice@example.com", "sip:bob@example.com")
        invite = facts("sip:bob@example.com", "sip:alice@example.com", method="INVITE")
        self.assertEqual(
            self.route(self.policy.route_message(message)).key,
            self.route(self.policy.route_invite(invite)).key,
        )

    def test_spelling_does_not_split_a_conversation(self) -> None:
        keys = {
            self.route(self.policy.route_message(facts(from_, to))).key
            for from_, to in (
                ("sip:alice@example.com", "sip:bob@example.com"),
                ("SIP:alice@EXAMPLE.com:5060", "sip:bob@example.com;user=phone"),
                ("sip:%61lice@example.com;transport=tcp", "sip:bob@Example.Com:5060"),
            )
        }
        self.assertEqual(keys, {"sip:bob@example.com:sip:alice@example.com"})

    def test_other_people_have_other_keys(self) -> None:
        keys = {
            self.route(self.policy.route_message(facts(from_, to))).key
            for from_, to in (
                ("sip:alice@example.com", "sip:bob@example.com"),
                ("sip:Alice@example.com", "sip:bob@example.com"),  # a user part has case
                ("sip:alice@example.com:5062", "sip:bob@example.com"),
                ("sips:alice@example.com", "sip:bob@example.com"),
                ("sip:bob@example.com", "sip:alice@example.com"),
                ("tel:+1-201-555-0123", "sip:bob@example.com"),
            )
        }
        self.assertEqual(len(keys), 6)

    def test_parameters_survive_in_uris_to_call(self) -> None:
        route = self.route(
            self.policy.route_invite(
                facts("sip:bob@example.com:5060;transport=tcp", "sip:+1201@EXAMPLE.com;user=phone")
            )
        )
        self.assertEqual(route.from_uri, "sip:bob@example.com:5060;transport=tcp")
        self.assertEqual(route.to_uri, "sip:+1201@EXAMPLE.com;user=phone")
        self.assertEqual(route.ruri, "sip:+1201@EXAMPLE.com;user=phone")

    def test_other_schemes(self) -> None:
        route = self.route(
            self.policy.route_message(facts("tel:+1-201-555-0123", "urn:service:sos"))
        )
        self.assertEqual(route.key, "urn:service:sos:tel:+12015550123")
        self.assertEqual(route.ruri, "urn:service:sos")

    def test_canonical_form_where_the_received_one_is_not_known(self) -> None:
        bob = Address("sip:bob@example.com", "bob", "example.com")
        request = msgspec.structs.replace(facts(), ruri=bob)
        self.assertEqual(self.route(self.policy.route_message(request)).ruri, "sip:bob@example.com")


class FieldTests(PolicyCase):
    """What each field stands for."""

    def test_every_field(self) -> None:
        request = facts(
            "sip:alice@a.example:5062;x=y",
            "sip:bob@B.example",
            "sip:bob@192.0.2.1:5066;transport=tcp",
            ("P-Asserted-Identity", '"Alice" <sip:alice@Home.example;user=phone>'),
        )
        expected = {
            "ruri": "sip:bob@192.0.2.1:5066",
            "ruri_user": "bob",
            "ruri_host": "192.0.2.1",
            "ruri_aor": "bob@192.0.2.1",
            "from_uri": "sip:alice@a.example:5062",
            "from_user": "alice",
            "from_host": "a.example",
            "from_aor": "alice@a.example",
            "to_uri": "sip:bob@b.example",
            "to_user": "bob",
            "to_host": "b.example",
            "to_aor": "bob@b.example",
            "pai": "sip:alice@home.example",
            "method": "MESSAGE",
            "source_ip": "192.0.2.7",
            "source_port": "5070",
            "transport": "UDP",
        }
        self.assertEqual(expected.keys(), KEY_FIELDS.keys())
        self.assertEqual(URI_FIELDS.keys(), KEY_FIELDS.keys())
        for name, value in expected.items():
            self.assertEqual(self.render(f"{{{name}}}", request), value, name)

    def test_aor_of_a_uri_without_user_or_host(self) -> None:
        self.assertEqual(self.render("{to_aor}", facts(to="sip:example.com")), "example.com")
        self.assertEqual(self.render("{to_aor}", facts(to="urn:service:sos")), "urn:service:sos")

    def test_header(self) -> None:
        request = facts(
            "sip:a@x", "sip:b@y", None, ("X-Room", "kitchen"), ("X-Room", "cellar"), ("X-No", "")
        )
        self.assertEqual(self.render("{header[x-ROOM]}", request), "kitchen")
        self.assertEqual(self.render("{header[X-No]}{header[X-Nowhere]}", request), "")

    def test_header_in_compact_form(self) -> None:
        request = facts("sip:a@x", "sip:b@y", None, ("s", "tea"))
        self.assertEqual(self.render("{header[Subject]}", request), "tea")
        request = facts("sip:a@x", "sip:b@y", None, ("SUBJECT", "milk"))
        self.assertEqual(self.render("{header[s]}", request), "milk")

    def test_asserted_identity(self) -> None:
        for value, expected in (
            ("sip:alice@example.com", "sip:alice@example.com"),
            ("<sip:alice@example.com>, <tel:+12015550123>", "sip:alice@example.com"),
            ('"A, B" <tel:+1-201>', "tel:+1201"),
            ("<sip:alice@example.com", ""),
            ("", ""),
        ):
            request = facts("sip:a@x", "sip:b@y", None, ("P-Asserted-Identity", value))
            self.assertEqual(self.render("{pai}", request), expected, value)
        self.assertEqual(self.render("{pai}", facts()), "")


class RefusalTests(PolicyCase):
    """Requests that the templates make nothing of."""

    def test_no_uri(self) -> None:
        policy = TemplatePolicy(
            PolicySettings(invite_ruri="{header[X-Target]}", message_to="sip:{to_user}@x")
        )
        for value in ("", "nowhere", "sip:", "sip:a b@c", "sip:a@b>;tag=1", "<sip:a@b>"):
            request = facts("sip:a@x", "sip:b@y", None, ("X-Target", value))
            self.assertRefused(
                policy.route_message(request), "No URI for invite_ruri in this request"
            )
        self.assertIsInstance(
            policy.route_message(facts("sip:a@x", "sip:b@y", None, ("X-Target", "sip:c@z"))), Route
        )
        self.assertRefused(
            policy.route_invite(facts(to="sip:example.com")),
            "No URI for message_to in this request",
        )

    def test_no_key(self) -> None:
        policy = TemplatePolicy(PolicySettings(message_key="{header[X-Room]}"))
        self.assertRefused(policy.route_message(facts()), "No session key in this request")


class ConfigurationTests(PolicyCase):
    """Templates that are set."""

    def test_content_types(self) -> None:
        policy = TemplatePolicy(PolicySettings(content_types=("text/*", "image/png")))
        self.assertEqual(
            self.route(policy.route_message(facts())).content_types, ("text/*", "image/png")
        )

    def test_every_bad_template_is_told(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            TemplatePolicy(PolicySettings(message_key="{", invite_to="{nobody}", message_ruri="}"))
        problems = caught.exception.problems
        self.assertEqual(len(problems), 3)
        self.assertTrue(problems[0].startswith("[policy] message_key: '{' without"), problems)
        self.assertTrue(problems[1].startswith("[policy] invite_to: unknown field {nobody}"))
        self.assertTrue(problems[2].startswith("[policy] message_ruri: '}' without"))


class DocumentTests(PolicyCase):
    """``docs/policy.md`` says what the code does."""

    def setUp(self) -> None:
        self.text = DOCUMENT.read_text("utf-8")

    def test_every_field(self) -> None:
        table = self.text.split("## Fields")[1].split("\n## ")[0]
        documented = set(re.findall(r"`\{(\w+)\}`", table))
        self.assertEqual(documented, set(KEY_FIELDS))

    def test_canonical_form(self) -> None:
        table = self.text.split("## Canonical form")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", table, re.MULTILINE)
        self.assertTrue(rows)
        for received, canonical in rows:
            self.assertEqual(parse_uri(received).canonical(), canonical)

    def test_examples_are_templates(self) -> None:
        tables = re.findall(r"^```toml\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.assertTrue(tables)
        for text in tables:
            settings = msgspec.toml.decode(text, type=dict[str, PolicySettings])
            self.assertEqual(list(settings), ["policy"])
            TemplatePolicy(settings["policy"])

    def test_clients_that_drop_the_port(self) -> None:
        [text] = re.findall(r"## Clients that drop the port.*?```toml\n(.*?)```", self.text, re.S)
        policy = TemplatePolicy(msgspec.toml.decode(text, type=dict[str, PolicySettings])["policy"])
        message = facts("sip:alice@192.0.2.5:5062", "sip:bob@192.0.2.6")
        invite = facts("sip:bob@192.0.2.6:5070", "sip:alice@192.0.2.5", method="INVITE")
        self.assertEqual(
            self.route(policy.route_message(message)).key,
            self.route(policy.route_invite(invite)).key,
        )
