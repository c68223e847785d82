"""Which code a notebook or a training reaches, and hashes of it that docstrings, comments and
layout do not change.

What is reached is read from import statements, file by file: of a package only what is named,
`figures.scatter` leads to the file that holds it. What is looked up by name while running (a model,
an operator) is not seen here; whoever looks it up says so, with `Run.uses_code`. Hashes are of
syntax trees, which differ between minor versions of Python.
"""

import ast
import functools
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name
# they start, check and record what computes, and compute nothing
NO_NUMBERS = {"apps", "runs", "files.py", "hints.py", "models/arguments.py"}


def python_minor() -> str:
    """The version of Python whose syntax trees are hashed here, as "3.11"."""
    return ".".join(platform.python_version_tuple()[:2])


def cell_sources(notebook: Path) -> list[str]:
    """The code cells of a notebook but for the one tagged `parameters`, which values stand for."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    return [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]


def notebook_hash(notebook: Path) -> str:
    """Hash of what a notebook's code cells say: no markdown, comment, layout, output or default of
    a parameter is in it.
    """
    return _digest("\n".join(_plain_text(source) for source in cell_sources(notebook)))


def code_of_notebook(notebook: Path) -> dict[str, str]:
    """Module -> hash of all code that a notebook's cells reach; cells that are no Python
    (`%magic`) are left out.
    """
    sources = [source for source in cell_sources(notebook) if _parsed(source) is not None]
    return hashes(_imported(ast.parse("\n".join(sources)), module=""))


def code_of_modules(modules: Iterable[str]) -> dict[str, str]:
    """Module -> hash of all code that modules of this package (`iqa_core.models.hyperiqa`) reach,
    themselves included; other modules are left out.
    """
    files = [_file_of(module) for module in modules]
    return hashes(file for file in files if file is not None)


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """Module -> hash of these files of the package and of all that they import, in order."""
    waiting, reached = list(files), set()
    while waiting:
        file = waiting.pop()
        place = file.relative_to(PACKAGE)
        if file in reached or {place.parts[0], place.as_posix()} & NO_NUMBERS:
            continue
        reached.add(file)
        waiting += _imports_of(file, file.stat().st_mtime_ns)
    reached = {file for file in reached if not _only_names(file, file.stat().st_mtime_ns)}
    return {_module_of(file): _file_hash(file, file.stat().st_mtime_ns) for file in sorted(reached)}


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The modules of two such dicts that differ, are new or are gone, as file names."""
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    return [f"{name.replace('.', '/')}.py" for name in names]


# ---- imports


@functools.cache
def _imports_of(file: Path, changed_at: int) -> list[Path]:
    return list(_imported(ast.parse(file.read_text(encoding="utf-8")), module=_module_of(file)))


def _imported(tree: ast.Module, *, module: str) -> Iterator[Path]:
    """The files of this package that a syntax tree's import statements and attributes name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _of_import(alias, tree)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            for alias in node.names:
                yield from _named(base, alias.name, tree, bound=alias.asname or alias.name)


def _of_import(alias: ast.alias, tree: ast.Module) -> Iterator[Path]:
    """The files behind `import iqa_core.tables` or `import iqa_core.tables as t`, and what is asked
    of it.
    """
    file = _file_of(alias.name)
    if file is None:
        return
    yield from _with_parents(file)
    bound, start = (alias.asname, alias.name) if alias.asname else (NAME, NAME)
    for chain in _chains(bound, tree):
        place = start
        for name in chain:
            home = _file_of(place)
            if home is None or home.name != "__init__.py":
                break
            yield from _home_of(home, name)
            place = f"{place}.{name}"


def _chains(name: str, tree: ast.Module) -> Iterator[list[str]]:
    """What is asked of a name: ["tables", "results"] for iqa_core.tables.results."""
    for node in ast.walk(tree):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if chain and isinstance(node, ast.Name) and node.id == name:
            yield chain


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """The full name of the module that `from ... import` names in `module`."""
    if not node.level:
        return node.module or ""
    package = module.split(".")
    if _file_of(module).name != "__init__.py":
        package = package[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _named(base: str, name: str, tree: ast.Module, *, bound: str) -> Iterator[Path]:
    """The files behind `from base import name`: where it is a package, those of what is asked of it
    in `tree`, by the name that it is `bound` to.
    """
    home = _file_of(base)
    if home is None:
        return
    yield from _with_parents(home)
    file = _file_of(f"{base}.{name}")
    if file is None or home.name != "__init__.py":
        if home.name == "__init__.py":
            yield from _home_of(home, name)
        return
    yield file
    if file.name == "__init__.py":
        for chain in _chains(bound, tree):
            yield from _home_of(file, chain[0])


def _home_of(package: Path, name: str) -> Iterator[Path]:
    """The file of a package (its __init__.py) in which a public name of it stands."""
    inside = _file_of(f"{_module_of(package)}.{name}")
    if inside is not None:
        yield inside
        return
    tree = ast.parse(package.read_text(encoding="utf-8"))
    lazy = _lazy_names(tree)
    if name in lazy:
        yield package.with_name(f"{lazy[name]}.py")
    elif name not in _top_names(tree):
        for file in sorted(package.parent.glob("*.py")):
            if name in _top_names(ast.parse(file.read_text(encoding="utf-8"))):
                yield file


def _lazy_names(tree: ast.Module) -> dict[str, str]:
    """Name -> file, from the `submod_attrs` of a package's `lazy_loader.attach`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            places = ast.literal_eval(node.value)
            return {name: file for file, names in places.items() for name in names}
    return {}


def _top_names(tree: ast.Module) -> set[str]:
    """What a file defines or imports at its top level."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _with_parents(file: Path) -> Iterator[Path]:
    """A file and the __init__.py of its packages, which are run before it."""
    yield file
    for folder in file.parents:
        if folder == PACKAGE:
            return
        init = folder / "__init__.py"
        if init.is_file():
            yield init


def _file_of(module: str) -> Path | None:
    """The file of a module of this package; None for others."""
    first, *rest = module.split(".")
    if first != NAME:
        return None
    path = PACKAGE.joinpath(*rest)
    if path.with_suffix(".py").is_file() and rest:
        return path.with_suffix(".py")
    init = path / "__init__.py"
    return init if init.is_file() else None


def _module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join([NAME, *(part for part in parts if part != "__init__")])


# ---- hashes


@functools.cache
def _file_hash(file: Path, changed_at: int) -> str:
    return _digest(_plain_text(file.read_text(encoding="utf-8")))


@functools.cache
def _only_names(file: Path, changed_at: int) -> bool:
    """Whether a file says nothing but which names of a package lie where."""
    return bool(_lazy_names(ast.parse(file.read_text(encoding="utf-8"))))


def _plain_text(source: str) -> str:
    """A syntax tree without docstrings, as text; what is no Python (`%magic`) as it stands."""
    tree = _parsed(source)
    if tree is None:
        return source
    for node in ast.walk(tree):
        is_documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if is_documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
