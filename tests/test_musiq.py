"""MUSIQ: sizes and scales, masking, conventions, parity with the published implementations,
weights, what it refuses.
"""

import re

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image
from torch import nn

from iqa_core.models import create_model, musiq, patches, published, weights
from iqa_core.models.pyramid import Pyramid

SMALL = {
    "scales": [64, 96],
    "patch_encoder": "conv",
    "width": 32,
    "depth": 2,
    "heads": 2,
    "mlp": 48,
    "pretrained": False,
}


def hash_index(rows, columns, grid, rule="floor"):
    """The cell of a grid x grid table of each of rows x columns patches, row by row."""
    down, across = (
        patches.hash_place(torch.arange(n), torch.tensor(n), grid, rule) for n in (rows, columns)
    )
    return (down[:, None] * grid + across).flatten()


def small(**kwargs):
    """A small MUSIQ in evaluation whose head, zero as published, tells images apart."""
    torch.manual_seed(0)
    model = create_model("musiq", **SMALL | kwargs).eval()
    nn.init.normal_(model.head.weight)
    return model


def filled_model(name, **kwargs):
    return weights.from_published("musiq", filled(golden(name)["keys"]), **kwargs)


@pytest.fixture(scope="module")
def official():
    return filled_model("musiq_official")


def counted(**kwargs):
    with torch.device("meta"):
        return sum(p.numel() for p in musiq.build(pretrained=False, **kwargs).parameters())


# --- sequences


@pytest.mark.parametrize("training", [True, False])
def test_images_of_any_size_are_scored_together_as_alone(training):
    """Training fills up short ones and masks what was added; evaluation reads size after size."""
    model = small().train(training)
    images = [torch.rand(3, *size) for size in ((100, 130), (64, 33), (31, 200), (100, 130))]
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
        features = model.features(images)
        same_size = model(images[::3])
        batch = model(torch.stack(images[::3]))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(same_size, batch)
    torch.testing.assert_close(model.head(features)[:, 0], together)
    assert features.shape == (4, 32) and together.std() > 0.01


def test_more_patches_than_are_encoded_at_a_time_are_read_as_few_are():
    model = small(scales=[])
    images = torch.rand(2, 3, 500, 600)
    assert musiq.length(model, 500, 600) > musiq.CHUNK
    with torch.no_grad():
        alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(model(images), alone, atol=1e-5, rtol=1e-5)


def test_training_reads_the_first_native_patches_alone_and_evaluation_all():
    model = small(scales=[], grid=1, max_seq_len=8)  # of 4 x 4, told apart by no place
    image, changed = torch.rand(2, 1, 3, 128, 128)
    changed[:, :, :64] = image[:, :, :64]
    with torch.no_grad():
        whole, other = model.features(image), model.features(changed)
        upper_half = model.features(image[:, :, :64])
        model.train()
        torch.testing.assert_close(model.features(image), upper_half)
        torch.testing.assert_close(model.features(changed), upper_half)
    assert not torch.allclose(whole, other, atol=1e-3)
    assert not torch.allclose(whole, upper_half, atol=1e-3)
    assert musiq.length(model, 128, 128) == 8
    assert musiq.length(small(max_seq_len=8), 128, 128) == 4 + 9 + 8  # smaller scales are whole


def test_evaluation_leaves_nothing_behind_that_training_cannot_use():
    model, images = small(), torch.rand(1, 3, 77, 91)
    with torch.inference_mode():
        model(images)
    model.train()(images.requires_grad_()).sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_skipped_half_of_a_layer_is_drawn_for_each_image_and_not_rescaled():
    torch.manual_seed(0)
    block = musiq.Block(32, 2, 48, gelu="tanh", drop_path=0.5)
    tokens = torch.randn(1, 5, 32)
    possible = []
    with torch.no_grad():
        for first, second in ((0, 0), (0, 1), (1, 0), (1, 1)):
            half = tokens + first * block.attention(block.norm1(tokens))
            change = block.fc2(nn.functional.gelu(block.fc1(block.norm2(half)), approximate="tanh"))
            possible.append(half + second * change)
        torch.testing.assert_close(block.eval()(tokens), possible[3])
        outputs = block.train()(tokens.expand(64, -1, -1))
    distances = torch.stack([(outputs - one).abs().amax((1, 2)) for one in possible])
    close = distances < 1e-5
    assert (close.sum(0) == 1).all(), "each image is one of the four"
    assert close.any(1).all(), "each of the four is drawn"
    rates = [block.drop_path for block in small(depth=3, drop_path=0.2).blocks]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2])


