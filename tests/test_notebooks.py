"""The notebook rules, as far as a machine can check them. `faults` lists what is wrong with one
notebook.
"""

import ast
import json
import re

import pytest
from conftest import REPOSITORY

from iqa_core.runs.parameters import declared_parameters
from iqa_core.training import Recipe

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
HEAD = ("Question", "Reads", "Writes", "Expect")
CELLS, CODE_LINES, CELL_LINES, IN_A_ROW = 30, 120, 15, 2
EXPECT_WORDS = 60


def faults(path):
    """Sentences, one for each rule that the notebook breaks."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    try:
        trees = [ast.parse(text(cell)) for cell in code]
    except SyntaxError as error:
        return [
            f"`{(error.text or '').strip()}` is no Python (magics and shell commands are not "
            f"allowed)"
        ]
    if len(code) < 4:
        return ["imports, parameters, start and body are at least four code cells"]
    return [
        *name_and_metadata(path, notebook, code),
        *sizes(cells, code),
        *opening(path, cells, code, trees),
        *forbidden(trees),
        *body(cells, code),
        *ending(cells, trees),
        *parameters(path, trees),
        *trainings(path, code),
    ]


def text(cell):
    return "".join(cell["source"])


def lines(cell):
    """Lines that are not blank."""
    return [line for line in text(cell).splitlines() if line.strip()]


def name_and_metadata(path, notebook, code):
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
        yield "its name is not NN_name.ipynb"
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not python3"
    if any(cell["outputs"] or cell["execution_count"] for cell in code):
        yield "it holds outputs: strip them with nbstripout"


def sizes(cells, code):
    if len(cells) > CELLS:
        yield f"{len(cells)} cells, {CELLS} are allowed"
    total = sum(len(lines(cell)) for cell in code)
    if total > CODE_LINES:
        yield f"{total} code lines, {CODE_LINES} are allowed"
    for number, cell in enumerate(cells, start=1):
        if cell["cell_type"] != "code" or cell is code[1]:  # a line for each parameter
            continue
        if len(lines(cell)) > CELL_LINES:
            yield f"cell {number} has {len(lines(cell))} lines, {CELL_LINES} are allowed"


def opening(path, cells, code, trees):
    if cells[0]["cell_type"] != "markdown" or not text(cells[0]).startswith("# "):
        yield "the first cell is not a title"
    for word in HEAD:
        if not re.search(rf"\b{word}\b", text(cells[0])):
            yield f"the first cell does not say *{word}*"
    expect = text(cells[0]).partition("*Expect*")[2].split()
    if len(expect) > EXPECT_WORDS:
        yield f"*Expect* has {len(expect)} words, {EXPECT_WORDS} are allowed: time, number, source"
    if not all(isinstance(node, ast.Import | ast.ImportFrom) for node in trees[0].body):
        yield "the first code cell holds more than imports"
    if "parameters" not in code[1]["metadata"].get("tags", []):
        yield "the second code cell is not tagged `parameters`"
    if started(trees) is None or f"runs.start('{path.stem}', globals())" not in ast.unparse(
        trees[2]
    ):
        call = f'run = runs.start("{path.stem}", globals())'
        yield f"the third code cell does not start the run: {call}"
    late = [
        node
        for tree in trees[1:]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if late:
        yield f"`{ast.unparse(late[0])}` stands after the imports cell"


def started(trees):
    """The name that runs.start(...) is given to, None where the third code cell starts no run."""
    for node in trees[2].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("runs.start("):
            return ast.unparse(node.targets[0])
    return None


def forbidden(trees):
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"`{node.name}` is defined in it: notebooks are recipes, verbs are in iqa_core"
        if isinstance(node, ast.Try):
            yield "it has a `try`: let errors stop the notebook"
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield "it changes sys.path"
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.match(r"/\w|~|[A-Za-z]:[\\/]", node.value)
        ):
            yield f"{node.value!r} is an absolute path"


def body(cells, code):
    told = [text(cell) for cell in cells[1:] if cell["cell_type"] == "markdown"]
    sections = [
        section for source in told for section in re.split(r"^(?=## )", source, flags=re.MULTILINE)
    ]
    headings = [section for section in sections if section.startswith("## ")]
    if not headings:
        yield "its body has no ## sections"
    for section in headings:
        if not section.partition("\n")[2].strip():
            heading = section.strip()
            yield f"section `{heading}` does not say why, in a sentence before its first cell"
    start, in_a_row = cells.index(code[2]), 0
    for number, cell in enumerate(cells[start + 1 :], start=start + 2):
        in_a_row = in_a_row + 1 if cell["cell_type"] == "code" else 0
        if in_a_row > IN_A_ROW and cell is not code[-1]:
            yield f"cell {number} is the {in_a_row}rd code cell in a row without a sentence between"


def ending(cells, trees):
    if not any(isinstance(node, ast.Assert) for node in ast.walk(trees[-1])):
        yield "the last code cell asserts nothing"
    if not any(ast.unparse(node.func) == f"{started(trees)}.finish" for node in calls(trees)):
        yield "it never calls run.finish(...)"
    last = cells[-1]
    if (
        last["cell_type"] != "markdown"
        or len(lines(last)) != 1
        or not re.search(r"\d\d_[a-z]", text(last))
    ):
        yield "the last cell is not one line that names the next notebook"


def calls(trees):
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]


def parameters(path, trees):
    try:
        declared = declared_parameters(path)
    except ValueError as error:
        yield str(error)
        return
    for name, default in (("experiment", "lab"), ("run", "")):
        if name not in declared or declared[name].annotation.partition(" ")[0] != "str":
            yield f'`{name}: str = "{default}"` is not among its parameters'
    if "experiment" in declared and declared["experiment"].default != "lab":
        yield 'the default of experiment is not "lab"'
    if "run" in declared and declared["run"].default not in ("", path.stem, None):
        yield f"the default of run is neither empty nor {path.stem}"
    rest = [node for tree in (trees[0], *trees[2:]) for node in ast.walk(tree)]
    used = {node.id for node in rest if isinstance(node, ast.Name)} | {
        node.value
        for node in rest
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    whole = any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == f"{started(trees)}.parameters"
        for node in rest
    )
    if any(ast.unparse(node.func) == "study.recipe_of" for node in calls(trees)):
        used |= {"options", *Recipe.model_fields}
    for name, parameter in declared.items():
        if not parameter.comment:
            yield f"parameter {name} has no comment with meaning and unit"
        if name not in used | {"experiment", "run"} and not whole:
            yield f"parameter {name} is not used"


def trainings(path, code):
    """What `python -m iqa_core train` needs to know: where the training is."""
    number = sum("training" in cell["metadata"].get("tags", []) for cell in code)
    if "processes: " in text(code[1]) and number != 1:
        yield f"it declares `processes`, but {number} cells are tagged `training`, not one"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_keeps_the_rules(path):
    found = faults(path)
    assert not found, f"{path.name}:\n  " + "\n  ".join(found)


# -------------------------------------------------------------------------------------------------
# the rules themselves
GOOD = [
    ("markdown", "# Train\n\n*Question* Does it?\n*Reads* a\n*Writes* b\n*Expect* 3 minutes"),
    ("code", "from iqa_core import runs"),
    (
        "parameters",
        'experiment: str = "lab"  # folder\nrun: str = ""  # folder\nseed: int = 0  # of '
        "everything",
    ),
    ("code", 'run = runs.start("01_x", globals())'),
    ("code", "print(seed)"),
    ("markdown", "This was the seed.\n\n## Fit\n\nBecause."),
    ("code", "run.finish({'n': seed})"),
    ("code", "assert seed == 0"),
    ("markdown", "Next: 02_train_baseline"),
]


def written(folder, cells, *, stem="01_x"):
    made = []
    for kind, source in cells:
        cell = {
            "cell_type": "markdown" if kind == "markdown" else "code",
            "metadata": {},
            "source": source,
        }
        cell |= {} if kind == "markdown" else {"outputs": [], "execution_count": None}
        cell["metadata"] = {"tags": ["parameters"]} if kind == "parameters" else {}
        made.append(cell)
    path = folder / f"{stem}.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {"kernelspec": {"name": "python3"}}}))
    return path


def test_a_good_notebook(tmp_path):
    assert faults(written(tmp_path, GOOD)) == []


BAD = {
    "the first cell is not a title": (0, ("markdown", "Question Reads Writes Expect")),
    "does not say [*]Reads[*]": (0, ("markdown", "# T\nQuestion Writes Expect")),
    "holds more than imports": (1, ("code", "import os\nx = 1")),
    "is not tagged": (2, ("code", "seed = 1")),
    "parameter seed has no comment": (
        2,
        ("parameters", 'experiment: str = "lab"  # f\nrun: str = ""  # f\nseed: int = 0'),
    ),
    "`experiment: str = .lab.` is not among": (
        2,
        ("parameters", 'run: str = ""  # f\nseed: int = 0  # s'),
    ),
    "declares `processes`, but 0 cells are tagged": (
        2,
        ("parameters", GOOD[2][1] + "\nprocesses: int = 1  # that train"),
    ),
    "parameter rate is not used": (
        2,
        ("parameters", GOOD[2][1] + "\nrate: float = 1.0  # per step"),
    ),
    "does not start the run": (3, ("code", 'run = runs.start("02_y", globals())')),
    "stands after the imports cell": (4, ("code", "import os\nprint(seed)")),
    "`f` is defined in it": (4, ("code", "def f():\n    return seed")),
    "it has a `try`": (4, ("code", "try:\n    print(seed)\nexcept ValueError:\n    pass")),
    "is an absolute path": (4, ("code", "open('/data/x')\nprint(seed)")),
    "it changes sys.path": (4, ("code", "sys.path.insert(0, '..')\nprint(seed)")),
    "is no Python": (4, ("code", "%pip install x")),
    "has 16 lines, 15 are allowed": (4, ("code", "print(seed)\n" * 16)),
    "[*]Expect[*] has 61 words, 60 are": (0, ("markdown", GOOD[0][1] + " more" * 59)),
    "`## Fit` does not say why": (5, ("markdown", "This was the seed.\n\n## Fit\n")),
    "has no ## sections": (5, ("markdown", "Because.")),
    "never calls run.finish": (6, ("code", "print(seed)")),
    "asserts nothing": (7, ("code", "print(seed)")),
    "not one line that names the next": (8, ("markdown", "The end.")),
    "3rd code cell in a row": (6, ("code", "run.finish({})"), ("code", "seed"), ("code", "seed")),
}


@pytest.mark.parametrize("message", BAD)
def test_a_rule_that_is_broken(tmp_path, message):
    place, *instead = BAD[message]
    found = faults(written(tmp_path, [*GOOD[:place], *instead, *GOOD[place + 1 :]]))
    assert any(re.search(message, fault) for fault in found), found


def test_names_sizes_and_outputs(tmp_path):
    assert any("NN_name" in fault for fault in faults(written(tmp_path, GOOD, stem="train")))
    long = [*GOOD[:6], *[("markdown", "a"), ("code", "print(seed)\n" * 12)] * 13, *GOOD[6:]]
    found = " ".join(faults(written(tmp_path, long)))
    assert "35 cells, 30 are allowed" in found
    assert "code lines, 120 are allowed" in found
    path = written(tmp_path, GOOD)
    path.write_text(
        path.read_text().replace(
            '"outputs": []', '"outputs": [{"output_type": "stream", "text": "x"}]'
        )
    )
    assert any("it holds outputs" in fault for fault in faults(path))
