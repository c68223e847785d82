"""Features of a fixed backbone stand for the images: the same scores, a training of the parts
behind it, errors.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from training_jobs import fit

from iqa_core import evaluation
from iqa_core.loading import frozen_crops
from iqa_core.loading.parallel import each_image
from iqa_core.models import create_model
from iqa_core.pixels.cache import PixelCache

OPTIONS = dict(
    epochs=2, batch_size=4, crops_per_image=1, backbone_lr=1e-3, head_lr=1e-3, weight_decay=0.0
)


def network(name="smart_iqa", **arguments):
    torch.manual_seed(0)
    return create_model(name, backbone="resnet18", pretrained=False, **arguments).eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(8):
        light = random.integers(20, 200)
        pixels = np.clip(random.normal(light, 10 + 5 * i, (240, 260, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return PixelCache(sorted(folder.glob("*.png")), folder / "cache")


@pytest.fixture(scope="module")
def table(images):
    labels = [images[i].mean() for i in range(len(images))]
    return pd.DataFrame({"label": labels, "content": np.arange(len(labels)) % 2})


@pytest.fixture(scope="module")
def features(images):
    return frozen_crops(network(), images, crops=4, folder=images.file.parent)


@pytest.mark.parametrize("arguments", [{}, {"multiscale": False}, {"gate": "static"}])
def test_a_model_judges_features_as_it_judges_the_images(arguments):
    model, pictures = network(**arguments), torch.rand(3, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(model.frozen_features(pictures)), model(pictures))
        if "multiscale" not in arguments:
            torch.testing.assert_close(
                model.stage_weights(model.frozen_features(pictures)), model.stage_weights(pictures)
            )


def test_predictions_from_features_are_those_from_images(images, features):
    for model in (network(), network("hyperiqa")):
        expected = evaluation.predict(model, images, crops=4)
        assert evaluation.predict(model, features) == pytest.approx(
            expected, abs=2e-3 * np.abs(expected).max()
        )


def test_training_on_features_leaves_the_backbone_and_moves_the_rest(features, table):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = []
    parts = Subset(features, range(6)), table[:6], Subset(features, range(2, 8)), table[2:]
    rows = list(fit(model, *parts, **OPTIONS, log=said.append))
    moved = {
        name.partition(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert len(rows) == 2 and moved == {"local", "gate", "hyper"}
    assert "input: frozen: 4 fixed crops of 224 pixels" in said[0]


def test_features_are_computed_once_for_a_backbone_and_its_images(images, features, monkeypatch):
    # Only a model that computes nothing finds what is computed once already.
    monkeypatch.setattr(type(network()), "frozen_features", None)
    monkeypatch.setattr(type(network("hyperiqa")), "frozen_features", None)
    folder = images.file.parent
    for model in (network(attention=False), network("hyperiqa")):
        assert frozen_crops(model, images, crops=4, folder=folder).file == features.file
    others = [network() for _ in range(4)]
    with torch.no_grad():
        next(others[0].backbone.parameters()).add_(1.0)
    for model, change in zip(
        others[1:],
        ({"resize": 230}, {"interpolation": ("bicubic", "bicubic")}, {"crop": 112}),
        strict=True,
    ):
        model.contract = model.contract.changed(**change)
    fewer = PixelCache(images.paths[:-1], folder)
    cases = [(model, images, 4) for model in others] + [
        (network(), images, 6),
        (network(), fewer, 4),
    ]
    for model, pictures, crops in cases:
        with pytest.raises(TypeError):
            frozen_crops(model, pictures, crops=crops, folder=folder)


def test_a_full_disk_and_numbers_that_do_not_fit_leave_nothing_behind(images, tmp_path, capsys):
    model = network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: type("", (), {"free": 10**9}))
        wanted = "kept in .*: 1 GB are free, .* GB and 1 GB to spare are wanted; free some space"
        with pytest.raises(OSError, match=f"frozen crops cannot be {wanted}"):
            frozen_crops(model, images, crops=4, folder=tmp_path)
    found = frozen_crops(model, images, crops=1, folder=tmp_path)
    assert f"{2 * found.values.size / 1e9:.2g} GB" in capsys.readouterr().err
    assert found.file.stat().st_size == 2 * found.values.size + 128, (
        "the estimate is the file but for its header"
    )
    whole, seen = model.frozen_features, iter([1.0, 1.0, np.nan])
    model.frozen_features = lambda views: whole(views) * next(seen)
    with pytest.raises(ValueError, match="a feature of nan does not fit into float16"):
        frozen_crops(model, images, crops=4, folder=tmp_path)
    left = {path.suffixes[0] for path in tmp_path.glob("*.*") if path.suffix != ".lock"}
    assert left == {".features", ".shapes"} and len(list(tmp_path.glob("*.npy"))) == 2


def test_a_random_crop_is_taken_of_each(features, table):
    model, seen = network(), []
    model.register_forward_pre_hook(
        lambda _, given: seen.append(given[0]) if given[0].requires_grad is False else None
    )
    next(fit(model, features, table, features, table, **OPTIONS | dict(batch_size=8), log=str))
    rows = np.concatenate([features[i].astype(np.float32) for i in range(8)])
    taken = [int(np.flatnonzero((rows == row.numpy()).all(1))[0]) for row in seen[0]]
    assert sorted(k // 4 for k in taken) == list(range(8)) and len({k % 4 for k in taken}) > 1


def test_what_features_cannot_be(images, features, table):
    light = create_model(
        "hyperiqa", backbone="tf_efficientnet_lite0", head="light", pretrained=False
    )
    with pytest.raises(
        ValueError, match="LightHyperIQA cannot be trained on frozen crops; give frozen_crops: 0"
    ):
        frozen_crops(light, images, crops=4, folder=images.file.parent)
    with pytest.raises(ValueError, match="train given as frozen crops: all sets must be"):
        next(fit(network(), features, table, images, table, **OPTIONS))
    with pytest.raises(ValueError, match="colour_jitter and random_validation need images"):
        next(fit(network(), features, table, features, table, **OPTIONS, colour_jitter=True))


def test_each_image_is_worked_on_with_one_thread_and_comes_in_order():
    torch.set_num_threads(3)
    try:
        found = each_image(lambda i: (i, torch.get_num_threads()), range(20), torch.device("cpu"))
        assert list(found) == [(i, 1) for i in range(20)]
        assert torch.get_num_threads() == 3

        begun = []
        images = (begun.append(i) or i for i in range(1000))
        quotients = each_image(lambda i: 10 // (5 - i), images, torch.device("cpu"))
        assert [next(quotients) for _ in range(5)] == [2, 2, 3, 5, 10]
        with pytest.raises(ZeroDivisionError):
            next(quotients)
        assert len(begun) < 30  # not all are read before the first is done
    finally:
        torch.set_num_threads(1)
