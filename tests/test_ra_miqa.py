"""RA-MIQA: its two encoders and their weights, parity with the published implementation, and what
it refuses.
"""

import numpy as np
import pytest
import timm
import torch
from golden_rules import filled, golden, image
from torch import nn

from iqa_core.models import create_model, ra_miqa, weights

CASES = golden("ra_miqa")["cases"]
SMALL = {"backbone": "vit_tiny_patch16_224", "region": "mobilenetv3_small_050", "pretrained": False}


@pytest.fixture(scope="module")
def published():
    return weights.from_published("ra_miqa", filled(golden("ra_miqa")["keys"]))


def test_the_region_encoder_is_frozen_and_never_in_training_mode():
    model = create_model("ra_miqa", **SMALL).train()
    assert model.training and model.backbone.training
    assert not any(module.training for module in model.region.modules())
    assert not any(p.requires_grad for p in model.region.parameters())
    before = {key: value.clone() for key, value in model.region.state_dict().items()}
    model(torch.rand(2, 3, 224, 224), torch.rand(2, 3, 288, 288)).sum().backward()
    after = model.region.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in after), "no statistic moved"


@pytest.mark.parametrize("swapped", [False, True])
def test_the_class_token_starts_from_its_position_or_as_published_from_noise(swapped):
    model = create_model("ra_miqa", **SMALL, swapped_positions=swapped)
    own, table = model.backbone.pos_embed, model.pos_embed
    assert table.shape == (1, 198, 192)
    region, noise = (0, 1) if swapped else (1, 0)
    assert torch.equal(table[:, region], own[:, 0]) and torch.equal(table[:, 2:], own[:, 1:])
    assert not torch.equal(table[:, noise], own[:, 0])
    assert table[:, noise].std().item() == pytest.approx(0.02, rel=0.3)


