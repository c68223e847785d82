from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from iqa_core import loading
from iqa_core.loading import Batches, Samples, grid
from iqa_core.loading.jitter import STRENGTH, draw_jitter, jitter
from iqa_core.loading.views import FLIPS, draw_place, resized_shape, views
from iqa_core.models import Contract, Objective
from iqa_core.pixels import resize


def random_crops(images, numbers, *, crop, generator, flips="horizontal"):
    """A random crop of each numbered image: uint8 (n, crop, crop, 3)."""
    contract, crops = Contract("test", crop=crop), []
    for number in numbers:
        shape = resized_shape(*images[number].shape[:2], contract)
        place = draw_place(*shape, contract, flips, generator)
        crops.append(views({"image": images[number]}, contract, [place])[0][0])
    return np.stack(crops)


@pytest.mark.parametrize("crops", [4, 6, 9, 12, 16, 20, 25])
@pytest.mark.parametrize("size", [(384, 512), (512, 384), (224, 224), (225, 900)])
def test_the_grid_reaches_all_four_borders_and_stays_inside(size, crops):
    corners = grid(*size, crop=224, crops=crops)
    tops, lefts = np.array(corners).T
    assert len(corners) == crops
    assert (tops.min(), lefts.min()) == (0, 0)
    assert (tops.max(), lefts.max()) == (size[0] - 224, size[1] - 224)


def test_one_crop_is_the_centre_and_impossible_grids_are_refused():
    assert grid(384, 512, crop=224, crops=1) == [(80, 144)]
    with pytest.raises(ValueError, match="5 crops make no grid"):
        grid(384, 512, crop=224, crops=5)
    with pytest.raises(ValueError, match="512x100 is smaller than the crop of 224"):
        grid(100, 512, crop=224, crops=4)


def test_random_crops_are_seeded_reach_every_corner_and_flip():
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 0] = np.arange(40)[None, :]
    image[..., 1] = np.arange(40)[:, None]
    crops = random_crops([image], [0] * 600, crop=38, generator=np.random.default_rng(1))
    again = random_crops([image], [0] * 600, crop=38, generator=np.random.default_rng(1))
    assert (crops == again).all()
    seen = set()
    for crop in crops:
        flipped = crop[0, 0, 0] > crop[0, 1, 0]
        seen.add((int(crop[..., 0].min()), int(crop[..., 1].min()), bool(flipped)))
    assert seen == {
        (x, y, flipped) for x in range(3) for y in range(3) for flipped in (False, True)
    }


def test_flips_are_none_two_or_all_eight():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def crops(number, flips):
        generator = np.random.default_rng(0)
        return random_crops([image], [0] * number, crop=16, generator=generator, flips=flips)

    for flips, different in {"none": 1, "horizontal": 2, "all": 8}.items():
        assert len({crop.tobytes() for crop in crops(200, flips)}) == different
    down = [bool((crop == image[::-1]).all()) for crop in crops(2000, "vertical")]
    assert 0.67 < np.mean(down) < 0.73
    with pytest.raises(ValueError, match="flips is 'both'; there are none, horizontal, vertical"):
        batches([image], flips="both")


def batches(images, *, contract=None, objective=None, parts=None, table=None, **changes):
    """Batches of images, in small crops unless a contract says otherwise."""
    options = dict(batch_size=6, crops_per_image=3, generator=np.random.default_rng(0)) | changes
    contract = contract or Contract("test", crop=16)
    rows = pd.DataFrame({"label": range(len(images))}) if table is None else table
    given = Samples({"image": images, **(parts or {})}, rows)
    return Batches(given, contract, objective or Objective(), **options)


def taken(number=None, **changes):
    """The value of every crop of so many batches, of an epoch if None, and the batches."""
    made = batches([np.full((20, 20, 3), i, np.uint8) for i in range(10)], **changes)
    found = [next(made) for _ in range(len(made) if number is None else number)]
    for step in found:
        np.testing.assert_array_equal(step.views[0][:, 0, 0, 0], step.rows)
    return [int(row) for step in found for row in step.rows], made


def test_an_epoch_takes_every_image_equally_often():
    seen, made = taken()
    assert len(made) == 5 and sorted(seen) == sorted(list(range(10)) * 3)
    both, _ = taken(10)
    assert both[:30] == seen != both[30:] and sorted(both[30:]) == sorted(seen)