def test_a_distribution_s_mean_is_the_score():
    model, images = small(bins=10), torch.rand(3, 3, 70, 90)
    with torch.no_grad():
        p, scores = model.distribution(images), model(images)
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    torch.testing.assert_close(scores, p @ torch.arange(1.0, 11))
    assert (model.contract.low, model.contract.high, model.contract.crop) == (1, 10, None)


def test_attention_comes_with_the_layout_of_its_tokens():
    model, images = small().train(), torch.rand(2, 3, 100, 130)
    read = []
    model.norm.register_forward_hook(lambda norm, inputs, output: read.append(output))
    maps, layout = model.attention(images)
    assert layout == [(0, 2, 2), (1, 3, 3), (2, 4, 5)]  # 49 x 64, 74 x 96 and 100 x 130 pixels
    assert [m.shape for m in maps] == [(2, 2, 34, 34)] * 2
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 2, 34))
    with torch.no_grad():
        torch.testing.assert_close(read[0], model.features(images), atol=1e-5, rtol=1e-5)
    assert model.training


def test_patch_encoders_from_timm_keep_their_weights_and_end_at_stride_8():
    for backbone, channels in {"tf_efficientnet_lite0": 40, "convnext_atto": 80}.items():
        model = small(patch_encoder=backbone).train()
        before = {k: v.clone() for k, v in model.patches.state_dict().items()}
        assert model.embed.in_features == channels * 4 * 4
        model([torch.rand(3, 64, 64), torch.rand(3, 40, 70)]).sum().backward()
        assert not any(p.requires_grad for p in model.patches.parameters())
        assert model.embed.weight.grad.any()
        assert all(torch.equal(before[k], v) for k, v in model.patches.state_dict().items())
    model = small(patch_encoder="tf_efficientnet_lite0", pretrained=True)
    published = Pyramid("tf_efficientnet_lite0", pretrained=True).eval()
    cut = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        found, expected = model.patches(cut * 2 - 1), published(cut)[1]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# --- conventions


def test_target_sizes_are_float32_and_round_halves_to_even():
    # 122.5; float64 makes it more and rounds up
    assert patches.target_size(384, 210, 224) == (224, 122)
    assert round(210 * (224 / 384)) == 123
    assert patches.target_size(384, 210, 224, np.float64) == (224, 123)  # as the port has it
    assert patches.target_size(768, 1024, 384) == (288, 384)
    assert patches.target_size(50, 100, 224) == (112, 224)
    assert patches.target_size(1, 1000, 224) == (1, 224)


