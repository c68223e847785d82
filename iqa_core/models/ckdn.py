"""CKDN: a restored image judged against the degraded one that it was made from; pristine images are
needed in training only.

Zheng, Yang, Fu, Zha, Luo, "Learning Conditional Knowledge Distillation for Degraded-Reference Image
Quality Assessment", ICCV 2021, arXiv:2108.07948; code github.com/researchmm/CKDN (MIT), which is
followed in everything, as its weights are: the stem has neither norm nor activation; teacher and
student are the same weights with another reference, and the teacher is not detached; the
distillation term is the square of a mean square. The paper's text was not at hand to compare. Its
code resizes restored images bicubically and references by nearest neighbour, in training and in
evaluation.

The published training holds Elo scores against `label_scale: [900, 1000]`, which the first stage's
loss takes for granted, and sees the centre crop alone, unflipped; `training.fit` draws crops.

Any timm pyramid that is a chain of layers can stand for ResNet-50. Of a ResNet the stem's norm and
activation are left out, as published; of others nothing.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from . import Contract, Objective
from .arguments import Chance, PyramidName
from .layers import Attention
from .pyramid import Pyramid

VARIANTS = {"CKDN": {}}
REPORTED = (
    "PIPAL, 39 unseen distortion types of 25 unseen references, mean of the per-reference SRCC / "
    "PLCC: .767 / .751, with "
    "pristine references SRCC .792 (a public summary of the paper; the best epoch, probably on "
    "those images)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "as here; the second image is resized by nearest neighbour only because the code treats it as "
    "a label map."
)
UNUSED = (r"^aux_csp\.", r"^aux_fc\.")  # the first training stage's, not in a score
FROZEN_CROPS = {"fixed": True}
TEST_KWARGS = [
    {"backbone": "mobilenetv3_small_100"},
    {"backbone": "mobilenetv3_small_100", "fixed": True, "compare": "cross_attention"},
]
TEST_SWITCHES = {
    "backbone": {"backbone": "tf_efficientnet_lite0"},
    "dropout": {"dropout": 0.1},
    "fixed": {"fixed": True},
    "reference": {"reference": "none"},
    "pristine": {"pristine": "seen"},
    "distillation": {"distillation": "quadratic"},
    "teacher": {"teacher": "detached"},
    "encoders": {"encoders": "shared"},
    "compare": {"compare": "cross_attention"},
}
IN_TRAINING = ("pristine", "distillation", "teacher")  # scores of equal weights are the same
PUBLISHED = (  # published state-dict key -> ours
    (r"^(qse|dte)_1\.", r"\1.conv1."),
    (r"^(qse|dte)_2\.", r"\1.layer1."),
    (r"^(csp|aux_csp)\.", r"\1.layer2."),
    (r"^fc_\.", "fc."),
    (r"^fc1_\.", "aux_fc."),
)


def build(
    backbone: PyramidName = "resnet50.tv_in1k",
    dropout: Chance = 0.5,
    *,
    fixed: bool = False,
    reference: Literal["degraded", "pristine", "none"] = "degraded",
    pristine: Literal["distilled", "seen", "absent"] = "distilled",
    distillation: Literal["quartic", "quadratic"] = "quartic",
    teacher: Literal["attached", "detached"] = "attached",
    encoders: Literal["separate", "shared"] = "separate",
    compare: Literal["difference", "cross_attention"] = "difference",
    pretrained: bool = True,
) -> nn.Module:
    """CKDN; with ResNet-50 (torchvision's first weights) 13,387,650 parameters, 6,919,041 of them
    behind a score.

    `pretrained` takes the backbone's ImageNet weights, the same for both embeddings and for both
    predictors; the linear layers start as torch makes them. `dropout`: between those layers.

    The others are ours, for small data and for ablations. `fixed`: the layers up to stride 4 never
    learn, and embeddings and predictor are the next two stages, so that frozen crops can stand for
    images. `reference`: what a restored image is judged beside, in training and afterwards; none: a
    judge of single images. `pristine`: whether training, beside the degraded reference, also judges
    against the pristine one and draws both references' embeddings together, or does the first
    alone, or sees no pristine image. `distillation`: the cost of the embeddings' mean squared
    difference is 30 times its square, or 30 times itself. `teacher`: detached, the pristine
    reference's embedding is not drawn to the degraded one's. `encoders`: shared, references go
    through the embedding of restored images. `compare`: in place of subtracting the reference's
    embedding, subtract what attention reads from it.

    ValueError for a backbone whose maps are not made by one layer after the other.
    """
    return CKDN(
        backbone,
        dropout,
        pretrained,
        fixed=fixed,
        reference=reference,
        with_teacher=reference == "degraded" and pristine != "absent",
        distils=pristine == "distilled",
        distillation=distillation,
        detached=teacher == "detached",
        shared=encoders == "shared",
        attends=compare == "cross_attention",
    )


class CKDN(nn.Module):
    """Quality-sensitive embedding of the restored image (QSE), degradation-tolerant embedding of
    its reference (DTE), and the convolutional score predictor of their difference (CSP); images of
    any size, scores in 0..1.
    """

    def __init__(
        self,
        backbone: str,
        dropout: float,
        pretrained: bool,
        *,
        fixed: bool,
        reference: str,
        with_teacher: bool,
        distils: bool,
        distillation: str,
        detached: bool,
        shared: bool,
        attends: bool,
    ):
        super().__init__()
        self.contract = Contract(
            "github.com/researchmm/CKDN: shorter side 329, centre crop of 288",
            crop=288, resize=329,
            interpolation=("bicubic", "nearest"),
            reference=None if reference == "none" else reference,
            units="(Elo score - 900) / 1000 on PIPAL", low=0.0, high=1.0,
        )  # fmt: skip
        self.distils, self.distillation, self.detached = distils, distillation, detached
        pyramid = Pyramid(backbone, pretrained=pretrained)
        channels = pyramid.channels[1:3] if fixed else pyramid.channels[:2]
        self.normalise = pyramid.normalise
        *stem, self.qse, self.csp = _split(pyramid, backbone, (4, 8, 16) if fixed else (4, 8))
        self.stem = FixedLayers(*stem, channels=pyramid.channels[0]) if fixed else None
        separate = reference != "none" and not shared
        self.dte = deepcopy(self.qse) if separate else None
        self.cross = ReadBeside(channels[0]) if attends and reference != "none" else None
        self.aux_csp = deepcopy(self.csp)
        self.fc, self.aux_fc = (_judge(channels[1], dropout) for _ in range(2))

        parts = [*(["image"] if reference == "none" else ["image", reference]), "partner"]
        if with_teacher:
            parts.append("pristine")
        learnt = ("qse", "dte", "csp", "aux_csp")
        self.objective = replace(
            OBJECTIVE,
            parts=tuple(parts),
            backbone=tuple(name for name in learnt if getattr(self, name) is not None),
        )

    def forward(
        self, restored: torch.Tensor, reference: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Two of (b, 3, h, w) in [0, 1], or their `frozen_features`, the second only where there is
        a reference -> scores (b,) in 0..1.
        """
        images = [restored] if reference is None else [restored, reference]
        restored, *references = self._stemmed(*images)
        seen = self.qse(restored)
        return self._score(self._beside(seen, *(self._embedded(each) for each in references)))

    def heads(
        self,
        restored: torch.Tensor,
        degraded: torch.Tensor,
        restored2: torch.Tensor,
        pristine: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """What training needs, each (b,), from four of (b, 3, h, w) in [0, 1]; `restored2`: of the
        same content.

        dr: the score against the degraded image, as `forward` gives it; fr: against the pristine
        one; nr: the probability that restored2 is the better one; diff: the mean squared difference
        of both references' embeddings.
        """
        restored, degraded, restored2, pristine = self._stemmed(
            restored, degraded, restored2, pristine
        )
        seen, student, teacher = (
            self.qse(restored),
            self._embedded(degraded),
            self._embedded(pristine),
        )
        # One batch: norms see both, as published.
        both = torch.cat([self._beside(seen, student), self._beside(seen, teacher)])
        dr, fr = self._score(both).chunk(2)
        goal = teacher.detach() if self.detached else teacher
        return {
            "dr": dr,
            "fr": fr,
            "nr": self._relative(seen, restored2),
            "diff": (student - goal).square().mean((1, 2, 3)),
        }

    def training_heads(self, **images: torch.Tensor) -> list[torch.Tensor]:
        """What a step's loss is of, from the images of the objective's parts, each (b,): the score,
        the probability that the partner is better; with a teacher also the score against the
        pristine image, and the cost of the distance between both references.
        """
        if "pristine" in images and self.contract.reference == "degraded":
            heads = self.heads(
                images["image"], images["degraded"], images["partner"], images["pristine"]
            )
            cost = distance_cost(heads["diff"], self.distillation)
            return [heads["dr"], heads["nr"], heads["fr"], cost if self.distils else 0 * cost]
        image, partner = images.pop("image"), images.pop("partner")
        restored, partner, *references = self._stemmed(image, partner, *images.values())
        seen = self.qse(restored)
        score = self._score(self._beside(seen, *(self._embedded(each) for each in references)))
        return [score, self._relative(seen, partner)]

    @property
    def frozen_trunk(self) -> nn.Module | None:
        """The layers that never learn; None where all learn."""
        return self.stem

    frozen_settings = ()

    def frozen_features(self, images: torch.Tensor) -> torch.Tensor:
        """Crops (b, 3, s, s) in [0, 1] -> (b, n): the map of stride 4, all that learns reads."""
        return self.stem(self.normalise(images)).flatten(1)

    def _embedded(self, reference):
        return (self.qse if self.dte is None else self.dte)(reference)

    def _beside(self, seen, reference=None):
        """What the predictor reads of a restored image's embedding and its reference's."""
        if reference is None:
            return seen
        return seen - (reference if self.cross is None else self.cross(seen, reference))

    def _relative(self, seen, restored2):
        apart = self.aux_csp(seen - self.qse(restored2))
        return self.aux_fc(apart.mean((2, 3))).sigmoid()[:, 0]

    def _score(self, difference):
        return self.fc(self.csp(difference).mean((2, 3))).sigmoid()[:, 0]

    def _stemmed(self, *images):
        """Images, or frozen crops, as the embeddings take them; ValueError for unequal ones."""
        if len(shapes := {tuple(each.shape) for each in images}) > 1:
            raise ValueError(
                f"CKDN compares images of one size, as many of each, not "
                f"{' and '.join(map(str, sorted(shapes)))}"
            )
        if images[0].ndim == 2:
            side = math.isqrt(images[0].shape[1] // self.stem.channels)
            maps = [each.unflatten(1, (self.stem.channels, side, side)) for each in images]
            return [each.contiguous(memory_format=torch.channels_last) for each in maps]
        normal = [self.normalise(each) for each in images]
        return normal if self.stem is None else [self.stem(each) for each in normal]


class FixedLayers(nn.Sequential):
    """Layers whose weights never learn and whose norms never measure; maps of `channels`."""

    def __init__(self, *layers: nn.Module, channels: int):
        super().__init__(*layers)
        self.channels = channels
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        return super().train(False)


class ReadBeside(nn.Module):
    """What every place of a restored image's map (b, c, h, w) reads, by attention, from all places
    of its reference's, these averaged to at most 16 a side -> (b, c, h, w).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.attention = Attention(channels, heads=1)

    def forward(self, seen, reference):
        if max(reference.shape[2:]) > 16:
            reference = nn.functional.adaptive_avg_pool2d(reference, 16)
        places, others = (maps.flatten(2).transpose(1, 2) for maps in (seen, reference))
        return self.attention(places, others).transpose(1, 2).unflatten(2, seen.shape[2:])


def stage1_loss(nr: torch.Tensor, target: torch.Tensor, target2: torch.Tensor) -> torch.Tensor:
    """First stage, epochs 0 to 9: half the mean squared error of nr (b,) as the Elo probability
    that restored2 wins.

    `target`, `target2`: labels (b,) of restored and restored2, (Elo score - 900) / 1000. Trains QSE
    and the aux parts.
    """
    return 0.5 * (nr - 1 / (1 + 10 ** ((target - target2) * 1000 / 400))).square().mean()


def distance_cost(diff: torch.Tensor, distillation: str) -> torch.Tensor:
    """The cost (b,) of both references' embeddings being `diff` (b,), a mean square, apart: 30
    times its square (quartic, as published) or 30 times itself (quadratic).

    The published one distils by the fourth power of the feature difference: twice the difference
    costs sixteen times as much, and small ones cost nearly nothing.
    """
    return 30 * (diff.square() if distillation == "quartic" else diff)


def stage2_loss(
    score: torch.Tensor, target: torch.Tensor, fr: torch.Tensor, distance: torch.Tensor
) -> torch.Tensor:
    """Second stage, epochs 10 to 29: mean squared errors of the scores (b,) against the degraded
    and against the pristine reference, plus the mean `distance_cost`. Trains QSE, DTE, CSP and its
    linear layers.
    """
    errors = [(each - target).square().mean() for each in (score, fr)]
    return sum(errors) + distance.mean()


# ---- training: `training_heads` of a restored image, its references, and a partner


def all_heads(model: CKDN, *views: torch.Tensor) -> torch.Tensor:
    """The `training_heads` of a batch, (b, 2), with a teacher (b, 4)."""
    images = dict(zip(model.objective.parts, views, strict=True))
    return torch.stack(model.training_heads(**images), 1)


def staged_loss(outputs: torch.Tensor, target: torch.Tensor, stage: int) -> torch.Tensor:
    """The loss of a stage, 0 or 1, of heads (b, 2 or 4) and of labels of image and partner (b, 2).
    Without a teacher the second stage's is the score's mean squared error.
    """
    score, nr, *teacher = outputs.unbind(1)
    if stage == 0:
        return stage1_loss(nr, *target.unbind(1))
    if teacher:
        return stage2_loss(score, target[:, 0], *teacher)
    return (score - target[:, 0]).square().mean()


def score_of_heads(outputs: torch.Tensor) -> torch.Tensor:
    """The score (b,) of heads (b, 2 or 4)."""
    return outputs[:, 0]


def learning_parts(model: CKDN, stage: int) -> Iterator[nn.Parameter]:
    """The parameters that learn: first QSE and the auxiliary predictor, then QSE, DTE and CSP."""
    first = (model.qse, model.aux_csp, model.aux_fc)
    second = (model.qse, model.dte, model.cross, model.csp, model.fc)
    for part in (first, second)[stage]:
        yield from () if part is None else part.parameters()


OBJECTIVE = Objective(
    forward=all_heads,
    loss=staged_loss,
    scores=score_of_heads,
    learns=learning_parts,
    stages=2,
)


def _judge(channels, dropout):
    return nn.Sequential(
        nn.Linear(channels, 2048), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(2048, 2048), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(2048, 1),
    )  # fmt: skip


@torch.no_grad()
def _split(pyramid, backbone, strides):
    """The layers up to the map of each stride, from that of the one before; the maps are compared
    with timm's.
    """
    images = torch.zeros(1, 3, 224, 224)
    if not images.is_meta:  # where nothing is computed, only sizes are compared
        images.uniform_(generator=torch.Generator().manual_seed(0))
    expected, features, found = pyramid.eval().body(images), images, {}
    parts = {stride: OrderedDict() for stride in strides}
    for name, layer in _layers(pyramid.body):
        features = (
            None if isinstance(layer, nn.ModuleList) else layer(features)
        )  # a list: branches side by side
        stride = 0 if features is None else max(4, 224 // features.shape[-1])
        if stride not in parts:
            break
        parts[stride][name], found[stride] = layer, features
    if not all(
        s in found and _same(found[s], own) for s, own in zip(parts, expected, strict=False)
    ):
        *others, last = map(str, strides)
        raise ValueError(
            f"{backbone}'s maps of strides {', '.join(others)} and {last} are not made by one "
            "layer after the other, so CKDN cannot split it; "
            "ResNets, EfficientNets, MobileNets and ConvNeXts can be split"
        )
    if "layer1" in parts[4]:
        parts[4] = OrderedDict(
            (name, layer) for name, layer in parts[4].items() if name not in ("bn1", "act1")
        )
    return (nn.Sequential(part).train() for part in parts.values())


def _same(maps, others):
    return maps.shape == others.shape and (maps.is_meta or torch.equal(maps, others))


def _layers(body):
    """(name, layer) in order; an EfficientNet's blocks one by one."""
    for name, child in body.named_children():
        if name == "blocks":
            yield from ((f"blocks_{i}", block) for i, block in child.named_children())
        else:
            yield name, child
