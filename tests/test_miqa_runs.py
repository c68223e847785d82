"""params/miqd on a small tree of the published layout: every task and label run to the end, one
killed and resumed, tested on another task, beside the paper's tables.
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import raw_trees
import tiny_project
import yaml
from conftest import REPOSITORY
from PIL import Image

from iqa_core import datasets, tables
from iqa_core.apps.miqa_tables import predict_elsewhere, read_measured

TASKS = ("cls", "det", "ins")
LABELS = ("composite", "consistency", "accuracy")
TYPES = ("jpeg_compression", "pixelate")
SMALL = {"backbone": "vit_tiny_patch16_224", "region": "mobilenetv3_small_050", "pretrained": False}


def recipe(name, **changes):
    """The values of a parameter file of params/miqd, changed."""
    file = REPOSITORY / f"params/miqd/02_train_baseline--{name}.yaml"
    return yaml.safe_load(file.read_text()) | changes


def of_cell(name, task, label, **changes):
    """What `--set data_set=... --set split=... --set target=...` make of that file, made small."""
    values = recipe(name, data_set=f"miqd_{task}", split=f"miqd_{task}-official", target=label)
    values["arguments"] = values["arguments"] | SMALL
    return values | {"epochs": 1, "batch_size": 10, "measures": ["psnr"]} | changes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project with MIQD-2.5M's three tasks, a few pictures each, and notebook 01 run on them."""
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=1, every=48) as root:
        generator = np.random.default_rng(0)
        for task in TASKS:
            folder = raw_trees.folder_of(root, f"miqd_{task}")
            getattr(raw_trees, f"miqd_{task}")(folder, TYPES)
        for task in TASKS:
            table = datasets.load_table(f"miqd_{task}", root=root)
            for path in {*table.image, *table.reference}:
                file = root / path
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    pixels = generator.integers(0, 255, (40, 48, 3)).astype(np.uint8)
                    Image.fromarray(pixels).save(file, format="PNG")
        prepared = {}
        for task in TASKS:
            file = REPOSITORY / f"params/miqd/01_prepare_data--{task}.yaml"
            prepared[file.stem] = yaml.safe_load(file.read_text()) | {"resize": [32]}
        tiny_project.run(root, "prepared", prepared)
        yield root


@pytest.mark.slow
def test_every_cell_is_a_run(root):
    """RA-MIQA by its published recipe; nine runs, of which the last is killed and goes on."""
    cells = {
        f"02_train_baseline--ra_miqa-{task}-{label}": of_cell("ra_miqa-published", task, label)
        for task in TASKS
        for label in LABELS
    }
    *first, last = cells
    tiny_project.run(root, "miqd", {name: cells[name] for name in first})
    changed = cells[last] | {"epochs": 6}
    changed["options"] = changed["options"] | {"checkpoint_minutes": 0.0}
    (root / f"params/miqd/{last}.yaml").write_text(yaml.safe_dump(changed))
    command = [sys.executable, "-m", "iqa_core", "run", f"miqd/{last}"]
    running = subprocess.Popen(
        command, cwd=root, env=os.environ | {"IQA_ROOT": str(root)}, start_new_session=True
    )
    while running.poll() is None and not list((root / "data/runs/.trainings").rglob("last.ckpt")):
        time.sleep(0.2)
    assert running.poll() is None, "it ended before it could be killed"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run(command, cwd=root, check=True, env=os.environ | {"IQA_ROOT": str(root)})
    folder = root / "data/runs/miqd" / last
    assert "goes on from last.ckpt" in (folder / "train.log").read_text()

    index = pd.read_csv(root / "data/runs/index.csv")
    assert set(cells) <= set(index.run)
    for name, values in cells.items():
        predictions = pd.read_csv(root / f"data/runs/miqd/{name}/predictions.csv")
        table = datasets.saved_table(values["data_set"], root=root).set_index("image")
        labels = table.loc[predictions.image, values["target"]]
        assert predictions.label.tolist() == pytest.approx(labels.tolist())
        history = pd.read_csv(root / f"data/runs/miqd/{name}/history.csv")
        assert history.step.iloc[0] == 2, "a validation after half an epoch of five steps"

    # measured cells stand beside what the paper reports; a small network is none of its methods
    measured = read_measured("miqd")
    assert set(measured.method) == {"PSNR"}
    shown = tables.reported_and_measured(measured, task="det", label="accuracy")
    reported, value = shown.loc["PSNR", "SRCC"].split(" | ")
    assert (reported, value == "--") == (".2234", False)
    assert shown.loc["RA-MIQA", "SRCC"] == ".7448 | --"

    out = root / "cross.csv"
    with pytest.warns(RuntimeWarning, match="1 content or image to resample: no interval"):
        sentences = predict_elsewhere(
            f"miqd/{first[0]}", "miqd_det:official", out, target="accuracy"
        )
    assert "n 50, SRCC" in sentences[0]
    assert [*pd.read_csv(out)] == ["image", "prediction", "label", "absolute_error"]
    with pytest.raises(KeyError, match="has no column 'quality'"):
        predict_elsewhere(f"miqd/{first[0]}", "miqd_det:official", out, target="quality")


@pytest.mark.slow
def test_the_mended_recipe_and_a_baseline(root):
    """Chosen on val, and never on test."""
    arguments = {"backbone": "resnet18", "pretrained": False}
    runs = {
        "02_train_baseline--ra_miqa": of_cell("ra_miqa", "cls", "composite"),
        "02_train_baseline--resnet18": of_cell("resnet18", "ins", "accuracy")
        | {"arguments": arguments},
    }
    tiny_project.run(root, "mended", runs)
    index = pd.read_csv(root / "data/runs/index.csv").set_index("run")
    assert (index.loc[list(runs)].selected_on == "val").all()
