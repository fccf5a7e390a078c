"""The configuration: every error at once, each naming file, table and key."""

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.config import TABLES, Config, Overrides, load
from msrpgw.errors import ConfigError
from tests.tls.authority import issue


class ConfigCase(SynchronousTestCase):
    """Loads configurations from text."""

    def load(self, text: str, overrides: Overrides | None = None) -> Config:
        self.path = self.mktemp()
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        return load(self.path, overrides)

    def problems(self, text: str, overrides: Overrides | None = None) -> list[str]:
        """What is wrong with it, without the file's name."""
        with self.assertRaises(ConfigError) as caught:
            self.load(text, overrides)
        return [problem.removeprefix(f"{self.path}: ") for problem in caught.exception.problems]

    def assertProblem(self, text: str, expected: str) -> None:
        """There is one problem, and it reads like this."""
        found = self.problems(text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])


class LoadTests(ConfigCase):
    """Where values come from."""

    def test_defaults(self) -> None:
        self.assertEqual(load(), Config())

    def test_empty_file(self) -> None:
        self.assertEqual(self.load(""), Config())

    def test_values_of_each_table(self) -> None:
        config = self.load(
            '[sip]\nlisten = ["udp:127.0.0.1:5070"]\nt1 = 1\n'
            '[msrp]\nmy_uri = "msrp://gw.example.com:2855"\n'
            "[gateway]\nmessage_timeout = 1800\nhold_message = 0\n"
            '[policy]\ncontent_types = ["text/plain", "text/*"]\n'
            "[notice]\nenabled = false\n"
            '[security]\ntrusted_sources = ["192.0.2.0/24"]\n'
            '[state]\ndirectory = "/var/lib/msrpgw"\n'
            '[log]\nlevel = "debug"\n'
        )
        self.assertEqual(config.sip.listen, ("udp:127.0.0.1:5070",))
        self.assertEqual(config.sip.t1, 1.0)
        self.assertEqual(config.msrp.my_uri, "msrp://gw.example.com:2855")
        self.assertEqual(config.gateway.message_timeout, 1800.0)
        self.assertEqual(config.gateway.hold_message, 0.0)
        self.assertEqual(config.policy.content_types, ("text/plain", "text/*"))
        self.assertFalse(config.notice.enabled)
        self.assertEqual(config.security.trusted_sources, ("192.0.2.0/24",))
        self.assertEqual(config.state.directory, "/var/lib/msrpgw")
        self.assertEqual(config.log.level, "debug")

    def test_command_line_wins(self) -> None:
        config = self.load(
            '[sip]\nlisten = ["udp:127.0.0.1:5070"]\n[log]\nlevel = "warn"\n',
            Overrides(
                sip=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"),
                msrp="[::1]:0",
                state_dir="state",
                log_level="debug",
            ),
        )
        self.assertEqual(config.sip.listen, ("udp:127.0.0.1:0", "tcp:127.0.0.1:0"))
        self.assertEqual(config.msrp.listen, "[::1]:0")
        self.assertEqual(config.state.directory, "state")
        self.assertEqual(config.log.level, "debug")

    def test_plugin_options_pass_as_they_are(self) -> None:
        config = self.load(
            '[policy]\nplugin = "x"\n[policy.options]\ndeep = {a = [1, 2]}\n'
            '[events]\nplugins = ["y"]\n[events.options.y]\nurl = "z"\n'
        )
        self.assertEqual(config.policy.options, {"deep": {"a": [1, 2]}})
        self.assertEqual(config.events.options, {"y": {"url": "z"}})


