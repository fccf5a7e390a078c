"""The configuration: composes the settings that each room defines.

A TOML file has one table for each room; what the command line says goes over it; without a
file the defaults hold.  Every problem is found in one go, each naming file, table and key.
Imports the rooms' settings and ``checks``, which knows what can't go together.
"""

import difflib
import math
import re
import tomllib
import typing
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from msrpgw import checks
from msrpgw.auth.settings import AuthSettings
from msrpgw.dns.settings import DnsSettings
from msrpgw.errors import ConfigError
from msrpgw.gateway.settings import (
    DeliverySettings,
    GatewaySettings,
    NoticeSettings,
    PolicySettings,
)
from msrpgw.journal.settings import JournalSettings
from msrpgw.limits import LimitSettings
from msrpgw.manage.settings import ManageSettings
from msrpgw.manage.sinks.settings import EventSettings, RecordSettings
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.sip.settings import SipSettings
from msrpgw.sources import SecuritySettings
from msrpgw.tls.settings import TlsSettings


class StateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where things are kept: the table ``[state]``."""

    #: directory for what outlives the process; must be writable
    directory: str = "."


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged: the table ``[log]``."""

    #: the least level that is written
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, one field for each table.  Made by ``load``, which checks it."""

    sip: SipSettings = SipSettings()
    msrp: MsrpSettings = MsrpSettings()
    gateway: GatewaySettings = GatewaySettings()
    delivery: DeliverySettings = DeliverySettings()
    journal: JournalSettings = JournalSettings()
    manage: ManageSettings = ManageSettings()
    policy: PolicySettings = PolicySettings()
    notice: NoticeSettings = NoticeSettings()
    events: EventSettings = EventSettings()
    records: RecordSettings = RecordSettings()
    tls: TlsSettings = TlsSettings()
    security: SecuritySettings = SecuritySettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    dns: DnsSettings = DnsSettings()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line puts over the file.  None or empty: not given."""

    sip: tuple[str, ...] = ()  #: in place of ``[sip] listen``
    msrp: str | None = None  #: in place of ``[msrp] listen``
    manage: str | None = None  #: in place of ``[manage] http``
    state_dir: str | None = None  #: in place of ``[state] directory``
    log_level: str | None = None  #: in place of ``[log] level``

    def items(self) -> Iterator[tuple[str, str, str, object]]:
        """Option, table, key and value of what was given."""
        if self.sip:
            yield "--sip", "sip", "listen", list(self.sip)
        if self.msrp is not None:
            yield "--msrp", "msrp", "listen", self.msrp
        if self.manage is not None:
            yield "--mi", "manage", "http", [self.manage]
        if self.state_dir is not None:
            yield "--state-dir", "state", "directory", self.state_dir
        if self.log_level is not None:
            yield "--log-level", "log", "level", self.log_level


#: table name -> class of its settings
TABLES: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Config)
}


def load(path: str | None = None, overrides: Overrides | None = None) -> Config:
    """Read and check the configuration; ``path`` None means defaults.

    Raises ConfigError with everything that is wrong.
    """
    loading = _Loading(path)
    raw = loading.read_file()
    for option, table, key, value in (overrides or Overrides()).items():
        loading.override(raw, option, table, key, value)
    config = loading.compose(raw)
    if loading.problems:
        raise ConfigError(loading.problems)
    return config


