"""The project as a whole: the wheel, the locks, the Makefile, the habits of the house."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase

import msrpgw

ROOT = Path(__file__).resolve().parent.parent
ENV = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
GENERATED = shutil.ignore_patterns("__pycache__", "dropin.cache")
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


def setup_cfg() -> configparser.ConfigParser:
    """The project's metadata."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def sources() -> Iterator[Path]:
    """Every Python file of ours."""
    for folder in ("msrpgw", "twisted", "tests", "examples", "benchmarks", "tools"):
        yield from (ROOT / folder).glob("**/*.py")


class WheelTests(SynchronousTestCase):
    """The wheel, in a fresh virtual environment."""

    def install(self) -> str:
        """Build the wheel and install it; the new environment's Python.

        Only the dependencies come from where the tests run, so that nothing is fetched.
        """
        folder = Path(self.mktemp()).resolve()
        # Built from a copy: setuptools would take a build/ of before for granted.
        source = folder / "source"
        source.mkdir(parents=True)
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        for name in ("msrpgw", "twisted"):
            shutil.copytree(ROOT / name, source / name, ignore=GENERATED)
        environment = folder / "environment"
        venv.create(environment, with_pip=False, symlinks=True)
        python = str(environment / "bin" / "python")
        site = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
        offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        self.call(*pip, "install", *offline, str(source))
        self.assertTrue((site / "twisted" / "plugins" / "msrpgw_plugin.py").exists())
        return python

    def call(self, *command: str) -> str:
        """Run a command elsewhere than in the source tree; what it printed."""
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, env=os.environ | ENV
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_plugin_is_found(self) -> None:
        python = self.install()
        where = self.call(python, "-c", "import msrpgw; print(msrpgw.__file__)")
        self.assertTrue(where.startswith(str(Path(python).parent.parent)), where)
        self.assertIn("msrpgw", self.call(python, "-c", TWISTD, "--help"))
        self.assertEqual(self.call(python, "-c", TWISTD, "msrpgw", "--check"), "defaults: OK\n")
        self.assertTrue((Path(python).parent / "msrpgw-ua").exists())


class LockTests(SynchronousTestCase):
    """What is installed is said to the byte."""

    def pins(self, name: str) -> dict[str, str]:
        text = (ROOT / name).read_text("utf-8")
        blocks = re.split(r"\n(?=[A-Za-z])", text)[1:]
        for block in blocks:
            self.assertIn("--hash=sha256:", block)
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))

    def assertPinned(self, requirements: str, pins: dict[str, str]) -> None:
        for line in filter(None, requirements.splitlines()):
            requirement = Requirement(line)
            version = pins.get(canonicalize_name(requirement.name))
            self.assertIsNotNone(version, f"{line} is in no lock; see make lock")
            self.assertTrue(requirement.specifier.contains(str(version)), line)

    def test_runtime(self) -> None:
        config = setup_cfg()
        pins = self.pins("requirements.lock")
        self.assertPinned(config["options"]["install_requires"], pins)
        self.assertIn("setuptools", pins, "wanted for the editable install")

    def test_development(self) -> None:
        config = setup_cfg()
        pins = self.pins("requirements-dev.lock")
        self.assertPinned(config["options.extras_require"]["dev"], pins)
        runtime = self.pins("requirements.lock")
        self.assertEqual({name: pins.get(name) for name in runtime}, runtime)

    def test_drawing(self) -> None:
        config = setup_cfg()
        pins = self.pins("requirements-bench.lock")
        self.assertPinned(config["options.extras_require"]["bench"], pins)
        runtime = self.pins("requirements.lock")
        self.assertEqual({name: pins.get(name) for name in runtime}, runtime)

    def test_nothing_of_one_machine(self) -> None:
        for name in ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock"):
            for line in (ROOT / name).read_text("utf-8").splitlines():
                self.assertNotRegex(line, r"https?:|\bfile:/|index-url|find-links|trusted-host")


