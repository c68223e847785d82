"""RA-MIQA: its two encoders and their weights, parity with the published implementation, and what
it refuses.
"""

import numpy as np
import pytest
import timm
import torch
from golden_rules import filled, golden, image

from iqa_core.models import create_model, ra_miqa, weights

CASES = golden("ra_miqa")["cases"]
SMALL = {"backbone": "vit_tiny_patch16_224", "region": "mobilenetv3_small_050", "pretrained": False}


@pytest.fixture(scope="module")
def published():
    return weights.from_published("ra_miqa", filled(golden("ra_miqa")["keys"]))


def test_the_region_encoder_is_frozen_and_never_in_training_mode():
    model = create_model("ra_miqa", **SMALL).train()
    assert (
        model.training
        and model.backbone.training
        and not any(m.training for m in model.region.modules())
    )
    assert not any(p.requires_grad for p in model.region.parameters())
    before = {key: value.clone() for key, value in model.region.state_dict().items()}
    model(torch.rand(2, 3, 224, 224), torch.rand(2, 3, 288, 288)).sum().backward()
    assert all(
        torch.equal(before[key], value) for key, value in model.region.state_dict().items()
    ), "no statistic moved"


def test_the_position_table_starts_as_published():
    model = create_model("ra_miqa", **SMALL)
    own, table = model.backbone.pos_embed, model.pos_embed
    assert table.shape == (1, 198, 192)
    assert torch.equal(table[:, 0], own[:, 0]) and torch.equal(table[:, 2:], own[:, 1:])
    assert not torch.equal(table[:, 1], own[:, 0]) and table[:, 1].std().item() == pytest.approx(
        0.02, rel=0.3
    )


def test_each_view_is_normalised_for_its_own_encoder(published):
    for name, value in {
        "normalise.mean": 0.5,
        "normalise.std": 0.5,
        "region_normalise.mean": 0.449,
        "region_normalise.std": 0.226,
    }.items():
        assert published.get_buffer(name).mean().item() == pytest.approx(value, abs=1e-3)


def test_sere_positions_are_kept_at_their_own_size_and_resampled_at_others():
    encoder = ra_miqa.SereViT().eval()
    with torch.no_grad():
        encoder.pos_embed.normal_()
        still = encoder._pos_embed(torch.zeros(1, 14, 14, 384))
        torch.testing.assert_close(still[:, 1:], encoder.pos_embed[:, 1:])
        wide = encoder._pos_embed(torch.zeros(1, 18, 18, 384))
    assert wide.shape == (1, 325, 384)
    grid = encoder.pos_embed[0, 1:].detach().view(14, 14, 384)
    row = (
        4 * 14 / 18 + 7 / 18 - 0.5
    )  # where the middle of the fifth of 18 cells falls among the 14: 3 and a bit
    assert row == pytest.approx(3.0)
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
def test_sere_weights_are_read_by_name_and_the_final_norm_found(project, final, source):
    own = ra_miqa.SereViT().state_dict()
    state = {
        key: torch.randn_like(value) for key, value in own.items() if not key.startswith("norm.")
    }
    if final:
        state |= {f"{final}.weight": torch.randn(384), f"{final}.bias": torch.randn(384)}
    put(state | {"head.weight": torch.randn(919, 384), "head.bias": torch.randn(919)}, project)
    own = ra_miqa._region("sere_vit_small", True).state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own if not key.startswith("norm."))
    assert torch.equal(own["norm.weight"], state[f"{source}.weight"]) and torch.equal(
        own["norm.bias"], state[f"{source}.bias"]
    )


def test_without_sere_weights_it_is_said_where_to_get_them_and_another_file_is_refused(project):
    with pytest.raises(
        FileNotFoundError, match="sere_vit_small are missing: .*weights get sere_vit_small"
    ):
        create_model("ra_miqa")
    state = ra_miqa.SereViT().state_dict()
    del state["blocks.3.mlp.fc1.bias"]
    put(state | {"cls_token": torch.zeros(1, 1, 192)}, project)
    with pytest.raises(
        ValueError,
        match="ep100.pth is not SERE's ViT-S/16: 2 entries do not fit: cls_token, blocks.3.mlp.fc1",
    ):
        create_model("ra_miqa")


def test_ra_miqa_has_the_published_number_of_parameters(published):
    assert (
        sum(p.numel() for p in published.parameters())
        == golden("ra_miqa")["n_params"]
        == 43_851_649
    )
    assert sum(p.numel() for p in published.parameters() if p.requires_grad) == 22_185_985
    assert published.backbone.pos_embed.numel() == 75_648


@pytest.mark.parametrize("seed", CASES)
def test_ra_miqa_answers_as_the_published_code(published, seed):
    with torch.no_grad():
        score = published(image(int(seed), 224, 224), image(int(seed) + 1000, 288, 288))
    np.testing.assert_allclose(score, CASES[seed]["score"], atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone": "resnet18"}, "backbone is 'resnet18', no vision transformer of timm"),
        (
            {"backbone": "vit_base_patch16_siglip_224"},
            "does not start with one class token that has a position",
        ),
        ({"region": "sere"}, "region is 'sere'; it is 'sere_vit_small' or a model of timm"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        create_model("ra_miqa", **SMALL | changed)


def test_other_sizes_and_damaged_checkpoints_are_refused(published):
    with pytest.raises(
        ValueError,
        match=r"a view of 224 x 224 and a context of 288 x 288, not \(224, 224\) and \(224, 224\)",
    ):
        published(torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224))
    state = filled(golden("ra_miqa")["keys"])
    del state["mask_encoder.ln1.weight"]
    with pytest.raises(ValueError, match="1 entries differ: region.norm.weight is missing"):
        weights.from_published("ra_miqa", state)
