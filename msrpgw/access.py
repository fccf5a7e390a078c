"""Who may use the program, and who it is to others: ``[security]`` and ``[auth]``, at work.

Imports the rooms that it sets up.
"""

from collections.abc import Callable

from msrpgw.auth.client import Keyring
from msrpgw.auth.server import Authenticator
from msrpgw.auth.settings import AuthSettings, read_secrets
from msrpgw.plugins import build_credentials
from msrpgw.sip.agent import UserAgent
from msrpgw.sources import SecuritySettings, TrustedSources


class Access:
    """One for the program.  Raises ConfigError when users or passwords can't be read."""

    def __init__(
        self,
        security: SecuritySettings,
        trusted: TrustedSources,
        random: Callable[[int], bytes],
        seconds: Callable[[], float],
    ) -> None:
        """``seconds``: a clock that only goes forward."""
        self._security = security
        self._trusted = trusted
        self._random = random
        self._seconds = seconds
        self._agent: UserAgent | None = None

    def msrp_may_come(self, ip: str) -> bool:
        """Whether an MSRP connection is served.

        Where users prove who they are over SIP, their MSRP comes from anywhere: nobody else knows
        its session (RFC 4975 §14.1).
        """
        return self._trusted(ip) or (
            self._agent is not None and self._agent.gate.authenticator is not None
        )

    def guard(self, agent: UserAgent, settings: AuthSettings) -> None:
        """Stand before an agent from now on.  Raises ConfigError."""
        use = self.prepare(self._security, settings)
        self._agent = agent
        use()

    def prepare(self, security: SecuritySettings, settings: AuthSettings) -> Callable[[], None]:
        """Read what the settings name; the result puts it to use.  Raises ConfigError."""
        users = build_credentials(settings)
        secrets = read_secrets(settings)

        def use() -> None:
            agent = self._agent
            assert agent is not None
            self._trusted.configure(security)
            gate = agent.gate
            gate.trusted_names = frozenset(each.lower() for each in security.trusted_names)
            if users is None:
                gate.authenticator = None
            elif gate.authenticator is None:
                gate.authenticator = Authenticator(settings, users, self._random, self._seconds)
            else:
                gate.authenticator.configure(settings, users)
            if agent.keyring is not None:
                agent.keyring.configure(secrets)
            elif secrets:
                agent.keyring = Keyring(secrets, self._random)

        return use
