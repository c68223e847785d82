"""The notebooks as they were committed: `notebooks/committed.json` has the hash of every code cell,
and the defaults of the parameters.

JupyterLab saves a notebook by itself, so a value that was only to be tried becomes the default of
every later run. What the file holds tells such a notebook from the one that the experiments mean.
"""

import hashlib
from pathlib import Path

from iqa_core.files import read_json, write_json
from iqa_core.runs.parameters import declared_parameters

FILE = "committed.json"


def defaults_of(notebook: Path) -> dict:
    """The defaults of a notebook's parameters as committed; for a notebook that is not in the file,
    as it stands.
    """
    known = _known(notebook)
    return known["defaults"] if known else _defaults(notebook)


def edits(notebook: Path) -> list[str]:
    """What differs between a notebook and the committed one, in a line each; nothing for one that
    is not in the file.
    """
    known = _known(notebook)
    if not known:
        return []
    before = {name: repr(value) for name, value in known["defaults"].items()}
    now = {name: repr(value) for name, value in _defaults(notebook).items()}
    lines = [
        f"default of {name}: {before.get(name, 'none')} became {now.get(name, 'none')}"
        for name in before | now
        if before.get(name) != now.get(name)
    ]
    cells = _cell_hashes(notebook)
    if len(cells) != len(known["cells"]):
        lines.append(f"{len(known['cells'])} code cells became {len(cells)}")
        return lines
    pairs = zip(cells.items(), known["cells"].items(), strict=True)
    for (number, digest), (_, committed) in pairs:
        if digest != committed:
            lines.append(f"cell {number} has other code")
    return lines


def write(folder: Path) -> None:
    """Writes the file of a folder of notebooks, as they stand."""
    known = {
        notebook.stem: {"defaults": _defaults(notebook), "cells": _cell_hashes(notebook)}
        for notebook in sorted(folder.glob("*.ipynb"))
    }
    write_json(folder / FILE, known)


def _known(notebook: Path) -> dict | None:
    file = notebook.parent / FILE
    return read_json(file).get(notebook.stem) if file.is_file() else None


def _defaults(notebook: Path) -> dict:
    return {name: each.default for name, each in declared_parameters(notebook).items()}


def _cell_hashes(notebook: Path) -> dict[str, str]:
    """Number of a cell, from 1, among all cells -> hash of its source; the code cells but that of
    the parameters.
    """
    result = {}
    for number, cell in enumerate(read_json(notebook)["cells"], start=1):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "parameters" not in tags:
            source = "".join(cell["source"])
            result[str(number)] = hashlib.sha256(source.encode()).hexdigest()[:12]
    return result
