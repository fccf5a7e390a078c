"""The header fields of a message: an ordered multi-map that keeps what was received.

Names are found whatever their case and whether they are in compact form (RFC 3261 §7.3.3).
Raw values stay as received; what was parsed from them is kept beside them until they change.
"""

from collections.abc import Iterable
from functools import lru_cache

from msrpgw.errors import RenderError
from msrpgw.sip.grammar import is_token, split_list

#: the canonical spelling of the names that we may meet often
_NAMES = """
Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events
Authentication-Info Authorization Call-ID Call-Info Contact Content-Disposition
Content-Encoding Content-ID Content-Language Content-Length Content-Transfer-Encoding
Content-Type CSeq Date Error-Info Event Expires From History-Info Identity Identity-Info
In-Reply-To Join Max-Forwards MIME-Version Min-Expires Min-SE Msrpgw-Hops Organization
P-Access-Network-Info P-Asserted-Identity P-Associated-URI P-Called-Party-ID
P-Charging-Vector P-Preferred-Identity P-Visited-Network-ID Path Priority Privacy
Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Refer-To
Referred-By Reject-Contact Replaces Reply-To Request-Disposition Require Retry-After Route RSeq
Security-Client Security-Server Security-Verify Server Service-Route Session-Expires SIP-ETag
SIP-If-Match Subject Subscription-State Supported Timestamp To Unsupported User-Agent Via
Warning WWW-Authenticate
""".split()  # noqa: SIM905

#: RFC 3261 §7.3.3 and the IANA registry
_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_CANONICAL = {name.lower(): name for name in _NAMES}

#: from the usual spellings of a name to its key, for those who can't spare a call
KEYS: dict[str, str] = {
    **{name: name.lower() for name in _NAMES},
    **{name.lower(): name.lower() for name in _NAMES},
    **_COMPACT,
    **{letter.upper(): key for letter, key in _COMPACT.items()},
}


def header_key(name: str) -> str:
    """What all spellings of a header name have in common: its long form in lower case."""
    key = KEYS.get(name)
    if key is None:
        key = name.lower()
        key = _COMPACT.get(key, key)
    return key


@lru_cache(1024)
def canonical_name(name: str) -> str:
    """The long form of a name, in the usual case where we know it.

    Raises RenderError for what can't be a header name.
    """
    known = _CANONICAL.get(header_key(name))
    if known is None and not is_token(name):
        raise RenderError("a header name is not a token")
    return known or name


