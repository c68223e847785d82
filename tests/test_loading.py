import numpy as np
import pytest
import torch

from iqa_core import loading
from iqa_core.loading import Batches, grid, random_crops
from iqa_core.loading.jitter import STRENGTH, draw_jitter, jitter
from iqa_core.pixels import resize


@pytest.mark.parametrize("crops", [4, 6, 9, 12, 16, 20, 25])
@pytest.mark.parametrize("size", [(384, 512), (512, 384), (224, 224), (225, 900)])
def test_the_grid_reaches_all_four_borders_and_stays_inside(size, crops):
    corners = grid(*size, crop=224, crops=crops)
    tops, lefts = np.array(corners).T
    assert len(corners) == crops
    assert (tops.min(), lefts.min()) == (0, 0) and (tops.max(), lefts.max()) == (
        size[0] - 224,
        size[1] - 224,
    )


def test_one_crop_is_the_centre_and_impossible_grids_are_refused():
    assert grid(384, 512, crop=224, crops=1) == [(80, 144)]
    with pytest.raises(ValueError, match="5 crops make no grid"):
        grid(384, 512, crop=224, crops=5)
    with pytest.raises(ValueError, match="512x100 is smaller than the crop of 224"):
        grid(100, 512, crop=224, crops=4)


def test_random_crops_are_seeded_reach_every_corner_and_flip():
    image = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)
    image[..., 0] = np.arange(40)[None, :]
    image[..., 1] = np.arange(40)[:, None]
    crops = random_crops([image], [0] * 600, crop=38, generator=np.random.default_rng(1))
    again = random_crops([image], [0] * 600, crop=38, generator=np.random.default_rng(1))
    assert (crops == again).all()
    corners = {(int(c[0].min()), int(c[1].min()), bool(c[0, 0, 0] > c[0, 0, 1])) for c in crops}
    assert corners == {(x, y, f) for x in range(3) for y in range(3) for f in (False, True)}


def test_flips_are_none_two_or_all_eight():
    image, counts = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8), {}
    for flips in ("none", "horizontal", "all"):
        crops = random_crops(
            [image], [0] * 200, crop=16, generator=np.random.default_rng(0), flips=flips
        )
        counts[flips] = len({c.numpy().tobytes() for c in crops.contiguous()})
    assert counts == {"none": 1, "horizontal": 2, "all": 8}
    crops = random_crops(
        [image], [0] * 2000, crop=16, generator=np.random.default_rng(0), flips="vertical"
    )
    turned = [
        bool((c == torch.from_numpy(image[::-1].copy()).permute(2, 0, 1)).all()) for c in crops
    ]
    assert 0.67 < np.mean(turned) < 0.73
    with pytest.raises(
        ValueError, match="flips is 'both'; there are none, horizontal, vertical, all"
    ):
        random_crops([image], [0], crop=16, generator=np.random.default_rng(0), flips="both")


def taken(number=None, *, start=None, **changes):
    """(image, label) of every crop of so many batches, of the rest of an epoch if None, and the
    batches' maker.
    """
    images = [np.full((20, 20, 3), i, np.uint8) for i in range(10)]
    options = (
        dict(crop=16, batch_size=6, crops_per_image=3, generator=np.random.default_rng(0)) | changes
    )
    data = Batches(images, np.arange(10) * 2.0, **options)
    if start:
        data.load_state_dict(start)
    some = [next(data) for _ in range(len(data) if number is None else number)]
    return [
        (int(c[0, 0, 0]), float(v))
        for crops, labels, _ in some
        for c, v in zip(crops, labels, strict=True)
    ], data


