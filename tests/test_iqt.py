"""IQT: what is compared with what, by which parameters, and what it refuses."""

import pytest
import timm
import torch
from torch import nn

from iqa_core.models import create_model
from iqa_core.models.iqt import InceptionMaps, PyramidMaps


def learning(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model(
        "iqt", size="iqt_c", backbone="tf_efficientnet_lite0", pretrained=False
    ).eval()


@pytest.fixture
def maps(model):
    """Feature maps of a batch of two, distorted and reference, as `compare` takes them."""
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(2, model.features.channels, model.side, model.side, generator=generator)
        for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("size", "count", "side"), [("iqt", 5_233_665, 29), ("iqt_c", 1_347_841, 21)]
)
def test_the_published_sizes_learn_the_published_number_of_parameters(size, count, side):
    model = create_model("iqt", size=size, pretrained=False).eval()
    crop = model.contract.crop
    assert learning(model) == count
    assert sum(p.numel() for p in model.features.parameters()) == 1_672_672
    with torch.no_grad():
        assert model.features(torch.rand(1, 3, crop, crop)).shape == (1, 1920, side, side)


def test_the_six_maps_are_those_of_the_whole_inception_resnet(monkeypatch):
    torch.manual_seed(0)
    net, kept = timm.create_model("inception_resnet_v2", pretrained=False), []
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: net)
    ours = InceptionMaps("inception_resnet_v2", False)
    for name in ("mixed_5b", "repeat.1", "repeat.3", "repeat.5", "repeat.7", "repeat.9"):
        net.get_submodule(name).register_forward_hook(lambda *seen: kept.append(seen[2].clone()))
    images = torch.rand(1, 3, 192, 192)
    with torch.no_grad():
        net.eval().forward_features((images - 0.5) / 0.5)
    torch.testing.assert_close(ours(images), torch.cat(kept[:6], 1), atol=1e-5, rtol=1e-5)


def test_the_backbone_stays_as_it_is_in_training(model):
    model.train()
    assert (
        not any(m.training for m in model.features.modules()) and model.encoder[0].dropout.training
    )
    before = {key: value.clone() for key, value in model.features.state_dict().items()}
    images = torch.rand(2, 3, 192, 192, requires_grad=True)
    model(images, images.flip(0)).sum().backward()
    assert images.grad is None and not any(p.requires_grad for p in model.features.parameters())
    for key, value in model.features.state_dict().items():
        assert torch.equal(value, before[key]), key
    model.eval()


def test_features_are_compared_in_full_precision_under_autocast(model):
    images = torch.rand(1, 3, 192, 192)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            model.features(images.bfloat16()), model.features(images.bfloat16().float())
        )
        assert model.features(images).dtype == torch.float32


def test_an_image_that_is_its_own_reference_gives_the_encoder_no_difference(model):
    images, seen = torch.rand(2, 3, 192, 192), []
    hook = model.encoder_tokens.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images, images)
        model(images, images.flip(0))
    hook.remove()
    assert not seen[0].any() and seen[1].any()


def test_the_score_depends_on_the_tokens_of_the_reference_and_not_on_the_difference_alone(
    model, maps
):
    distorted, reference = maps
    other = torch.zeros_like(reference)
    other[..., -1, -1] = (
        3.0  # the last token of the sequence: a causal mask would hide it from vector 0
    )
    with torch.no_grad():
        before, after = (
            model.compare(distorted, reference),
            model.compare(distorted + other, reference + other),
        )
        swapped = model.compare(reference, distorted)
    assert (before - after).abs().min() > 1e-4
    assert (before - swapped).abs().min() > 1e-2


def test_only_the_position_tables_know_where_a_token_stands(model, maps):
    order = torch.randperm(model.side**2, generator=torch.Generator().manual_seed(0))
    moved = [m.flatten(2)[..., order].view_as(m) for m in maps]
    tables = [model.encoder_tokens.positions, model.decoder_tokens.positions]
    kept = [table.detach().clone() for table in tables]
    with torch.no_grad():
        known = (model.compare(*maps) - model.compare(*moved)).abs()
        for table in tables:
            table.zero_()
        unknown = (model.compare(*maps) - model.compare(*moved)).abs()
        for table, values in zip(tables, kept, strict=True):
            table.copy_(values)
    assert unknown.max() < 1e-5 < 1e-4 < known.min()


def test_attention_weights_are_those_of_the_score(model, maps):
    torch.manual_seed(1)
    images = torch.rand(2, 2, 3, 192, 192)
    lists = {"encoder": [], "decoder": [], "cross": []}
    with torch.no_grad():
        torch.testing.assert_close(
            model.compare(*maps), model.compare(*maps, maps=lists), atol=1e-5, rtol=1e-5
        )
        found = model.attention(*images)
    assert list(found) == ["encoder", "decoder", "cross"]
    for name, weights in found.items():
        assert weights.shape == (2, 1, 4, 145, 145), name  # 12 x 12 cells and the quality vector
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 4, 145))


def test_every_cell_of_a_pyramid_s_grid_holds_the_maps_of_its_own_place():
    features = PyramidMaps("resnet18", False)
    maps = [
        torch.randn(1, c, 256 // s, 256 // s)
        for c, s in zip((64, 128, 256, 512), (4, 8, 16, 32), strict=True)
    ]
    features.pyramid = nn.Identity()
    cell = features.maps(maps)[0, :, 5, 9]
    places = [
        maps[0][0, :, 20:24, 36:40],
        maps[1][0, :, 10:12, 18:20],
        maps[2][0, :, 5, 9],
        maps[3][0, :, 2, 4],
    ]
    assert len(cell) == features.channels
    assert torch.equal(cell, torch.cat([place.flatten() for place in places]))


def test_layers_start_with_glorot_s_deviation_and_no_bias(model):
    weight = model.encoder[0].feed[0].weight
    assert weight.std().item() == pytest.approx((2 / (128 + 1024)) ** 0.5, rel=0.02)
    assert not any(
        p.any()
        for n, p in model.named_parameters()
        if n.endswith("bias") and not n.startswith("features")
    )


def test_other_crops_and_unequal_pairs_are_refused(model):
    with pytest.raises(
        ValueError, match="two crops of 192 x 192, .* 2 and 2 of 224 x 200 and 224 x 200; cut both"
    ):
        model(torch.rand(2, 3, 200, 224), torch.rand(2, 3, 200, 224))
    with pytest.raises(ValueError, match="it got 2 and 1 of"):
        model(torch.rand(2, 3, 192, 192), torch.rand(1, 3, 192, 192))
    with pytest.raises(ValueError, match="size is 'large'; there are iqt, iqt_c"):
        create_model("iqt", size="large", pretrained=False)
