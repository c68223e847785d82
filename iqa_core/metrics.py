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

from iqa_core.stats import (
    codes,
    correlation_interval,
    midranks,
    over_contents,
    plcc,
    srcc,
    standard_error,
    vectors,
)


def correlations(predicted, label, *, content=None, draws: int = 2000, seed: int = 0) -> dict:
    """Agreement of predictions (n,) with labels (n,).

    Returns
      n                rows srcc, krcc       Spearman's rank correlation and Kendall's tau-b, in
      [-1, 1], ties as usual plcc             Pearson's correlation of the raw predictions, in [-1,
      1] plcc_poly3, plcc4, plcc5   PLCC after a third-order polynomial and the 4- and 5-parameter
      logistic, in [0, 1] rmse             after the 5-parameter logistic, in label units:
      std(label) * sqrt(1 - plcc5 ** 2) intervals        {"srcc", "plcc", "krcc"}: (low, high), 95
      %: standard error by bootstrap, Student's t on Fisher's
                       z scale (`stats.correlation_interval`); fitted figures are points
      unit, draws      what was resampled, "content" (whole contents, when `content` (n,) is given)
      or "image", and how
                       often: above 50,000 rows less than asked for, in proportion
    Below 15 contents it covers less than it says (docs/statistics.md): see `per_content`. Fewer
    than three rows, or constant predictions or labels: everything NaN, 0 draws, a RuntimeWarning. A
    fit with fewer different predictions than parameters: NaN, a RuntimeWarning. Errors: ValueError
    for lengths that differ and for values that are not finite. Sources: tau-b, Kendall 1945 (DOI
    10.1093/biomet/33.3.239), in O(n log n) by Knight 1966 (DOI 10.1080/01621459.1966.10480879);
    logistics, see `logistic4` and `logistic5`."""
    x, y = vectors(predicted=predicted, label=label)
    result = dict(
        n=len(x),
        **dict.fromkeys(("srcc", "plcc", "plcc_poly3", "plcc4", "plcc5", "krcc", "rmse"), np.nan),
    )
    result |= dict(intervals=dict.fromkeys(("srcc", "plcc", "krcc"), (np.nan, np.nan)))
    result |= dict(unit="image" if content is None else "content", draws=0)
    why = [f"fewer than three rows ({len(x)})"]
    if len(x) > 2:
        named = ("predictions", x), ("labels", y)
        why = [f"constant {name} ({values[0]:g})" for name, values in named if np.ptp(values) == 0]
    if why:
        warnings.warn(f"correlations are NaN: {' and '.join(why)}", RuntimeWarning, stacklevel=2)
        return result

    arrays = x, y, codes(x), codes(y)
    errors, units, draws = standard_error(
        _three, *arrays, content=content, draws=draws, seed=seed, fisher=True
    )
    points = dict(zip(("srcc", "plcc", "krcc"), _three(*arrays), strict=True))
    intervals = {
        name: correlation_interval(points[name], error, units)
        for name, error in zip(points, errors, strict=True)
    }
    cubic, four, five = (fit(x, y)(x) for fit in (polynomial3, logistic4, logistic5))
    result |= points | dict(plcc_poly3=plcc(cubic, y), plcc4=plcc(four, y), plcc5=plcc(five, y))
    return result | dict(
        rmse=float(np.sqrt(np.mean((five - y) ** 2))), intervals=intervals, draws=draws
    )


def _three(x, y, x_codes, y_codes) -> tuple[float, float, float]:
    """SRCC, PLCC, KRCC of one resample, without sorting for the first."""
    krcc = kendalltau(
        x_codes, y_codes, method="asymptotic"
    ).statistic  # method: of a p-value nobody reads, the fast one
    return plcc(midranks(x_codes), midranks(y_codes)), plcc(x, y), float(krcc)


def per_content(predicted, label, content) -> dict:
    """Mean over contents of the SRCC within each: between-content offsets, which dominate pooled
    figures, drop out.

    Returns srcc, interval (95 % t over contents), n and contents (rows and contents used), left_out
    (contents of fewer than three rows) and values {content: srcc}. With few contents, join the
    values of rotations that test every content once and take `stats.t_interval` of them all. A
    content with constant predictions or labels is NaN in values, outside the mean, with a
    RuntimeWarning. Errors: ValueError as `correlations`, and for missing contents."""
    x, y = vectors(predicted=predicted, label=label)
    result = over_contents(srcc, x, y, content=content)
    return dict(srcc=result.pop("value"), **result)


# ---- fitted curves: prediction -> label, for a corrected PLCC and for scatter figures


def polynomial3(predicted, label) -> Callable:
    """Third-order polynomial from predictions to labels, fitted by least squares; not bound to be
    monotone.

    Returns a function of an array of predictions, in label units. Fewer than 4 different
    predictions: a function that answers NaN, and a RuntimeWarning."""
    return _fit(predicted, label, 4, lambda z: np.vander(z, 4), search=False)


def logistic4(predicted, label) -> Callable:
    """q(x) = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2, fitted by least squares: monotone,
    rising or falling.

    Returns a function of an array of predictions, in label units. Fewer than 4 different
    predictions: a function that answers NaN, and a RuntimeWarning. Source: VQEG 2000, Final report
    on the validation of objective models, phase I."""
    return _fit(predicted, label, 4, _basis4)


