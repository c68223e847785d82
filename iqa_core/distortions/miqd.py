"""The ten distortion types of MIQD-2.5M (Wang, Zhang, Lin 2025, arXiv 2508.19850).

Its level is no parameter but a rank: of twelve candidate strengths applied to an image, those that
come 1st, 5th, 8th, 10th and 12th by PSNR are its levels 1 to 5. PSNR falls with strength in the
ordinary case, so the tables here hold candidates 1, 5, 8, 10 and 12; where it does not, a published
image may show a neighbour of the one made here. The operators are those of ImageNet-C (Hendrycks
and Dietterich 2019, arXiv 1903.12261) at other strengths. Its generator cuts results to whole
numbers where this package rounds them.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from .kadid import by_channel, convolve, through_file
from .kadid_color import LUMA
from .registry import distortion

SOURCE = "MIQD-2.5M"
NEARLY = 1e-9  # a tabled 2 comes back from its logarithm as 2 - 4e-16, and must not be cut to 1


@distortion(0.01, 0.0534, 0.1874, 0.4329, 1.0, source=SOURCE, random=True)
def gaussian_noise(image, sigma, generator):
    """Independent Gaussian noise in each channel; standard deviation `sigma` for images in [0,
    1].
    """
    return image + sigma * generator.standard_normal(image.shape)


@distortion(0.015, 0.0607, 0.1731, 0.3481, 0.7, source=SOURCE)
def darkness(image, amount, generator):
    """V of HSV falls by `amount`, to 0 at least; hue and saturation stay."""
    value = image.max(axis=2, keepdims=True)
    return image * np.maximum(value - amount, 0) / np.maximum(value, NEARLY)


@distortion(0.9, 0.573, 0.327, 0.164, 0.05, source=SOURCE)
def contrast(image, factor, generator):
    """Deviations from each channel's mean are multiplied by `factor` < 1."""
    mean = image.mean((0, 1))
    return (image - mean) * factor + mean


@distortion(0.95, 0.61, 0.355, 0.185, 0.07, source=SOURCE)
def miqd_pixelate(image, scale, generator):
    """Box-averaged down to `scale` of the size, at least a pixel, and back by nearest neighbour.

    MIQD's name is pixelate.
    """
    height, width = image.shape[:2]
    small = max(1, int(width * scale + NEARLY)), max(1, int(height * scale + NEARLY))

    def pixelated(channel):
        picture = Image.fromarray(np.rint(channel * 255).astype(np.uint8))
        picture = picture.resize(small, Image.Resampling.BOX)
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(picture) / 255.0

    return by_channel(pixelated, image)


@distortion(100, 63, 36, 18, 0, source=SOURCE, rgb=True)
def jpeg_compression(image, quality, generator):
    """JPEG of Pillow (libjpeg quality, 4:2:0); the quality is cut to a whole number, 0 is libjpeg's
    1.
    """
    return through_file(image, format="JPEG", quality=int(quality))


# ---- blur


def _streak(radius, sigma, degrees):
    """Weights of a motion blur as ImageMagick's: a pixel becomes the mean of 2 ceil(radius) + 1
    steps of a pixel from itself in one direction, weighted by the falling half of a Gaussian of
    `sigma` pixels. 0 degrees: it looks right, so a point smears to the left.
    """
    reach = 2 * int(np.ceil(radius - NEARLY))
    steps = np.arange(reach + 1)
    angle = np.deg2rad(degrees)
    rows = reach - np.rint(steps * np.sin(angle)).astype(int)
    columns = reach - np.rint(steps * np.cos(angle)).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    np.add.at(kernel, (rows, columns), np.exp(-((steps / sigma) ** 2) / 2))
    return kernel / kernel.sum()


@distortion((1.4, 0.6), (7, 2.5), (20, 7), (35, 14), (60, 30), source=SOURCE, random=True)
def miqd_motion_blur(image, parameter, generator):
    """A one-sided streak of (radius, sigma) pixels within 45 degrees of level, as ImageMagick draws
    it: the picture moves as well as blurs. MIQD's name is motion_blur.
    """
    radius, sigma = parameter
    degrees = generator.uniform(-45, 45)
    return convolve(image, _streak(radius, sigma, degrees))


