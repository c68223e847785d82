"""HyperIQA: an image writes the weights of the small network that then judges it.

Su et al., "Blindly Assess Image Quality in the Wild Guided by a Self-Adaptive Hyper Network", CVPR
2020, 10.1109/CVPR42600.2020.00372; code github.com/SSL92/hyperIQA (MIT). `head="published"` is the
code's network: where paper and code differ (local pooling by a linear layer, five target layers,
Kaiming initialisation), the code is followed, as its weights are. Any timm pyramid can stand for
ResNet-50.

`head="light"` is ours, for data sets of a thousand images and minutes on a CPU. The image and every
map are summed up by channel means and standard deviations, and the generated weights are a
correction to learnt static ones.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from . import Contract
from .arguments import NonNegativeInt, PyramidName
from .layers import no_autocast
from .pyramid import SIDES, OnPooledStages, Pyramid

TARGET = (224, 112, 56, 28, 14, 1)  # widths of the target network
VARIANTS = {"HyperIQA": {}}
REPORTED = (
    "KonIQ-10k .906 / .917, LIVE-Challenge .859 / .882, medians of 10 random 80/20 splits, PLCC "
    "after a logistic fit (the paper; its code takes the best test epoch and the raw PLCC)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "for KonIQ-10k `Resize((512, 384))` means height and width: a landscape becomes a portrait of "
    "384 x 512, objects of a 4:3 photograph 1.78 times too narrow. Then 10 (demo) or 25 (tests) "
    "random crops of 224, unseeded. Weights trained so need the same: `hyperiqa-koniq` resizes so "
    "here, too; models trained here see native pixels unless their contract says otherwise."
)
UNUSED = ()
FROZEN_CROPS = {"head": "published"}  # arguments of the models on pooled stages
TEST_KWARGS = [
    {"backbone": "resnet18"},
    {"backbone": "tf_efficientnet_lite0", "head": "light", "frozen": 2},
]
TEST_SWITCHES = {
    "backbone": {"backbone": "resnet26"},
    "head": {"head": "light"},
    "frozen": {"frozen": 1},
}
PUBLISHED = (  # published state-dict key -> ours
    (r"^(res|swin)\.lda([123])_pool\.0\.", r"local.reduce.\2."),  # swin: SMART-IQA's
    (r"^(res|swin)\.lda([1234])_fc\.", r"local.project.\2."),
    (r"^res\.", "backbone.body."),
    (r"^conv1\.", "hyper.reduce."),
    (r"^fc([1234])w_conv\.", r"hyper.weight.\1."),
    (r"^fc5w_fc\.", "hyper.weight.5."),
    (r"^fc([12345])b_fc\.", r"hyper.bias.\1."),
    (r"^base_model\.", "backbone.body."),  # from here on pyiqa's names, which count from 0
    (r"^lda_modules\.(\d)\.0\.", lambda n: f"local.reduce.{int(n[1]) + 1}."),
    (r"^lda_modules\.(\d)\.[23]\.", lambda n: f"local.project.{int(n[1]) + 1}."),
    (r"^fc_w_modules\.(\d)\.(2\.)?", lambda n: f"hyper.weight.{int(n[1]) + 1}."),
    (r"^fc_b_modules\.(\d)\.2\.", lambda n: f"hyper.bias.{int(n[1]) + 1}."),
)


def build(
    backbone: PyramidName = "resnet50.tv_in1k",
    head: Literal["published", "light"] = "published",
    pretrained: bool = True,
    frozen: NonNegativeInt = 0,
) -> nn.Module:
    """HyperIQA; with ResNet-50 (torchvision's first weights) and the published head 27,375,369
    parameters.

    `backbone`: a timm pyramid. `head`: one of `HEADS`.
    `pretrained`: the backbone takes its ImageNet weights; the rest starts from the published
    initialisation.
    `frozen`: that many feature maps of the backbone, counted from the image, are made by weights
    that do not learn.

    ValueError for another head or backbone.
    """
    if head not in HEADS:
        raise ValueError(f"head is {head!r}; there are {', '.join(HEADS)}")
    return HEADS[head](backbone, pretrained, frozen)


class HyperIQA(OnPooledStages):
    """The published network for crops of 224 x 224; scores in the units it was trained on."""

    def __init__(self, backbone: str, pretrained: bool, frozen: int):
        super().__init__(Pyramid(backbone, pretrained=pretrained, frozen=frozen))
        self.contract = Contract("github.com/SSL92/hyperIQA: 25 crops of 224, averaged", crops=25)
        self.local = LocalDistortionAware(self.backbone.channels)
        last = self.backbone.channels[-1]
        self.hyper = HyperNetwork(last, last // 2, last // 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1], or features (b, n) -> scores (b,)."""
        maps = self.pooled(images)
        # Weights that were themselves generated from bfloat16 would multiply its rounding: with
        # initial weights scores then erred by half their deviation, so by a thirtieth.
        with no_autocast(images):
            maps = [stage.to(images.dtype) for stage in maps]
            return judge(self.local(maps[:4]), *self.hyper(maps[7]))


class LocalDistortionAware(nn.Module):
    """Four stages, by means of 7 x 7 -> one vector (b, 224): a 1x1 convolution, flattening, a
    linear layer; no activation.

    The published code convolves first and pools then, which is the same: both are linear.
    """

    def __init__(self, channels):
        super().__init__()
        reduced = [16, 32, 64]  # channels of the first three stages; the last keeps its own
        outputs = [16, 16, 16, TARGET[0] - 48]
        self.reduce = nn.ModuleDict()
        self.project = nn.ModuleDict()
        for stage, width in enumerate(reduced, 1):
            self.reduce[str(stage)] = nn.Conv2d(channels[stage - 1], width, 1, bias=False)
        for stage, width in enumerate([*reduced, channels[3]], 1):
            cells = SIDES[stage - 1] ** 2
            self.project[str(stage)] = nn.Linear(width * cells, outputs[stage - 1])
        for layer in [*self.reduce.values(), *self.project.values()]:
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, pooled):
        reduced = zip(self.reduce.values(), pooled[:3], strict=True)
        maps = [layer(stage) for layer, stage in reduced] + [pooled[3]]
        projected = zip(self.project.values(), maps, strict=True)
        return torch.cat([layer(stage.flatten(1)) for layer, stage in projected], dim=1)


