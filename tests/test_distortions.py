import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from PIL import Image
from scipy.special import erf
from skimage import data

from iqa_core import distortions
from iqa_core.distortions import (
    INTENSITIES,
    LEVELS,
    REGISTRY,
    WORKBOOK,
    distort,
    distortion,
    fuse,
    list_distortions,
    saliency_mask,
    source_code,
)
from iqa_core.full_reference import fr_measure

DEMO = sorted(pd.read_csv(REPOSITORY / "data/demo/labels.csv", comment="#").distortion.unique())
PHOTO = data.astronaut()[:96, 160:288]
FLAT = np.zeros((40, 48, 3), np.uint8)
KADID, MIQD = "KADID-10k", "MIQD-2.5M"
# decibels at levels 1 and 5, mean of six photographs: what the published descriptions let one
# expect
PSNR_REACH = {
    "lens_blur": (25, 50, 15, 27),
    "color_shift": (28, 50, 20, 35),
    "denoise": (22, 40, 12, 24),
    "sharpen": (18, 35, 8, 20),
    "jitter": (35, 60, 18, 32),
    "non_eccentricity_patch": (24, 45, 18, 32),
    "color_block": (15, 35, 8, 20),
    "gaussian_noise": (38, 42, 5, 9),
    "darkness": (35, 42, 4, 20),
    "miqd_pixelate": (28, 60, 12, 26),
    "fog": (22, 36, 6, 15),
    "jpeg_compression": (38, 60, 15, 27),
    "snow": (24, 45, 3, 14),
    "glass_blur": (30, 55, 15, 25),
    "defocus_blur": (28, 55, 14, 26),
    "miqd_motion_blur": (26, 50, 10, 24),
}


@pytest.fixture(scope="module")
def photographs():
    """Middles of six of the demo's photographs, 96 x 128."""
    names = ("nuthatch", "clock", "meadow", "drum", "lamp", "pagoda")
    return [
        np.asarray(Image.open(REPOSITORY / f"data/demo/{name}.png").convert("RGB"))[
            144:240, 192:320
        ]
        for name in names
    ]


def psnr(image, reference):
    return -10 * np.log10(max(1e-12, ((image / 255.0 - reference / 255.0) ** 2).mean()))


# ---- the registry


def test_the_types_are_the_published_ones():
    kadid = [REGISTRY[name] for name in list_distortions(KADID)]
    assert sorted(kind.number for kind in kadid) == list(range(1, 26))
    assert {kind.name for kind in kadid if not kind.monotone} == {"mean_shift", "contrast_change"}
    assert len(list_distortions(MIQD)) == 10
    assert all(REGISTRY[name].monotone for name in list_distortions(MIQD))
    with pytest.raises(
        ValueError, match="no distortions of 'TID2013'; there are those of KADID-10k"
    ):
        list_distortions("TID2013")


def test_every_distortion_is_of_one_source():
    by_source = [list_distortions(source) for source in distortions.list_sources()]
    assert sorted(itertools.chain(*by_source)) == list_distortions() == sorted(REGISTRY)
    assert set(distortions.list_sources()) <= {KADID, MIQD, WORKBOOK}, (
        "an operator that no data set published gets no source: it is the workbook's own"
    )


def test_a_name_is_taken_once_and_has_a_parameter_for_each_level():
    def jpeg(image, parameter, generator):
        return image

    def other(image, parameter, generator):
        return image

    with pytest.raises(ValueError, match="a distortion jpeg already, of KADID-10k"):
        distortion(1, 2, 3, 4, 5)(jpeg)
    with pytest.raises(ValueError, match="other has 4 parameters; wanted one a level, five"):
        distortion(1, 2, 3, 4)(other)


