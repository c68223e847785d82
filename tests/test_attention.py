"""Stage weights over images, maps of gradients and of window attention: what must hold, agreement,
bad input.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from pictures import noise, save
from scipy.stats import sem
from scipy.stats import t as student
from torch import nn

from iqa_core import attention, figures, metrics, stats, tables
from iqa_core.loading import evaluation_views, floats
from iqa_core.loading.views import batch
from iqa_core.models import Contract, create_model
from iqa_core.models.pyramid import Pyramid
from iqa_core.pixels import resize

QUARTERS = np.full(4, 0.25)


def smart(**arguments):
    torch.manual_seed(0)
    model = create_model(
        "smart_iqa", **({"backbone": "resnet18"} | arguments), pretrained=False
    ).eval()
    model.contract = model.contract.changed(crops=4)
    if model.gate is not None and "gate" not in arguments:
        nn.init.normal_(model.gate.net[3].weight, std=0.5)  # so that crops differ
    return model


@pytest.fixture(scope="module")
def model():
    return smart()


@pytest.fixture(scope="module")
def swin():
    return smart(size="micro", backbone=None)


@pytest.fixture(scope="module")
def images():
    small = [noise(8, 10, 3, seed=i) // (i + 1) for i in range(3)]
    return [resize(image, (230, 260), "bilinear", at_least=224) for image in small]


class Averages(Pyramid):
    """A pyramid of means over squares, and a score that is linear in them: whatever is asked of it
    has an answer by hand.
    """

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, images):
        return [nn.functional.avg_pool2d(images, stride) for stride in (4, 8, 16, 32)]


class Linear(nn.Module):
    def __init__(self, *, reads=slice(None), stages=(1.0, 2.0, 3.0, 4.0)):
        super().__init__()
        self.backbone, self.reads, self.stages = Averages(), reads, stages
        self.weight = nn.Parameter(torch.ones(()))
        self.contract = Contract("test", offset=7.0, scale=10.0)

    def forward(self, images):
        maps = self.backbone(images)
        terms = [
            a * maps[i][..., self.reads].mean((1, 2, 3)) for i, a in enumerate(self.stages) if a
        ]
        return self.weight * sum(terms)


# ------------------------------------------------------------------------------
# stage weights
def test_entropy_is_two_bits_for_even_weights_and_none_for_one():
    weights = np.array([QUARTERS, [0, 0, 1, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(attention.entropy(weights), [2, 0, 1])
    mixed = np.random.default_rng(0).dirichlet(np.ones(4), (5, 3))
    assert attention.entropy(mixed).shape == (5, 3)
    assert (attention.entropy(mixed.mean(1)) >= attention.entropy(mixed).mean(1)).all()
    for wrong in ([0.5, 0.5, 0.5, 0.5], [1.2, -0.2, 0, 0], [np.nan, 1, 0, 0]):
        with pytest.raises(ValueError, match="sum to 1"):
            attention.entropy(wrong)


def test_stage_weights_of_every_crop_sum_to_one_and_are_the_model_s(model, images):
    model.train()
    weights = attention.stage_weights(model, images, batch_size=3)
    assert model.training and weights.shape == (3, 4, 4)
    model.eval()
    np.testing.assert_allclose(weights.sum(2), 1, atol=1e-6)
    centre = torch.tensor(images[1][3:227, 18:242]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = model.stage_weights(centre).numpy()
    of_centres = attention.stage_weights(model, images, crops=1)
    np.testing.assert_allclose(of_centres[1], expected, atol=1e-6)


def test_stage_weights_of_frozen_crops_are_those_of_the_images(model, images):
    frozen = []
    for image in images:
        (crops,) = evaluation_views({"image": image}, model.contract, crops=4)
        with torch.no_grad():
            features = model.frozen_features(floats(batch([crops]), "cpu", torch.float32))
        frozen.append(features.numpy().astype(np.float16))
    expected = attention.stage_weights(model, images)
    np.testing.assert_allclose(attention.stage_weights(model, frozen), expected, atol=2e-3)


def test_the_variance_of_weights_lies_between_crops_and_between_images():
    random = np.random.default_rng(0)
    level = random.normal(size=(4000, 1, 4))
    parts = attention.variance_parts(0.3 * level + 0.1 * random.normal(size=(4000, 5, 4)))
    np.testing.assert_allclose(parts["between"], 0.3, rtol=0.05)
    np.testing.assert_allclose(parts["within"], 0.1, rtol=0.05)
    np.testing.assert_allclose(parts["share"], 0.9, atol=0.02)
    of_crops = attention.variance_parts(random.normal(size=(400, 5, 4)))
    assert (of_crops["share"] < 0.1).all()
    assert np.isnan(attention.variance_parts(np.full((3, 2, 4), 0.25))["share"]).all()
    with pytest.raises(ValueError, match="3 images x 1 crops; two of both"):
        attention.variance_parts(np.full((3, 1, 4), 0.25))


def test_weights_are_described_a_stage_a_row():
    random = np.random.default_rng(0)
    weights = random.dirichlet([0.2, 0.2, 0.2, 5], (30, 3))
    label = attention.entropy(weights.mean(1))
    rows = attention.describe_weights(weights, label)
    assert rows.stage.tolist() == attention.STAGES
    assert rows["mean"].to_numpy() == pytest.approx(weights.mean((0, 1)))
    assert rows.share.to_numpy() == pytest.approx(attention.variance_parts(weights)["share"])
    assert rows.bits[0] == pytest.approx(label.mean()) and rows.srcc_of_bits[0] == 1
    assert rows.saturated[0] == (weights.mean(1).max(1) > 0.9).mean() > 0
    assert "share" not in attention.describe_weights(weights[:, :1], label)


def test_a_model_made_static_weighs_every_image_alike_and_leaves_the_other_alone(model):
    crops, fixed = torch.rand(2, 3, 224, 224), np.array([0.1, 0.0, 0.6, 0.3])
    same = torch.tensor(fixed).float().expand(2, 4)
    with torch.no_grad():
        before = model.stage_weights(crops)
        static = attention.made_static(model, fixed)
        torch.testing.assert_close(static.stage_weights(crops), same)
        torch.testing.assert_close(static(crops), model(crops, weights=same))
        torch.testing.assert_close(model.stage_weights(crops), before)
    with pytest.raises(ValueError, match="sum to 1"):
        attention.made_static(model, np.ones(4))


def test_what_weighs_no_stages(images):
    with pytest.raises(ValueError, match="HyperIQA weighs no stages"):
        attention.stage_weights(
            create_model("hyperiqa", backbone="resnet18", pretrained=False), images
        )
    with pytest.raises(ValueError, match="built with attention=False"):
        attention.stage_weights(smart(attention=False), images)
    covering = smart()
    covering.contract = covering.contract.changed(crops=None)
    with pytest.raises(ValueError, match="give crops="):
        attention.stage_weights(covering, [images[0], noise(230, 500, 3)])


# ------------------------------------------------------------------------------
# the rule
@pytest.fixture
def table():
    label = [5, 1, 3, 9, 1, 3, 9, 0, 6, 7]
    kinds = ["a", "b", "c", "d", "e", "f", "f", "x", "f", ""]
    frame = pd.DataFrame(
        {"image": [f"{chr(106 - i)}.png" for i in range(10)], "label": label, "distortion": kinds}
    )
    return frame.assign(distortion2=[None, None, "b", *[None] * 7])


def test_images_are_chosen_by_one_column_and_name_alone(table):
    rows = [0, 1, 2, 3, 4, 5, 6, 8, 9]  # not the zero of row 7; labels 1 1 3 3 5 6 7 9 9
    chosen = attention.select_images(table, rows, further=2)
    assert list(chosen.index[:3]) == [4, 0, 3], (
        "of two lowest the first name, of two highest the last"
    )
    assert list(chosen.quality) == ["lowest", "median", "highest", "median of b", "median of f"]
    assert list(chosen.index[3:]) == [1, 8], "c is not alone in its image, a, d and e are shown"
    pd.testing.assert_frame_equal(
        attention.select_images(table[::-1], [9 - i for i in rows], further=2), chosen
    )
    turned = table.assign(votes=-table.label)
    assert list(attention.select_images(turned, rows, by="votes").index) == [6, 0, 1], (
        "by another column than the label"
    )
    assert (
        len(
            attention.select_images(
                table.drop(columns=["distortion", "distortion2"]), rows, further=3
            )
        )
        == 3
    )
    assert attention.select_images(table, rows[:-1]).index[1] == 0, (
        "of an even number the higher median: 1 1 3 3 5 6 9 9"
    )
    assert attention.select_images(table, [2, 3, 4, 5]).index[1] == 2, (
        "of two medians of one label the last name: 1 3 3 9"
    )
    with pytest.raises(ValueError, match="2 rows to choose from; three"):
        attention.select_images(table, [0, 1])
    for wrong in ("mos", "distortion2"):
        with pytest.raises(ValueError, match=f"cannot be chosen by '{wrong}'"):
            attention.select_images(table, rows, by=wrong)


def test_the_rule_gives_the_three_images_of_the_reports():
    """KonIQ-10k's published ratings (Hosu et al. 2020, 10.1109/TIP.2020.2967829) of eight of the
    2,010 test images: two from either end by MOS, four from the middle, so that their median is the
    whole's. (Of all 2,010 the rule gives the same.)"""
    rated = {
        "7358286276": (1.232142857, 7.05),
        "4113685341": (1.261682243, 7.5168),
        "5166185394": (3.281553398, 62.8),
        "7158901982": (3.281553398, 62.7655),
        "7292878318": (3.281553398, 61.1382),
        "4456369143": (3.281818182, 62.3856),
        "8252742940": (4.092592593, 83.5),
        "320987228": (4.112149533, 83.4307),
    }
    table = pd.DataFrame(rated.values(), columns=["mos", "label"]).assign(
        image=[f"{name}.jpg" for name in rated]
    )
    chosen = attention.select_images(table, range(8), by="mos").image
    assert chosen.tolist() == ["7358286276.jpg", "7292878318.jpg", "320987228.jpg"]
    assert attention.select_images(table, range(8)).image.iloc[2] == "8252742940.jpg", (
        "by z-score the highest is another"
    )


