"""Prediction by the contract: what reaches a model that wants a reference, a wider view, a resize
or whole images.
"""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from iqa_core.evaluation import predict, prepared
from iqa_core.metrics import fit_scale
from iqa_core.models import Contract, create_model
from iqa_core.pixels import read_image, resize


class Recorder(nn.Module):
    """Scores are the mean difference of the two inputs' means, or the mean of the one; it keeps
    what it was given.
    """

    def __init__(self, **contract):
        super().__init__()
        self.contract = Contract("test", **contract)
        self.nothing, self.seen = nn.Parameter(torch.zeros(1)), []

    def forward(self, first, second=None):
        self.seen.append((first, second))
        means = torch.stack([image.mean() for image in first])
        return means if second is None else means - second.mean((1, 2, 3))


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_scores_on_another_scale():
    model, images = Recorder(crop=16, crops=4), [picture(40, 50, i) // (i + 1) for i in range(8)]
    predicted = predict(model, images)
    mos = 1 + 4 * predicted**2
    with pytest.raises(ValueError, match="this model has no calibration"):
        predict(model, images, scaled=True)
    model.contract.calibration = fit_scale(predicted, mos)
    scaled = predict(model, images, scaled=True)
    assert np.abs(scaled - mos).max() < 0.1 and (np.argsort(scaled) == np.argsort(predicted)).all()
    assert (predict(model, images) == predicted).all()


def test_a_reference_is_cropped_at_the_same_places():
    images = [picture(40, 50, i) for i in range(3)]
    model = Recorder(crop=16, crops=4, reference="pristine")
    scores = predict(model, images, reference=images)
    assert (scores == 0).all() and all(torch.equal(*pair) for pair in model.seen)
    other = [image // 2 for image in images]
    scores = predict(model, images, reference=other)
    expected = [
        np.mean(
            [
                (image[t : t + 16, x : x + 16] / 255 - half[t : t + 16, x : x + 16] / 255).mean()
                for t in (0, 24)
                for x in (0, 34)
            ]
        )
        for image, half in zip(images, other, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_image_and_reference_are_resized_each_in_its_way():
    image = picture(30, 50)
    model = Recorder(crop=20, resize=24, interpolation=("bicubic", "nearest"), reference="degraded")
    predict(model, [image], reference=[image])
    for seen, how in zip(model.seen[0], ("bicubic", "nearest"), strict=True):
        expected = resize(image, 24, how)[2:22, 10:30]
        np.testing.assert_allclose(seen[0].permute(1, 2, 0) * 255, expected, atol=1e-4)


def test_the_wider_view_goes_with_every_crop():
    model = Recorder(crop=16, crops=4, resize=32, context=32)
    predict(model, [picture(64, 90)])
    first, second = model.seen[0]
    assert first.shape == (4, 3, 16, 16) and second.shape == (4, 3, 32, 32)
    assert torch.equal(second[0], second[3])


def test_whole_images_come_in_batches_of_one_size_and_go_back_to_their_places():
    model = Recorder(crop=None)
    images = [picture(20, 30), picture(40, 25, 1), picture(20, 30, 2), picture(20, 30, 3)]
    expected = [image.mean() / 255 for image in images]
    np.testing.assert_allclose(predict(model, images, batch_size=2), expected, atol=1e-6)
    assert [tuple(first.shape) for first, _ in model.seen] == [
        (2, 3, 20, 30),
        (1, 3, 20, 30),
        (1, 3, 40, 25),
    ]
    for order in ([3, 1, 0, 2], [1, 2, 3, 0]):
        found = predict(model, [images[i] for i in order])
        np.testing.assert_allclose(found, np.array(expected)[order], atol=1e-6)


def test_a_batch_of_whole_images_has_no_more_pixels_than_the_budget(monkeypatch):
    monkeypatch.setattr("iqa_core.evaluation.WHOLE", 1300)
    model = Recorder(crop=None)
    predict(model, [picture(20, 30, i) for i in range(3)] + [picture(60, 60)])
    assert [len(first) for first, _ in model.seen] == [2, 1, 1]


class Narrow(Recorder):
    """Holds at most `room` pixels at a time, as a GPU does."""

    def __init__(self, room, **contract):
        super().__init__(**contract)
        self.room = room

    def forward(self, first):
        if first[:, 0].numel() > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(first)


def test_where_memory_lacks_the_batch_is_halved_and_predictions_stay():
    images = [picture(40, 50, i) for i in range(5)]
    for contract in (dict(crop=16, crops=9), dict(crop=None)):
        model = Narrow(2500, **contract)
        found = predict(model, images, batch_size=16)
        np.testing.assert_allclose(found, predict(Recorder(**contract), images), atol=1e-6)
        assert 1 <= max(len(first) for first, _ in model.seen) <= 9
    model = Narrow(100, crop=16, crops=4).train()
    with pytest.raises(torch.OutOfMemoryError, match="one view at a time is too large for the GPU"):
        predict(model, images)
    assert model.training


PREPARED = {  # small networks: batch norms, depthwise ones, group norms, attention
    "hyperiqa": dict(backbone="resnet18"),
    "musiq": dict(scales=[64], width=64, depth=2, heads=2, mlp=96),
    "maniqa": dict(backbone="vit_tiny_patch16_224", crop=64),
}


@pytest.fixture(scope="module", params=PREPARED)
def network(request):
    torch.manual_seed(0)
    model = create_model(request.param, **PREPARED[request.param], pretrained=False)
    for name, tensor in model.named_parameters():
        if "head." in name or "gn3" in name:  # MUSIQ's start at zero
            nn.init.normal_(tensor, std=0.1)
        if name == "fc_score.3.bias":  # MANIQA's ReLU may start dead
            nn.init.ones_(tensor)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    model.contract.offset, model.contract.scale = 3.0, 10.0
    return model.train()


PHOTOGRAPHS = [np.linspace(0, 255, 230 * 240 * 3).reshape(230, 240, 3).astype(np.uint8)]
PHOTOGRAPHS += [picture(230, 240), picture(240, 260, 1), np.full((230, 240, 3), 80, np.uint8)]


def test_a_prepared_model_predicts_the_same(network):
    before = copy.deepcopy(network.state_dict())
    scorer = prepared(network)
    expected = predict(network, PHOTOGRAPHS, batch_size=3)
    found = predict(scorer, PHOTOGRAPHS, batch_size=3)
    spread = max(expected.std(), 1e-2)
    assert network.training and np.abs(found - expected).max() < 1e-4 * spread
    assert scorer.contract == network.contract and not scorer.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in scorer.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_bfloat16_is_near_and_its_scores_are_not_rounded(network):
    scorer = prepared(network, precision="bf16")
    expected, found = predict(network, PHOTOGRAPHS), predict(scorer, PHOTOGRAPHS)
    assert 0 < np.abs(found - expected).max() < 0.1 * expected.std() + 1e-2
    np.testing.assert_array_equal(found, predict(network, PHOTOGRAPHS, precision="bf16"))
    scores = torch.tensor((found - 3) / 10, dtype=torch.float32)
    assert not torch.equal(scores, scores.bfloat16().float())
    np.testing.assert_array_equal(predict(copy.deepcopy(scorer), PHOTOGRAPHS), found)


def test_an_unknown_precision_is_refused():
    for call in (prepared, lambda model, precision: predict(model, [], precision=precision)):
        with pytest.raises(ValueError, match="precision is 'fp16'; there are fp32, bf16"):
            call(Recorder(), precision="fp16")


def test_references_that_lack_or_do_not_fit_are_refused():
    images = [picture(20, 30)]
    compares, judges = Recorder(crop=16, reference="degraded"), Recorder(crop=16)
    with pytest.raises(ValueError, match="compares with the degraded image: give `reference=`"):
        predict(compares, images)
    with pytest.raises(ValueError, match="judges an image by itself"):
        predict(judges, images, reference=images)
    with pytest.raises(ValueError, match="reads whole images; leave `crops=` out"):
        predict(Recorder(crop=None), images, crops=4)
    with pytest.raises(ValueError, match="crops is 0; at least 1"):
        predict(judges, images, crops=0)
    with pytest.raises(ValueError, match=r"uint8 RGB arrays \(h, w, 3\), not uint8 \(20, 30\)"):
        predict(judges, [images[0][..., 0]])
    with pytest.raises(ValueError, match=r"not uint8 \(20, 30\)"):
        predict(compares, images, reference=[images[0][..., 0]])
    with pytest.raises(ValueError, match=r"not float64 \(20, 30, 3\)"):
        predict(judges, [images[0] / 255])
    with pytest.raises(ValueError, match="1 images, but 2 references"):
        predict(compares, images, reference=images * 2)
    with pytest.raises(ValueError, match="a reference of 31x20 for an image of 30x20"):
        predict(compares, images, reference=[picture(20, 31)])


def test_images_smaller_than_the_crop_are_enlarged_with_their_references():
    small, model = picture(20, 30), Recorder(crop=40, crops=1, reference="pristine")
    assert predict(model, [small], reference=[small]) == 0
    first, second = model.seen[0]
    expected = resize(small, None, at_least=40)[:, 10:50]
    np.testing.assert_allclose(first[0].permute(1, 2, 0) * 255, expected, atol=1e-4)
    assert torch.equal(first, second)
    wide = Recorder(crop=16, context=32)
    predict(wide, [picture(20, 20)])
    assert wide.seen[0][1].shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="an image of 2x9000 would be enlarged to 224x1008000"):
        predict(Recorder(), [picture(9000, 2)])
    assert predict(Recorder(crop=None), [picture(1, 1)]) == pytest.approx(
        picture(1, 1).mean() / 255
    )  # whole: as it is


def test_an_image_of_many_crops_goes_through_the_model_in_parts():
    model, images = (
        Recorder(crop=16, crops=None, reference="pristine"),
        [picture(100, 150), picture(50, 40, seed=1)],
    )
    scores = predict(model, images, reference=[image // 3 for image in images], batch_size=12)
    assert (
        sum(len(first) for first, _ in model.seen) == 7 * 10 + 4 * 3
        and max(len(first) for first, _ in model.seen) == 12
    )
    whole = predict(model, images, reference=[image // 3 for image in images], batch_size=1000)
    np.testing.assert_allclose(scores, whole, atol=1e-6)


def test_channels_reach_the_model_in_order_and_swapped_ones_are_seen(tmp_path):
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 255
    Image.fromarray(red).save(tmp_path / "red.png")
    for image, seen in ((read_image(tmp_path / "red.png"), [1, 0, 0]), (red[..., ::-1], [0, 0, 1])):
        model = Recorder(crop=16)
        predict(model, [image])
        assert model.seen[0][0].mean((0, 2, 3)).tolist() == seen
