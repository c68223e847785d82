"""The core story on a small part of the demo, through the runner: prepare, train twice, export; and
what then makes which part of it stale.
"""

import dataclasses
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import stated_tables
import tiny_project
import yaml
from conftest import REPOSITORY

from iqa_core import distortions, runs
from iqa_core.apps import execute, planning, scoring
from iqa_core.evaluation import predict
from iqa_core.metrics import apply_scale
from iqa_core.pixels import read_image
from iqa_core.runs import resume, sources
from iqa_core.training.prepare import FIT

STORY = {
    "01_prepare_data": {},
    "02_train_baseline": {"epochs": 1, "contract": {"crops": 1}, "measures": ["psnr", "vsi"]},
    "03_train_smart_iqa": {
        "epochs": 1,
        "frozen_crops": 1,
        "options": {},
    },
    "10_export_figures": {},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with tiny_project.project(tmp_path_factory.mktemp("project"), photos=16, every=11) as root:
        tiny_project.run(root, "tiny", STORY)
        yield root


def test_every_run_is_complete_and_in_the_index(root):
    for stem in STORY:
        assert (root / f"data/runs/tiny/{stem}/_SUCCESS").exists()
    index = pd.read_csv(root / "data/runs/index.csv")
    assert index.run.tolist() == list(STORY)
    facts = json.loads((root / "data/runs/tiny/02_train_baseline/params.json").read_text())
    assert index.split_hash[1] == facts["split_hash"]


def test_the_run_s_model_predicts_what_its_file_says(root):
    folder = root / "data/runs/tiny/02_train_baseline"
    rows = pd.read_csv(folder / "predictions.csv").groupby("split").head(2)
    images = [read_image(root / image) for image in rows.image]
    model = runs.load_model("tiny/02_train_baseline")
    assert predict(model, images) == pytest.approx(rows.predicted.to_numpy(), abs=1e-3)
    assert set(rows.split) == {"val", "test"}


def test_a_run_scores_with_its_range_and_its_own_error(root):
    run = "tiny/02_train_baseline"
    rows = pd.read_csv(root / f"data/runs/{run}/predictions.csv")
    tested = rows[rows.split == "test"]
    paths = [root / image for image in tested.image[:3]]
    scores = scoring.score(paths, run, progress=False)
    assert scores[run].to_numpy() == pytest.approx(tested.predicted[:3].to_numpy(), abs=1e-2)
    (facts,) = scores.attrs["scorers"]
    assert (facts["low"], facts["high"]) == (0, 100)
    assert facts["error"]["n"] == len(tested)
    wanted = ((tested.predicted - tested.label) ** 2).mean() ** 0.5
    assert facts["error"]["rmse"] == pytest.approx(wanted)
    assert "demo-rotation1" in facts["trained_on"] and "not of people" in facts["caution"]
    fitted = scoring.score(paths, run, scale="fitted", progress=False)
    calibration = runs.load_model(run).contract.calibration
    known = apply_scale(calibration, scores[run].to_numpy())
    assert fitted[run].to_numpy() == pytest.approx(known, abs=1e-2)


def test_figures_come_in_every_format_with_their_numbers(root):
    for name in ("training_curves", "scatter", "distortion_bars", "examples"):
        for suffix in ("pdf", "png", "svg", "csv", "tex"):
            assert (root / f"figures/tiny-{name}.{suffix}").stat().st_size > 100
    history = pd.read_csv(root / "data/runs/tiny/02_train_baseline/history.csv")
    drawn = pd.read_csv(root / "figures/tiny-training_curves.csv")
    assert drawn.val_l1.tolist() == history.val_l1.tolist()


def test_the_table_has_every_method_and_the_rule_that_sees_no_pixel(root):
    results = pd.read_csv(root / "figures/tiny-results.csv")
    trained = {"HyperIQA (light head)", "SMART-IQA, fixed backbone"}
    assert set(results.method) == trained | {"content-blind", "psnr", "vsi"}
    nothing = results.specific.isna()
    assert set(results.method[nothing]) == {"content-blind"} and results.specific_p.notna().any()
    assert set(results.label) == {"label", "label2"}
    assert str(results.n[0]) in (root / "figures/tiny-results.tex").read_text()
    differences = pd.read_csv(root / "figures/tiny-differences.csv")
    assert len(differences) == 4, "a pair of methods, two labels, two statistics"


def test_every_table_states_what_its_numbers_are_of(root):
    found, number = stated_tables.faults(root, "tiny")
    assert not found, "\n".join(found)
    assert number >= 9, "01, 02, 03 and 10 display 1, 1, 2 and 2, and write 3"


def test_smart_iqa_found_what_to_compare_with_by_itself(root):
    facts = runs.read_json(root / "data/runs/tiny/03_train_smart_iqa/params.json")
    assert "data/runs/tiny/02_train_baseline/predictions.csv" in facts["files"]


@pytest.mark.slow
def test_other_measures_cost_no_training(root):
    first = runs.finished("tiny/02_train_baseline")
    values = yaml.safe_dump(STORY["02_train_baseline"] | {"measures": ["psnr"]})
    file = root / "params/tiny/02_train_baseline--psnr.yaml"
    file.write_text(values)
    (took,) = execute.execute("tiny/02_train_baseline--psnr")
    other = runs.finished(took.job.name)
    assert "not trained again: it is the kept training" in (other / "train.log").read_text()
    for name in ("history.csv", "predictions.csv"):
        assert (other / name).read_bytes() == (first / name).read_bytes()
    # 03 and 10 took the first, and a newer one of the method is there now
    reasons = {stem: why for stem, why in stale(root).items() if why}
    file.unlink()
    assert set(stale(root).values()) == {""}, "without its file it is a trial"
    assert reasons == {
        "03_train_smart_iqa": f"the newest runs are now {took.job.name}",
        "10_export_figures": f"the newest runs are now {took.job.name}, tiny/03_train_smart_iqa",
    }
    shutil.rmtree(other)


def stale(root, notebooks=REPOSITORY / "notebooks"):
    """Why each run of the story is to be made again, by notebook."""
    parameters = {job.run: job.parameters for job in planning.plan("tiny", root=root)}
    return {
        stem: resume.why_again(
            notebooks / f"{stem}.ipynb",
            parameters[stem],
            folder=root / f"data/runs/tiny/{stem}",
            root=root,
        )
        for stem in STORY
    }


def training_code(name):
    return sources.code_of_modules({FIT, f"iqa_core.models.{name}"})


TRAININGS = {"02": "hyperiqa", "03": "smart_iqa"}
CODE = "\n\ndef _more():\n    return 1\n"
CHANGES = {  # file: what is added, the notebooks that are stale, the trainings that are
    "figures/curves.py": ("comment", "", ""),
    "study.py": ("docstring", "", ""),
    "models/maniqa.py": (CODE, "", ""),
    "figures/variants.py": (CODE, "", ""),
    "apps/sweep.py": (CODE, "", ""),
    "runs/folders.py": (CODE, "", ""),
    "figures/curves.py ": (CODE, "02 03 10", ""),
    "figures/data.py": (CODE, "01 02 03", ""),
    "tables/agreement.py": (CODE, "02 03 10", ""),
    "full_reference.py": (CODE, "02", ""),
    "leakage.py": (CODE, "01", ""),
    "models/smart_iqa.py": (CODE, "03", "03"),
    "training/losses.py": (CODE, "02 03", "02 03"),
    "loading/views.py": (CODE, "02 03", "02 03"),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, one for all changes: what stays the same is read once."""
    return shutil.copytree(sources.PACKAGE, tmp_path_factory.mktemp("copy") / "iqa_core")


@pytest.mark.parametrize("file", CHANGES)
def test_code_makes_stale_what_reaches_it(root, package, monkeypatch, file):
    trained = {number: training_code(name) for number, name in TRAININGS.items()}
    monkeypatch.setattr(sources, "PACKAGE", package)
    assert set(stale(root).values()) == {""}
    added, notebooks, trainings = CHANGES[file]
    path = package / file.strip()
    text = path.read_text()
    changed = {"docstring": text.replace('"""', '"""More: ', 1), "comment": f"# more\n\n\n{text}"}
    path.write_text(changed.get(added, f"{text}{added}"))
    try:
        reasons = {stem[:2]: why for stem, why in stale(root).items() if why}
        again = [n for n, name in TRAININGS.items() if training_code(name) != trained[n]]
    finally:
        path.write_text(text)
    assert reasons == dict.fromkeys(notebooks.split(), f"iqa_core/{file.strip()} changed")
    assert again == trainings.split()


FILES = {
    "data/demo/labels.csv": ("01", "label files of demo changed"),
    "data/tables/demo.csv": ("01 02 03 10", "data/tables/demo.csv has changed"),
    "data/splits/demo-rotation1.csv": (
        "01 02 03 10",
        "data/splits/demo-rotation1.csv has changed",
    ),
    "data/runs/tiny/02_train_baseline/predictions.csv": (
        "03 10",
        "data/runs/tiny/02_train_baseline/predictions.csv has changed",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_makes_stale_what_read_it(root, name):
    before = (root / name).read_bytes()
    (root / name).write_bytes(before + b"\n")
    try:
        reasons = {stem[:2]: why for stem, why in stale(root).items() if why}
    finally:
        (root / name).write_bytes(before)
    notebooks, reason = FILES[name]
    assert reasons == dict.fromkeys(notebooks.split(), reason)


def test_an_operator_of_the_set_makes_stale_what_reads_its_images(root, monkeypatch):
    def other(image, parameter, random):
        return image

    used = set(pd.read_csv(root / "data/demo/labels.csv").distortion)
    kinds = distortions.REGISTRY
    unused = min(set(kinds) - used)
    monkeypatch.setitem(kinds, unused, dataclasses.replace(kinds[unused], apply=other))
    assert set(stale(root).values()) == {""}
    name = min(used)
    monkeypatch.setitem(kinds, name, dataclasses.replace(kinds[name], apply=other))
    reasons = {stem[:2]: why for stem, why in stale(root).items() if why}
    assert reasons == dict.fromkeys(["01", "02", "03"], "operators of demo changed")


def test_of_a_notebook_its_code_counts_and_its_words_do_not(root, tmp_path):
    for change in ("markdown", "comment", "default", "code"):
        shutil.rmtree(tmp_path / "notebooks", ignore_errors=True)
        shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
        path = tmp_path / "notebooks/02_train_baseline.ipynb"
        notebook = json.loads(path.read_text())
        parameters = notebook["cells"][2]["source"]
        if change == "markdown":
            notebook["cells"][0]["source"].append("More.")
        if change == "comment":
            notebook["cells"][3]["source"].append("\n\n# more")
        if change == "default":
            parameters[:] = [
                line.replace("batch_size: int = 16", "batch_size: int = 8") for line in parameters
            ]
        if change == "code":
            notebook["cells"][3]["source"].append("\nmore = 1")
        path.write_text(json.dumps(notebook))
        reasons = {stem: why for stem, why in stale(root, tmp_path / "notebooks").items() if why}
        assert reasons == {
            "default": {"02_train_baseline": "batch_size was 16, is 8"},
            "code": {"02_train_baseline": "code of 02_train_baseline.ipynb has changed"},
        }.get(change, {}), change


def test_another_python_and_a_run_of_an_earlier_format_are_reasons(root):
    file = root / "data/runs/tiny/10_export_figures/params.json"
    before = file.read_text()
    facts = json.loads(before)
    try:
        facts["versions"]["python"] = "3.9.1"
        file.write_text(json.dumps(facts))
        assert "it was made with Python 3.9, this is 3." in stale(root)["10_export_figures"]
        file.write_text(json.dumps({"parameters": facts["parameters"]}))
        assert "an earlier version of the workbook" in stale(root)["10_export_figures"]
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_own_images_without_references_by_run_and_by_papermill(root, capfd):
    """The README's form of a set of one's own, the whole story, then the training's notebook once
    more by papermill alone.
    """
    table = pd.read_csv(root / "data/tables/demo.csv")[["image", "label", "content"]]
    folder = root / "data/raw/own"
    folder.mkdir(parents=True)
    for image in table.image:
        (folder / image.rpartition("/")[2]).symlink_to(root / image)
    names = table.image.str.rpartition("/")[2]
    table.assign(image=names).to_csv(folder / "labels.csv", index=False)
    own = {"data_set": "own", "split": "own-random80-0", "epochs": 1, "contract": {"crops": 1}}
    story = {
        "01_prepare_data": {"data_set": "own", "schemes": ["random80-0"]},
        "02_train_baseline": own,
        "10_export_figures": {},
    }
    tiny_project.run(root, "own", story)
    said = capfd.readouterr().out
    told = "no references, so not measured on this set: psnr, ssim, vsi"
    assert said.index(told) < said.index("model: LightHyperIQA")
    assert "This set does not tell distortions." in said
    command = [sys.executable, "-m", "papermill", "notebooks/02_train_baseline.ipynb"]
    command += [str(root / "out.ipynb"), "-f", "params/own/02_train_baseline.yaml"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (other,) = (root / "data/runs/lab").glob("02_train_baseline--*")
    assert "not trained again" in (other / "train.log").read_text()
    first = root / "data/runs/own/02_train_baseline/predictions.csv"
    assert (other / "predictions.csv").read_bytes() == first.read_bytes()
