"""MUSIQ: patches of the whole image, at its own size and at smaller ones, read by one transformer.

Ke, Wang, Wang, Milanfar, Yang, "MUSIQ: Multi-scale Image Quality Transformer", ICCV 2021, arXiv
2108.05997; code github.com/google-research/google-research, folder musiq (Apache-2.0, inference
only). Where paper and code differ the code is followed, as its weights are: hashed positions are
floored (the paper rounds), the native scale comes last, as id 2 (the paper: first, as 0), the
"simple conv" patch encoder is a convolution and a max-pool (the paper: two convolutions).

`convention="pyiqa"` computes what the PyTorch port in pyiqa does with the same weights: bicubic
instead of Gaussian resizing, exact instead of tanh GELU, sample instead of population deviation of
the filters; its scores differ by about 2 %.
"""

import logging
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from . import VOTES, Contract, Objective, mean_vote
from .arguments import Chance, PositiveInt, PyramidName
from .layers import Attention, no_autocast
from .patches import (
    OWN_ENCODERS,
    PATCH,
    PatchPyramid,
    bicubic_resize,
    cut_patches,
    gaussian_resize,
    hashed,
    target_size,
)

log = logging.getLogger(__name__)

PLACES = 5  # numbers that tell the place of a frozen token
CHUNK = 256  # patches encoded at a time: about 70 MB of maps; a 1920x1080 image has 2152
FULL_SIZE = ("resnet", 10, 384, 14, 6, 1152)  # patch encoder, grid, width, depth, heads, mlp
VARIANTS = {"MUSIQ": {}, "MUSIQ (10 bins)": {"bins": 10}, "MUSIQ-single": {"scales": []}}
REPORTED = (
    "KonIQ-10k .916 / .928, SPAQ .917 / .921, PaQ-2-PiQ .646 / .739, AVA .726 / .738, means of 10 "
    "runs (the paper)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "decodes by TensorFlow: orientation is ignored, grey files and alpha break it; the scales are "
    "as here. Training cuts native patches to the first 512 in reading order: of 4000 x 3000 "
    "pixels 4 %, the top."
)
UNUSED = ()
FROZEN_CROPS = {  # patch encoders that do not learn
    "patch_encoder": [
        "tf_efficientnet_lite0",
        "tf_efficientnet_lite1",
        "tf_efficientnet_lite2",
        "linear",
    ]
}
TEST_KWARGS = [
    {"scales": [64, 96], "patch_encoder": "conv", "width": 64, "depth": 2, "heads": 2, "mlp": 96},
    {"scales": [], "width": 32, "depth": 1, "heads": 2, "mlp": 48},
    {
        "patch_encoder": "tf_efficientnet_lite0",
        "scales": [64],
        "bins": 10,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "mlp": 48,
    },
]
TEST_SWITCHES = {
    "convention": {"convention": "pyiqa"},
    "bins": {"bins": 10},
    "scales": {"scales": [64]},
    "native": {"native": False},
    "square": {"square": True, "native": False},
    "positions": {"positions": "sequence"},
    "hashing": {"hashing": "half_pixel"},
    "scale_embedding": {"scale_embedding": False},
    "patch_encoder": {"patch_encoder": "linear"},
    "grid": {"grid": 5},
    "width": {"width": 32},
    "depth": {"depth": 1},
    "heads": {"heads": 4},
    "mlp": {"mlp": 64},
    "drop_path": {"drop_path": 0.9},
    "max_seq_len": {"max_seq_len": 4},
}
PUBLISHED = (  # published state-dict key -> ours
    (r"^conv_root\.", "patches.root."),
    (r"^gn_root\.", "patches.norm."),
    (r"^block1\.", "patches.block."),
    (r"^embedding\.", "embed."),
    (r"^transformer_encoder\.cls$", "cls"),
    (r"^transformer_encoder\.posembed_input\.position_emb$", "positions"),
    (r"^transformer_encoder\.scaleembed_input\.scale_emb$", "scales"),
    (r"^transformer_encoder\.transformer\.encoderblock_(\d+)\.(mlp\.)?", r"blocks.\1."),
    (r"^transformer_encoder\.encoder_norm\.", "norm."),
    (r"^head\.0\.", "head."),  # 10 bins
)


