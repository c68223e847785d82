"""Parameters of a notebook: declared in the cell tagged `parameters`, read with `ast` and checked
strictly.

With `ast`, because papermill's inspector drops `x: str | None = None` and garbles defaults that
hold `#`. One name, one type, all the way from the YAML file to `params.json`.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from iqa_core.hints import nearest

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


class Parameter(NamedTuple):
    """One declared parameter: its annotation as text and as a type, its default, and the comment
    behind it.
    """

    annotation: str
    type: object
    default: object
    comment: str


def declared_parameters(notebook: Path) -> dict[str, Parameter]:
    """Name -> Parameter, in order, from the one cell tagged `parameters` (lines `name: type =
    literal  # meaning`).

    Raises FileNotFoundError for a missing notebook, ValueError for a cell that holds anything else.
    """
    source = _parameters_cell(Path(notebook))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    declared = {}
    for node in ast.parse(source).body:
        is_declaration = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if not is_declaration or not node.value:
            raise ValueError(
                f"{notebook}: the parameters cell holds {ast.unparse(node)!r}; "
                "only lines like `epochs: int = 3  # meaning, unit` are allowed"
            )
        comment = comments.get(node.end_lineno, "")
        declared[node.target.id] = _parameter(node, comment, where=notebook)
    return declared


def check_parameters(notebook: Path, values: dict) -> dict:
    """`values` with each of exactly the declared type (an int is taken for a float, a bool never
    for an int).

    Raises KeyError for a name the notebook does not declare, ValueError for a value of another
    type.
    """
    declared = declared_parameters(notebook)
    where = Path(notebook).name
    check_names(notebook, values)
    return {
        name: check_value(name, value, declared[name].type, where=where)
        for name, value in values.items()
    }


def check_names(notebook: Path, names: Iterable[str]) -> None:
    """KeyError for a name that the notebook does not declare."""
    declared = declared_parameters(notebook)
    for name in names:
        if name not in declared:
            hint = nearest(name, declared) or "."
            raise KeyError(
                f"{Path(notebook).name} declares no parameter {name!r}{hint} It has: "
                f"{', '.join(declared)}"
            )


def injected_parameters(notebook: Path, executed: list[str]) -> list[str]:
    """Names that papermill has set, whether the notebook declares them or not: those of the cell
    that it puts behind the parameters cell, for which it only warns of a name it does not know.

    executed   source of the cells that a kernel has run, in order: IPython's `In`
    """
    executed = [source.strip() for source in executed]
    declared = _parameters_cell(Path(notebook)).strip()
    if declared not in executed:
        return []
    place = len(executed) - executed[::-1].index(declared)  # behind its last execution
    following = executed[place] if place < len(executed) else ""
    if not following.startswith("# Parameters\n"):  # papermill's own comment
        return []
    statements = ast.parse(following).body
    return [ast.unparse(node.targets[0]) for node in statements if isinstance(node, ast.Assign)]


def check_value(name: str, value: object, wanted: object, *, where: str) -> object:
    """`value` if it is of type `wanted` in pydantic's strict mode; ValueError naming key, value and
    type otherwise.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    # by pydantic's config, since `strict=True` at the call would not reach inside list[...]
    adapter = TypeAdapter(dict[str, wanted], config=ConfigDict(strict=True))
    try:
        return adapter.validate_python({name: value})[name]
    except ValidationError as error:
        text = wanted.__name__ if wanted in TYPES.values() else str(wanted)
        hint = ""
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
            hint = f"; YAML reads {value} as text, write {float(value):.1e} with its dot"
        raise ValueError(
            f"{where}: {name} = {value!r} ({type(value).__name__}), but {text} is wanted{hint}"
        ) from error


def _parameters_cell(notebook: Path) -> str:
    """Source of the one cell tagged `parameters`."""
    if not notebook.is_file():
        others = ", ".join(sorted(path.stem for path in notebook.parent.glob("*.ipynb"))) or "none"
        raise FileNotFoundError(
            f"no notebook {notebook.name} in {notebook.parent}; there are: {others}"
        )
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(
            f"{notebook}: {len(tagged)} cells are tagged `parameters`; tag exactly one"
        )
    return "".join(tagged[0]["source"])


def _parameter(node: ast.AnnAssign, comment: str, *, where: Path) -> Parameter:
    annotation = ast.unparse(node.annotation)
    try:
        wanted = eval(annotation, {"__builtins__": {}}, TYPES)
        default = ast.literal_eval(node.value)
    except (NameError, TypeError, ValueError, SyntaxError) as error:
        allowed = f"{', '.join(TYPES)}, list[...], X | None"
        raise ValueError(
            f"{where}: `{ast.unparse(node)}`: the type must be one of {allowed} and the default a "
            f"literal"
        ) from error
    default = check_value(node.target.id, default, wanted, where=Path(where).name)
    return Parameter(annotation, wanted, default, comment)