class MetadataTests(SynchronousTestCase):
    """``setup.cfg`` and what stands beside it."""

    def test_version(self) -> None:
        self.assertRegex(msrpgw.__version__, r"^\d+\.\d+\.\d+$")

    def test_plugins_folder_is_no_package(self) -> None:
        for folder in ("twisted", "twisted/plugins"):
            self.assertFalse((ROOT / folder / "__init__.py").exists())

    def test_executables(self) -> None:
        for name in (".ci/run", "tools/install", "tools/apt-install", "tools/install-peers"):
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)

    def test_shell_scripts_parse(self) -> None:
        for name in (".ci/run", *(path for path in (ROOT / "tools").iterdir())):
            path = ROOT / name
            first = path.read_text("utf-8").partition("\n")[0] if path.is_file() else ""
            if first.startswith("#!"):
                shell = "bash" if "bash" in first else "sh"
                check = subprocess.run([shell, "-n", str(path)], capture_output=True, check=False)
                self.assertEqual(check.returncode, 0, check.stderr)

    def test_plain_closing_line(self) -> None:
        sys.path.insert(0, str(ROOT / "tools"))
        self.addCleanup(sys.path.remove, str(ROOT / "tools"))
        from run_tests import closing_line

        for summary, expected in (
            ("PASSED (successes=12)\n", (12, "12 passed, 0 failed, 0 skipped")),
            ("PASSED (skips=3, successes=12)\n", (12, "12 passed, 0 failed, 3 skipped")),
            (
                "FAILED (skips=1, failures=2, errors=3, expectedFailures=1, successes=4)\n",
                (10, "5 passed, 5 failed, 1 skipped"),
            ),
            ("", (0, "0 passed, 0 failed, 0 skipped")),
        ):
            self.assertEqual(closing_line(summary), expected)


class HabitTests(SynchronousTestCase):
    """What no linter says."""

    def test_nothing_left_open(self) -> None:
        words = ["TO" + "DO", "FIX" + "ME", "X" * 3]
        pattern = re.compile(r"\b(" + "|".join(words) + r")\b")
        for path in sources():
            found = pattern.search(path.read_text("utf-8"))
            self.assertIsNone(found, f"{path.relative_to(ROOT)}: {found}")

    def test_no_paths_of_one_machine(self) -> None:
        pattern = re.compile(r"(^|[\s\"'=(])/(work|root|home)/", re.MULTILINE)
        texts = [*ROOT.glob("*.*"), *(ROOT / "docs").glob("**/*"), *(ROOT / "etc").iterdir()]
        for path in (*sources(), *texts):
            if path.is_file() and path.suffix not in (".pyc", ".png") and path.name[0] != ".":
                found = pattern.search(path.read_text("utf-8", errors="replace"))
                self.assertIsNone(found, f"{path.relative_to(ROOT)}: {found}")

    def test_modules_say_what_they_are(self) -> None:
        for path in sources():
            text = path.read_text("utf-8")
            if text.strip():
                self.assertRegex(text, r'\A(#!.*\n)?r?"""', str(path.relative_to(ROOT)))

    def test_files_stay_small(self) -> None:
        for path in (
            *(ROOT / "msrpgw").glob("**/*.py"),
            *(ROOT / "benchmarks").glob("**/*.[pch]*"),
        ):
            if path.suffix not in (".py", ".c", ".h"):
                continue
            lines = len(path.read_text("utf-8").splitlines())
            self.assertLessEqual(lines, 500, str(path.relative_to(ROOT)))

    def test_the_reactor_is_imported_in_two_places(self) -> None:
        pattern = re.compile(r"from twisted\.internet import (.*\b)?reactor\b")
        found = {
            str(path.relative_to(ROOT / "msrpgw"))
            for path in (ROOT / "msrpgw").glob("**/*.py")
            if pattern.search(path.read_text("utf-8"))
        }
        self.assertIn("tap.py", found)
        self.assertEqual({name for name in found if not name.startswith("ua/")}, {"tap.py"})
