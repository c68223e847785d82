"""IQT: a transformer encoder reads what differs from the reference, a decoder reads the reference
with that in view.

Cheon, Yoon, Kang, Lee, "Perceptual Image Quality Assessment with Transformers", CVPR Workshops
2021, arXiv:2104.14730; the authors published neither code nor weights, so the paper is followed: a
learnable quality vector before the tokens and a position table, one of each for the encoder and one
for the decoder; norms after the residual sums; no causal mask (with one, vector 0 of the decoder
would see itself alone and no token of the reference). The paper prints N = 891 tokens for 29 x 29;
they are 841. Its D_head is the width of the judging layer, not of a head.

Not stated in the paper, chosen here: two 1x1 projections; GELU; layer norms as torch makes them;
dropout .1 after the positions and before every residual sum; Glorot uniform layers with biases of
zero (the default of the authors' TensorFlow), normal quality vectors and positions of deviation .02
(as ViT).

Any timm pyramid can stand for Inception-ResNet-v2: all four of its maps are brought to the grid of
stride 16. That is ours, and so are the arguments by which an ablation changes the network.
"""

from typing import Literal

import torch
from torch import nn

from . import Contract, Objective
from .arguments import Chance, PyramidName
from .layers import Attention, no_autocast
from .pyramid import Pyramid, timm_model

SIZES = {  # layers of encoder and decoder each, D, H, D_feat, D_head, crop in pixels
    "iqt": {"layers": 2, "width": 256, "heads": 4, "hidden": 1024, "judge": 512, "crop": 256},
    "iqt_c": {"layers": 1, "width": 128, "heads": 4, "hidden": 1024, "judge": 128, "crop": 192},
}
VARIANTS = {"IQT": {}, "IQT-C": {"size": "iqt_c"}}
REPORTED = (
    "IQT, trained on KADID-10k, SRCC / KRCC: LIVE .970 / .849, CSIQ .943 / .799, TID2013 .899 / "
    ".717; IQT-C, trained on PIPAL, SRCC / PLCC on PIPAL's NTIRE 2021 test server .799 / .790 (the "
    "paper)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "no code is published; the paper takes as few overlapping crops as cover the image, as here."
)
PUBLISHED = ()  # there are no published weights
UNUSED = ()
FROZEN_CROPS = {}  # it learns on them whatever its arguments are
TEST_KWARGS = [
    {"size": "iqt_c", "backbone": "mobilenetv3_small_100"},
    {
        "size": "iqt_c",
        "backbone": "mobilenetv3_small_100",
        "quality_token": False,
        "readout": "attention",
        "positions": "shared",
    },
]
TEST_SWITCHES = {
    "size": {"size": "iqt"},
    "backbone": {"backbone": "tf_efficientnet_lite0"},
    "encoder": {"encoder": "distorted"},
    "decoder": {"decoder": "difference"},
    "difference": {"difference": "images"},
    "quality_token": {"quality_token": False, "readout": "mean"},
    "readout": {"readout": "mean"},
    "positions": {"positions": "none"},
    "dropout": {"dropout": 0.5},
}
READOUTS = {  # tokens (b, n, width), their shares (b, n) -> (b, width)
    "first": lambda tokens, shares: tokens[:, 0],
    "mean": lambda tokens, shares: tokens.mean(1),
    "max": lambda tokens, shares: tokens.amax(1),
    "attention": lambda tokens, shares: (shares.softmax(1)[:, None] @ tokens)[:, 0],
}


def build(
    size: Literal["iqt", "iqt_c"] = "iqt",
    backbone: PyramidName = "inception_resnet_v2.tf_in1k",
    *,
    encoder: Literal["difference", "reference", "distorted"] = "difference",
    decoder: Literal["difference", "reference", "distorted"] = "reference",
    difference: Literal["features", "images"] = "features",
    quality_token: bool = True,
    readout: Literal["first", "mean", "max", "attention"] = "first",
    positions: Literal["separate", "shared", "none"] = "separate",
    dropout: Chance = 0.1,
    pretrained: bool = True,
) -> nn.Module:
    """IQT with 5,233,665 or, as `size="iqt_c"`, the challenge's IQT-C with 1,347,841 parameters
    that learn.

    `encoder`, `decoder`: whose features each of them reads (the paper's Table 4). `difference`: of
    features, or the features of the difference of images, moved to 0..1 (Table 5).
    `quality_token`: the learnable vector before the tokens. `readout`: which of the decoder's
    outputs is judged: the first, which is the quality vector's, or the mean, the largest values or
    a learnt weighted mean of all. `positions`: a table for each of encoder and decoder, one for
    both, or none.
    `pretrained` takes the backbone's ImageNet weights, which never learn (1,672,672 of
    Inception-ResNet-v2 are kept); without it random features are compared, which is of use in tests
    alone.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; there are {', '.join(SIZES)}")
    if readout == "first" and not quality_token:
        raise ValueError(
            "without a quality token the first output is that of a corner; give another readout"
        )
    maps = InceptionMaps if backbone.partition(".")[0] == "inception_resnet_v2" else PyramidMaps
    return IQT(
        maps(backbone, pretrained),
        **SIZES[size],
        dropout=dropout,
        inputs=(encoder, decoder),
        difference=difference,
        quality_token=quality_token,
        readout=readout,
        positions=positions,
    )


class Frozen(nn.Module):
    """Weights that never learn, batch norms that never measure, no gradient to the images; never in
    bfloat16.

    Slight distortions are small differences of large features. bfloat16 would blur those of
    EfficientNet-lite0 at level 1 by .13 (white noise) to 2.7 (darken) of their own standard
    deviation, measured on a demo photograph.
    """

    def train(self, mode: bool = True):
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, s, s) in [0, 1] -> (b, channels, side, side)."""
        with torch.no_grad(), no_autocast(images):
            return self.maps(images.float())


