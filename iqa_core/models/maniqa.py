"""MANIQA: attention over the channels, then over windows, of four middle layers of a vision
transformer.

Yang et al., "MANIQA: Multi-dimension Attention Network for No-Reference Image Quality Assessment",
CVPR Workshops 2022, 10.1109/CVPRW56347.2022.00126; code github.com/IIGROUP/MANIQA (Apache-2.0). The
code is followed, as its weights are: channel attention writes its result transposed but reads it in
the old shape, which mixes channels and places; the last two blocks, norm and head of the
transformer and one convolution a stage are kept and do nothing. Crops at native size are the
contract; the authors' KonIQ-10k weights were trained, and their test figure made, on images
squashed to 224 x 224, and loaded as `maniqa-koniq` they get those, though the authors' script for
single images feeds them native crops. Widths follow the transformer's width w: maps of 4w channels,
stages of w and w / 2, hidden layers of w in both.
"""

import timm
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import nn

from . import Contract
from .arguments import PositiveInt, TransformerName
from .layers import Normalise, no_autocast
from .pyramid import timm_model

BLOCKS = (6, 7, 8, 9)  # of the transformer, counted from 0; the last is the last that is run
WINDOW, HEADS = 4, 4  # of the Swin stages: tokens a side, heads
DROP = 0.1  # dropout, and the largest drop path of a stage
VARIANTS = {"MANIQA": {}}
REPORTED = (
    "LIVE .982 / .983, CSIQ .961 / .968, TID2013 .937 / .943, KADID-10k .944 / .946 (the paper, "
    "SRCC / PLCC); released weights: KADID-10k .939 / .939, KonIQ-10k .930 / .946, one random "
    "split each, best test epoch (the code's README)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "reads by OpenCV, which obeys the orientation. KonIQ-10k weights were trained and tested on "
    "whole images squashed to 224 x 224 (OpenCV's bicubic, not antialiased), which `maniqa-koniq` "
    "gets here (Pillow's, antialiased); the authors' script for single images feeds the same "
    "weights 20 random native crops. KADID-10k and PIPAL: native crops, as here, there random."
)
UNUSED = (  # the published count holds them
    r"^backbone\.blocks\.[1-9]\d+\.",
    r"^backbone\.(norm|fc_norm|head|head_dist|attn_pool)\.",
    r"^swintransformer[12]\.downsample\.",
)
TEST_KWARGS = [{"backbone": "vit_tiny_patch16_224", "crop": 128}]
TEST_SWITCHES = {
    "backbone": {"backbone": "vit_small_patch16_224"},
    "scale": {"scale": 0.13},
    "crop": {"crop": 64},
}
PUBLISHED = ((r"^vit\.", "backbone."),)  # all other names are the published ones


def build(
    backbone: TransformerName = "vit_base_patch8_224.augreg_in21k_ft_in1k",
    *,
    scale: float = 0.8,
    crop: PositiveInt = 224,
    pretrained: bool = True,
) -> nn.Module:
    """MANIQA for crops of `crop` pixels; as published 135,747,530 parameters, of which 114,164,578
    are at work.

    `backbone`: a timm vision transformer of ten blocks or more.
    `scale` weighs what a Swin layer adds: .8 for the KonIQ-10k and KADID-10k weights, .13 for those
    of PIPAL.
    `pretrained`: the backbone takes its ImageNet weights; the rest starts as PyTorch's layers do,
    position biases from a truncated normal of .02, as in the code.

    ValueError for another kind of backbone, and for a crop that its windows do not divide.
    """
    return MANIQA(backbone, scale=scale, crop=crop, pretrained=pretrained)