def test_gaussian_weights_are_tensorflow_s():
    """tf.image.resize(..., "gaussian", antialias=False) of TensorFlow 2.21, columns of an
    identity.
    """
    shrunk = [
        [0.331431, 0.645540, 0.023029, 0, 0, 0, 0],
        [0, 0, 0.106507, 0.786986, 0.106507, 0, 0],
    ]
    np.testing.assert_allclose(patches.gaussian_weights(7, 3)[:2], shrunk, atol=1e-6)
    enlarged = [[0.942676, 0.057324, 0], [0.598688, 0.401312, 0], [0.106507, 0.786986, 0.106507]]
    np.testing.assert_allclose(patches.gaussian_weights(3, 5)[:3], enlarged, atol=1e-6)
    np.testing.assert_allclose(
        patches.gaussian_weights(8, 3)[1], [0, 0, 0, 0.5, 0.5, 0, 0, 0], atol=1e-6
    )
    for old, new in ((500, 384), (100, 224), (640, 1)):
        weight = patches.gaussian_weights(old, new)
        np.testing.assert_allclose(weight.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(weight, weight[::-1, ::-1], atol=1e-6)


def test_resizing_stays_float32_under_autocast():
    images = torch.rand(1, 3, 60, 80)
    with torch.autocast("cpu", torch.bfloat16):
        resized = patches.gaussian_resize(images, (30, 40))
    assert torch.equal(resized, patches.gaussian_resize(images, (30, 40)))


def test_patches_are_padded_by_grey_the_smaller_half_before():
    cut = patches.cut_patches(torch.ones(1, 3, 33, 168))  # 31 rows missing, 24 columns
    assert cut.shape == (1, 2, 6, 3, 32, 32)
    whole = cut.permute(0, 3, 1, 4, 2, 5).reshape(3, 64, 192)
    inside = torch.zeros(3, 64, 192)
    inside[:, 15:48, 12:180] = 1
    assert torch.equal(whole, inside)


def test_hashing_floors_in_float32_as_nearest_interpolation_does():
    inexact = []
    for count in range(1, 400):
        cells = hash_index(count, 1, 10) // 10
        row = torch.arange(10.0)[None, None]
        nearest = nn.functional.interpolate(row, count, mode="nearest")[0, 0]
        assert torch.equal(cells, nearest.long()), count
        assert torch.equal(cells, hash_index(1, count, 10)), count
        if not torch.equal(cells, torch.arange(count) * 10 // count):
            inexact.append(count)
    assert inexact == [205, 235, 266, 275, 305]
    assert hash_index(2, 3, 10).tolist() == [0, 3, 6, 50, 53, 56]
    assert not hash_index(4, 5, 1).any()


@pytest.mark.parametrize(("convention", "correction"), [("official", 0), ("pyiqa", 1)])
def test_filters_are_standardised_by_the_deviation_of_the_convention(convention, correction):
    conv = small(convention=convention, patch_encoder="resnet").patches.block.conv1
    patch, filters = torch.randn(2, 64, 8, 8), conv.weight.detach().double()
    centred = filters - filters.mean((1, 2, 3), keepdim=True)
    variance = centred.square().sum((1, 2, 3), keepdim=True) / (64 - correction)
    expected = nn.functional.conv2d(patch.double(), centred / (variance.sqrt() + 1e-5))
    torch.testing.assert_close(conv(patch).double(), expected, atol=1e-5, rtol=1e-5)


def test_norms_have_the_published_epsilons_and_initial_values():
    model = small(patch_encoder="resnet")
    eps = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            eps[name] = module.eps
    in_block = {f"patches.block.gn{n}" for n in ("1", "2", "3", "_proj")}
    assert {name for name, value in eps.items() if value == 1e-4} == in_block
    assert {value for name, value in eps.items() if ".block." not in name} == {1e-6}
    assert not model.patches.block.gn3.weight.any() and not model.cls.any()
    assert not musiq.build(**SMALL).head.weight.any()
    assert 0.015 < model.hash_embedding.std() < 0.025 and model.hash_embedding.shape == (100, 32)


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, 27_125_825),
        ({"bins": 10}, 27_129_290),
        ({"scales": ()}, 27_125_057),
        ({"patch_encoder": "linear"}, 21_929_473),
        ({"patch_encoder": "conv"}, 22_332_225),
    ],
)
def test_musiq_has_the_published_number_of_parameters(kwargs, parameters):
    assert counted(**kwargs) == parameters


# --- parity


EXPECTED = golden("musiq_official")["cases"]  # seed -> size -> score
CASES = [(seed, size) for seed, sizes in EXPECTED.items() for size in sizes]


def answer(model, seed, size):
    with torch.no_grad():
        return model(image(int(seed), *map(int, size.split("x")))).numpy()


