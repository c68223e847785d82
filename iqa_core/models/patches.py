"""Images of any size as patches: resizing, cutting, what encodes a patch, and the cell of a table
that its place is hashed to. MUSIQ's input (Ke et al. 2021, arXiv 2108.05997) as its released code
has it; no model itself.
"""

from functools import lru_cache, partial

import numpy as np
import torch
from torch import nn

from .layers import Normalise, no_autocast
from .pyramid import fold_batch_norm, timm_model

PATCH = 32  # pixels

# ---- what encodes a patch


class StandardConv(nn.Conv2d):
    """A convolution without bias by filters brought to zero mean and unit deviation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        *,
        correction: int,
        stride: int = 1,
        padding: int = 0,
    ):
        super().__init__(inputs, outputs, side, stride=stride, padding=padding, bias=False)
        self.correction = correction  # of the deviation: 0 population, 1 sample
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")

    def forward(self, maps):
        std, mean = torch.std_mean(self.weight, (1, 2, 3), correction=self.correction, keepdim=True)
        return self._conv_forward(maps, (self.weight - mean) / (std + 1e-5), None)


class PatchResNet(nn.Module):
    """Patches (n, 3, 32, 32) -> maps (n, 64, 8, 8), with the block (n, 256, 8, 8)."""

    def __init__(self, correction: int, *, block: bool):
        super().__init__()
        self.root = StandardConv(3, 64, 7, stride=2, correction=correction)
        self.norm = nn.GroupNorm(32, 64, eps=1e-6)
        self.block = Bottleneck(64, 256, correction=correction) if block else nn.Identity()

    def forward(self, patches):
        # TensorFlow's SAME padding at an even size and stride 2 has more after than before. CPUs
        # pool 5 times faster with channels last, and group norms are 6 times faster without.
        maps = self.norm(self.root(nn.functional.pad(patches, (2, 3, 2, 3)))).relu()
        maps = maps.contiguous(memory_format=torch.channels_last)
        return self.block(nn.functional.max_pool2d(maps, 3, 2, ceil_mode=True).contiguous())


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3, 1x1 beside a projection; the last norm starts at zero, so the block
    starts as its projection.
    """

    def __init__(self, inputs: int, outputs: int, *, correction: int):
        super().__init__()
        inner = outputs // 4
        self.conv1 = StandardConv(inputs, inner, 1, correction=correction)
        self.conv2 = StandardConv(inner, inner, 3, padding=1, correction=correction)
        self.conv3 = StandardConv(inner, outputs, 1, correction=correction)
        self.conv_proj = StandardConv(inputs, outputs, 1, correction=correction)
        self.gn1, self.gn2 = nn.GroupNorm(32, inner, eps=1e-4), nn.GroupNorm(32, inner, eps=1e-4)
        self.gn3, self.gn_proj = (
            nn.GroupNorm(32, outputs, eps=1e-4),
            nn.GroupNorm(32, outputs, eps=1e-4),
        )
        nn.init.zeros_(self.gn3.weight)

    def forward(self, maps):
        inner = self.gn1(self.conv1(maps)).relu()
        inner = self.gn2(self.conv2(inner)).relu()
        return (self.gn3(self.conv3(inner)) + self.gn_proj(self.conv_proj(maps))).relu()


