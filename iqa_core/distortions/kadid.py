"""The 25 distortion types of KADID-10k (Lin, Hosu, Saupe, QoMEX 2019, 10.1109/QoMEX.2019.8743252),
after its generator: blur, noise, compression, sampling and place; light and colour stand in
`kadid_color`.

The generator stretches every picture to the range 0..1 before and after; we leave both out, since a
stretch undoes part of a mean shift and alters images that nothing else was done to. Where the two
differ otherwise, the operator says so.
"""

import io
from functools import partial

import numpy as np
from PIL import Image
from scipy import ndimage, signal
from skimage import color, restoration

from .registry import distortion

SOURCE = "KADID-10k"


# ---- blur


def by_channel(operator, image):
    """An image (h, w, c) whose channels (h, w) each went through `operator`."""
    return np.stack([operator(channel) for channel in np.moveaxis(image, 2, 0)], axis=2)


def convolve(image, kernel):
    """Each channel of an image (h, w, c) convolved with a kernel of odd sides; the border is
    repeated.
    """
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    return signal.fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1))


@distortion(0.1, 0.5, 1, 2, 5, source=SOURCE, number=1)
def gaussian_blur(image, sigma, generator):
    """Gaussian of `sigma` pixels, cut at ceil(2 sigma) pixels as MATLAB's fspecial call of the
    generator does.
    """
    radius = int(np.ceil(2 * sigma))
    return ndimage.gaussian_filter(
        image, (sigma, sigma, 0), radius=(radius, radius, 0), mode="nearest"
    )


@distortion(1, 2, 4, 6, 8, source=SOURCE, number=2)
def lens_blur(image, radius, generator):
    """A disk of `radius` pixels; a pixel on its edge weighs radius + .5 - its distance from the
    middle, close to the area that MATLAB's fspecial integrates.
    """
    half = int(np.ceil(radius))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return convolve(image, disk / disk.sum())


@distortion(1, 2, 4, 6, 10, source=SOURCE, number=3, random=True)
def motion_blur(image, length, generator):
    """Camera motion along a line of `length` pixels at a random angle; a pixel weighs 1 - its
    distance from the line.
    """
    half = (length - 1) / 2
    angle = generator.uniform(0, np.pi)
    radius = int(np.ceil(half)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    beyond_the_end = np.maximum(np.abs(along) - half, 0)
    kernel = np.clip(1 - np.hypot(across, beyond_the_end), 0, None)
    kernel /= kernel.sum()
    return by_channel(lambda channel: ndimage.correlate(channel, kernel, mode="nearest"), image)


# ---- noise


@distortion(0.001, 0.002, 0.003, 0.005, 0.01, source=SOURCE, number=11, random=True)
def white_noise(image, variance, generator):
    """Independent Gaussian noise in R, G and B; `variance` for images in [0, 1]."""
    return image + np.sqrt(variance) * generator.standard_normal(image.shape)


@distortion(0.0001, 0.0005, 0.001, 0.002, 0.003, source=SOURCE, number=12, random=True, rgb=True)
def white_noise_color(image, variance, generator):
    """Independent Gaussian noise of `variance` in Y, Cb and Cr (Rec. 601, Y in 16..235 of 255), for
    images in [0, 1].
    """
    noise = np.sqrt(variance) * generator.standard_normal(image.shape)
    return color.ycbcr2rgb(color.rgb2ycbcr(image) + 255 * noise)


@distortion(0.001, 0.005, 0.01, 0.02, 0.03, source=SOURCE, number=13, random=True)
def impulse_noise(image, density, generator):
    """Salt and pepper: a sample of one channel becomes 0 or 1 with probability `density`."""
    draw = generator.random(image.shape)
    salted = np.where(draw < density, 1.0, image)
    return np.where(draw < density / 2, 0.0, salted)


@distortion(0.001, 0.005, 0.01, 0.02, 0.05, source=SOURCE, number=14, random=True)
def multiplicative_noise(image, variance, generator):
    """Speckle: each sample is multiplied by 1 + uniform noise of mean 0 and `variance`, as MATLAB's
    imnoise draws it.
    """
    noise = np.sqrt(3 * variance) * generator.uniform(-1, 1, image.shape)
    return image * (1 + noise)


@distortion(0.01, 0.03, 0.05, 0.1, 0.15, source=SOURCE, number=15, random=True)
def denoise(image, variance, generator):
    """What a denoiser leaves: Gaussian noise of `variance` is added and taken out again, channel by
    channel.

    The generator's denoiser is a network, DnCNN (Zhang et al. 2017, 10.1109/TIP.2017.2662206),
    whose weights no package here holds; ours is non-local means (Buades, Coll, Morel 2005,
    10.1109/CVPR.2005.38), which knows the variance, patches of 5 x 5 within 6 pixels. Both smooth
    fine texture away and leave blotches.
    """
    sigma = np.sqrt(variance)
    noisy = np.clip(image + sigma * generator.standard_normal(image.shape), 0, 1)
    denoised = partial(
        restoration.denoise_nl_means,
        patch_size=5,
        patch_distance=6,
        h=0.6 * sigma,
        sigma=sigma,
        fast_mode=True,
    )
    return by_channel(denoised, noisy)


# ---- place


@distortion(0.05, 0.1, 0.2, 0.5, 1, source=SOURCE, number=19, random=True)
def jitter(image, amount, generator):
    """Every pixel is fetched from a Gaussian distance of `amount` pixels (standard deviation, down
    and across), bilinear; five times over.
    """
    height, width = image.shape[:2]
    grid = np.mgrid[:height, :width]
    for _ in range(5):
        places = grid + amount * generator.standard_normal(grid.shape)
        moved = partial(ndimage.map_coordinates, coordinates=places, order=1, mode="nearest")
        image = by_channel(moved, image)
    return image


@distortion(20, 40, 60, 80, 100, source=SOURCE, number=20, random=True)
def non_eccentricity_patch(image, patches, generator):
    """A rounded number of `patches` of 16 x 16 pixels, copied one after another up to 8 pixels
    away, down and across.

    Small images leave less room: (side - 16) / 4 pixels where that is less than 8.
    """
    image = image.copy()
    height, width = image.shape[:2]
    room = min(16, (min(height, width) - 16) // 2)
    for _ in range(round(patches)):
        row = generator.integers(room, height - 16 - room + 1)
        column = generator.integers(room, width - 16 - room + 1)
        down, right = np.rint(generator.uniform(-room / 2, room / 2, 2)).astype(int)
        patch = image[row : row + 16, column : column + 16].copy()
        row, column = row + down, column + right
        image[row : row + 16, column : column + 16] = patch
    return image


@distortion(2, 4, 6, 8, 10, source=SOURCE, number=23, random=True, rgb=True)
def color_block(image, blocks, generator):
    """A rounded number of `blocks` of 32 x 32 pixels, each of one random colour, at random
    places.
    """
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(round(blocks)):
        row = generator.integers(0, height - 32 + 1)
        column = generator.integers(0, width - 32 + 1)
        image[row : row + 32, column : column + 32] = generator.random(3)
    return image


# ---- compression and sampling


def picture(image):
    """A Pillow image of an RGB image (h, w, 3) in [0, 1], rounded."""
    return Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))


