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
from iqa_core.apps import execute
from iqa_core.loading.features import pyramid_features
from iqa_core.models import create_model
from iqa_core.pixels.cache import PixelCache
from iqa_core.runs.parameters import declared_parameters

FILES = sorted((REPOSITORY / "params").glob("*/04_ablations*.yaml"))
SMALL = {"backbone": "resnet18"}


@pytest.fixture(scope="module")
def declared():
    return {
        name: one.default
        for name, one in declared_parameters(REPOSITORY / "notebooks/04_ablations.ipynb").items()
    }


@pytest.fixture
def given(declared):
    return declared | {"arguments": SMALL}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_of_params_is_a_plan(path, declared):
    parameters = declared | execute.check_file(path, root=REPOSITORY)
    jobs = ablations.plan(parameters)
    assert list(jobs) == [*parameters["variants"], "full"]
    assert all(set(job) == {*ablations.CHANGED, "split"} for job in jobs.values())


def test_a_variant_is_the_full_model_but_for_what_it_says(given):
    variants = {
        "static": {"arguments": {"gate": "static"}, "seeds": [7]},
        "l2": {"options": {"loss": "l2"}},
        "centre": {"contract": {"crops": 1}},
    }
    jobs = ablations.plan(given | {"variants": variants, "compare": [["full", "l2"]]})
    assert jobs["full"] == {name: given[name] for name in (*ablations.CHANGED, "split")}
    assert jobs["static"] == jobs["full"] | {"arguments": SMALL | {"gate": "static"}, "seeds": [7]}
    assert jobs["l2"]["options"] == given["options"] | {"loss": "l2"}
    assert (jobs["full"]["features"], jobs["centre"]["features"]) == (4, 0), (
        "what is only tested reads the images"
    )


