"""Labels from vision models, end to end on small trees: made, kept, read again, trained on, and
what rejecting by a score is worth.
"""

import json
import shutil

import label_machines
import numpy as np
import pandas as pd
import pytest
import raw_trees
import torch
from PIL import Image

from iqa_core import datasets, evaluation, loading, models, rejection, splits, study, training
from iqa_core.apps import labels, made_labels
from iqa_core.apps.distort_tree import write_tree
from iqa_core.apps.filtering import filter_images
from iqa_core.apps.labels import Panel, make_labels
from iqa_core.detections import Matches
from iqa_core.mmos import Choices

CLASSIFIERS = ["callable:label_machines:classifier", "callable:label_machines:other_classifier"]
SOFT = Choices(similarity="bhattacharyya")


@pytest.fixture(autouse=True)
def fresh_machines():
    label_machines.ASKED.clear()
    label_machines.FAIL_AFTER[0] = None


@pytest.fixture
def tree(project):
    """The table of six photographs, a bright patch on colour, each in the same six versions."""
    photos = project.root / "data/raw/own/photos"
    photos.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(6):
        image = generator.integers(20, 90, (64, 80, 3)) + 40 * np.eye(3, dtype=int)[number % 3]
        image[20:50, 20 + number : 60] = 230
        Image.fromarray(image.astype(np.uint8)).save(photos / f"photo{number}.png")
    out = project.root / "data/raw/distorted"
    write_tree(photos, out, names=["darkness", "gaussian_noise"], levels=(1, 3, 5), processes=1)
    return labels.source_table(str(out / "images.csv"), root=project.root)


def made(tree, root, *, panel=CLASSIFIERS, name="own_mmos", **options):
    settings = {key: options.pop(key) for key in [*options] if key in Panel.__dataclass_fields__}
    return make_labels(
        tree, Panel(panel, **settings), name, root=root, log=lambda text: None, **options
    )


def test_labels_of_a_panel(tree, project):
    data = made(tree, project.root, choices=SOFT)
    assert len(data) == 36
    assert set(data.label_kind) == {"mmos"}
    by = data[[f"by {name}" for name in CLASSIFIERS]].to_numpy()
    assert data.label.to_numpy() == pytest.approx(by.mean(1))
    assert data[f"without {CLASSIFIERS[0]}"].tolist() == data[f"by {CLASSIFIERS[1]}"].tolist()
    assert data.accuracy.isna().all(), "no truth, no accuracy"
    assert data.composite.isna().all()
    assert datasets.plausible(data) == [], "labels fall as levels rise"
    saved = datasets.saved_table("own_mmos", root=project.root)
    assert saved.label.tolist() == pytest.approx(data.label.tolist())
    files = sorted((project.root / "data/labels/own_mmos/labels").glob("*.csv"))
    assert [file.name for file in files] == [f"photo{i}_mmos.csv" for i in range(6)]
    first = pd.read_csv(files[0])
    assert {"dist_images", "mean_consistency", "std_consistency", "weighted_consistency"} <= {
        *first
    }
    assert first.weighted_accuracy.isna().all(), "an empty cell, never 0"
    about = json.loads((project.root / "data/labels/own_mmos/about.json").read_text())
    assert about["choices"]["similarity"] == "bhattacharyya"


def test_a_truth_gives_accuracy_and_composite_where_it_is_known(tree, project):
    truth = project.root / "truth.csv"
    truth.write_text("reference,true_class\nphoto0,0\nphoto1,1\nphoto2,\n")
    data = made(tree, project.root, truth=truth, label="composite")
    assert set(data.content) == {"photo0", "photo1"}, "others have no composite"
    assert data.label.to_numpy() == pytest.approx((data.consistency + data.accuracy) / 2)
    everything = made(tree, project.root, truth=truth)
    assert len(everything) == 36
    assert everything.accuracy.notna().sum() == 12


def test_what_was_answered_is_never_asked_again(tree, project):
    whole = made(tree, project.root, choices=SOFT)
    asked = len(label_machines.ASKED)
    assert sum(label_machines.ASKED) == 2 * (6 + 36)
    again = made(tree, project.root, choices=SOFT)
    assert len(label_machines.ASKED) == asked
    pd.testing.assert_frame_equal(whole, again)
    # other choices are made of the same answers
    made(tree, project.root, choices=Choices(similarity="cosine"))
    assert len(label_machines.ASKED) == asked


