"""Every YAML file of params/ is accepted by its notebook, and every experiment says how to run it
and what to expect.
"""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from torch import nn
from training_jobs import fit

from iqa_core import pixels, training
from iqa_core.apps import planning
from iqa_core.loading.views import grid
from iqa_core.models import Contract, create_model
from iqa_core.runs.parameters import declared_parameters

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
    command = rf"(iqa_core run|make) {re.escape(experiment)}\b"
    time = r"(\d|\bhalf an?|\ba few) ?(s|seconds?|min|minutes?|hours?|h|days?)\b"
    wanted = {
        f"the command (python -m iqa_core run {experiment}/...)": command,
        "the time it takes (6 minutes on ...)": time,
        "what to expect (expect  SRCC .84)": r"(?i)\bexpect\W+\w",
    }
    return [what for what, pattern in wanted.items() if not re.search(pattern, text)]


if not FILES:
    pytest.skip("no experiment in params/ yet", allow_module_level=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_notebook_accepts_the_file(path):
    parameters = planning.check_file(path, root=REPOSITORY)
    assert (parameters["experiment"], parameters["run"]) == (path.parent.name, path.stem)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_says_how_and_what_to_expect(path):
    lacking = faults(header(path), experiment=path.parent.name)
    assert not lacking, (
        f"{path.parent.name}/{path.name}: its header comment lacks {'; '.join(lacking)}"
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_experiment_gives_a_number_to_expect(folder):
    told = [header(path) for path in sorted(folder.glob("*.yaml"))]
    assert any(re.search(r"(?i)\bexpect\W[^\n]*(?<!\w)\d*\.?\d", text) for text in told)


TRAININGS = ("02_train_baseline", "03_train_smart_iqa")
OF_KONIQ = [path for path in FILES if path.parent.name.startswith("koniq10k")]
TRAINED = [path for path in OF_KONIQ if path.stem.partition("--")[0] in TRAININGS]
RECIPES = {path.stem: path for path in TRAINED if path.parent.name == "koniq10k"}
TEN_SPLITS = [path for path in TRAINED if path.parent.name == "koniq10k-10splits"]
CORRECTED = [path for path in TRAINED if path.stem.endswith("--corrected")] + TEN_SPLITS


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_published_recipes_choose_on_test_and_turn_landscapes_and_the_corrected_ones_do_not(recipe):
    given = planning.check_file(RECIPES[recipe], root=REPOSITORY)
    kind = recipe.partition("--")[2]
    landscape = np.zeros((768, 1024, 3), np.uint8)
    resized = pixels.resize(landscape, tuple(given["contract"]["resize"]))
    sizes = {"corrected": (384, 512), "maniqa": (224, 224)}
    assert resized.shape[:2] == sizes.get(kind, (512, 384))
    assert given["options"].get("select", "val") == ("val" if kind == "corrected" else "test")


@pytest.mark.parametrize("path", CORRECTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_corrected_recipes_are_the_notebooks_but_for_sizes_rates_flips_and_clipping(path):
    own = planning.read_parameters(path)
    allowed = {"data_set", "split", "arguments", "contract", "scale_label", "seed"}
    allowed |= {"epochs", "crops_per_image", "batch_size", "backbone_lr", "head_lr", "options"}
    options = {"flips", "validate_every"}
    if path.stem.startswith("03"):
        allowed |= {"frozen_crops", "baseline", "weight_decay"}
        options |= {"clip"}  # the report's
    else:
        allowed |= {"measures"}
    assert set(own) <= allowed and set(own["options"]) <= options


def test_the_ten_splits_are_trained_by_the_corrected_recipes_and_compared_on_the_same_split():
    assert len(TEN_SPLITS) == 10 * len(TRAININGS)
    for path in TEN_SPLITS:
        own, k = planning.read_parameters(path), int(path.stem[-2:])
        of_one_split = {"split": f"koniq10k-random80-{k}", "seed": k}
        if "baseline" in own:
            of_one_split["baseline"] = f"koniq10k-10splits/02_train_baseline--split{k:02}"
        whole = planning.read_parameters(RECIPES[f"{path.stem.partition('--')[0]}--corrected"])
        assert own == whole | of_one_split


@pytest.mark.parametrize(
    "path", [path for path in TRAINED if path.stem.startswith("03")], ids=lambda path: path.stem
)
def test_what_a_training_is_compared_with_is_trained_on_the_same_split(path):
    given = planning.check_file(path, root=REPOSITORY)
    other = planning.read_parameters(REPOSITORY / f"params/{given['baseline']}.yaml")
    assert other["split"] == given["split"]


def test_every_command_of_the_reproduction_page_names_a_parameter_file():
    page = " ".join((REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8").split())
    wanted = re.findall(r"`iqa_core run ([^` ]+)([^`]*)`", page)
    assert len({target for target, _ in wanted}) > 15
    for target, rest in wanted:
        names = set(re.findall(r"--set \"?(\w+)=", rest))
        for path in planning.parameter_files(target, root=REPOSITORY):
            notebook = REPOSITORY / f"notebooks/{path.stem.partition('--')[0]}.ipynb"
            assert names <= set(declared_parameters(notebook))


def test_every_file_of_koniq_is_wanted_on_the_reproduction_page():
    page = (REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8")
    tables = {f"koniq10k/{path.stem}" for path in FILES if path.parent.name == "koniq10k"}
    assert {name for name in tables if f"run {name}" not in page} == {"koniq10k/10_export_figures"}


def test_errors_of_the_miqa_tables_follow_from_their_correlations():
    """RMSE = s sqrt(1 - PLCC^2) after a least-squares fit, s one number a column."""
    page = (REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8")
    section = page.partition("## MIQA")[2].partition("\n## ")[0]
    rows = [re.findall(r"(?<!\d)\.\d{4}", line) for line in section.splitlines() if "| ." in line]
    composite = np.array([row for row in rows if len(row) == 12], float).reshape(13, 3, 4)
    two_labels = np.array([row for row in rows if len(row) == 18], float).reshape(11, 6, 3)
    for plcc, rmse in (
        (composite[..., 1], composite[..., 3]),
        (two_labels[..., 1], two_labels[..., 2]),
    ):
        deviations = rmse / np.sqrt(1 - plcc**2)
        expected = np.median(deviations, axis=0) * np.sqrt(1 - plcc**2)
        assert np.abs(rmse - expected).max() < 2e-4


TARGET_NETWORK = 711_545
RESNET_HEAD = 2_680_432 + TARGET_NETWORK
SWIN_HEAD = 197_892 + 897_904 + TARGET_NETWORK
SWIN_BASE_HEAD = 263_428 + 1_143_664 + TARGET_NETWORK


@pytest.mark.parametrize(
    ("recipe", "slow", "fast"),
    [
        ("02_train_baseline--hyperiqa-paper-code", 23_508_032 + 475_360, RESNET_HEAD),
        ("02_train_baseline--report-baseline", 23_508_032 + 475_360, RESNET_HEAD),
        ("02_train_baseline--report-baseline-20", 23_508_032 + 475_360, RESNET_HEAD),
        ("02_train_baseline--maniqa", 86_576_872, 135_747_530 - 86_576_872),
        ("03_train_smart_iqa--smart-iqa", 86_741_176 + 252_128, SWIN_BASE_HEAD),
        ("03_train_smart_iqa--smart-iqa-small", 50_839_383 - SWIN_HEAD, SWIN_HEAD),
        ("03_train_smart_iqa--smart-iqa-tiny", 29_521_479 - SWIN_HEAD, SWIN_HEAD),
    ],
)
def test_group_sizes_and_rates_of_published_recipes(recipe, slow, fast):
    """As counted in the published codes: the local distortion parts learn with the backbone."""
    given = planning.check_file(RECIPES[recipe], root=REPOSITORY)
    name = "smart_iqa" if recipe.startswith("03") else given.get("model", "hyperiqa")
    with torch.device("meta"):
        model = create_model(name, **given["arguments"], pretrained=False)
    decay = given["weight_decay"]
    groups = training.prepare.parameter_groups(model, training.Recipe.from_parameters(given))
    assert [sum(p.numel() for p in group["params"]) for group in groups] == [slow, fast]
    assert [group["weight_decay"] for group in groups] == [decay, decay]


HYPERIQA_CODE = dict(
    optimizer="adam",
    schedule="hyperiqa",
    backbone_parts=["backbone", "local"],
    clip=None,
    label_scale="raw",
    flips="horizontal",
    rebuild_optimizer=True,
    exhausted_filter=True,
    random_validation=True,
    select="test",
)
SMART_RESNET_CODE = HYPERIQA_CODE | dict(schedule="smart_resnet", patience=5)
OF_KILLED_RUN = SMART_RESNET_CODE | dict(colour_jitter=True)  # centre crops: below, crops 1
del OF_KILLED_RUN["random_validation"]
SMART_CODE = dict(
    optimizer="adamw",
    schedule="smart",
    backbone_parts=["backbone", "local"],
    clip=1.0,
    label_scale="raw",
    flips="horizontal",
    random_validation=True,
    patience=3,
    select="test",
)
OF_MANIQA = dict(
    optimizer="adam",
    schedule="maniqa",
    loss="l2",
    clip=None,
    label_scale="unit",
    flips="vertical",
    select="test",
)
FLIPS = dict(flips="horizontal", validate_every=1)
OF_SMART = ((10, 20, 32, 5e-7, 5e-6, 2e-4, 20, "qalign", 42), SMART_CODE)
# (epochs, crops an image, batch, backbone's and head's rate, decay, test crops, split of KonIQ-10k,
# seed), options
PUBLISHED = {
    "02_train_baseline--hyperiqa-paper-code": (
        (16, 25, 96, 2e-5, 2e-4, 5e-4, 25, "random80-1", 0),
        HYPERIQA_CODE,
    ),
    "02_train_baseline--report-baseline": (
        (10, 25, 96, 1e-4, 1e-3, 5e-4, 25, "qalign", 42),
        SMART_RESNET_CODE,
    ),
    "02_train_baseline--report-baseline-20": (
        (10, 25, 96, 1e-4, 1e-3, 5e-4, 1, "qalign", 42),
        OF_KILLED_RUN,
    ),
    "02_train_baseline--maniqa": (
        (300, 1, 8, 1e-5, 1e-5, 1e-5, 1, "random80-20", 20),
        OF_MANIQA,
    ),
    "02_train_baseline--corrected": ((10, 4, 96, 1e-4, 1e-3, 1e-4, 25, "official", 0), FLIPS),
    "03_train_smart_iqa--smart-iqa": OF_SMART,
    "03_train_smart_iqa--smart-iqa-small": OF_SMART,
    "03_train_smart_iqa--smart-iqa-tiny": OF_SMART,
}


@pytest.mark.parametrize("recipe", sorted(PUBLISHED))
def test_every_value_of_a_recipe(recipe):
    given = {"weight_decay": 1e-4} | planning.check_file(RECIPES[recipe], root=REPOSITORY)
    names = ("epochs", "crops_per_image", "batch_size", "backbone_lr", "head_lr", "weight_decay")
    split = given["split"].removeprefix("koniq10k-")
    values = (*(given[name] for name in names), given["contract"]["crops"], split, given["seed"])
    assert (values, given["options"]) == PUBLISHED[recipe]


def test_every_published_recipe_is_pinned():
    assert set(RECIPES) - set(PUBLISHED) == {"03_train_smart_iqa--corrected"}


class Parts(nn.Module):
    """A stand-in with the parts of HyperIQA and SMART-IQA, on the mean colour."""

    def __init__(self):
        super().__init__()
        self.contract = Contract("test", crop=16, crops=1)
        self.backbone, self.local, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, images):
        return self.head(self.local(self.backbone(images.mean((2, 3))).tanh()))[:, 0]


# (backbone's, head's) rates of every epoch as the published codes have them, and whether the head
# learns after the first. Read: HyerIQASolver.py of both repositories. Executed: SMART-IQA's.
OF_SMART_EPOCHS = (
    1e-7 * np.array([5.00, 5.12, 5.48, 6.03, 6.73, 7.50, 8.27, 8.97, 9.52, 9.88]),
    1e-6 * np.array([5.00, 4.90, 4.62, 4.18, 3.62, 3.00, 2.38, 1.82, 1.38, 1.10]),
    True,
)
OF_SMART_RESNET_EPOCHS = ([1e-4] * 7 + [1e-5] * 3, [1e-3] * 7 + [1e-4] * 3, False)
EPOCHS = {
    "02_train_baseline--hyperiqa-paper-code": (
        [2e-5] * 16,
        [2e-4] * 7 + [2e-5] * 3 + [2e-6] * 3 + [2e-7] * 3,
        False,
    ),
    "02_train_baseline--report-baseline": OF_SMART_RESNET_EPOCHS,
    "02_train_baseline--report-baseline-20": OF_SMART_RESNET_EPOCHS,
    "03_train_smart_iqa--smart-iqa": OF_SMART_EPOCHS,
    "03_train_smart_iqa--smart-iqa-small": OF_SMART_EPOCHS,
    "03_train_smart_iqa--smart-iqa-tiny": OF_SMART_EPOCHS,
}


@pytest.mark.parametrize("recipe", sorted(EPOCHS))
def test_rates_and_what_learns_in_every_epoch_of_a_recipe(recipe):
    """The recipe itself, but for its batches, trains the stand-in on flat pictures."""
    given = planning.check_file(RECIPES[recipe], root=REPOSITORY)
    sizes = dict(batch_size=8, crops_per_image=1, patience=None)
    options = training.Recipe.from_parameters(given).model_dump() | sizes
    images = [np.full((16, 16, 3), 10 * i, np.uint8) for i in range(16)]
    data = (images, pd.DataFrame({"label": np.arange(16) * 5.0}))
    torch.manual_seed(0)
    model, seen, rows = Parts(), [], []
    seen.append([part.weight.detach().clone() for part in model.children()])
    for row in fit(model, *data, *data, monitor={"test": data}, **options):
        rows.append(row)
        seen.append([part.weight.detach().clone() for part in model.children()])
    backbone, head, goes_on = EPOCHS[recipe]
    assert [row["backbone_lr"] for row in rows] == pytest.approx(list(backbone), rel=2e-3)
    assert [row["head_lr"] for row in rows] == pytest.approx(list(head), rel=5e-3)
    for epoch, (before, after) in enumerate(pairwise(seen)):
        moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert moved == [True, True, epoch == 0 or goes_on]


def test_one_crop_of_the_killed_run_is_the_centre_one():
    """torchvision's CenterCrop(224) of 512 x 384 begins at round((512 - 224) / 2), likewise 80."""
    given = planning.check_file(RECIPES["02_train_baseline--report-baseline-20"], root=REPOSITORY)
    height, width = given["contract"]["resize"]
    assert grid(height, width, crop=224, crops=given["contract"]["crops"]) == [(144, 80)]


def test_the_header_rule():
    good = "The demo.\ncommand  python -m iqa_core run demo/01\n"
    good += "time     6 minutes on 2 cores\nexpect   SRCC .84"
    assert not faults(good, experiment="demo")
    assert len(faults("The demo.", experiment="demo")) == 3
    assert len(faults(good.replace("6 minutes", "TIME"), experiment="demo")) == 1
    assert len(faults(good, experiment="koniq10k")) == 1
