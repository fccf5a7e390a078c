"""The documents say what the code does: each configuration key, each link, each file."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.config import TABLES, Config, load

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "etc" / "msrpgw.toml"
OPERATIONS = ROOT / "docs" / "operations.md"

#: a setting that stands in the example behind a "#"
OFF = re.compile(r"^#([a-z_0-9]+ = .*)$", re.MULTILINE)

#: in the example on purpose not at its default
CHANGED: dict[tuple[str, str], Any] = {
    ("gateway", "message_timeout"): 1800.0,
    ("manage", "http"): ("127.0.0.1:8888",),
}


def documents() -> Iterator[Path]:
    """Every text for people."""
    yield from ROOT.glob("*.md")
    yield from (ROOT / "docs").glob("**/*.md")


def settings() -> Iterator[tuple[str, str, object]]:
    """Table, key and default of everything that can be configured; defaults as TOML has them."""
    for table, kind in TABLES.items():
        defaults = msgspec.json.decode(msgspec.json.encode(kind()))
        for key in kind.__struct_fields__:
            yield table, key, defaults[key]


def log_formats(path: Path) -> Iterator[str]:
    """What a module logs from info on, as ``{key}`` for each value."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("info", "warn", "error", "critical")
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id.strip("_") == "log"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield re.sub(r"!r\}", "}", str(node.args[0].value))


class ExampleTests(SynchronousTestCase):
    """``etc/msrpgw.toml``: every key, at its default."""

    def setUp(self) -> None:
        self.text = EXAMPLE.read_text(encoding="utf-8")

    def test_loads(self) -> None:
        config = load(str(EXAMPLE))
        default = Config()
        for table, key, _ in settings():
            expected = CHANGED.get((table, key), getattr(getattr(default, table), key))
            self.assertEqual(getattr(getattr(config, table), key), expected, (table, key))

    def test_every_key_with_its_default(self) -> None:
        everything = tomllib.loads(OFF.sub(r"\1", self.text))
        found = {
            (table, key): value for table, keys in everything.items() for key, value in keys.items()
        }
        for table, key, default in settings():
            self.assertIn((table, key), found)
            value = found.pop((table, key))
            if default is None:
                line = f"#{key} = {json.dumps(value)}  # no default"
                self.assertIn(line, self.text)
            else:
                wanted = CHANGED.get((table, key), default)
                self.assertEqual(value, list(wanted) if isinstance(wanted, tuple) else wanted)
        self.assertEqual(found, {}, "no such keys")

    def test_every_key_has_a_comment(self) -> None:
        # A comment stands above each key, or above the group of keys that it is in.
        for group in re.split(r"\n\s*\n", self.text):
            if re.search(r"^#?[a-z_0-9]+ = ", group, re.MULTILINE):
                self.assertRegex(group, r"(?m)^# ", group)


class OperationsTests(SynchronousTestCase):
    """``docs/operations.md``: the reference of every key."""

    def setUp(self) -> None:
        self.text = OPERATIONS.read_text(encoding="utf-8")

    def sections(self) -> dict[str, dict[str, str]]:
        """Table -> key -> default, from the document."""
        found: dict[str, dict[str, str]] = {}
        for part in re.split(r"^### ", self.text, flags=re.MULTILINE)[1:]:
            title = re.match(r"`\[(\w+)\]`", part)
            if title:
                rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", part, re.MULTILINE)
                found[title[1]] = dict(rows)
        return found

    def test_every_key_with_its_default(self) -> None:
        found = self.sections()
        for table, key, default in settings():
            self.assertIn(key, found.get(table, {}), table)
            written = found[table].pop(key)
            if default is None:
                self.assertEqual(written, "none", (table, key))
            else:
                value = tomllib.loads(f"value = {written.strip('`')}")["value"]
                self.assertEqual(value, default, (table, key))
        self.assertEqual([keys for keys in found.values() if keys], [], "no such keys")

    def test_every_log_line(self) -> None:
        # A traceback speaks for itself, and what the user agents print is not the gateway's log.
        for path in (ROOT / "msrpgw").glob("**/*.py"):
            if path.parent.name == "ua":
                continue
            for format in log_formats(path):
                self.assertIn(f"`{format}`", self.text, path.name)

    def test_every_option(self) -> None:
        from msrpgw.tap import Options

        for option in re.findall(r"--([a-z-]+)", str(Options())):
            self.assertIn(f"`--{option}", self.text)


class LinkTests(SynchronousTestCase):
    """What the documents name is there."""

    def test_links(self) -> None:
        for document in documents():
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text("utf-8")):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), (document.name, target))

    def test_files_of_the_rfc_map(self) -> None:
        text = (ROOT / "docs" / "rfc-map.md").read_text("utf-8")
        files = set(re.findall(r"`((?:sip|msrp|gateway|content)/\w+\.py)`", text))
        self.assertTrue(files)
        for file in sorted(files):
            self.assertTrue((ROOT / "msrpgw" / file).exists(), file)
        # The other way round: a codec or machine that implements an RFC is in the map.
        for room in ("sip", "msrp"):
            for path in (ROOT / "msrpgw" / room).glob("*.py"):
                if path.name not in ("__init__.py", "settings.py", "counters.py"):
                    self.assertIn(f"{room}/{path.name}", files)

    def test_make_targets(self) -> None:
        makefile = (ROOT / "Makefile").read_text("utf-8")
        targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
        for document in documents():
            for target in re.findall(
                r"(?:^ {4}|`)make ([a-z]+)", document.read_text("utf-8"), re.M
            ):
                self.assertIn(target, targets, document.name)


class DeploymentTests(SynchronousTestCase):
    """``docs/deployment.md``: configurations that can be used as they stand."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "deployment.md").read_text("utf-8")

    def block(self, language: str) -> str:
        [block] = re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        return str(block)

    def test_gateway(self) -> None:
        path = self.mktemp()
        Path(path).write_text(self.block("toml"), "utf-8")
        config = load(path)
        self.assertEqual(config.msrp.my_uri, "msrp://192.0.2.20:2855")

    def test_kamailio(self) -> None:
        kamailio = shutil.which("kamailio", path="/usr/sbin:/usr/bin:/sbin:/bin")
        if kamailio is None:
            self.skipTest("kamailio is not installed")
        path = self.mktemp()
        Path(path).write_text(self.block("kamailio"), "utf-8")
        check = subprocess.run([kamailio, "-c", "-f", path], capture_output=True, check=False)
        self.assertEqual(check.returncode, 0, check.stderr.decode(errors="replace"))
