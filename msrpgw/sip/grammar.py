"""Tokens, quoted strings, comments, lists and parameters (RFC 3261 §25.1).

The ground of the codecs: text in, text out.  Values are header values with folding already
undone, so white space is SP and HTAB here.  Imports nothing of msrpgw but the errors.
"""

import re

from msrpgw.errors import RenderError, SipSyntaxError

#: a parameter: its name as received, its value as received (quotes kept), None without ``=``
Parameter = tuple[str, str | None]

TOKEN_CHARS = r"A-Za-z0-9\-.!%*_+`'~"  #: token of §25.1, to be put into a character class

# §25.1 wants a token, a host or a quoted string after "=".  Base64 tags and bare IPv6 addresses
# are common, so what can't be mistaken for a separator is let through; "?" is not, because in
# an address without angle brackets it would hide URI headers (§20.10).
VALUE_CHARS = TOKEN_CHARS + r":\[\]/=@&$|^{}#()"

_TOKEN = re.compile(f"[{TOKEN_CHARS}]+")
_VALUE = re.compile(f"[{VALUE_CHARS}]+")
_SPACE = re.compile(r"[ \t]*")
# qdtext and quoted-pair: a backslash takes any character with it but CR and LF.
_QUOTED = re.compile(r'"[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*"')
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_PAIR = re.compile(r'["\\]')
_UNQUOTABLE = re.compile(r"[\r\n\0]")
_COMMENT_STEP = re.compile(r"[^()\\]++|\\.|[()]", re.DOTALL)


def is_token(text: str) -> bool:
    """Whether ``text`` is a token (§25.1)."""
    return _TOKEN.fullmatch(text) is not None


def quote(text: str) -> str:
    """Write a quoted string.  Raises RenderError for CR, LF and NUL."""
    if _UNQUOTABLE.search(text):
        raise RenderError("CR, LF or NUL in a quoted string")
    return '"' + _NEEDS_PAIR.sub(r"\\\g<0>", text) + '"'


def unquote(text: str) -> str:
    """The text that a quoted string stands for; anything else is given back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    return _PAIR.sub(r"\1", text) if "\\" in text else text


class Scanner:
    """Walks over one header value.

    ``what`` names the header in errors; every method raises SipSyntaxError when what it wants
    is not there.
    """

    __slots__ = ("at", "text", "what")

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.at = 0  #: index of the next character

    def error(self, problem: str) -> SipSyntaxError:
        """An error that names the header; for the caller to raise."""
        return SipSyntaxError(f"Bad {self.what}: {problem}")

    def peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.at : self.at + 1]

    def space(self) -> bool:
        """Skip white space; says whether there was some."""
        before = self.at
        match = _SPACE.match(self.text, before)
        self.at = match.end() if match else before
        return self.at > before

    def token(self, name: str) -> str:
        """Take a token, called ``name`` in errors."""
        return self.take(_TOKEN, name)

    def take(self, pattern: "re.Pattern[str]", name: str) -> str:
        """Take what ``pattern`` matches here."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.error(f"no {name}")
        self.at = match.end()
        return match[0]

    def quoted(self) -> str:
        """Take a quoted string, quotes included."""
        match = _QUOTED.match(self.text, self.at)
        if match is None:
            raise self.error("quotes not closed")
        self.at = match.end()
        return match[0]

    def comment(self) -> str:
        """Take a comment with those nested in it (§25.1), parentheses included."""
        start, depth = self.at, 0
        while match := _COMMENT_STEP.match(self.text, self.at):
            self.at = match.end()
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 0:
                return self.text[start : self.at]
        raise self.error("comment not closed")

    def slash(self) -> None:
        """Take a SLASH: ``/`` with white space allowed on both sides."""
        self.space()
        if self.peek() != "/":
            raise self.error("no slash")
        self.at += 1
        self.space()

    def parameters(self) -> tuple[Parameter, ...]:
        """Take ``;name=value`` parts, and the white space after them."""
        found: list[Parameter] = []
        self.space()
        while self.peek() == ";":
            self.at += 1
            self.space()
            name = self.token("parameter name")
            self.space()
            value = None
            if self.peek() == "=":
                self.at += 1
                self.space()
                value = self.quoted() if self.peek() == '"' else self.take(_VALUE, "value")
                self.space()
            found.append((name, value))
        return tuple(found)

    def end(self) -> None:
        """Want the end of the value."""
        if self.at < len(self.text):
            raise self.error("unexpected text at the end")


def parse_parameters(text: str, what: str = "parameters") -> tuple[Parameter, ...]:
    """Parse ``;name=value;name``.  Raises SipSyntaxError."""
    scanner = Scanner(text, what)
    found = scanner.parameters()
    scanner.end()
    return found


def render_parameters(parameters: tuple[Parameter, ...]) -> str:
    """Write parameters as ``;name=value;name``."""
    return "".join(
        [f";{name}" if value is None else f";{name}={value}" for name, value in parameters]
    )


def find_parameter(parameters: tuple[Parameter, ...], name: str) -> str | None:
    """The value of a parameter without its quotes: "" when it has none, None when it is absent.

    ``name`` in lower case; parameter names have no case (§7.3.1).
    """
    for found, value in parameters:
        if found == name or found.lower() == name:
            if not value:
                return ""
            return unquote(value) if value[0] == '"' else value
    return None


# What splits a list, and what may hide a comma: quotes, angle brackets, comments (§7.3.1).
_LIST_STEP = re.compile(r'[^",<(\\]++|"[^"\\]*+(?:\\.[^"\\]*+)*"|\\.|.', re.DOTALL)


def split_list(value: str) -> list[str]:
    """Cut a header value at its commas, without those in quotes, ``<>`` and comments.

    Items come stripped of white space; empty ones stay (the caller knows whether they are
    allowed), but an empty value is an empty list.  Quotes, brackets and comments that are not
    closed hide nothing.
    """
    if "," not in value:
        value = value.strip(" \t")
        return [value] if value else []
    items: list[str] = []
    start = at = 0
    unclosed = ""  # what was found not to close is not looked for again: time stays linear
    while match := _LIST_STEP.match(value, at):
        at = match.end()
        found = match[0]
        if found == ",":
            items.append(value[start : at - 1].strip(" \t"))
            start = at
        elif found in ("<", "(") and found not in unclosed:
            stop = value.find(">", at) + 1 if found == "<" else _comment_end(value, at - 1)
            if stop > 0:
                at = stop
            else:
                unclosed += found
    items.append(value[start:].strip(" \t"))
    return items


def _comment_end(value: str, start: int) -> int:
    scanner = Scanner(value, "comment")
    scanner.at = start
    try:
        scanner.comment()
    except SipSyntaxError:
        return 0
    return scanner.at
