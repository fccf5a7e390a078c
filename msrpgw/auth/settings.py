"""What can be set about authentication: the table ``[auth]`` of the configuration file."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from msrpgw.auth.client import Secret
from msrpgw.auth.digest import ALGORITHMS
from msrpgw.auth.users import read_users
from msrpgw.errors import ConfigError


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who we are to others."""

    realm: str  #: that asks for it, as its challenges say it
    username: str
    #: file whose first line is the password
    password_file: str


class AuthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of digest authentication (RFC 7616, RFC 8760), in both roles."""

    #: realm in which users without a trusted source prove who they are; without one they get 403
    realm: str | None = None
    #: file with our users, a line each
    users_file: str | None = None
    #: name of a plugin that knows our users, in place of the file
    plugin: str | None = None
    #: what that plugin is made with
    options: dict[str, Any] = {}
    #: hosts that a user's From may have beside the realm
    domains: tuple[str, ...] = ()
    #: what we ask for, the first preferred: SHA-512-256, SHA-256, MD5
    algorithms: tuple[str, ...] = ("SHA-512-256", "SHA-256")
    #: seconds that a nonce is good for
    nonce_lifetime: Annotated[float, Meta(gt=0)] = 300.0
    #: what we prove to others who ask: realm, username and password_file of each
    credentials: tuple[Credential, ...] = ()


def find_auth_problems(settings: AuthSettings) -> Iterator[tuple[str, str]]:
    """Everything that is wrong: key and text."""
    if settings.realm is None:
        for key in ("users_file", "plugin"):
            if getattr(settings, key) is not None:
                yield key, "needs realm, which its users belong to"
    else:
        if not settings.realm.strip() or '"' in settings.realm or not settings.realm.isprintable():
            yield "realm", "must be a name, such as the domain of the users"
        if (settings.users_file is None) == (settings.plugin is None):
            yield "realm", "needs users_file or plugin, to know its users by"
    if settings.users_file is not None:
        try:
            read_users(settings.users_file)
        except ValueError as error:
            yield "users_file", str(error)
    unknown = [each for each in settings.algorithms if each not in ALGORITHMS]
    if unknown:
        yield "algorithms", f"unknown {unknown[0]!r}; there are: {', '.join(ALGORITHMS)}"
    if not settings.algorithms or len(set(settings.algorithms)) < len(settings.algorithms):
        yield "algorithms", "must name at least one, and none twice"
    realms = [each.realm for each in settings.credentials]
    if len(set(realms)) < len(realms):
        yield "credentials", "must name a realm only once"
    for credential in settings.credentials:
        try:
            read_password(credential.password_file)
        except ValueError as error:
            yield "credentials", str(error)


def read_secrets(settings: AuthSettings) -> dict[str, Secret]:
    """What we prove to others, by realm.  Raises ConfigError when a file can't be read."""
    try:
        return {
            each.realm: Secret(each.username, read_password(each.password_file))
            for each in settings.credentials
        }
    except ValueError as error:
        raise ConfigError([f"[auth] credentials: {error}"]) from None


def read_password(path: str) -> str:
    """The first line of a file.  Raises ValueError, which names the file, when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise ValueError(f"{path}: {reason}") from None
    if not password:
        raise ValueError(f"{path}: no password in the first line")
    return password