class PatchPyramid(nn.Module):
    """Patches (n, 3, 32, 32) in [-1, 1] -> a timm pyramid's map at stride 8 (n, c, 4, 4); its
    weights do not learn, and its batch norms are folded into the convolutions before them.
    """

    def __init__(self, backbone: str, *, pretrained: bool):
        super().__init__()
        options = {
            "features_only": True,
            "feature_cls": "getter",
            "out_indices": (-3,),
        }  # no later stages
        self.body = timm_model(backbone, pretrained=pretrained, **options).eval()
        self.normalise = Normalise(self.body.default_cfg)
        if self.body.feature_info.reduction() != [8]:
            raise ValueError(
                f"{backbone} has no stage of stride 8 before its last two; choose another "
                f"patch_encoder"
            )
        fold_batch_norm(self.body)
        self.body.requires_grad_(False)

    def train(self, mode: bool = True):
        """Stays in evaluation: nothing in it learns."""
        return super().train(False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        # CPUs encode twice as many patches a second with channels last.
        patches = patches.contiguous(memory_format=torch.channels_last)
        try:
            return self.body(self.normalise(patches / 2 + 0.5))[0]
        except AssertionError as error:
            raise ValueError(
                f"no patches of {PATCH}x{PATCH} for this backbone: {error}; choose a convolutional "
                f"one"
            ) from error


CONVOLUTIONS = {
    "conv": partial(PatchResNet, block=False),
    "resnet": partial(PatchResNet, block=True),
}
OWN_ENCODERS = {"linear": lambda correction: nn.Identity()} | CONVOLUTIONS


# ---- sizes


def target_size(
    height: int, width: int, longer: int, precision: type = np.float32
) -> tuple[int, int]:
    """(height, width) with that longer side and the shape kept, halves to even; in float32, as
    TensorFlow has it, or 64.
    """
    ratio = precision(longer) / precision(max(height, width))
    return tuple(max(1, int(np.rint(precision(side) * ratio))) for side in (height, width))


def gaussian_resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(b, c, h, w) to (height, width) as TensorFlow's GAUSSIAN without antialiasing, in float32."""
    pairs = zip(images.shape[2:], size, strict=True)
    rows, columns = (
        torch.from_numpy(gaussian_weights(old, new)).to(images.device) for old, new in pairs
    )
    with no_autocast(images):
        return rows @ images.float() @ columns.T


@lru_cache(maxsize=16)
def gaussian_weights(old: int, new: int) -> np.ndarray:
    """Weights (new, old) of the old pixels in each new one: deviation .5 and radius 1.5 old pixels,
    rows of sum 1.

    In float64. TensorFlow's float32 tips some pixels at exactly 1.5 inwards, which there get a
    weight of .009 (512 -> 224, not 512 -> 384); scores of order 1 then move by less than 1e-4.
    """
    centres = (np.arange(new) + 0.5) * (old / new)
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None])
    weights = np.where(distance < 1.5, np.exp(-2 * distance**2), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def bicubic_resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(b, c, h, w) to (height, width) as the PyTorch port has it: bicubic, without antialiasing."""
    return nn.functional.interpolate(images, size, mode="bicubic")


# ---- patches and their places


def cut_patches(images: torch.Tensor) -> torch.Tensor:
    """(b, 3, h, w) in [-1, 1] -> (b, rows, columns, 3, 32, 32); sides are filled up with mid-grey,
    the smaller half before.
    """
    counts = [-(-side // PATCH) for side in images.shape[2:]]
    missing = [n * PATCH - side for n, side in zip(counts, images.shape[2:], strict=True)]
    (top, left), (bottom, right) = [m // 2 for m in missing], [m - m // 2 for m in missing]
    padded = nn.functional.pad(images, (left, right, top, bottom))
    return (
        padded.unflatten(3, (counts[1], PATCH))
        .unflatten(2, (counts[0], PATCH))
        .permute(0, 2, 4, 1, 3, 5)
    )


def hash_place(place: torch.Tensor, count: torch.Tensor, grid: int, rule: str) -> torch.Tensor:
    """The cell 0 .. grid - 1 (n,) of row, or column, `place` (n,) of `count` (n,), in float32 as
    the released code; with rule bilinear a place between cells.
    """
    cells = (grid / count.double()).float()  # of the table, a row or column
    share = place.float() * cells
    if rule == "floor":
        return share.long().clamp(max=grid - 1)
    if rule == "round":
        return share.round().long().clamp(max=grid - 1)
    if rule == "half_pixel":
        return (2 * place + 1) * grid // (2 * count)
    return ((place.float() + 0.5) * cells - 0.5).clamp(0, grid - 1)


def hashed(table, down, across, grid: int, rule: str) -> torch.Tensor:
    """Embeddings (n, width) out of a table (grid * grid, width) for patches in row and column
    `down`, `across`, each (place, count) of (n,).
    """
    down, across = (hash_place(*places, grid, rule) for places in (down, across))
    if rule != "bilinear":
        return table[down * grid + across]
    found = 0
    for rows, row_share in _neighbours(down, grid):
        for columns, share in _neighbours(across, grid):
            found = found + table[rows * grid + columns] * (row_share * share)[:, None]
    return found


def _neighbours(places, grid):
    """The two cells that a place lies between, and how much of each there is."""
    low = places.floor()
    share = places - low
    return (low.long(), 1 - share), ((low.long() + 1).clamp(max=grid - 1), share)
