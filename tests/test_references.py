"""Tables within the outputs of one input, variants beside measures, answers, and what notebooks 06
and 07 ask of networks.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from iqa_core import ablations, tables
from iqa_core.loading import Samples
from iqa_core.models import create_model
from iqa_core.stats import within_contents


def outputs(contents=4):
    """Four contents in two degradations with four restorers each; labels differ by input, restorer
    and a little by content.
    """
    little = np.random.default_rng(5).normal
    rows = [
        {"content": f"c{c}", "degradation": d, "restorer": r, "image": f"{c}{d}{r}"}
        | {"label": 10 * place + 50 * (d == "jpeg") + c + little(0, 6)}
        for c in range(contents)
        for d in ("jpeg", "noise")
        for place, r in enumerate(("untouched", "tv", "nlm", "wiener"))
    ]
    table = pd.DataFrame(rows)
    return table.assign(distortion=table.degradation + ", " + table.restorer, level=np.nan)


def test_correlation_within_inputs_is_the_mean_over_inputs_then_contents():
    table = outputs()
    by_input = table.degradation.eq("jpeg").astype(float) + table.content.str[1:].astype(int)
    right, wrong = table.label.to_numpy(), -table.label.to_numpy()
    mixed = np.where(table.degradation == "jpeg", right, wrong)
    found = within_contents(
        np.stack([right, wrong, mixed]), table.label, table.content, table.degradation
    )
    assert found.shape == (3, 4)
    assert found.mean(1) == pytest.approx([1, -1, 0])
    constant = within_contents(
        by_input.to_numpy()[None], table.label, table.content, table.degradation
    )
    assert constant.shape == (1, 0), "who knows the input alone has no order within it"


def as_tested(table, **scores):
    return pd.concat(
        pd.DataFrame({"image": table.image, "variant": name, "seed": seed, "predicted": values})
        for name, values in scores.items()
        for seed in (0, 1)
    )


def test_parts_hold_variants_measures_and_the_blind_rule_where_it_knows_all_versions():
    table = outputs(8)
    part = pd.Series(np.where(table.content < "c4", "train", "test"))
    part = part.where((table.restorer != "wiener") | (part == "test"))
    test = table[part == "test"]
    noise = np.random.default_rng(0).normal(size=len(test))
    tested = as_tested(test, full=test.label + noise, other=test.label + 30 * noise)
    measured = pd.DataFrame({"image": test.image, "ssim": test.label, "known to some": np.nan})
    tested = tables.with_measures(tested, measured)
    assert set(tested.variant) == {"full", "other", "ssim"}
    unseen = test.restorer == "wiener"
    parts = {"all types": test.image, "types seen in training": test.image[~unseen]}
    found = tables.on_parts(
        tested, table, part, parts, measures=("ssim",), inputs="degradation", labels=("label",)
    )
    means = found[found.seed.isna()].set_index(["tested on", "variant"])
    assert means.loc[("all types", "ssim"), "input_srcc"] == pytest.approx(1)
    assert np.isnan(means.loc[("all types", "ssim"), "trainings"])
    assert ("all types", "content-blind") not in means.index, "one version was never trained on"
    assert means.loc[("types seen in training", "content-blind"), "input_srcc"] > 0.5
    shown = tables.readable_parts(found)
    assert "mean SRCC within inputs" in shown and tables.headline_of(found) == "input_srcc"
    assert (tables.beside_reported(shown, "ckdn").reported != "--").any()


def test_questions_get_the_difference_of_their_pair_and_unknown_pairs_are_refused():
    table = outputs()
    noise = np.random.default_rng(1).normal(size=len(table))
    tested = as_tested(table, full=table.label, other=table.label + 40 * noise)
    pairs = [["full", "other"]]
    differences = tables.seed_differences(
        tested, table, pairs, labels=("label",), inputs="degradation"
    )
    values = within_contents(
        np.stack([table.label, table.label + 40 * noise]),
        table.label,
        table.content,
        table.degradation,
    )
    assert differences.difference[0] == pytest.approx(values[0].mean() - values[1].mean())
    question = {"ask": "Better?", "variant": "full", "than": "other", "caution": "people"}
    (answer,) = tables.answers([question], differences).to_dict("records")
    assert answer["run"] == "full - other" and answer["answer"].startswith("+")
    with pytest.raises(KeyError, match="other - full was not compared"):
        tables.answers([question | {"variant": "other", "than": "full"}], differences)


def test_averages_are_means_seed_by_seed():
    table = outputs()
    tested = as_tested(table, a=table.label, b=table.label + 2)
    found = ablations.averaged(tested, {"both": ["a", "b"]})
    both = found[found.variant == "both"]
    assert len(both) == 2 * len(table)
    merged = both.merge(table, on="image")
    assert merged.predicted.to_numpy() == pytest.approx(merged.label.to_numpy() + 1)
    with pytest.raises(KeyError, match="both averages c, which was not trained"):
        ablations.averaged(tested, {"both": ["a", "c"]})


class Distance(torch.nn.Module):
    """A full-reference score: less the mean distance."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.contract = create_model(
            "iqt", size="iqt_c", backbone="test_efficientnet", pretrained=False
        ).contract.changed(crop=32, crops=1)

    def forward(self, distorted, reference):
        return -(distorted - reference).abs().mean((1, 2, 3))