def test_the_frozen_encoder_drops_paths_where_it_is_asked_to():
    """In training alone, and none of its norms begins to learn or to measure."""
    model = create_model("ra_miqa", **SMALL | {"region_drop_path": 0.9})
    views = torch.rand(2, 3, 224, 224), torch.rand(2, 3, 288, 288)
    torch.manual_seed(0)
    first, second = (model.train().summary(views[1]) for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (model.eval().summary(views[1]) for _ in range(2))
    assert torch.equal(first, second)
    kept = [module for module in model.train().region.modules() if module.training]
    assert {type(module).__name__ for module in kept} == {"DropPath"}


def test_each_view_is_normalised_for_its_own_encoder(published):
    names = ("normalise.mean", "normalise.std", "region_normalise.mean", "region_normalise.std")
    means = [published.get_buffer(name).mean().item() for name in names]
    assert means == pytest.approx([0.5, 0.5, 0.449, 0.226], abs=1e-3)


def test_sere_positions_are_kept_at_their_own_size_and_resampled_at_others():
    encoder = ra_miqa.SereViT().eval()
    encoder.blocks = nn.Sequential()  # so that what it gives are its positions
    encoder.norm = nn.Identity()
    with torch.no_grad():
        for parameter in (*encoder.patch_embed.parameters(), encoder.cls_token):
            parameter.zero_()
        encoder.pos_embed.normal_()
        still = encoder.forward_features(torch.zeros(1, 3, 224, 224))
        torch.testing.assert_close(still, encoder.pos_embed)
        wide = encoder.forward_features(torch.zeros(1, 3, 288, 288))
    assert wide.shape == (1, 1 + 18 * 18, 384)
    grid = encoder.pos_embed[0, 1:].detach().view(14, 14, 384)
    # the middle of the fifth of 18 cells is the middle of the fourth of 14: 4.5 / 18 = 3.5 / 14
    torch.testing.assert_close(wide[0, 1 + 4 * 18 + 4], grid[3, 3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("region", ["resnet18", "swin_tiny_patch4_window7_224", "efficientnet_b0"])
def test_any_backbone_that_gives_maps_can_be_the_region_encoder(region):
    model = create_model("ra_miqa", **SMALL | {"region": region}).eval()
    with torch.no_grad():
        assert torch.isfinite(model(torch.rand(1, 3, 224, 224), torch.rand(1, 3, 288, 288))).all()
    assert model.project[0].in_features == timm.create_model(region).feature_info[-1]["num_chs"]


def put(state, project):
    file = project.root / "data/raw/weights/sere_finetuned_vit_small_ep100.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, file)


@pytest.mark.parametrize(
    ("final", "source"),
    [("fc_norm", "fc_norm"), ("norm", "blocks.11.norm2"), (None, "blocks.11.norm2")],
)
def test_sere_weights_are_read_by_name_and_the_final_norm_found(
    project, monkeypatch, final, source
):
    state = {key: torch.randn_like(value) for key, value in ra_miqa.SereViT().state_dict().items()}
    for part in ("weight", "bias"):
        del state[f"norm.{part}"]
        if final:
            state[f"{final}.{part}"] = torch.randn(384)
    put(state | {"head.weight": torch.randn(919, 384), "head.bias": torch.randn(919)}, project)

    def untrained(name, *, pretrained, **options):
        return create(name, pretrained=False, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", untrained)  # the backbone's weights are not here
    region = create_model("ra_miqa", backbone="vit_tiny_patch16_224").region.state_dict()
    for part in ("weight", "bias"):
        assert torch.equal(region.pop(f"norm.{part}"), state[f"{source}.{part}"])
    assert all(torch.equal(value, state[key]) for key, value in region.items())


def test_without_sere_weights_it_is_said_where_to_get_them_and_another_file_is_refused(project):
    wanted = "sere_vit_small are missing: .*weights get sere_vit_small"
    with pytest.raises(FileNotFoundError, match=wanted):
        create_model("ra_miqa")
    state = ra_miqa.SereViT().state_dict()
    del state["blocks.3.mlp.fc1.bias"]
    put(state | {"cls_token": torch.zeros(1, 1, 192)}, project)
    wanted = "ep100.pth is not SERE's ViT-S/16: 2 entries do not fit: cls_token, blocks.3.mlp.fc1"
    with pytest.raises(ValueError, match=wanted):
        create_model("ra_miqa")


def test_ra_miqa_has_the_published_number_of_parameters(published):
    total = sum(p.numel() for p in published.parameters())
    assert total == golden("ra_miqa")["n_params"] == 43_851_649
    assert sum(p.numel() for p in published.parameters() if p.requires_grad) == 22_185_985
    assert published.backbone.pos_embed.numel() == 75_648


@pytest.mark.parametrize("seed", CASES)
def test_ra_miqa_answers_as_the_published_code(published, seed):
    with torch.no_grad():
        score = published(image(int(seed), 224, 224), image(int(seed) + 1000, 288, 288))
    np.testing.assert_allclose(score, CASES[seed]["score"], atol=1e-5)


@pytest.mark.parametrize(
    ("argument", "name", "message"),
    [
        ("backbone", "resnet18", "backbone is 'resnet18', no vision transformer of timm"),
        ("backbone", "vit_base_patch16_siglip_224", "not start with one class token that has a"),
        ("region", "sere", "region is 'sere'; it is 'sere_vit_small' or a model of timm"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(argument, name, message):
    with pytest.raises(ValueError, match=message):
        create_model("ra_miqa", **SMALL | {argument: name})


def test_other_sizes_and_damaged_checkpoints_are_refused(published):
    wanted = r"a view of 224 x 224 and a context of 288 x 288, not \(224, 224\) and \(224, 224\)"
    with pytest.raises(ValueError, match=wanted):
        published(torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224))
    state = filled(golden("ra_miqa")["keys"])
    del state["mask_encoder.ln1.weight"]
    with pytest.raises(ValueError, match="fit; 1 missing: region.norm.weight$"):
        weights.from_published("ra_miqa", state)