def test_images_hang_on_their_own_operators_code(monkeypatch):
    before = {name: source_code([name]) for name in ("jpeg", "jpeg2000", "fog")}
    monkeypatch.setitem(REGISTRY, "fog", replace(REGISTRY["fog"], apply=REGISTRY["snow"].apply))
    monkeypatch.setitem(REGISTRY, "another", replace(REGISTRY["jpeg"], name="another"))
    after = {name: source_code([name]) for name in before}
    assert {name for name in before if after[name] != before[name]} == {"fog"}
    assert "def through_file" in before["jpeg"] and "Pillow" not in before["jpeg"]
    table = replace(REGISTRY["jpeg"], parameters=(43, 36, 24, 7, 5))
    monkeypatch.setitem(REGISTRY, "jpeg", table)
    assert source_code(["jpeg"]) != before["jpeg"]


def test_the_types_of_the_human_means_are_ours():
    human = pd.read_csv(REPOSITORY / "tests/golden/kadid10k_cell_means.csv", comment="#")
    assert len(human) == 125 and human.human.between(1, 5).all()
    assert all(REGISTRY[row.distortion].number == row.number for row in human.itertuples())


def test_the_page_quotes_the_human_means_as_they_are():
    human = pd.read_csv(REPOSITORY / "tests/golden/kadid10k_cell_means.csv", comment="#")
    page = (REPOSITORY / "docs/reproduction.md").read_text(encoding="utf-8")
    for (number, name), rows in human.groupby(["number", "distortion"]):
        assert f"| {number} {name} | {' '.join(f'{value:.2f}' for value in rows.human)} | " in page
    rows = [line for line in page.splitlines() if re.match(r"\| \d+ [\w ]+ \| \d\.\d\d ", line)]
    others = [line.split("|")[-2] for line in rows]
    assert (
        f"{len(re.findall(r'[1-5]-[1-5]', ' '.join(others)))} of 250 pairs" in page
        and len(others) == 25
    )


@pytest.mark.parametrize("name", list_distortions())
def test_parameters_are_the_tabled_ones_at_whole_levels_and_between_them_at_others(name):
    kind = REGISTRY[name]
    np.testing.assert_allclose(
        [kind.parameter(level) for level in LEVELS], kind.parameters, atol=1e-12
    )
    for low in range(1, 5):
        ends = np.sort(np.atleast_2d(np.c_[kind.parameters[low - 1], kind.parameters[low]]), axis=1)
        between = np.atleast_1d(kind.parameter(low + 0.5))
        assert np.all((ends[:, 0] < between) & (between < ends[:, 1]) | (ends[:, 0] == ends[:, 1]))


@pytest.mark.parametrize("name", DEMO)
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
    assert REGISTRY["defocus_blur"].parameters == (
        (0.95, 0.5),
        (0.999, 0.9),
        (3, 0.5),
        (7, 0.8),
        (12, 0.9),
    )
    geometric = 0.01 * 100 ** (
        np.array([0, 4, 7, 9, 11]) / 11
    )  # candidates 1, 5, 8, 10, 12 of twelve
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
    assert np.array_equal(distort(PHOTO, name, 4.4, 1), distort(PHOTO, name, 4.4, 2)) == (
        not REGISTRY[name].random
    )


@pytest.mark.parametrize("name", list_distortions())
def test_flat_and_extreme_images_go_through_without_a_warning(name):
    for value in (0, 128, 255):
        for level in (1, 5):
            assert distort(FLAT + np.uint8(value), name, level, 0).shape == FLAT.shape
    checkers = np.kron(np.indices((5, 6)).sum(0) % 2, np.ones((8, 8))).astype(np.uint8)[
        ..., None
    ] * np.uint8([255, 0, 255])
    assert distort(checkers, name, 5, 0).std() >= 0


@pytest.mark.parametrize("name", [name for name in list_distortions() if REGISTRY[name].monotone])
def test_quality_falls_with_level(name, photographs):
    means = [
        np.mean([psnr(distort(p, name, level, n), p) for n, p in enumerate(photographs)])
        for level in (1, 2, 3, 4, 5)
    ]
    assert (
        np.all(np.diff(means) < 0.4) and means[0] > means[2] > means[4]
    )  # decibels; random blocks fall where they fall
    if name in PSNR_REACH:
        high, higher, low, lower = PSNR_REACH[name]
        assert high < means[0] < higher and low < means[4] < lower