class InceptionMaps(Frozen):
    """mixed_5b and every second of the ten Block35 of Inception-ResNet-v2, six maps of 320
    channels, about stride 8.
    """

    channels = 6 * 320

    def __init__(self, backbone: str, pretrained: bool):
        super().__init__()
        net = timm_model(backbone, pretrained=pretrained)
        stem = "conv2d_1a conv2d_2a conv2d_2b maxpool_3a conv2d_3b conv2d_4a maxpool_5a mixed_5b"
        self.stem = nn.Sequential(*(net.get_submodule(name) for name in stem.split()))
        self.blocks = net.repeat
        self.requires_grad_(False).eval()

    def side(self, crop: int) -> int:
        """256 -> 29, 192 -> 21: convolutions without padding."""
        return (crop - 24) // 8

    def maps(self, images):
        features = self.stem(2 * images - 1)  # Inception's weights expect [-1, 1]
        maps = [features]
        for number, block in enumerate(self.blocks, 1):
            features = block(features)
            if number % 2 == 0:
                maps.append(features)
        return torch.cat(maps, 1)


class PyramidMaps(Frozen):
    """The maps of strides 4, 8, 16, 32 on the grid of stride 16: finer cells side by side in the
    channels, coarser repeated.

    Averages over finer cells would cancel the signed differences that noise makes.
    """

    def __init__(self, backbone: str, pretrained: bool):
        super().__init__()
        self.pyramid = Pyramid(backbone, pretrained=pretrained)
        fine, middle, grid, coarse = self.pyramid.channels
        self.channels = 16 * fine + 4 * middle + grid + coarse
        self.requires_grad_(False).eval()

    def side(self, crop: int) -> int:
        return crop // 16

    def maps(self, images):
        fine, middle, grid, coarse = self.pyramid(images)
        coarse = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        unshuffle = nn.functional.pixel_unshuffle
        return torch.cat([unshuffle(fine, 4), unshuffle(middle, 2), grid, coarse], 1)


class Tokens(nn.Module):
    """Maps (b, c, side, side) -> (b, n, width): the quality vector, where there is one, then the
    cells by rows; positions added, its own where it has `places`, else those given.
    """

    def __init__(
        self,
        channels: int,
        *,
        side: int,
        width: int,
        dropout: float,
        quality_token: bool,
        places: bool,
    ):
        super().__init__()
        self.project = nn.Conv2d(channels, width, 1)
        self.quality = nn.Parameter(0.02 * torch.randn(1, 1, width)) if quality_token else None
        number = quality_token + side * side
        self.positions = nn.Parameter(0.02 * torch.randn(1, number, width)) if places else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps, positions=None):
        positions = self.positions if positions is None else positions
        tokens = self.project(maps).flatten(2).transpose(1, 2)
        if self.quality is not None:
            tokens = torch.cat([self.quality.expand(len(tokens), -1, -1), tokens], 1)
        if positions is not None:
            tokens = tokens + positions
        return self.dropout(tokens)


