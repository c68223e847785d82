"""Parameters are read with `ast` and checked strictly."""

import pytest
from conftest import CELL

from iqa_core.runs import parameters


def test_declared_parameters(notebook):
    declared = parameters.declared_parameters(notebook)
    assert list(declared)[:3] == ["experiment", "run", "epochs"]
    assert declared["colour"].default == "#ff0000"
    assert declared["colour"].comment == "a default with a # in it"
    assert (declared["weights"].default, declared["weights"].annotation) == (None, "str | None")
    assert declared["rate"].default == 1e-4
    assert declared["stages"].default == [1, 2]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("epochs = 3", "only lines like `epochs: int = 3"),
        ("import os", "only lines like"),
        ("size: tuple = (1, 2)  # x", "the type must be one of int, float"),
        ("size: int = len('x')  # x", "the default a literal"),
        ("size: int = 'x'  # x", "size = 'x' .str., but int is wanted"),
    ],
)
def test_a_cell_that_is_no_declaration(project, cell, message):
    with pytest.raises(ValueError, match=message):
        parameters.declared_parameters(project.notebook("x", cell))


def test_notebook_missing_or_untagged(project, notebook):
    with pytest.raises(
        FileNotFoundError, match=r"no notebook 2_train.ipynb .* there are: 02_train_baseline"
    ):
        parameters.declared_parameters(notebook.with_name("2_train.ipynb"))
    notebook.write_text(notebook.read_text().replace('"parameters"', '"other"'))
    with pytest.raises(ValueError, match="0 cells are tagged `parameters`"):
        parameters.declared_parameters(notebook)


def test_an_undeclared_name(notebook):
    with pytest.raises(
        KeyError,
        match=r"no parameter 'epoch'; did you mean 'epochs'\? It has: experiment, run, epochs",
    ):
        parameters.check_parameters(notebook, {"epoch": 3})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", True, "int"),
        ("epochs", 3.0, "int"),
        ("epochs", "3", "int"),
        ("rate", True, "float"),
        ("rate", "fast", "float"),
        ("colour", 3, "str"),
        ("colour", None, "str"),
        ("weights", 3, r"str \| None"),
        ("stages", [1, "2"], r"list\[int\]"),
        ("stages", [True], r"list\[int\]"),
        ("stages", 1, r"list\[int\]"),
        ("monitor", {"a": "b"}, r"dict\[str, float\]"),
        ("flip", 1, "bool"),
    ],
)
def test_a_value_of_another_type(notebook, name, value, wanted):
    with pytest.raises(
        ValueError, match=rf"02_train_baseline.ipynb: {name} = .*, but {wanted} is wanted"
    ):
        parameters.check_parameters(notebook, {name: value})


def test_numbers_that_yaml_reads_as_text(notebook):
    with pytest.raises(ValueError, match="YAML reads 1e-4 as text, write 1.0e-04"):
        parameters.check_parameters(notebook, {"rate": "1e-4"})


def test_an_int_is_taken_for_a_float(notebook):
    checked = parameters.check_parameters(
        notebook, {"rate": 1, "monitor": {"spaq": 2}, "weights": "a.pt", "stages": []}
    )
    assert checked == {"rate": 1.0, "monitor": {"spaq": 2.0}, "weights": "a.pt", "stages": []}
    assert isinstance(checked["rate"], float)


def test_what_papermill_sets_is_found_behind_the_parameters_cell(notebook):
    """As IPython keeps it: every cell that was run, in order, each with a line's end."""
    cell = CELL + "\n"
    given = "# Parameters\nepoch = 3\nstages = [\n    1,\n]\n"

    def found(*executed):
        return parameters.injected_parameters(notebook, ["", "import os\n", *executed])

    assert found(cell, given, "run = 1\n") == ["epoch", "stages"]
    assert found(cell, given, cell, "run = 1\n") == [], "the cell was run again, without them"
    assert found(cell, "x = 1\n") == found(cell) == found() == found(given) == []
