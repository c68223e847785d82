"""A project of its own with a small part of the demo, on which notebooks run headless."""

import os
from contextlib import contextmanager

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from PIL import Image

from iqa_core import datasets, splits
from iqa_core.apps.execute import execute

DEMO = REPOSITORY / "data/demo"


SIZE = 320, 240  # width and height of its photographs: a crop of 224 fits


@contextmanager
def project(root, *, photos: int, every: int):
    """A folder with the same notebooks, so many of the demo's photographs, made small, and every so
    manieth version of each; the environment is put back at the end.
    """
    (root / "params").mkdir()
    (root / "data/demo").mkdir(parents=True)
    (root / "notebooks").symlink_to(REPOSITORY / "notebooks")
    kept = sorted(DEMO.glob("*.png"))[:photos]
    for photo in kept:
        with Image.open(photo) as whole:
            whole.convert("RGB").resize(SIZE).save(root / "data/demo" / photo.name)
    rows = pd.read_csv(DEMO / "labels.csv", comment="#")
    rows = rows[rows.content.isin([photo.stem for photo in kept])]
    rows = rows[rows.groupby("content").cumcount() % every == 0]
    rows.to_csv(root / "data/demo/labels.csv", index=False)
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IQA_ROOT", str(root))
        yield root
    os.environ.clear()
    os.environ.update(before)


def prepare(root):
    """The demo's table, images and first rotation, as notebook 01 leaves them; the table."""
    table = datasets.load_table("demo", root=root)
    datasets.make_images("demo", table, root=root)
    split = splits.make_split(table, "rotation1")
    splits.save_split(split, root / "data/splits/demo-rotation1.csv")
    save_table(table, root, "demo")
    return table


def save_table(table, root, name):
    """Write a table to data/tables."""
    (root / "data/tables").mkdir(exist_ok=True)
    table.to_csv(root / f"data/tables/{name}.csv", index=False)


def run(root, experiment, parameters):
    """Run notebooks by the names of their parameter files, with their parameters."""
    (root / "params" / experiment).mkdir()
    for name, values in parameters.items():
        file = root / f"params/{experiment}/{name}.yaml"
        file.write_text(yaml.safe_dump(values))
    execute(experiment)
