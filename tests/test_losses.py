"""Losses against sums done by hand, and where they could fail: ties, constants, a batch of one."""

import math

import numpy as np
import pytest
import torch

from iqa_core.training import losses
from iqa_core.training.losses import LOSSES, hinge

PREDICTED, TARGET = [0.2, 1.0, 0.1, 1.5], [0.0, 1.0, 0.5, 1.0]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def pairs():
    """(difference of predictions, difference of labels) of all ordered pairs."""
    both = list(zip(PREDICTED, TARGET, strict=True))
    return [
        (p - q, s - t) for i, (p, s) in enumerate(both) for j, (q, t) in enumerate(both) if i != j
    ]


def by_hand(name):
    differences = [p - t for p, t in zip(PREDICTED, TARGET, strict=True)]
    ordered = [(dp, dt) for dp, dt in pairs() if dt]
    if name == "l1":
        return np.mean(np.abs(differences))
    if name == "l2":
        return np.mean(np.square(differences))
    if name == "plcc":
        return 1 - np.corrcoef(PREDICTED, TARGET)[0, 1]
    if name == "rank":
        return np.mean([max(0, abs(dp) - (dt if dp >= 0 else -dt)) for dp, dt in ordered])
    if name == "hinge":
        return np.mean([max(0, 0.1 - dp * np.sign(dt)) for dp, dt in ordered])
    chances = [(sigmoid(dt), sigmoid(1.702 * dp / (math.sqrt(2) * 0.1))) for dp, dt in ordered]
    return np.mean([1 - math.sqrt(p * q) - math.sqrt((1 - p) * (1 - q)) for p, q in chances])


@pytest.mark.parametrize("name", ["l1", "l2", "plcc", "rank", "fidelity", "hinge"])
def test_a_loss_is_what_a_hand_computes(name):
    found = getattr(losses, name)(
        torch.tensor(PREDICTED, dtype=torch.float64), torch.tensor(TARGET, dtype=torch.float64)
    )
    assert float(found) == pytest.approx(by_hand(name), abs=1e-6) and by_hand(name) > 0.01


def test_emd_is_what_a_hand_computes_and_grows_with_the_way():
    found = LOSSES["emd"](
        torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]),
        torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]),
    )
    assert float(found) == pytest.approx(
        (0.25**2 + 0.25**2) / 6
    )  # cumulative .5 .75 1 against .25 .5 1, and 0 of the second
    eye = torch.eye(4)
    ways = [float(LOSSES["emd"](eye[:1], eye[i : i + 1])) for i in range(4)]
    assert ways == pytest.approx([0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize("name", ["rank", "fidelity", "hinge"])
def test_pairs_of_equal_labels_cost_nothing(name):
    loss = getattr(losses, name)
    target, predicted = torch.tensor([3.0, 3.0, 50.0]), torch.tensor([4.0, 9.0, 49.0])
    both = loss(predicted, target)
    alone = [loss(predicted[[i, 2]], target[[i, 2]]) for i in (0, 1)]
    assert float(both) == pytest.approx(float(sum(alone)) / 2)  # the pair of 3s is not among them
    assert loss(predicted[:2], target[:2]) == 0


@pytest.mark.parametrize("name", ["rank", "fidelity"])
def test_labels_that_differ_by_a_millionth_are_equal(name):
    loss, predicted = LOSSES[name], torch.tensor([1.0, 0.0], dtype=torch.float64)
    costs = [
        float(loss(predicted, torch.tensor([0.0, gap], dtype=torch.float64)))
        for gap in (1e-6, 2e-6)
    ]
    assert costs[0] == 0 < costs[1]


@pytest.mark.parametrize("name", ["l1", "l2", "plcc", "rank", "fidelity"])
def test_a_better_order_costs_less(name):
    target = torch.linspace(
        -50, 50, 9
    )  # labels from 0 to 100: for closer ones `fidelity` asks for smaller steps than theirs
    worse = [float(LOSSES[name](k * target, target)) for k in (1.0, 0.0, -1.0)]
    assert worse == sorted(worse) and worse[0] < worse[1] < worse[2]


HARD = {
    "constant predictions": (torch.zeros(5), torch.tensor([1.0, 2.0, 2.0, -1.0, 0.5])),
    "constant labels": (torch.tensor([1.0, 2.0, 2.0, -1.0, 0.5]), torch.full((5,), 3.0)),
    "both constant": (torch.zeros(5), torch.zeros(5)),
    "one": (torch.tensor([0.3]), torch.tensor([0.5])),
    "far apart": (torch.tensor([-500.0, 500.0, 0.0]), torch.tensor([500.0, -500.0, 0.0])),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize(
    "loss",
    [*(LOSSES[name] for name in LOSSES if name != "emd"), hinge],
    ids=lambda loss: loss.__name__,
)
def test_losses_and_gradients_are_finite_where_they_could_fail(loss, case):
    predicted, target = HARD[case]
    predicted = predicted.clone().requires_grad_()
    value = loss(predicted, target)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(predicted.grad).all()
    if case == "one" and loss in (losses.rank, losses.fidelity, hinge):
        assert value == 0


def test_pairs_learn_where_a_saturated_probability_has_no_slope():
    predicted = torch.tensor([-3.0, 3.0], requires_grad=True)  # the wrong order, by 60 deviations
    LOSSES["fidelity"](predicted, torch.tensor([1.0, -1.0])).backward()
    assert torch.isfinite(predicted.grad).all()
    predicted = torch.tensor([-3.0, 3.0], requires_grad=True)
    LOSSES["rank"](predicted, torch.tensor([1.0, -1.0])).backward()
    assert predicted.grad.tolist() == [-1.0, 1.0]
