"""What single operators promise, in closed form where there is one; of the random ones, moments of
one picture besides.
"""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from scipy import ndimage
from skimage import color, data

from iqa_core.distortions import LEVELS, REGISTRY, distort

PHOTO = data.astronaut()[:96, 160:288]
FLAT = np.zeros((40, 48, 3), np.uint8)
# middle of pagoda.png, seed 4: mean, deviation, mean step to the right, mean weighed from 0 to 2
# downwards
LEVEL_4 = {
    "motion_blur": (142.49, 66.80, 9.39, 135.62),
    "color_shift": (142.52, 70.94, 17.13, 135.59),
    "white_noise": (142.49, 73.77, 30.64, 135.77),
    "white_noise_color": (142.25, 74.53, 33.89, 135.57),
    "impulse_noise": (142.21, 73.74, 23.41, 135.46),
    "multiplicative_noise": (141.46, 73.83, 33.94, 135.24),
    "denoise": (138.76, 52.71, 4.22, 133.68),
    "jitter": (142.55, 66.40, 6.69, 135.59),
    "non_eccentricity_patch": (142.16, 71.96, 20.39, 136.10),
    "color_block": (142.55, 74.40, 14.41, 135.87),
    "gaussian_noise": (138.07, 93.07, 87.84, 133.54),
    "miqd_motion_blur": (148.89, 62.75, 2.09, 141.44),
    "glass_blur": (142.10, 63.55, 1.45, 135.32),
    "fog": (115.03, 45.07, 7.80, 115.99),
    "snow": (223.04, 48.25, 17.20, 221.59),
}  # fmt: skip


def apply(name, image, parameter, seed=0):
    """An operator by itself, on floats, without clipping and rounding."""
    return REGISTRY[name].apply(np.array(image, float), parameter, np.random.default_rng(seed))


