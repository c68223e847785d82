"""The light and colour types of KADID-10k (Lin, Hosu, Saupe, QoMEX 2019,
10.1109/QoMEX.2019.8743252); see `kadid`.
"""

import warnings

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage import color

from .kadid import SOURCE, gaussian_blur, picture
from .registry import distortion

LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def _curve(values, middle):
    """The parabola through (0, 0), (.5, middle), (1, 1), clipped to [0, 1]."""
    bend = 2 - 4 * middle
    return np.clip(bend * values**2 + (1 - bend) * values, 0, 1)


@distortion(0.1, 0.2, 0.4, 0.7, 1.1, source=SOURCE, number=16, rgb=True)
def brighten(image, amount, generator):
    """A tone curve through (.5, .5 + amount / 2): two parts on R, G, B and one on Lab lightness."""
    middle = 0.5 + amount / 2
    lab = color.rgb2lab(image)
    lab[..., 0] = 100 * _curve(lab[..., 0] / 100, middle)
    return (2 * _curve(image, middle) + to_rgb(lab)) / 3


@distortion(0.05, 0.1, 0.2, 0.4, 0.8, source=SOURCE, number=17)
def darken(image, amount, generator):
    """A tone curve through (.5, .5 - amount / 2) on R, G, B."""
    return _curve(image, 0.5 - amount / 2)


@distortion(0.15, 0.08, 0, -0.08, -0.15, source=SOURCE, number=18, monotone=False)
def mean_shift(image, amount, generator):
    """`amount` is added to every sample of images in [0, 1]: brighter at levels 1 and 2, unchanged
    at 3, darker at 4 and 5, so quality is best in the middle.
    """
    return image + amount


@distortion(0.3, 0.15, 0, -0.4, -0.6, source=SOURCE, number=25, monotone=False)
def contrast_change(image, amount, generator):
    """The cubic spline through (0, 0), (.3, .25 - amount / 4), (.5, .5), (.7, .75 + amount / 4),
    (1, 1): more contrast at levels 1 to 3, where even 0 is a little, less of it at 4 and 5, so
    quality is best in the middle.
    """
    curve = CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, 0.25 - amount / 4, 0.5, 0.75 + amount / 4, 1])
    return curve(image)


@distortion(1, 2, 3, 6, 12, source=SOURCE, number=24, rgb=True)
def sharpen(image, amount, generator):
    """Unsharp masking of CIE Lab lightness: its difference from a Gaussian of 3 pixels is added
    `amount` times.
    """
    lab = color.rgb2lab(image)
    blurred = ndimage.gaussian_filter(lab[..., 0], 3, radius=6, mode="nearest")
    lab[..., 0] += amount * (lab[..., 0] - blurred)
    return to_rgb(lab)


@distortion(1, 3, 6, 8, 12, source=SOURCE, number=4, rgb=True)
def color_diffusion(image, amount, generator):
    """a and b of CIE Lab are blurred by a Gaussian of 1.5 amount + 2 pixels and multiplied by
    `amount`.
    """
    lab = color.rgb2lab(image)
    lab[..., 1:] = amount * gaussian_blur(lab[..., 1:], 1.5 * amount + 2, generator)
    return to_rgb(lab)


@distortion(1, 3, 6, 8, 12, source=SOURCE, number=5, random=True, rgb=True)
def color_shift(image, amount, generator):
    """Green moves `amount` pixels down and right in a random direction, where edges are: its weight
    is the gradient of the grey image smoothed by a Gaussian of 4 pixels, stretched to 0..1 between
    its 1st and 99th percentile.
    """
    grey = image @ np.array(LUMA)
    edges = ndimage.gaussian_filter(np.hypot(*np.gradient(grey)), 4, mode="nearest")
    edges = np.clip(_stretch(edges), 0.1, 1)
    weight = _stretch(np.clip(edges, *np.percentile(edges, [1, 99])))
    angle = generator.uniform(0, np.pi / 2)
    down_and_right = np.rint([amount * np.sin(angle), amount * np.cos(angle)])
    moved = ndimage.shift(image[..., 1], down_and_right, order=0, mode="nearest")
    result = image.copy()
    result[..., 1] += weight * (moved - image[..., 1])
    return result


def _stretch(values):
    """Brought to the range 0..1."""
    return (values - values.min()) / max(np.ptp(values), 1e-12)


@distortion(64, 48, 32, 16, 8, source=SOURCE, number=6, rgb=True)
def color_quantization(image, colors, generator):
    """A palette of a rounded number of `colors` of the image's own, with Floyd-Steinberg dither.

    The generator's palette is MATLAB's minimum-variance one; ours is Pillow's median cut, moved on
    by k-means.
    """
    colored = picture(image)
    palette = colored.quantize(round(colors), method=Image.Quantize.MEDIANCUT, kmeans=1000)
    dithered = colored.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(dithered.convert("RGB")) / 255.0


@distortion(0.4, 0.2, 0.1, 0, -0.4, source=SOURCE, number=7)
def color_saturation_1(image, factor, generator):
    """S of HSV is multiplied by `factor`: paler, grey at level 4, pale complementary colours at 5.

    Those exceed their V, and the image is divided by the largest excess of all pixels, at most 1.4,
    as MATLAB's hsv2rgb does even where nothing is beyond 1.
    """
    value = image.max(axis=2, keepdims=True)
    result = value - (value - image) * factor
    excess = (result / np.maximum(value, 1e-12)).max()
    return result / max(1, excess)


@distortion(1, 2, 3, 6, 9, source=SOURCE, number=8, rgb=True)
def color_saturation_2(image, factor, generator):
    """a and b of CIE Lab are multiplied by `factor`; level 1 leaves the image as it is."""
    lab = color.rgb2lab(image)
    lab[..., 1:] *= factor
    return to_rgb(lab)


def to_rgb(lab):
    """CIE Lab (h, w, 3) in RGB, clipped to [0, 1]."""
    with warnings.catch_warnings():  # colours outside sRGB are expected here, and clipped
        warnings.filterwarnings("ignore", message=".*negative Z values")
        return color.lab2rgb(lab)
