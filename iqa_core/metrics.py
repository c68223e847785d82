"""How well predictions agree with labels: SRCC, PLCC (raw and after the usual fits), KRCC, RMSE,
with intervals.

Correlations are signed, never absolute: -.9 means that the prediction runs against the label. PLCC
after a fit cannot be negative, for the fit turns the curve round. To match a table, find out which
PLCC it prints: HyperIQA's, MANIQA's, SMART's and pyiqa's code print the raw one, many papers the
one after a logistic."""

import itertools
import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import kendalltau

from .stats import (
    codes,
    correlation_interval,
    groups,
    midranks,
    over_contents,
    plcc,
    srcc,
    standard_error,
    unit_name,
    vectors,
)

RESAMPLED = ("srcc", "plcc", "krcc")  # figures that have an interval
SLOPES = np.geomspace(0.05, 20, 7)  # at which fits of a sigmoid start, by differences of quantiles
TAILS = np.linspace(2, 20, 7)  # how far off a sigmoid's bend is, in its own widths, in other starts
COARSE = 20_000  # rows at most on which a fit begins
ROUNDING = 1e-12  # relative size below which a column says nothing


def correlations(predicted, label, *, content=None, draws: int = 2000, seed: int = 0) -> dict:
    """Agreement of predictions (n,) with labels (n,).

    content   (n,), optional: what each image shows; whole contents are resampled then

    Returns a dict of
    n                          rows
    srcc, krcc                 Spearman's rank correlation and Kendall's tau-b, in [-1, 1]
    plcc                       Pearson's correlation of the raw predictions, in [-1, 1]
    plcc_poly3, plcc4, plcc5   PLCC after a third-order polynomial and after the 4- and the
                               5-parameter logistic, in [0, 1]
    rmse                       after the 5-parameter logistic, in label units: that is
                               std(label) * sqrt(1 - plcc5 ** 2)
    intervals                  {"srcc", "plcc", "krcc"}: (low, high), 95 %: standard error by
                               bootstrap, Student's t on Fisher's z scale
                               (`stats.correlation_interval`); figures after a fit are points
    unit, draws                what was resampled, "content" or, where each content is one image,
                               "image", and how often: above 50,000 rows less than asked for, in
                               proportion

    Below 15 contents the interval covers less than it says (docs/statistics.md): see `per_content`.
    Fewer than three rows, or constant predictions or labels: everything NaN, 0 draws, a
    RuntimeWarning. A fit with fewer different predictions than parameters: NaN, a RuntimeWarning.

    Errors: ValueError for lengths that differ and for values that are not finite.

    Source: tau-b, Kendall 1945, DOI 10.1093/biomet/33.3.239, in O(n log n) by Knight 1966, DOI
    10.1080/01621459.1966.10480879; logistics, see `logistic4` and `logistic5`.
    """
    x, y = vectors(predicted=predicted, label=label)
    result = {"n": len(x), "srcc": np.nan, "plcc": np.nan}
    result |= {"plcc_poly3": np.nan, "plcc4": np.nan, "plcc5": np.nan}
    result |= {"krcc": np.nan, "rmse": np.nan}
    result["intervals"] = dict.fromkeys(RESAMPLED, (np.nan, np.nan))
    result |= {"unit": unit_name(len(groups(content, len(x))[1]), len(x)), "draws": 0}
    reason = _undefined(x, y)
    if reason:
        warnings.warn(f"correlations are NaN: {reason}", RuntimeWarning, stacklevel=2)
        return result

    arrays = x, y, codes(x), codes(y)
    values = _resampled(*arrays)
    errors, units, draws = standard_error(
        _resampled, *arrays, content=content, draws=draws, seed=seed, fisher=True
    )
    intervals = {}
    for name, value, error in zip(RESAMPLED, values, errors, strict=True):
        result[name] = value
        intervals[name] = correlation_interval(value, error, units)
    fitted = logistic5(x, y)(x)
    result["plcc_poly3"] = plcc(polynomial3(x, y)(x), y)
    result["plcc4"] = plcc(logistic4(x, y)(x), y)
    result["plcc5"] = plcc(fitted, y)
    result["rmse"] = float(np.sqrt(np.mean((fitted - y) ** 2)))
    return {**result, "intervals": intervals, "draws": draws}


