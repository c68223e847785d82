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

import math

import torch
from torch import nn

from . import Contract
from .pyramid import Pyramid

TARGET = (224, 112, 56, 28, 14, 1)  # widths of the target network
SIDES = (8, 4, 2, 1)  # of the four stages of a 224 crop by means of 7 x 7
VARIANTS = {"HyperIQA": {}}
REPORTED = (
    "KonIQ-10k .906 / .917, LIVE-Challenge .859 / .882, medians of 10 random 80/20 splits, PLCC "
    "after a logistic fit (the "
    "paper; its code takes the best test epoch and the raw PLCC)"
)
UNUSED = ()
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
    backbone: str = "resnet50.tv_in1k",
    head: str = "published",
    pretrained: bool = True,
    frozen: int = 0,
) -> nn.Module:
    """HyperIQA; with ResNet-50 (torchvision's first weights) and the published head 27,375,369
    parameters.

    `pretrained` takes the backbone's ImageNet weights; the rest starts from the published
    initialisation. `frozen`: that many feature maps of the backbone, counted from the image, are
    made by weights that do not learn.
    """
    if head not in HEADS:
        raise ValueError(f"head is {head!r}; there are {', '.join(HEADS)}")
    return HEADS[head](backbone, pretrained, frozen)


class OnPooledStages(nn.Module):
    """A model whose parts behind the backbone read its stages only as means over small areas.

    Those means are its features: where the backbone does not learn they can be computed once, and
    stand for the images.
    """

    def __init__(self, backbone: Pyramid):
        super().__init__()
        self.backbone = backbone

    def pooled(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (b, 3, 224, 224) in [0, 1], or their features (b, n) -> eight maps: the four
        stages by means of 7 x 7, to 8, 4, 2 and 1 a side (b, c, s, s), then the four stages at 7 a
        side (b, c, 7, 7).
        """
        channels = self.backbone.channels
        if images.ndim == 2:
            shapes = [
                *((c, s, s) for c, s in zip(channels, SIDES, strict=True)),
                *((c, 7, 7) for c in channels),
            ]
            parts = images.split([math.prod(shape) for shape in shapes], dim=1)
            return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
        if images.shape[-2:] != (224, 224):
            raise ValueError(
                f"{type(self).__name__} takes crops of 224 x 224, not {tuple(images.shape[-2:])}"
            )
        stages = self.backbone(images)
        return [nn.functional.avg_pool2d(m, 7) for m in stages] + [
            nn.functional.adaptive_avg_pool2d(m, 7) for m in stages
        ]

    def pooled_features(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1] -> (b, n): all that the model reads of them, the same for
        every model on this backbone.
        """
        return torch.cat([m.flatten(1) for m in self.pooled(images)], 1)


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
        return judge(self.local(maps[:4]), *self.hyper(maps[7]))


class LocalDistortionAware(nn.Module):
    """Four stages, by means of 7 x 7 -> one vector (b, 224): a 1x1 convolution, flattening, a
    linear layer; no activation.

    The published code convolves first and pools then, which is the same: both are linear.
    """

    def __init__(self, channels):
        super().__init__()
        widths = {
            1: (16, 16),
            2: (32, 16),
            3: (64, 16),
            4: (channels[3], TARGET[0] - 48),
        }  # stage: (reduced, given out)
        self.reduce = nn.ModuleDict(
            {str(i): nn.Conv2d(channels[i - 1], widths[i][0], 1, bias=False) for i in (1, 2, 3)}
        )
        self.project = nn.ModuleDict(
            {str(i): nn.Linear(widths[i][0] * SIDES[i - 1] ** 2, widths[i][1]) for i in widths}
        )
        for layer in [*self.reduce.values(), *self.project.values()]:
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, pooled):
        maps = [
            *(layer(m) for layer, m in zip(self.reduce.values(), pooled, strict=False)),
            pooled[3],
        ]
        return torch.cat(
            [layer(m.flatten(1)) for layer, m in zip(self.project.values(), maps, strict=True)],
            dim=1,
        )


class HyperNetwork(nn.Module):
    """A map (b, widths[0], 7, 7) -> weights [(b, out, in)] and biases [(b, out)] of the target
    network.

    A weight matrix is the row-major reading of a 3x3 convolution's (out in / 49, 7, 7) map, as
    published weights expect.
    """

    def __init__(self, *widths: int, dropout: float = 0.0):
        super().__init__()
        steps = zip(widths, (*widths[1:], 112), strict=True)
        layers = [layer for a, b in steps for layer in (nn.Conv2d(a, b, 1), nn.ReLU())]
        self.reduce = nn.Sequential(*layers, nn.Dropout(dropout))
        pairs = list(zip(TARGET, TARGET[1:], strict=False))
        self.weight = nn.ModuleDict(
            {
                str(i): nn.Conv2d(112, a * b // 49, 3, padding=1)
                for i, (a, b) in enumerate(pairs[:4], 1)
            }
        )
        self.weight["5"] = nn.Linear(112, TARGET[4])
        self.bias = nn.ModuleDict({str(i): nn.Linear(112, b) for i, (_, b) in enumerate(pairs, 1)})
        for layer in [*self.weight.values(), *self.bias.values()]:
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, features):
        hidden = self.reduce(features)
        mean = hidden.mean((2, 3))
        weights = [layer(mean if i == "5" else hidden) for i, layer in self.weight.items()]
        biases = [layer(mean) for layer in self.bias.values()]
        return [
            w.reshape(len(w), b.shape[1], -1) for w, b in zip(weights, biases, strict=True)
        ], biases


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
            nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.weight = nn.ModuleList(nn.Linear(112, layer.weight.numel()) for layer in self.static)
        self.bias = nn.ModuleList(nn.Linear(112, layer.bias.numel()) for layer in self.static)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) in [0, 1] -> scores (b,)."""
        maps = [self.backbone.normalise(images), *self.backbone(images)]
        pooled = [torch.cat([m.mean((2, 3)), m.var((2, 3)).add(1e-6).sqrt()], 1) for m in maps]
        pooled = [self.dropout(norm(p)) for norm, p in zip(self.standardise, pooled, strict=True)]
        vector = torch.cat([layer(p) for layer, p in zip(self.project, pooled, strict=True)], 1)
        hidden = self.reduce(pooled[-1])
        layers = zip(self.static, self.weight, strict=True)
        weights = [
            own.weight + 0.1 * made(hidden).view(-1, *own.weight.shape) for own, made in layers
        ]
        biases = [
            own.bias + 0.1 * made(hidden) for own, made in zip(self.static, self.bias, strict=True)
        ]
        return judge(vector, weights, biases)


HEADS = {"published": HyperIQA, "light": LightHyperIQA}