@pytest.mark.parametrize("name", DEMO)
def test_perceived_quality_falls_with_level(name):
    values = [
        fr_measure("mdsi", distort(PHOTO, name, level, 3), PHOTO) for level in (1, 1.5, 2, 3, 4, 5)
    ]
    if (
        name == "color_saturation_2"
    ):  # clipping at the border of sRGB lets MDSI rest from level 3 on
        values = values[:4]
    assert values[-1] > values[0] + 0.05
    assert np.all(np.diff(values) > -0.02)


def test_the_two_that_are_not_monotone_are_best_in_the_middle(photographs):
    for name in ("mean_shift", "contrast_change"):
        means = [
            np.mean([psnr(distort(p, name, level, 0), p) for p in photographs]) for level in LEVELS
        ]
        assert 1 <= np.argmax(means) <= 3 and min(means) in (means[0], means[4])
    np.testing.assert_array_equal(distort(PHOTO, "mean_shift", 3, 0), PHOTO)


# ---- regions


def test_the_25_intensities():
    assert len(set(INTENSITIES)) == 25
    assert all(distortions.region(level, other) == region for level, other, region in INTENSITIES)
    counts = pd.Series([region for _, _, region in INTENSITIES]).value_counts().to_dict()
    assert counts == {"UD": 5, "ROI-DD": 10, "BG-DD": 10}
    assert [pair[:2] for pair in INTENSITIES if pair[2] == "ROI-DD"][:5] == [
        (2, 1),
        (3, 1),
        (4, 1),
        (5, 1),
        (3, 2),
    ]


def test_each_region_gets_its_own_level():
    image = np.asarray(Image.open(REPOSITORY / "data/demo/lamp.png").convert("RGB"))[:192, :256]
    mask = np.zeros(image.shape[:2], bool)
    mask[:, :128] = True
    both = distort(image, "darkness", 5, 3, mask=mask.astype(np.uint8) * 255, background_level=1)
    subject, background = distort(image, "darkness", 5, 3), distort(image, "darkness", 1, 3)
    np.testing.assert_array_equal(
        both[:, :124], subject[:, :124]
    )  # eroded twice: from 2 pixels inside on
    np.testing.assert_array_equal(
        both[:, 162:], background[:, 162:]
    )  # beyond the blur of 32 pixels
    seam = np.abs(np.diff(both[:, 128:158].mean((0, 2)) - (image[:, 128:158]).mean((0, 2))))
    assert seam.max() < 12
    np.testing.assert_array_equal(
        distort(image, "fog", 2, 3, mask=mask, background_level=2), distort(image, "fog", 2, 3)
    )
    grey = distort(image[..., 0], "gaussian_noise", 4, 0, mask=mask, background_level=1)
    np.testing.assert_array_equal(
        grey[:, :124], distort(image[..., 0], "gaussian_noise", 4, 0)[:, :124]
    )


def test_fusion_truncates_and_takes_whole_masks():
    low, high = np.full((40, 40, 3), 10, np.uint8), np.full((40, 40, 3), 13, np.uint8)
    np.testing.assert_array_equal(fuse(high, low, np.ones((40, 40), bool)), high)
    np.testing.assert_array_equal(fuse(high, low, np.zeros((40, 40), bool)), low)
    half = fuse(high, low, (np.indices((40, 40))[0] < 20).tolist())
    assert (
        {10, 11, 13} <= set(np.unique(half)) <= {10, 11, 12, 13}
    )  # 11.5 in the middle of the seam