@pytest.mark.parametrize(
    ("change", "told"),
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
def test_what_is_the_full_model_tested_otherwise(change, told):
    assert ablations.tests_only(change) is told


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"variants": {"full": {}}}, ValueError, "name the variant otherwise"),
        (
            {"variants": {"a": {"epoch": 1}}},
            KeyError,
            "variant a: it cannot change epoch, but arguments",
        ),
        (
            {"variants": {"a": {"options": {"los": "l2"}}}},
            KeyError,
            "variant a: options: training.fit has no 'los'; did you",
        ),
        (
            {"variants": {"a": {"options": {"loss": "l3"}}}},
            KeyError,
            "variant a: loss is 'l3'; there are",
        ),
        (
            {"options": {"select": "test"}},
            KeyError,
            "variant full: select is 'test'; there are val",
        ),
        (
            {"features": 0, "options": {"random_validation": True}},
            ValueError,
            "shuffle and transfer read crops on the grid",
        ),
        ({"variants": {"a": {"arguments": None}}}, TypeError, "variant a: "),
        (
            {"variants": {"a": {"arguments": {"gates": 1}}}},
            TypeError,
            "variant a: smart_iqa has no argument gates",
        ),
        (
            {"variants": {"a": {"arguments": {"size": "huge"}}}},
            ValueError,
            "variant a: size is 'huge'",
        ),
        ({"contract": {"crop_count": 2}}, TypeError, "variant full: .*crop_count"),
        (
            {"variants": {"a": {"contract": {"crops": 7}}}},
            ValueError,
            "variant a: 7 crops make no grid",
        ),
        (
            {"options": {"colour_jitter": True}},
            ValueError,
            "variant full: features are of fixed crops",
        ),
        ({"epochs": 0}, ValueError, "variant full: .*'epochs': 0.*at least 1 is wanted"),
        ({"seeds": []}, ValueError, "variant full: seeds is empty"),
        ({"compare": [["full", "fused"]]}, KeyError, "compare names fused; the variants are full"),
        (
            {"arguments": SMALL | {"gate": "static"}},
            ValueError,
            "full needs an adaptive gate; or shuffle: false",
        ),
        ({"arguments": SMALL | {"multiscale": False}}, ValueError, "full needs an adaptive gate"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(given, change, error, words):
    with pytest.raises(error, match=words):
        ablations.plan(given | {"variants": {}, "compare": []} | change)


def test_all_types_learn_from_as_many_images_as_the_smallest_of_the_others():
    rows = [
        (f"{c}-{k}.png", f"c{c}", kind) for c in range(20) for k, kind in enumerate("aaabbccccc")
    ]
    table = pd.DataFrame(rows, columns=["image", "content", "distortion"]).assign(
        distortion2=None, label=1.0
    )
    found = ablations.left_out_parts(table, ["a", "b"])
    assert list(found) == ["all-types", "without-a", "without-b"]
    counts = {name: part.value_counts() for name, part in found.items()}
    assert counts["without-a"].train < counts["without-b"].train
    assert counts["all-types"].train == counts["without-a"].train
    train = table[found["all-types"] == "train"]
    assert set(train.distortion) == {"a", "b", "c"} and train.content.nunique() > 12, (
        "thinned at random, not by its order"
    )
    for name, part in found.items():
        assert (part == "test").equals(found["all-types"] == "test")
        assert not splits.crossing_contents(table, part), name
    assert set(table.distortion[found["without-a"].isin(["train", "val"])]) == {"b", "c"}
    assert found["all-types"].equals(ablations.left_out_parts(table, ["a", "b"])["all-types"])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(5):
        pixels = np.clip(
            random.normal(random.integers(20, 200), 5 + 15 * i, (240, 260, 3)), 0, 255
        ).astype(np.uint8)
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


@pytest.fixture(scope="module", params=["images", "features"])
def pictures(request, images, network):
    return (
        images
        if request.param == "images"
        else pyramid_features(network, images, crops=4, folder=images.file.parent)
    )


def test_own_weights_give_own_scores(network, pictures):
    scores, weights = ablations.shuffled(network, pictures, np.arange(5)[None])
    expected = evaluation.predict(network, pictures)
    assert (
        scores.shape == (1, 5)
        and weights.shape == (5, 4, 4)
        and np.allclose(weights.sum(-1), 1, atol=1e-5)
    )
    assert scores[0] == pytest.approx(expected, abs=1e-4 * np.ptp(expected))


def test_each_draw_judges_an_image_with_the_weights_of_the_one_it_names(network, pictures):
    orders = np.array([[1, 2, 3, 4, 0], [4, 3, 2, 0, 1]])
    scores, weights = ablations.shuffled(network, pictures, orders)
    own = evaluation.predict(network, pictures)
    spread = np.ptp(own)
    assert (np.abs(scores - own) > 1e-3 * spread).mean() > 0.7, "the gate of this network matters"
    for draw, order in enumerate(orders):
        for i, other in enumerate(order):
            (views,) = evaluation.inputs(pictures[i], None, network.contract, 4)
            with torch.no_grad():
                given = torch.tensor(weights[other], dtype=torch.float32)
                score = network(
                    evaluation.floats(views, "cpu", torch.float32), weights=given
                ).mean()
            assert scores[draw, i] == pytest.approx(3 + 2 * float(score), abs=1e-4 * spread)
    assert not network.training


def test_a_shuffle_of_weights_that_all_images_share_is_refused(images):
    model = create_model("smart_iqa", pretrained=False, gate="static", **SMALL)
    with pytest.raises(
        ValueError, match="only an adaptive gate has weights of other images to give"
    ):
        ablations.shuffled(model, images, np.arange(5)[None])


@pytest.fixture
def other_run(tmp_path, monkeypatch, given):
    """A finished run of notebook 04 on another set; the function changes what it was given."""
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("IQA_ROOT", str(tmp_path))

    def make(name="lab/spaq", *, csv=True, done=True, **changed):
        folder = tmp_path / "data/runs" / name
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(
            json.dumps({"parameters": given | {"data_set": "spaq"} | changed})
        )
        if done:
            (folder / "_SUCCESS").touch()
        if csv:
            own = changed.get("data_set", "spaq")
            rows = [
                {"trained": own, "tested": name, "seen": name == own, "srcc": 0.5}
                for name in ("a", "b")
            ]
            pd.DataFrame(rows).to_csv(folder / "transfer.csv", index=False)
        return name

    return make


def test_rows_of_other_runs_stand_beside(other_run, given):
    names = [other_run(), other_run("lab/kadid", data_set="kadid10k")]
    found = ablations.beside(given | {"transfer": ["koniq10k", *names]})
    assert (
        found.trained.tolist() == ["spaq", "spaq", "kadid10k", "kadid10k"]
        and found.tested.tolist() == ["a", "b"] * 2
    )
    assert ablations.beside(given | {"transfer": ["koniq10k"]}).empty
    assert ablations.of_runs(["koniq10k", *names]) == names


def test_rows_that_do_not_belong_in_one_matrix(other_run, given):
    wrong = {
        other_run("lab/a", contract={"crops": 25}): (
            ValueError,
            "lab/a has contract .*25.*one matrix has one crop policy",
        ),
        other_run("lab/b", features=9): (ValueError, "lab/b has features 9, not 4"),
        other_run("lab/c", data_set="demo"): (
            ValueError,
            "lab/c was trained on demo, as this run; a matrix has one row a set",
        ),
        other_run("lab/d", csv=False): (FileNotFoundError, "lab/d has no transfer.csv"),
        other_run("lab/e", done=False): (FileNotFoundError, "lab/e has no _SUCCESS"),
        "lab/f": (FileNotFoundError, "no run 'lab/f'"),
    }
    for name, (error, words) in wrong.items():
        with pytest.raises(error, match=words):
            ablations.beside(given | {"transfer": [name]})
    twice = [other_run("lab/g"), other_run("lab/h")]
    with pytest.raises(ValueError, match="lab/h was trained on spaq, as lab/g"):
        ablations.beside(given | {"transfer": twice})