@pytest.mark.parametrize(("seed", "size"), CASES)
def test_musiq_answers_as_the_released_weights_expect(official, seed, size):
    np.testing.assert_allclose(answer(official, seed, size), EXPECTED[seed][size], atol=1e-5)


def test_musiq_answers_as_pyiqa():
    model = filled_model("musiq_pyiqa", convention="pyiqa")
    expected = golden("musiq_pyiqa")["cases"]
    for seed, size in CASES[:3]:
        np.testing.assert_allclose(answer(model, seed, size), expected[seed][size], atol=1e-5)


def test_musiq_gives_the_published_distribution():
    model = filled_model("musiq_official_ava", bins=10)
    expected = golden("musiq_official_ava")["cases"]
    for seed, size in CASES[:3]:
        with torch.no_grad():
            (shares,) = model.distribution(image(int(seed), *map(int, size.split("x"))))
        np.testing.assert_allclose(shares, expected[seed][size], atol=2e-6)


# --- published files


def flax(
    state,
    norms=("LayerNorm_0", "LayerNorm_2"),
    attention="MultiHeadDotProductAttention_1",
    mlp="MlpBlock_3",
):
    """The port's state dict by official names, in flax's shapes, among an optimiser's state; in
    another order.
    """
    arrays = {
        "opt/state/step": np.zeros(()),
        "opt/state/param_states/head/kernel/momentum": np.zeros((384, 1)),
    }
    renamed = {
        "head.0.": "head.",
        ".norm1.": f".{norms[0]}.",
        ".norm2.": f".{norms[1]}.",
        ".attention.": f".{attention}.",
        ".mlp.fc1.": f".{mlp}.Dense_0.",
        ".mlp.fc2.": f".{mlp}.Dense_1.",
        "block1.": "block1.unit1.",
        "position_emb": "pos_embedding",
        "scale_emb": "scale_embedding",
    }
    for key, tensor in reversed(state.items()):
        array = tensor.numpy()
        name = re.sub(r"^transformer_encoder\.(transformer\.)?", "Transformer.", key)
        for old, new in renamed.items():
            name = name.replace(old, new)
        if array.ndim == 4:
            name, array = name.replace("weight", "kernel"), array.transpose(2, 3, 1, 0)
        elif "scale_embedding" in name:
            array = array[None]
        elif "gn" in name:
            name, array = name.replace("weight", "scale"), array.reshape(1, 1, 1, -1)
        elif array.ndim == 2:
            name, array = name.replace("weight", "kernel"), array.T
            if ".out." in name:
                array = array.reshape(6, 64, 384)
            elif attention in name:
                array = array.reshape(384, 6, 64)
        elif attention in name and ".out." not in name:
            array = array.reshape(6, 64)
        else:
            name = name.replace("weight", "scale")
        arrays["opt/target/" + name.replace(".", "/")] = array
    return arrays


BY_KIND = {  # layers counted kind by kind, as other versions of flax do
    "norms": ("LayerNorm_0", "LayerNorm_1"),
    "attention": "SelfAttention_0",
    "mlp": "MlpBlock_0",
}


@pytest.mark.parametrize("names", [{}, BY_KIND, {"norms": ("norm_9", "norm_10")}])
def test_official_arrays_become_the_port_s_state_dict(names):
    state = filled(golden("musiq_official")["keys"])
    arrays = flax(state, **names)
    assert len(arrays) == 250 and arrays["opt/target/conv_root/kernel"].shape == (7, 7, 3, 64)
    back = published.musiq_state(arrays)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], value) for key, value in state.items())


def test_both_names_of_the_ten_bin_head_are_known():
    state = filled(golden("musiq_official_ava")["keys"])
    state = {key.replace("head.0.", "head."): value for key, value in state.items()}
    assert weights.from_published("musiq", state, bins=10).head.out_features == 10