class HyperNetwork(nn.Module):
    """A map (b, widths[0], 7, 7) -> weights [(b, out, in)] and biases [(b, out)] of the target
    network.

    A weight matrix is the row-major reading of a 3x3 convolution's (out in / 49, 7, 7) map, as
    published weights expect.
    """

    def __init__(self, *widths: int, dropout: float = 0.0):
        super().__init__()
        self.reduce = nn.Sequential()
        for inputs, outputs in pairwise((*widths, 112)):
            self.reduce.extend([nn.Conv2d(inputs, outputs, 1), nn.ReLU()])
        self.reduce.append(nn.Dropout(dropout))
        pairs = list(pairwise(TARGET))  # inputs and outputs of the target network's five layers
        self.weight = nn.ModuleDict()
        for number, (inputs, outputs) in enumerate(pairs[:4], 1):
            self.weight[str(number)] = nn.Conv2d(112, inputs * outputs // 49, 3, padding=1)
        self.weight["5"] = nn.Linear(112, TARGET[4])
        self.bias = nn.ModuleDict()
        for number, (_, outputs) in enumerate(pairs, 1):
            self.bias[str(number)] = nn.Linear(112, outputs)
        for layer in [*self.weight.values(), *self.bias.values()]:
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, features):
        hidden = self.reduce(features)
        mean = hidden.mean((2, 3))
        biases = [layer(mean) for layer in self.bias.values()]
        weights = []
        for bias, (number, layer) in zip(biases, self.weight.items(), strict=True):
            made = layer(mean if number == "5" else hidden)
            weights.append(made.reshape(len(made), bias.shape[1], -1))
        return weights, biases


