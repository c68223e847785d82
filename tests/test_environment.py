"""pyproject.toml (ranges), constraints.txt (the lock), environment.yml (conda) and the Makefile
tell one story.
"""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {"scale.py": {"ray"}}  # what a file may import that only an extra brings
DEV = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]
PINS = dict(
    re.findall(
        r"^([\w.-]+)==(\S+)", (REPOSITORY / "constraints.txt").read_text(), flags=re.MULTILINE
    )
)
TARGETS = [
    "env",
    "demo",
    "rotations",
    "demo-full",
    "ladder",
    "paper",
    "test",
    "test-slow",
    "bench",
    "lab",
    "lint",
    "clean",
]
TRANSITIVE = {"jupyter_client": "of papermill and jupyterlab", "traitlets": "of jupyter_client"}


@pytest.mark.parametrize("wanted", [*DEPENDENCIES, *DEV], ids=str)
def test_every_dependency_is_pinned_within_its_range(wanted):
    assert wanted.specifier, f"{wanted.name} has no lowest version in pyproject.toml"
    pin = {canonicalize_name(name): version for name, version in PINS.items()}.get(
        canonicalize_name(wanted.name)
    )
    assert pin, f"{wanted.name} is not in constraints.txt: run scripts/lock.sh"
    assert pin in wanted.specifier, (
        f"constraints.txt pins {wanted.name}=={pin}, outside {wanted.specifier}"
    )


def test_the_lock_holds_pins_alone():
    lines = [
        line
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+( ;.*)?", line) for line in lines)
    assert (PINS["torch"], PINS["torchvision"], PINS["timm"]) == ("2.14.1", "0.29.1", "1.0.31")
    assert len(PINS) > 100, "complete: the dependencies of dependencies too"


def test_conda_installs_the_same_list():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[dev]"]}, "the list stands in pyproject.toml alone"
    (python,) = [entry.removeprefix("python=") for entry in conda if entry.startswith("python=")]
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert "pip" in conda


def test_every_import_is_a_dependency():
    provided = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(wanted.name) for wanted in DEPENDENCIES} | {"iqa-core"}
    for path in (REPOSITORY / "iqa_core").rglob("*.py"):
        for name in top_level_imports(path) - sys.stdlib_module_names - {"iqa_core"}:
            owners = {canonicalize_name(owner) for owner in provided.get(name, [name])}
            told = (
                f"{path.name} imports {name}, which none of pyproject.toml's dependencies provides"
            )
            is_extra = owners <= EXTRAS.get(path.name, set())
            assert owners & declared or name in TRANSITIVE or is_extra, told


def top_level_imports(path):
    """First names of all absolute imports of a file, also those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found


make = pytest.mark.skipif(not shutil.which("make"), reason="no make here")


def run_make(*arguments):
    return subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout


@make
def test_bare_make_lists_the_targets():
    listed = re.findall(
        r"^  make (\S+) +(\S.*)$", run_make("--no-print-directory"), flags=re.MULTILINE
    )
    assert [name for name, _ in listed if name != "help"] == TARGETS


@make
@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_sound(target):
    assert run_make("-n", target, f"PYTHON={sys.executable}")


@make
def test_env_fails_clearly_without_python():
    script = REPOSITORY / "scripts/make_env.sh"
    old = {"PATH": "/nonexistent", "BASE_PYTHON": "/bin/false"}
    bash = shutil.which("bash")
    command = f"cd() {{ :; }}; dirname() {{ echo .; }}; . {script}"
    done = subprocess.run(
        [bash, "-c", command],
        env=old,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python >= 3.11 is needed" in done.stderr
    assert "make env BASE_PYTHON=" in done.stderr