@distortion((0.95, 0.5), (0.999, 0.9), (3, 0.5), (7, 0.8), (12, 0.9), source=SOURCE)
def defocus_blur(image, parameter, generator):
    """A disk of (radius, sigma) pixels: all pixels within the radius alike, the edge softened by a
    Gaussian of sigma over 3 x 3 pixels, 5 x 5 beyond radius 8. Below radius 1 that Gaussian is all
    there is. The border is repeated, where the generator mirrors it.
    """
    radius, sigma = parameter[0] + NEARLY, parameter[1]
    half = max(8, int(radius)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = (x**2 + y**2 <= radius**2).astype(float)
    softened_over = 1 if radius <= 8.001 else 2
    disk = ndimage.gaussian_filter(disk / disk.sum(), sigma, radius=softened_over)
    return convolve(image, disk)


@distortion(
    (0.4, 1, 0.4),
    (0.55, 1.5, 0.9),
    (1.2, 2.5, 0.99),
    (2, 2, 2),
    (4, 5, 4),
    source=SOURCE,
    random=True,
)
def glass_blur(image, parameter, generator):
    """A Gaussian blur, every pixel replaced by a random neighbour's, and the blur again.

    `parameter`: (sigma in pixels, farthest neighbour, rounds), the last two cut to whole numbers,
    so that levels up to 3 move nothing and are two blurs. All pixels of a round are copied at once,
    as MIQD's generator does it, where ImageNet-C swaps one after another.
    """
    sigma = parameter[0]
    reach, rounds = (int(value + NEARLY) for value in parameter[1:])
    image = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for _ in range(rounds):
        down, right = generator.integers(-reach, reach, (2, *y.shape))
        image = image[np.clip(y + down, 0, y.max()), np.clip(x + right, 0, x.max())]
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


# ---- weather


def _plasma(side, decay, generator):
    """A cloud (n, n) in [0, 1], n the power of two from `side` on, by the diamond-square rule on a
    torus: midpoints are the mean of their four neighbours plus uniform noise, which falls by
    decay^2 with every halving.
    """
    grid = np.zeros((1, 1))
    noise = 1.0
    while len(grid) < side:
        finer = np.zeros((2 * len(grid), 2 * len(grid)))
        finer[::2, ::2] = grid

        # middles of squares, from their four corners
        corners = grid + np.roll(grid, -1, 0)
        middles = (corners + np.roll(corners, -1, 1)) / 4
        finer[1::2, 1::2] = middles + noise * generator.uniform(-1, 1, grid.shape)

        # middles of their sides, from the corners and middles beside them
        sides = sum(np.roll(finer, step, axis) for axis in (0, 1) for step in (-1, 1)) / 4
        sides += noise * generator.uniform(-1, 1, finer.shape)
        finer[::2, 1::2] = sides[::2, 1::2]
        finer[1::2, ::2] = sides[1::2, ::2]

        grid = finer
        noise /= decay**2
    return (grid - grid.min()) / np.ptp(grid)


@distortion((0.1, 3), (0.3, 2.05), (0.7, 1.6), (1.5, 1.5), (5, 1.3), source=SOURCE, random=True)
def fog(image, parameter, generator):
    """A cloud of (amount, decay) is added, then all scaled so that the brightest pixel can stay as
    it was; a small decay makes rough fog.

    The scale falls with the amount (1/6 at level 5), so the strongest fog is grey, not white.
    """
    amount, decay = parameter
    height, width = image.shape[:2]
    brightest = image.max()
    cloud = _plasma(max(height, width), decay, generator)[:height, :width, None]
    return (image + amount * cloud) * brightest / (brightest + amount)


@distortion(
    (0.05, 0.1, 1, 0.3, 5, 2, 1),
    (0.25, 0.209, 2.455, 0.518, 8.64, 6.73, 0.818),
    (0.4, 0.291, 3.545, 0.682, 11.36, 10.27, 0.682),
    (0.5, 0.345, 4.273, 0.791, 13.18, 12.64, 0.591),
    (0.6, 0.4, 5, 0.9, 15, 15, 0.5),
    source=SOURCE,
    random=True,
)
def snow(image, parameter, generator):
    """Flakes over a whitened picture.

    Flakes: Gaussian noise (mean, standard deviation), enlarged (zoom), 0 below a threshold,
    streaked (radius, sigma in pixels) within 45 degrees of upright, and once more turned by 180
    degrees. The last number is what stays of the picture; the rest is at least 1.5 x its grey + .5.
    """
    mean, deviation, zoom, threshold, radius, sigma, kept = parameter
    height, width = image.shape[:2]

    small = int(np.ceil(height / zoom)) + 1, int(np.ceil(width / zoom)) + 1
    flakes = ndimage.zoom(generator.normal(mean, deviation, small), zoom, order=1)[:height, :width]
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)[..., None]
    flakes = convolve(flakes, _streak(radius, sigma, generator.uniform(-135, -45)))

    grey = image if image.shape[2] == 1 else image @ np.array(LUMA)[:, None]
    whitened = kept * image + (1 - kept) * np.maximum(image, 1.5 * grey + 0.5)
    return whitened + flakes + flakes[::-1, ::-1]