def test_killed_and_started_again_it_loses_nothing(tree, project):
    whole = made(tree, project.root, name="whole", choices=SOFT)
    asked = sum(label_machines.ASKED)
    label_machines.ASKED.clear()
    shutil.rmtree(project.root / "data/labels/answers")
    label_machines.FAIL_AFTER[0] = 17
    with pytest.raises(KeyboardInterrupt):
        made(tree, project.root, choices=SOFT)
    label_machines.FAIL_AFTER[0] = None
    data = made(tree, project.root, choices=SOFT)
    pd.testing.assert_frame_equal(whole, data)
    # of the photograph that it stood at one model had answered in memory alone
    assert sum(label_machines.ASKED) <= asked + 6
    for kind in ("labels",):
        ours, theirs = (
            project.root / f"data/labels/{name}/{kind}" for name in ("own_mmos", "whole")
        )
        for file in theirs.iterdir():
            assert (ours / file.name).read_bytes() == file.read_bytes()


def test_unsure_photographs_are_left_out(tree, project):
    first = {}
    for content, rows in tree.groupby("content"):
        image = labels.read_image(project.root / rows.reference.iloc[0])
        first[content] = label_machines.classifier([image])[0].max()
    limit = (min(first.values()) + max(first.values())) / 2
    sure = made(tree, project.root, panel=CLASSIFIERS[:1], sure=limit)
    assert {*sure.content} == {content for content, value in first.items() if value >= limit}
    assert 0 < sure.content.nunique() < 6
    with pytest.raises(ValueError, match="no photograph has a clean probability of 0.99"):
        made(tree, project.root, sure=0.99)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"panel": []}, ValueError, "the panel is empty; name a vision model"),
        ({"panel": CLASSIFIERS[:1] * 2}, ValueError, "names a model twice"),
        ({"label": "consistncy"}, ValueError, "label is 'consistncy'; there are composite"),
        ({"label": "composite"}, ValueError, "needs the truth .--truth: .* give it, or take"),
        ({"choices": Choices(weights="clean")}, ValueError, "clean weights needs the truth"),
        ({"sure": 1.5}, ValueError, "sure is 1.5"),
        ({"task": "det", "sure": 0.5}, ValueError, "is of classifiers"),
    ],
)
def test_what_is_refused_before_anything_is_asked(tree, project, options, error, message):
    with pytest.raises(error, match=message):
        made(tree, project.root, **options)
    assert not label_machines.ASKED


def test_names_of_other_tables_are_not_taken(tree, project):
    for name in ("demo", "own"):
        with pytest.raises(ValueError, match="is a data set's name"):
            made(tree, project.root, name=name)
    (project.root / "data/tables").mkdir(parents=True, exist_ok=True)
    (project.root / "data/tables/mine.csv").write_text("image,label,label_kind\n")
    with pytest.raises(ValueError, match="'mine' is a data set's name"):
        made(tree, project.root, name="mine")
    with pytest.raises(ValueError, match="names a folder"):
        made(tree, project.root, name="../up")


def test_a_photograph_may_stand_among_its_versions(tree, project):
    """As the first of them, even: it is as consistent as can be."""
    itself = tree.iloc[[0]].assign(image=tree.reference.iloc[0], distortion=None, level=np.nan)
    data = made(pd.concat([itself, tree], ignore_index=True), project.root, choices=SOFT)
    assert len(data) == 37
    assert data.set_index("image").label[tree.reference.iloc[0]] == pytest.approx(1, abs=2e-3)
    assert (data.set_index("image").label[tree.image[:6]] < 1).any()


def test_originals_of_one_file_name_have_files_of_their_own(project):
    for folder, colour in (("a", (200, 30, 30)), ("b", (30, 200, 30))):
        path = project.root / "data/raw/own/photos" / folder / "same.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (40, 40), colour).save(path)
    out = project.root / "data/raw/distorted"
    photos = project.root / "data/raw/own/photos"
    write_tree(photos, out, names=["darkness"], levels=(1, 5), processes=1)
    table = labels.source_table(str(out / "images.csv"), root=project.root)
    made(table, project.root)
    files = sorted((project.root / "data/labels/own_mmos/labels").glob("*.csv"))
    assert [file.name for file in files] == ["a_same_mmos.csv", "b_same_mmos.csv"]


def test_tables_that_cannot_be_labelled(tree, project):
    with pytest.raises(ValueError, match="no column reference"):
        made(tree.drop(columns="reference"), project.root)
    (project.root / tree.image[3]).unlink()
    with pytest.raises(FileNotFoundError, match="1 of 42 images are no files here"):
        made(tree, project.root)
    assert not label_machines.ASKED


