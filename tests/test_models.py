"""Contracts over the model registry, and parity with published implementations."""

import importlib

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image

from iqa_core.evaluation import predict
from iqa_core.models import create_model, list_models, weights
from iqa_core.models.pyramid import Pyramid, fold_batch_norm

CASES = [(name, kwargs) for name in list_models() for kwargs in importlib.import_module(f"iqa_core.models.{name}").TEST_KWARGS]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
def model(request):
    torch.manual_seed(0)
    name, kwargs = request.param
    return create_model(name, **kwargs)


def crops(model, number=3):
    return torch.rand(number, 3, model.contract.crop, model.contract.crop, generator=torch.Generator().manual_seed(1))


def test_scores_are_one_finite_number_an_image_and_do_not_depend_on_the_batch(model):
    model.eval()
    images = crops(model)
    with torch.no_grad():
        scores = model(images)
        alone = torch.cat([model(one[None]) for one in images])
    assert scores.shape == (3,) and torch.isfinite(scores).all()
    torch.testing.assert_close(scores, alone, rtol=1e-4, atol=1e-4)


def test_every_parameter_learns(model):
    unused = importlib.import_module(f"iqa_core.models.{model.recipe['name']}").UNUSED
    model.train()
    with torch.no_grad():  # timm starts some norms at zero, behind which nothing would learn at the first step
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    (model(crops(model, 4)) - torch.tensor([0.0, 1.0, -1.0, 2.0])).square().sum().backward()
    for name, parameter in model.named_parameters():
        if name not in unused and parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_a_saved_model_predicts_the_same(model, tmp_path):
    model.contract.offset, model.contract.scale = 50.0, 20.0
    images = [np.random.default_rng(i).integers(0, 256, (230, 260, 3), dtype=np.uint8) for i in range(2)]
    weights.save(model, tmp_path)
    again = weights.load(tmp_path)
    np.testing.assert_allclose(predict(again, images, crops=4), predict(model, images, crops=4), atol=1e-4)
    assert again.contract == model.contract and again.recipe == model.recipe


def test_images_are_normalised_inside_by_the_backbone_s_own_figures(model):
    seen = []
    model.pyramid.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.eval()(torch.full((1, 3, 224, 224), 0.5))
    expected = (0.5 - model.pyramid.mean) / model.pyramid.std
    torch.testing.assert_close(seen[0][:, :, :1, :1], expected)


def test_unknown_names_are_refused_naming_what_there_is():
    with pytest.raises(KeyError, match="no model 'hyperqa'; there are hyperiqa"):
        create_model("hyperqa")
    with pytest.raises(TypeError, match="no argument backbon; it has backbone"):
        create_model("hyperiqa", backbon="resnet18")
    with pytest.raises(ValueError, match="timm has no backbone 'resnet51'; near it"):
        create_model("hyperiqa", backbone="resnet51", pretrained=False)
    with pytest.raises(ValueError, match="pyramid needs 4, 8, 16, 32"):
        create_model("hyperiqa", backbone="vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(ValueError, match="head is 'lite'; there are published, light"):
        create_model("hyperiqa", head="lite")


# ---- HyperIQA


@pytest.fixture(scope="module")
def published():
    return weights.from_published("hyperiqa", filled(golden("hyperiqa")["keys"]))


def test_hyperiqa_has_the_published_number_of_parameters(published):
    assert sum(p.numel() for p in published.parameters()) == golden("hyperiqa")["n_params"] == 27_375_369


@pytest.mark.parametrize("seed", golden("hyperiqa")["cases"])
def test_hyperiqa_answers_as_the_published_code(published, seed):
    case, picture = golden("hyperiqa")["cases"][seed], image(int(seed), 224, 224)
    with torch.no_grad():
        score, vector = published(picture), published.local(published.pyramid(picture))
    np.testing.assert_allclose(score, case["score"], atol=1e-4)
    np.testing.assert_allclose([vector.mean(), vector.std()], case["target_in_vec_mean_std"], atol=1e-4)


def test_hyperiqa_refuses_other_crops_and_damaged_checkpoints(published):
    with pytest.raises(ValueError, match="224 x 224, not"):
        published(torch.rand(1, 3, 256, 256))
    state = filled(golden("hyperiqa")["keys"])
    del state["fc5b_fc.bias"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="2 entries differ: extra.weight is not ours; hyper.bias.5.bias is missing"):
        weights.from_published("hyperiqa", state)


# ---- pyramids


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_frozen_maps_stay_and_the_others_learn(backbone):
    model = create_model("hyperiqa", backbone=backbone, head="light", pretrained=False, frozen=2).train()
    images = torch.rand(4, 3, 96, 96)
    before = [m.detach() for m in model.pyramid(images)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(images) - torch.arange(4)).abs().mean().backward()
    optimizer.step()
    same = [torch.equal(old, new) for old, new in zip(before, model.pyramid(images), strict=True)]
    assert same == [True, True, False, False, False]


@pytest.mark.parametrize("backbone", ["swin_tiny_patch4_window7_224", "convnext_atto", "mobilenetv3_small_100"])
def test_any_pyramid_of_timm_carries_both_heads(backbone):
    for head in ("published", "light"):
        model = create_model("hyperiqa", backbone=backbone, head=head, pretrained=False).eval()
        with torch.no_grad():
            assert torch.isfinite(model(torch.rand(2, 3, 224, 224))).all()
        assert [m.shape[1] for m in model.pyramid(torch.rand(1, 3, 224, 224))] == model.pyramid.channels


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


def test_weights_inside_an_installed_wheel_are_taken_without_network():
    pyramid = Pyramid("tf_efficientnet_lite0", pretrained=True).eval()
    stem = pyramid.body.conv_stem.weight
    assert 0.1 < stem.std() < 1  # trained stems have strong filters; the default initialisation has .08
    random = Pyramid("tf_efficientnet_lite0", pretrained=False).body.conv_stem.weight
    assert not torch.equal(stem, random)
