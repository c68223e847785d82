"""The MIQA baselines: parity with torchvision's and timm's own networks, and what they refuse."""

import pytest
import timm
import torch
import torchvision
from golden_rules import filled, image
from torch import nn

from iqa_core.models import create_model, miqa_baseline, weights

IMAGENET = (
    torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
    torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
)
HALF = torch.tensor(0.5), torch.tensor(0.5)
COUNTS = {
    "ResNet-18": 11_177_025,
    "ResNet-50": 23_510_081,
    "EfficientNet-b1": 6_514_465,
    "EfficientNet-b5": 28_342_833,
    "ViT-small": 21_666_049,
}


def original(backbone):
    """The network with its head replaced as the paper's code does, and (mean, std) of its input."""
    if backbone.startswith("vit"):
        return timm.create_model(backbone, num_classes=1), HALF
    network = getattr(torchvision.models, backbone)(weights=None)
    if backbone.startswith("resnet"):
        network.fc = nn.Linear(network.fc.in_features, 1)
    else:
        network.classifier = nn.Linear(network.classifier[1].in_features, 1)
    return network, IMAGENET


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.endswith("b5") else n for n in COUNTS]
)
def test_a_published_checkpoint_answers_as_its_own_network(name):
    backbone = miqa_baseline.VARIANTS[name]["backbone"]
    network, (mean, std) = original(backbone)
    state = filled({key: tuple(value.shape) for key, value in network.state_dict().items()})
    network.load_state_dict(state, strict=False)
    model, picture = (
        weights.from_published("miqa_baseline", state, backbone=backbone),
        image(11, 224, 224),
    )
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]
    with torch.no_grad():
        expected = network.eval()((picture - mean) / std)[:, 0]
        score = model(picture)
    assert torch.isfinite(score).all() and score.abs().max() > 1e-3
    torch.testing.assert_close(score, expected, atol=1e-5, rtol=1e-5)


def test_the_heads_are_bare_linear_layers():
    for backbone, head in miqa_baseline.TORCHVISION.items():
        if not backbone.endswith(("50", "b5")):
            model = create_model("miqa_baseline", backbone=backbone, pretrained=False)
            assert (
                type(getattr(model.backbone, head)) is nn.Linear
                and getattr(model.backbone, head).out_features == 1
            )


def test_other_models_of_timm_come_with_their_own_normalisation():
    model = create_model("miqa_baseline", backbone="test_vit", pretrained=False)
    assert model.normalise.mean.flatten().tolist() == [0.5] * 3
    assert model(torch.rand(2, 3, 224, 224)).shape == (2,)


def test_unknown_backbones_other_crops_and_other_checkpoints_are_refused():
    with pytest.raises(
        ValueError, match="backbone is 'resnet'; it is one of resnet18, .*, or a model of timm"
    ):
        create_model("miqa_baseline", backbone="resnet", pretrained=False)
    model = create_model("miqa_baseline", backbone="resnet18", pretrained=False)
    with pytest.raises(ValueError, match="crops of 224 x 224, not"):
        model(torch.rand(1, 3, 288, 288))
    state = model.backbone.state_dict() | {"fc.weight": torch.zeros(1000, 512)}
    with pytest.raises(
        ValueError,
        match=r"fit; 1 of another shape: backbone.fc.weight \(1000, 512\) for \(1, 512\)",
    ):
        weights.from_published("miqa_baseline", state, backbone="resnet18")