def test_arrays_without_a_model_are_refused():
    wanted = r"no array is named opt/target/.*not one with \['weight'\]"
    with pytest.raises(ValueError, match=wanted):
        published.musiq_state({"weight": np.zeros(3)})


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("musiq-imagenet", {}),
        ("musiq-imagenet", {"scales": ()}),
        ("musiq-imagenet-pyiqa", {"bins": 10}),
    ],
)
def test_training_starts_from_an_imagenet_trunk_that_is_here_with_a_head_of_its_own(
    name, kwargs, project
):
    state = filled(golden("musiq_official")["keys"])
    file = published.row(name).path
    file.parent.mkdir(parents=True)
    if file.suffix == ".npz":
        with file.open("wb") as stream:
            np.savez(stream, **flax(state))
    else:
        imagenet_head = filled({"imagenet_head.weight": [1000, 384], "imagenet_head.bias": [1000]})
        torch.save(state | imagenet_head, file)
    model = create_model("musiq", **kwargs)
    assert not model.head.weight.any()
    last = state["transformer_encoder.transformer.encoderblock_13.mlp.fc2.weight"]
    assert torch.equal(model.blocks[13].fc2.weight, last)
    taken = torch.equal(model.scales, state["transformer_encoder.scaleembed_input.scale_emb"])
    assert taken == ("scales" not in kwargs)


def test_without_an_imagenet_trunk_the_command_that_fetches_it_is_told(project):
    with pytest.raises(FileNotFoundError, match="weights get musiq-imagenet"):
        create_model("musiq")


# --- what it refuses


def test_arguments_that_cannot_be_are_refused():
    swin = {"patch_encoder": "swin_tiny_patch4_window7_224"}
    for kwargs, message in (
        ({"convention": "paper"}, "convention is 'paper'; there are official, pyiqa"),
        ({"scales": (), "native": False}, "no scale to read"),
        ({"width": 32, "heads": 5}, "32 does not divide into 5 heads"),
        ({"depth": 2, "pretrained": True}, "ImageNet weights; say pretrained=False"),
        ({"patch_encoder": "resnt18"}, "timm has no backbone 'resnt18'"),
        (swin, "no patches of 32x32 for this backbone"),
    ):
        with pytest.raises(ValueError, match=message):
            create_model("musiq", **SMALL | kwargs)


@pytest.mark.parametrize(
    "images", [torch.rand(3, 64, 64), torch.rand(2, 1, 64, 64), [torch.rand(1, 3, 64, 64)], []]
)
def test_what_is_no_rgb_image_is_refused(images):
    with pytest.raises(ValueError, match=r"a batch \(b, 3, h, w\) or a list of \(3, h, w\), not"):
        small()(images)


def test_attention_of_several_sizes_and_a_distribution_of_one_bin_are_refused():
    with pytest.raises(ValueError, match="images of one size"):
        small().attention([torch.rand(3, 64, 64), torch.rand(3, 64, 65)])
    wanted = "predicts a score, no distribution; build it with bins=10"
    with pytest.raises(ValueError, match=wanted):
        small().distribution(torch.rand(1, 3, 64, 64))


# ---- ablations of the input coding


