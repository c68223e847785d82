"""Imports point one way, read with `ast`: from notebooks and apps down to statistics and files."""

import ast
import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

# From the top down: a module may import what stands below it, or after it in its own level.
LEVELS = [
    ["__main__"],
    ["apps"],
    ["figures", "tables", "leakage", "ablations", "attention", "study", "training"],
    ["evaluation", "measuring", "runs", "machines"],
    ["loading", "models"],
    ["datasets", "distortions", "pixels"],
    ["metrics", "full_reference", "mmos", "rejection", "detections"],
    ["stats", "splits", "download", "files", "hints", "parallel", "architecture"],
]
ORDER = [name for level in LEVELS for name in level]
PACKAGE = REPOSITORY / "iqa_core"
FILES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {  # module -> what it must not import at any depth of its files, and why
    "figures": ({"torch", "torchvision", "timm"}, "figures read files"),
    "datasets": ({"torch", "torchvision", "timm"}, "data sets know no torch"),
    "pixels": ({"torch", "torchvision", "timm"}, "data sets read images without torch"),
    "tables": ({"torch", "matplotlib", "seaborn"}, "tables are numbers from files"),
    "stats": ({"torch"}, "statistics are NumPy"),
    "metrics": ({"torch"}, "statistics are NumPy"),
}
COMPUTE = {
    "detections",
    "rejection",
    "tables",
    "datasets",
    "distortions",
    "metrics",
    "stats",
    "splits",
    "files",
}
READS = {  # the whole of what these parts may import
    "tables": COMPUTE,
    "figures": COMPUTE | {"figures", "pixels", "runs"},
}


def module_of(path):
    """Name of the part of the package a file belongs to: models for models/hyperiqa.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path, *, package=PACKAGE):
    """Dotted names of all imports of a file, relative ones resolved, also those inside
    functions.
    """
    names = set()
    parts = ("iqa_core", *path.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            if base == "iqa_core":
                names |= {f"{base}.{alias.name}" for alias in node.names}
            else:
                names.add(base)
    return names


def parts_imported(path, *, package=PACKAGE):
    """Parts of iqa_core that a file imports."""
    names = imported(path, package=package)
    inside = {name.split(".")[1] for name in names if name.startswith("iqa_core.")}
    return inside - {"__version__"}


def may_import(importer, target):
    """Whether a module of the package may import another one."""
    return importer == target or ORDER.index(importer) < ORDER.index(target)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    importer = module_of(path)
    if importer == "__init__":
        assert not parts_imported(path) - {"apps"}, "only the lazy iqa_core.score may point upward"
        return
    assert importer in ORDER, (
        f"{importer} has no level: write it into LEVELS of this test, where the design has it"
    )
    for target in parts_imported(path):
        assert target in ORDER, f"{path.name} imports iqa_core.{target}, which has no level"
        assert may_import(importer, target), (
            f"{importer} ({path.name}) imports {target}, which stands above it"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_part_must_not_know(path):
    banned, why = FORBIDDEN.get(module_of(path), (set(), ""))
    found = {name.partition(".")[0] for name in imported(path)} & banned
    assert not found, f"{path.name} imports {found}: {why}"
    allowed = READS.get(module_of(path))
    assert allowed is None or parts_imported(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_importing_does_nothing(path):
    """No bare call at module level: imports have no side effect."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    bare = [node.value for node in statements if isinstance(node, ast.Expr)]
    calls = [value for value in bare if isinstance(value, ast.Call)]
    assert not calls, f"{path.name}: {ast.unparse(calls[0])} runs on import"


def test_notebooks_import_no_inner_part_of_apps_machinery():
    for notebook in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        cells = json.loads(notebook.read_text())["cells"]
        code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert "iqa_core.apps.execute" not in code, f"{notebook.name} runs other notebooks"


def test_the_command_line_starts_without_torch():
    code = "import sys, iqa_core.runs, iqa_core.apps.commands, iqa_core.apps.execute\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_rule_itself(tmp_path):
    """The reader sees absolute, relative, and lazy imports, and the order within a level."""
    (tmp_path / "models").mkdir()
    file = tmp_path / "models/x.py"
    file.write_text(
        "from . import weights\n"
        "from ..stats import a\n"
        "def f():\n"
        "    from iqa_core import training, runs\n"
        "    import torch.nn\n"
    )
    assert parts_imported(file, package=tmp_path) == {"models", "stats", "training", "runs"}
    assert "torch.nn" in imported(file, package=tmp_path)
    assert not may_import("models", "training")
    assert not may_import("models", "runs")
    assert may_import("runs", "models")
    assert may_import("metrics", "stats")
    assert not may_import("stats", "metrics")
