"""Scores of files, folders and lists: which pictures, what the numbers mean, and what a stop, a
change or a damaged file does to them.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image

import iqa_core
from iqa_core import evaluation, figures, runs
from iqa_core.apps import pictures, scoring
from iqa_core.apps.kept_rows import KeptRows
from iqa_core.apps.listing import list_images
from iqa_core.apps.score_pictures import draw_scores
from iqa_core.apps.scorers import NO_BF16, SHIPPED, Scorer, judged, open_scorer, sentence
from iqa_core.figures.colours import score_colour
from iqa_core.figures.scores import annotated
from iqa_core.full_reference import fr_measure
from iqa_core.models import create_model, list_models, module_of
from iqa_core.pixels import read_image

PHOTO = REPOSITORY / "data/demo/bee.png"


@pytest.fixture
def photos(tmp_path):
    """A folder of forty small pictures in three folders, and one that is their reference."""
    generator = np.random.default_rng(0)
    with Image.open(PHOTO) as photo:
        small = photo.convert("RGB").resize((64, 48))
    small.save(tmp_path / "reference.png")
    for number in range(40):
        noise = generator.normal(0, number + 1, (48, 64, 3))
        noisy = np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8)
        file = tmp_path / f"all/{'abc'[number % 3]}/{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(file)
    return tmp_path / "all"


def psnr_of(folder, **kwargs):
    """Scores by a measure, which needs no network."""
    reference = folder.parent / "reference.png"
    return scoring.score(folder, "psnr", reference=reference, progress=False, **kwargs)


# ---- which pictures


def test_folders_patterns_files_and_lists_name_the_same_pictures(photos, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.png").write_bytes(b"")
    whole = list_images([photos]).image.tolist()
    assert len(whole) == 40
    assert whole == sorted(whole)
    assert set(list_images(["*/*.png"]).image) == {os.path.relpath(path) for path in whole}
    assert list_images([*whole, photos]).image.tolist() == whole, "each once"
    rows = pd.DataFrame({"image": [os.path.relpath(path, photos) for path in whole]})
    rows.assign(reference="../reference.png", other=1).to_csv(photos / "list.csv", index=False)
    monkeypatch.chdir(photos.parent)
    listed = list_images([photos / "list.csv"])
    assert [os.path.abspath(path) for path in listed.image] == whole
    assert {os.path.abspath(path) for path in listed.reference} == {
        str(photos.parent / "reference.png")
    }


def test_references_are_found_by_name(photos, tmp_path):
    (tmp_path / "originals/a").mkdir(parents=True)
    Image.open(photos / "a/00.png").save(tmp_path / "originals/a/00.jpg")  # another ending
    shutil.copy(photos / "b/01.png", tmp_path / "originals/b-01.png")
    found = list_images([photos], reference=tmp_path / "originals").set_index("image").reference
    assert found[str(photos / "a/00.png")].endswith("a/00.jpg")
    assert (found != "").sum() == 1
    scores = scoring.score(photos, "psnr", reference=tmp_path / "originals", progress=False)
    assert scores.psnr.notna().sum() == 1
    assert {f["reason"] for f in scores.attrs["failures"]} == {"it has no reference"}


def test_links_that_lead_round_are_walked_once(photos):
    (photos / "a/loop").symlink_to(photos)
    (photos / "again").symlink_to(photos / "b")
    names = [os.path.realpath(path) for path in list_images([photos]).image]
    assert len(names) == len(set(names)) == 40


def test_what_is_not_there_is_refused_before_anything_is_scored(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("file,score\na.png,1\n")
    with pytest.raises(FileNotFoundError, match="holds no picture: none whose name ends in"):
        list_images([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="no file fits the pattern"):
        list_images([tmp_path / "*.png"])
    with pytest.raises(FileNotFoundError, match="give pictures, folders, patterns or CSV lists"):
        list_images([tmp_path / "absent.png"])
    with pytest.raises(ValueError, match="no column image, but file, score"):
        list_images([tmp_path / "list.csv"])
    with pytest.raises(FileNotFoundError, match="neither a picture nor a folder"):
        list_images([PHOTO], reference=tmp_path / "absent")
    Image.new("RGB", (9, 9)).save(tmp_path / "empty/other.png")
    with pytest.raises(FileNotFoundError, match="none of the 1 pictures' names.*looked for as bee"):
        list_images([PHOTO], reference=tmp_path / "empty")
    (tmp_path / "list.csv").write_text(f"image,reference\n{PHOTO},{PHOTO}\n")
    with pytest.raises(ValueError, match="has a column reference already"):
        list_images([tmp_path / "list.csv"], reference=PHOTO)
    (tmp_path / "list.csv").write_text("image;reference\na.png;b.png\n")
    with pytest.raises(ValueError, match="it seems to be separated by ;"):
        list_images([tmp_path / "list.csv"])
    (tmp_path / "list.csv").write_text("")
    with pytest.raises(ValueError, match="is empty: a list has a column image"):
        list_images([tmp_path / "list.csv"])
    with pytest.raises(ValueError, match=r"\.csv, \.json, \.parquet, not as x\.xlsx"):
        scoring.score(PHOTO, "psnr", save_results="x.xlsx")


# ---- the numbers and what they mean


def test_a_measure_through_the_scorer_is_the_measure(photos):
    scores = psnr_of(photos)
    reference = read_image(photos.parent / "reference.png")
    found = scoring.score(
        photos.glob("*/*.png"), "psnr", reference=photos.parent / "reference.png", progress=False
    )
    assert sorted(found.psnr) == sorted(scores.psnr), "paths of any kind"
    for row in scores.to_dict("records")[::7]:
        value = fr_measure("psnr", read_image(row["image"]), reference)
        assert row["psnr"] == pytest.approx(value, rel=1e-6)
    assert scores.columns.tolist() == ["image", "width", "height", "psnr"]
    assert (scores.width == 64).all()
    assert scores.psnr.is_monotonic_decreasing is False, "in the order of names, not of scores"


def test_several_scorers_read_a_picture_once(photos, monkeypatch):
    read = []

    def counted(path, **rule):
        read.append(str(path))
        return read_image(path, **rule)

    monkeypatch.setattr(pictures, "read_image", counted)
    reference = photos.parent / "reference.png"
    both = scoring.score(photos, ["psnr", "mdsi"], reference=reference, progress=False)
    images = [path for path in read if path != str(reference)]
    assert len(images) == len(set(images)) == 40
    lower = {facts["name"]: facts["higher_is_better"] for facts in both.attrs["scorers"]}
    assert lower == {"psnr": True, "mdsi": False}
    assert "LOWER is better" in sentence(both.attrs["scorers"][1])
    best = scoring.summary(both).set_index("scorer").best
    assert best["psnr"] == both.image[both.psnr.idxmax()]
    assert best["mdsi"] == both.image[both.mdsi.idxmin()]


def test_the_shipped_scorer_gives_what_predict_gives():
    model = runs.load_model(SHIPPED)
    scores = iqa_core.score([PHOTO, REPOSITORY / "data/demo/fig.png"], progress=False)
    known = evaluation.predict(model, [read_image(path) for path in scores.image])
    assert scores[SHIPPED].to_numpy() == pytest.approx(known, abs=1e-3)
    (facts,) = scores.attrs["scorers"]
    assert (facts["low"], facts["high"], facts["higher_is_better"]) == (0, 100, True)
    assert facts["error"]["n"] == 1344
    assert "not by people" in sentence(facts)
    other = open_scorer(SHIPPED, crops=1)
    assert other.facts["error"] is None, "it was measured with the contract's crops"
    assert "1 crop of 224" in sentence(other.facts)
    card = json.loads((REPOSITORY / "data/demo" / SHIPPED / "card.json").read_text())
    assert {row["photographs"] for row in card["agreement"]} == {
        "the training's, by rotations",
        "of no set here",
    }
    for row in card["agreement"]:
        low, high = row["content_specific_interval"]
        assert 0 < low < row["content_specific"] < high


def test_the_shipped_scorer_falls_with_distortion():
    table = scoring.ladder(PHOTO, "jpeg", [SHIPPED, "ssim"])
    assert table.level.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.ssim.is_monotonic_decreasing
    assert table[SHIPPED][0] > table[SHIPPED][5] + 20


def test_a_shipped_head_beside_another_backbone_is_refused(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(REPOSITORY / "data/demo" / SHIPPED, folder)
    facts = json.loads((folder / "model.json").read_text())
    facts["imagenet_backbone"] = "0" * 16
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"trained on the backbone 0{16}, but \w+ is installed"):
        open_scorer(str(folder))


def test_choices_are_refused_with_what_there_is():
    with pytest.raises(KeyError, match=r"no scorer 'weak_scorre'; did you mean 'weak_scorer'\?"):
        open_scorer("weak_scorre")
    with pytest.raises(KeyError, match="scale is 'percent'; there are predicted, fitted"):
        open_scorer(SHIPPED, scale="percent")
    with pytest.raises(ValueError, match="weak_scorer has no fitted scale"):
        open_scorer(SHIPPED, scale="fitted")
    with pytest.raises(ValueError, match="psnr is a measure: it has no choice of crops"):
        open_scorer("psnr", crops=4)
    with pytest.raises(ValueError, match="psnr is a measure: it has no choice of precision"):
        scoring.open_scorers(["psnr", "ssim"], precision="bf16")
    assert len(scoring.open_scorers(["psnr", SHIPPED], crops=4)) == 2
    with pytest.raises(ValueError, match="3 crops make no grid"):
        open_scorer(SHIPPED, crops=3)
    with pytest.raises(ValueError, match="precision is 'fp8'"):
        open_scorer(SHIPPED, precision="fp8")
    with pytest.raises(ValueError, match="psnr compares with the pristine picture: give"):
        scoring.score(PHOTO, "psnr")
    with pytest.raises(ValueError, match="no reference is wanted by weak_scorer; leave"):
        scoring.score(PHOTO, SHIPPED, reference=PHOTO)
    with pytest.raises(KeyError, match=r"ra_miqa has weights for several tasks: give --task cls"):
        open_scorer("ra_miqa")
    with pytest.raises(TypeError, match="opened pictures go to"):
        scoring.score(read_image(PHOTO))
    with Image.open(PHOTO) as picture, pytest.raises(TypeError, match="opened pictures go to"):
        scoring.score(picture)
    with pytest.raises(FileNotFoundError, match="weights get hyperiqa-koniq"):
        open_scorer("hyperiqa-koniq")


def test_tasks_name_the_weights_for_machines():
    with pytest.raises(FileNotFoundError, match="weights get ra_miqa-consistency-det"):
        open_scorer("ra_miqa", task="det", metric_type="consistency")
    with pytest.raises(FileNotFoundError, match="weights get resnet50-composite-cls"):
        open_scorer("resnet50", metric_type="composite")
    with pytest.raises(KeyError, match="task is 'seg'; there are cls, det, ins"):
        open_scorer("ra_miqa", task="seg")
    with pytest.raises(ValueError, match=r"weak_scorer has no weights for the task det.*ra_miqa"):
        open_scorer(SHIPPED, task="det")


@pytest.mark.parametrize("name", sorted({*list_models()} - {*NO_BF16}))
def test_scores_in_bf16_are_no_bf16_numbers(name):
    """8 bits are enough for features, not for a score."""
    network = create_model(name, **module_of(name).TEST_KWARGS[0], pretrained=False)
    network = evaluation.prepared(network, precision="bf16")
    sides = [network.contract.crop or 64] + [side for side in [network.contract.context] if side]
    with torch.inference_mode(), evaluation.computing(network):
        assert network(*(torch.rand(2, 3, side, side) for side in sides)).dtype == torch.float32


# ---- results that are kept


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_results_are_written_with_what_they_mean(photos, tmp_path, ending):
    file = tmp_path / f"scores.{ending}"
    scores = psnr_of(photos, save_results=file)
    if ending == "json":
        written = json.loads(file.read_text())
        rows = pd.DataFrame(written["scores"])
        assert written["about"]["scorers"][0]["units"] == "dB"
    else:
        rows = pd.read_csv(file) if ending == "csv" else pd.read_parquet(file)
    pd.testing.assert_frame_equal(rows, scores, check_dtype=False)
    about = json.loads((tmp_path / f"scores.{ending}.about.json").read_text())
    assert (about["images"], about["scored"], about["failures"]) == (40, 40, 0)
    assert about["scorers"][0]["higher_is_better"] is True
    assert not (tmp_path / f"scores.{ending}.failures.csv").exists()


class Stop(Exception):
    """What a test stops a scoring with."""


@pytest.mark.parametrize("cut", [0, 20])
@pytest.mark.parametrize("block", [0, 1])
def test_a_stopped_scoring_goes_on_to_the_same_file(photos, tmp_path, monkeypatch, block, cut):
    """Stopped after so many blocks; `cut`: and so many bytes short of the end of the last line."""
    monkeypatch.setattr(scoring, "BLOCK", 16)
    psnr_of(photos, save_results=tmp_path / "whole.csv")
    add, kept = KeptRows.add, []

    def stopping(self, rows):
        if len(kept) == block + 1:
            raise Stop
        add(self, rows)
        kept.append(len(rows))

    monkeypatch.setattr(KeptRows, "add", stopping)
    with pytest.raises(Stop):
        psnr_of(photos, save_results=tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()
    monkeypatch.setattr(KeptRows, "add", add)
    lines = tmp_path / ".scores.csv.rows"
    if cut:
        lines.write_bytes(lines.read_bytes()[:-cut])
    measured = []
    scored = scoring.scored
    monkeypatch.setattr(scoring, "scored", lambda p, s: measured.extend(p) or scored(p, s))
    psnr_of(photos, save_results=tmp_path / "scores.csv")
    assert len(measured) == 40 - sum(kept[: -1 if cut else None])
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_only_new_and_changed_pictures_are_scored_again(photos, tmp_path, monkeypatch):
    file = tmp_path / "scores.csv"
    before = psnr_of(photos, save_results=file)
    shutil.copy(photos.parent / "reference.png", photos / "a/00.png")  # changed
    shutil.copy(photos / "b/01.png", photos / "c/new.png")
    (photos / "b/04.png").unlink()
    measured = []
    scored = scoring.scored
    monkeypatch.setattr(scoring, "scored", lambda p, s: measured.extend(p) or scored(p, s))
    after = psnr_of(photos, save_results=file).set_index("image").psnr
    assert sorted(os.path.basename(picture.row["image"]) for picture in measured) == [
        "00.png",
        "new.png",
    ]
    assert after[str(photos / "a/00.png")] == 80
    assert str(photos / "b/04.png") not in after
    unchanged = before.set_index("image").psnr.drop([str(photos / "a/00.png")])
    assert (
        after.reindex(unchanged.index).dropna() == unchanged.drop(str(photos / "b/04.png"))
    ).all()


def test_other_settings_than_those_of_the_kept_rows_are_refused(photos, tmp_path):
    file = tmp_path / "scores.csv"
    psnr_of(photos, save_results=file)
    reference = photos.parent / "reference.png"
    with pytest.raises(ValueError, match="it scores psnr, now ssim is asked for"):
        scoring.score(photos, "ssim", reference=reference, save_results=file, progress=False)
    lines = tmp_path / ".scores.csv.rows"
    lines.write_text(lines.read_text().replace('"fp32"', '"fp16"', 1))
    with pytest.raises(ValueError, match=r"psnr: precision was 'fp16', is.*remove .*\.rows") as no:
        psnr_of(photos, save_results=file)
    lines.unlink()  # the advice, while a traceback is kept, as Jupyter does
    assert len(psnr_of(photos, save_results=file)) == 40, no
    settings = json.dumps(json.loads(lines.read_text().splitlines()[0])["settings"])
    with KeptRows(file, settings), pytest.raises(ValueError, match="another process is writing"):
        psnr_of(photos, save_results=file)


def test_failures_are_listed_and_tried_again(photos, tmp_path):
    file = tmp_path / "scores.csv"
    broken = photos / "a/00.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:300])
    scores = psnr_of(photos, save_results=file)
    assert scores.image[scores.psnr.isna()].tolist() == [str(broken)], "it keeps its row"
    failures = pd.read_csv(tmp_path / "scores.csv.failures.csv", keep_default_na=False)
    assert failures.image.tolist() == [str(broken)]
    assert "cannot be decoded" in failures.reason[0]
    broken.write_bytes(whole)
    assert len(psnr_of(photos, save_results=file)) == 40
    assert not (tmp_path / "scores.csv.failures.csv").exists()


def test_another_reference_is_another_score(photos, tmp_path):
    file, other = tmp_path / "scores.csv", tmp_path / "other.png"
    Image.new("RGB", (64, 48)).save(other)
    before = psnr_of(photos, save_results=file)
    kwargs = {"save_results": file, "progress": False}
    after = scoring.score(photos, "psnr", reference=other, **kwargs)
    assert (after.psnr < before.psnr - 1).all()
    shutil.copy(photos.parent / "reference.png", other)  # the same name, other pixels
    again = scoring.score(photos, "psnr", reference=other, **kwargs)
    assert again.psnr.tolist() == before.psnr.tolist()


def test_a_file_that_holds_something_else_is_never_overwritten(photos, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text(f"image,mos\n{photos / 'a/00.png'},3\n")
    for paths in (mine, photos):
        with pytest.raises(ValueError, match="holds no scores of ours: give another file"):
            scoring.score(paths, SHIPPED, save_results=mine)
    assert mine.read_text().startswith("image,mos")


def test_a_picture_that_is_too_large_for_memory_is_a_failure(photos):
    def judge(images, references):
        if any(image.shape[0] > 100 for image in images):
            raise torch.OutOfMemoryError("one view at a time is too large")
        return np.array([image.mean() for image in images])

    images = [np.full((40 + 70 * (n == 2), 50, 3), n, np.uint8) for n in range(4)]
    found = judged(Scorer("fake", judge, "", {}), images)
    assert [score for score, _ in found] == [0, 1, None, 3]
    assert found[2][1] == "one view at a time is too large"


# ---- the command line


def run_score(*arguments, cwd=REPOSITORY):
    return subprocess.run(
        [sys.executable, "-m", "iqa_core", "score", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_command_scores_and_says_what_the_number_means(photos, tmp_path):
    done = run_score(PHOTO, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 to 100; higher is better" in done.stdout
    (photos / "a/00.png").write_bytes(b"")
    out = tmp_path / "scores.csv"
    reference = photos.parent / "reference.png"
    done = run_score(photos, "--model", "psnr", "--reference", reference, "--save-results", out)
    assert done.returncode == 1
    assert "1 failure, listed in" in done.stdout
    assert "it is empty" in done.stdout
    assert pd.read_csv(out).psnr.notna().sum() == 39


# ---- pictures


def test_pictures_of_scores(photos, tmp_path):
    scores = psnr_of(photos)
    opened = draw_scores(scores, tmp_path / "drawn")
    assert all(path.exists() for path in opened)
    sheet = pd.read_csv(tmp_path / "drawn/score_sheet-psnr.csv")
    assert sheet.psnr.is_monotonic_decreasing
    histogram = pd.read_csv(tmp_path / "drawn/score_histogram.csv")
    assert histogram.pictures.sum() == 40


@pytest.mark.parametrize("size", [(20, 30), (33, 400), (1200, 1600)])
def test_the_number_on_a_picture_is_legible_and_inside(size):
    image = np.full((*size, 3), 128, np.uint8)
    colour = score_colour(90, 0, 100, higher_is_better=True)
    marked = annotated(image, "weak_scorer 90.12", colour)
    assert marked.shape == image.shape
    changed = (marked != image).any(-1)
    assert changed.mean() < 0.7
    assert (marked[changed] == colour).all(-1).any()


def test_a_ladder_is_drawn_with_what_is_in_its_table():
    table = scoring.ladder(PHOTO, "gaussian_blur", ["psnr", "mdsi"], levels=(1, 5))
    figure, data = figures.level_ladder(table, PHOTO, "gaussian_blur")
    assert data.equals(table)
    assert len(figure.axes) == 3 + 2
