"""One image, with its companions, to the tensors that a model takes.

This is the only reader of a contract's geometry: resizing, interpolation, crops, a wider view, a
second image. Training, prediction, frozen crops, attention and scoring all go through it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Subset

from ..models import Contract, grids
from ..pixels import PixelCache, resize, sides

# of what may stand for an image: (crops, n), or (1, t, n), what fixed weights made of it
FROZEN = np.float16
COMPANIONS = ("pristine", "degraded")  # parts of a sample that are references
FLIPS = {  # chances: across, down, transposed
    "none": (0, 0, 0),
    "horizontal": (0.5, 0, 0),
    "vertical": (0, 0.7, 0),  # MANIQA's code, whose horizontal flip turns the rows round
    "all": (0.5, 0.5, 0.5),
}


class Place(NamedTuple):
    """Where an image is looked at: a crop's top left corner (no matter for whole images), and
    whether it is mirrored across, mirrored down and then transposed.
    """

    top: int = 0
    left: int = 0
    across: bool = False
    down: bool = False
    transposed: bool = False


def is_frozen(image) -> bool:
    """Whether what a fixed backbone made of an image's crops stands for it."""
    return getattr(image, "dtype", None) == FROZEN


# ---- sizes


def resizing(contract: Contract, part: str = "image") -> dict:
    """The keywords with which `pixels.PixelCache` keeps images as `views` wants them: nothing is
    left to be done to such an image but, where the contract takes it at native size, to enlarge it.
    """
    size = contract.resize
    if isinstance(size, int):
        size = max(size, _smallest(contract))
    enlarges = isinstance(size, tuple) and min(size) < _smallest(contract)
    at_least = _smallest(contract) if enlarges else 0
    return dict(resize=size, interpolation=_interpolation(contract, part), at_least=at_least)


def _smallest(contract):
    """The shorter side that an image must have, pixels."""
    return max(contract.crop or 0, contract.context or 0)


def _interpolation(contract, part):
    return contract.interpolation[1 if part in COMPANIONS else 0]


def shape_of(images: Sequence, i: int) -> tuple[int, int]:
    """Height and width of image i, pixels; of a cache without reading the image."""
    if isinstance(images, Subset):
        return shape_of(images.dataset, images.indices[i])
    if isinstance(images, PixelCache):
        return images.shape(i)
    return np.shape(images[i])[:2]


def resized_shape(height: int, width: int, contract: Contract) -> tuple[int, int]:
    """The height and width at which a model sees, or crops, an image of that size."""
    return sides(height, width, contract.resize, _smallest(contract))


def resized(image: np.ndarray, contract: Contract, part: str = "image") -> np.ndarray:
    """A uint8 image (h, w, 3) as the contract has it resized, and enlarged where a crop would not
    fit. ValueError as `pixels.resize`.
    """
    how = _interpolation(contract, part)
    return resize(image, contract.resize, how, at_least=_smallest(contract))


# ---- places