def through_file(image, **options):
    """An RGB image (h, w, 3) in [0, 1] as it comes back from a file that Pillow writes with
    `options`.
    """
    file = io.BytesIO()
    picture(image).save(file, **options)
    return np.asarray(Image.open(file).convert("RGB")) / 255.0


@distortion(43, 36, 24, 7, 4, source=SOURCE, number=10, rgb=True)
def jpeg(image, quality, generator):
    """JPEG of Pillow (libjpeg quality, 4:2:0); the quality is rounded."""
    return through_file(image, format="JPEG", quality=round(quality))


@distortion(16, 32, 45, 120, 400, source=SOURCE, number=9, rgb=True)
def jpeg2000(image, ratio, generator):
    """JPEG 2000 of Pillow (OpenJPEG, irreversible) at a compression `ratio`."""
    return through_file(
        image,
        format="JPEG2000",
        quality_mode="rates",
        quality_layers=[ratio],
        irreversible=True,
        num_resolutions=6,
    )


@distortion(0.01, 0.05, 0.1, 0.2, 0.5, source=SOURCE, number=21)
def pixelate(image, strength, generator):
    """Nearest-neighbour reduction to .95 - strength^.6 of the size, and back."""
    height, width = image.shape[:2]
    scale = 0.95 - strength**0.6
    rows = max(1, int(height * scale))
    columns = max(1, int(width * scale))
    small = image[np.ix_(_nearest(rows, height), _nearest(columns, width))]
    return small[np.ix_(_nearest(height, rows), _nearest(width, columns))]


def _nearest(wanted, size):
    """The pixel of a row of `size` below the middle of each of `wanted` equal parts."""
    return ((np.arange(wanted) + 0.5) * size / wanted).astype(int)


@distortion(21, 17, 14, 11, 8, source=SOURCE, number=22)
def quantization(image, levels, generator):
    """R, G and B each cut into a rounded number of equal `levels`: one more than the generator's
    Otsu thresholds (20, 16, 13, 10, 7), which are taken as equally spaced.
    """
    classes = round(levels)
    return np.minimum(np.floor(image * classes), classes - 1) / (classes - 1)
