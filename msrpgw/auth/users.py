"""Our users, as a file has them.

    alice:example.com:SHA-256:HA1[:sip:alice@example.com,sip:+15551234@example.com]

One line for each user and algorithm; ``#`` begins a comment.  HA1 is the hash of user, realm and
password, which ``python -m msrpgw.auth`` makes; the password itself is nowhere.
"""

import re
from collections.abc import Mapping

from zope.interface import implementer

from msrpgw.auth.digest import ALGORITHMS
from msrpgw.interfaces import ICredentials
from msrpgw.types import UserCredentials

_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_LENGTHS = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}


@implementer(ICredentials)
class Users:
    """Who is in the file."""

    def __init__(self, users: Mapping[tuple[str, str], UserCredentials]) -> None:
        self._users = users

    def __len__(self) -> int:
        return len(self._users)

    def lookup(self, username: str, realm: str) -> UserCredentials | None:
        """A user; None for somebody unknown."""
        return self._users.get((username, realm))


def read_users(path: str) -> Users:
    """Read a file.  Raises ValueError that names file and line, without anything secret."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise ValueError(f"{path}: {reason}") from None
    sums: dict[tuple[str, str], dict[str, str]] = {}
    uris: dict[tuple[str, str], tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(":", 4)
        if len(parts) < 4:
            raise ValueError(f"{path}, line {number}: must read USER:REALM:ALGORITHM:HA1[:URIS]")
        username, realm, algorithm, ha1 = (part.strip() for part in parts[:4])
        if algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"{path}, line {number}: unknown algorithm; there are: {known}")
        if not username or not realm or len(ha1) != _LENGTHS[algorithm] or not _HEX.fullmatch(ha1):
            raise ValueError(
                f"{path}, line {number}: HA1 must be {_LENGTHS[algorithm]} digits 0-9a-f, and no"
                " password"
            )
        key = username, realm
        if algorithm in sums.setdefault(key, {}):
            raise ValueError(f"{path}, line {number}: the same user and algorithm once more")
        sums[key][algorithm] = ha1
        if len(parts) > 4:
            given = tuple(uri.strip() for uri in parts[4].split(",") if uri.strip())
            uris[key] = uris.get(key, ()) + given
    return Users(
        {key: UserCredentials(ha1=found, uris=uris.get(key, ())) for key, found in sums.items()}
    )