def point_response(name, level, generator=None, side=161):
    point = np.zeros((side, side, 1))
    point[side // 2, side // 2] = 1
    kind = REGISTRY[name]
    return kind.apply(point, kind.parameter(level), generator or np.random.default_rng(0))[..., 0]


def gauss(sigma, radius):
    weights = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    return weights / weights.sum()


def middle_row(kernel, radius):
    middle = kernel.shape[0] // 2
    return kernel[middle, middle - radius : middle + radius + 1]


def to_srgb(lightness):
    """The grey value in [0, 1] of a CIE lightness in 0..100."""
    linear = ((np.asarray(lightness) + 16) / 116) ** 3
    return 1.055 * linear ** (1 / 2.4) - 0.055


# ---- blurs: what becomes of a point


@pytest.mark.parametrize("level", [2, 3, 4, 5])
def test_the_gaussian_is_cut_at_twice_its_sigma(level):
    sigma = REGISTRY["gaussian_blur"].parameter(level)
    weights = gauss(sigma, int(np.ceil(2 * sigma)))
    kernel = point_response("gaussian_blur", level)
    np.testing.assert_allclose(
        middle_row(kernel, len(weights) // 2), weights * weights.max(), atol=1e-12
    )
    assert np.count_nonzero(kernel) == len(weights) ** 2


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_level_motion_blur_is_a_line_of_its_length(level):
    length = REGISTRY["motion_blur"].parameter(level)
    kernel = point_response("motion_blur", level, SimpleNamespace(uniform=lambda low, high: 0.0))
    line = np.r_[0, 0.5, np.ones(round(length) - 1), 0.5, 0] / length
    np.testing.assert_allclose(middle_row(kernel, int(length / 2) + 1), line, atol=1e-12)
    assert kernel.sum() == pytest.approx(1) and middle_row(kernel, 9).sum() == pytest.approx(1)


@pytest.mark.parametrize("level", LEVELS)
def test_a_lens_is_a_disk_of_its_radius(level):
    radius = REGISTRY["lens_blur"].parameter(level)
    kernel = point_response("lens_blur", level)
    y, x = np.mgrid[-80:81, -80:81]
    inside = np.hypot(x, y) <= radius - 0.5
    np.testing.assert_allclose(kernel[inside], kernel.max(), atol=1e-9)
    assert (
        kernel.sum() == pytest.approx(1)
        and np.abs(kernel[np.hypot(x, y) >= radius + 0.5]).max() < 1e-9
    )
    assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.1)  # its area


@pytest.mark.parametrize(("level", "reach"), [(1, 1), (2, 1), (3, 4), (4, 8), (5, 14)])
def test_a_defocus_is_a_disk_with_a_soft_edge(level, reach):
    radius, sigma = REGISTRY["defocus_blur"].parameter(level)
    kernel = point_response("defocus_blur", level)
    spread = np.argwhere(np.abs(kernel) > 1e-9) - 80
    assert (
        kernel.sum() == pytest.approx(1) and np.abs(spread).max() == reach
    )  # 1 pixel beyond the radius, 2 beyond radius 8
    inside = np.hypot(*np.mgrid[-80:81, -80:81]) <= radius - 3
    np.testing.assert_allclose(kernel[inside], kernel.max(), atol=1e-9)
    if radius < 1:
        np.testing.assert_allclose(
            middle_row(kernel, 1), gauss(sigma, 1) * gauss(sigma, 1).max(), atol=1e-9
        )


def test_a_streak_goes_one_way_as_imagemagick_draws_it():
    kernel = point_response("miqd_motion_blur", 4, SimpleNamespace(uniform=lambda low, high: 0.0))
    weights = np.exp(-((np.arange(71) / 14) ** 2) / 2)
    np.testing.assert_allclose(
        kernel[80, 10:81][::-1], weights / weights.sum(), atol=1e-9
    )  # to the left of the point
    assert kernel.sum() == pytest.approx(1) and middle_row(kernel, 80).sum() == pytest.approx(1)
    down = point_response("miqd_motion_blur", 4, SimpleNamespace(uniform=lambda low, high: 45.0))
    spread = np.argwhere(down > 1e-6) - 80
    assert spread.max() == 0 and np.all(
        spread.min(axis=0) < -40
    )  # it looks right and down, so up and to the left


def test_glass_is_two_blurs_and_between_them_copies_of_neighbours():
    image = np.random.default_rng(0).random((64, 80, 3))
    for level in (1, 2, 3):
        parameter = REGISTRY["glass_blur"].parameter(level)
        once = ndimage.gaussian_filter(image, (parameter[0], parameter[0], 0), mode="nearest")
        twice = ndimage.gaussian_filter(once, (parameter[0], parameter[0], 0), mode="nearest")
        np.testing.assert_allclose(apply("glass_blur", image, parameter), twice, atol=1e-12)
    ramps = np.stack(
        [*np.mgrid[:64, :80], np.zeros((64, 80))], axis=2
    )  # a pixel says where it is from
    moved = apply("glass_blur", ramps, (1e-6, 3, 1.9)) - ramps
    assert {*np.unique(moved[3:-3, 3:-3, :2])} == {-3, -2, -1, 0, 1, 2} and np.abs(
        moved[..., 2]
    ).max() == 0
    beside_the_border = (moved[:, 1, 1] == -1).mean(), (moved[1, :, 0] == -1).mean()
    assert beside_the_border == pytest.approx(
        (0.5, 0.5), abs=0.15
    )  # 3 of 6 steps, two of them cut to it
    again = apply("glass_blur", ramps, (1e-6, 3, 2)) - ramps
    assert again[8:-8, 8:-8, 0].var() == pytest.approx(
        2 * 35 / 12, rel=0.1
    )  # of two rounds, each of six equal steps
    assert (
        len(np.unique(moved.reshape(-1, 3) + ramps.reshape(-1, 3), axis=0)) < 0.8 * 64 * 80
    )  # copies, so some are lost


# ---- noise and places


def test_noise_has_the_stated_variance_and_density():
    grey = np.full((256, 256, 3), 128, np.uint8)
    for name, level, variance in (("white_noise", 5, 0.01), ("gaussian_noise", 2, 0.0534**2)):
        for image in (grey, grey[..., 0]):
            assert (distort(image, name, level, 0) / 255.0 - 128 / 255).var() == pytest.approx(
                variance, rel=0.03
            )
    speckle = (distort(grey, "multiplicative_noise", 5, 0) / 255.0 - 128 / 255).var()
    assert speckle == pytest.approx(0.05 * (128 / 255) ** 2, rel=0.03)
    changed = (distort(grey, "impulse_noise", 5, 0) != 128).mean()
    assert changed == pytest.approx(0.03, rel=0.05)
    brightness = distort(grey, "white_noise_color", 5, 0) @ [0.299, 0.587, 0.114] / 255
    assert brightness.var() == pytest.approx(0.003 * (255 / 219) ** 2, rel=0.05)


def test_patches_move_every_way_by_up_to_8_pixels():
    ramps = np.stack(
        [*np.mgrid[:100, :100], np.zeros((100, 100))], axis=2
    )  # a pixel says where it is from
    moves = [
        (apply("non_eccentricity_patch", ramps, 1, seed) - ramps)[..., :2].reshape(-1, 2)
        for seed in range(200)
    ]
    assert (
        max(len(np.unique(move @ (100, 1))) for move in moves) == 2
    )  # a patch moves as a whole, the rest stays
    assert {*np.unique(moves)} == {*range(-8, 9)}


def test_colours_and_patches_are_counted():
    assert len(np.unique(distort(PHOTO, "color_quantization", 5, 0).reshape(-1, 3), axis=0)) <= 8
    assert len(
        np.unique(distort(FLAT + np.uint8(7), "color_block", 1, 0).reshape(-1, 3), axis=0)
    ) in (2, 3)
    moved = distort(PHOTO, "color_shift", 5, 0)
    np.testing.assert_array_equal(moved[..., [0, 2]], PHOTO[..., [0, 2]])
    assert not np.array_equal(moved[..., 1], PHOTO[..., 1])


@pytest.mark.parametrize("name", LEVEL_4)
def test_of_the_random_ones_a_picture_stays_as_it_is(name):
    image = np.asarray(Image.open(REPOSITORY / "data/demo/pagoda.png").convert("RGB"))[
        128:256, 160:352
    ]
    made = distort(image, name, 4, 4).astype(float)
    weights = np.linspace(0, 2, len(made))[:, None, None]
    found = made.mean(), made.std(), np.abs(np.diff(made, axis=1)).mean(), (weights * made).mean()
    assert found == pytest.approx(
        LEVEL_4[name], abs=0.02
    )  # of 255; other processors may round single samples otherwise


# ---- light and colour


def test_tone_curves_on_middle_grey():
    grey = np.full((2, 2, 3), 0.5)
    lightness = 116 * (((0.5 + 0.055) / 1.055) ** 2.4) ** (1 / 3) - 16
    for level in LEVELS[:4]:  # beyond a middle of 1 the parabola is clipped
        up, down = REGISTRY["brighten"].parameter(level), REGISTRY["darken"].parameter(level)
        bend, share = -2 * up, lightness / 100
        lab = to_srgb(100 * (bend * share**2 + (1 - bend) * share))
        np.testing.assert_allclose(
            apply("brighten", grey, up), (2 * (0.5 + up / 2) + lab) / 3, atol=1e-4
        )
        np.testing.assert_allclose(apply("darken", grey, down), 0.5 - down / 2, atol=1e-12)
        np.testing.assert_allclose(apply("mean_shift", grey, up), 0.5 + up)
    assert apply("darken", np.full((1, 1, 1), 0.25), 0.4) == pytest.approx(
        0.8 * 0.25**2 + 0.2 * 0.25
    )


@pytest.mark.parametrize("amount", REGISTRY["contrast_change"].parameters)
def test_the_contrast_curve_goes_through_its_knots(amount):
    knots = np.array([0, 0.3, 0.5, 0.7, 1])[None, :, None]
    np.testing.assert_allclose(
        apply("contrast_change", knots, amount)[0, :, 0],
        [0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1],
        atol=1e-12,
    )


def test_sharpening_adds_what_a_gaussian_of_3_pixels_takes():
    lightness = np.full((41, 41), 40.0)
    lightness[20, 20] += 10
    image = np.repeat(to_srgb(lightness)[..., None], 3, axis=2)
    for amount in (1, 2):
        found = color.rgb2lab(apply("sharpen", image, amount))[..., 0]
        expected = lightness.copy()
        expected[14:27, 14:27] -= amount * 10 * np.outer(gauss(3, 6), gauss(3, 6))
        expected[20, 20] += amount * 10
        np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("amount", [1, 3])
def test_diffusion_blurs_colour_by_1_5_of_its_amount_and_2_pixels(amount):
    lab = np.zeros((81, 81, 3))
    lab[..., 0], lab[40, 40, 1:] = 60, (20, -20)
    found = color.rgb2lab(apply("color_diffusion", color.lab2rgb(lab), amount))
    weights = gauss(1.5 * amount + 2, int(np.ceil(3 * amount + 4)))
    reach = len(weights) // 2
    expected = 20 * amount * weights * weights.max()
    np.testing.assert_allclose(middle_row(found[..., 1], reach), expected, atol=0.01)
    np.testing.assert_allclose(middle_row(found[..., 2], reach), -expected, atol=0.01)
    np.testing.assert_allclose(found[..., 0], 60, atol=0.01)


def test_a_palette_is_dithered():
    ramp = np.repeat(
        np.linspace(60, 200, 256).astype(np.uint8)[None, :, None].repeat(64, 0), 3, axis=2
    )
    made = distort(ramp, "color_quantization", 5, 0)[..., 0].astype(float)
    assert (
        len(np.unique(made)) == 8 and (np.diff(made, axis=1) != 0).sum(axis=1).min() > 40
    )  # 7 without
    means = made.reshape(4, 16, 16, 16).mean((1, 3)) - ramp[..., 0].reshape(4, 16, 16, 16).mean(
        (1, 3)
    )
    assert np.abs(means[:, 1:-1]).max() < 2


def test_negative_saturation_is_scaled_as_a_whole():
    image = np.array([[[1, 0, 0], [0.5, 0.5, 0.5], [0.4, 0.3, 0.2], [0, 0, 0]]])
    found = apply("color_saturation_1", image, -0.4)[0]
    np.testing.assert_allclose(
        found, np.array([[1, 1.4, 1.4], [0.5, 0.5, 0.5], [0.4, 0.44, 0.48], [0, 0, 0]]) / 1.4
    )
    dark = np.array(
        [[[0.4, 0.2, 0.4], [0.2, 0.2, 0.2]]]
    )  # nothing beyond 1, and scaled all the same
    np.testing.assert_allclose(
        apply("color_saturation_1", dark, -0.4)[0], np.array([[0.4, 0.48, 0.4], [0.2] * 3]) / 1.2
    )
    np.testing.assert_allclose(apply("color_saturation_1", image, 0.4)[0, 2], [0.4, 0.36, 0.32])
    np.testing.assert_array_equal(np.ptp(distort(PHOTO, "color_saturation_1", 4, 0), axis=2), 0)


def test_color_shift_moves_green_by_its_amount_where_edges_are():
    image = np.zeros((96, 96, 3))
    image[48:, :, 1] = 1  # one edge: the weight is its gradient, a Gaussian of 4 pixels
    found = apply("color_shift", image, 12)
    down = int(np.rint(12 * np.sin(np.random.default_rng(0).uniform(0, np.pi / 2))))
    rows = np.arange(48, 48 + down)
    weight = 1 - found[rows, 48, 1]
    profile = np.exp(-(((np.arange(96) - 47.5) / 4) ** 2) / 2)
    expected = np.clip(profile / profile.max(), 0.1, 1)[rows]
    np.testing.assert_allclose(weight, (expected - 0.1) / 0.9, atol=0.03)
    np.testing.assert_array_equal(found[48 + down :], image[48 + down :])


def test_darkness_lowers_the_largest_channel_and_keeps_hue():
    image = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    dark = distort(image, "darkness", 3, 0)[0, 0].astype(float)
    assert dark[0] == pytest.approx(200 - 0.1731 * 255, abs=0.6)
    np.testing.assert_allclose(dark / dark[0], [1, 0.5, 0.25], atol=0.01)


def test_contrast_falls_towards_the_mean_of_each_channel():
    means = np.array([0.8, 0.5, 0.1])
    np.testing.assert_allclose(
        apply("contrast", np.full((4, 4, 3), means), 0.2), np.full((4, 4, 3), means)
    )
    swing = np.where(np.arange(4) % 2, 0.1, -0.1)[None, :, None]
    np.testing.assert_allclose(apply("contrast", means + swing, 0.2), means + 0.2 * swing)


# ---- sampling and compression


def test_quantization_reaches_black_and_white_in_equal_steps():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(32, 0)
    # one class more than the 20, 16, 13, 10, 7 thresholds that the generator asks for
    for level, count in zip(LEVELS, (21, 17, 14, 11, 8), strict=True):
        made = distort(ramp, "quantization", level, 0)
        np.testing.assert_array_equal(np.unique(made), np.rint(np.linspace(0, 255, count)))
        assert np.ptp(np.unique(made[0], return_counts=True)[1]) <= 1


@pytest.mark.parametrize("level", LEVELS)
def test_pixelate_leaves_as_many_columns_as_published(level):
    strength = REGISTRY["pixelate"].parameters[level - 1]
    made = apply("pixelate", np.arange(400.0).reshape(1, 400, 1).repeat(64, 0), strength)
    assert len(np.unique(made)) == int(400 * (0.95 - strength**0.6))
    assert np.isin(made, np.arange(400)).all() and np.all(np.diff(made[0, :, 0]) >= 0)


def test_pixels_of_miqd_are_means_of_boxes():
    image = np.random.default_rng(0).integers(0, 64, (16, 2, 24, 2, 3)) * 4 / 255
    expected = np.broadcast_to(image.mean((1, 3), keepdims=True), image.shape)
    made = apply("miqd_pixelate", image.reshape(32, 48, 3), 0.5)
    np.testing.assert_allclose(made, expected.reshape(32, 48, 3), atol=1e-12)


def test_files_are_as_pillow_writes_them():
    options = {"jpeg": [dict(format="JPEG", quality=quality) for quality in (43, 36, 24, 7, 4)]}
    options["jpeg_compression"] = [
        dict(format="JPEG", quality=quality) for quality in (100, 63, 36, 18, 0)
    ]
    options["jpeg2000"] = [
        dict(
            format="JPEG2000",
            quality_mode="rates",
            quality_layers=[ratio],
            irreversible=True,
            num_resolutions=6,
        )
        for ratio in (16, 32, 45, 120, 400)
    ]
    for name, written in options.items():
        for level, how in zip(LEVELS, written, strict=True):
            Image.fromarray(PHOTO).save(file := io.BytesIO(), **how)
            np.testing.assert_array_equal(distort(PHOTO, name, level, 0), Image.open(file))


# ---- weather


@pytest.mark.parametrize("level", LEVELS)
def test_fog_is_a_cloud_whose_octaves_fall_by_the_square_of_the_decay(level):
    amount, decay = REGISTRY["fog"].parameter(level)
    foggy = apply("fog", np.full((256, 256, 1), 0.5), (amount, decay), 3)[..., 0]
    assert foggy.max() == pytest.approx(0.5)  # .5 + amount, scaled to the brightest
    assert foggy.min() == pytest.approx(0.25 / (0.5 + amount))

    def detail(grid):  # what midpoints have beside the mean of their four corners
        corners = grid[::2, ::2] + np.roll(grid[::2, ::2], -1, 0)
        return (grid[1::2, 1::2] - (corners + np.roll(corners, -1, 1)) / 4).std()

    assert detail(foggy[::2, ::2]) / detail(foggy) == pytest.approx(decay**2, rel=0.05)
    assert detail(foggy[::4, ::4]) / detail(foggy[::2, ::2]) == pytest.approx(decay**2, rel=0.08)


def test_snow_whitens_the_picture_and_falls_twice():
    image = np.random.default_rng(1).random((40, 50, 3))
    bare = (-9, 0.1, 1, 0.3, 5, 2)  # no flakes at all
    white = np.maximum(image, 1.5 * (image @ [[0.299], [0.587], [0.114]]) + 0.5)
    np.testing.assert_allclose(
        apply("snow", image, (*bare, 0.7)), 0.7 * image + 0.3 * white, atol=1e-9
    )
    np.testing.assert_allclose(apply("snow", image, (*bare, 1)), image, atol=1e-9)
    flakes = apply("snow", np.zeros((64, 80, 1)), (0.25, 0.2, 2.5, 0.5, 8, 6, 1))
    np.testing.assert_allclose(flakes, flakes[::-1, ::-1], atol=1e-9)
    steps = [np.abs(np.diff(flakes[..., 0], axis=axis)).mean() for axis in (0, 1)]
    assert flakes.mean() > 0.02 and steps[0] < steps[1]  # streaks within 45 degrees of upright
