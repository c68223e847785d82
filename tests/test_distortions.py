import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from PIL import Image
from skimage import data

from iqa_core import datasets, distortions
from iqa_core.apps.distort_tree import write_tree
from iqa_core.datasets import demo
from iqa_core.distortions import INTENSITIES, LEVELS, REGISTRY, distort, fuse, list_distortions, saliency_mask
from iqa_core.full_reference import fr_measure, list_measures

PHOTO = data.astronaut()[:96, 160:288]
FLAT = np.zeros((40, 48, 3), np.uint8)
KADID, MIQD = "KADID-10k", "MIQD-2.5M"
RANDOM = {
    "motion_blur", "color_shift", "white_noise", "white_noise_color", "impulse_noise", "multiplicative_noise", "denoise",
    "jitter", "non_eccentricity_patch", "color_block", "gaussian_noise", "miqd_motion_blur", "glass_blur", "fog", "snow",
}  # fmt: skip
PSNR_REACH = {  # decibels at levels 1 and 5, mean of six photographs: what the published descriptions let one expect
    "lens_blur": (25, 50, 15, 27), "color_shift": (28, 50, 20, 35), "denoise": (22, 40, 12, 24), "sharpen": (18, 35, 8, 20),
    "jitter": (35, 60, 18, 32), "non_eccentricity_patch": (24, 45, 18, 32), "color_block": (15, 35, 8, 20),
    "gaussian_noise": (38, 42, 5, 9), "darkness": (35, 42, 4, 20), "miqd_pixelate": (28, 60, 12, 26), "fog": (22, 36, 6, 15),
    "jpeg_compression": (38, 60, 15, 27), "snow": (24, 45, 3, 14), "glass_blur": (30, 55, 15, 25),
    "defocus_blur": (28, 55, 14, 26), "miqd_motion_blur": (26, 50, 10, 24),
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs():
    """Middles of six of the demo's photographs, 96 x 128."""
    names = ("nuthatch", "clock", "meadow", "drum", "lamp", "pagoda")
    return [np.asarray(Image.open(REPOSITORY / f"data/demo/{name}.png").convert("RGB"))[144:240, 192:320] for name in names]


def psnr(image, reference):
    return -10 * np.log10(max(1e-12, ((image / 255.0 - reference / 255.0) ** 2).mean()))


# ---- the registry


def test_the_types_are_the_published_ones():
    assert [REGISTRY[name].number for name in list_distortions(KADID)].count(None) == 0
    assert sorted(REGISTRY[name].number for name in list_distortions(KADID)) == list(range(1, 26))
    assert len(list_distortions(MIQD)) == 10
    assert sorted(list_distortions(KADID) + list_distortions(MIQD)) == list_distortions() == sorted(REGISTRY)
    assert {name for name in REGISTRY if not REGISTRY[name].monotone} == {"mean_shift", "contrast_change"}
    with pytest.raises(ValueError, match="no distortions of 'TID2013'; there are those of KADID-10k, MIQD-2.5M"):
        list_distortions("TID2013")


def test_the_types_of_the_human_means_are_ours():
    human = pd.read_csv(REPOSITORY / "tests/golden/kadid10k_cell_means.csv", comment="#")
    assert len(human) == 125 and human.human.between(1, 5).all()
    assert all(REGISTRY[row.distortion].number == row.number for row in human.itertuples())


def test_the_page_quotes_the_human_means_as_they_are():
    human = pd.read_csv(REPOSITORY / "tests/golden/kadid10k_cell_means.csv", comment="#")
    page = (REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8")
    for (number, name), rows in human.groupby(["number", "distortion"]):
        assert f"| {number} {name} | {' '.join(f'{value:.2f}' for value in rows.human)} | " in page


@pytest.mark.parametrize("name", list_distortions())
def test_parameters_are_the_tabled_ones_at_whole_levels_and_between_them_at_others(name):
    kind = REGISTRY[name]
    np.testing.assert_allclose([kind.parameter(level) for level in LEVELS], kind.parameters, atol=1e-12)
    for low in range(1, 5):
        ends = np.sort(np.atleast_2d(np.c_[kind.parameters[low - 1], kind.parameters[low]]), axis=1)
        between = np.atleast_1d(kind.parameter(low + 0.5))
        assert np.all((ends[:, 0] < between) & (between < ends[:, 1]) | (ends[:, 0] == ends[:, 1]))


@pytest.mark.parametrize("name", demo.NAMES)
def test_tables_of_positive_numbers_are_read_log_linearly_and_backwards(name):
    kind = REGISTRY[name]
    assert kind.parameter(4.5) == pytest.approx(np.sqrt(kind.parameters[3] * kind.parameters[4]))
    for level in (1, 1.7, 3, 4.25, 5):
        assert kind.level(kind.parameter(level)) == pytest.approx(level)


def test_tables_with_a_zero_or_both_signs_are_read_linearly():
    assert REGISTRY["mean_shift"].parameter(2.5) == pytest.approx(0.04)
    assert REGISTRY["jpeg_compression"].parameter(4.5) == pytest.approx(9)
    assert REGISTRY["mean_shift"].level(0.04) == pytest.approx(2.5)


def test_a_few_tables_against_the_publication():
    assert REGISTRY["contrast_change"].parameters == (0.3, 0.15, 0, -0.4, -0.6)
    assert REGISTRY["sharpen"].parameters == (1, 2, 3, 6, 12)
    assert REGISTRY["defocus_blur"].parameters == ((0.95, 0.5), (0.999, 0.9), (3, 0.5), (7, 0.8), (12, 0.9))
    geometric = 0.01 * 100 ** (np.array([0, 4, 7, 9, 11]) / 11)  # candidates 1, 5, 8, 10, 12 of twelve
    np.testing.assert_allclose(REGISTRY["gaussian_noise"].parameters, geometric, atol=5e-5)
    first, last = np.array([0.05, 0.1, 1, 0.3, 5, 2, 1]), np.array([0.6, 0.4, 5, 0.9, 15, 15, 0.5])
    steps = first + np.array([0, 4, 7, 9, 11])[:, None] / 11 * (last - first)
    np.testing.assert_allclose(REGISTRY["snow"].parameters, steps, atol=6e-3)


# ---- every operator


@pytest.mark.parametrize("name", list_distortions())
def test_a_distortion_gives_a_uint8_image_of_the_same_size_and_is_seeded(name):
    before = PHOTO.copy()
    for image in (PHOTO, PHOTO[:33, :47], PHOTO[:32, :32], PHOTO[:90, :80, 1], PHOTO[:33, :47, :1]):
        out = distort(image, name, 2.5, 7)
        assert out.dtype == np.uint8 and out.shape == image.shape
    np.testing.assert_array_equal(distort(PHOTO, name, 2.5, 7), distort(PHOTO, name, 2.5, 7))
    np.testing.assert_array_equal(PHOTO, before)
    assert np.array_equal(distort(PHOTO, name, 4.4, 1), distort(PHOTO, name, 4.4, 2)) == (name not in RANDOM)


@pytest.mark.parametrize("name", list_distortions())
def test_flat_and_extreme_images_go_through_without_a_warning(name):
    for value in (0, 128, 255):
        for level in (1, 5):
            assert distort(FLAT + np.uint8(value), name, level, 0).shape == FLAT.shape
    checkers = np.kron(np.indices((5, 6)).sum(0) % 2, np.ones((8, 8))).astype(np.uint8)[..., None] * np.uint8([255, 0, 255])
    assert distort(checkers, name, 5, 0).std() >= 0


@pytest.mark.parametrize("name", [name for name in list_distortions() if REGISTRY[name].monotone])
def test_quality_falls_with_level(name, photographs):
    means = [np.mean([psnr(distort(p, name, level, n), p) for n, p in enumerate(photographs)]) for level in (1, 2, 3, 4, 5)]
    assert np.all(np.diff(means) < 0.4) and means[0] > means[2] > means[4]  # decibels; random blocks fall where they fall
    if name in PSNR_REACH:
        high, higher, low, lower = PSNR_REACH[name]
        assert high < means[0] < higher and low < means[4] < lower


@pytest.mark.parametrize("name", demo.NAMES)
def test_perceived_quality_falls_with_level(name):
    values = [fr_measure("mdsi", distort(PHOTO, name, level, 3), PHOTO) for level in (1, 1.5, 2, 3, 4, 5)]
    if name == "color_saturation_2":  # clipping at the border of sRGB lets MDSI rest from level 3 on
        values = values[:4]
    assert values[-1] > values[0] + 0.05
    assert np.all(np.diff(values) > -0.02)


def test_the_two_that_are_not_monotone_are_best_in_the_middle(photographs):
    for name in ("mean_shift", "contrast_change"):
        means = [np.mean([psnr(distort(p, name, level, 0), p) for p in photographs]) for level in LEVELS]
        assert 1 <= np.argmax(means) <= 3 and min(means) in (means[0], means[4])
    np.testing.assert_array_equal(distort(PHOTO, "mean_shift", 3, 0), PHOTO)


# ---- what single operators promise


def test_noise_has_the_stated_variance_and_density():
    grey = np.full((256, 256, 3), 128, np.uint8)
    for name, level, variance in (("white_noise", 5, 0.01), ("gaussian_noise", 2, 0.0534**2)):
        for image in (grey, grey[..., 0]):
            assert (distort(image, name, level, 0) / 255.0 - 128 / 255).var() == pytest.approx(variance, rel=0.03)
    speckle = (distort(grey, "multiplicative_noise", 5, 0) / 255.0 - 128 / 255).var()
    assert speckle == pytest.approx(0.05 * (128 / 255) ** 2, rel=0.03)
    changed = (distort(grey, "impulse_noise", 5, 0) != 128).mean()
    assert changed == pytest.approx(0.03, rel=0.05)
    brightness = distort(grey, "white_noise_color", 5, 0) @ [0.299, 0.587, 0.114] / 255
    assert brightness.var() == pytest.approx(0.003 * (255 / 219) ** 2, rel=0.05)


def test_blurs_keep_the_mean_and_spread_a_point():
    point = np.zeros((161, 161, 3), np.uint8)
    point[80, 80] = 255
    for name in ("lens_blur", "defocus_blur", "miqd_motion_blur"):
        kernel = REGISTRY[name].apply(point / 255.0, REGISTRY[name].parameter(4), np.random.default_rng(0))[..., 0]
        assert kernel.sum() == pytest.approx(1) and kernel.min() > -1e-9
        spread = np.argwhere(kernel > 1e-6) - 80
        assert {"lens_blur": 6, "defocus_blur": 8}.get(name, np.abs(spread).max()) == pytest.approx(np.abs(spread).max(), abs=1)
    right = spread[:, 1]  # the streak goes one way: convolution lays it down to the right of the point
    assert right.min() >= 0 and right.max() > 20


def test_glass_swaps_pixels_and_loses_none():
    image = np.random.default_rng(0).random((64, 80, 3))
    swapped = REGISTRY["glass_blur"].apply(image, (1e-6, 3, 2), np.random.default_rng(1))
    assert not np.allclose(swapped, image)
    np.testing.assert_allclose(np.sort(swapped.reshape(-1, 3), axis=0), np.sort(image.reshape(-1, 3), axis=0))
    np.testing.assert_allclose(REGISTRY["glass_blur"].apply(image, (1e-6, 2.5, 0.99), np.random.default_rng(1)), image)


def test_darkness_lowers_the_largest_channel_and_keeps_hue():
    image = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    dark = distort(image, "darkness", 3, 0)[0, 0].astype(float)
    assert dark[0] == pytest.approx(200 - 0.1731 * 255, abs=0.6)
    np.testing.assert_allclose(dark / dark[0], [1, 0.5, 0.25], atol=0.01)


def test_colours_and_patches_are_counted():
    assert len(np.unique(distort(PHOTO, "color_quantization", 5, 0).reshape(-1, 3), axis=0)) <= 8
    assert len(np.unique(distort(FLAT + np.uint8(7), "color_block", 1, 0).reshape(-1, 3), axis=0)) in (2, 3)
    np.testing.assert_array_equal(np.ptp(distort(PHOTO, "color_saturation_1", 4, 0), axis=2), 0)
    moved = distort(PHOTO, "color_shift", 5, 0)
    np.testing.assert_array_equal(moved[..., [0, 2]], PHOTO[..., [0, 2]])
    assert not np.array_equal(moved[..., 1], PHOTO[..., 1])


def test_grey_images_have_no_colour_to_distort():
    grey = PHOTO[..., 0]
    for name in ("color_saturation_1", "color_saturation_2", "color_diffusion"):
        assert np.abs(distort(grey, name, 4, 0).astype(int) - grey).max() <= 1
    np.testing.assert_array_equal(distort(grey, "jpeg", 5, 0), distort(grey[..., None], "jpeg", 5, 0)[..., 0])


# ---- regions


def test_the_25_intensities():
    assert len(set(INTENSITIES)) == 25
    assert all(distortions.region(level, other) == region for level, other, region in INTENSITIES)
    counts = pd.Series([region for _, _, region in INTENSITIES]).value_counts().to_dict()
    assert counts == {"UD": 5, "ROI-DD": 10, "BG-DD": 10}
    assert [pair[:2] for pair in INTENSITIES if pair[2] == "ROI-DD"][:5] == [(2, 1), (3, 1), (4, 1), (5, 1), (3, 2)]


def test_each_region_gets_its_own_level():
    image = np.asarray(Image.open(REPOSITORY / "data/demo/lamp.png").convert("RGB"))[:192, :256]
    mask = np.zeros(image.shape[:2], bool)
    mask[:, :128] = True
    both = distort(image, "darkness", 5, 3, mask=mask.astype(np.uint8) * 255, background_level=1)
    subject, background = distort(image, "darkness", 5, 3), distort(image, "darkness", 1, 3)
    np.testing.assert_array_equal(both[:, :124], subject[:, :124])  # eroded twice: from 2 pixels inside on
    np.testing.assert_array_equal(both[:, 162:], background[:, 162:])  # beyond the blur of 32 pixels
    seam = np.abs(np.diff(both[:, 128:158].mean((0, 2)) - (image[:, 128:158]).mean((0, 2))))
    assert seam.max() < 12
    np.testing.assert_array_equal(distort(image, "fog", 2, 3, mask=mask, background_level=2), distort(image, "fog", 2, 3))
    grey = distort(image[..., 0], "gaussian_noise", 4, 0, mask=mask, background_level=1)
    np.testing.assert_array_equal(grey[:, :124], distort(image[..., 0], "gaussian_noise", 4, 0)[:, :124])


def test_fusion_truncates_and_takes_whole_masks():
    low, high = np.full((40, 40, 3), 10, np.uint8), np.full((40, 40, 3), 13, np.uint8)
    np.testing.assert_array_equal(fuse(high, low, np.ones((40, 40), bool)), high)
    np.testing.assert_array_equal(fuse(high, low, np.zeros((40, 40), bool)), low)
    half = fuse(high, low, np.indices((40, 40))[0] < 20)
    assert {10, 11, 13} <= set(np.unique(half)) <= {10, 11, 12, 13}  # 11.5 in the middle of the seam


def test_saliency_finds_the_odd_one_out():
    image = np.full((120, 160, 3), 90, np.uint8) + np.random.default_rng(0).integers(0, 6, (120, 160, 1), dtype=np.uint8)
    image[40:70, 90:120] = (230, 40, 40)
    mask = saliency_mask(image)
    assert mask.dtype == bool and mask.shape == (120, 160)
    assert mask[45:65, 95:115].mean() > 0.8 and mask[:, :50].mean() < 0.2
    assert not saliency_mask(FLAT).any()
    np.testing.assert_array_equal(saliency_mask(image[..., 0]), saliency_mask(image[..., :1]))
    expected = distort(image, "contrast", 5, 0, mask=mask, background_level=1)
    np.testing.assert_array_equal(distort(image, "contrast", 5, 0, background_level=1), expected)


def test_bad_input_is_refused_naming_what_is_allowed():
    with pytest.raises(KeyError, match="no distortion 'blur'; there are brighten"):
        distort(PHOTO, "blur", 1, 0)
    for options in ({"level": 6}, {"level": 1, "background_level": 0.5}):
        with pytest.raises(ValueError, match=r"level is (6|0\.5); it runs from 1 to 5"):
            distort(PHOTO, "jpeg", seed=0, **options)
    for wrong in (PHOTO / 255, PHOTO[:20], PHOTO[..., :2], PHOTO[None]):
        with pytest.raises(ValueError, match="wanted uint8"):
            distort(wrong, "jpeg", 1, 0)
    with pytest.raises(ValueError, match="give background_level too, or no mask"):
        distort(PHOTO, "jpeg", 1, 0, mask=np.ones(PHOTO.shape[:2]))
    with pytest.raises(ValueError, match=r"mask is \(3, 3\); wanted \(96, 128\)"):
        distort(PHOTO, "jpeg", 1, 0, mask=np.ones((3, 3)), background_level=2)


# ---- folders


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos/more").mkdir(parents=True)
    for name, image in (("a.png", PHOTO), ("more/b.JPG", PHOTO[:40, :50]), ("tiny.png", PHOTO[:10])):
        Image.fromarray(image).save(tmp_path / "photos" / name)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    (tmp_path / "photos/notes.txt").write_text("no image either, and not named as one")
    return tmp_path / "photos"


def test_a_folder_becomes_a_tree_with_its_table(photos, tmp_path, capsys):
    table, refused = write_tree(photos, tmp_path / "out", names=["jpeg", "snow"], levels=(1, 2.5), processes=1)
    assert list(table.columns) == ["image", "reference", "content", "distortion", "level"]
    assert table.content.unique().tolist() == ["a", "more/b"] and len(table) == 8
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out/images.csv"), table)
    row = table[(table.content == "more/b") & (table.distortion == "snow") & (table.level == 2.5)].iloc[0]
    assert row.image == "images/more/b/snow-2.5.png"
    assert np.asarray(Image.open(tmp_path / "out" / row.image)).shape == (40, 50, 3)
    reference = np.asarray(Image.open(tmp_path / "out" / table.reference[0]))
    np.testing.assert_array_equal(reference, PHOTO)
    assert {name.rpartition("/")[2] for name in refused} == {"broken.jpg", "tiny.png"}
    told = capsys.readouterr().out
    assert "3 photographs, 12 images" in told and "GB at most" in told
    assert "broken.jpg: cannot identify" in told and "at least 32 pixels a side" in told
    own = tmp_path / "root/data/raw/mine"
    shutil.copytree(tmp_path / "out", own)
    table.assign(label=10 - table.level).to_csv(own / "labels.csv", index=False)
    read = datasets.load_table("mine", root=tmp_path / "root")
    assert read.image[0] == f"data/raw/mine/{table.image[0]}" and read.reference[0] == f"data/raw/mine/{table.reference[0]}"
    assert read.content.tolist() == table.content.tolist() and read.level.tolist() == table.level.tolist()


def test_a_tree_goes_on_where_it_stopped(photos, tmp_path):
    options = {"names": ["white_noise"], "levels": (1, 5), "processes": 1}
    table, _ = write_tree(photos / "a.png", tmp_path / "out", **options)
    first, second = (tmp_path / "out" / image for image in table.image)
    made = second.read_bytes()
    Image.fromarray(FLAT).save(first)
    second.unlink()
    again, _ = write_tree(photos / "a.png", tmp_path / "out", **options)
    assert second.read_bytes() == made and np.asarray(Image.open(first)).max() == 0
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match="holds images made with seed 0; choose another folder"):
        write_tree(photos / "a.png", tmp_path / "out", seed=1, **options)
    second.unlink()
    Image.fromarray(PHOTO[::-1]).save(photos / "a.png")
    _, refused = write_tree(photos / "a.png", tmp_path / "out", **options)
    assert "another photograph" in refused[str(photos / "a.png")]
    write_tree(photos / "a.png", tmp_path / "other", seed=1, **options)
    assert (tmp_path / "other" / table.image[1]).read_bytes() != made


def test_a_tree_of_regions_with_masks_of_ones_own(photos, tmp_path):
    (tmp_path / "masks").mkdir()
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :40] = 1
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    options = {"names": ["darkness"], "levels": (1, 5), "background_levels": (1, 5), "masks": tmp_path / "masks"}
    table, _ = write_tree(photos / "a.png", tmp_path / "out", processes=1, **options)
    assert table.region.tolist() == ["UD", "BG-DD", "ROI-DD", "UD"] and table.background_level.tolist() == [1, 5, 1, 5]
    image = np.asarray(Image.open(tmp_path / "out/images/a/darkness-5-1.png"))
    np.testing.assert_array_equal(image[:, :36], distort(PHOTO, "darkness", 5, 0)[:, :36])
    np.testing.assert_array_equal(image[:, 75:], distort(PHOTO, "darkness", 1, 0)[:, 75:])


