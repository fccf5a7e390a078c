"""The ordered multi-map of header fields (RFC 3261 §7.3)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError
from msrpgw.sip.headers import Headers, canonical_name, header_key


def some() -> Headers:
    return Headers([("v", "1"), ("x-Odd", "2"), ("VIA", "3"), ("call-id", "4")])


class NameTests(SynchronousTestCase):
    def test_compact_forms_and_case(self) -> None:
        for name, key in {
            "v": "via",
            "V": "via",
            "vIa": "via",
            "i": "call-id",
            "L": "content-length",
            "X-Odd": "x-odd",
            "C%6Fntact": "c%6fntact",
        }.items():
            self.assertEqual(header_key(name), key)

    def test_long_forms_are_written(self) -> None:
        for name, canonical in {
            "v": "Via",
            "CALL-ID": "Call-ID",
            "cseq": "CSeq",
            "www-authenticate": "WWW-Authenticate",
            "x-odd": "x-odd",
        }.items():
            self.assertEqual(canonical_name(name), canonical)

    def test_what_is_no_name(self) -> None:
        for bad in ("", "a b", "a:", "a\r\nb", "é"):
            self.assertRaises(RenderError, canonical_name, bad)


class ReadTests(SynchronousTestCase):
    def test_get(self) -> None:
        headers = some()
        self.assertEqual(headers.get("via"), "1")
        self.assertEqual(headers.get("V"), "1")
        self.assertEqual(headers.get("X-ODD"), "2")
        self.assertIsNone(headers.get("To"))
        self.assertIn("i", headers)
        self.assertNotIn("t", headers)
        self.assertEqual(len(headers), 4)
        self.assertIn("i", some())

    def test_get_all(self) -> None:
        self.assertEqual(some().get_all("v"), ["1", "3"])
        self.assertEqual(some().get_all("i"), ["4"])
        self.assertEqual(some().get_all("To"), [])

    def test_lists_over_lines(self) -> None:
        headers = Headers([("Require", "a, b"), ("Require", ""), ("Require", "c,")])
        self.assertEqual(headers.get_list("require"), ["a", "b", "c"])

    def test_wire_order(self) -> None:
        self.assertEqual(
            list(some().items()), [("Via", "1"), ("x-Odd", "2"), ("Via", "3"), ("Call-ID", "4")]
        )

    def test_more_than_two(self) -> None:
        headers = Headers([("Via", "1"), ("Via", "2"), ("Via", "3")])
        self.assertEqual(headers.get_all("Via"), ["1", "2", "3"])

    def test_repr(self) -> None:
        self.assertEqual(repr(Headers([("Q", "b")])), "Headers([('Q', 'b')])")


class ChangeTests(SynchronousTestCase):
    """Each change before and after the index was built."""

    def changed(self, change: str, *arguments: str) -> Headers:
        fresh, indexed = some(), some()
        indexed.get("Via")
        for headers in (fresh, indexed):
            headers.typed.update({"via": object(), "to": object(), "x-odd": object()})
            getattr(headers, change)(*arguments)
        self.assertEqual(fresh.items(), indexed.items())
        for name in ("Via", "X-Odd", "Call-ID", "To", "X-New"):
            self.assertEqual(fresh.get_all(name), indexed.get_all(name), name)
            self.assertEqual(fresh.get(name), indexed.get(name), name)
        return indexed

    def test_add(self) -> None:
        headers = self.changed("add", "v", "5")
        self.assertEqual(headers.get_all("Via"), ["1", "3", "5"])
        self.assertEqual(headers.items()[-1], ("Via", "5"))
        self.assertIn("via", headers.typed)
        self.assertEqual(self.changed("add", "x-new", "5").get("X-New"), "5")

    def test_insert_first(self) -> None:
        headers = self.changed("insert_first", "v", "0")
        self.assertEqual(headers.get("Via"), "0")
        self.assertEqual(headers.items()[0], ("Via", "0"))
        self.assertNotIn("via", headers.typed)
        self.assertIn("x-odd", headers.typed)
        self.assertEqual(self.changed("insert_first", "x-new", "5").get("X-New"), "5")

    def test_set(self) -> None:
        headers = self.changed("set", "via", "9")
        self.assertEqual(headers.items()[0], ("Via", "9"))
        self.assertEqual(headers.get_all("Via"), ["9"])
        self.assertNotIn("via", headers.typed)
        self.assertEqual(self.changed("set", "t", "9").items()[-1], ("To", "9"))

    def test_replace_first(self) -> None:
        headers = self.changed("replace_first", "v", "9")
        self.assertEqual(headers.get_all("Via"), ["9", "3"])
        self.assertNotIn("via", headers.typed)
        self.assertEqual(self.changed("replace_first", "i", "9").get("Call-ID"), "9")
        self.assertEqual(self.changed("replace_first", "To", "9").items(), some().items())

    def test_remove(self) -> None:
        self.assertEqual(self.changed("remove", "v").items(), [("x-Odd", "2"), ("Call-ID", "4")])
        self.assertEqual(self.changed("remove", "To").items(), some().items())

    def test_remove_first(self) -> None:
        headers = self.changed("remove_first", "v")
        self.assertEqual(headers.get_all("Via"), ["3"])
        self.assertNotIn("via", headers.typed)
        self.assertEqual(self.changed("remove_first", "To").items(), some().items())

    def test_copy_stands_alone(self) -> None:
        headers = some()
        other = headers.copy()
        other.set("Via", "9")
        other.add("To", "t")
        self.assertEqual(headers.items(), some().items())


class LineTests(SynchronousTestCase):
    """Fields that are cut out of their lines when somebody asks for them."""

    def headers(self) -> Headers:
        text = "BYE x SIP/2.0\r\nv: a\r\nX-Odd  :  1 \r\nl:5\r\nVia:b\r\nvia: c"
        first = {"via": "a", "x-odd": "1", "content-length": "5"}
        return Headers.of_text(text, first, {"via": ["a", "b", "c"]}, {})

    def test_items(self) -> None:
        self.assertEqual(
            self.headers().items(),
            [("v", "a"), ("X-Odd", "1"), ("Content-Length", "5"), ("Via", "b"), ("via", "c")],
        )
        self.assertEqual(len(self.headers()), 5)

    def test_a_first_value_that_was_replaced_before(self) -> None:
        headers = self.headers()
        headers.replace_first("Via", "new")
        headers.replace_first("X-Absent", "new")
        self.assertEqual(headers.get_all("Via"), ["new", "b", "c"])
        self.assertEqual(
            [value for name, value in headers.items() if len(name) < 4], ["new", "b", "c"]
        )
        self.assertEqual(len(headers), 5)

    def test_repeated(self) -> None:
        headers = self.headers()
        self.assertTrue(headers.repeated("via"))
        self.assertFalse(headers.repeated("x-odd"))
        headers.remove_first("Via")
        headers.remove_first("Via")
        self.assertFalse(headers.repeated("via"))

    def test_changes(self) -> None:
        for change in (
            lambda headers: headers.add("To", "x"),
            lambda headers: headers.insert_first("To", "x"),
            lambda headers: headers.set("To", "x"),
        ):
            headers = self.headers()
            change(headers)
            self.assertEqual(headers.get("To"), "x")
            self.assertEqual(len(headers), 6)
        headers = self.headers()
        headers.remove("Via")
        self.assertEqual(headers.items(), [("X-Odd", "1"), ("Content-Length", "5")])