def test_errors_are_in_label_units_and_on_the_calibrated_scale():
    selected = pd.DataFrame({"predicted": [10.0, 90.0], "label": [20.0, 80.0], "mos": [2.0, 4.0]})
    plain = attention.with_errors(selected, Contract("test"), scale_label="mos")
    assert plain.error.tolist() == [-10, 10] and "scaled" not in plain
    calibration = metrics.fit_scale([0, 40, 60, 100], [1.0, 2.6, 3.4, 5.0])
    contract = Contract("test", calibration=calibration)
    scaled = attention.with_errors(selected, contract, scale_label="mos")
    assert scaled.scaled.tolist() == pytest.approx(
        metrics.apply_scale(calibration, selected.predicted).tolist()
    )
    assert scaled.scaled_error.tolist() == pytest.approx((scaled.scaled - selected.mos).tolist())


def test_scores_as_the_reports_print_them():
    selected = pd.DataFrame({"predicted": [17.638, 100], "label": [7.05, 0], "mos": [1.2321, 1]})
    rows = attention.as_reported(selected)
    assert rows.as_reported.tolist() == pytest.approx([1.70552, 5]), "the report prints 1.71"
    assert rows.as_reported_error.tolist() == pytest.approx([0.47342, 4])
    assert rows.error_of_the_rule.tolist() == pytest.approx([0.0499, 0], abs=1e-12)