@pytest.mark.parametrize(
    ("rule", "cells"),
    [("floor", [0, 3, 6]), ("round", [0, 3, 7]), ("half_pixel", [1, 5, 8])],
)
def test_three_patches_are_hashed_to_ten_cells_by_each_rule(rule, cells):
    assert (hash_index(3, 1, 10, rule) // 10).tolist() == cells
    assert (hash_index(1, 3, 10, rule) % 10).tolist() == cells


def test_a_table_is_interpolated_between_the_cells_that_a_patch_lies_over():
    table = torch.arange(4.0)[:, None]  # of 2 x 2 cells
    place, none = torch.arange(2), torch.zeros(2, dtype=torch.long)
    found = patches.hashed(table, (place, none + 2), (none, none + 1), 2, "bilinear")
    assert found[:, 0].tolist() == [0.5, 2.5], "on the rows' own places, between both columns"
    place, none = torch.arange(4), torch.zeros(4, dtype=torch.long)
    found = patches.hashed(table, (place, none + 4), (none, none + 2), 2, "bilinear")
    assert found[:, 0].tolist() == [0, 0.5, 1.5, 2]


CODER = dict(width=32, depth=2, heads=2, mlp=48, pretrained=False)
CODINGS = [
    {"patch_encoder": "linear", "scales": [64]},
    {"patch_encoder": "test_efficientnet", "scales": [64, 96]},
    {"patch_encoder": "linear", "scales": [64], "positions": "sequence"},
    {"patch_encoder": "linear", "scales": [64], "hashing": "bilinear"},
    {"patch_encoder": "linear", "scales": [64], "native": False, "square": True},
    {"patch_encoder": "linear", "scales": [64], "positions": "none", "scale_embedding": False},
]


def coded(arguments):
    torch.manual_seed(0)
    model = create_model("musiq", **CODER, **arguments).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("arguments", CODINGS, ids=str)
def test_frozen_tokens_are_judged_as_their_images_are(arguments):
    model, generator = coded(arguments), torch.Generator().manual_seed(1)
    sizes = [(64, 96), (96, 64), (70, 130), (64, 96)]
    images = [torch.rand(3, *size, generator=generator) for size in sizes]
    close = dict(atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        frozen = [model.frozen_features(image[None])[0] for image in images]
        scores = model(images)
        torch.testing.assert_close(model(frozen), scores, **close)
        alike = torch.stack([frozen[0], frozen[3]])
        torch.testing.assert_close(model(alike), scores[[0, 3]], **close)
        model.max_seq_len = 3
        model.train()  # native ones are cut alike
        torch.testing.assert_close(model(frozen), model(images), **close)


def test_a_patch_encoder_that_learns_cannot_be_frozen():
    model = coded({"patch_encoder": "conv", "scales": [64]})
    assert model.frozen_trunk is None
    with pytest.raises(ValueError, match="the patch encoder of this MUSIQ learns"):
        model.frozen_features(torch.rand(1, 3, 64, 64))


def test_tokens_that_fill_up_a_batch_change_no_score():
    model = coded({"patch_encoder": "linear", "scales": [64]})
    images = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 128, 160)]
    with torch.no_grad():
        tokens = [model.tokens(image)[0] for image in images]
        together = model.judged(model.read(tokens))
        alone = torch.cat([model(image) for image in images])
    assert tokens[0].shape[1] < tokens[1].shape[1]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_squares_have_as_many_tokens_whatever_the_shape():
    model = coded({"patch_encoder": "linear", "scales": [64, 96], "native": False, "square": True})
    for size in ((40, 200), (200, 40), (96, 96)):
        assert model.tokens(torch.rand(1, 3, *size))[0].shape[1] == 4 + 9
        assert musiq.length(model, *size) == 4 + 9


def test_a_sequence_table_has_a_row_for_every_patch_and_the_last_for_all_that_follow():
    sequence = {"scales": [], "positions": "sequence", "max_seq_len": 4}
    model = coded({"patch_encoder": "linear", **sequence})
    places = torch.tensor([[0, row, 3, column, 2] for row in range(3) for column in range(2)])
    added = model._embedding(places) - model.scales[0]
    torch.testing.assert_close(added[:4], model.positions[0])
    torch.testing.assert_close(added[4:], model.positions[0, [3, 3]])
    with pytest.raises(ValueError, match="has sequence positions, which are not hashed"):
        _ = model.hash_embedding


def test_scales_have_maps_of_their_own_that_sum_to_one():
    maps = coded({"patch_encoder": "linear", "scales": [64]}).scale_maps(torch.rand(1, 3, 100, 160))
    shapes = {name: tuple(of_scale.shape) for name, of_scale in maps.items()}
    assert shapes == {"64": (1, 2, 2), "native": (1, 4, 5)}
    for of_scale in maps.values():
        assert of_scale.sum().item() == pytest.approx(1, abs=1e-5)


def test_squares_of_a_native_scale_are_refused():
    with pytest.raises(ValueError, match="a native scale is not square: with square=True give"):
        create_model("musiq", square=True, pretrained=False)
