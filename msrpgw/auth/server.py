"""Finds out who a request is from (RFC 7616 §3.3, §3.4; RFC 8760 §2).

Pure: header values come in, a user or challenges go out.
"""

import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msrpgw.auth.digest import (
    ALGORITHMS,
    Challenge,
    digest,
    make_response,
    parse_parameters,
    render_challenge,
)
from msrpgw.auth.nonces import Nonces, Verdict
from msrpgw.auth.settings import AuthSettings
from msrpgw.interfaces import ICredentials
from msrpgw.types import UserCredentials

#: longest value of Authorization that is looked at
_LONGEST = 4096


class User(NamedTuple):
    """Somebody who knew the password."""

    name: str
    uris: tuple[str, ...]  #: addresses of record that From may have, without parameters


class Demand(NamedTuple):
    """Credentials are wanted."""

    challenges: list[str]  #: values of WWW-Authenticate, the preferred one first
    #: why those that came are no good; empty when none came, or only their nonce was stale
    problem: str = ""


class Authenticator:
    """One for the program."""

    def __init__(
        self,
        settings: AuthSettings,
        users: ICredentials,
        random: Callable[[int], bytes],
        seconds: Callable[[], float],
    ) -> None:
        """``seconds``: a clock that only goes forward."""
        self._nonces = Nonces(random, seconds, settings.nonce_lifetime)
        # Who is unknown is checked against this one: it takes as long as a wrong password.
        self._nobody = random(32).hex()
        self.configure(settings, users)

    def configure(self, settings: AuthSettings, users: ICredentials) -> None:
        """Use these from now on; nonces that are out stay good."""
        self._realm = settings.realm or ""
        self._algorithms = settings.algorithms
        self._domains = (self._realm, *settings.domains)
        self._users = users
        self._nonces.lifetime = settings.nonce_lifetime

    def check(self, method: str, values: Sequence[str]) -> User | Demand:
        """Look at all values of Authorization."""
        for value in values:
            found = parse_parameters(value) if len(value) <= _LONGEST else {}
            if found.get("realm") == self._realm:
                return self._check(method, found)
        return self._demand()

    def _check(self, method: str, found: dict[str, str]) -> User | Demand:
        name = found.get("username", "")
        written = found.get("algorithm", "MD5").upper()
        algorithm = next((each for each in self._algorithms if each == written), "")
        if not algorithm:
            return self._demand(problem="an algorithm that was not offered")
        if found.get("qop") != "auth" or not found.get("cnonce") or "uri" not in found:
            return self._demand(problem="without qop=auth")
        known = self._users.lookup(name, self._realm)
        ha1 = known.ha1.get(algorithm) if known is not None else None
        nonce, count = found.get("nonce", ""), found.get("nc", "")
        proof = make_response(
            algorithm,
            ha1 or digest(algorithm, self._nobody),
            method,
            found["uri"],
            nonce,
            count,
            found["cnonce"],
        )
        given = found.get("response", "").lower().encode("utf-8", "surrogateescape")
        right = hmac.compare_digest(proof.encode(), given)
        if known is None:
            return self._demand(problem=f"unknown user {name!r}")
        if not right or ha1 is None:
            return self._demand(problem=f"wrong password of {name!r}")
        if self._nonces.use(nonce, count) is Verdict.STALE:
            return self._demand(stale=True)
        return User(name, self._uris(name, known))

    def _uris(self, name: str, known: UserCredentials) -> tuple[str, ...]:
        if known.uris:
            return known.uris
        if "@" in name:
            return (f"sip:{name}",)
        return tuple(f"sip:{name}@{domain}" for domain in self._domains)

    def _demand(self, problem: str = "", *, stale: bool = False) -> Demand:
        nonce = self._nonces.make()
        return Demand(
            [
                render_challenge(Challenge(self._realm, nonce, algorithm, True, None, stale))
                for algorithm in self._algorithms
                if algorithm in ALGORITHMS
            ],
            problem,
        )