def test_an_epoch_takes_every_image_equally_often_with_its_label():
    seen, data = taken()
    assert len(data) == 5 and len(seen) == 30 and all(label == 2 * value for value, label in seen)
    assert sorted(v for v, _ in seen) == sorted(list(range(10)) * 3)
    both, _ = taken(10)
    assert both[:30] == seen != both[30:] and sorted(both[30:]) == sorted(seen)


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(6, 5), (8, 4), (9, 3), (20, 2), (21, 1), (100, 1)]
)
def test_a_last_batch_of_less_than_half_the_size_is_left_out(batch_size, batches):
    seen, data = taken(batch_size=batch_size)
    assert (len(data), len(seen)) == (batches, min(30, batches * batch_size))


@pytest.mark.parametrize("number", [0, 3, 5, 7])
def test_batches_are_taken_up_anywhere_as_if_never_left(number):
    images = [
        np.random.default_rng(i).integers(0, 256, (30, 40, 3), dtype=np.uint8) for i in range(7)
    ]
    options = dict(crop=16, batch_size=3, crops_per_image=2, flips="all", colour_jitter=True)
    first = Batches(images, np.arange(7.0), generator=np.random.default_rng(0), **options)
    for _ in range(number):
        next(first)
    second = Batches(images, np.arange(7.0), generator=np.random.default_rng(9), **options)
    second.load_state_dict(first.state_dict())
    for _ in range(8):
        (a, b, (order, amounts)), (c, d, (order2, amounts2)) = next(first), next(second)
        assert (
            torch.equal(a, c)
            and torch.equal(b, d)
            and order == order2
            and torch.equal(amounts, amounts2)
        )


def test_processes_cut_the_crops_of_one_between_them():
    images = [
        np.random.default_rng(i).integers(0, 256, (30, 40, 3), dtype=np.uint8) for i in range(7)
    ]
    options = dict(crop=16, batch_size=5, crops_per_image=2, flips="all", colour_jitter=True)
    shares = ((0, 1), (0, 3), (1, 3), (2, 3))
    generators = (np.random.default_rng(0) for _ in shares)
    made = [
        Batches(images, np.arange(7.0), generator=g, share=s, **options)
        for g, s in zip(generators, shares, strict=True)
    ]
    whole, *parts = made
    for _ in range(4):
        crops, labels, (order, amounts) = next(whole)
        for rank, part in enumerate(parts):
            own, all_labels, (same, others) = next(part)
            assert torch.equal(own, crops[rank::3]) and torch.equal(all_labels, labels)
            assert same == order and torch.equal(others, amounts[rank::3])


# ---- colours


def colourful(number=6):
    pixels = torch.rand(number, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1, 0], pixels[2, 1:] = 0.5, 1.0, 0.0  # grey; saturated; black but for red
    return pixels


def test_jitter_is_torchvision_s_with_every_crop_s_own_amounts():
    from torchvision.transforms import functional as theirs

    changes = (
        theirs.adjust_brightness,
        theirs.adjust_contrast,
        theirs.adjust_saturation,
        theirs.adjust_hue,
    )
    generator, pixels = np.random.default_rng(0), colourful()
    for _ in range(5):
        order, amounts = draw_jitter(generator, len(pixels))
        assert sorted(order) == [0, 1, 2, 3] and len(amounts.unique()) == 24
        expected = []
        for image, amount in zip(pixels, amounts, strict=True):
            for change in order:
                image = changes[change](image, float(amount[change]) + (change < 3))
            expected.append(image)
        torch.testing.assert_close(
            jitter(pixels, order, amounts), torch.stack(expected), rtol=0, atol=5e-4
        )


def test_jitter_by_nothing_changes_nothing_and_amounts_reach_their_strength():
    pixels = colourful()
    torch.testing.assert_close(
        jitter(pixels, [3, 1, 0, 2], torch.zeros(6, 4)), pixels, rtol=0, atol=1e-6
    )
    amounts = draw_jitter(np.random.default_rng(0), 4000)[1].numpy()
    np.testing.assert_allclose(np.abs(amounts).max(0), STRENGTH, rtol=0.01)
    np.testing.assert_allclose(amounts.mean(0), 0, atol=0.004)