@pytest.mark.parametrize("task", ["det", "ins"])
def test_labels_of_detectors(task, tree, project, monkeypatch):
    """Truth by COCO's annotations: the patch as it is painted; darkness hides it."""
    monkeypatch.setattr(rejection, "DRAWS_OF_PRECISION", 5)
    kind = {"det": "detector", "ins": "segmenter"}[task]
    images, rows = [], []
    for number in range(6):
        images.append(
            {"id": number + 1, "file_name": f"photo{number}.png", "height": 64, "width": 80}
        )
        left, width = 20 + number, 40 - number
        corners = [left, 20, left + width, 20, left + width, 50, left, 50]
        row = {"id": number + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0}
        row |= {"bbox": [left, 20, width, 30], "area": 30 * width, "segmentation": [corners]}
        rows.append(row)
    truth = project.root / "instances.json"
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "patch"}]}
    truth.write_text(json.dumps(content))
    data = made(
        tree, project.root, panel=[f"callable:label_machines:{kind}"], task=task, truth=truth,
        label="composite",
    )  # fmt: skip
    dark = data[data.distortion == "darkness"].set_index(["content", "level"])
    assert dark.loc[("photo0", 1)].label == pytest.approx(1), "nothing is lost at level 1"
    assert dark.loc[("photo0", 5)].label == 0, "nothing is found at level 5"
    files = sorted((project.root / "data/labels/own_mmos/labels").glob("photo0*"))
    assert [file.name for file in files] == ["photo0_accuracy.csv", "photo0_consistency.csv"]
    assert [*pd.read_csv(files[0])] == ["filename", "AP_weighted_avg"]

    name = f"callable:label_machines:{kind}"
    for against in ("original", "truth"):
        right = made_labels.performances("own_mmos", data.image, root=project.root, against=against)
        assert isinstance(right[name], Matches)
        assert right[name].images == 36
    scores = project.root / "scores.csv"
    data[["image", "label", "content"]].to_csv(scores, index=False)
    found = filter_images(
        scores, "label", project.root / "out", root=project.root, reject=0.5, labels="own_mmos",
        against="truth",
    )  # fmt: skip
    values = found.thresholds[name]
    assert values.iloc[5] > values.iloc[0], "what is kept is found more often"


@pytest.mark.parametrize("task", ["cls", "det"])
def test_labels_go_where_the_published_ones_lie_and_are_read(task, project):
    """Made of images in MIQD-2.5M's layout and names, read by its reader, equal to the last digit
    that is written.
    """
    folder = raw_trees.folder_of(project.root, "miqd_" + task)
    getattr(raw_trees, f"miqd_{task}")(folder)
    table = datasets.load_table(f"miqd_{task}", root=project.root)
    levels = dict(zip(table.image, table.level, strict=True))
    for path in {*table.image, *table.reference}:
        file = project.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((24, 24, 3), (60, 30, 90), np.uint8)
        pixels[4:16, 5:20] = 240 - 25 * levels.get(path, 0)  # it fades as levels rise
        Image.fromarray(pixels).save(file, format="PNG")
    table = table[table.content.isin(sorted(table.content.unique())[:2])].reset_index(drop=True)
    panel = CLASSIFIERS if task == "cls" else ["callable:label_machines:detector"]
    data = made(table, project.root, panel=panel, task=task, name="again", choices=SOFT)
    published = folder / f"miqa_{task}/labels"
    for file in published.iterdir():
        file.unlink()
    for file in (project.root / "data/labels/again/labels").iterdir():
        shutil.copy(file, published)
    read = datasets.load_table(f"miqd_{task}", root=project.root, label="consistency")
    both = read.set_index("image").label.loc[data.image]
    assert both.tolist() == pytest.approx(data.label.tolist(), abs=1e-12)


# ---- rejecting


def scores_file(root, data, **columns):
    path = root / "scores.csv"
    data[["image"]].assign(**columns).to_csv(path, index=False)
    return path


def test_filtering_by_a_score(tree, project, capsys):
    data = made(tree, project.root, choices=SOFT)
    path = scores_file(project.root, data, mine=data.label, content=data.content)
    out = project.root / "kept"
    found = filter_images(path, "mine", out, root=project.root, reject=0.25, labels="own_mmos")
    kept, rejected = (pd.read_csv(out / name) for name in ("kept.csv", "rejected.csv"))
    assert (len(kept), len(rejected)) == (27, 9)
    assert kept.mine.min() >= rejected.mine.max()
    assert {file.name for file in out.iterdir()} >= {"thresholds.csv", "reject_curves.png"}
    assert found.machines == CLASSIFIERS
    assert "on the 27 that are kept and have answers" in " ".join(found.sentences)
    assert "of the way from random (0) to oracle (1)" in " ".join(found.sentences)


