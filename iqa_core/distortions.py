"""Image distortions with published levels: KADID-10k's (Lin, Hosu, Saupe, QoMEX 2019, 10.1109/QoMEX.2019.8743252) and
MIQD-2.5M's contrast. Each operator states its parameter; `level` runs 1..5 and may be fractional: between two tabled
levels the parameter is interpolated log-linearly.

Images are uint8 RGB (h, w, 3). Operators work on float images in [0, 1] and are clipped and rounded once, at the end.
"""

import io
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color

LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Distortion:
    name: str
    apply: Callable  # (image in [0, 1], parameter, generator) -> image, any range
    parameters: tuple[float, ...]  # at levels 1..5
    source: str

    def parameter(self, level: float) -> float:
        """The operator's parameter at a level in 1..5, fractional levels included."""
        if not 1 <= level <= 5:
            raise ValueError(f"{self.name}: level is {level}; it runs from 1 to 5, fractions allowed")
        return float(np.exp(np.interp(level, LEVELS, np.log(self.parameters))))

    def level(self, parameter: float) -> float:
        """The level in 1..5 of a parameter inside the table; the inverse of `parameter`."""
        steps = sorted(zip(np.log(self.parameters), LEVELS, strict=True))
        return float(np.interp(np.log(parameter), *zip(*steps, strict=True)))


REGISTRY: dict[str, Distortion] = {}


def distortion(*parameters: float, source: str = "KADID-10k"):
    """Register an operator `f(image, parameter, generator)` under its function name."""

    def register(function):
        REGISTRY[function.__name__] = Distortion(function.__name__, function, parameters, source)
        return function

    return register


def list_distortions() -> list[str]:
    """Names that `distort` knows."""
    return sorted(REGISTRY)


def distort(image: np.ndarray, name: str, level: float, seed: int) -> np.ndarray:
    """A distorted copy of a uint8 RGB image (h, w, 3), h and w at least 32.

    The random part depends on (seed, name, level) only. KeyError for an unknown name, ValueError for a level outside 1..5
    or an image that is not uint8 RGB.
    """
    if name not in REGISTRY:
        raise KeyError(f"no distortion {name!r}; there are {', '.join(list_distortions())}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 32:
        raise ValueError(f"image is {image.dtype} {image.shape}; wanted uint8 (h, w, 3), at least 32 pixels a side")
    kind = REGISTRY[name]
    generator = np.random.default_rng([seed, zlib.crc32(name.encode()), round(level * 1000)])
    result = kind.apply(image / 255.0, kind.parameter(level), generator)
    return np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)


# ---- blur


def _correlate(image, kernel):
    return np.stack([ndimage.correlate(image[..., c], kernel, mode="nearest") for c in range(3)], axis=2)


@distortion(0.1, 0.5, 1, 2, 5)
def gaussian_blur(image, sigma, generator):
    """Gaussian of `sigma` pixels, cut at ceil(2 sigma) pixels as MATLAB's fspecial call of the generator does."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), radius=(int(np.ceil(2 * sigma)),) * 2 + (0,), mode="nearest")


@distortion(1, 2, 4, 6, 10)
def motion_blur(image, length, generator):
    """Camera motion along a line of `length` pixels at a random angle; a pixel weighs 1 - its distance from the line."""
    half, angle = (length - 1) / 2, generator.uniform(0, np.pi)
    radius = int(np.ceil(half)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kernel = np.clip(1 - np.hypot(across, np.maximum(np.abs(along) - half, 0)), 0, None)
    return _correlate(image, kernel / kernel.sum())


# ---- noise


@distortion(0.001, 0.002, 0.003, 0.005, 0.01)
def white_noise(image, variance, generator):
    """Independent Gaussian noise in R, G and B; `variance` for images in [0, 1]."""
    return image + np.sqrt(variance) * generator.standard_normal(image.shape)


@distortion(0.001, 0.005, 0.01, 0.02, 0.03)
def impulse_noise(image, density, generator):
    """Salt and pepper: a sample of one channel becomes 0 or 1 with probability `density`."""
    draw = generator.random(image.shape)
    return np.where(draw < density / 2, 0.0, np.where(draw < density, 1.0, image))


# ---- compression and sampling


def _through_file(image, **options):
    file = io.BytesIO()
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(file, **options)
    return np.asarray(Image.open(file).convert("RGB")) / 255.0


@distortion(43, 36, 24, 7, 4)
def jpeg(image, quality, generator):
    """JPEG of Pillow (libjpeg quality, 4:2:0); the quality is rounded."""
    return _through_file(image, format="JPEG", quality=round(quality))


@distortion(16, 32, 45, 120, 400)
def jpeg2000(image, ratio, generator):
    """JPEG 2000 of Pillow (OpenJPEG, irreversible) at a compression `ratio`."""
    return _through_file(
        image, format="JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True, num_resolutions=6
    )


@distortion(0.01, 0.05, 0.1, 0.2, 0.5)
def pixelate(image, strength, generator):
    """Nearest-neighbour reduction to .95 - strength^.6 of the size, and back."""
    height, width = image.shape[:2]
    scale = 0.95 - strength**0.6
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    small = image[np.ix_(_nearest(rows, height), _nearest(columns, width))]
    return small[np.ix_(_nearest(height, rows), _nearest(width, columns))]


def _nearest(wanted, size):
    return ((np.arange(wanted) + 0.5) * size / wanted).astype(int)


@distortion(20, 16, 13, 10, 7)
def quantization(image, levels, generator):
    """R, G and B each cut into a rounded number of equal `levels` (the generator's Otsu thresholds, taken as equal)."""
    count = round(levels)
    return np.minimum(np.floor(image * count), count - 1) / (count - 1)


# ---- light and colour


def _curve(values, middle):
    """The parabola through (0, 0), (.5, middle), (1, 1), clipped to [0, 1]."""
    bend = 2 - 4 * middle
    return np.clip(bend * values**2 + (1 - bend) * values, 0, 1)


@distortion(0.1, 0.2, 0.4, 0.7, 1.1)
def brighten(image, amount, generator):
    """A tone curve through (.5, .5 + amount / 2): two parts on R, G, B and one on Lab lightness."""
    lab = color.rgb2lab(image)
    lab[..., 0] = 100 * _curve(lab[..., 0] / 100, 0.5 + amount / 2)
    return (2 * _curve(image, 0.5 + amount / 2) + _to_rgb(lab)) / 3


@distortion(0.05, 0.1, 0.2, 0.4, 0.8)
def darken(image, amount, generator):
    """A tone curve through (.5, .5 - amount / 2) on R, G, B."""
    return _curve(image, 0.5 - amount / 2)


@distortion(0.9, 0.573, 0.327, 0.164, 0.05, source="MIQD-2.5M")
def contrast(image, factor, generator):
    """Deviations from each channel's mean are multiplied by `factor` < 1."""
    mean = image.mean((0, 1))
    return (image - mean) * factor + mean


@distortion(1, 2, 3, 6, 9)
def color_saturation_2(image, factor, generator):
    """a and b of CIE Lab are multiplied by `factor`; level 1 leaves the image as it is."""
    lab = color.rgb2lab(image)
    lab[..., 1:] *= factor
    return _to_rgb(lab)


def _to_rgb(lab):
    with warnings.catch_warnings():  # colours outside sRGB are expected here, and clipped
        warnings.filterwarnings("ignore", message=".*negative Z values")
        return color.lab2rgb(lab)
