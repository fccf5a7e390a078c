"""Proves who we are to whoever asks (RFC 7616 §3.4, RFC 3261 §22.2, §22.3).

Pure: challenges come in, header values go out.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msrpgw.auth.digest import Challenge, answer_challenge, parse_challenge

#: next hops whose challenges are remembered
_REMEMBERED = 1000

#: challenges of one next hop that are met: itself, proxies behind it, the user agent server
_MOST = 4


class Secret(NamedTuple):
    """What we know of ourselves in one realm."""

    username: str
    password: str


class _Known:
    """A challenge that we can meet."""

    __slots__ = ("challenge", "count", "header", "secret")

    def __init__(self, header: str, challenge: Challenge, secret: Secret) -> None:
        self.header = header
        self.challenge = challenge
        self.secret = secret
        self.count = 0  # how often the nonce was used


class Keyring:
    """One for a user agent.

    What a next hop asked for once is sent with each request to it, until it asks anew: the second
    message costs no second round.
    """

    def __init__(self, secrets: Mapping[str, Secret], random: Callable[[int], bytes]) -> None:
        """``secrets`` by realm."""
        self._secrets = dict(secrets)
        self._random = random
        self._known: OrderedDict[Hashable, dict[tuple[str, str], _Known]] = OrderedDict()

    def configure(self, secrets: Mapping[str, Secret]) -> None:
        """Use these from now on."""
        if secrets != self._secrets:
            self._secrets = dict(secrets)
            self._known.clear()

    def challenged(
        self, hop: Hashable, values: Iterable[tuple[str, str]], answered: Sequence[str]
    ) -> list[str]:
        """A request was refused for lack of credentials.

        ``values``: the header that is to carry the answer, and the challenge.  ``answered``: realms
        that the refused request had an answer for which was made for it.  Returns the realms that
        are answered now; empty when there is no use in sending the request again.
        """
        known = self._known.get(hop, {})
        met: list[str] = []
        for header, value in values:
            challenge = parse_challenge(value)
            secret = self._secrets.get(challenge.realm) if challenge is not None else None
            if challenge is None or secret is None or challenge.realm in met:
                continue  # the first that we know of each realm is the one it prefers
            if challenge.realm in answered and not challenge.stale:
                return []  # the password is wrong; it would be the next time
            met.append(challenge.realm)
            known = {**known, (header, challenge.realm): _Known(header, challenge, secret)}
        if met and len(known) <= _MOST:
            self._known[hop] = known
            self._known.move_to_end(hop)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        elif met:
            self._known.pop(hop, None)
            met = []
        return met

    def headers(self, hop: Hashable, method: str, uri: str) -> list[tuple[str, str]]:
        """What a request to this next hop must carry.  Raises RenderError."""
        found = self._known.get(hop)
        if not found:
            return []
        headers = []
        for known in found.values():
            known.count += 1
            value = answer_challenge(
                known.challenge,
                known.secret.username,
                known.secret.password,
                method,
                uri,
                count=known.count,
                cnonce=self._random(8).hex(),
            )
            headers.append((known.header, value))
        return headers