def grid(height: int, width: int, *, crop: int, crops: int | None) -> list[tuple[int, int]]:
    """Top-left corners of `crops` square crops: an even grid whose outer crops touch all four
    borders.

    One crop is the centre, placed as torchvision does. None: as few as cover the image. Otherwise
    rows and columns are the factors of `crops` nearest to the image's shape.
    ValueError if the image is smaller than the crop, or for crops that make no grid.
    """
    if min(height, width) < crop:
        raise ValueError(
            f"an image of {width}x{height} is smaller than the crop of {crop}; enlarge it "
            f"(pixels.resize(image, None, at_least={crop})) or use a smaller crop"
        )
    if crops is None:
        return _corners(height, width, crop, -(-height // crop), -(-width // crop))
    if crops < 1:
        raise ValueError(f"crops is {crops}; at least 1 is wanted")
    if crops == 1:
        return [(round((height - crop) / 2), round((width - crop) / 2))]
    shape = min(grids(crops), key=lambda rc: abs(np.log(rc[1] / rc[0] * height / width)))
    return _corners(height, width, crop, *shape)


def _corners(height, width, crop, rows, columns):
    tops = np.linspace(0, height - crop, rows).round().astype(int)
    lefts = np.linspace(0, width - crop, columns).round().astype(int)
    return [(int(top), int(left)) for top in tops for left in lefts]


def evaluation_places(
    height: int,
    width: int,
    contract: Contract,
    *,
    crops: int | None,
    seed: Sequence[int] | None = None,
) -> list[Place]:
    """Where a model looks at a resized image of that size in evaluation: the grid of `crops` crops,
    or as many places drawn with `seed`; a single one where it takes whole images.
    """
    if not contract.crop:
        return [Place()]
    corners = grid(height, width, crop=contract.crop, crops=crops)
    if seed is not None:
        ends = np.array([height, width]) - contract.crop + 1
        corners = np.random.default_rng(seed).integers(0, ends, (len(corners), 2)).tolist()
    return [Place(top, left) for top, left in corners]


def draw_place(
    height: int, width: int, contract: Contract, flips: str, generator: np.random.Generator
) -> Place:
    """Where a training looks at a resized image of that size: a random crop, or the whole image,
    flipped by the chances of `FLIPS`.
    """
    top = left = 0
    if contract.crop:
        ends = (height - contract.crop + 1, width - contract.crop + 1)
        top, left = generator.integers(0, ends).tolist()
    across, down, transposed = (generator.random(3) < FLIPS[flips]).tolist()
    return Place(top, left, across, down, transposed)


# ---- pixels


def views(parts: dict[str, np.ndarray], contract: Contract, places: Sequence[Place]) -> list:
    """What a model takes for one sample looked at in `places`: an array (k, ...) for each input.

    `parts`: name -> uint8 image (h, w, 3), all of one size, in the order of the model's inputs; the
    arrays are uint8 (k, s, s, 3), for whole images (1, h, w, 3). A contract's wider view is the
    centre of the first image and comes last. Frozen crops (crops, ...) in place of images give
    (k, ...), the crops whose numbers are the places' `top`.
    ValueError for other arrays than uint8 RGB, and for parts of different sizes.
    """
    first = next(iter(parts.values()))
    if is_frozen(first):
        picks = [place.top for place in places]
        return [np.asarray(crops)[picks] for crops in parts.values()]
    _check_images(parts)
    arrays = []
    for name, image in parts.items():
        pixels = resized(image, contract, name)
        arrays.append(_stacked([_look(pixels, contract.crop, place) for place in places]))
    if contract.context:
        pixels = resized(first, contract)
        ((top, left),) = grid(*pixels.shape[:2], crop=contract.context, crops=1)
        wide = [
            _look(pixels, contract.context, place._replace(top=top, left=left)) for place in places
        ]
        arrays.append(_stacked(wide))
    return arrays


def _stacked(looks):
    """(k, h, w, 3); a single one is not copied."""
    return looks[0][None] if len(looks) == 1 else np.stack(looks)


def _look(pixels, side, place):
    """The pixels of one place: a crop of that side, or for None the whole image."""
    if side is not None:
        pixels = pixels[place.top : place.top + side, place.left : place.left + side]
    pixels = pixels[:: -1 if place.down else 1, :: -1 if place.across else 1]
    if not (place.across or place.transposed):
        return pixels
    if place.transposed:
        pixels = pixels.swapaxes(0, 1)
    turned = np.empty(pixels.shape, np.uint8)
    for channel in range(3):  # 5 times faster than whole pixels turned round
        turned[..., channel] = pixels[..., channel]
    return turned


def _check_images(parts):
    for image in parts.values():
        right = isinstance(image, np.ndarray) and image.dtype == np.uint8
        if not right or image.ndim != 3 or image.shape[2] != 3:
            kind = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
            raise ValueError(
                f"images are uint8 RGB arrays (h, w, 3), not {kind}; pixels.read_image gives such"
            )
    (name, first), *others = parts.items()
    for other, image in others:
        if image.shape != first.shape:
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (image, first)]
            what = "a reference" if other in COMPANIONS else f"a {other}"
            raise ValueError(
                f"{what} of {sizes[0]} for an {name} of {sizes[1]}; they must be of one size"
            )


def evaluation_views(
    parts: dict[str, np.ndarray],
    contract: Contract,
    *,
    crops: int | None = None,
    seed: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """What a model takes for one sample in evaluation, as `views`: on the grid of `crops` crops (as
    few as cover the image for None), or at as many places drawn with `seed`; of frozen crops, all.
    """
    first = next(iter(parts.values()))
    if is_frozen(first):
        return [np.asarray(crops) for crops in parts.values()]
    _check_images(parts)
    shape = resized_shape(*first.shape[:2], contract)
    return views(parts, contract, evaluation_places(*shape, contract, crops=crops, seed=seed))


# ---- tensors


def batch(arrays: Sequence[np.ndarray]) -> torch.Tensor | list[torch.Tensor]:
    """One input's arrays (k, h, w, 3) of several samples -> a uint8 batch (n, 3, h, w), a view with
    its channels last in memory; a list of (3, h, w) where they differ in size. Frozen crops
    (k, n) -> (b, n); frozen images (1, t, n) -> (b, t, n), or a list of (t, n).
    """
    alike = len({array.shape[1:] for array in arrays}) == 1
    if is_frozen(arrays[0]):
        crops = [torch.from_numpy(np.array(array)) for array in arrays]
        return torch.cat(crops) if alike else [crop for some in crops for crop in some]
    if alike:
        return torch.from_numpy(np.concatenate(arrays)).permute(0, 3, 1, 2)
    images = [np.ascontiguousarray(image) for array in arrays for image in array]
    return [torch.from_numpy(image).permute(2, 0, 1) for image in images]


def floats(view, device, dtype):
    """A batch or list of uint8 images in [0, 1] on a device; frozen crops as they are."""
    if isinstance(view, list):
        return [floats(image, device, dtype) for image in view]
    found = view.to(device).to(dtype)
    return found.div_(255) if view.dtype == torch.uint8 else found
