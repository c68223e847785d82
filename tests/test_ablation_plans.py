"""What notebook 04 plans and does around its trainings: every refusal before the first one,
thinning, shuffles, other runs.
"""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image

from iqa_core import ablations, evaluation, splits
from iqa_core.apps import planning
from iqa_core.loading import evaluation_views, floats, frozen_crops
from iqa_core.loading.views import batch
from iqa_core.models import create_model
from iqa_core.pixels.cache import PixelCache
from iqa_core.runs.parameters import declared_parameters

FILES = sorted((REPOSITORY / "params").glob("*/04_ablations*.yaml"))
SMALL = {"backbone": "resnet18"}


@pytest.fixture(scope="module")
def declared():
    parameters = declared_parameters(REPOSITORY / "notebooks/04_ablations.ipynb")
    return {name: parameter.default for name, parameter in parameters.items()}


@pytest.fixture
def parameters(declared):
    return declared | {"arguments": SMALL}


# ---- plans


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_of_params_is_a_plan(path, declared):
    parameters = declared | planning.check_file(path, root=REPOSITORY)
    jobs = ablations.plan(parameters)
    variants = list(dict.fromkeys(job.variant for job in jobs))
    left_out = [f"without-{kind}" for kind in parameters["left_out"]]
    if left_out:
        left_out = ["all-types", *left_out]
    assert variants == [*parameters["variants"], "full", *left_out]
    assert len({job.name for job in jobs}) == len(jobs)


def test_a_variant_is_the_full_model_but_for_what_it_says(parameters):
    variants = {
        "static": {"arguments": {"gate": "static"}, "seeds": [7]},
        "l2": {"options": {"loss": "l2"}, "head_lr": 1e-2},
        "centre": {"contract": {"crops": 1}},
    }
    changed = {"variants": variants, "compare": [["full", "l2"]], "seeds": [1, 2]}
    jobs = {job.name: job for job in ablations.plan(parameters | changed)}
    names = [f"{name}-seed{seed}" for name in ("l2", "centre", "full") for seed in (1, 2)]
    assert list(jobs) == ["static-seed7", *names]
    full, static = jobs["full-seed1"], jobs["static-seed7"]
    l2, centre = jobs["l2-seed1"], jobs["centre-seed1"]
    assert static.arguments == SMALL | {"gate": "static"} and full.arguments == SMALL
    assert l2.recipe == full.recipe.model_copy(update={"loss": "l2", "head_lr": 1e-2})
    assert full.recipe.seed == 1 and full.recipe.validate_every == 2
    assert full.frozen_crops == 4 and centre.frozen_crops == 0, "what only tests reads the images"
    assert centre.tests_only and centre.trained_by == "full-seed1" == full.trained_by
    for job in jobs.values():
        assert job.parameters["seeds"] == [job.seed] and job.parameters["variants"] == {}


def test_types_left_out_are_trainings_of_the_full_model_on_splits_of_their_own(parameters):
    jobs = ablations.plan(parameters | {"left_out": ["jpeg"], "seeds": [0, 3]})
    full, of_jpeg = (
        [job for job in jobs if job.variant == name] for name in ("full", "without-jpeg")
    )
    assert [job.name for job in of_jpeg] == ["without-jpeg-seed0", "without-jpeg-seed3"]
    for job, other in zip(of_jpeg, full, strict=True):
        assert (job.split, job.parameters["split"]) == ("without-jpeg", "without-jpeg")
        assert (job.recipe, job.arguments) == (other.recipe, other.arguments)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"contract": {"crops": 4}}, True),
        ({"options": {"random_validation": True}}, True),
        ({"contract": {"crops": 4}, "options": {"random_validation": True}}, True),
        ({"contract": {"crops": 4}, "options": {"loss": "l2"}}, False),
        ({"contract": {"crops": 4}, "head_lr": 1e-3}, False),
        ({"contract": {"resize": [512, 384]}}, False),
        ({"seeds": [0]}, False),
        ({}, False),
    ],
)
def test_what_is_the_full_model_tested_otherwise(change, expected):
    assert ablations.tests_only(change) is expected