def test_as_few_crops_as_cover_the_image():
    assert len(loading.grid(288, 288, crop=192, crops=None)) == 4  # stride 96
    assert loading.grid(512, 768, crop=256, crops=None)[-1] == (256, 512)
    assert len(loading.grid(512, 768, crop=256, crops=None)) == 6
    assert loading.grid(256, 256, crop=256, crops=None) == [(0, 0)]


@pytest.mark.parametrize(
    ("size", "to"),
    [(20, (20, 26)), ((12, 7), (12, 7)), (None, (30, 40)), (30, (30, 40)), (60, (60, 80))],
)
def test_resize_keeps_the_shape_by_the_shorter_side_or_takes_height_and_width(size, to):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert resize(image, size).shape == (*to, 3)
    turned = resize(image.swapaxes(0, 1), size if not isinstance(size, tuple) else size[::-1])
    np.testing.assert_allclose(turned.swapaxes(0, 1).astype(int), resize(image, size), atol=1)


def test_resize_is_torchvision_s():
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import center_crop
    from torchvision.transforms.functional import resize as theirs

    image = np.random.default_rng(0).integers(0, 256, (67, 101, 3), dtype=np.uint8)
    for how in ("bilinear", "bicubic", "nearest"):
        expected = np.asarray(theirs(Image.fromarray(image), 48, InterpolationMode(how)))
        np.testing.assert_array_equal(resize(image, 48, how), expected)
    ((top, left),) = loading.grid(67, 101, crop=48, crops=1)
    expected = np.asarray(center_crop(Image.fromarray(image), 48))
    np.testing.assert_array_equal(image[top : top + 48, left : left + 48], expected)


@pytest.mark.parametrize("flips", ["none", "horizontal", "vertical", "all"])
def test_crops_are_those_of_plain_indexing_and_the_random_stream_is_kept(flips):
    """The demo's figures stand on it: per crop one draw of a corner, one of three chances; flipped,
    then transposed.
    """
    images = [
        np.random.default_rng(i).integers(0, 256, (40 + i, 50, 3), dtype=np.uint8) for i in range(3)
    ]
    numbers, stream = [0, 2, 1, 1] * 25, np.random.default_rng(7)
    crops = random_crops(images, numbers, crop=24, generator=np.random.default_rng(7), flips=flips)
    for crop, number in zip(crops.permute(0, 2, 3, 1).numpy(), numbers, strict=True):
        top, left = stream.integers(0, (images[number].shape[0] - 23, 27))
        across, down, turned = stream.random(3) < loading.FLIPS[flips]
        patch = images[number][top : top + 24, left : left + 24][
            :: -1 if down else 1, :: -1 if across else 1
        ]
        np.testing.assert_array_equal(crop, patch.swapaxes(0, 1) if turned else patch)
    assert crops.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "to"),
    [((30, 40), (64, 85)), ((40, 30), (85, 64)), ((65, 64), (65, 64)), ((1, 1), (64, 64))],
)
def test_images_smaller_than_the_crop_are_enlarged_to_it_in_their_shape(shape, to):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert resize(image, None, at_least=64).shape == (*to, 3)
    expected = resize(image, 64) if min(shape) > 20 else resize(image, None, at_least=64)
    np.testing.assert_array_equal(resize(image, 20, at_least=64), expected)


def test_an_image_too_narrow_to_be_enlarged_is_refused_and_large_ones_may_shrink():
    with pytest.raises(
        ValueError,
        match="an image of 9000x3 would be enlarged to 672000x224, over 16 megapixels; cut it",
    ):
        resize(np.zeros((3, 9000, 3), np.uint8), None, at_least=224)
    with pytest.raises(ValueError, match="an image of 3x9000 would be enlarged to 224x672000"):
        resize(np.zeros((9000, 3, 3), np.uint8), 224)
    assert resize(np.zeros((4000, 6000, 3), np.uint8), 3900).shape == (3900, 5850, 3)