# ------------------------------------------------------------------------------
# maps
def test_gradient_maps_sum_to_what_a_stage_adds_and_are_zero_where_nothing_is_read():
    image = noise(224, 224, 3)
    maps = attention.gradient_maps(Linear(), image)
    assert maps.shape == (4, 224, 224)
    np.testing.assert_allclose(
        maps.sum((1, 2)), 10 * np.arange(1, 5) * image.mean() / 255, rtol=1e-4
    )
    squares = image.mean(2).reshape(7, 32, 7, 32).mean((1, 3)) / 255
    np.testing.assert_allclose(
        maps[3], np.kron(squares, np.ones((32, 32))) * 40 / 224**2, rtol=1e-4
    )
    assert not attention.gradient_maps(Linear(stages=(0.0, 0.0, 3.0, 0.0)), image)[
        [0, 1, 3]
    ].any(), "unread stages"
    left = attention.gradient_maps(
        Linear(reads=slice(0, 2)), image
    )  # two tokens: 8, 16, 32 and 64 pixels
    for stage, pixels in zip(left, (8, 16, 32, 64), strict=True):
        assert (stage[:, :pixels] > 0).all() and not stage[:, pixels:].any()


@pytest.mark.parametrize("arguments", [{}, {"size": "micro", "backbone": None}])
def test_gradient_maps_are_derivatives_of_the_score(arguments):
    model, image, step = smart(**arguments), noise(224, 224, 3), 1e-2
    model.contract = model.contract.changed(scale=30.0)
    sums = attention.gradient_maps(model, image).sum((1, 2))
    views = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    (slope,) = torch.autograd.grad(model(views).sum(), [next(model.backbone.parameters())])
    assert not model.training and slope.any(), "nothing is left in the backbone"
    for stage in range(4):
        scores = []
        for factor in (1 + step, 1 - step):

            def scaled(module, _, maps, factor=factor, stage=stage):
                return [factor * part if i == stage else part for i, part in enumerate(maps)]

            handle = model.backbone.register_forward_hook(scaled)
            scores.append(30 * model(views).item())
            handle.remove()
        slope = (scores[0] - scores[1]) / (2 * step)
        assert sums[stage] == pytest.approx(slope, rel=0.02, abs=0.03 * float(np.abs(sums).max()))


