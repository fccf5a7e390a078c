"""Templates: fields, headers, braces, and what is wrong with a bad one."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.templates import Template

FIELDS = {"user": lambda source: source["user"], "host": lambda source: source["host"]}
SOURCE = {"user": "alice", "host": "example.com", "Subject": "tea", "X-Y.z": "1"}


def header(source: dict[str, str], name: str) -> str:
    """A header of the source, empty when it is missing."""
    return source.get(name, "")


class RenderTests(SynchronousTestCase):
    """What a good template gives."""

    def assertRenders(self, text: str, expected: str) -> None:
        self.assertEqual(Template(text, FIELDS, header).render(SOURCE), expected)

    def test_empty(self) -> None:
        self.assertRenders("", "")

    def test_text(self) -> None:
        self.assertRenders("sip:bob@example.com", "sip:bob@example.com")

    def test_one_field(self) -> None:
        self.assertRenders("{user}", "alice")

    def test_fields_and_text(self) -> None:
        self.assertRenders("sip:{user}@{host};lr", "sip:alice@example.com;lr")
        self.assertRenders("{user}{user}", "alicealice")

    def test_headers(self) -> None:
        self.assertRenders("<{header[Subject]}>", "<tea>")
        self.assertRenders("{header[X-Y.z]}", "1")

    def test_missing_header_is_empty(self) -> None:
        self.assertRenders("<{header[Nowhere]}>", "<>")

    def test_braces(self) -> None:
        self.assertRenders("{{}}", "{}")
        self.assertRenders("{{user}}", "{user}")
        self.assertRenders("{{{user}}}", "{alice}")

    def test_text_beyond_ascii(self) -> None:
        self.assertRenders("Grüße, {user} 🙂\n%s", "Grüße, alice 🙂\n%s")

    def test_rendered_text_is_not_a_template(self) -> None:
        template = Template("{user}", FIELDS)
        self.assertEqual(template.render({"user": "{host}", "host": "h"}), "{host}")


class ProblemTests(SynchronousTestCase):
    """What a bad template is refused with."""

    def assertProblem(self, text: str, *expected: str, headers: bool = True) -> None:
        with self.assertRaises(ValueError) as caught:
            Template(text, FIELDS, header if headers else None)
        for part in expected:
            self.assertIn(part, str(caught.exception))

    def test_lone_braces(self) -> None:
        self.assertProblem("sip:{user", "'{' without its other half; write '{{' for itself")
        self.assertProblem("user}", "'}' without its other half; write '}}' for itself")
        self.assertProblem("{user}}", "'}' without")

    def test_unknown_field(self) -> None:
        self.assertProblem("{usr}", "unknown field {usr}", "there are: host, user, header[NAME]")
        self.assertProblem("{}", "unknown field {}")
        self.assertProblem("{user }", "unknown field {user }")

    def test_no_headers_here(self) -> None:
        self.assertProblem("{header[X]}", "unknown field {header[X]}", headers=False)
        with self.assertRaises(ValueError) as caught:
            Template("{x}", FIELDS)
        self.assertTrue(str(caught.exception).endswith("there are: host, user"))

    def test_bad_header_name(self) -> None:
        for name in ("", "a b", "a:b", "é", "X\n"):
            self.assertProblem(f"{{header[{name}]}}", "unknown field")