class Headers:
    """Header fields in wire order; belongs to one message.

    Names that we add are written in their long form, received ones stay as they came.  Values
    are checked when the message is rendered.
    """

    __slots__ = ("_first", "_items", "_more", "_partial", "_text", "typed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        # None: not cut out of _text yet; then _first is the truth about what it has.
        self._items: list[tuple[str, str]] | None = [
            (canonical_name(name), value) for name, value in items
        ]
        self._text = ""
        self._partial = False  # whether _text has fields that _first has not
        # Index of _items: the first value of each key, and all values where there are several.
        self._first: dict[str, str] | None = None
        self._more: dict[str, list[str]] = {}
        #: by key, what was parsed from the first value; dropped when that changes
        self.typed: dict[str, object] = {}

    @classmethod
    def indexed(
        cls,
        items: list[tuple[str, str]],
        first: dict[str, str] | None,
        more: dict[str, list[str]],
        typed: dict[str, object],
    ) -> "Headers":
        """Take over a list of fields, and the index over it, as they are.  For the codec."""
        made = cls.__new__(cls)
        made._items = items
        made._text = ""
        made._partial = False
        made._first = first
        made._more = more
        made.typed = typed
        return made

    @classmethod
    def of_text(
        cls,
        text: str,
        first: dict[str, str],
        more: dict[str, list[str]],
        typed: dict[str, object],
        *,
        partial: bool = False,
    ) -> "Headers":
        """Take over a head whose lines all have a name, and the index over them.  For the codec.

        Nobody asks a message on its way through for all of its fields, so they are cut apart when
        somebody does.  ``partial``: so are those that the index has not.
        """
        made = cls.__new__(cls)
        made._items = None
        made._text = text
        made._partial = partial
        made._first = first
        made._more = more
        made.typed = typed
        return made

    @classmethod
    def of_request(cls, items: list[tuple[str, str]]) -> "Headers":
        """Take over fields of our own: each but once, its name in the usual case."""
        return cls.indexed(items, {KEYS[name]: value for name, value in items}, {}, {})

    def _index(self) -> dict[str, str]:
        first: dict[str, str] = {}
        more: dict[str, list[str]] = {}
        for name, value in self.items():
            key = KEYS.get(name) or header_key(name)
            if key not in first:
                first[key] = value
            elif key in more:
                more[key].append(value)
            else:
                more[key] = [first[key], value]
        self._first = first
        self._more = more
        self._partial = False
        return first

    def firsts(self) -> dict[str, str]:
        """The first value of each header, by its key (see ``header_key``).  Not to be changed."""
        first = self._first
        return self._index() if first is None or self._partial else first

    def usual(self) -> dict[str, str]:
        """The same, but for fields of ``usual.IGNORED``, which may be missing."""
        first = self._first
        return self._index() if first is None else first

    def get(self, name: str) -> str | None:
        """The first value of a header, None when it is absent."""
        first = self._first
        if first is None:
            first = self._index()
        key = KEYS.get(name) or header_key(name)
        value = first.get(key)
        return self._index().get(key) if value is None and self._partial else value

    def get_all(self, name: str) -> list[str]:
        """All values of a header, raw, one for each line."""
        first = self.usual()
        key = KEYS.get(name) or header_key(name)
        if key not in first and self._partial:
            first = self._index()
        if key in self._more:
            return list(self._more[key])
        return [first[key]] if key in first else []

    def get_list(self, name: str) -> list[str]:
        """All items of a header that is a comma list, over all its lines, without empty ones."""
        return [item for value in self.get_all(name) for item in split_list(value) if item]

    def __contains__(self, name: str) -> bool:
        return (KEYS.get(name) or header_key(name)) in self.firsts()

    def items(self) -> list[tuple[str, str]]:
        """Names as received and raw values, in wire order.  Not to be changed."""
        items = self._items
        return self._cut() if items is None else items

    def _cut(self) -> list[tuple[str, str]]:
        left = dict(self._first or ())
        items = self._items = []
        for line in self._text.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            name = name.rstrip(" \t")
            key = KEYS.get(name) or header_key(name)
            if key == "content-length":
                name = "Content-Length"  # so that render() finds it: it writes its own
            # The first value of a name may have been replaced since.
            items.append((name, left.pop(key) if key in left else value.strip(" \t")))
        self._text = ""
        return items

    def repeated(self, key: str) -> bool:
        """Whether there are several lines of a header, by its key (see ``header_key``)."""
        self.usual()
        return key in self._more

    def __len__(self) -> int:
        return len(self.items())

    def add(self, name: str, value: str) -> None:
        """Put a field after all others."""
        self.items().append((canonical_name(name), value))
        self._added(name, value)

    def insert_first(self, name: str, value: str) -> None:
        """Put a field before all others."""
        self.items().insert(0, (canonical_name(name), value))
        self._added(name, value)
        self.typed.pop(KEYS.get(name) or header_key(name), None)

    def set(self, name: str, value: str) -> None:
        """Replace a header: one line with this value, where the first one was, else at the end."""
        key = header_key(name)
        kept: list[tuple[str, str]] = []
        placed = False
        for item in self.items():
            if header_key(item[0]) != key:
                kept.append(item)
            elif not placed:
                kept.append((canonical_name(name), value))
                placed = True
        if not placed:
            kept.append((canonical_name(name), value))
        self._items = kept
        self._changed(name)

    def replace_first(self, name: str, value: str) -> None:
        """Give the first line of a header another value; others of that name stay."""
        key = KEYS.get(name) or header_key(name)
        first = self.usual()
        if key not in first:
            first = self.firsts()
            if key not in first:
                return
        first[key] = value
        if key in self._more:
            self._more[key][0] = value
        self.typed.pop(key, None)
        items = self._items
        if items is None:
            return
        for position, (found, _) in enumerate(items):
            if (KEYS.get(found) or header_key(found)) == key:
                items[position] = (found, value)
                return

    def remove(self, name: str) -> None:
        """Take all lines of a header out; none need be there."""
        key = header_key(name)
        self._items = [item for item in self.items() if header_key(item[0]) != key]
        self._changed(name)

    def remove_first(self, name: str) -> None:
        """Take the first line of a header out; none need be there."""
        key = header_key(name)
        items = self.items()
        for position, (found, _) in enumerate(items):
            if header_key(found) == key:
                del items[position]
                self._changed(name)
                return

    def _added(self, name: str, value: str) -> None:
        first = self._first
        if first is not None:
            key = KEYS.get(name) or header_key(name)
            if key in first:
                self._first = None
            else:
                first[key] = value

    def _changed(self, name: str) -> None:
        self._first = None
        self.typed.pop(header_key(name), None)

    def copy(self) -> "Headers":
        """The same fields, to be changed apart from these."""
        return Headers.indexed(list(self.items()), None, {}, dict(self.typed))

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"