def _undefined(x, y) -> str:
    """Why a correlation of x and y has no value; "" where it has one."""
    if len(x) < 3:
        return f"fewer than three rows ({len(x)})"
    named = {"predictions": x, "labels": y}
    constant = [
        f"constant {name} ({values[0]:g})" for name, values in named.items() if np.ptp(values) == 0
    ]
    return " and ".join(constant)


def _resampled(x, y, x_codes, y_codes) -> tuple[float, float, float]:
    """SRCC, PLCC, KRCC of one resample, without sorting for the first."""
    # The method is that of a p-value, which nobody reads here: the fast one.
    krcc = kendalltau(x_codes, y_codes, method="asymptotic").statistic
    return plcc(midranks(x_codes), midranks(y_codes)), plcc(x, y), float(krcc)


def per_content(predicted, label, content) -> dict:
    """Mean over contents of the SRCC within each: offsets between contents, which dominate pooled
    figures, drop out.

    predicted, label, content   (n,) each

    Returns a dict of srcc, interval (95 %, t over contents), n and contents (rows and contents
    used), left_out (contents of fewer than three rows) and values {content: srcc}. With few
    contents, join the values of rotations that test every content once, and take
    `stats.t_interval` of them all. A content with constant predictions or labels is NaN in values
    and outside the mean, with a RuntimeWarning.

    Errors: ValueError as `correlations`, and for missing contents.
    """
    x, y = vectors(predicted=predicted, label=label)
    result = over_contents(srcc, x, y, content=content)
    return {"srcc": result.pop("value"), **result}


# ---- fitted curves: prediction -> label, for a corrected PLCC and for scatter figures


def polynomial3(predicted, label) -> Callable:
    """Third-order polynomial from predictions to labels, fitted by least squares; not bound to be
    monotone.

    Returns a function of an array of predictions, in label units. Fewer than 4 different
    predictions: a function that answers NaN, and a RuntimeWarning."""
    return _fit(predicted, label, 4, _basis3, _nodes)


def logistic4(predicted, label) -> Callable:
    """q(x) = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2, fitted by least squares: monotone,
    rising or falling.

    Returns a function of an array of predictions, in label units. Fewer than 4 different
    predictions: a function that answers NaN, and a RuntimeWarning. Source: VQEG 2000, Final report
    on the validation of objective models, phase I."""
    return _fit(predicted, label, 4, _basis4, _sigmoid4)


def logistic5(predicted, label) -> Callable:
    """q(x) = b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, fitted by least squares; not bound
    to be monotone.

    Returns a function of an array of predictions, in label units. Fewer than 5 different
    predictions: a function that answers NaN, and a RuntimeWarning. Source: Sheikh, Sabir and Bovik
    2006, DOI 10.1109/TIP.2006.881959."""
    return _fit(predicted, label, 5, _basis5, _sigmoid5)