@pytest.mark.parametrize("sides", [(300, 224), (230, 500), (100, 90)])
def test_maps_cover_images_of_any_size(sides):
    maps = attention.gradient_maps(Linear(), np.full((*sides, 3), 51, np.uint8))
    assert maps.shape == (4, *sides)
    np.testing.assert_allclose(
        maps, np.arange(1, 5)[:, None, None] * np.full((4, *sides), 10 * 0.2 / 224**2), rtol=1e-4
    )


def test_window_attention_averages_one_in_every_window(swin):
    before = swin(torch.full((1, 3, 224, 224), 0.5)).item()
    image = resize(noise(7, 7, 3), (224, 224), "bilinear", at_least=224)
    maps = attention.window_attention(swin, image)
    for stage, tokens in ((0, 56), (1, 28), (3, 7)):
        windows = maps[stage, :: 224 // tokens, :: 224 // tokens].reshape(
            tokens // 7, 7, tokens // 7, 7
        )
        np.testing.assert_allclose(windows.mean((1, 3)), 1, atol=1e-5)
    shifted = maps[2, ::16, ::16]
    edges = [0, 3, 10, 14]  # of the windows of 14 tokens shifted by 3
    for top, bottom in zip(edges, edges[1:], strict=False):
        for left, right in zip(edges, edges[1:], strict=False):
            assert shifted[top:bottom, left:right].mean() == pytest.approx(1, abs=1e-4)
    assert all(stage.std() > 1e-4 for stage in maps)
    assert all(m.fused_attn for m in swin.modules() if hasattr(m, "fused_attn")), "left as it was"
    assert swin(torch.full((1, 3, 224, 224), 0.5)).item() == before


def test_window_attention_of_a_known_pattern():
    """Every token looks at the one on its left: the last column of a window is seen by nobody but
    those without a left.
    """
    model, image = smart(size="micro", backbone=None), noise(224, 224, 3)
    swin_parts = [m for m in model.modules() if hasattr(m, "relative_position_bias_table")]
    for part in swin_parts:
        for parameter in (part.qkv.weight, part.qkv.bias, part.relative_position_bias_table):
            nn.init.zeros_(parameter)
    np.testing.assert_allclose(
        attention.window_attention(model, image), 1, atol=1e-4
    )  # even attention
    for part in swin_parts:
        with torch.no_grad():
            part.relative_position_bias_table[6 * 13 + 7] = 50.0  # query - key: 0 rows, 1 column
    maps = attention.window_attention(model, image)
    row = np.array([8, 8, 8, 8, 8, 8, 1]) / 7
    np.testing.assert_allclose(maps[0, ::4, ::4], np.tile(row, (56, 8)), atol=1e-4)
    np.testing.assert_allclose(maps[3, ::32, ::32], np.tile(row, (7, 1)), atol=1e-4)
    np.testing.assert_allclose(
        maps[2, ::16, ::16][3:10, 3:10], np.tile(row, (7, 1)), atol=1e-4
    )  # shifted by 3


def test_what_has_no_maps(model):
    with pytest.raises(
        ValueError, match="0 Swin stages, not 4, has no window attention; use gradient_maps"
    ):
        attention.window_attention(model, noise(224, 224, 3))
    with pytest.raises(ValueError, match="frozen crops have no places"):
        attention.gradient_maps(model, np.zeros((4, 10), np.float16))
    other = nn.Linear(1, 1)
    other.contract = Contract("test")
    with pytest.raises(ValueError, match="Linear does not read a feature pyramid"):
        attention.gradient_maps(other, noise(224, 224, 3))


# ------------------------------------------------------------------------------
# figures
@pytest.fixture
def closed():
    yield
    plt.close("all")


