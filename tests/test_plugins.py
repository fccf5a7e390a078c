"""Plugins that the configuration names: found, missing, broken."""

import os
import sys

import twisted.plugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from msrpgw.auth.settings import AuthSettings
from msrpgw.errors import ConfigError
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.settings import PolicySettings
from msrpgw.interfaces import IPageSender
from msrpgw.manage.sinks.settings import EventSettings
from msrpgw.plugins import build_credentials, build_policy, build_sinks, find_sink_plugins

PLUGINS = """
from zope.interface import implementer
from twisted.plugin import IPlugin
from msrpgw.interfaces import (
    ICredentials, ICredentialsPlugin, IEventSink, IEventSinkPlugin, IPolicy, IPolicyPlugin)


@implementer(IPolicy)
class Policy:
    def __init__(self, options):
        self.options = options
    def route_message(self, facts):
        return None
    def route_invite(self, facts):
        return None


@implementer(IEventSink)
class Sink:
    def __init__(self, options, pages):
        self.options = options
        self.pages = pages
    def event_raised(self, event):
        pass


@implementer(ICredentials)
class Credentials:
    def __init__(self, options):
        self.options = options
    def lookup(self, username, realm):
        return None


@implementer(IPlugin, ICredentialsPlugin)
class CredentialsPlugin:
    def __init__(self, name, make):
        self.name = name
        self.make_credentials = make


@implementer(IPlugin, IPolicyPlugin)
class PolicyPlugin:
    def __init__(self, name, make):
        self.name = name
        self.make_policy = make


@implementer(IPlugin, IEventSinkPlugin)
class SinkPlugin:
    def __init__(self, name, make):
        self.name = name
        self.make_sink = make


def bad_option(*arguments):
    raise ValueError("color: no such color")


def bug(*arguments):
    raise KeyError("oops")


def nothing(*arguments):
    return object()


good = PolicyPlugin("good", Policy)
fussy = PolicyPlugin("fussy", bad_option)
buggy = PolicyPlugin("buggy", bug)
empty = PolicyPlugin("empty", nothing)
good_users = CredentialsPlugin("good", Credentials)
fussy_users = CredentialsPlugin("fussy", bad_option)
buggy_users = CredentialsPlugin("buggy", bug)
empty_users = CredentialsPlugin("empty", nothing)
good_sink = SinkPlugin("good", Sink)
fussy_sink = SinkPlugin("fussy", bad_option)
buggy_sink = SinkPlugin("buggy", bug)
empty_sink = SinkPlugin("empty", nothing)
"""


@implementer(IPageSender)
class Pages:
    """Sends nothing."""

    def send_page(
        self, from_uri: str, to_uri: str, ruri: str, content_type: str, body: bytes
    ) -> None:
        raise AssertionError("not asked for here")


class PluginCase(SynchronousTestCase):
    """A folder of plugins that is there for one test."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, self.folder])
        # Names of their own for each test: Python and Twisted remember modules.
        self.module = f"msrpgw_test_{os.path.basename(os.path.dirname(self.folder))}"
        self.addCleanup(self.forget)
        self.write(self.module, PLUGINS)

    def write(self, module: str, text: str) -> None:
        with open(os.path.join(self.folder, f"{module}.py"), "w", encoding="utf-8") as file:
            file.write(text)

    def forget(self) -> None:
        for name in [name for name in sys.modules if name.startswith("twisted.plugins.msrpgw_te")]:
            del sys.modules[name]

    def assertProblems(self, error: ConfigError, *expected: str) -> None:
        self.assertEqual(len(error.problems), len(expected), error.problems)
        for problem, part in zip(error.problems, expected, strict=True):
            self.assertIn(part, problem)


class PolicyTests(PluginCase):
    """``[policy] plugin``."""

    def build_failing(self, name: str, expected: str) -> str:
        with self.assertRaises(ConfigError) as caught:
            build_policy(PolicySettings(plugin=name))
        self.assertProblems(caught.exception, expected)
        return caught.exception.problems[0]

    def test_templates_without_a_plugin(self) -> None:
        self.assertIsInstance(build_policy(PolicySettings()), TemplatePolicy)

    def test_found(self) -> None:
        policy = build_policy(PolicySettings(plugin="good", options={"a": 1}))
        self.assertEqual(vars(policy)["options"], {"a": 1})

    def test_missing(self) -> None:
        problem = self.build_failing("goood", "[policy] plugin: no plugin 'goood'; found: ")
        self.assertIn("good", problem.partition("found: ")[2])

    def test_fails_to_import(self) -> None:
        self.write(f"{self.module}_torn", "import nonsense_that_is_nowhere\n")
        problem = self.build_failing("torn", "no plugin 'torn'")
        self.assertIn(
            f"twisted.plugins.{self.module}_torn fails: ModuleNotFoundError: "
            "No module named 'nonsense_that_is_nowhere'",
            problem,
        )
        self.flushLoggedErrors(ModuleNotFoundError)

    def test_bad_option(self) -> None:
        self.build_failing("fussy", "[policy] options: color: no such color")

    def test_broken(self) -> None:
        self.build_failing("buggy", "[policy] plugin: 'buggy' is broken: KeyError: 'oops'")
        self.build_failing("empty", "[policy] plugin: 'empty' makes no IPolicy: ")


class CredentialsTests(PluginCase):
    """``[auth] plugin``."""

    def test_none(self) -> None:
        self.assertIsNone(build_credentials(AuthSettings()))

    def test_found(self) -> None:
        users = build_credentials(AuthSettings(realm="r", plugin="good", options={"a": 1}))
        self.assertEqual(vars(users)["options"], {"a": 1})

    def test_failing(self) -> None:
        for name, expected in (
            ("goood", "[auth] plugin: no plugin 'goood'; found: "),
            ("fussy", "[auth] options: color: no such color"),
            ("buggy", "[auth] plugin: 'buggy' is broken: KeyError: 'oops'"),
            ("empty", "[auth] plugin: 'empty' makes no ICredentials: "),
        ):
            with self.assertRaises(ConfigError) as caught:
                build_credentials(AuthSettings(realm="r", plugin=name))
            self.assertProblems(caught.exception, expected)


class SinkTests(PluginCase):
    """``[events] plugins``."""

    def test_none(self) -> None:
        self.assertEqual(build_sinks(EventSettings(), Pages()), [])

    def test_found(self) -> None:
        pages = Pages()
        settings = EventSettings(plugins=("good",), options={"good": {"a": 1}})
        [sink] = build_sinks(settings, pages)
        self.assertEqual(vars(sink), {"options": {"a": 1}, "pages": pages})
        self.assertEqual(list(find_sink_plugins(settings)), ["good"])

    def test_every_missing_one_is_told(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            find_sink_plugins(EventSettings(plugins=("here", "there", "good")))
        self.assertProblems(
            caught.exception,
            "[events] plugins: no plugin 'here'",
            "[events] plugins: no plugin 'there'",
        )

    def test_every_broken_one_is_told(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            build_sinks(EventSettings(plugins=("fussy", "buggy", "good", "empty")), Pages())
        self.assertProblems(
            caught.exception,
            "[events] options.fussy: color: no such color",
            "[events] plugins: 'buggy' is broken: KeyError: 'oops'",
            "[events] plugins: 'empty' makes no IEventSink",
        )