def test_trees_that_cannot_be_are_refused(photos, tmp_path):
    with pytest.raises(ValueError, match="would be read with it the next time; choose a folder elsewhere"):
        write_tree(photos, photos / "out")
    with pytest.raises(FileNotFoundError, match="there is no photograph at"):
        write_tree(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(KeyError, match="no distortion 'blur'; there are brighten"):
        write_tree(photos, tmp_path / "out", names=["blur"])
    with pytest.raises(ValueError, match="level is 0; it runs from 1 to 5"):
        write_tree(photos, tmp_path / "out", levels=(0,))
    Image.fromarray(PHOTO).save(photos / "a.bmp")
    with pytest.raises(ValueError, match="differ in their suffix alone; rename one of them"):
        write_tree(photos, tmp_path / "out")


# ---- the sheet


def test_the_sheet_shows_every_type_and_level(photos):
    import matplotlib.pyplot as plt

    from iqa_core.figures.sheets import distortion_sheet

    figure, shown = distortion_sheet(photos / "a.png", source=MIQD)
    assert len(shown) == 50 and sum(len(axis.images) for axis in figure.axes) == 50
    assert shown[shown.distortion == "fog"].parameter.tolist()[0] == "0.1, 3"
    plt.close(figure)


# ---- full-reference measures


@pytest.mark.parametrize("name", list_measures())
def test_a_measure_is_best_for_the_reference_itself_and_falls_with_noise(name):
    from iqa_core.full_reference import REGISTRY as MEASURES

    sign = 1 if MEASURES[name].higher_is_better else -1
    values = [
        sign * fr_measure(name, image, PHOTO) for image in (PHOTO, *(distort(PHOTO, "white_noise", k, 0) for k in (1, 3, 5)))
    ]
    assert values == sorted(values, reverse=True) and len(set(values)) == 4


def test_psnr_is_its_formula():
    other = np.clip(PHOTO.astype(int) + 10, 0, 255).astype(np.uint8)
    error = ((PHOTO / 255.0 - other / 255.0) ** 2).mean()
    assert fr_measure("psnr", other, PHOTO) == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_measures_refuse_other_sizes_and_names():
    with pytest.raises(ValueError, match="must be of one size"):
        fr_measure("ssim", PHOTO, PHOTO[1:])
    with pytest.raises(KeyError, match="no full-reference measure 'lpipz'"):
        fr_measure("lpipz", PHOTO, PHOTO)
    with pytest.raises(ValueError, match="wanted uint8"):
        fr_measure("psnr", PHOTO / 255, PHOTO / 255)
