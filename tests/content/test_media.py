"""Media types: read, compared, accepted."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.content.media import MediaType, accepts, is_composing, is_imdn, parse_media_type

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$&'*+-.^_`|~", min_size=1, max_size=12)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


class ParseTests(SynchronousTestCase):
    """What a Content-Type says."""

    def test_plain(self) -> None:
        self.assertEqual(parse_media_type("text/plain"), MediaType("text", "plain"))

    def test_case_and_parameters(self) -> None:
        found = parse_media_type('Text/HTML ; Charset="utf-8" ;q=1;')
        self.assertEqual(found.essence, "text/html")
        self.assertEqual(found.parameters, (("charset", "utf-8"), ("q", "1")))
        self.assertEqual(found.parameter("q"), "1")
        self.assertIsNone(found.parameter("x"))

    def test_quoted(self) -> None:
        found = parse_media_type(r'a/b;x="1;\"2\\";y=3')
        self.assertEqual(found.parameters, (("x", '1;"2\\'), ("y", "3")))

    def test_rubbish(self) -> None:
        for text in (
            "",
            "text",
            "/plain",
            "text/",
            "te xt/plain",
            "a/b/c",
            "a/b;=1",
            "a/b;x",
            "é/b",
        ):
            self.assertRaises(ValueError, parse_media_type, text)
        for text in ('a/b;x="1', 'a/b;x="', 'a/b;x="1"2"3'):
            self.assertRaises(ValueError, parse_media_type, text)

    @settings(deadline=None, derandomize=True)
    @given(TOKEN, TOKEN, st.lists(st.tuples(TOKEN, TEXT), max_size=3))
    def test_round_trip(self, main: str, sub: str, parameters: list[tuple[str, str]]) -> None:
        text = f"{main}/{sub}"
        for name, value in parameters:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            text += f';{name}="{escaped}"'
        found = parse_media_type(text)
        self.assertEqual(found.essence, f"{main}/{sub}".lower())
        wanted = tuple((name.lower(), value) for name, value in parameters)
        self.assertEqual(found.parameters, wanted)


class AcceptTests(SynchronousTestCase):
    """Lists such as a=accept-types."""

    def check(self, content_type: str, *entries: str) -> bool:
        return accepts(entries, parse_media_type(content_type))

    def test_all(self) -> None:
        self.assertTrue(self.check("a/b", "text/plain", "*"))
        self.assertTrue(self.check("a/b", "*/*"))

    def test_exact(self) -> None:
        self.assertTrue(self.check("TEXT/plain;charset=utf-8", "text/Plain"))
        self.assertFalse(self.check("text/html", "text/plain", "message/cpim"))
        self.assertFalse(self.check("text/plain"))

    def test_subtypes(self) -> None:
        self.assertTrue(self.check("text/html", "text/*"))
        self.assertFalse(self.check("image/png", "text/*"))

    def test_parameters_of_the_entry(self) -> None:
        self.assertTrue(self.check("text/x;format=Flowed;y=1", "text/x;format=flowed"))
        self.assertFalse(self.check("text/x", "text/x;format=flowed"))
        self.assertTrue(self.check("text/plain", "text/plain;charset=utf-8"))

    def test_rubbish_in_the_list(self) -> None:
        self.assertTrue(self.check("text/plain", "text", "text/plain"))


class KindTests(SynchronousTestCase):
    """Types that are not texts."""

    def test_imdn(self) -> None:
        self.assertTrue(is_imdn("Message/IMDN+xml; charset=utf-8"))
        self.assertFalse(is_imdn("text/plain"))

    def test_composing(self) -> None:
        self.assertTrue(is_composing("application/im-iscomposing+xml"))
        self.assertFalse(is_composing("application/xml"))