def fit_scale(predicted, label) -> dict:
    """A monotone map from predictions to a label's scale, for scores on that scale; fit it on val
    rows, never on test.

    predicted, label   (n,) each

    Returns what `apply_scale` needs, JSON-able: kind "logistic4" with coefficients [b1, b2, b3, b4]
    of `logistic4`, b4 > 0 (rising when b1 > b2), and n. The curve levels off beyond the predictions
    it saw; ranks stay, but where scores so far out round to one number. Scores may pass the ends of
    the scale. Fewer than 4 different predictions, or constant labels: kind "constant" with the mean
    label, and a RuntimeWarning; one too for a falling map, which turns the predictions' order
    round.

    Errors: ValueError as `vectors`, and for no rows.
    """
    x, y = vectors(predicted=predicted, label=label)
    if not len(x):
        raise ValueError(
            "no rows to fit a scale on: pass the predictions and labels of the val rows"
        )
    predictions, labels = len(np.unique(x)), len(np.unique(y))
    if predictions < 4 or labels < 2:
        warnings.warn(
            f"no scale: {predictions} different predictions (4 needed) and {labels} different "
            "labels (2 needed), so every score becomes the mean label",
            RuntimeWarning,
            stacklevel=2,
        )
        return {"kind": "constant", "coefficients": [float(y.mean())], "n": len(x)}
    (centre, slope), weights = _solve(x, y, _basis4, _sigmoid4)
    if weights[0] < 0:
        warnings.warn(
            "the scale falls: higher predictions go with lower labels", RuntimeWarning, stacklevel=2
        )
    fitted = [weights.sum(), weights[1], centre, 1 / slope]
    coefficients = [float(value) for value in fitted]
    return {"kind": "logistic4", "coefficients": coefficients, "n": len(x)}


def apply_scale(scale: dict, predicted) -> np.ndarray:
    """Predictions of any shape on the scale that `fit_scale` found, in label units. Errors:
    ValueError for another kind.
    """
    x, coefficients = np.asarray(predicted, dtype=float), scale.get("coefficients")
    if scale.get("kind") == "constant":
        return np.full(x.shape, coefficients[0])
    if scale.get("kind") != "logistic4":
        raise ValueError(
            f"scale of kind {scale.get('kind')!r}; fit_scale makes 'logistic4' and 'constant'"
        )
    upper, lower, centre, width = coefficients
    return lower + (upper - lower) * expit((x - centre) / width)


# ---- least squares: given its shape, two or three numbers, a curve is linear in a basis' columns


def _basis3(x: np.ndarray, *nodes: float) -> np.ndarray:
    return np.cumprod(np.column_stack([np.ones_like(x), *(x - node for node in nodes)]), axis=1)


def _basis4(x: np.ndarray, centre: float, slope: float) -> np.ndarray:
    return np.column_stack([expit(slope * (x - centre)), np.ones_like(x)])


def _basis5(x: np.ndarray, centre: float, slope: float) -> np.ndarray:
    t = slope * (x - centre)
    return np.column_stack([expit(t), t, np.ones_like(t)])


def _fit(predicted, label, parameters: int, basis: Callable, shape_of: Callable) -> Callable:
    """Least-squares curve, a function of predictions, linear in the columns of `basis`; one that
    answers NaN, with a warning, where there are too few different predictions.
    """
    x, y = vectors(predicted=predicted, label=label)
    different = len(np.unique(x))
    if different < parameters:
        warnings.warn(
            f"a fit of {parameters} parameters failed, with {different} different predictions: it "
            "is NaN",
            RuntimeWarning,
            stacklevel=3,
        )
        return lambda predicted: np.full(np.shape(predicted), np.nan)
    shape, weights = _solve(x, y, basis, shape_of)

    def curve(predicted):
        return (basis(np.ravel(predicted), *shape) @ weights).reshape(np.shape(predicted))

    return curve


def _solve(x: np.ndarray, y: np.ndarray, basis: Callable, shape_of: Callable) -> tuple:
    """shape, weights of the curve basis(x, *shape) @ weights of least squares."""
    # Sorted, so that the order of rows changes no digit.
    order = np.lexsort([y, x])
    x, y = x[order], y[order]
    shape = shape_of(x, y)
    columns = basis(x, *shape)
    sizes = np.linalg.norm(columns, axis=0)
    sizes[sizes == 0] = 1
    return shape, np.linalg.lstsq(columns / sizes, y, rcond=ROUNDING)[0] / sizes