@pytest.fixture
def selected(tmp_path):
    rows = [
        (save(tmp_path, f"{i}.png", noise(60, 80, 3, seed=i)).name, w)
        for i, w in enumerate(("lowest", "highest"))
    ]
    weights = pd.DataFrame([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0]], columns=attention.STAGES)
    return (
        pd.DataFrame(rows, columns=["image", "quality"])
        .assign(label=[1.0, 9.0], predicted=[2.0, 8.0])
        .join(weights)
    )


def test_the_analysis_is_what_the_statistics_say():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"content": np.arange(120) // 12, "level": np.arange(120) % 12 // 2})
    table["distortion"] = np.array(["blur", "noise"])[np.arange(120) % 2]
    table["label"] = random.normal(-table.level, 1)
    part = pd.Series(np.where(table.content < 5, "train", "test"))
    tested = table[part == "test"].copy()
    tested["entropy"] = tested.label + random.normal(size=60)
    tested["predicted"] = tested.label + random.normal(size=60)
    fixed = tested.predicted.to_numpy() + random.normal(0, 0.1, 60)
    rows = tables.attention_analysis(tested, fixed)
    within = metrics.per_content(tested.entropy, tested.label, tested.content)
    lost = stats.compare(tested.predicted, fixed, tested.label, content=tested.content)["within"]
    judged = tested.label, tested.content, stats.versions(tested)
    specific = stats.content_specific(tested.entropy, *judged)
    assert rows.value["entropy"] == pytest.approx(stats.srcc(tested.entropy, tested.label))
    assert rows.value["entropy_within"] == pytest.approx(within["srcc"])
    assert rows.value["entropy_specific"] == pytest.approx(specific["value"])
    assert rows.value["lost"] == pytest.approx(lost["difference"])
    assert (rows.low["lost"], rows.high["lost"]) == pytest.approx(lost["interval"])
    assert rows.interval["entropy"] == "above 0" and rows.interval["change"] == ""
    alone = tested[["label", "predicted", "entropy"]].assign(distortion=None)
    over_images = tables.attention_analysis(alone, fixed)
    assert list(over_images.index) == ["entropy", "lost", "between", "change"]
    assert over_images.quantity["lost"].endswith("over all images")


def test_bars_and_tints_are_the_weights(selected, tmp_path, closed):
    figure, data = figures.stage_bars(selected, root=tmp_path)
    heights = [bar.get_height() for axis in figure.axes for bar in axis.patches]
    assert heights == data[attention.STAGES].to_numpy().ravel().tolist()
    figure, data = figures.tint(selected, root=tmp_path)
    alphas = [axis.images[1].get_array()[0, 0, 3] for axis in figure.axes if len(axis.images) > 1]
    assert alphas == pytest.approx(0.8 * data[attention.STAGES].to_numpy().ravel())


def test_the_scatter_names_its_correlation(closed):
    random = np.random.default_rng(0)
    offset = random.normal(size=8)[
        np.arange(80) % 8
    ]  # contents differ, so intervals by content are wider
    weights = pd.DataFrame({"label": offset, "entropy": offset, "content": np.arange(80) % 8})
    weights[["label", "entropy"]] += random.normal(size=(80, 2))
    figure, _ = figures.entropy_scatter(weights)
    title = "n = 80, SRCC {:.2f} [{:.2f}, {:.2f}]"
    told = metrics.correlations(weights.entropy, weights.label, content=weights.content)
    assert figure.axes[0].get_title(loc="left") == title.format(
        told["srcc"], *told["intervals"]["srcc"]
    )
    points = np.concatenate([line.get_xydata() for line in figure.axes[0].lines[:8]])
    assert sorted(points[:, 0]) == sorted(weights.label)
    by_image = metrics.correlations(weights.entropy, weights.label)["intervals"]["srcc"]
    assert np.abs(np.subtract(by_image, told["intervals"]["srcc"])).max() > 0.03, (
        "else the test could not tell"
    )
    for none in (weights.drop(columns="content"), weights.assign(content=np.arange(80))):
        left = figures.entropy_scatter(none)[0].axes[0].get_title(loc="left")
        assert left == title.format(told["srcc"], *by_image)


