"""CKDN: parity with the published implementation, its two training stages, and what it refuses."""

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image

from iqa_core.models import create_model, weights
from iqa_core.models.ckdn import all_heads, distance_cost, stage1_loss, stage2_loss, staged_loss
from iqa_core.models.pyramid import Pyramid

AUXILIARY = ("aux_csp", "aux_fc")


@pytest.fixture(scope="module")
def published():
    return weights.from_published("ckdn", filled(golden("ckdn")["keys"]))


def pictures(seed, side):
    """Restored, degraded, second restored, pristine."""
    return [image(seed + offset, side, side) for offset in (0, 1000, 2000, 3000)]


def learning(model, loss):
    """The names of the parameters that a loss reaches."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def names(model, *parts):
    return {name for name, _ in model.named_parameters() if name.partition(".")[0] in parts}


def test_an_image_s_own_reference_and_an_equal_rival_leave_no_difference(published):
    restored, degraded, second, _ = pictures(1, 96)
    with torch.no_grad():
        heads = published.heads(restored, degraded, restored, degraded)
        other = published.heads(second, degraded, second, degraded)
        score = published(restored, degraded)
    assert heads["diff"] == 0
    torch.testing.assert_close(heads["fr"], score)
    torch.testing.assert_close(heads["dr"], score)
    assert heads["nr"] == other["nr"], "two equal images: whichever they are"
    assert heads["dr"] != other["dr"]


def test_a_score_takes_the_embeddings_of_both_images_in_their_own_weights(published):
    restored, degraded, _, _ = pictures(2, 96)
    with torch.no_grad():
        assert (published(restored, degraded) - published(degraded, restored)).abs() > 1e-3
        embedded = published.qse(restored)
    assert embedded.shape == (1, 256, 24, 24) and published.csp(embedded).shape == (1, 512, 12, 12)
    assert [name for name, _ in published.qse.named_children()] == [
        "conv1",
        "maxpool",
        "layer1",
    ]  # no norm, no activation


def test_the_first_stage_s_loss_is_half_the_squared_error_of_the_elo_probability():
    nr, zero = torch.tensor([0.5, 0.9]), torch.zeros(2)
    torch.testing.assert_close(stage1_loss(nr, zero, zero), torch.tensor(0.5 * 0.4**2 / 2))
    ahead = torch.tensor([0.4, 0.4])  # 400 Elo points: odds of ten to one, for the second
    torch.testing.assert_close(
        stage1_loss(torch.full((2,), 10 / 11), zero, ahead), torch.tensor(0.0)
    )


def test_the_second_stage_distils_by_the_fourth_power():
    target, diff = torch.tensor([0.2, 0.4]), torch.tensor([0.0, 0.1])
    scores = target + 0.1, target, target - 0.2
    once = stage2_loss(*scores, distance_cost(diff, "quartic"))
    torch.testing.assert_close(once, torch.tensor(0.01 + 0.04 + 30 * 0.01 / 2))
    # the mean square of features twice as far apart
    twice = stage2_loss(*scores, distance_cost(4 * diff, "quartic"))
    torch.testing.assert_close(twice - 0.05, 16 * (once - 0.05))
    torch.testing.assert_close(distance_cost(4 * diff, "quadratic"), 4 * 30 * diff)


def test_each_stage_trains_its_own_parts(published):
    heads = published.heads(
        *(torch.cat(pair) for pair in zip(pictures(3, 64), pictures(4, 64), strict=True))
    )
    first = stage1_loss(heads["nr"], torch.tensor([0.5, 0.6]), torch.tensor([0.7, 0.3]))
    cost = distance_cost(heads["diff"], "quartic")
    second = stage2_loss(heads["dr"], torch.tensor([0.5, 0.6]), heads["fr"], cost)
    assert learning(published, first) == names(published, "qse", *AUXILIARY)
    assert learning(published, second) == names(published, "qse", "dte", "csp", "fc")


def test_the_teacher_is_not_detached(published):
    heads = published.heads(*pictures(5, 64))
    assert learning(published, heads["fr"].sum()) == names(published, "qse", "dte", "csp", "fc")


def test_training_norms_see_both_references_in_one_batch():
    model = create_model("ckdn", backbone="resnet18", pretrained=False).train()
    seen = []
    model.csp.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = [torch.rand(2, 3, 64, 64) for _ in range(4)]
    heads = model.heads(*images)
    assert seen == [4] and all(value.shape == (2,) for value in heads.values())


def test_ckdn_has_the_published_parameters_and_scores_by_half_of_them(published):
    counts = {name: p.numel() for name, p in published.named_parameters()}
    assert sum(counts.values()) == golden("ckdn")["n_params"] == 13_387_650
    reached = learning(published, published(*pictures(6, 64)[:2]).sum())
    assert sum(counts[name] for name in reached) == 6_919_041
    assert set(counts) - reached == names(published, *AUXILIARY)


@pytest.mark.parametrize("seed", golden("ckdn")["cases"])
def test_ckdn_answers_as_the_published_code(published, seed):
    case, images = golden("ckdn")["cases"][seed], pictures(int(seed), 288)
    with torch.no_grad():
        heads, score = published.heads(*images), published(*images[:2])
    assert set(heads) == set(case)
    for name, value in case.items():
        np.testing.assert_allclose(heads[name], value, atol=1e-5, err_msg=name)
    torch.testing.assert_close(score, heads["dr"])


def test_both_embeddings_start_from_the_same_pretrained_weights():
    model, pyramid = (
        create_model("ckdn", backbone="tf_efficientnet_lite0"),
        Pyramid("tf_efficientnet_lite0", pretrained=True),
    )
    images = torch.rand(1, 3, 64, 64)
    model.eval(), pyramid.eval()
    with torch.no_grad():
        first, second = pyramid(images)[:2]
        normal = pyramid.normalise(images)
        for embed, predict in ((model.qse, model.csp), (model.dte, model.aux_csp)):
            assert torch.equal(embed(normal), first) and torch.equal(predict(embed(normal)), second)
    assert model.qse.conv_stem.weight is not model.dte.conv_stem.weight
    assert not torch.equal(model.fc[0].weight, model.aux_fc[0].weight)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "tf_efficientnet_lite0", "convnext_atto", "densenet121"]
)
def test_any_chain_of_layers_can_be_split(backbone):
    model = create_model("ckdn", backbone=backbone, pretrained=False).eval()
    images = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        embedded, score = model.qse(images), model(images, images.flip(0))
        assert embedded.shape[2:] == (24, 16) and model.csp(embedded).shape[2:] == (12, 8)
    assert score.shape == (2,) and ((score > 0) & (score < 1)).all()


@pytest.mark.parametrize("backbone", ["swin_tiny_patch4_window7_224", "hrnet_w18_small"])
def test_a_backbone_that_is_no_chain_is_refused(backbone):
    with pytest.raises(
        ValueError,
        match=f"{backbone}'s maps of strides 4 and 8 are not made by one layer after the other",
    ):
        create_model("ckdn", backbone=backbone, pretrained=False)


def test_images_of_different_sizes_are_refused(published):
    with pytest.raises(
        ValueError, match=r"one size, as many of each, not \(1, 3, 64, 64\) and \(1, 3, 64, 96\)"
    ):
        published(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize(
    ("arguments", "parts", "unused"),
    [
        ({}, ("image", "degraded", "partner", "pristine"), ()),
        ({"pristine": "absent"}, ("image", "degraded", "partner"), ()),
        ({"reference": "pristine"}, ("image", "pristine", "partner"), ()),
        ({"reference": "none"}, ("image", "partner"), ("dte",)),
        ({"encoders": "shared"}, ("image", "degraded", "partner", "pristine"), ("dte",)),
        (
            {"pristine": "absent", "compare": "cross_attention"},
            ("image", "degraded", "partner"),
            (),
        ),
    ],
)
def test_an_ablation_s_training_sees_what_it_says_and_trains_all_it_has(arguments, parts, unused):
    torch.manual_seed(0)
    model = create_model("ckdn", backbone="resnet18", pretrained=False, **arguments).train()
    assert model.objective.parts == parts
    assert not set(unused) & set(dict(model.named_children()))
    views = [torch.rand(2, 3, 64, 64) for _ in parts]
    target = torch.tensor([[0.2, 0.5], [0.6, 0.3]])
    for stage in (0, 1):
        reached = learning(model, staged_loss(all_heads(model, *views), target, stage))
        wanted = {id(p) for p in model.objective.learns(model, stage)}
        assert reached <= {name for name, p in model.named_parameters() if id(p) in wanted}
        parts_reached = {name.partition(".")[0] for name in reached}
        first = {"qse", "aux_csp", "aux_fc"}
        second = {"qse", "csp", "fc", *({"dte", "cross"} & set(dict(model.named_children())))}
        assert parts_reached == (first, second)[stage]


def test_fixed_layers_stand_for_images_and_never_learn():
    model = create_model("ckdn", backbone="resnet18", fixed=True, pretrained=False)
    model.train()
    assert not model.stem.training and not any(p.requires_grad for p in model.stem.parameters())
    images = [torch.rand(2, 3, 96, 96) for _ in range(2)]
    model.eval()
    with torch.no_grad():
        kept = [model.frozen_features(each) for each in images]
        assert kept[0].shape == (2, 64 * 24 * 24)
        torch.testing.assert_close(model(*kept), model(*images))
    with pytest.raises(ValueError, match="one size"):
        model(kept[0], kept[1][:1])


def test_a_detached_teacher_is_not_drawn_to_the_student():
    torch.manual_seed(0)
    for teacher, drawn in (("attached", True), ("detached", False)):
        model = create_model("ckdn", backbone="resnet18", teacher=teacher, pretrained=False).eval()
        pristine = torch.rand(1, 3, 64, 64, requires_grad=True)
        model.heads(*(torch.rand(1, 3, 64, 64) for _ in range(3)), pristine)[
            "diff"
        ].sum().backward()
        assert (pristine.grad is not None and bool(pristine.grad.any())) is drawn