def test_contents_are_those_of_the_labels_and_strangers_are_counted(tree, project):
    """As `score` writes them: no content, and pictures that nobody has answered to."""
    data = made(tree, project.root, choices=SOFT)
    originals = pd.DataFrame({"image": data.reference.unique()})
    rows = pd.concat([data[["image", "label"]], originals.assign(label=1.0)])
    path = project.root / "scores.csv"
    rows.to_csv(path, index=False)
    out = project.root / "kept"
    found = filter_images(path, "label", out, root=project.root, labels="own_mmos", reject=0.5)
    text = " ".join(found.sentences)
    assert "6 of 42 images have no answers in own_mmos" in text
    assert "n 36, 6 contents" in text
    curves = pd.read_csv(out / "reject_curves.csv")
    assert set(curves.way) == {"over all images", "within contents"}
    assert len(pd.read_csv(out / "kept.csv")) == 21
    path.write_text("image,label\nx.png,1\ny.png,2\n")
    with pytest.raises(ValueError, match="none of 2 images is labelled in own_mmos"):
        filter_images(path, "label", out, root=project.root, labels="own_mmos", reject=0.5)


def test_labels_of_photographs_that_no_longer_count_go(tree, project):
    made(tree, project.root)
    made(tree[tree.content != "photo3"], project.root)
    files = (project.root / "data/labels/own_mmos/labels").iterdir()
    assert sorted(file.name[:6] for file in files) == [f"photo{i}" for i in (0, 1, 2, 4, 5)]


def test_truths_that_are_not_plain(tree, project):
    truth = project.root / "truth.csv"
    for text, message in (
        ("photo0,0\nphoto0,1\n", "tells of photo0 twice"),
        ("photo0,3.7\n", "true_class is '3.7'; classes are numbers from 0"),
        ("photo9,1\n", "tells of none of the photographs"),
        ("photo0,12\n", "is 12, but callable:label_machines:classifier knows 3"),
    ):
        truth.write_text("reference,true_class\n" + text)
        with pytest.raises(ValueError, match=message):
            made(tree, project.root, truth=truth)
    assert max(label_machines.ASKED, default=1) == 1, "the versions were never asked about"


def test_an_unknown_class_is_no_mistake(tree, project):
    truth = project.root / "truth.csv"
    truth.write_text("reference,true_class\nphoto0,0\nphoto1,\n")
    made(tree, project.root, truth=truth)
    about = json.loads((project.root / "data/labels/own_mmos/about.json").read_text())
    assert set(about["clean"].values()) == {1.0}
    with pytest.raises(ValueError, match="the truth does not tell of 5 photographs"):
        made_labels.performances("own_mmos", tree.image, root=project.root, against="truth")


def test_filtering_from_a_threshold_and_by_what_is_lower_better(tree, project):
    data = made(tree, project.root, choices=SOFT)
    path = scores_file(
        project.root, data, bad=1 - data.label, right=(data.label > data.label.median()) * 1.0
    )
    out = project.root / "kept"
    found = filter_images(
        path, "bad", out, root=project.root, keep_from=0.1, higher_is_better=False,
        columns=["right"],
    )  # fmt: skip
    kept = pd.read_csv(out / "kept.csv")
    assert (kept.bad <= 0.1).all()
    assert len(kept) == (1 - data.label <= 0.1).sum()
    assert "keep up to" in found.thresholds


def test_images_without_a_score_are_rejected_and_counted(project):
    path = project.root / "scores.csv"
    path.write_text("image,psnr\na.png,30\nb.png,\nc.png,20\n")
    found = filter_images(path, "psnr", project.root / "out", root=project.root, reject=0.5)
    assert found.sentences == ["1 of 3 images have no score: rejected", "1 images kept, 2 rejected"]
    assert pd.read_csv(project.root / "out/kept.csv").image.tolist() == ["a.png"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "nothing to do: give --reject"),
        ({"reject": 0.1, "keep_from": 3}, ValueError, "not both"),
        ({"keep_from": 50}, ValueError, "no image has psnr 50; the best has 30"),
        ({"reject": 1.0}, ValueError, "it is a share of the images"),
        ({"by": "ssim", "reject": 0.1}, KeyError, "has no column ssim; it has image, psnr, far"),
        ({"columns": ["far"]}, ValueError, "far: 1 of 2 values are no numbers from 0 to 1"),
        ({"reject": 0.1, "against": "truth"}, ValueError, "is of the answers behind --labels"),
        ({"labels": "none"}, FileNotFoundError, "no labels 'none': `python -m iqa_core labels"),
    ],
)
def test_filters_that_cannot_be(project, options, error, message):
    path = project.root / "scores.csv"
    path.write_text("image,psnr,far\na.png,30,1\nc.png,20,7\n")
    by = options.pop("by", "psnr")
    with pytest.raises(error, match=message):
        filter_images(path, by, project.root / "out", root=project.root, **options)