class Layer(nn.Module):
    """Self-attention, in the decoder attention to the encoder's output, feed-forward; each norm(x +
    dropout(f(x))).
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, *, crossed: bool):
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        if crossed:
            self.cross = Attention(width, heads)
            self.cross_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.feed_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens, others=None, *, maps=None, cross_maps=None):
        """tokens (b, n, width), in the decoder `others` (b, n, width) -> (b, n, width); lists
        receive attention weights.
        """
        tokens = self.attention_norm(tokens + self.dropout(self.attention(tokens, maps=maps)))
        if others is not None:
            read = self.cross(tokens, others, maps=cross_maps)
            tokens = self.cross_norm(tokens + self.dropout(read))
        return self.feed_norm(tokens + self.dropout(self.feed(tokens)))


class IQT(nn.Module):
    """Two crops of one place, distorted and pristine; `side`^2 cells each; scores in the units it
    was trained on. `inputs`: what encoder and decoder read.
    """

    def __init__(
        self,
        features,
        *,
        layers,
        width,
        heads,
        hidden,
        judge,
        crop,
        dropout,
        inputs,
        difference,
        quality_token,
        readout,
        positions,
    ):
        super().__init__()
        source = f"the paper: as few crops of {crop} as cover the image, averaged"
        self.contract = Contract(source, crop=crop, crops=None, reference="pristine")
        self.objective = Objective(parts=("image", "pristine"), backbone=("features",))
        self.features = features
        self.side = features.side(crop)
        self.crop, self.inputs, self.of_images = crop, inputs, difference == "images"
        tokens = dict(side=self.side, width=width, dropout=dropout, quality_token=quality_token)
        self.encoder_tokens = Tokens(features.channels, **tokens, places=positions != "none")
        self.decoder_tokens = Tokens(features.channels, **tokens, places=positions == "separate")
        self.shared_places = positions == "shared"
        self.read = READOUTS[readout]
        self.shares = nn.Linear(width, 1, bias=False) if readout == "attention" else None
        self.encoder = nn.ModuleList(
            Layer(width, heads, hidden, dropout, crossed=False) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            Layer(width, heads, hidden, dropout, crossed=True) for _ in range(layers)
        )
        self.judge = nn.Sequential(nn.Linear(width, judge), nn.ReLU(), nn.Linear(judge, 1))
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and not name.startswith("features."):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, distorted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Two of (b, 3, crop, crop) in [0, 1], or their `frozen_features` (b, n) -> scores (b,)."""
        return self.compare(*self._features(distorted, reference))

    @torch.no_grad()
    def attention(
        self, distorted: torch.Tensor, reference: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Attention weights (b, layers, heads, 1 + side^2, 1 + side^2) of `encoder`, `decoder`, and
        `cross` between them.

        Index 0 is the quality vector. The paper's figure is the mean over all of them, resized to
        the image.
        """
        training = self.training
        lists = {"encoder": [], "decoder": [], "cross": []}
        try:
            self.eval().compare(*self._features(distorted, reference), maps=lists)
        finally:
            self.train(training)
        return {name: torch.stack(maps, 1) for name, maps in lists.items()}

    def compare(
        self,
        distorted: torch.Tensor,
        reference: torch.Tensor,
        difference: torch.Tensor | None = None,
        *,
        maps: dict | None = None,
    ) -> torch.Tensor:
        """Feature maps of both (b, channels, side, side), and of their difference where that is of
        images -> scores (b,); the lists in `maps` receive attention weights.
        """
        maps = maps or dict.fromkeys(("encoder", "decoder", "cross"))
        known = {"distorted": distorted, "reference": reference}
        known["difference"] = reference - distorted if difference is None else difference
        encoded_name, decoded_name = self.inputs
        encoded = self.encoder_tokens(known[encoded_name])
        shared = self.encoder_tokens.positions if self.shared_places else None
        tokens = self.decoder_tokens(known[decoded_name], shared)
        for layer in self.encoder:
            encoded = layer(encoded, maps=maps["encoder"])
        for layer in self.decoder:
            tokens = layer(tokens, encoded, maps=maps["decoder"], cross_maps=maps["cross"])
        shares = None if self.shares is None else self.shares(tokens)[..., 0]
        return self.judge(self.read(tokens, shares))[:, 0]

    @property
    def frozen_trunk(self) -> nn.Module:
        """What makes features; its weights never learn."""
        return self.features

    frozen_settings = ()

    def frozen_features(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, crop, crop) in [0, 1], distorted or pristine -> (b, n): all that learns reads."""
        if self.of_images:
            raise ValueError(
                "the features of a difference of images need both: give frozen_crops: 0, or "
                "difference: features"
            )
        self._check_crops(images, images)
        return self.features(images).flatten(1)

    def _features(self, distorted, reference):
        if distorted.ndim == 2:
            shape = (self.features.channels, self.side, self.side)
            return distorted.unflatten(1, shape), reference.unflatten(1, shape)
        self._check_crops(distorted, reference)
        images = [distorted, reference]
        if self.of_images:
            images.append((reference - distorted) / 2 + 0.5)
        return [self.features(each) for each in images]

    def _check_crops(self, distorted, reference):
        crop = self.crop
        if distorted.shape != reference.shape or distorted.shape[-2:] != (crop, crop):
            sizes = " and ".join(
                f"{images.shape[-1]} x {images.shape[-2]}" for images in (distorted, reference)
            )
            raise ValueError(
                f"this IQT has a position for every cell of two crops of {crop} x {crop}, as many "
                f"of each; it got {len(distorted)} and {len(reference)} of {sizes}; cut both "
                f"images into crops of {crop} at the same places"
            )