class UnreadableTests(ConfigCase):
    """Files of which nothing can be used."""

    def test_missing_file(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            load("nowhere/msrpgw.toml")
        self.assertEqual(
            caught.exception.problems, ["nowhere/msrpgw.toml: No such file or directory"]
        )

    def test_directory(self) -> None:
        with self.assertRaisesRegex(ConfigError, "^.: Is a directory$"):
            load(".")

    def test_no_toml(self) -> None:
        self.assertProblem("[sip\n", "not TOML: ")
        self.assertProblem("[sip]\nt1 = 1\nt1 = 2\n", "line 3")

    def test_no_utf8(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"[sip]\n# \xff")
        with self.assertRaisesRegex(ConfigError, "not UTF-8 at byte 8"):
            load(path)


class OneProblemTests(ConfigCase):
    """What is said of each kind of mistake."""

    def test_unknown_key(self) -> None:
        self.assertProblem(
            "[sip]\nlisten_to = []\n", '[sip] listen_to: unknown key; did you mean "listen"?'
        )
        self.assertProblem("[sip]\nxyzzy = 1\n", "[sip] xyzzy: unknown key")

    def test_key_of_another_table(self) -> None:
        self.assertProblem(
            '[gateway]\nmy_uri = "msrp://a"\n',
            "[gateway] my_uri: unknown key; it belongs in [msrp]",
        )
        self.assertProblem(
            "message_timeout = 1800\n",
            "message_timeout: stands before the first table; it belongs in [gateway]",
        )

    def test_unknown_table(self) -> None:
        self.assertProblem("[gatway]\n", '[gatway]: unknown table; did you mean "gateway"?')
        self.assertProblem("[xyzzy]\n", "[xyzzy]: unknown table")

    def test_no_table(self) -> None:
        self.assertProblem("sip = 5\n", "[sip]: must be a table, [sip]")

    def test_wrong_types(self) -> None:
        for text, expected in (
            ('[sip]\nt1 = "1"\n', "[sip] t1: must be a number, is a string"),
            ("[sip]\nt1 = true\n", "[sip] t1: must be a number, is true or false"),
            ("[sip]\nudp_limit = 1.5\n", "[sip] udp_limit: must be a whole number, is a number"),
            ("[sip]\nfollow_redirects = 1\n", "must be true or false, is a whole number"),
            ('[sip]\nlisten = "udp:127.0.0.1:5060"\n', "listen: must be a list, is a string"),
            ("[sip]\nlisten = [1]\n", "listen: item 1 must be a string, is a whole number"),
            ("[msrp]\nmy_uri = 1\n", "[msrp] my_uri: must be a string, is a whole number"),
            ("[policy]\noptions = 1\n", "[policy] options: must be a table, is a whole number"),
            ("[sip]\nt1 = 2024-01-01\n", "[sip] t1: must be a number"),
        ):
            self.assertProblem(text, expected)

    def test_out_of_range(self) -> None:
        for text, expected in (
            ("[gateway]\nhold_message = 3.5\n", "hold_message: must be a number <= 3.0"),
            ("[gateway]\nhold_send = 21\n", "hold_send: must be a number <= 20.0"),
            ("[gateway]\nmessage_timeout = -1\n", "message_timeout: must be a number >= 0.0"),
            ("[gateway]\nqueue_limit = 0\n", "queue_limit: must be a whole number >= 1"),
            ("[gateway]\nsession_timeout = inf\n", "session_timeout: must be a finite number"),
            ("[gateway]\nsession_timeout = nan\n", "session_timeout: must be a finite number"),
            ("[sip]\nt1 = 0\n", "[sip] t1: must be more than 0"),
            ("[msrp]\ntransaction_timeout = 0\n", "transaction_timeout: must be more than 0"),
        ):
            self.assertProblem(text, expected)

    def test_unknown_level(self) -> None:
        self.assertProblem(
            '[log]\nlevel = "loud"\n',
            '[log] level: must be one of "debug", "info", "warn", "error", "critical"',
        )

    def test_bad_listeners(self) -> None:
        for listener, expected in (
            ("127.0.0.1:5060", "must read udp:ADDRESS:PORT, or the same with tcp or tls"),
            ("ws:127.0.0.1:5061", "ws is not supported yet"),
            ("tls:127.0.0.1:5061", "[sip] listen: has tls, which needs a [tls] certificate"),
            ("udp:localhost:5060", "must read ADDRESS:PORT, with an IP address"),
            ("udp:127.0.0.1", "must read ADDRESS:PORT"),
            ("udp:127.0.0.1:", "'' is no port number"),
            ("udp:127.0.0.1:65536", "'65536' is no port number"),
            ("udp:127.0.0.1:-1", "'-1' is no port number"),
            ("udp:127.0.0.1:\u0665", "is no port number"),
            ("udp:::1:5060", "brackets belong around an IPv6 address"),
            ("udp:[127.0.0.1]:5060", "brackets belong around an IPv6 address"),
        ):
            self.assertProblem(f'[sip]\nlisten = ["{listener}"]\n', expected)
        self.assertProblem("[sip]\nlisten = []\n", "must name at least one address")
        self.assertProblem('[msrp]\nlisten = "2855"\n', "[msrp] listen: '2855' must read")

    def test_bad_uris(self) -> None:
        for text, expected in (
            ('[sip]\noutbound_proxy = "tel:+1"\n', "outbound_proxy: 'tel:+1' must be a sip: URI"),
            ('[sip]\noutbound_proxy = "sips:a.b;transport=udp"\n', "sips never goes over udp"),
            ('[sip]\noutbound_proxy = "sip:a.b;transport=ws"\n', "transport ws is not"),
            ('[sip]\noutbound_proxy = "sip:"\n', "[sip] outbound_proxy: "),
            ('[sip]\nadvertised_contact = "gw:x"\n', "[sip] advertised_contact: "),
            ('[sip]\nadvertised_contact = ["gw", "::"]\n', "[sip] advertised_contact: "),
            ('[sip]\noutbound_proxy = ["sip:a.b", "a.b"]\n', "[sip] outbound_proxy: 'a.b'"),
            ('[sip.routes]\n"a.b" = "tel:+1"\n', "[sip] routes.a.b: 'tel:+1' must be a sip: URI"),
            ('[sip.routes]\n"a.b" = ["sip:c", "x"]\n', "[sip] routes.a.b: 'x'"),
            ('[sip.routes]\n"*" = "sip:c"\n', "[sip] routes: '*' must read DOMAIN or *.DOMAIN"),
            ('[sip.routes]\n"a:5060" = "sip:c"\n', "[sip] routes: 'a:5060' must read DOMAIN"),
            ("[sip]\nroutes = 5\n", "[sip] routes: must be a table, is a whole number"),
            ('[dns]\nservers = ["ns.example"]\n', "[dns] servers: 'ns.example' must read"),
            ("[dns]\ntimeout = 0\n", "[dns] timeout: must be more than 0"),
            ("[dns]\nmax_look_ups = 0\n", "[dns] max_look_ups: "),
            ('[sip]\nadvertised_contact = "a@b"\n', "must read HOST or HOST:PORT"),
            ('[sip]\nadvertised_contact = "0.0.0.0"\n', "is a wildcard address"),
            ('[sip]\nuser_agent = "a\\nb"\n', "user_agent: must be one line"),
            ('[msrp]\nmy_uri = "gw.example.com"\n', "[msrp] my_uri: "),
            ('[msrp]\nmy_uri = "msrps://a.b"\n', "must read msrp://HOST"),
            ('[msrp]\nlisten_tls = "2856"\n', "[msrp] listen_tls: '2856' must read"),
            ('[msrp]\nlisten_tls = "127.0.0.1:2856"\n', "listen_tls: needs a [tls] certificate"),
            ('[msrp]\nmy_uri_tls = "msrps://a.b"\n', "has no effect without listen_tls"),
            ("[msrp]\nrequire_tls = true\n", "require_tls: has no effect without listen_tls"),
            ('[msrp]\nmy_uri = "msrp://0.0.0.0:2855"\n', "is a wildcard address"),
            ('[msrp]\nmy_uri = "msrp://a.b:1/id;tcp"\n', "must read msrp://HOST"),
            ('[policy]\ncontent_types = ["text"]\n', "content_types: 'text' is no content type"),
            ('[notice]\ncontent_type = "text/*"\n', "'text/*' must be one content type"),
        ):
            self.assertProblem(text, expected)

    def test_good_uris(self) -> None:
        config = self.load(
            '[sip]\noutbound_proxy = "sip:[2001:db8::1]:5070;lr;transport=TCP"\n'
            'advertised_contact = "[2001:db8::2]:5060"\n'
            '[msrp]\nmy_uri = "msrp://[2001:db8::2]:2855"\n'
            '[policy]\ncontent_types = ["*"]\n'
        )
        self.assertEqual(config.sip.advertised_contact, "[2001:db8::2]:5060")

    def test_bad_relays(self) -> None:
        for lines, problem in (
            ('relay_uri = "relay.example.com"', "Not an MSRP URI"),
            ('relay_uri = "msrps://gw@relay.example.com/session"', "must read msrps://HOST"),
            ('relay_uri = "msrps://relay.example.com"', "needs relay_username"),
            ('relay_uri = "msrps://gw@relay.example.com"', "needs relay_password_file"),
            (
                'relay_uri = "msrps://relay.example.com"\nrelay_username = "gw"\n'
                'relay_password_file = "/nowhere"',
                "/nowhere: No such file",
            ),
        ):
            self.assertProblem(f"[msrp]\n{lines}\n", problem)
        self.assertProblem(
            '[msrp]\nrelay_password_file = "/x"\n', "[msrp] relay_password_file: needs relay_uri"
        )

    def test_bad_sources(self) -> None:
        self.assertProblem(
            '[security]\ntrusted_sources = ["proxy"]\n',
            "[security] trusted_sources: 'proxy' is no IP address and no network",
        )
        self.assertProblem(
            '[security]\ntrusted_sources = ["::1", "::1"]\n', "'::1' stands there twice"
        )


class CombinationTests(ConfigCase):
    """Values that are good each for itself."""

    def test_listener_off_loopback(self) -> None:
        text = '[sip]\nlisten = ["udp:192.0.2.1:5060", "tcp:127.0.0.1:5060"]\n'
        self.assertProblem(text, "[sip] listen: 192.0.2.1 is not loopback: name who may send in")
        self.assertProblem(
            '[msrp]\nlisten = "192.0.2.1:2855"\n', "[msrp] listen: 192.0.2.1 is not loopback"
        )
        self.load(text + '[security]\ntrusted_sources = ["192.0.2.0/24"]\n')
        self.load(text + "[security]\nopen = true\n")

    def test_wildcard_is_no_path(self) -> None:
        self.assertProblem(
            '[msrp]\nlisten = "[::]:2855"\n[security]\nopen = true\n',
            "[msrp] my_uri: must be set when [msrp] listen is a wildcard address",
        )
        self.load(
            '[sip]\nlisten = ["udp:0.0.0.0:5060"]\n'
            '[msrp]\nlisten = "[::]:2855"\nmy_uri = "msrp://gw.example.com"\n'
            "[security]\nopen = true\n"
        )

    def test_address_taken_twice(self) -> None:
        self.assertProblem(
            '[sip]\nlisten = ["udp:127.0.0.1:5060", "udp:127.0.0.1:5060"]\n',
            "'udp:127.0.0.1:5060' takes an address that is taken already",
        )
        self.assertProblem(
            '[sip]\nlisten = ["tcp:127.0.0.1:2855"]\n',
            "[msrp] listen: takes an address of [sip] listen",
        )
        self.load('[sip]\nlisten = ["udp:127.0.0.1:2855", "udp:[::1]:2855", "tcp:127.0.0.2:2855"]')
        self.load('[sip]\nlisten = ["udp:127.0.0.1:0", "udp:127.0.0.1:0"]')

    def test_proxy_without_a_listener_for_it(self) -> None:
        self.assertProblem(
            '[sip]\nlisten = ["tcp:127.0.0.1:5060"]\noutbound_proxy = "sip:192.0.2.1;lr"\n',
            "is reached over udp: [sip] listen has no udp",
        )

    def test_tls_proxy_without_a_listener_for_it(self) -> None:
        for proxy in ("sips:a.b;lr", "sips:a.b;transport=tcp", "sip:a.b;lr;transport=tls"):
            self.assertProblem(
                f'[sip]\noutbound_proxy = "{proxy}"\n',
                "is reached over tls: [sip] listen has no tls",
            )

    def test_msrps_listener(self) -> None:
        own = issue("gw.example.com").write(self.mktemp())
        head = f'[tls]\ncertificate = ["{own}"]\n[msrp]\n'
        for text, expected in (
            ('listen_tls = "127.0.0.1:2855"\n', "listen_tls: takes the address of listen"),
            ('listen_tls = "127.0.0.1:5060"\n', "listen_tls: takes an address of [sip] listen"),
            ('listen_tls = "192.0.2.1:2856"\n', "listen_tls: 192.0.2.1 is not loopback"),
            (
                'listen_tls = "127.0.0.1:2856"\nmy_uri_tls = "msrp://a.b"\n',
                "my_uri_tls: 'msrp://a.b' must read msrps://HOST",
            ),
        ):
            self.assertProblem(head + text, expected)
        self.assertProblem(
            f'{head}listen_tls = "0.0.0.0:2856"\n[security]\nopen = true\n',
            "my_uri_tls: must be set when [msrp] listen_tls is a wildcard address",
        )
        self.load(
            f'{head}listen_tls = "127.0.0.1:2856"\nmy_uri_tls = "msrps://gw.example.com"\n'
            'require_tls = true\n[sip]\nlisten = ["tls:127.0.0.1:5061"]\n'
        )

    def test_tls_and_tcp_share_no_port(self) -> None:
        self.assertIn(
            "[sip] listen: 'tls:127.0.0.1:5060' takes an address that is taken already",
            self.problems('[sip]\nlisten = ["tcp:127.0.0.1:5060", "tls:127.0.0.1:5060"]\n'),
        )

    def test_limits_without_room(self) -> None:
        for text, expected in (
            ("[sip]\nt2 = 0.1\n", "[sip] t2: must not be less than t1"),
            ("[msrp]\nassembly_budget = 1000\n", "[msrp] assembly_budget: has no room for one"),
            (
                "[gateway]\nqueue_bytes = 300000\n",
                "[gateway] queue_bytes: has no room for one message of [msrp] max_size",
            ),
            (
                "[gateway]\nqueue_limit = 10\ntotal_queue_limit = 5\n",
                "[gateway] total_queue_limit: is less than queue_limit (10)",
            ),
            (
                "[journal]\nmax_bytes = 300000\n",
                "[journal] max_bytes: has no room for one message of [msrp] max_size",
            ),
            (
                "[delivery]\nretry_interval = 400\n",
                "[delivery] retry_max: is less than retry_interval (400)",
            ),
            ("[gateway]\nbackoff = 60\n", "[gateway] backoff_max: is less than backoff (60)"),
        ):
            self.assertProblem(text, expected)

    def test_message_timeout_may_exceed_session_timeout(self) -> None:
        # Traffic of the MSRP side alone keeps a session beyond session_timeout.
        self.load("[gateway]\nmessage_timeout = 7200\nsession_timeout = 60\n")

    def test_policy_plugin_and_templates(self) -> None:
        self.assertProblem(
            '[policy]\nplugin = "x"\nmessage_key = "{to_uri}"\n',
            "[policy] message_key: has no effect beside plugin",
        )
        self.assertProblem(
            "[policy.options]\na = 1\n", "[policy] options: has no effect without plugin"
        )
        self.assertProblem("[policy]\ncontent_types = []\n", "must name at least one content type")

    def test_bad_template(self) -> None:
        self.assertProblem('[policy]\nmessage_key = "{nobody}"\n', "[policy] message_key: ")
        self.assertProblem('[notice]\nsetup_failed = "{nobody}"\n', "[notice] setup_failed: ")
        self.assertEqual(
            len(
                self.problems(
                    '[policy]\ninvite_ruri = "{"\ninvite_key = "}"\n[notice]\nruri = "{a}"'
                )
            ),
            3,
        )

    def test_event_plugins(self) -> None:
        self.assertProblem(
            '[events]\nplugins = ["x", "x"]\n', "[events] plugins: 'x' stands there twice"
        )
        self.assertProblem(
            "[events.options.x]\na = 1\n", "[events] options.x: has no effect: plugins does not"
        )


class AllProblemsTests(ConfigCase):
    """Everything is told at once, and nothing that only follows from something else."""

    def test_all_at_once(self) -> None:
        found = self.problems(
            '[sip]\nlisten = ["udp:127.0.0.1:99999"]\nt1 = "x"\nlisten_to = 1\n'
            "[msrp]\nmax_size = -1\n"
            '[gatway]\n[security]\ntrusted_sources = ["a"]\n'
        )
        self.assertEqual(
            [problem.partition(":")[0] for problem in found],
            [
                "[gatway]",
                "[sip] t1",
                "[sip] listen_to",
                "[msrp] max_size",
                "[sip] listen",
                "[security] trusted_sources",
            ],
        )

    def test_each_names_the_file(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            self.load("[sip]\na = 1\nb = 2\n")
        self.assertEqual(
            caught.exception.problems,
            [f"{self.path}: [sip] {key}: unknown key" for key in "ab"],
        )

    def test_the_command_line_is_named(self) -> None:
        first = self.problems("", Overrides(sip=("5060",), log_level="loud"))[0]
        self.assertTrue(first.startswith("command line, --log-level: [log] level: must be"), first)
        with self.assertRaisesRegex(ConfigError, r"^command line, --msrp: \[msrp\] listen: "):
            load(None, Overrides(msrp="2855"))

    def test_defaults_are_named(self) -> None:
        with self.assertRaisesRegex(ConfigError, r"^command line, --sip: \[sip\] listen: "):
            load(None, Overrides(sip=("udp:192.0.2.1:5060",)))

    def test_no_consequences(self) -> None:
        # Were the bad value replaced by its default, the listener would seem unprotected.
        self.assertProblem(
            '[sip]\nlisten = ["udp:192.0.2.1:5060"]\n'
            '[security]\ntrusted_sources = "192.0.2.0/24"\n',
            "[security] trusted_sources: must be a list, is a string",
        )


class TableTests(SynchronousTestCase):
    """Every table can be made from nothing but defaults, and refuses what it does not know."""

    def test_tables(self) -> None:
        for kind in TABLES.values():
            kind()
            with self.assertRaises(msgspec.ValidationError):
                msgspec.convert({"xyzzy": 1}, kind)
