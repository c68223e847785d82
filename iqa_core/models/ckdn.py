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

from collections import OrderedDict
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

from . import Contract, Objective
from .arguments import Chance, PyramidName
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
TEST_KWARGS = [{"backbone": "mobilenetv3_small_100"}]
TEST_SWITCHES = {"backbone": {"backbone": "tf_efficientnet_lite0"}, "dropout": {"dropout": 0.1}}
PUBLISHED = (  # published state-dict key -> ours
    (r"^(qse|dte)_1\.", r"\1.conv1."),
    (r"^(qse|dte)_2\.", r"\1.layer1."),
    (r"^(csp|aux_csp)\.", r"\1.layer2."),
    (r"^fc_\.", "fc."),
    (r"^fc1_\.", "aux_fc."),
)


def build(
    backbone: PyramidName = "resnet50.tv_in1k", dropout: Chance = 0.5, pretrained: bool = True
) -> nn.Module:
    """CKDN; with ResNet-50 (torchvision's first weights) 13,387,650 parameters, 6,919,041 of them
    behind a score.

    `pretrained` takes the backbone's ImageNet weights, the same for both embeddings and for both
    predictors; the linear layers start as torch makes them. `dropout`: between those layers.
    ValueError for a backbone whose maps up to stride 8 are not made by one layer after the other.
    """
    return CKDN(backbone, dropout, pretrained)


class CKDN(nn.Module):
    """Quality-sensitive embedding of the restored image (QSE), degradation-tolerant embedding of
    its reference (DTE), and the convolutional score predictor of their difference (CSP); images of
    any size, scores in 0..1.
    """

    def __init__(self, backbone: str, dropout: float, pretrained: bool):
        super().__init__()
        self.objective = OBJECTIVE
        self.contract = Contract(
            "github.com/researchmm/CKDN: shorter side 329, centre crop of 288",
            crop=288, resize=329,
            interpolation=("bicubic", "nearest"), reference="degraded",
            units="(Elo score - 900) / 1000 on PIPAL", low=0.0, high=1.0,
        )  # fmt: skip
        pyramid = Pyramid(backbone, pretrained=pretrained)
        self.normalise = pyramid.normalise
        self.qse, self.csp = _split(pyramid, backbone)
        self.dte, self.aux_csp = deepcopy(self.qse), deepcopy(self.csp)
        self.fc, self.aux_fc = (_judge(pyramid.channels[1], dropout) for _ in range(2))

    def forward(self, restored: torch.Tensor, degraded: torch.Tensor) -> torch.Tensor:
        """Two of (b, 3, h, w) in [0, 1] -> scores (b,) in 0..1."""
        restored, degraded = self._normalised(restored, degraded)
        return self._score(self.qse(restored) - self.dte(degraded))

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
        restored, degraded, restored2, pristine = self._normalised(
            restored, degraded, restored2, pristine
        )
        seen, student, teacher = self.qse(restored), self.dte(degraded), self.dte(pristine)
        relative = self.aux_fc(self.aux_csp(seen - self.qse(restored2)).mean((2, 3))).sigmoid()
        # One batch: norms see both, as published.
        dr, fr = self._score(torch.cat([seen - student, seen - teacher])).chunk(2)
        return {
            "dr": dr,
            "fr": fr,
            "nr": relative[:, 0],
            "diff": (student - teacher).square().mean((1, 2, 3)),
        }

    def _score(self, difference):
        return self.fc(self.csp(difference).mean((2, 3))).sigmoid()[:, 0]

    def _normalised(self, *images):
        if len(shapes := {tuple(each.shape) for each in images}) > 1:
            raise ValueError(
                f"CKDN compares images of one size, as many of each, not "
                f"{' and '.join(map(str, sorted(shapes)))}"
            )
        return [self.normalise(each) for each in images]


