"""Pages that scripts make of the registries are what the scripts make now, and are written down."""

import importlib

import pytest
from conftest import REPOSITORY

from iqa_core.models import list_models
from iqa_core.pixels import read


@pytest.mark.parametrize(
    ("page", "script"),
    [("models", "make_model_docs"), ("preprocessing", "make_preprocessing_docs")],
)
def test_a_page_is_what_its_script_makes(page, script, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    made = importlib.import_module(script).text()
    written = (REPOSITORY / f"docs/{page}.md").read_text(encoding="utf-8")
    assert written.splitlines() == made.splitlines(), f"run `python scripts/{script}.py`"
    assert all(f"| `{name}`" in made for name in list_models())


def test_the_limits_stand_in_the_preprocessing_page():
    page = (REPOSITORY / "docs/preprocessing.md").read_text(encoding="utf-8")
    assert f"above {read.MEGAPIXELS} megapixels" in page
    assert f"more than {read.ENLARGED} megapixels" in page
