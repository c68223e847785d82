"""HyperIQA: parity with the published implementation, and what it refuses."""

import numpy as np
import pytest
import torch
from golden_rules import filled, golden, image

from iqa_core.models import create_model, weights


@pytest.fixture(scope="module")
def published():
    return weights.from_published("hyperiqa", filled(golden("hyperiqa")["keys"]))


def test_hyperiqa_has_the_published_number_of_parameters(published):
    assert (
        sum(p.numel() for p in published.parameters())
        == golden("hyperiqa")["n_params"]
        == 27_375_369
    )


@pytest.mark.parametrize("seed", golden("hyperiqa")["cases"])
def test_hyperiqa_answers_as_the_published_code(published, seed):
    case, picture = golden("hyperiqa")["cases"][seed], image(int(seed), 224, 224)
    with torch.no_grad():
        score, vector = published(picture), published.local(published.pooled(picture)[:4])
    np.testing.assert_allclose(score, case["score"], atol=1e-4)
    np.testing.assert_allclose(
        [vector.mean(), vector.std()], case["target_in_vec_mean_std"], atol=1e-4
    )


def test_hyperiqa_refuses_other_crops_and_damaged_checkpoints(published):
    with pytest.raises(ValueError, match="224 x 224, not"):
        published(torch.rand(1, 3, 256, 256))
    state = filled(golden("hyperiqa")["keys"])
    del state["fc5b_fc.bias"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match="; 1 not ours: extra.weight; 1 missing: hyper.bias.5.bias$"
    ):
        weights.from_published("hyperiqa", state)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head is 'lite'; there are published, light"):
        create_model("hyperiqa", head="lite")