def stage1_loss(nr: torch.Tensor, target: torch.Tensor, target2: torch.Tensor) -> torch.Tensor:
    """First stage, epochs 0 to 9: half the mean squared error of nr (b,) as the Elo probability
    that restored2 wins.

    `target`, `target2`: labels (b,) of restored and restored2, (Elo score - 900) / 1000. Trains QSE
    and the aux parts.
    """
    return 0.5 * (nr - 1 / (1 + 10 ** ((target - target2) * 1000 / 400))).square().mean()


def stage2_loss(heads: dict[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Second stage, epochs 10 to 29: both scores' mean squared errors plus 30 times the mean of
    diff^2.

    `diff` is a mean square already, so as published this distils by the fourth power of the feature
    difference: twice the difference costs sixteen times as much, and small ones cost nearly
    nothing. Trains QSE, DTE, CSP and its linear layers.
    """
    errors = [(heads[name] - target).square().mean() for name in ("dr", "fr")]
    return sum(errors) + 30 * heads["diff"].square().mean()


# ---- training: `heads` of a restored image, its degraded and pristine references, and a partner


def four_heads(model: CKDN, *views: torch.Tensor) -> torch.Tensor:
    """The heads dr, fr, nr and diff of a batch, (b, 4)."""
    return torch.stack(list(model.heads(*views).values()), 1)


def staged_loss(outputs: torch.Tensor, target: torch.Tensor, stage: int) -> torch.Tensor:
    """The loss of a stage, 0 or 1, of heads (b, 4) and of labels of image and partner (b, 2)."""
    dr, fr, nr, diff = outputs.unbind(1)
    if stage == 0:
        return stage1_loss(nr, *target.unbind(1))
    return stage2_loss({"dr": dr, "fr": fr, "diff": diff}, target[:, 0])


def score_of_heads(outputs: torch.Tensor) -> torch.Tensor:
    """The score against the degraded reference (b,) of heads (b, 4)."""
    return outputs[:, 0]


def learning_parts(model: CKDN, stage: int) -> Iterator[nn.Parameter]:
    """The parameters that learn: first QSE and the auxiliary predictor, then QSE, DTE and CSP."""
    first = (model.qse, model.aux_csp, model.aux_fc)
    second = (model.qse, model.dte, model.csp, model.fc)
    for part in (first, second)[stage]:
        yield from part.parameters()


OBJECTIVE = Objective(
    parts=("image", "degraded", "partner", "pristine"),
    forward=four_heads,
    loss=staged_loss,
    scores=score_of_heads,
    learns=learning_parts,
    backbone=("qse", "dte", "csp", "aux_csp"),
    stages=2,
)


def _judge(channels, dropout):
    return nn.Sequential(
        nn.Linear(channels, 2048), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(2048, 2048), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(2048, 1),
    )  # fmt: skip


@torch.no_grad()
def _split(pyramid, backbone):
    """The layers up to the map of stride 4, and those from there to the map of stride 8; both maps
    are compared with timm's.
    """
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected, features, found = pyramid.eval().body(images)[:2], images, {}
    parts = {4: OrderedDict(), 8: OrderedDict()}
    for name, layer in _layers(pyramid.body):
        features = (
            None if isinstance(layer, nn.ModuleList) else layer(features)
        )  # a list: branches side by side
        stride = 0 if features is None else max(4, 224 // features.shape[-1])
        if stride not in parts:
            break
        parts[stride][name], found[stride] = layer, features
    if not all(
        s in found and torch.equal(found[s], own) for s, own in zip(parts, expected, strict=True)
    ):
        raise ValueError(
            f"{backbone}'s maps of strides 4 and 8 are not made by one layer after the other, so "
            f"CKDN cannot split it; "
            "ResNets, EfficientNets, MobileNets and ConvNeXts can be split"
        )
    if "layer1" in parts[4]:
        parts[4] = OrderedDict(
            (name, layer) for name, layer in parts[4].items() if name not in ("bn1", "act1")
        )
    return (nn.Sequential(part).train() for part in parts.values())


def _layers(body):
    """(name, layer) in order; an EfficientNet's blocks one by one."""
    for name, child in body.named_children():
        if name == "blocks":
            yield from ((f"blocks_{i}", block) for i, block in child.named_children())
        else:
            yield name, child
