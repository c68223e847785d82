import numpy as np
import pytest
from skimage import data

from iqa_core.distortions import REGISTRY, distort, list_distortions
from iqa_core.full_reference import fr_measure, list_measures

PHOTO = data.astronaut()[:192, :256]


@pytest.mark.parametrize("name", list_distortions())
def test_a_distortion_gives_a_uint8_image_of_the_same_size_and_is_seeded(name):
    for image in (PHOTO, PHOTO[:33, :47], np.repeat(PHOTO[..., :1], 3, axis=2)):
        out = distort(image, name, 2.5, 7)
        assert out.dtype == np.uint8 and out.shape == image.shape
    before = PHOTO.copy()
    np.testing.assert_array_equal(distort(PHOTO, name, 2.5, 7), distort(PHOTO, name, 2.5, 7))
    np.testing.assert_array_equal(PHOTO, before)


@pytest.mark.parametrize("name", list_distortions())
def test_quality_falls_with_level(name):
    values = [fr_measure("mdsi", distort(PHOTO, name, level, 3), PHOTO) for level in (1, 1.5, 2, 3, 4, 5)]
    if name == "color_saturation_2":  # clipping at the border of sRGB lets MDSI rest from level 3 on
        values = values[:4]
    assert values[-1] > values[0] + 0.05
    assert np.all(np.diff(values) > -0.02)


@pytest.mark.parametrize("name", ["white_noise", "impulse_noise", "motion_blur"])
def test_another_seed_gives_another_image(name):
    assert not np.array_equal(distort(PHOTO, name, 4, 1), distort(PHOTO, name, 4, 2))


@pytest.mark.parametrize("name", list_distortions())
def test_parameters_are_the_tabled_ones_at_whole_levels_and_between_them_at_others(name):
    kind = REGISTRY[name]
    np.testing.assert_allclose([kind.parameter(level) for level in range(1, 6)], kind.parameters)
    for low in range(1, 5):
        between = sorted(kind.parameters[low - 1 : low + 1])
        assert between[0] < kind.parameter(low + 0.5) < between[1]


@pytest.mark.parametrize("name", list_distortions())
def test_tables_are_read_log_linearly_and_backwards(name):
    kind = REGISTRY[name]
    assert kind.parameter(4.5) == pytest.approx(np.sqrt(kind.parameters[3] * kind.parameters[4]))
    for level in (1, 1.7, 3, 4.25, 5):
        assert kind.level(kind.parameter(level)) == pytest.approx(level)


def test_noise_has_the_stated_variance_and_density():
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = (distort(grey, "white_noise", 5, 0) / 255.0 - 128 / 255).var()
    assert noise == pytest.approx(0.01, rel=0.02)
    changed = (distort(grey, "impulse_noise", 5, 0) != 128).mean()
    assert changed == pytest.approx(0.03, rel=0.05)


def test_bad_input_is_refused_naming_what_is_allowed():
    with pytest.raises(KeyError, match="no distortion 'blur'; there are brighten"):
        distort(PHOTO, "blur", 1, 0)
    with pytest.raises(ValueError, match="level is 6; it runs from 1 to 5"):
        distort(PHOTO, "jpeg", 6, 0)
    for wrong in (PHOTO / 255, PHOTO[..., 0], PHOTO[:20]):
        with pytest.raises(ValueError, match="wanted uint8"):
            distort(wrong, "jpeg", 1, 0)


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
