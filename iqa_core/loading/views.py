"""One image to the tensors that a model takes: the only reader of a contract's geometry."""

import numpy as np
import torch

from ..pixels import resize

FEATURES = np.float16  # what images are not: features of crops, (crops, n), may stand for them


def grid(height: int, width: int, *, crop: int, crops: int | None) -> list[tuple[int, int]]:
    """Top-left corners of `crops` square crops: an even grid whose outer crops touch all four
    borders.

    One crop is the centre, placed as torchvision does. None: as few as cover the image. Otherwise
    rows and columns are the factors of `crops` nearest to the image's shape. ValueError if the
    image is smaller than the crop."""
    check_size(height, width, crop)
    if crops is None:
        return _corners(height, width, crop, -(-height // crop), -(-width // crop))
    if crops < 1:
        raise ValueError(f"crops is {crops}; at least 1 is wanted")
    if crops == 1:
        return [(round((height - crop) / 2), round((width - crop) / 2))]
    shapes = [(r, crops // r) for r in range(2, crops // 2 + 1) if crops % r == 0]
    if not shapes:
        raise ValueError(
            f"{crops} crops make no grid that reaches all borders; use 1, 4, 6, 9, 12, 16, 20 or 25"
        )
    return _corners(
        height, width, crop, *min(shapes, key=lambda s: abs(np.log(s[1] / s[0] * height / width)))
    )


def _corners(height, width, crop, rows, columns):
    tops = np.linspace(0, height - crop, rows).round().astype(int)
    lefts = np.linspace(0, width - crop, columns).round().astype(int)
    return [(int(t), int(left)) for t in tops for left in lefts]


def check_size(height, width, crop):
    if min(height, width) < crop:
        raise ValueError(
            f"an image of {width}x{height} is smaller than the crop of {crop}; enlarge it "
            f"(pixels.resize(image, None, "
            f"at_least={crop})) or use a smaller crop"
        )


def inputs(image, reference, contract, crops, seed=None):
    """What the model takes for one image: uint8 batches (k, 3, h, w), one or two of them, of k
    crops; features as they are.
    """
    if getattr(image, "dtype", None) == FEATURES:
        return [torch.from_numpy(np.array(image))]
    for pixels in (image, image if reference is None else reference):
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.ndim != 3
            or pixels.shape[2] != 3
        ):
            what = (
                f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}"
            )
            raise ValueError(
                f"images are uint8 RGB arrays (h, w, 3), not {what}; pixels.read_image gives such"
            )
    if reference is not None and reference.shape != image.shape:
        sizes = [f"{part.shape[1]}x{part.shape[0]}" for part in (reference, image)]
        raise ValueError(
            f"a reference of {sizes[0]} for an image of {sizes[1]}; they must be of one size"
        )
    first, second = contract.interpolation
    smallest = max(contract.crop or 0, contract.context or 0)
    pixels = resize(image, contract.resize, first, at_least=smallest)
    corners = grid(*pixels.shape[:2], crop=contract.crop, crops=crops) if contract.crop else None
    if corners and seed:
        ends = np.array(pixels.shape[:2]) - contract.crop + 1
        corners = np.random.default_rng(seed).integers(0, ends, (crops or len(corners), 2)).tolist()
    views = [_crops(pixels, contract.crop, corners)]
    if contract.reference:
        views.append(
            _crops(
                resize(reference, contract.resize, second, at_least=smallest),
                contract.crop,
                corners,
            )
        )
    if contract.context:
        wide = grid(*pixels.shape[:2], crop=contract.context, crops=1)
        views.append(_crops(pixels, contract.context, wide).expand(len(views[0]), -1, -1, -1))
    return views


def _crops(image, crop, corners):
    patches = (
        [image]
        if corners is None
        else [image[t : t + crop, left : left + crop] for t, left in corners]
    )
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)


def batch_of(parts):
    """One batch; a list of images where they differ in size."""
    return (
        torch.cat(parts)
        if len({part.shape[2:] for part in parts}) == 1
        else [part[0] for part in parts]
    )


def floats(view, device, dtype):
    """A batch or list of uint8 images in [0, 1]; a batch of features as it is."""
    if isinstance(view, list):
        return [floats(image, device, dtype) for image in view]
    return view.to(device).to(dtype) / (255 if view.dtype == torch.uint8 else 1)