NUMBERS = {6: 5, 8: 4, 9: 3, 20: 2, 21: 1, 100: 1}  # size of a batch -> batches of 30 crops


@pytest.mark.parametrize(("batch_size", "number"), NUMBERS.items())
def test_a_last_batch_of_less_than_half_the_size_is_left_out(batch_size, number):
    seen, made = taken(batch_size=batch_size)
    assert (len(made), len(seen)) == (number, min(30, number * batch_size))


def pictures(number, *, sizes=((30, 40),), seed=0):
    random = np.random.default_rng(seed)
    shapes = [(*sizes[i % len(sizes)], 3) for i in range(number)]
    return [random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


WHOLE = Contract("test", crop=None)
COMPARED = Contract("test", crop=16, resize=20, reference="pristine")
KINDS = {  # of batches: what differs from random crops
    "crops": {},
    "pairs": dict(
        contract=COMPARED,
        objective=Objective(parts=("image", "pristine")),
        parts={"pristine": pictures(7, seed=1)},
    ),
    "partners": dict(
        objective=Objective(parts=("image", "partner")),
        table=pd.DataFrame({"label": range(7), "content": [0, 0, 0, 1, 1, 1, 1]}),
    ),
    "two views": dict(contract=Contract("test", crop=16, context=24)),
    "whole": dict(contract=WHOLE, lengths=[3, 3, 5, 5, 5, 9, 9]),
}


def same_step(one, other, pick=slice(None)):
    """Whether a step's views and colours are those of another, or of some of its samples."""
    for view, whole in zip(one.views, other.views, strict=True):
        for image, expected in zip(view, list(whole)[pick], strict=True):
            assert torch.equal(image, expected)
    (order, amounts), (expected_order, expected) = one.colours, other.colours
    assert order == expected_order and torch.equal(amounts, expected[pick])
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.partners, other.partners)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 3, 7])
def test_batches_are_taken_up_anywhere_as_if_never_left(number, kind):
    options = dict(batch_size=3, crops_per_image=2, flips="all", colour_jitter=True) | KINDS[kind]
    first = batches(pictures(7), **options)
    for _ in range(number):
        next(first)
    second = batches(pictures(7), generator=np.random.default_rng(9), **options)
    second.load_state_dict(first.state_dict())
    for _ in range(8):
        same_step(next(first), next(second))


@pytest.mark.parametrize("kind", KINDS)
def test_processes_look_at_the_samples_of_one_between_them(kind):
    options = dict(batch_size=5, crops_per_image=2, flips="all", colour_jitter=True) | KINDS[kind]
    whole = batches(pictures(7), **options)
    world = min(3, whole.smallest())
    parts = [batches(pictures(7), rank=rank, world=world, **options) for rank in range(world)]
    assert world > 1
    for _ in range(4):
        step = next(whole)
        for rank, part in enumerate(parts):
            same_step(next(part), step, slice(rank, None, world))


def test_all_parts_of_a_sample_are_looked_at_in_one_place():
    images = pictures(7, sizes=((40, 60),))
    pristine = [255 - image for image in images]
    options = KINDS["pairs"] | dict(parts={"pristine": pristine}, flips="all")
    step = next(batches(images, **options))
    image, reference = (view.numpy().astype(int) for view in step.views)
    assert np.abs(image + reference - 255).max() <= 1, "resized apart, so rounded apart"


def test_a_partner_is_another_image_of_the_content():
    made = batches(pictures(7), **KINDS["partners"])
    pairs = set()
    for _ in range(40):
        step = next(made)
        pairs |= set(zip(step.rows.tolist(), step.partners.tolist(), strict=True))
    assert pairs == {*permutations(range(3), 2), *permutations(range(3, 7), 2)}


def test_a_wider_view_is_the_centre_turned_as_the_crop_is():
    image = pictures(1, sizes=((24, 30),))[0]
    made = batches([image], contract=Contract("test", crop=16, context=24), flips="all")
    turned = {next(made).views[1][0].permute(1, 2, 0).numpy().tobytes() for _ in range(60)}
    square = image[:, 3:27]
    eight = {
        np.ascontiguousarray(other[::down, ::across]).tobytes()
        for other in (square, square.swapaxes(0, 1))
        for down in (1, -1)
        for across in (1, -1)
    }
    assert turned == eight


# ---- whole images


