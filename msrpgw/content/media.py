"""Media types: what a Content-Type says, and whether somebody accepts it.

Imports nothing of msrpgw.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

#: characters of a token beside letters and digits (RFC 2045 §5.1)
_TOKEN = frozenset(
    "!#$%&'*+-.^_`{|}~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


class MediaType(msgspec.Struct, frozen=True):
    """A media type with its parameters (RFC 2045 §5.1)."""

    type: str  #: lower case
    subtype: str  #: lower case
    parameters: tuple[tuple[str, str], ...] = ()  #: names in lower case, values unquoted

    @property
    def essence(self) -> str:
        """``type/subtype``, in lower case: what is compared."""
        return f"{self.type}/{self.subtype}"

    def parameter(self, name: str) -> str | None:
        """A parameter's value by its name in lower case; None when absent."""
        for found, value in self.parameters:
            if found == name:
                return value
        return None


@lru_cache(maxsize=512)
def parse_media_type(text: str) -> MediaType:
    """Read the value of a Content-Type.  Raises ValueError when it is none."""
    essence, *rest = _split(text)
    main, slash, sub = essence.strip().partition("/")
    if not slash or not _is_token(main) or not _is_token(sub):
        raise ValueError(f"no media type: {text!r}")
    parameters = []
    for part in rest:
        name, equals, value = part.partition("=")
        name = name.strip()
        if not name and not equals:
            continue  # a stray semicolon is common and harmless
        if not equals or not _is_token(name):
            raise ValueError(f"malformed parameter of a media type: {text!r}")
        parameters.append((name.lower(), _unquote(value.strip())))
    return MediaType(main.lower(), sub.lower(), tuple(parameters))


def _is_token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


def _split(text: str) -> list[str]:
    """Cut at semicolons that stand outside of quotes."""
    parts = []
    start = 0
    quoted = escaped = False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            parts.append(text[start:at])
            start = at + 1
    if quoted:
        raise ValueError(f"unterminated quotes in a media type: {text!r}")
    parts.append(text[start:])
    return parts


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    if len(value) < 2 or not value.endswith('"'):
        raise ValueError(f"malformed quoted value: {value!r}")
    inner = value[1:-1]
    if "\\" not in inner:
        return inner
    characters = []
    escaped = False
    for character in inner:
        if escaped or character != "\\":
            characters.append(character)
            escaped = False
        else:
            escaped = True
    return "".join(characters)


def accepts(accept_types: Sequence[str], media_type: MediaType) -> bool:
    """Whether a list like a=accept-types takes a type (RFC 4975 §8.6).

    ``*`` takes all, ``text/*`` all of a kind; case does not count.  A list entry's parameters
    must be met by the type, parameters that the entry doesn't name don't count.
    """
    for entry in accept_types:
        if entry == "*":
            return True
        try:
            wanted = parse_media_type(entry)
        except ValueError:
            continue
        if wanted.type not in ("*", media_type.type):
            continue
        if wanted.subtype not in ("*", media_type.subtype):
            continue
        if all(
            (media_type.parameter(name) or "").lower() == value.lower()
            for name, value in wanted.parameters
            if name != "charset"  # everybody reads UTF-8, whether it is said or not
        ):
            return True
    return False


def is_imdn(content_type: str) -> bool:
    """Whether this is a disposition notification (RFC 5438 §7)."""
    return _essence(content_type) == "message/imdn+xml"


def is_composing(content_type: str) -> bool:
    """Whether this is an indication that somebody types (RFC 3994)."""
    return _essence(content_type) == "application/im-iscomposing+xml"


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
