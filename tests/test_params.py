"""Every YAML file of params/ is accepted by its notebook, and every experiment says how to run it and what to expect."""

import inspect
import re

import numpy as np
import pytest
from conftest import REPOSITORY

from iqa_core import pixels, training
from iqa_core.apps import execute

FILES = sorted((REPOSITORY / "params").glob("*/*.yaml"))
FOLDERS = sorted({path.parent for path in FILES})


def header(path):
    """The comment lines a parameter file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


def faults(text, *, experiment):
    """What the header comment of a parameter file lacks."""
    wanted = {
        f"the command (python -m iqa_core run {experiment}/...)": rf"(iqa_core run|make) {re.escape(experiment)}\b",
        "the time it takes (6 minutes on ...)": r"(\d|\bhalf an?|\ba few) ?(s|seconds?|min|minutes?|hours?|h|days?)\b",
        "what to expect (expect  SRCC .84)": r"(?i)\bexpect\W+\w",
    }
    return [what for what, pattern in wanted.items() if not re.search(pattern, text)]


if not FILES:
    pytest.skip("no experiment in params/ yet", allow_module_level=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_notebook_accepts_the_file(path):
    parameters = execute.check_file(path, root=REPOSITORY)
    assert (parameters["experiment"], parameters["run"]) == (path.parent.name, path.stem)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_says_how_and_what_to_expect(path):
    lacking = faults(header(path), experiment=path.parent.name)
    assert not lacking, f"{path.parent.name}/{path.name}: its header comment lacks {'; '.join(lacking)}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_experiment_gives_a_number_to_expect(folder):
    told = [header(path) for path in sorted(folder.glob("*.yaml"))]
    assert any(re.search(r"(?i)\bexpect\W[^\n]*(?<!\w)\d*\.?\d", text) for text in told)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_options_are_arguments_of_fit(path):
    options = execute.read_parameters(path).get("options", {})
    assert set(options) <= set(inspect.signature(training.fit).parameters)


@pytest.mark.parametrize(("recipe", "shape"), [("hyperiqa-paper-code", "portrait"), ("corrected", "landscape")])
def test_published_recipes_turn_landscapes_into_portraits_and_the_corrected_one_does_not(recipe, shape):
    given = execute.read_parameters(REPOSITORY / f"params/koniq10k/02_train_baseline--{recipe}.yaml")
    height, width, _ = pixels.resize(np.zeros((768, 1024, 3), np.uint8), tuple(given["resize"])).shape
    assert (height, width) == ((512, 384) if shape == "portrait" else (384, 512))
    assert given.get("options", {}).get("select", "val") == ("test" if shape == "portrait" else "val")


def test_the_header_rule():
    good = "The demo.\ncommand  python -m iqa_core run demo/01\ntime     6 minutes on 2 cores\nexpect   SRCC .84"
    assert not faults(good, experiment="demo")
    assert len(faults("The demo.", experiment="demo")) == 3
    assert len(faults(good.replace("6 minutes", "TIME"), experiment="demo")) == 1
    assert len(faults(good, experiment="koniq10k")) == 1
