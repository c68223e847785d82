"""One distortion at two levels in one image, subject and background, as MIQD-2.5M joins them (arXiv
2508.19850).
"""

import numpy as np
from PIL import Image
from scipy import ndimage, signal

# (subject level, background level, region): uniform, subject-dominated, background-dominated
INTENSITIES = (
    *((level, level, "UD") for level in range(1, 6)),
    *((high, low, "ROI-DD") for low in range(1, 5) for high in range(low + 1, 6)),
    *((low, high, "BG-DD") for low in range(1, 5) for high in range(low + 1, 6)),
)


def region(level: float, background_level: float) -> str:
    """MIQD-2.5M's name for a pair of levels: UD (equal), ROI-DD (the subject suffers more) or
    BG-DD.
    """
    return "UD" if level == background_level else "ROI-DD" if level > background_level else "BG-DD"


def fuse(subject: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`subject` where `mask` (h, w) is not 0, `background` elsewhere, with a soft seam; uint8
    images of one shape.

    As published: the mask is blurred by a Gaussian over 65 pixels (radius 32, sigma 10.1), and 1
    where two erosions by 3 x 3 leave it set; where the weight lies between .05 and .95 the result
    is averaged with its own 3 x 3 Gaussian blur (sigma .8); values are cut to whole numbers. More
    than 32 pixels from the mask only the background is left.
    """
    mask = np.asarray(mask) != 0
    weight = ndimage.gaussian_filter(mask.astype(float), 10.1, radius=32, mode="mirror")
    weight[ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=2, border_value=1)] = 1
    weight = np.clip(weight, 0, 1).reshape(mask.shape + (1,) * (subject.ndim - 2))
    result = subject * weight + background * (1 - weight)
    smooth = ndimage.gaussian_filter(result, 0.8, radius=1, mode="mirror", axes=(0, 1))
    result = np.where((weight > 0.05) & (weight < 0.95), (result + smooth) / 2, result)
    return np.floor(result + 1e-9).astype(np.uint8)


def saliency_mask(image: np.ndarray) -> np.ndarray:
    """Where a uint8 image (h, w, 3) or (h, w) draws the eye: bool (h, w), by spectral residual (Hou
    and Zhang 2007, 10.1109/CVPR.2007.383267). A flat image has none: all False.

    Grey, 64 pixels on the longer side; the log amplitude less its 3 x 3 mean; back with the phase,
    squared and smoothed. Ours: the border is tapered first, since the step from one border to the
    other draws the transform's eye; smoothing is a Gaussian of 4 pixels and the threshold 1.5 times
    the mean (there 3), for whole subjects instead of their spots. MIQD-2.5M's own masks were made
    outside its generator by another method.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    small = max(1, round(64 * width / longer)), max(1, round(64 * height / longer))
    grey = np.asarray(
        Image.fromarray(image.squeeze()).convert("L").resize(small, Image.Resampling.BOX), float
    )
    if np.ptp(grey) == 0:
        return np.zeros((height, width), bool)
    taper = np.outer(*(signal.windows.tukey(side + 2, 0.4)[1:-1] for side in grey.shape))
    spectrum = np.fft.fft2((grey - grey.mean()) * taper)
    amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = amplitude - ndimage.uniform_filter(amplitude, 3, mode="wrap")
    saliency = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    saliency = ndimage.gaussian_filter(saliency, 4, mode="constant")
    large = Image.fromarray(saliency.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(large) > 1.5 * saliency.mean()