# ---- training on what was made


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ra_miqa", models.module_of("ra_miqa").TEST_KWARGS[0]),
        ("miqa_baseline", {"backbone": "resnet18"}),
        # of b1's kind; b1 itself, started at random, gives one score for all after so few steps
        ("miqa_baseline", {"backbone": "tf_efficientnet_lite0", "pretrained": True}),
        ("miqa_baseline", {"backbone": "vit_tiny_patch16_224"}),
    ],
)
def test_machine_models_learn_from_labels_made_here(name, arguments, tree, project):
    """The published recipe: AdamW without decay of vectors, its schedule, two rows an epoch."""
    data = made(tree, project.root, choices=SOFT)
    part = splits.part_of(splits.make_split(data, "rotation1of3"), data)
    torch.manual_seed(0)
    model = models.create_model(name, **{"pretrained": False} | arguments)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # so few steps, of a network that starts at random
    samples = loading.open_samples(data, model, root=project.root)
    sets = {each: samples.take(np.flatnonzero(part == each)) for each in splits.PARTS}
    recipe = training.Recipe(
        epochs=2, batch_size=9, backbone_lr=1e-4, head_lr=1e-4, weight_decay=1e-4,
        decay_vectors=False, schedule="miqa", loss="l2", label_scale="raw", flips="none",
        clip=None, validate_every=0.5,
    )  # fmt: skip
    rows = list(
        training.fit(model, sets["train"], sets["val"], recipe=recipe, log=lambda text: None)
    )
    assert [row["epoch"] for row in rows] == [1, 1, 2, 2]
    predicted = evaluation.predict_samples(model, sets["test"])
    assert np.isfinite(predicted).all()
    assert len(predicted) == len(sets["test"].table)


@pytest.mark.parametrize(("task", "kind"), [("det", "detector"), ("ins", "segmenter")])
def test_ra_miqa_learns_from_labels_of_detectors(task, kind, tree, project):
    panel = [f"callable:label_machines:{kind}"]
    data = made(tree, project.root, panel=panel, task=task)
    part = splits.part_of(splits.make_split(data, "rotation1of3"), data)
    arguments = models.module_of("ra_miqa").TEST_KWARGS[0]
    torch.manual_seed(0)
    model = models.create_model("ra_miqa", **arguments, pretrained=False)
    samples = loading.open_samples(data, model, root=project.root)
    sets = {each: samples.take(np.flatnonzero(part == each)) for each in splits.PARTS}
    recipe = training.Recipe(
        epochs=1, batch_size=9, backbone_lr=1e-4, head_lr=1e-4, weight_decay=1e-4
    )
    (row,) = training.fit(model, sets["train"], sets["val"], recipe=recipe, log=lambda text: None)
    assert row["best"]
    assert np.isfinite(evaluation.predict_samples(model, sets["test"])).all()


def test_a_target_is_any_column_and_rows_without_it_are_in_no_part(tree, project, monkeypatch):
    truth = project.root / "truth.csv"
    truth.write_text("reference,true_class\n" + "".join(f"photo{i},{i % 3}\n" for i in range(5)))
    data = made(tree, project.root, truth=truth)
    split = project.root / "data/splits/own_mmos-rotation1of3.csv"
    splits.save_split(splits.make_split(data, "rotation1of3"), split)

    class Record:
        def __init__(self):
            self.parameters = {}

        def uses(self, *files):
            pass

        uses_set = uses

        def record(self, **facts):
            pass

    monkeypatch.setattr(study.runs, "project_root", lambda: project.root)
    opened = study.open_data(Record(), "own_mmos", "own_mmos-rotation1of3", target="accuracy")
    assert opened.table.label.equals(opened.table.accuracy)
    assert opened.part[opened.table.content == "photo5"].isna().all()
    with pytest.raises(KeyError, match="own_mmos has no column quality; there are"):
        study.open_data(Record(), "own_mmos", "own_mmos-rotation1of3", target="quality")
