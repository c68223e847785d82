"""Several trainings of one variant: their predictions side by side, and how well they agree with
the labels on average.
"""

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from ..stats import (
    codes,
    correlation_interval,
    over_contents,
    own_contents,
    rank_correlations,
    srcc,
    standard_error,
    unit_name,
)
from .cells import with_interval


def predictions_of(tested: pd.DataFrame, name: str, *, column: str = "variant") -> pd.DataFrame:
    """Predictions of a variant: an image a row, a training (and draw) a column (seed, draw).

    tested   columns `column`, seed, image, predicted and, optionally, draw: repetitions within a
             training.

    Errors: ValueError for a variant that `tested` lacks, and for trainings of it that were tested
    on different images.
    """
    rows = tested[tested[column] == name]
    if rows.empty:
        variants = ", ".join(tested[column].unique())
        raise ValueError(f"no predictions of {name!r}; there are {variants}")
    draw = rows["draw"].fillna(0) if "draw" in rows else 0
    predictions = rows.assign(draw=draw).pivot(
        index="image", columns=["seed", "draw"], values="predicted"
    )
    if predictions.isna().any(axis=None):
        raise ValueError(
            f"the trainings of {name!r} were tested on different images; test all on the same"
        )
    return predictions


def without_seeds(predicted: pd.Series) -> pd.DataFrame:
    """Predictions of a rule that has no seeds, as those of one training."""
    return pd.DataFrame({(0, 0): predicted}).rename_axis(columns=["seed", "draw"])


def headline_statistic(content: pd.Series | None) -> str:
    """The column that sums up a variant: SRCC within contents where images share contents."""
    return "srcc" if content is None else "content_srcc"


def mean_agreement(
    predictions: pd.DataFrame, truth: pd.DataFrame, label: str
) -> tuple[dict, pd.DataFrame]:
    """What trainings, the columns of `predictions`, have in common with the labels.

    truth   the table by image: `label` and, optionally, content.

    Returns the columns of their mean (n, contents, trainings, unit and units, which are drawn, srcc
    and content_srcc with intervals, seed_sd), and a frame of srcc and content_srcc, a training a
    row. Values are averaged over draws and trainings first, so the intervals are of these
    trainings.
    """
    truth = truth.loc[predictions.index]
    content, labels = own_contents(truth), truth[label].to_numpy()
    row = {
        "n": len(predictions),
        "contents": np.nan if content is None else content.nunique(),
        "trainings": predictions.columns.unique(0).size,
    }
    single = pd.DataFrame({"srcc": predictions.apply(lambda run: srcc(run.to_numpy(), labels))})
    ranked = [codes(values) for values in (*predictions.T.to_numpy(), labels)]
    drawn = drawn_contents(truth)
    error, units, _ = standard_error(_mean_srcc, *ranked, content=drawn, fisher=True)
    mean = single.srcc.mean()
    row |= {"unit": unit_name(units, len(predictions)), "units": units}
    row |= with_interval("srcc", mean, correlation_interval(mean, error, units))
    if content is not None:
        parts = {
            run: over_contents(srcc, predictions[run].to_numpy(), labels, content=content)
            for run in predictions
        }
        within = by_content(parts).dropna(axis=1)
        row |= with_interval("content_srcc", within.mean().mean(), mean_interval(within.mean()))
        single["content_srcc"] = within.mean(axis=1)
    single = single.groupby(level="seed").mean()
    row["seed_sd"] = single[headline_statistic(content)].std()
    return row, single


def drawn_contents(truth: pd.DataFrame) -> pd.Series | None:
    """The contents that are drawn whole: wherever a table has them, also where each has few."""
    return truth.content if "content" in truth and truth.content.notna().all() else None


def _mean_srcc(*ranked):
    return rank_correlations(*ranked).mean()


def by_content(parts: dict) -> pd.DataFrame:
    """Values by training (seed, draw) and content, from what `over_contents` gives for each
    training.
    """
    frame = pd.DataFrame({run: part["values"] for run, part in parts.items()}).T
    return frame.rename_axis(index=["seed", "draw"])


def mean_interval(values: pd.Series) -> tuple[float, float]:
    """95 % t interval on Fisher's z for the mean of one correlation a content."""
    value, units = values.mean(), len(values)
    error = values.std() / np.sqrt(units) / max(1 - value**2, 1e-300)
    return correlation_interval(value, error, units)


def mean_difference(
    predictions: pd.DataFrame, other: pd.DataFrame, truth: pd.DataFrame, label: str
) -> dict:
    """How much SRCC the trainings of `predictions` have more than those of `other`, on average.

    truth   the table by image: `label` and, optionally, content.

    Returns a dict of difference, low and high (95 %), p and units: where images share contents the
    mean over contents, else over all images, its error by bootstrap of whole contents or images;
    Student's t.
    """
    truth = truth.loc[predictions.index]
    trainings = predictions.shape[1]

    def loss(*ranked):
        values = rank_correlations(*ranked)
        return np.mean(values[:trainings]) - np.mean(values[trainings:])

    columns = [*predictions.T.to_numpy(), *other.loc[predictions.index].T.to_numpy(), truth[label]]
    ranked = [codes(values) for values in columns]
    content = own_contents(truth)
    if content is None:
        value = loss(*ranked)
        error, units, _ = standard_error(loss, *ranked, content=drawn_contents(truth))
    else:
        values = np.array(list(over_contents(loss, *ranked, content=content)["values"].values()))
        values = values[np.isfinite(values)]
        value, units = values.mean(), len(values)
        error = values.std(ddof=1) / np.sqrt(units) if units > 1 else np.nan
    half = stdtrit(units - 1, 0.975) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stdtr(units - 1, -np.abs(value) / error) if value else 1.0
    row = {"units": units, "difference": float(value), "low": value - half, "high": value + half}
    return row | {"p": float(p)}
