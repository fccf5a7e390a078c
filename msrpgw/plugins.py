"""Finds the plugins that the configuration names, and makes what they make.

``getPlugins`` passes over a module that fails to import; here that stops the start-up, with a
message that says what to mend.  Imports ``interfaces`` and the rooms' settings.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import TypeVar

import twisted.plugins
from twisted.plugin import getPlugins
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from msrpgw.auth.settings import AuthSettings
from msrpgw.auth.users import read_users
from msrpgw.errors import ConfigError
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.settings import PolicySettings
from msrpgw.interfaces import (
    ICredentials,
    ICredentialsPlugin,
    IEventSink,
    IEventSinkPlugin,
    IPageSender,
    IPolicy,
    IPolicyPlugin,
)
from msrpgw.manage.sinks.settings import EventSettings

_Plugin = TypeVar("_Plugin", bound=Interface)


def build_policy(settings: PolicySettings) -> IPolicy:
    """The policy that the configuration asks for.

    Raises ConfigError when its plugin is missing or broken, or a template can't be read.
    """
    if settings.plugin is None:
        return TemplatePolicy(settings)
    plugin = _find(IPolicyPlugin, settings.plugin, "[policy] plugin")
    return _make(IPolicy, "policy", settings.plugin, lambda: plugin.make_policy(settings.options))


def build_credentials(settings: AuthSettings) -> ICredentials | None:
    """Who knows our users; None if nobody is asked for credentials.

    Raises ConfigError when the plugin is missing or broken, or the file can't be read.
    """
    if settings.realm is None:
        return None
    if settings.plugin is None:
        try:
            return read_users(settings.users_file or "")
        except ValueError as error:
            raise ConfigError([f"[auth] users_file: {error}"]) from None
    plugin = _find(ICredentialsPlugin, settings.plugin, "[auth] plugin")
    return _make(
        ICredentials, "auth", settings.plugin, lambda: plugin.make_credentials(settings.options)
    )


def _make(interface: type[_Plugin], table: str, name: str, make: Callable[[], _Plugin]) -> _Plugin:
    """What a plugin makes of its options.  Raises ConfigError when it can't."""
    place = f"[{table}] plugin"
    try:
        made = make()
    except ValueError as error:
        raise ConfigError([f"[{table}] options: {error}"]) from error
    except Exception as error:
        raise _broken(place, name, error) from error
    _verify(interface, made, place, name)
    return made


def find_sink_plugins(settings: EventSettings) -> dict[str, IEventSinkPlugin]:
    """The event sink plugins that the configuration names, by name.

    Raises ConfigError with every one that is missing or broken.
    """
    plugins: dict[str, IEventSinkPlugin] = {}
    problems: list[str] = []
    for name in settings.plugins:
        try:
            plugins[name] = _find(IEventSinkPlugin, name, "[events] plugins")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return plugins


def build_sinks(settings: EventSettings, pages: IPageSender) -> list[IEventSink]:
    """The event sinks that the configuration asks for, in its order.

    Raises ConfigError with every one that can't be made.
    """
    sinks: list[IEventSink] = []
    problems: list[str] = []
    for name, plugin in find_sink_plugins(settings).items():
        try:
            sink = plugin.make_sink(settings.options.get(name, {}), pages)
            _verify(IEventSink, sink, "[events] plugins", name)
            sinks.append(sink)
        except ConfigError as error:
            problems += error.problems
        except ValueError as error:
            problems.append(f"[events] options.{name}: {error}")
        except Exception as error:
            problems += _broken("[events] plugins", name, error).problems
    if problems:
        raise ConfigError(problems)
    return sinks


def _find(interface: type[_Plugin], name: str, place: str) -> _Plugin:
    found = {str(getattr(plugin, "name", "")): plugin for plugin in getPlugins(interface)}
    if name in found:
        return found[name]
    known = ", ".join(sorted(found)) or "none"
    reasons = "".join(f"; {failure}" for failure in _import_failures())
    raise ConfigError([f"{place}: no plugin {name!r}; found: {known}{reasons}"])


def _import_failures() -> Iterator[str]:
    """Which modules of ``twisted.plugins`` can't be imported, and why."""
    for module in pkgutil.iter_modules(twisted.plugins.__path__):
        try:
            importlib.import_module(f"twisted.plugins.{module.name}")
        except Exception as error:
            yield f"twisted.plugins.{module.name} fails: {type(error).__name__}: {error}"


def _verify(interface: type[Interface], made: object, place: str, name: str) -> None:
    try:
        verifyObject(interface, made)
    except Invalid as error:
        raise ConfigError([f"{place}: {name!r} makes no {interface.__name__}: {error}"]) from error


def _broken(place: str, name: str, error: Exception) -> ConfigError:
    return ConfigError([f"{place}: {name!r} is broken: {type(error).__name__}: {error}"])