def test_a_seam_runs_as_a_gaussian_of_10_1_pixels_from_2_pixels_inside_on():
    mask = np.broadcast_to(np.arange(128) < 64, (40, 128))
    seam = fuse(np.full((40, 128), 200, np.uint8), np.zeros((40, 128), np.uint8), mask)[20].astype(
        float
    )
    expected = 200 * (1 + erf((63.5 - np.arange(128)) / (10.1 * 2**0.5))) / 2
    np.testing.assert_array_equal(seam[:61], 200)
    assert seam[61] > 180 > 130 > seam[62]  # the step, itself a little softened
    np.testing.assert_allclose(seam[63:], expected[63:] - 0.5, atol=1.2)
    stripes = np.where(np.arange(128) % 2, 180, 20).astype(np.uint8) * np.ones((40, 1), np.uint8)
    softened = np.flatnonzero(fuse(stripes, stripes, mask)[20] != stripes[20])
    assert softened.tolist() == [x for x in range(62, 128) if 10 < expected[x] < 190]


def test_saliency_finds_the_odd_one_out():
    image = np.full((120, 160, 3), 90, np.uint8) + np.random.default_rng(0).integers(
        0, 6, (120, 160, 1), dtype=np.uint8
    )
    image[40:70, 90:120] = (230, 40, 40)
    mask = saliency_mask(image)
    assert mask.dtype == bool and mask.shape == (120, 160)
    assert mask[45:65, 95:115].mean() > 0.8 and mask[:, :50].mean() < 0.2
    assert not saliency_mask(FLAT).any()
    np.testing.assert_array_equal(saliency_mask(image[..., 0]), saliency_mask(image[..., :1]))
    y, x = np.mgrid[:128, :192]
    inside = (abs(y - 70) < 14) & (abs(x - 130) < 14)
    stripes = np.where(
        inside, 128 + 30 * np.sign(np.sin(y * np.pi / 6)), 128 + 60 * np.sign(np.sin(x * np.pi / 6))
    )
    faint = saliency_mask(stripes.astype(np.uint8))  # what repeats draws no eye, however strong
    assert faint[inside].mean() > 0.9 and faint[~inside].mean() < 0.2
    expected = distort(image, "contrast", 5, 0, mask=mask, background_level=1)
    np.testing.assert_array_equal(distort(image, "contrast", 5, 0, background_level=1), expected)


def test_bad_input_is_refused_naming_what_is_allowed():
    with pytest.raises(KeyError, match="no distortion 'blur'; there are brighten"):
        distort(PHOTO, "blur", 1, 0)
    for options in ({"level": 6}, {"level": 1, "background_level": 0.5}):
        with pytest.raises(ValueError, match=r"level is (6|0\.5); it runs from 1 to 5"):
            distort(PHOTO, "jpeg", seed=0, **options)
    for level in (float("nan"), "3", None, [1, 2]):
        with pytest.raises(
            ValueError, match=rf"jpeg: level is {re.escape(repr(level))}; it runs from 1 to 5"
        ):
            distort(PHOTO, "jpeg", level, 0)
    for seed in (-1, 0.5, "1", None):
        with pytest.raises(
            ValueError, match=rf"seed is {seed!r}; wanted a whole number, 0 or more"
        ):
            distort(PHOTO, "jpeg", 1, seed)
    for wrong in (
        PHOTO / 255,
        PHOTO[:20],
        PHOTO[..., :2],
        PHOTO[None],
        PHOTO[0, :, 0],
        PHOTO.tolist(),
        Image.fromarray(PHOTO),
    ):
        with pytest.raises(ValueError, match=r"image is .*; wanted an array, uint8 \(h, w, 3\)"):
            distort(wrong, "jpeg", 1, 0)
    with pytest.raises(ValueError, match="give background_level too, or no mask"):
        distort(PHOTO, "jpeg", 1, 0, mask=np.ones(PHOTO.shape[:2]))
    for mask in (np.ones((3, 3)), [[1] * 3] * 3):
        with pytest.raises(ValueError, match=r"mask is \(3, 3\); wanted \(96, 128\)"):
            distort(PHOTO, "jpeg", 1, 0, mask=mask, background_level=2)
