"""SMART-IQA: parity with the published implementation, its parameter counts, its stage weights and
their controls.
"""

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image

from iqa_core.models import create_model, weights

KINDS = {"full": {}, "multi": {"attention": False}, "single": {"multiscale": False}}
COUNTS = {  # as published: single scale, + multi-scale, + attention
    "tiny": (28_979_523, 29_323_587, 29_521_479),
    "small": (50_297_427, 50_641_491, 50_839_383),
    "base": (88_389_761, 88_848_513, 89_111_941),
}


@pytest.mark.parametrize("size", COUNTS)
def test_parameters_are_counted_as_published(size):
    with torch.device("meta"):
        counted = [
            sum(
                p.numel()
                for p in create_model(
                    "smart_iqa", size=size, pretrained=False, drop_path=0.0, **kwargs
                ).parameters()
            )
            for kwargs in ({"multiscale": False}, {"attention": False}, {})
        ]
    assert tuple(counted) == COUNTS[size]


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        ("tiny", "full"),
        ("tiny", "multi"),
        ("tiny", "single"),
        pytest.param("base", "full", marks=pytest.mark.slow),
    ],
)
def test_it_answers_as_the_published_code(size, kind):
    told = golden(f"smart_iqa_{size}_{kind}")
    model = weights.from_published("smart_iqa", filled(told["keys"]), size=size, **KINDS[kind])
    assert sum(p.numel() for p in model.parameters()) == told["n_params"]
    for seed, case in told["cases"].items():
        picture = image(int(seed), 224, 224)
        with torch.no_grad():
            np.testing.assert_allclose(
                model(picture), case["score"], atol=1e-4 * max(1, abs(case["score"][0]))
            )
            if kind == "full":
                np.testing.assert_allclose(
                    model.stage_weights(picture)[0], case["stage_weights"], atol=1e-4
                )


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return create_model("smart_iqa", backbone="resnet18", pretrained=False).eval()


def test_stage_weights_are_a_distribution_that_starts_even_and_steers_the_fusion(small):
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        before = small.stage_weights(images)
        torch.testing.assert_close(before, torch.full((2, 4), 0.25), atol=0.05, rtol=0)
        torch.testing.assert_close(before.sum(1), torch.ones(2))
        small.gate.net[3].bias[2] = 1000.0  # everything to the third stage
        fused = small.fuse(small.pooled(images)[4:])
        small.gate.net[3].bias[2] = 0.0
    third = slice(64 + 128, 64 + 128 + 256)
    assert (
        fused[:, third].any()
        and not fused[:, : third.start].any()
        and not fused[:, third.stop :].any()
    )


def test_the_adaptive_gate_sees_the_image_and_the_static_one_does_not():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 224, 224) * torch.tensor([1.0, 0.1])[:, None, None, None]
    differ = {}
    for gate in ("adaptive", "static"):
        model = create_model("smart_iqa", backbone="resnet18", gate=gate, pretrained=False).eval()
        with torch.no_grad():
            for parameter in model.gate.parameters():
                parameter.normal_()
            differ[gate] = (
                (model.stage_weights(images)[0] - model.stage_weights(images)[1]).abs().max().item()
            )
    assert differ["adaptive"] > 1e-3 and differ["static"] == 0


def test_dropout_is_off_in_evaluation_in_the_target_network_too(small):
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(small.eval()(images), small(images))
        drops = [m for m in small.modules() if isinstance(m, torch.nn.Dropout)]
        rates = [m.p for m in drops]
        for m in drops:
            m.p = 0.0
        small.train()
        for m in small.backbone.modules():
            m.training = False
        target_alone = small(images), small(images)
        for m, p in zip(drops, rates, strict=True):
            m.p = p
        small.eval()
    assert not torch.equal(*target_alone), "in training the target network drops as well"


def test_what_is_refused(small):
    with pytest.raises(ValueError, match="size is 'large'; there are tiny, small, base"):
        create_model("smart_iqa", size="large")
    with pytest.raises(ValueError, match="gate is 'soft'; there are adaptive, static"):
        create_model("smart_iqa", gate="soft")
    with pytest.raises(ValueError, match="224 x 224, not"):
        small(torch.rand(1, 3, 256, 256))
    plain = create_model("smart_iqa", backbone="resnet18", attention=False, pretrained=False)
    with pytest.raises(
        ValueError, match="no stage weights: it was built with attention=False or multiscale=False"
    ):
        plain.stage_weights(torch.rand(1, 3, 224, 224))
