import numpy as np
import pytest
from PIL import Image

from iqa_core import loading
from iqa_core.loading import PixelCache, batches, grid, random_crops, read_image


@pytest.fixture
def files(tmp_path):
    random, paths = np.random.default_rng(0), []
    for i, size in enumerate([(70, 90), (64, 64), (100, 80), (65, 130)]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def decodes(monkeypatch):
    seen = []
    monkeypatch.setattr(loading, "read_image", lambda path: seen.append(path) or read_image(path))
    return seen


def test_one_decode_an_image_however_many_epochs_and_crops(files, tmp_path, decodes):
    cache, generator = PixelCache(files, tmp_path / "cache"), np.random.default_rng(0)
    for _ in range(3):
        for crops, _ in batches(cache, np.arange(4.0), crop=32, batch_size=8, crops_per_image=20, generator=generator):
            assert crops.shape[1:] == (3, 32, 32)
        assert sorted(decodes) == files
    again = PixelCache(files, tmp_path / "cache").fill()
    np.testing.assert_array_equal(again[2], read_image(files[2]))
    assert sorted(decodes) == files, "a cache that is there decodes nothing"


def test_a_cache_holds_the_pixels_of_the_files_in_any_order_of_asking(files, tmp_path):
    cache = PixelCache(files, tmp_path / "cache")
    np.testing.assert_array_equal(cache[3], read_image(files[3]))
    for i, path in enumerate(files):
        np.testing.assert_array_equal(cache[i], read_image(path))
    np.testing.assert_array_equal(cache.subset([3, 0])[1], read_image(files[0]))
    with pytest.raises(IndexError):
        cache[4]


def test_an_interrupted_fill_goes_on_and_a_changed_file_makes_a_new_cache(files, tmp_path, decodes):
    PixelCache(files, tmp_path / "cache")[1]
    PixelCache(files, tmp_path / "cache").fill()
    assert len(decodes) == 4
    Image.new("RGB", (77, 66), (1, 2, 3)).save(files[0])
    assert PixelCache(files, tmp_path / "cache")[0].shape == (66, 77, 3)


def test_two_caches_of_the_same_files_open_at_once_do_not_spoil_each_other(files, tmp_path):
    first, second = PixelCache(files, tmp_path / "c"), PixelCache(files, tmp_path / "c")
    first[0], second[1], first[2], second[3]
    for i, path in enumerate(files):
        np.testing.assert_array_equal(PixelCache(files, tmp_path / "c")[i], read_image(path))


def test_missing_and_damaged_images_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.png is missing"):
        PixelCache([tmp_path / "none.png"], tmp_path / "c").fill()
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ValueError, match="bad.png cannot be decoded .* replace the file .* or drop its row"):
        read_image(tmp_path / "bad.png")
    picture = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(picture)
    picture.write_bytes(picture.read_bytes()[:600])
    with pytest.raises(ValueError, match="cut.jpg cannot be decoded"):
        read_image(picture)


def test_grey_and_transparent_images_become_rgb(tmp_path):
    for mode in ("L", "RGBA", "P"):
        Image.new(mode, (40, 50)).save(tmp_path / f"{mode}.png")
        assert read_image(tmp_path / f"{mode}.png").shape == (50, 40, 3)


@pytest.mark.parametrize("crops", [4, 6, 9, 12, 16, 20, 25])
@pytest.mark.parametrize("size", [(384, 512), (512, 384), (224, 224), (225, 900)])
def test_the_grid_reaches_all_four_borders_and_stays_inside(size, crops):
    corners = grid(*size, crop=224, crops=crops)
    tops, lefts = np.array(corners).T
    assert len(corners) == crops
    assert (tops.min(), lefts.min()) == (0, 0) and (tops.max(), lefts.max()) == (size[0] - 224, size[1] - 224)


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
        crops = random_crops([image], [0] * 200, crop=16, generator=np.random.default_rng(0), flips=flips)
        counts[flips] = len({c.numpy().tobytes() for c in crops.contiguous()})
    assert counts == {"none": 1, "horizontal": 2, "all": 8}
    with pytest.raises(ValueError, match="flips is 'both'; there are none, horizontal, all"):
        random_crops([image], [0], crop=16, generator=np.random.default_rng(0), flips="both")


def test_an_epoch_takes_every_image_equally_often_with_its_label():
    images = [np.full((20, 20, 3), i, np.uint8) for i in range(10)]
    seen = [(int(c[0, 0, 0]), float(v)) for crops, labels in
            batches(images, np.arange(10) * 2.0, crop=16, batch_size=6, crops_per_image=3, generator=np.random.default_rng(0))
            for c, v in zip(crops, labels, strict=True)]  # fmt: skip
    assert len(seen) == 30 and all(label == 2 * value for value, label in seen)
    assert sorted(v for v, _ in seen) == sorted(list(range(10)) * 3)


def test_as_few_crops_as_cover_the_image():
    assert len(loading.grid(288, 288, crop=192, crops=None)) == 4  # stride 96
    assert loading.grid(512, 768, crop=256, crops=None)[-1] == (256, 512)
    assert len(loading.grid(512, 768, crop=256, crops=None)) == 6
    assert loading.grid(256, 256, crop=256, crops=None) == [(0, 0)]


@pytest.mark.parametrize(("size", "to"), [(20, (20, 26)), ((12, 7), (12, 7)), (None, (30, 40)), (30, (30, 40)), (60, (60, 80))])
def test_resize_keeps_the_shape_by_the_shorter_side_or_takes_height_and_width(size, to):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert loading.resize(image, size).shape == (*to, 3)
    turned = loading.resize(image.swapaxes(0, 1), size if not isinstance(size, tuple) else size[::-1])
    np.testing.assert_allclose(turned.swapaxes(0, 1).astype(int), loading.resize(image, size), atol=1)


def test_resize_is_torchvision_s():
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import center_crop
    from torchvision.transforms.functional import resize as theirs

    image = np.random.default_rng(0).integers(0, 256, (67, 101, 3), dtype=np.uint8)
    for how in ("bilinear", "bicubic", "nearest"):
        expected = np.asarray(theirs(Image.fromarray(image), 48, InterpolationMode(how)))
        np.testing.assert_array_equal(loading.resize(image, 48, how), expected)
    ((top, left),) = loading.grid(67, 101, crop=48, crops=1)
    expected = np.asarray(center_crop(Image.fromarray(image), 48))
    np.testing.assert_array_equal(image[top : top + 48, left : left + 48], expected)