def _nodes(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Three predictions far from each other (Leja points): the products of differences from them
    stay apart in rounding, where powers of a prediction far out are one column to the others.
    """
    nodes = [x[np.argmax(np.abs(x - np.median(x)))]]
    for _ in range(2):
        distances = np.abs(np.subtract.outer(x, nodes))
        nodes.append(x[np.argmax(distances.prod(axis=1))])
    return nodes


def _sigmoid4(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return _search(x, y, np.ones((len(x), 1)))


def _sigmoid5(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return _search(x, y, np.column_stack([np.ones_like(x), x - np.median(x)]))


def _search(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Centre and slope of the sigmoid that leaves least of the labels unexplained beside the
    columns `others`, which have a closed form; x sorted.

    Of many rows every k-th one finds where to begin; the end is found on all.

    Source: variable projection, Golub and Pereyra 1973, DOI 10.1137/0710036.
    """
    step = -(-len(x) // COARSE)
    some = _unexplained(x[::step], y[::step], others[::step])
    nearly = [_followed(some, start, 0.1) for start in _starts(x[::step], some)]
    _, place, slope, offset = _followed(_unexplained(x, y, others), min(nearly), 1e-5)
    return place + offset / slope, slope


def _unexplained(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> Callable:
    """(place, slope, offset) -> the share of the labels that expit(slope (x - place) - offset)
    leaves unexplained beside `others`: one number for each slope or offset.
    """
    span = np.linalg.qr(others)[0]
    rest = y - span @ (span.T @ y)
    total = max(rest @ rest, 1e-300)

    def share(place, slope, offset):
        sigmoid = expit(np.multiply.outer(x - place, slope) - offset)
        left = sigmoid - span @ (span.T @ sigmoid)
        # Of an all but flat sigmoid rounding is left, and nothing is fitted to that.
        least = ROUNDING**2 * (sigmoid**2).sum(axis=0) + 1e-300
        return 1 - (rest @ left) ** 2 / np.maximum((left**2).sum(axis=0), least) / total

    return share


def _starts(x: np.ndarray, unexplained: Callable) -> list[tuple]:
    """The best five sigmoids (share unexplained, place, slope, offset) that bend among the
    predictions, and the best three whose bend is so far off that a nearly exponential tail is left.

    Places and slopes are those of quantiles, so a prediction far out moves none of them.
    """
    distinct = np.unique(x)
    places = np.quantile(distinct, np.linspace(0, 1, 19))
    bends = []
    for place, width in zip(places[1:-1], places[2:] - places[:-2], strict=True):
        shares = unexplained(place, SLOPES / width, 0)
        best = shares.argmin()
        bends.append((shares[best], place, SLOPES[best] / width, 0))
    low, median, high = np.quantile(distinct, [0.25, 0.5, 0.75])
    tails = []
    for factor, side in itertools.product([0.3, 1, 3], [-1, 1]):
        slopes, offsets = np.full(len(TAILS), factor / (high - low)), side * TAILS
        shares = unexplained(median, slopes, offsets)
        best = shares.argmin()
        tails.append((shares[best], median, slopes[best], offsets[best]))
    return sorted(bends)[:5] + sorted(tails)[:3]


def _followed(unexplained: Callable, start: tuple, tolerance: float) -> tuple:
    """The sigmoid of least share unexplained that is reached from a start, in the same form."""
    _, place, slope, offset = start
    fit = minimize(
        lambda change: unexplained(place, slope * np.exp(change[0]), change[1]),
        (0, offset),
        method="Nelder-Mead",
        bounds=[(-8, 8), (-20, 20)],  # so that it cannot run away
        options={
            "initial_simplex": [(0, offset), (0.5, offset), (0, offset + 0.5)],
            "xatol": tolerance,
            "fatol": tolerance**2,
        },
    )
    return fit.fun, place, slope * np.exp(fit.x[0]), fit.x[1]