class _Loading:
    """One run of ``load``: gathers problems and remembers where each value came from."""

    def __init__(self, path: str | None) -> None:
        self.problems: list[str] = []
        self._path = path
        self._options: dict[tuple[str, str], str] = {}  # (table, key) -> overriding option
        self._bad: set[tuple[str, str]] = set()  # what was complained about already

    def read_file(self) -> dict[str, Any]:
        """The raw tables.  A file that can't be read at all is the only problem reported."""
        if self._path is None:
            return {}
        try:
            with open(self._path, "rb") as file:
                return tomllib.load(file)
        except OSError as error:
            problem = error.strerror or str(error)
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 at byte {error.start}"
        except tomllib.TOMLDecodeError as error:
            problem = f"not TOML: {error}"
        raise ConfigError([f"{self._path}: {problem}"])

    def override(
        self, raw: dict[str, Any], option: str, table: str, key: str, value: object
    ) -> None:
        """Put what the command line says over what the file says."""
        section = raw.setdefault(table, {})
        if isinstance(section, dict):  # else compose complains of the table itself
            section[key] = value
            self._options[table, key] = option

    def compose(self, raw: dict[str, Any]) -> Config:
        """Turn raw tables into settings, noting every problem on the way."""
        for name, section in raw.items():
            if name not in TABLES:
                self._unknown_table(name, section)
        settings = {name: self._settings(name, raw.get(name, {})) for name in TABLES}
        config = Config(**settings)
        given = {name: list(keys) for name, keys in raw.items() if isinstance(keys, dict)}
        for problem in checks.find_problems(
            config.sip,
            config.msrp,
            config.gateway,
            config.delivery,
            config.journal,
            config.manage,
            config.policy,
            config.notice,
            config.events,
            config.records,
            config.tls,
            config.security,
            config.auth,
            config.dns,
            given,
        ):
            if self._bad.isdisjoint({(problem.table, problem.key), *problem.depends_on}):
                self._note(problem.table, problem.key, problem.text)
        return config

    def _settings(self, table: str, section: object) -> Any:
        kind = TABLES[table]
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        if not isinstance(section, dict):
            self.problems.append(f"{self._where(table, '')}: must be a table, [{table}]")
            return kind()
        values: dict[str, Any] = {}
        for key, raw in section.items():
            if key not in fields:
                self._add(table, key, f"unknown key{_hint(key, fields, table)}")
                continue
            try:
                values[key] = _convert(raw, fields[key].type)
            except ValueError as error:
                self._add(table, key, str(error))
        return kind(**values)

    def _unknown_table(self, name: str, section: object) -> None:
        if isinstance(section, dict):
            self.problems.append(
                f"{self._where(name, '')}: unknown table{_did_you_mean(name, TABLES)}"
            )
            return
        self.problems.append(
            f"{self._where('', name)}: stands before the first table{_hint(name, (), '')}"
        )

    def _add(self, table: str, key: str, text: str) -> None:
        self._note(table, key, text)
        self._bad.add((table, key))

    def _note(self, table: str, key: str, text: str) -> None:
        self.problems.append(f"{self._where(table, key)}: {text}")

    def _where(self, table: str, key: str) -> str:
        option = self._options.get((table, key))
        place = f"command line, {option}" if option else self._path or "defaults"
        return f"{place}: " + " ".join(filter(None, (f"[{table}]" if table else "", key)))


def _convert(raw: object, kind: Any) -> Any:
    """One value as its setting wants it.  Raises ValueError in the words of a TOML file."""
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError("must be a finite number")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), kind)) from error


_TYPES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def _in_words(text: str, kind: Any) -> str:
    """What msgspec says, in the words of a TOML file."""
    text, _, place = text.partition(" - at ")
    if text.startswith("Invalid enum value"):
        choices = ", ".join(f'"{choice}"' for choice in typing.get_args(kind))
        return f"must be one of {choices}"
    text = text.replace(" | null", "").replace("Expected ", "must be ").replace(", got ", ", is ")
    text = re.sub(r"`(\w+)`", lambda match: _TYPES.get(match[1], match[1]), text)
    item = re.search(r"\[(\d+)\]", place)
    return f"item {int(item[1]) + 1} {text}" if item else text


def _hint(key: str, fields: typing.Collection[str], table: str) -> str:
    """Where an unknown key may belong."""
    guess = _did_you_mean(key, fields)
    if guess:
        return guess
    homes = [
        name for name, kind in TABLES.items() if name != table and key in kind.__struct_fields__
    ]
    return f"; it belongs in {' or '.join(f'[{home}]' for home in homes)}" if homes else ""


def _did_you_mean(name: str, known: typing.Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