def judge(
    vector: torch.Tensor, weights: list, biases: list, *, dropout: float = 0.0
) -> torch.Tensor:
    """The target network: (b, n) and its own layers for every image -> scores (b,); sigmoids
    between linear layers.

    `dropout` strikes after all sigmoids but the last; it knows no evaluation mode, the caller gives
    0 there.
    """
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        vector = torch.baddbmm(bias[..., None], weight, vector[..., None])[..., 0]
        if i < len(weights) - 1:
            vector = vector.sigmoid()
        if i < len(weights) - 2 and dropout:
            vector = nn.functional.dropout(vector, dropout)
    return vector[:, 0]


class Standardise(nn.Module):
    """Zero mean and unit deviation of each channel over the first training batch (b, n), then
    fixed.

    Batch norm would judge an image by its neighbours in the batch, and evaluate by averages that
    lag behind the features.
    """

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.zeros(channels))  # zero: not measured yet

    def forward(self, vector):
        if self.training and not self.std.any():
            self.mean.copy_(vector.detach().mean(0))
            self.std.copy_(vector.detach().std(0).clamp(min=1e-3))
        return (vector - self.mean) / self.std.where(self.std > 0, 1.0)


class LightHyperIQA(nn.Module):
    """The light head on a pyramid with folded batch norms; crops of any size from 64 pixels.

    Channel means and deviations of the image itself and of every map, 20 numbers of each, are
    judged by a target network whose weights are learnt ones plus a tenth of those that the last map
    generates.
    """

    def __init__(self, backbone: str, pretrained: bool, frozen: int):
        super().__init__()
        self.contract = Contract("the workbook's demo", crops=4)
        self.backbone = Pyramid(
            backbone, pretrained=pretrained, early=True, fold=True, frozen=frozen
        )
        channels = [3, *self.backbone.channels]
        widths = (20 * len(channels), *TARGET[2:])
        self.standardise = nn.ModuleList(Standardise(2 * c) for c in channels)
        self.project = nn.ModuleList(nn.Linear(2 * c, 20) for c in channels)
        self.dropout = nn.Dropout(0.2)
        self.reduce = nn.Sequential(nn.Linear(2 * channels[-1], 112), nn.ReLU())
        self.static = nn.ModuleList(
            nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)
        )
        self.weight = nn.ModuleList(nn.Linear(112, layer.weight.numel()) for layer in self.static)
        self.bias = nn.ModuleList(nn.Linear(112, layer.bias.numel()) for layer in self.static)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) in [0, 1] -> scores (b,)."""
        maps = [self.backbone.normalise(images), *self.backbone(images)]
        with no_autocast(images):  # as for the published head
            return self._judged([stage.to(images.dtype) for stage in maps])

    def _judged(self, maps):
        pooled = [torch.cat([m.mean((2, 3)), m.var((2, 3)).add(1e-6).sqrt()], 1) for m in maps]
        pooled = [self.dropout(norm(p)) for norm, p in zip(self.standardise, pooled, strict=True)]
        vector = torch.cat([layer(p) for layer, p in zip(self.project, pooled, strict=True)], 1)
        hidden = self.reduce(pooled[-1])
        # All weights, then all biases: gradients are summed in this order, on whose rounding the
        # demo's printed numbers stand.
        weights = [
            static.weight + 0.1 * layer(hidden).view(-1, *static.weight.shape)
            for static, layer in zip(self.static, self.weight, strict=True)
        ]
        biases = [
            static.bias + 0.1 * layer(hidden)
            for static, layer in zip(self.static, self.bias, strict=True)
        ]
        return judge(vector, weights, biases)


HEADS = {"published": HyperIQA, "light": LightHyperIQA}