class MANIQA(nn.Module):
    """Crops (b, 3, crop, crop) in [0, 1] -> scores (b,), 0 to 1 for the published labels, never
    below 0.
    """

    def __init__(self, backbone: str, *, scale: float, crop: int, pretrained: bool):
        super().__init__()
        source = (
            "github.com/IIGROUP/MANIQA: 20 crops of 224 at native size, scores averaged; there "
            "random, here a grid"
        )
        self.contract = Contract(source, crop=crop, crops=20, low=0.0, high=1.0)
        self.backbone = _vit(backbone, crop, pretrained)
        width, self.grid = self.backbone.embed_dim, self.backbone.patch_embed.grid_size
        tokens = self.grid[0] * self.grid[1]
        self.tablock1 = nn.Sequential(ChannelAttention(tokens), ChannelAttention(tokens))
        self.conv1 = nn.Conv2d(len(BLOCKS) * width, width, 1)
        self.swintransformer1 = SwinStage(width, self.grid, ratio=1, scale=scale)
        self.tablock2 = nn.Sequential(ChannelAttention(tokens), ChannelAttention(tokens))
        self.conv2 = nn.Conv2d(width, width // 2, 1)
        self.swintransformer2 = SwinStage(width // 2, self.grid, ratio=2, scale=scale)
        self.fc_score = nn.Sequential(*_head(width // 2), nn.ReLU())
        self.fc_weight = nn.Sequential(*_head(width // 2), nn.Sigmoid())
        self.normalise = Normalise(self.backbone.default_cfg)

    def train(self, mode: bool = True):
        """Attention is fused in training; evaluation keeps the published order of operations, on
        whose rounding scores hang.

        Where logits are in the hundreds one channel wins a softmax, and which one can turn on the
        last bit.
        """
        super().train(mode)
        for part in (self.tablock1, self.swintransformer1, self.tablock2, self.swintransformer2):
            for module in part.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = mode
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, crop, crop) in [0, 1] -> scores (b,): mean of the tokens' scores, weighted by
        their own weights.
        """
        if images.shape[-2:] != (self.contract.crop,) * 2:
            raise ValueError(
                f"this MANIQA takes crops of {self.contract.crop} pixels a side, not "
                f"{tuple(images.shape[-2:])}"
            )
        channels = self.features(self.normalise(images))
        maps = self.tablock1(channels).unflatten(2, self.grid)
        maps = self.swintransformer1(self.conv1(maps))
        maps = self.tablock2(maps.flatten(2)).unflatten(2, self.grid)
        maps = self.swintransformer2(self.conv2(maps))
        with no_autocast(images):  # bfloat16 has 8 bits, too few for a score
            tokens = maps.flatten(2).transpose(1, 2).to(images.dtype)
            score = self.fc_score(tokens)[..., 0]
            weight = self.fc_weight(tokens)[..., 0]
            return (score * weight).sum(1) / weight.sum(1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised (b, 3, crop, crop) -> what four blocks give for the patches, before any norm:
        (b, 4w, tokens).
        """
        layers = self.backbone.forward_intermediates(
            images,
            indices=BLOCKS,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat(layers, dim=2).transpose(1, 2)


def _vit(backbone, crop, pretrained):
    families = ("vision_transformer", "deit")
    known = timm.is_model(backbone) and timm.models.is_model_in_modules(backbone, families)
    if not known:
        raise ValueError(
            f"{backbone!r} is no vision transformer of timm; one is 'vit_small_patch16_224'"
        )
    vit = timm_model(backbone, pretrained=pretrained, img_size=crop)
    patch = vit.patch_embed.patch_size[0]
    if len(vit.blocks) <= BLOCKS[-1]:
        raise ValueError(
            f"{backbone} has {len(vit.blocks)} blocks; MANIQA reads the blocks {BLOCKS} and needs "
            f"10 or more"
        )
    if crop % (patch * WINDOW):
        raise ValueError(
            f"crop is {crop}: {crop / patch:g} patches of {patch} pixels a side do not divide into "
            f"windows of {WINDOW}; take a multiple of {patch * WINDOW}"
        )
    return vit


def _head(width):
    return nn.Linear(width, width), nn.ReLU(), nn.Dropout(DROP), nn.Linear(width, 1)


class ChannelAttention(nn.Module):
    """The channels of (b, c, tokens) attend to one another, one head as wide as there are tokens;
    residual.
    """

    def __init__(self, tokens: int):
        super().__init__()
        self.c_q, self.c_k, self.c_v = (nn.Linear(tokens, tokens) for _ in range(3))
        self.dropout = nn.Dropout(DROP)
        self.fused_attn = True  # timm's name, so that one loop sets it here and in the Swin blocks

    def forward(self, channels):
        query, key, value = self.c_q(channels), self.c_k(channels), self.c_v(channels)
        # In bfloat16 explicit logits in the hundreds would be rounded to whole numbers.
        if self.fused_attn or query.dtype == torch.bfloat16:
            mixed = nn.functional.scaled_dot_product_attention(
                query[:, None], key[:, None], value[:, None]
            )[:, 0]
        else:
            logits = query @ key.transpose(1, 2)
            mixed = logits.mul_(key.shape[-1] ** -0.5).softmax(-1) @ value
        # tokens x channels, read as channels x tokens: the code's
        scrambled = mixed.transpose(1, 2).reshape(channels.shape)
        return self.dropout(scrambled) + channels


class SwinStage(nn.Module):
    """(b, c, h, w) -> the same shape: dropout, then two layers, each adding `scale` times what it
    makes.
    """

    def __init__(self, width: int, grid: tuple[int, int], *, ratio: int, scale: float):
        super().__init__()
        self.scale = scale
        self.downsample = nn.Conv2d(width, width, 3)  # never called; published weights hold it
        self.dropout = nn.Dropout(DROP)
        rates = [DROP * i / 3 for i in range(4)]  # drop path, from the first block to the last
        self.layers = nn.ModuleList(
            SwinLayer(width, grid, ratio, pair) for pair in (rates[:2], rates[2:])
        )

    def forward(self, maps):
        places = self.dropout(maps).permute(0, 2, 3, 1)
        for layer in self.layers:
            places = places + self.scale * layer(places)
        return places.permute(0, 3, 1, 2)


class SwinLayer(nn.Module):
    """(b, h, w, c) -> the same shape: a block on windows, one on shifted windows, a 3 x 3
    convolution, a ReLU.
    """

    def __init__(self, width, grid, ratio, rates):
        super().__init__()
        self.blocks = nn.Sequential()
        for shift, rate in zip((0, WINDOW // 2), rates, strict=True):
            block = SwinTransformerBlock(
                width,
                grid,
                HEADS,
                window_size=WINDOW,
                mlp_ratio=ratio,
                shift_size=shift,
                drop_path=rate,
            )
            self.blocks.append(block)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, places):
        return self.conv(self.blocks(places).permute(0, 3, 1, 2)).relu().permute(0, 2, 3, 1)