def build(
    convention: Literal["official", "pyiqa"] = "official",
    bins: PositiveInt = 1,
    *,
    scales: Sequence[PositiveInt] = (224, 384),
    native: bool = True,
    square: bool = False,
    patch_encoder: Literal["linear", "conv", "resnet"] | PyramidName = "resnet",
    positions: Literal["hashed", "sequence", "none"] = "hashed",
    grid: PositiveInt = 10,
    hashing: Literal["floor", "round", "half_pixel", "bilinear"] = "floor",
    scale_embedding: bool = True,
    width: PositiveInt = 384,
    depth: PositiveInt = 14,
    heads: PositiveInt = 6,
    mlp: PositiveInt = 1152,
    drop_path: Chance = 0.0,
    max_seq_len: PositiveInt = 512,
    pretrained: bool = True,
) -> nn.Module:
    """MUSIQ; as published 27,125,825 parameters, MUSIQ-single (`scales=()`) 27,125,057, with 10
    bins 27,129,290.

    `bins`: 1, a score; or more, probabilities of the labels 1 to `bins`, whose mean is the score
    (AVA: 10). `scales`: longer sides, pixels, to which the image is resized, its shape kept;
    `native`: it is also read as it is. `square`: resized to squares instead, the control of the
    paper's table 5. `patch_encoder`: linear (21,929,473 parameters), conv (22,332,225), resnet, or
    a timm pyramid's name, whose stages down to stride 8 then encode patches and do not learn.
    `positions`: hashed to a table that all sizes share; a table by the number of a patch in its
    scale, the last one for all that follow (the paper's fixed-length embedding, table 7); or none.
    `grid`: cells a side of the hashed positions. `hashing`: how the cell of patch i of n is found:
    the floor of i grid / n, as released; the nearest integer to it, the paper's words; the floor of
    (i + .5) grid / n; or the table is interpolated there. `scale_embedding`: whether tokens tell
    their scale (table 8). `drop_path`: chance to skip either half of the last layer in training,
    rising linearly from 0 at the first one (the published rate is not known). `max_seq_len`:
    training reads that many native patches, row by row, as published: it sees the upper two thirds
    of a 1024x768 image, evaluation all of it. `pretrained`: the published size, without its head,
    starts from the official ImageNet weights, a file that the user has fetched (embeddings of other
    scales or positions than the published start anew), a timm pyramid from its own. ValueError for
    others.
    """
    full = (patch_encoder, grid, width, depth, heads, mlp) == FULL_SIZE
    if convention not in CONVENTIONS:
        raise ValueError(f"convention is {convention!r}; there are {', '.join(CONVENTIONS)}")
    if square and native:
        raise ValueError("a native scale is not square: with square=True give native=False")
    if not (scales or native):
        raise ValueError("no scale to read: give `scales`, or native=True")
    if width % heads:
        raise ValueError(
            f"a width of {width} does not divide into {heads} heads; choose a multiple"
        )
    if pretrained and patch_encoder in OWN_ENCODERS and not full:
        raise ValueError(
            "only MUSIQ at its published size and with a timm pyramid has ImageNet weights; say "
            "pretrained=False"
        )
    resize, precision, gelu, correction = CONVENTIONS[convention]
    if patch_encoder in OWN_ENCODERS:
        patches = OWN_ENCODERS[patch_encoder](correction)
    else:
        patches = PatchPyramid(patch_encoder, pretrained=pretrained)
    rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
    blocks = [Block(width, heads, mlp, gelu=gelu, drop_path=rate) for rate in rates]
    sides = (*sorted(scales), *[None] * native)
    model = MUSIQ(
        patches,
        blocks,
        bins,
        width,
        sides=sides,
        square=square,
        resize=resize,
        precision=precision,
        positions=positions,
        grid=grid,
        hashing=hashing,
        scale_embedding=scale_embedding,
        max_seq_len=max_seq_len,
    )
    if pretrained and full:
        _load_trunk(model)
    return model