def test_a_measure_of_distance_falls_apart_with_another_photograph_and_is_best_with_itself():
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(3)]
    images, pristine, rows = [], [], []
    for content, photo in enumerate(photos):
        for step in range(5):
            noisy = photo + random.normal(0, 1 + 10 * step, photo.shape)
            images.append(np.clip(noisy, 0, 255).astype(np.uint8))
            pristine.append(photo)
            rows.append({"label": -float(step), "content": f"c{content}"})
    samples = Samples({"image": images, "pristine": pristine}, pd.DataFrame(rows))
    found = ablations.reference_checks(Distance(), samples).set_index("reference")
    assert found.content_srcc["its own photograph"] == pytest.approx(1)
    assert abs(found.content_srcc["another photograph"]) < 0.99
    assert found.percentile["another photograph"] < 10 and found.percentile["itself"] > 90


def test_stretching_moves_what_sees_shapes_and_nothing_else():
    curves = pd.DataFrame(
        [
            {"photograph": photo, "method": method, "ratio": ratio, "own": ratio == 0.7}
            | {"predicted": 10 * ratio if method == "shape" else 3.0, "spread": 2.0}
            for photo in "ab"
            for method in ("shape", "square")
            for ratio in (0.7, 0.5, 2.0)
        ]
    )
    moved = ablations.aspect_sensitivity(curves).set_index("network").moved
    assert moved["square"] == 0 and moved["shape"] == pytest.approx((2 + 13) / 2 / 2)


def test_a_picture_is_stretched_at_its_area():
    image = np.zeros((300, 400, 3), np.uint8)
    for ratio in (0.25, 1.0, 2.0):
        height, width = ablations.aspects.reshaped(image, ratio).shape[:2]
        assert height / width == pytest.approx(ratio, rel=0.02)
        assert height * width == pytest.approx(300 * 400, rel=0.02)


def test_a_linear_probe_finds_what_is_there():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        [
            {"content": f"c{c}", "distortion": kind, "level": level + usual}
            for c in range(12)
            for kind, usual in (("blur", 0), ("jpeg", 3), ("noise", 6))
            for level in (1.0, 2.0, 3.0)
        ]
    )
    part = pd.Series(np.where(table.content < "c6", "train", "test"))
    kind = pd.get_dummies(table.distortion).to_numpy(float)
    told = np.hstack([kind, table.level.to_numpy()[:, None]]) + random.normal(0, 0.05, (108, 4))
    only_kind = kind + random.normal(0, 0.05, (108, 3))
    features = {"told": told, "noise": random.normal(size=(108, 9)), "kind": only_kind}
    found = ablations.linear_probe(features, table, part).set_index("features")
    assert (found.width == 3).all() and found.chance.iloc[0] == pytest.approx(1 / 3)
    assert found["type accuracy"]["told"] > 0.95 and found["level srcc"]["told"] > 0.9
    assert found["type accuracy"]["noise"] < 0.6
    # Who knows the type alone knows its usual level, and nothing of levels within it.
    assert found["type accuracy"]["kind"] > 0.95 and abs(found["level srcc"]["kind"]) < 0.3