def logistic5(predicted, label) -> Callable:
    """q(x) = b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, fitted by least squares; not bound
    to be monotone.

    Returns a function of an array of predictions, in label units. Fewer than 5 different
    predictions: a function that answers NaN, and a RuntimeWarning. Source: Sheikh, Sabir and Bovik
    2006, DOI 10.1109/TIP.2006.881959."""
    return _fit(
        predicted,
        label,
        5,
        lambda z, *shape: np.column_stack([_sigmoid(z, *shape), z, np.ones_like(z)]),
    )


def fit_scale(predicted, label) -> dict:
    """A monotone map from predictions to a label's scale, for scores on that scale; fit it on val
    rows, never on test.

    Returns what `apply_scale` needs, JSON-able: kind "logistic4" with coefficients [b1, b2, b3, b4]
    of `logistic4`, b4 > 0 (rising when b1 > b2), and n. The curve levels off beyond the predictions
    it saw; ranks stay, but where scores so far out round to one number. Scores may pass the ends of
    the scale. Fewer than 4 different predictions, or constant labels: kind "constant" with the mean
    label, and a RuntimeWarning; one too for a falling map, which turns the predictions' order
    round. Errors: ValueError as `vectors`, and for no rows."""
    x, y = vectors(predicted=predicted, label=label)
    different = len(np.unique(x)), len(np.unique(y))
    if different[0] < 4 or different[1] < 2:
        if not len(x):
            raise ValueError(
                "no rows to fit a scale on: pass the predictions and labels of the val rows"
            )
        told = f"no scale: {different[0]} different predictions (4 needed) and {different[1]} different labels (2 needed)"
        warnings.warn(
            f"{told}, so every score becomes the mean label", RuntimeWarning, stacklevel=2
        )
        return dict(kind="constant", coefficients=[float(y.mean())], n=len(x))
    mean, scale, (centre, log_slope), weights = _solve(x, y, _basis4, search=True)
    if weights[0] < 0:
        warnings.warn(
            "the scale falls: higher predictions go with lower labels", RuntimeWarning, stacklevel=2
        )
    fitted = [weights.sum(), weights[1], mean + scale * centre, scale / np.exp(log_slope)]
    return dict(kind="logistic4", coefficients=[float(value) for value in fitted], n=len(x))


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


def _sigmoid(z: np.ndarray, centre: float, log_slope: float) -> np.ndarray:
    return expit(np.exp(log_slope) * (z - centre))


def _basis4(z: np.ndarray, *shape: float) -> np.ndarray:
    return np.column_stack([_sigmoid(z, *shape), np.ones_like(z)])


def _fit(predicted, label, parameters: int, basis: Callable, *, search: bool = True) -> Callable:
    """Least-squares curve, a function of predictions, linear in the columns of `basis`; NaN and
    said where it cannot be.
    """
    x, y = vectors(predicted=predicted, label=label)
    different = len(np.unique(x))
    if different < parameters:
        told = f"a fit of {parameters} parameters failed, with {different} different predictions: it is NaN"
        warnings.warn(told, RuntimeWarning, stacklevel=3)
        return lambda predicted: np.full(np.shape(predicted), np.nan)
    mean, scale, shape, weights = _solve(x, y, basis, search=search)
    return lambda predicted: (
        basis((np.ravel(predicted) - mean) / scale, *shape) @ weights
    ).reshape(np.shape(predicted))


def _solve(x: np.ndarray, y: np.ndarray, basis: Callable, *, search: bool) -> tuple:
    """mean, scale, shape, weights of the curve basis((x - mean) / scale, *shape) @ weights of least
    squares.

    Only the sigmoid's shape, centre and log slope, is searched for: all else has a closed form
    given these two, so a falling curve is no harder than a rising one (variable projection, Golub
    and Pereyra 1973, DOI 10.1137/0710036)."""
    order = np.lexsort([y, x])  # so that the order of rows changes no digit
    x, y = x[order], y[order]
    mean, scale, spread = x.mean(), x.std(), y.std() or 1.0
    z = (x - mean) / scale

    def weigh(shape):
        columns = basis(z, *shape)
        weights = np.linalg.lstsq(columns, y, rcond=1e-9)[
            0
        ]  # less would fit the rounding of an all but flat sigmoid
        return weights, np.mean(((columns @ weights - y) / spread) ** 2)

    shape = _search(z, lambda shape: weigh(shape)[1]) if search else ()
    return mean, scale, shape, weigh(shape)[0]


def _search(z: np.ndarray, loss: Callable) -> np.ndarray:
    """Centre and log slope of the least loss, from the best three of 119 starts; bounded, so it
    cannot run away.
    """
    starts = itertools.product(
        np.quantile(z, np.linspace(0.02, 0.98, 17)), np.log(np.geomspace(0.05, 100, 7))
    )
    bounds = (
        (z.min() - 3, z.max() + 3),
        np.log([0.01, 1000]),
    )  # from all but linear to all but a step
    fits = [
        minimize(
            loss, start, method="Nelder-Mead", bounds=bounds, options=dict(xatol=1e-6, fatol=1e-10)
        )
        for start in sorted(starts, key=loss)[:3]
    ]
    return min(fits, key=lambda fit: fit.fun).x
