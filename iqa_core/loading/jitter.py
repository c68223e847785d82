"""Colour jitter of whole batches: brightness, contrast, saturation, hue."""

import numpy as np
import torch

STRENGTH = (
    0.1,
    0.1,
    0.1,
    0.05,
)  # of brightness, contrast, saturation (parts), hue (turns): the SMART-IQA report's
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def draw_jitter(generator: np.random.Generator, number: int) -> tuple[list[int], torch.Tensor]:
    """The order (4,) of the changes, one for the batch, and every crop's own amounts (number, 4),
    within +-`STRENGTH`.
    """
    order = generator.permutation(4).tolist()
    return order, torch.from_numpy(generator.uniform(-1, 1, (number, 4)) * STRENGTH).float()


def jitter(pixels: torch.Tensor, order: list[int], amounts: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, h, w) in [0, 1] with brightness, contrast, saturation and hue changed, in
    `order`, by `amounts` (n, 4).

    To match torchvision's ColorJitter, which draws an order for every image and rounds to 8 bits
    after every change.
    """
    pixels = pixels.contiguous()  # planes, which change faster than pixels
    for change in order:
        pixels = CHANGES[change](pixels, amounts[:, change, None, None, None].to(pixels))
    return pixels


def _brighter(pixels, amount):
    return (pixels * (1 + amount)).clamp_(0, 1)


def _contrast(pixels, amount):
    return _away_from(_grey(pixels).mean((2, 3), keepdim=True), pixels, amount)


def _saturation(pixels, amount):
    return _away_from(_grey(pixels), pixels, amount)


def _away_from(centre, pixels, amount):
    return torch.addcmul(pixels, pixels - centre, amount).clamp_(0, 1)


def _grey(pixels):
    red, green, blue = pixels.split(1, 1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def _hue(pixels, turns):
    """Round the hexagon of hues, whose corners are 0 red, 1 yellow, 2 green ... 6 red; lowest value
    and chroma stay.
    """
    red, green, blue = pixels.split(1, 1)
    high, low = pixels.amax(1, keepdim=True), pixels.amin(1, keepdim=True)
    chroma = high - low
    scale = 1 / chroma.clamp(min=1e-6)
    hue = torch.where(
        high == green, (blue - red).mul_(scale).add_(2), (red - green).mul_(scale).add_(4)
    )
    hue = torch.where(high == red, (green - blue).mul_(scale), hue).add_(6 * turns).remainder_(6)
    parts = ((hue - 3).abs_().sub_(1), 2 - (hue - 2).abs_(), 2 - (hue - 4).abs_())
    return torch.cat([torch.addcmul(low, chroma, part.clamp_(0, 1)) for part in parts], 1)


CHANGES = (_brighter, _contrast, _saturation, _hue)
