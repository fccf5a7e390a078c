"""What management may ask of the program as a whole: its status, a drain, a reload.

A reload reads the configuration file again.  What can change while it runs is changed; what can't
is named, and stays as it was; a file that is no good changes nothing.
"""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from msrpgw import __version__
from msrpgw.access import Access
from msrpgw.config import TABLES, Config
from msrpgw.errors import ConfigError
from msrpgw.gateway.operator import Operator
from msrpgw.limits import Limits
from msrpgw.log import Threshold
from msrpgw.manage.sinks.sinks import Sinks
from msrpgw.plugins import build_policy
from msrpgw.tls.contexts import Tls

_log = Logger()

#: tables that are read at the start alone: what listens, and where things are kept
FIXED = frozenset({"sip", "msrp", "journal", "state", "manage", "dns"})


class ProgramControl:
    """Implements ``manage.commands.Program``.  Made by the service."""

    def __init__(
        self,
        config: Config,
        load: Callable[[str | None], Config],
        operator: Operator,
        sinks: Sinks,
        access: Access,
        threshold: Threshold,
        listeners: Callable[[], dict[str, Any]],
        *,
        now: Callable[[], float],
        tls: Tls | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``load`` reads the configuration: of a file, or with None the one that we run on.

        ``tls``: None when nothing listens on TLS.
        """
        self._config = config
        self._load = load
        self._operator = operator
        self._sinks = sinks
        self._access = access
        self._threshold = threshold
        self._listeners = listeners
        self._now = now
        self._tls = tls
        self._limits = limits or Limits()
        self._since = now()

    def status(self) -> dict[str, Any]:
        """How it is, at a glance."""
        return {
            "version": __version__,
            "uptime": round(self._now() - self._since, 3),
            **self._operator.status(),
            "listeners": self._listeners(),
        }

    def drain(self) -> int:
        """Take no new session; how many messages are still on their way."""
        left = self._operator.drain()
        _log.warn(
            "draining: new sessions get 503 until msrpgw is started again; {left} messages are on"
            " their way",
            left=left,
        )
        return left

    def check(self, file: str) -> list[str]:
        """Everything that is wrong with a file; without one, with the file that we run on."""
        try:
            self._load(file or None)
        except ConfigError as error:
            return error.problems
        return []

    def reload(self) -> dict[str, list[str]]:
        """Use the configuration as it is now.  Raises ValueError with all that is wrong."""
        try:
            config = self._load(None)
            changed = self._differences(config)
            self._apply(config, changed)
        except ConfigError as error:
            _log.error(
                "the configuration was not reloaded, all stays as it was: {problems}",
                problems="; ".join(error.problems),
            )
            raise ValueError("\n".join(error.problems)) from None
        told = {
            "changed": [f"[{table}] {key}" for table, key in changed if table not in FIXED],
            "needs_restart": [f"[{table}] {key}" for table, key in changed if table in FIXED],
        }
        _log.info(
            "the configuration was reloaded; changed: {changed}; waiting for a restart: {waiting}",
            changed=", ".join(told["changed"]) or "nothing",
            waiting=", ".join(told["needs_restart"]) or "nothing",
        )
        return told

    def _differences(self, config: Config) -> list[tuple[str, str]]:
        return [
            (table, key)
            for table, kind in TABLES.items()
            for key in kind.__struct_fields__
            if getattr(getattr(config, table), key) != getattr(getattr(self._config, table), key)
        ]

    def _apply(self, config: Config, changed: list[tuple[str, str]]) -> None:
        tables = {table for table, _ in changed}
        # What may fail comes first, and nothing has changed until all of it is there.
        policy = build_policy(config.policy)
        use_sinks = None
        if tables & {"events", "records"}:
            use_sinks = self._sinks.prepare(config.events, config.records)
        # The files may have changed although the table did not.
        prepared = self._tls.prepare(config.tls) if self._tls is not None else None
        use_access = self._access.prepare(config.security, config.auth)
        self._operator.configure(
            config.gateway,
            config.delivery,
            config.notice,
            policy,
            event_text=config.events.text,
        )
        use_access()
        self._limits.configure(config.limits)
        if use_sinks is not None:
            use_sinks()
        if self._tls is not None and prepared is not None:
            self._tls.use(config.tls, prepared)
        if "log" in tables:
            self._threshold.level = config.log.level
        fixed = {table: getattr(self._config, table) for table in FIXED if table in TABLES}
        self._config = Config(
            **{table: fixed.get(table, getattr(config, table)) for table in TABLES}
        )

    def log_level(self, level: str | None) -> str:
        """The level of the log, set anew if one is given.  Raises ValueError."""
        if level is not None:
            self._threshold.level = level
        return self._threshold.level
