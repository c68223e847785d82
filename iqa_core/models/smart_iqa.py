"""SMART-IQA: HyperIQA on a Swin Transformer, whose stages are fused and weighed before the
hyper-network reads them.

Chen, "SMART-IQA: Swin Multi-scale Attention-guided Regression Transformer for Blind Image Quality
Assessment", course paper, 2025; code github.com/cny123222/Perceptual-IQA-CS3324 (MIT). Paper and
code disagree, and the code is followed: the fusion (AFA) is pooling and concatenation without
parameters, not a convolution to 512 channels; the stage weights (there "channel attention") are a
softmax over one scalar a stage, not sigmoids; the target network has HyperIQA's five layers and
reads HyperIQA's local vector.

Ours: `gate="static"`, the control without which nobody can say whether weights that adapt to the
image are what helps, and any timm pyramid in place of Swin; `size="micro"`, a very small Swin that
learns from scratch on a CPU.
"""

from typing import Literal

import torch
from torch import nn

from . import Contract
from .arguments import Chance, PyramidName
from .hyperiqa import PUBLISHED as HYPERIQA
from .hyperiqa import HyperNetwork, LocalDistortionAware, judge
from .layers import no_autocast
from .pyramid import OnPooledStages, Pyramid

SIZES = {  # size: (backbone, dropout, drop path, options of timm's Swin)
    "tiny": ("swin_tiny_patch4_window7_224.ms_in1k", 0.30, 0.20, {}),
    "small": ("swin_small_patch4_window7_224.ms_in22k_ft_in1k", 0.35, 0.25, {}),
    "base": ("swin_base_patch4_window7_224.ms_in22k_ft_in1k", 0.40, 0.30, {}),
    "micro": (
        "swin_tiny_patch4_window7_224",
        0.10,
        0.0,
        dict(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8)),
    ),
}
GATES = ("adaptive", "static")
VARIANTS = {
    "SMART-IQA-T": {"size": "tiny"},
    "SMART-IQA-S": {"size": "small"},
    "SMART-IQA-B": {"size": "base"},
    "SMART-IQA-B (plain fusion)": {"size": "base", "attention": False},
    "SMART-IQA-B (single scale)": {"size": "base", "multiscale": False},
}
REPORTED = (
    "KonIQ-10k T .9249 / .9360, S .9338 / .9455, B .9378 / .9485 (7,046 / 2,010, one seed, best "
    "test epoch; the author's logs)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "the inverted resize of `hyperiqa`, once an image, then 20 random crops; `smart_iqa-koniq` "
    "likewise here."
)
UNUSED = ()
FROZEN_CROPS = {}  # it learns on them whatever its arguments are
TEST_KWARGS = [
    {"backbone": "resnet18", "drop_path": 0.0},
    {"backbone": "tf_efficientnet_lite0", "gate": "static"},
    {"backbone": "tf_efficientnet_lite0", "multiscale": False},
]
TEST_SWITCHES = {
    "size": {"size": "tiny"},
    "multiscale": {"multiscale": False},
    "attention": {"attention": False},
    "gate": {"gate": "static"},
    "backbone": {"backbone": "resnet26"},
    "dropout": {"dropout": 0.0},
    "gate_dropout": {"gate_dropout": 0.0},
    "drop_path": {"drop_path": 0.5},
}
PUBLISHED = (  # published state-dict key -> ours
    (r"^swin\.backbone\.", "backbone.body."),
    (r"^multiscale_attention\.attention_net\.", "gate.net."),
    *HYPERIQA,
)