REFUSED = [
    ({"variants": {"full": {}}}, ValueError, "name the variant otherwise"),
    ({"variants": {"a": {"epoch": 1}}}, KeyError, "variant a: it cannot change epoch, but argum"),
    ({"variants": {"a": {"options": {"los": "l2"}}}}, KeyError, "a: options: no recipe has 'los'"),
    ({"variants": {"a": {"options": {"loss": "l3"}}}}, ValueError, "variant a: loss = 'l3' .str"),
    ({"variants": {"a": {"options": {"loss": "emd"}}}}, ValueError, "a: emd compares distribu"),
    ({"variants": {"a": {"options": {"backbone_parts": ["b"]}}}}, KeyError, "a: .*has no part b"),
    ({"options": {"seed": 3}}, KeyError, "variant full: options: the notebook has a parameter se"),
    ({"options": {"select": "test"}}, KeyError, "full: select is 'test'; there are val"),
    (
        {"frozen_crops": 0, "options": {"random_validation": True}},
        ValueError,
        "shuffle and transfer read crops on the grid",
    ),
    ({"variants": {"a": {"arguments": None}}}, TypeError, "variant a: "),
    ({"variants": {"a": {"arguments": {"gates": 1}}}}, TypeError, "a: smart_iqa has no argument g"),
    ({"variants": {"a": {"arguments": {"size": "huge"}}}}, ValueError, "a: size is 'huge'"),
    ({"contract": {"crop_count": 2}}, TypeError, "variant full: .*crop_count"),
    (
        {"frozen_crops": 0, "contract": {"crops": 7}},
        ValueError,
        "variant full: 7 crops make no grid",
    ),
    ({"frozen_crops": 7}, ValueError, "variant full: 7 crops make no grid"),
    ({"variants": {"a": {"contract": {"crops": 7}}}}, ValueError, "a: 7 crops make no grid"),
    ({"options": {"colour_jitter": True}}, ValueError, "variant full: frozen crops are fixed"),
    ({"epochs": 0}, ValueError, "variant full: epochs = 0 .int.: Input should be greater than 0"),
    ({"seeds": []}, ValueError, "variant full: seeds is empty"),
    ({"compare": [["full", "fused"]]}, KeyError, "compare names fused; the variants are full"),
    ({"arguments": SMALL | {"gate": "static"}}, ValueError, "full needs an adaptive gate; or shu"),
    ({"arguments": SMALL | {"multiscale": False}}, ValueError, "full needs an adaptive gate"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED)
def test_what_cannot_be_trained_is_refused_before_anything_is(parameters, change, error, words):
    with pytest.raises(error, match=words):
        ablations.plan(parameters | {"variants": {}, "compare": []} | change)


def test_variants_are_drawn_with_those_that_they_compare_with():
    variants = {
        "single": {"arguments": {"multiscale": False}},
        "fusion": {"arguments": {"attention": False}},
        "static": {"arguments": {"gate": "static"}},
        "l2": {"options": {"loss": "l2"}},
    }
    assert ablations.figure_groups(variants) == {
        "ladder": ["single", "fusion"],
        "controls": ["fusion", "static"],
        "settings": ["l2"],
    }


# ---- types left out


def test_all_types_learn_from_as_many_images_as_the_smallest_of_the_others():
    rows = [
        (f"{c}-{k}.png", f"c{c}", kind) for c in range(20) for k, kind in enumerate("aaabbccccc")
    ]
    table = pd.DataFrame(rows, columns=["image", "content", "distortion"]).assign(
        distortion2=None, label=1.0
    )
    parts = ablations.left_out_parts(table, ["a", "b"])
    assert list(parts) == ["all-types", "without-a", "without-b"]
    counts = {name: part.value_counts() for name, part in parts.items()}
    assert counts["without-a"].train < counts["without-b"].train
    assert counts["all-types"].train == counts["without-a"].train
    train = table[parts["all-types"] == "train"]
    assert set(train.distortion) == {"a", "b", "c"} and train.content.nunique() > 12, (
        "thinned at random, not by its order"
    )
    for name, part in parts.items():
        assert (part == "test").equals(parts["all-types"] == "test")
        assert not splits.crossing_contents(table, part), name
    assert set(table.distortion[parts["without-a"].isin(["train", "val"])]) == {"b", "c"}
    again = ablations.left_out_parts(table, ["a", "b"])
    assert parts["all-types"].equals(again["all-types"])
    assert ablations.left_out_parts(table, []) == {}


# ---- stage weights of other images

COUNT = 4  # images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(COUNT):
        light = random.integers(20, 200)
        pixels = np.clip(random.normal(light, 5 + 15 * i, (240, 260, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return PixelCache(sorted(folder.glob("*.png")), folder / "cache")


@pytest.fixture(scope="module")
def network():
    """One whose gate matters: its logits are far apart, and the stages of unlike size."""
    torch.manual_seed(0)
    model = create_model("smart_iqa", pretrained=False, **SMALL).eval()
    with torch.no_grad():
        model.gate.net[3].weight.mul_(300)
    model.contract = model.contract.changed(crops=4, offset=3.0, scale=2.0)
    return model


@pytest.fixture(scope="module", params=["images", "frozen crops"])
def pictures(request, images, network):
    if request.param == "images":
        return images
    return frozen_crops(network, images, crops=4, folder=images.file.parent)


def test_own_weights_give_own_scores(network, pictures):
    scores, weights = ablations.shuffled(network, pictures, np.arange(COUNT)[None])
    expected = evaluation.predict(network, pictures)
    assert scores.shape == (1, COUNT) and weights.shape == (COUNT, 4, 4)
    assert np.allclose(weights.sum(-1), 1, atol=1e-5)
    assert scores[0] == pytest.approx(expected, abs=1e-4 * np.ptp(expected))


def test_each_draw_judges_an_image_with_the_weights_of_the_one_it_names(network, pictures):
    orders = np.array([[1, 2, 3, 0], [3, 2, 0, 1]])
    scores, weights = ablations.shuffled(network, pictures, orders)
    own = evaluation.predict(network, pictures)
    width = np.ptp(own)
    assert (np.abs(scores - own) > 1e-3 * width).mean() > 0.7, "the gate of this network matters"
    for draw, order in enumerate(orders):
        for i, other in enumerate(order):
            (crops,) = evaluation_views({"image": pictures[i]}, network.contract, crops=4)
            pixels = floats(batch([crops]), "cpu", torch.float32)
            with torch.no_grad():
                score = network(pixels, weights=torch.tensor(weights[other]).float()).mean()
            assert scores[draw, i] == pytest.approx(3 + 2 * float(score), abs=1e-4 * width)
    assert not network.training


def test_a_shuffle_of_weights_that_all_images_share_is_refused(images):
    model = create_model("smart_iqa", pretrained=False, gate="static", **SMALL)
    with pytest.raises(ValueError, match="only an adaptive gate has weights of other images"):
        ablations.shuffled(model, images, np.arange(5)[None])


# ---- rows of other runs


@pytest.fixture
def other_run(tmp_path, monkeypatch, parameters):
    """A finished run of notebook 04 on another set; the function changes its parameters."""
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))

    def make(name="lab/spaq", *, csv=True, done=True, data_set="spaq", **changed):
        folder = tmp_path / "data/runs" / name
        folder.mkdir(parents=True)
        facts = {"parameters": parameters | {"data_set": data_set} | changed}
        (folder / "params.json").write_text(json.dumps(facts))
        if done:
            (folder / "_SUCCESS").touch()
        if csv:
            rows = pd.DataFrame({"trained": data_set, "tested": ["a", "b"], "srcc": 0.5})
            rows.to_csv(folder / "transfer.csv", index=False)
        return name

    return make


def test_rows_of_other_runs_stand_beside(other_run, parameters):
    names = [other_run(), other_run("lab/kadid", data_set="kadid10k")]
    rows = ablations.read_transfers(parameters | {"transfer": ["koniq10k", *names]})
    assert rows.trained.tolist() == ["spaq", "spaq", "kadid10k", "kadid10k"]
    assert rows.tested.tolist() == ["a", "b"] * 2
    assert ablations.read_transfers(parameters | {"transfer": ["koniq10k"]}).empty
    assert ablations.sets_and_runs(["koniq10k", *names]) == (["koniq10k"], names)


def test_rows_that_do_not_belong_in_one_matrix(other_run, parameters):
    refused = {
        other_run("lab/a", contract={"crops": 25}): (
            ValueError,
            "lab/a has contract .*25.*one matrix has one crop policy",
        ),
        other_run("lab/b", frozen_crops=9): (ValueError, "lab/b has frozen_crops 9, not 4"),
        other_run("lab/c", data_set="demo"): (
            ValueError,
            "lab/c was trained on demo, as this run; a matrix has one row a set",
        ),
        other_run("lab/d", csv=False): (FileNotFoundError, "lab/d has no transfer.csv"),
        other_run("lab/e", done=False): (FileNotFoundError, "lab/e did not finish"),
        "lab/f": (FileNotFoundError, "no run 'lab/f'"),
    }
    for name, (error, words) in refused.items():
        with pytest.raises(error, match=words):
            ablations.read_transfers(parameters | {"transfer": [name]})
    twice = [other_run("lab/g"), other_run("lab/h")]
    with pytest.raises(ValueError, match="lab/h was trained on spaq, as lab/g"):
        ablations.read_transfers(parameters | {"transfer": twice})
