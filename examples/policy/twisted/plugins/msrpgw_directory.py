"""An example policy: public names of MSRP users, and a table of where they really are.

Page users write to ``sip:help@example.com``; the table leads that to whatever MSRP user serves
it today.  Answers come from the public name, so the page user never sees the other one.
"""

from twisted.plugin import IPlugin
from zope.interface import implementer

from msrpgw.interfaces import IPolicy, IPolicyPlugin
from msrpgw.types import Address, Refusal, RequestFacts, Route


def _called(address: Address) -> str:
    """A URI to call: as received, since its parameters may matter."""
    return address.received or address.uri


@implementer(IPolicy)
class DirectoryPolicy:
    """Routes by the table; made once, asked for every MESSAGE and initial INVITE."""

    def __init__(self, users: dict[str, str], blocked: frozenset[str]) -> None:
        self._users = users  # public user@host -> URI of the MSRP user
        self._public = {uri: aor for aor, uri in users.items()}
        self._blocked = blocked

    def route_message(self, facts: RequestFacts) -> Route | Refusal:
        """From a page user to a public name."""
        if facts.from_.aor in self._blocked:
            return Refusal(403, "Not welcome here")
        public = facts.to.aor
        user = self._users.get(public)
        if user is None:
            return Refusal(404, "Nobody of this name")
        return Route(
            key=self._key(public, facts.from_.aor),
            from_uri=_called(facts.from_),
            to_uri=user,
            ruri=user,
        )

    def route_invite(self, facts: RequestFacts) -> Route | Refusal:
        """From an MSRP user, who speaks under the public name."""
        public = self._public.get(facts.from_.uri)
        if public is None:
            return Refusal(403, "Not in the directory")
        return Route(
            key=self._key(public, facts.to.aor),
            from_uri=f"sip:{public}",
            to_uri=_called(facts.to),
            ruri=_called(facts.ruri),
        )

    def _key(self, public: str, page_user: str) -> str:
        """The same for both directions of one conversation."""
        return f"{public} with {page_user}"


@implementer(IPlugin, IPolicyPlugin)
class DirectoryPlugin:
    """Makes the policy from ``[policy.options]``."""

    name = "directory"

    def make_policy(self, options: dict[str, object]) -> DirectoryPolicy:
        """Check the options; raises ValueError for what can't be used."""
        unknown = options.keys() - {"users", "blocked"}
        if unknown:
            raise ValueError(f"no such option: {', '.join(sorted(unknown))}")
        users = options.get("users")
        if not isinstance(users, dict) or not users:
            raise ValueError('users: a table like {"help@example.com" = "sip:ann@192.0.2.8"}')
        for aor, uri in users.items():
            if aor.count("@") != 1 or ":" in aor:
                raise ValueError(f"users: {aor!r} is not user@host")
            if not isinstance(uri, str) or not uri.startswith(("sip:", "sips:")):
                raise ValueError(f"users: {aor!r}: {uri!r} is no sip URI")
        blocked = options.get("blocked", [])
        if not isinstance(blocked, list) or not all(isinstance(each, str) for each in blocked):
            raise ValueError("blocked: must be a list of user@host")
        return DirectoryPolicy(users, frozenset(blocked))


#: what twisted.plugin finds
directory = DirectoryPlugin()
