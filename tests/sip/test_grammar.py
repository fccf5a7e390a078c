"""Tokens, quoted strings, comments, lists, parameters (RFC 3261 §25.1)."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError, SipSyntaxError
from msrpgw.sip.grammar import (
    Scanner,
    find_parameter,
    is_token,
    parse_parameters,
    quote,
    render_parameters,
    split_list,
    unquote,
)
from tests.sip.strategies import parameters, texts, tokens


class TokenTests(SynchronousTestCase):
    def test_tokens(self) -> None:
        for good in ("a", "IN%56ITE", "!interesting-Method0123456789_*+`.%indeed'~"):
            self.assertTrue(is_token(good), good)
        for bad in ("", "a b", "a:b", "a\n", "é", "<a>"):
            self.assertFalse(is_token(bad), bad)


class QuoteTests(SynchronousTestCase):
    def test_quotes_and_backslashes_are_escaped(self) -> None:
        self.assertEqual(quote('a"b\\c'), '"a\\"b\\\\c"')
        self.assertEqual(unquote('"a\\"b\\\\c"'), 'a"b\\c')

    def test_unquoted_text_stays(self) -> None:
        self.assertEqual(unquote("a\\b"), "a\\b")
        self.assertEqual(unquote('"'), '"')

    def test_line_ends_are_refused(self) -> None:
        for bad in ("a\rb", "a\nb", "a\0b"):
            self.assertRaises(RenderError, quote, bad)

    @given(texts)
    @settings(deadline=None, derandomize=True)
    def test_round_trip(self, text: str) -> None:
        self.assertEqual(unquote(quote(text)), text)


class ScannerTests(SynchronousTestCase):
    def test_nested_comment(self) -> None:
        scanner = Scanner(r"(a (b) \) c) d", "Subject")
        self.assertEqual(scanner.comment(), r"(a (b) \) c)")
        self.assertEqual(scanner.text[scanner.at :], " d")

    def test_errors_name_the_header(self) -> None:
        for call in ("comment", "quoted", "slash"):
            scanner = Scanner('("', "Via")
            error = self.assertRaises(SipSyntaxError, getattr(scanner, call))
            self.assertTrue(error.reason.startswith("Bad Via: "), error.reason)
            self.assertEqual(error.status, 400)


class ListTests(SynchronousTestCase):
    def test_commas_that_do_not_count(self) -> None:
        cases = {
            "": [],
            "  ": [],
            "a": ["a"],
            " a , b ": ["a", "b"],
            '"a,b" <sip:c>, d': ['"a,b" <sip:c>', "d"],
            r'"a\",b", c': [r'"a\",b"', "c"],
            "<sip:a,b@c>,d": ["<sip:a,b@c>", "d"],
            "x (y, (z, w)), v": ["x (y, (z, w))", "v"],
            "a,,b,": ["a", "", "b", ""],
        }
        for value, items in cases.items():
            self.assertEqual(split_list(value), items, value)

    def test_what_is_not_closed_hides_nothing(self) -> None:
        for value in ('"a, b', "<a, b", "(a, b"):
            self.assertEqual(split_list(value), [value[:2], "b"])

    def test_two_addresses_are_two(self) -> None:
        value = '"A" <sip:a@x>, "C" <sip:c@x>'
        self.assertEqual(split_list(value), ['"A" <sip:a@x>', '"C" <sip:c@x>'])

    def test_hostile_values_take_linear_time(self) -> None:
        start = time.process_time()
        for value in ("(," * 30000, "<," * 30000, '",' * 30001, '\\",' * 20000, "(<" * 30000 + ","):
            split_list(value)
        self.assertLess(time.process_time() - start, 2.0)

    @given(st.lists(st.one_of(tokens, texts.map(quote)), min_size=1))
    @settings(deadline=None, derandomize=True)
    def test_joined_items_come_back(self, items: list[str]) -> None:
        self.assertEqual(split_list(" , ".join(items)), items)


class ParameterTests(SynchronousTestCase):
    def test_spaces_and_flags(self) -> None:
        found = parse_parameters(' ; a = b;C;d="x;y\\"z" ')
        self.assertEqual(found, (("a", "b"), ("C", None), ("d", '"x;y\\"z"')))
        self.assertEqual(find_parameter(found, "c"), "")
        self.assertEqual(find_parameter(found, "d"), 'x;y"z')
        self.assertIsNone(find_parameter(found, "e"))

    def test_addresses_and_base64_are_let_through(self) -> None:
        found = parse_parameters(";received=2001:db8::1;r=[::1];tag=ab/c==")
        self.assertEqual(render_parameters(found), ";received=2001:db8::1;r=[::1];tag=ab/c==")

    def test_rubbish(self) -> None:
        for bad in (";", ";;a", ";a=", ";a=;b", ';a="b', ";a b", ";a=b,c", ";a=b?c", "a"):
            self.assertRaises(SipSyntaxError, parse_parameters, bad)

    @given(parameters)
    @settings(deadline=None, derandomize=True)
    def test_round_trip(self, items: tuple[tuple[str, str | None], ...]) -> None:
        self.assertEqual(parse_parameters(render_parameters(items)), items)
