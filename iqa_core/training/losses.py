"""Losses by name: what a model's scores (b,) are held against the labels of a batch (b,), both in
the model's own units.

All are finite with finite gradients for constant predictions, for equal labels and for a batch of
one.
"""

import math

import torch
from torch.nn import functional as F

MARGIN = 0.1  # of `hinge`, as in the SMART-IQA code
NOISE = 0.1  # deviation of one score in `fidelity`, as there
EQUAL = 1e-6  # labels that differ by no more make no pair of `rank` and `fidelity`, as there


def l1(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return F.l1_loss(predicted, target)


def l2(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference."""
    return F.mse_loss(predicted, target)


def plcc(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Pearson correlation over the batch, 0 to 2; 1 where either is constant.

    The SMART-IQA report calls this loss "srcc", but no ranks enter it.
    """
    a, b = predicted - predicted.mean(), target - target.mean()
    deviations = (a.square().mean() + 1e-8).sqrt() * (b.square().mean() + 1e-8).sqrt()
    return 1 - (a * b).mean() / deviations


def rank(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over pairs with different labels of max(0, |dp| - sign(dp) dt), dp and dt being the
    differences in a pair.

    A pair in the right order costs what dp exceeds dt by, one in the wrong order |dp| + |dt|. The
    SMART-IQA code's.
    """
    dp, dt = _differences(predicted), _differences(target)
    sign = torch.where(dp < 0, -1.0, 1.0)
    return _mean((dp.abs() - sign * dt).relu(), dt.abs() > EQUAL)


def fidelity(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over pairs with different labels of 1 - sqrt(p q) - sqrt((1 - p)(1 - q)): p and q, how
    probably the first of a pair is the better one.

    p = sigmoid(dt) by the labels; q = sigmoid(1.702 dp / (sqrt(2) 0.1)), the logistic reading of a
    normal distribution function, by the scores. Tsai et al. 2007, doi 10.1145/1277741.1277808;
    scales and pairs as in the SMART-IQA code. 0 to 1.
    """
    dp, dt = _differences(predicted) * (1.702 / (math.sqrt(2) * NOISE)), _differences(target)
    both = (
        (F.logsigmoid(dp) + F.logsigmoid(dt)) / 2
    ).exp()  # sqrt(p q), whose gradient would not be finite at 0
    neither = ((F.logsigmoid(-dp) + F.logsigmoid(-dt)) / 2).exp()
    return _mean(1 - both - neither, dt.abs() > EQUAL)


def hinge(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over pairs with different labels of max(0, 0.1 - dp sign(dt)): the term that
    `rank_weight` adds to a loss.

    The alpha term of the SMART-IQA report, whose code leaves out pairs of equal labels too.
    """
    dp, dt = _differences(predicted), _differences(target)
    return _mean((MARGIN - dp * dt.sign()).relu(), dt != 0)


def emd(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared earth mover's distance of distributions (b, bins): mean squared difference of their
    cumulative sums, 0 to 1.

    Hou, Yu and Samaras 2016, arXiv 1611.05916.
    """
    return F.mse_loss(predicted.cumsum(1), target.cumsum(1))


def _differences(values):
    return values[:, None] - values[None, :]


def _mean(cost, pairs):
    return (cost * pairs).sum() / pairs.sum().clamp(min=1)


LOSSES = {loss.__name__: loss for loss in (l1, l2, plcc, rank, fidelity, emd)}
UNITLESS = {
    "plcc",
    "rank",
    "fidelity",
}  # any shift, or any linear map, of the scores costs the same
OF_VOTES = {"emd"}  # those that compare distributions (b, k), not scores