class MUSIQ(nn.Module):
    """Images of any size, in a batch (b, 3, h, w) or a list of (3, h, w), in [0, 1]; or their
    `frozen_features`, a batch (b, n, f) or a list of (n, f).
    """

    def __init__(
        self,
        patches,
        blocks,
        bins,
        width,
        *,
        sides,
        square,
        resize,
        precision,
        positions,
        grid,
        hashing,
        scale_embedding,
        max_seq_len,
    ):
        super().__init__()
        scores = {"low": 1.0, "high": float(bins)} if bins > 1 else {}
        self.objective = replace(
            VOTES if bins > 1 else Objective(), length=length, backbone=("patches",)
        )
        self.contract = Contract("arXiv 2108.05997: whole images, one pass", crop=None, **scores)
        self.sides, self.square, self.resize, self.size_precision = sides, square, resize, precision
        self.max_seq_len, self.grid, self.hashing = max_seq_len, grid, hashing
        self.patches = patches
        self.embed = nn.Linear(patches(torch.zeros(1, 3, PATCH, PATCH)).numel(), width)
        self.places = positions
        # Of a sequence table: the first row of each scale's part, and how many it has.
        self.lengths = [max_seq_len if side is None else (-(-side // PATCH)) ** 2 for side in sides]
        number = {"hashed": grid * grid, "sequence": sum(self.lengths), "none": 0}[positions]
        self.positions = nn.Parameter(0.02 * torch.randn(1, number, width)) if number else None
        scales = 0.02 * torch.randn(len(sides), width)
        self.scales = nn.Parameter(scales) if scale_embedding else None
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, bins)
        # flax's default, but not truncated
        nn.init.kaiming_normal_(self.embed.weight, nonlinearity="linear")
        for tensor in (self.embed.bias, self.head.weight, self.head.bias):
            nn.init.zeros_(tensor)

    def forward(self, images: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        """Images -> scores (b,)."""
        return self.judged(self.features(images))

    def distribution(self, images: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        """Images -> probabilities (b, bins) of the labels 1 to `bins`; ValueError for a model with
        one output.
        """
        if self.head.out_features == 1:
            raise ValueError("this MUSIQ predicts a score, no distribution; build it with bins=10")
        return self._head(self.features(images)).softmax(1)

    def judged(self, features: torch.Tensor) -> torch.Tensor:
        """What the head makes of features (b, width): scores (b,)."""
        outputs = self._head(features)
        if self.head.out_features == 1:
            return outputs[:, 0]
        with no_autocast(outputs):
            return mean_vote(outputs.softmax(1))

    def _head(self, features):
        with no_autocast(features):  # bfloat16 has 8 bits: a score of 60 would move by 0.25
            return self.head(features.to(self.head.weight.dtype))

    def features(self, images: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        """Images -> what the head reads (b, width)."""
        positions, groups = _groups(images, self.embed.in_features + PLACES)
        tokens = [self.tokens(group)[0] for group in groups]
        if self.training:
            read = self.read(tokens)
        else:  # shorter ones are not filled up, and nothing is masked
            read = torch.cat([self.read([group]) for group in tokens])
        return read[torch.cat(positions).argsort().to(read.device)]

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """What encodes patches, where that does not learn; else None."""
        learns = any(parameter.requires_grad for parameter in self.patches.parameters())
        return None if learns else self.patches

    @property
    def frozen_settings(self) -> list:
        """What the tokens of an image hang on beside its pixels and the encoder's weights."""
        return [list(self.sides), self.square, self.resize.__name__]

    @torch.no_grad()
    def frozen_features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (b, 3, h, w) in [0, 1] -> (b, n, f + 5): their patches of all scales, encoded,
        each with its scale, row, number of rows, column and number of columns. ValueError for a
        patch encoder that learns.
        """
        if self.frozen_trunk is None:
            raise ValueError(
                "the patch encoder of this MUSIQ learns, so its tokens change; build it with "
                "patch_encoder='linear' or a timm pyramid"
            )
        patches, places = self._cut(images)
        flat = patches.flatten(0, 1)
        encoded = torch.cat([self._encoded(some) for some in flat.split(CHUNK)])
        encoded = encoded.unflatten(0, patches.shape[:2])
        return torch.cat([encoded, places.to(encoded).expand(len(images), -1, -1)], 2)

    @torch.no_grad()
    def attention(
        self, images: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[tuple[int, int, int]]]:
        """Images of one size -> every layer's attention weights (b, heads, n, n), and every scale's
        (id, rows, columns).

        Token 0 is the one that is scored, then come all patches, row by row, scale after scale: its
        attention to the first scale is `maps[-1][:, :, 0, 1 : 1 + rows * columns].unflatten(-1,
        (rows, columns))`. 1024x768 pixels take 280 MB.
        """
        maps = []
        return maps, self._attention_into(maps, images)

    def _attention_into(self, maps, images):
        """Appends every layer's attention to `maps`; returns the scales, as `attention`."""
        training = self.training
        self.eval()  # all patches, and no layer skipped
        try:
            tokens, places = self.tokens(_one_size(images))
            self.read([tokens], maps)
        finally:
            self.train(training)
        layout = places[:, [0, 2, 4]].unique(dim=0)
        return [tuple(scale) for scale in layout.int().tolist()]

    @torch.no_grad()
    def scale_maps(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Attention of the scored token in the last layer, mean over heads, of each scale by name
        (native, or its longer side): (b, rows, columns), of sum 1 within the scale.
        """
        last = deque(maxlen=1)  # a layer's maps alone: for 12 megapixels 3 GB
        layout = self._attention_into(last, images)
        weights, start, found = last[0][:, :, 0].mean(1), 1, {}
        for number, rows, columns in layout:
            of_scale = weights[:, start : start + rows * columns]
            of_scale = of_scale / of_scale.sum(1, keepdim=True)
            side = self.sides[number]
            found["native" if side is None else str(side)] = of_scale.unflatten(1, (rows, columns))
            start += rows * columns
        return found

    @property
    def hash_embedding(self) -> torch.Tensor:
        """The embedding (grid * grid, width) of the cells, row by row, to which patches of any
        image are hashed; ValueError for a model of other positions.
        """
        if self.places != "hashed":
            raise ValueError(f"this MUSIQ has {self.places} positions, which are not hashed")
        return self.positions[0]

    def size_of(self, side: int | None, height: int, width: int) -> tuple[int, int]:
        """The height and width at which a scale reads an image of that size."""
        if side is None:
            return height, width
        return (
            (side, side) if self.square else target_size(height, width, side, self.size_precision)
        )

    def tokens(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (b, 3, h, w), or frozen ones (b, n, f) of one layout -> embedded patches (b, n,
        width) of all scales, and their places (n, 5): scale, row, number of rows, column, number
        of columns.
        """
        if images.ndim == 4:
            patches, places = self._cut(images)
        else:
            patches, places = images[..., :-PLACES], images[0, :, -PLACES:].cpu()
        if self.training and self.sides[-1] is None:
            native = places[:, 0] == len(self.sides) - 1
            kept = ~native | (native.cumsum(0) <= self.max_seq_len)
            patches, places = patches[:, kept], places[kept]
        flat = patches.flatten(0, 1)
        encode = self._encoded if images.ndim == 4 else nn.Identity()
        embedded = torch.cat([self.embed(encode(some)) for some in flat.split(CHUNK)])
        places = places.to(images.device)
        return embedded.unflatten(0, patches.shape[:2]) + self._embedding(places), places

    def _cut(self, images):
        """Images (b, 3, h, w) -> patches (b, n, 3, 32, 32) of all scales, and on the CPU their
        places (n, 5), as `tokens` tells them.
        """
        images, parts, places = images * 2 - 1, [], []
        for number, side in enumerate(self.sides):
            size = self.size_of(side, *images.shape[2:])
            cut = cut_patches(images if side is None else self.resize(images, size))
            rows, columns = cut.shape[1:3]
            row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            place = [torch.full_like(row, number), row, torch.full_like(row, rows)]
            place += [column, torch.full_like(row, columns)]
            places.append(torch.stack(place, -1).flatten(0, 1))
            parts.append(cut.flatten(1, 2))
        return torch.cat(parts, 1), torch.cat(places)

    def _encoded(self, patches):
        return self.patches(patches).permute(0, 2, 3, 1).flatten(1)

    def _embedding(self, places):
        """What is added to tokens of these places (n, 5): by position and by scale, (n, width)."""
        scale, row, rows, column, columns = places.long().unbind(1)
        added = 0 if self.scales is None else self.scales[scale]
        if self.places == "hashed":
            down, across = (row, rows), (column, columns)
            return added + hashed(self.hash_embedding, down, across, self.grid, self.hashing)
        if self.places == "sequence":
            lengths = torch.tensor(self.lengths, device=places.device)
            first = (lengths.cumsum(0) - lengths)[scale]
            number = torch.minimum(row * columns + column, lengths[scale] - 1)
            return added + self.positions[0][first + number]
        return added

    def read(self, groups: list[torch.Tensor], maps: list | None = None) -> torch.Tensor:
        """Sequences [(b, n, width)] -> the scored token (b, width); shorter ones are filled up by
        tokens masked out.
        """
        lengths = [group.shape[1] for group in groups for _ in group]
        tokens = nn.utils.rnn.pad_sequence(
            [sequence for group in groups for sequence in group], batch_first=True
        )
        tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)
        mask = None  # the fused attention is faster without one
        if min(lengths) < max(lengths):
            mask = (
                torch.arange(tokens.shape[1], device=tokens.device)
                <= torch.tensor(lengths, device=tokens.device)[:, None]
            )
        for block in self.blocks:
            tokens = block(tokens, mask, maps)
        return self.norm(tokens[:, 0])


class Block(nn.Module):
    """Attention and a two-layer network, each normalised before and added to what it read; (b, n,
    width) -> the same.

    In training either is skipped with probability `drop_path`, drawn for each image; what stays is
    not scaled up.
    """

    def __init__(self, width: int, heads: int, mlp: int, *, gelu: str, drop_path: float):
        super().__init__()
        self.gelu, self.drop_path = gelu, drop_path
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, mlp), nn.Linear(mlp, width)
        for layer in (*self.attention.children(), self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6 if layer in (self.fc1, self.fc2) else 0.0)

    def forward(self, tokens, mask=None, maps=None):
        tokens = tokens + self._kept(self.attention(self.norm1(tokens), mask=mask, maps=maps))
        return tokens + self._kept(
            self.fc2(nn.functional.gelu(self.fc1(self.norm2(tokens)), approximate=self.gelu))
        )

    def _kept(self, change):
        if not (self.training and self.drop_path):
            return change
        return change * (torch.rand(len(change), 1, 1, device=change.device) >= self.drop_path)


# resize, precision of the size, torch's name of the GELU, degrees of freedom taken off a filter's
# deviation
CONVENTIONS = {
    "official": (gaussian_resize, np.float32, "tanh", 0),
    "pyiqa": (bicubic_resize, np.float64, "none", 1),
}


def length(model: MUSIQ, height: int, width: int) -> int:
    """How many patches of an image of that size, at all its scales, training reads."""
    patches = 0
    for side in model.sides:
        size = model.size_of(side, height, width)
        count = -(-size[0] // PATCH) * -(-size[1] // PATCH)
        patches += min(count, model.max_seq_len) if side is None else count
    return patches


def _groups(images, width):
    """Images of one size together: the positions of each group's, and its batch (b, 3, h, w); of
    frozen images, whose tokens have so many numbers, those of one layout, (b, n, width).
    """
    if _are_frozen(images, width):
        keys = [image[:, -PLACES:].cpu().numpy().tobytes() for image in images]
    else:
        keys = _shapes(images)
        if isinstance(images, torch.Tensor):
            return [torch.arange(len(images))], [images]
    members: dict[object, list[int]] = {}
    for position, key in enumerate(keys):
        members.setdefault(key, []).append(position)
    batches = [torch.stack([images[k] for k in group]) for group in members.values()]
    return [torch.tensor(group) for group in members.values()], batches


def _are_frozen(images, width):
    """Whether what `frozen_features` gave stands for images."""
    if isinstance(images, torch.Tensor):
        return images.ndim == 3 and images.shape[2] == width
    return bool(images) and all(i.ndim == 2 and i.shape[1] == width for i in images)


def _one_size(images):
    """Images as one batch; ValueError where they differ in size."""
    shapes = set(_shapes(images))
    if len(shapes) > 1:
        raise ValueError(
            f"attention is shown for images of one size, not {sorted(shapes)[:3]}; ask one by one"
        )
    return images if isinstance(images, torch.Tensor) else torch.stack(list(images))


def _shapes(images):
    """The shape (3, h, w) of each image of a list, or of all of a batch; ValueError for others."""
    if isinstance(images, torch.Tensor):
        shapes = [tuple(images.shape[1:])]
    else:
        shapes = [tuple(image.shape) for image in images]
    if not shapes or any(len(shape) != 3 or shape[0] != 3 or 0 in shape for shape in shapes):
        raise ValueError(
            "MUSIQ takes RGB images, a batch (b, 3, h, w) or a list of (3, h, w), not "
            f"{shapes[:3]} an image"
        )
    return shapes


def _load_trunk(model):
    """Start all but the head from the official ImageNet checkpoint."""
    from . import published, weights

    files = [published.row(name).path for name in ("musiq-imagenet", "musiq-imagenet-pyiqa")]
    here = [file for file in files if file.is_file()] or [published.local_file("musiq-imagenet")]
    state = published.read(here[0], model="musiq")
    trunk = {
        weights.renamed(k, PUBLISHED): v
        for k, v in state.items()
        if not re.match(r"(imagenet_)?head\.", k)
    }
    own = model.state_dict()
    anew = {"head.weight", "head.bias"}
    anew |= {"scales"} if model.sides != (224, 384, None) else set()
    anew |= {"positions"} if model.places != "hashed" else set()
    left_out = {"scales", "positions"} - set(own)
    trunk = {key: value for key, value in trunk.items() if key not in left_out}
    model.load_state_dict(trunk | {key: own[key] for key in anew & set(own)})
    log.info("musiq: ImageNet weights from %s", here[0])
