"""The five baselines of machine-oriented quality assessment: an ImageNet network whose head gives
one number.

Wang et al., "Image Quality Assessment for Machines: Paradigm, Large-scale Database, and Models",
arXiv 2508.19850; code github.com/SYSU-Video/MIQA (MIT). The code is followed: names are looked up
in torchvision first, and the whole `classifier` of an EfficientNet becomes one linear layer, so its
dropout is lost (the stochastic depth of its blocks stays). All five see crops of 224, which is not
what EfficientNet-b1 and -b5 were made for.
"""

import logging

import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from . import Contract
from .arguments import TimmName
from .layers import Normalise
from .pyramid import fetching, timm_model

log = logging.getLogger(__name__)

CROP = 224  # pixels a side
IMAGENET = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}  # of torchvision's weights
TORCHVISION = {
    "resnet18": "fc",
    "resnet50": "fc",
    "efficientnet_b1": "classifier",
    "efficientnet_b5": "classifier",
}
VARIANTS = {
    "ResNet-18": {"backbone": "resnet18"},
    "ResNet-50": {"backbone": "resnet50"},
    "EfficientNet-b1": {"backbone": "efficientnet_b1"},
    "EfficientNet-b5": {"backbone": "efficientnet_b5"},
    "ViT-small": {"backbone": "vit_small_patch16_224.augreg_in21k_ft_in1k"},
}
REPORTED = (
    "MIQD-2.5M, composite labels of models for classification, detection, instance segmentation: "
    "ResNet-18 .5131 / .5427, .7541 / .7734, .7582 / .7790; "
    "ResNet-50 .5581 / .5797, .7743 / .7925, .7729 / .7933; "
    "EfficientNet-b1 .5901 / .6130, .7766 / .7950, .7808 / .7999; "
    "EfficientNet-b5 .6330 / .6440, .7866 / .8041, .7899 / .8074; "
    "ViT-small .5998 / .6161, .7992 / .8142, .7968 / .8139: "
    "the images on which the best of about ten validations was chosen, PLCC apparently after a fit "
    "(the code's README)"
)
AUTHORS_DO = (  # with an image, where it differs from here; docs/preprocessing.md
    "as here at inference; training takes the 224 at random from the resized picture."
)
UNUSED = ()
TEST_KWARGS = [{"backbone": "resnet18"}, {"backbone": "vit_tiny_patch16_224"}]
TEST_SWITCHES = {"backbone": {"backbone": "efficientnet_b1"}}
PUBLISHED = ((r"^", "backbone."),)  # torchvision's and timm's own names


def build(backbone: TimmName = "resnet50", pretrained: bool = True) -> nn.Module:
    """A baseline: resnet18, resnet50, efficientnet_b1, efficientnet_b5 of torchvision, any other
    name of timm.

    `pretrained` takes ImageNet weights, torchvision's IMAGENET1K_V1 for its four; the new head
    starts as PyTorch's linear layers do, timm's as timm does. Parameters: 11,177,025, 23,510,081,
    6,514,465, 28,342,833, and 21,666,049 for ViT-small.
    """
    return Baseline(backbone, pretrained)


class Baseline(nn.Module):
    """Crops of 224 in [0, 1] -> scores (b,), not bounded; normalised as the backbone's weights
    expect.
    """

    def __init__(self, backbone: str, pretrained: bool):
        super().__init__()
        self.contract = Contract(
            "github.com/SYSU-Video/MIQA: shorter side 288, centre crop of 224",
            resize=288,
            crop=CROP,
            crops=1,
            units="MMOS, though nothing bounds them",
            low=0.0,
            high=1.0,
        )
        load = _torchvision if backbone in TORCHVISION else _timm
        self.backbone = load(backbone, pretrained)
        self.normalise = Normalise(getattr(self.backbone, "default_cfg", IMAGENET))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, 224, 224) in [0, 1] -> scores (b,)."""
        if images.shape[-2:] != (CROP, CROP):
            raise ValueError(
                f"the MIQA baselines take crops of 224 x 224, not {tuple(images.shape[-2:])}"
            )
        return self.backbone(self.normalise(images))[:, 0]


def _torchvision(name, pretrained):
    with fetching(f"torchvision's weights {name}"):
        body = torchvision.models.get_model(name, weights="IMAGENET1K_V1" if pretrained else None)
    head = TORCHVISION[name]
    old = getattr(body, head)
    width = (old if head == "fc" else old[-1]).in_features
    setattr(body, head, nn.Linear(width, 1))
    if pretrained:
        log.info("%s: torchvision's IMAGENET1K_V1, from the local cache or the network", name)
    return body


def _timm(name, pretrained):
    if not timm.is_model(name):
        raise ValueError(
            f"backbone is {name!r}; it is one of {', '.join(TORCHVISION)}, or a model of timm"
        )
    sized = {"img_size": CROP} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    return timm_model(name, pretrained=pretrained, num_classes=1, **sized)