def build(
    size: Literal["tiny", "small", "base", "micro"] = "base",
    multiscale: bool = True,
    attention: bool = True,
    gate: Literal["adaptive", "static"] = "adaptive",
    backbone: PyramidName | None = None,
    dropout: Chance | None = None,
    gate_dropout: Chance = 0.5,
    drop_path: Chance | None = None,
    pretrained: bool = True,
) -> nn.Module:
    """SMART-IQA; 29,521,479 parameters for tiny, 50,839,383 for small, 89,111,941 for base.

    `size`: one of `SIZES`, which names backbone, dropout and drop path.
    `multiscale` fuses all four stages for the hyper-network, else it reads the last alone, and
    there is nothing to weigh (the local vector reads all four either way).
    `attention` weighs the stages: by a `gate` that reads the image ("adaptive", as published) or by
    four learnt scalars ("static"); without it the fusion is plain.
    `backbone`: another timm pyramid in place of the size's Swin.
    `dropout` (hyper- and target network), `gate_dropout`, `drop_path` (backbone): chances; the
    first and the last are those of the size unless given.
    `pretrained`: the backbone takes its ImageNet weights.

    ValueError for an unknown size or gate, and for pretrained weights of micro: there are none.
    """
    if size == "micro" and pretrained and backbone is None:
        raise ValueError("there are no pretrained weights of size micro; give pretrained=False")
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; there are {', '.join(SIZES)}")
    if gate not in GATES:
        raise ValueError(f"gate is {gate!r}; there are {', '.join(GATES)}")
    swin, usual_dropout, usual_drop_path, options = SIZES[size]
    if dropout is None:
        dropout = usual_dropout
    if drop_path is None:
        drop_path = usual_drop_path
    if backbone is None:
        backbone = swin
    else:
        options = {}  # they are Swin's
    return SmartIQA(
        Pyramid(backbone, pretrained=pretrained, drop_path_rate=drop_path, **options),
        multiscale=multiscale,
        gate=gate if multiscale and attention else None,
        dropout=dropout,
        gate_dropout=gate_dropout,
    )


class SmartIQA(OnPooledStages):
    """Crops of 224 x 224 -> scores in the units it was trained on."""

    def __init__(
        self,
        backbone: Pyramid,
        *,
        multiscale: bool,
        gate: str | None,
        dropout: float,
        gate_dropout: float,
    ):
        super().__init__(backbone)
        self.contract = Contract("the authors' code: 20 crops of 224, averaged", crops=20)
        self.multiscale, self.dropout = multiscale, dropout
        channels = backbone.channels
        self.local = LocalDistortionAware(channels)
        if gate == "adaptive":
            self.gate = AdaptiveGate(channels[-1], gate_dropout)
        elif gate == "static":
            self.gate = StaticGate()
        else:
            self.gate = None
        read = sum(channels) if multiscale else channels[-1]
        self.hyper = HyperNetwork(read, 512, 256, dropout=dropout)

    def forward(self, images: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1], or features (b, n) -> scores (b,). `weights` (b, 4): in place
        of the gate's.
        """
        maps = self.pooled(images)
        dropout = self.dropout if self.training else 0.0
        with no_autocast(images):  # as HyperIQA
            maps = [stage.to(images.dtype) for stage in maps]
            fused = self.fuse(maps[4:], weights)
            return judge(self.local(maps[:4]), *self.hyper(fused), dropout=dropout)

    def fuse(self, stages: list[torch.Tensor], weights: torch.Tensor | None = None) -> torch.Tensor:
        """Four maps (b, c, 7, 7) -> what the hyper-network reads: each times its weight,
        concatenated; or the last.
        """
        if not self.multiscale:
            return stages[-1]
        if self.gate is not None:
            weights = self.gate(stages[-1]) if weights is None else weights
            stages = [stage * weights[:, i, None, None, None] for i, stage in enumerate(stages)]
        return torch.cat(stages, dim=1)

    def stage_weights(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1], or features (b, n) -> (b, 4), from the finest stage to the
        coarsest; rows sum to 1.

        ValueError for a model that weighs no stages.
        """
        if self.gate is None:
            raise ValueError(
                "this model has no stage weights: it was built with attention=False or "
                "multiscale=False"
            )
        return self.gate(self.pooled(images)[-1])


class AdaptiveGate(nn.Module):
    """The mean of the last stage (b, c, 7, 7) -> softmax weights (b, 4); it starts near a quarter
    each.
    """

    def __init__(self, channels, dropout):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(channels, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, 4)
        )
        for layer in (self.net[0], self.net[3]):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, last):
        return self.net(last.mean((2, 3))).softmax(1)


class StaticGate(nn.Module):
    """Four learnt numbers, the same for every image -> softmax weights (b, 4)."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(4))

    def forward(self, last):
        return self.logits.softmax(0).expand(len(last), 4)