def test_weights_by_type_are_means_over_contents(closed):
    random = np.random.default_rng(0)
    weights = pd.DataFrame(random.dirichlet(np.ones(4), 60), columns=attention.STAGES)
    weights["content"], weights["distortion"] = (
        np.arange(60) % 5,
        np.array(["b", "a", "a"])[np.arange(60) % 3],
    )
    weights["entropy"] = attention.entropy(weights[attention.STAGES].to_numpy())
    figure, data = figures.weights_by(weights, "distortion")
    row = data.set_index(["distortion", "stage"]).loc[("a", "stage3")]
    means = weights[weights.distortion == "a"].groupby("content").stage3.mean()
    assert row["mean"] == pytest.approx(means.mean()) and row.n == 40
    assert (row.low, row.high) == pytest.approx(
        student.interval(0.95, 4, loc=means.mean(), scale=sem(means))
    )
    boxes = [*figure.axes[0].containers, *figure.axes[1].containers]
    drawn = np.concatenate([box.lines[0].get_xdata() for box in boxes])
    assert sorted(drawn) == pytest.approx(sorted(data["mean"]))
    lines = [end for box in boxes for path in box[2][0].get_paths() for end in path.vertices[:, 0]]
    assert sorted(lines) == pytest.approx(sorted([*data.low, *data.high]))
    for none in (
        weights.drop(columns="content"),
        weights.assign(content=np.arange(60)),
        weights.assign(content=None),
    ):
        plain = figures.weights_by(none.assign(run="z"), "run")[1]
        assert plain["mean"].to_numpy() == pytest.approx(
            weights[[*attention.STAGES, "entropy"]].mean().to_numpy()
        )
        whole = student.interval(0.95, 59, loc=weights.stage1.mean(), scale=sem(weights.stage1))
        assert (plain.low[0], plain.high[0]) == pytest.approx(whole)


def test_maps_are_drawn_in_the_cells_that_the_table_holds(selected, tmp_path, closed):
    maps = [np.random.default_rng(i).normal(size=(4, 48, 64)).astype(np.float32) for i in range(2)]
    figure, data = figures.gradient_maps(selected, maps, root=tmp_path)
    assert len(data) == 2 * 4 * 24 * 32
    cell = data[
        (data.image == "1.png") & (data.stage == 3) & (data.row == 5) & (data.column == 31)
    ].value.item()
    assert cell == pytest.approx(maps[1][2, 10:12, 62:].mean(), abs=1e-6)
    drawn = figure.axes[5 + 3].images[1].get_array()
    limit = np.quantile(data[data.image == "1.png"].value.abs(), 0.99)
    assert drawn[5, 31, 3] == pytest.approx(0.9 * min(1, abs(cell) / limit))
    assert drawn[5, 31, 2] > drawn[5, 31, 0] if cell > 0 else drawn[5, 31, 0] > drawn[5, 31, 2], (
        "blue raises"
    )
    assert [axis.get_title().split("\n")[0] for axis in figure.axes[1:5]] == [
        f"stage {i}" for i in range(1, 5)
    ]
    shares = np.abs(data[data.image == "1.png"].groupby("stage").value.apply(list).tolist()).sum(1)
    told = [axis.get_title().split()[-1] for axis in figure.axes[6:10]]
    assert told == [f"{share:.0%}" for share in shares / shares.sum()]


def test_window_attention_is_drawn_by_the_logarithm_of_its_shares(selected, tmp_path, closed):
    maps = np.ones((4, 24, 32))
    maps[1, 0, :4] = 8, 1 / 2, 0, 64
    fine = np.kron(maps, np.ones((2, 2)))
    fine[1, -2:, -2:] = [[0.1, 1.9], [1.9, 0.1]]  # a cell of mean 1
    fine[1, 0, 6:8] = 100, 28  # and one of 64
    figure, data = figures.window_attention(selected, [np.ones((4, 24, 32)), fine], root=tmp_path)
    assert (data[data.image == "0.png"].value == 1).all() and not figure.axes[1].images[
        1
    ].get_array()[..., 3].any()
    assert data[(data.image == "1.png") & (data.stage == 2)].value.tolist()[:5] == [
        8,
        0.5,
        0,
        64,
        1,
    ]
    drawn = figure.axes[5 + 2].images[1].get_array().data[0, :5]
    assert drawn[:, 3] == pytest.approx([0.9, 0.3, 0.9, 0.9, 0])
    assert (drawn[[0, 3], 2] > drawn[[0, 3], 0]).all() and (drawn[1:3, 2] < drawn[1:3, 0]).all(), (
        "blue is more, orange less"
    )
    assert figure.axes[5 + 2].get_title() == "0.00 to 100.00 shares", "of tokens, not of cells"