def test_whole_images_come_in_batches_alike_within_the_budget_and_all_of_them():
    random = np.random.default_rng(0)
    lengths = random.integers(10, 200, 60)
    images = [np.full((4, 4 + n, 3), n, np.uint8) for n in range(60)]
    options = dict(contract=WHOLE, lengths=lengths, batch_size=8, batch_tokens=900)
    made = batches(images, **options, crops_per_image=1, flips="none")
    epochs = [[next(made).rows for _ in range(len(made))] for _ in range(2)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(60))
        for rows in epoch:
            longest = lengths[rows].max()
            assert len(rows) * longest <= 900 and len(rows) <= 8
    padded = sum(len(rows) * lengths[rows].max() for rows in epochs[0])
    assert padded < 1.25 * lengths.sum() < 0.8 * 60 * lengths.max(), "little is filled up"
    first, second = ([set(rows.tolist()) for rows in epoch] for epoch in epochs)
    assert first != second
    with pytest.raises(ValueError, match="the longest image makes .* tokens, over batch_tokens"):
        batches(images, **options | dict(batch_tokens=100))


def test_whole_images_keep_their_size_and_shape():
    images = pictures(6, sizes=((20, 30), (40, 10)))
    made = batches(images, contract=WHOLE, lengths=[1] * 6, crops_per_image=1, flips="none")
    step = next(made)
    for view, row in zip(step.views[0], step.rows, strict=True):
        np.testing.assert_array_equal(view.permute(1, 2, 0), images[row])


# ---- colours


def colourful(number=6):
    pixels = torch.rand(number, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1, 0], pixels[2, 1:] = 0.5, 1.0, 0.0  # grey; saturated; black but for red
    return pixels


def test_jitter_is_torchvision_s_with_every_crop_s_own_amounts():
    names = ("brightness", "contrast", "saturation", "hue")
    changes = [getattr(functional, f"adjust_{name}") for name in names]
    generator, pixels = np.random.default_rng(0), colourful()
    for _ in range(5):
        order, amounts = draw_jitter(generator, len(pixels))
        assert sorted(order) == [0, 1, 2, 3] and len(amounts.unique()) == 24
        expected = []
        for image, amount in zip(pixels, amounts, strict=True):
            for change in order:
                image = changes[change](image, float(amount[change]) + (change < 3))
            expected.append(image)
        found = jitter(pixels, order, amounts)
        torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=5e-4)


def test_jitter_by_nothing_changes_nothing_and_amounts_reach_their_strength():
    pixels = colourful()
    unchanged = jitter(pixels, [3, 1, 0, 2], torch.zeros(6, 4))
    torch.testing.assert_close(unchanged, pixels, rtol=0, atol=1e-6)
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
    image = np.random.default_rng(0).integers(0, 256, (67, 101, 3), dtype=np.uint8)
    picture = Image.fromarray(image)
    for how in ("bilinear", "bicubic", "nearest"):
        expected = np.asarray(functional.resize(picture, 48, InterpolationMode(how)))
        np.testing.assert_array_equal(resize(image, 48, how), expected)
    ((top, left),) = loading.grid(67, 101, crop=48, crops=1)
    expected = np.asarray(functional.center_crop(picture, 48))
    np.testing.assert_array_equal(image[top : top + 48, left : left + 48], expected)


@pytest.mark.parametrize("flips", ["none", "horizontal", "vertical", "all"])
def test_crops_are_those_of_plain_indexing_and_the_random_stream_is_kept(flips):
    """The demo's figures stand on it: per crop one draw of a corner, one of three chances; flipped,
    then transposed.
    """
    images = pictures(3, sizes=((40, 50), (41, 50), (42, 50)))
    numbers, stream = [0, 2, 1, 1] * 25, np.random.default_rng(7)
    crops = random_crops(images, numbers, crop=24, generator=np.random.default_rng(7), flips=flips)
    for crop, number in zip(crops, numbers, strict=True):
        top, left = stream.integers(0, (images[number].shape[0] - 23, 27))
        across, down, turned = stream.random(3) < FLIPS[flips]
        patch = images[number][top : top + 24, left : left + 24]
        patch = patch[:: -1 if down else 1, :: -1 if across else 1]
        np.testing.assert_array_equal(crop, patch.swapaxes(0, 1) if turned else patch)


def test_a_batch_has_its_channels_last_in_memory():
    (view,) = next(batches(pictures(3), crops_per_image=1)).views
    assert view.is_contiguous(memory_format=torch.channels_last)


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
