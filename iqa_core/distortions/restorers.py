"""Degradations of small photographs, and restorers that try to undo them: none is a neural one.

All take and give uint8 RGB images (h, w, 3). A restorer does not know what was done to an image;
its parameters, strengths that fit a degradation, are given.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import restoration

DEGRADATIONS = {  # name: what is done, and how much
    "down2": ("down", 2),  # times smaller, shown enlarged by nearest neighbour
    "down4": ("down", 4),
    "blur1": ("blur", 1.2),  # deviation, pixels
    "blur2": ("blur", 2.2),
    "noise1": ("noise", 10),  # deviation, of 255
    "noise2": ("noise", 25),
    "jpeg1": ("jpeg", 30),  # Pillow's quality
    "jpeg2": ("jpeg", 12),
}


def degraded(image: np.ndarray, name: str) -> np.ndarray:
    """An image after a degradation of `DEGRADATIONS`; KeyError for another name, ValueError where
    its sides do not divide by how much smaller it shall be.
    """
    if name not in DEGRADATIONS:
        raise KeyError(f"no degradation {name!r}; there are {', '.join(DEGRADATIONS)}")
    kind, amount = DEGRADATIONS[name]
    if kind == "down":
        height, width = image.shape[:2]
        if height % amount or width % amount:
            raise ValueError(f"{width}x{height} does not divide by {amount}; crop the image")
        small = Image.fromarray(image).resize((width // amount, height // amount), Image.LANCZOS)
        return np.asarray(small).repeat(amount, 0).repeat(amount, 1)
    if kind == "blur":
        return _uint8(gaussian_filter(image.astype(float), (amount, amount, 0)) / 255)
    if kind == "noise":
        noise = np.random.default_rng(0).normal(0, amount, image.shape)
        return _uint8((image + noise) / 255)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=amount)
    return np.asarray(Image.open(file))


def enlarged(image: np.ndarray, degradation: str, how: int) -> np.ndarray:
    """What Pillow's filter `how` makes of the small image that a `down` degradation left, at the
    size of the whole; other images as they are.
    """
    kind, amount = DEGRADATIONS[degradation]
    if kind != "down":
        return image
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image[::amount, ::amount]).resize((width, height), how))


# ---- restorers: images to images


def nlm(image: np.ndarray, *, strength: float) -> np.ndarray:
    """Non-local means (Buades et al. 2005, 10.1109/CVPR.2005.38); `strength` of 0 to 1."""
    means = restoration.denoise_nl_means(
        image / 255, patch_size=5, patch_distance=4, h=strength, channel_axis=-1
    )
    return _uint8(means)


def bilateral(image: np.ndarray, *, colour: float, reach: float) -> np.ndarray:
    """Bilateral filter (Tomasi, Manduchi 1998, 10.1109/ICCV.1998.710815); deviations of colour, 0
    to 1, and of places, pixels.
    """
    smooth = restoration.denoise_bilateral(
        image / 255, win_size=5, sigma_color=colour, sigma_spatial=reach, channel_axis=-1
    )
    return _uint8(smooth)


def tv(image: np.ndarray, *, weight: float) -> np.ndarray:
    """Total variation (Chambolle 2004, 10.1023/B:JMIV.0000011325.36760.1e), 40 iterations."""
    smooth = restoration.denoise_tv_chambolle(
        image / 255, weight=weight, max_num_iter=40, channel_axis=-1
    )
    return _uint8(smooth)


def wiener(image: np.ndarray, *, sigma: float, balance: float) -> np.ndarray:
    """Wiener's deconvolution of a Gaussian of `sigma` pixels; `balance` of smoothness."""
    return _by_channel(
        image, lambda channel: restoration.wiener(channel, _gaussian(sigma), balance)
    )


def richardson_lucy(image: np.ndarray, *, sigma: float, iterations: int) -> np.ndarray:
    """Richardson and Lucy's deconvolution (1972, 10.1364/JOSA.62.000055) of a Gaussian of `sigma`
    pixels.
    """
    return _by_channel(
        image,
        lambda channel: restoration.richardson_lucy(
            channel, _gaussian(sigma), num_iter=iterations, filter_epsilon=1e-3
        ),
    )


def unsharp(image: np.ndarray, *, radius: float, amount: float) -> np.ndarray:
    """Unsharp mask: `amount` times what a Gaussian of `radius` pixels takes away is added."""
    whole = image / 255
    return _uint8(whole + amount * (whole - gaussian_filter(whole, (radius, radius, 0))))


RESTORERS: dict[str, Callable] = {
    function.__name__: function
    for function in (nlm, bilateral, tv, wiener, richardson_lucy, unsharp)
}
ENLARGERS = {"bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def restorers_of(degradation: str) -> list[str]:
    """The names of what is made of a degradation: the input untouched, where it was made smaller
    two enlargements, and all restorers, which then start from the bicubic one.
    """
    enlargers = ENLARGERS if DEGRADATIONS[degradation][0] == "down" else {}
    return ["untouched", *enlargers, *RESTORERS]


def restored(
    image: np.ndarray, restorer: str, degradation: str, parameters: dict[str, float]
) -> np.ndarray:
    """What a restorer makes of a degraded image; KeyError for a restorer that there is not."""
    known = restorers_of(degradation)
    if restorer not in known:
        raise KeyError(f"{degradation} has no restorer {restorer!r}; it has {', '.join(known)}")
    if restorer == "untouched":
        return image
    start = enlarged(image, degradation, ENLARGERS.get(restorer, Image.BICUBIC))
    return start if restorer in ENLARGERS else RESTORERS[restorer](start, **parameters)


def _gaussian(sigma):
    places = np.arange(-7, 8)
    line = np.exp(-0.5 * (places / sigma) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def _by_channel(image, work):
    """A function of one channel (h, w) in 0..1 on all three; borders are mirrored, so that they do
    not ring.
    """
    wide = np.pad(image / 255, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    channels = [work(wide[..., channel])[8:-8, 8:-8] for channel in range(3)]
    return _uint8(np.stack(channels, axis=-1))


def _uint8(values):
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
