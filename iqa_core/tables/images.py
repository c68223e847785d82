"""Small tables of a data set's images: by label, by distortion, by stage weights."""

import numpy as np
import pandas as pd

from ..metrics import correlations, per_content
from ..stats import (
    bootstrap,
    codes,
    compare,
    content_specific,
    correlation_interval,
    own_contents,
    percentile_interval,
    rank_correlations,
    srcc,
    standard_error,
    t_interval,
    versions,
)
from .cells import crossed

KIND_NAMES = {"mos": "MOS", "pseudo_mos": "pseudo-MOS", "mmos": "MMOS"}
STAGES = ["stage1", "stage2", "stage3", "stage4"]  # columns of stage weights, finest first


def label_name(table: pd.DataFrame) -> str:
    """What an axis of labels is called, "label (pseudo-MOS)" for one, after the table's column
    label_kind.
    """
    return f"label ({', '.join(KIND_NAMES[kind] for kind in table.label_kind.unique())})"


def by_label(table: pd.DataFrame, *, count: int = 12) -> pd.DataFrame:
    """Rows at `count` quantiles of the label, lowest first, for `figures.image_grid`."""
    ordered = table.sort_values("label", kind="stable")
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return ordered.iloc[places.round().astype(int)]


def by_distortion(
    predictions: pd.DataFrame, methods: dict[str, str], *, label: str = "label", draws: int = 500
) -> pd.DataFrame:
    """One row a distortion type and method: SRCC on the images with that distortion alone.

    predictions   columns of `methods` (column -> name shown), `label`, distortion, optionally
                  distortion2 and content.

    Returns columns distortion, method, n, srcc, low and high (95 %, percentiles of the bootstrap by
    content, else by image).
    """
    alone = predictions
    if "distortion2" in predictions:
        alone = predictions[predictions.distortion2.isna()]
    rows = []
    for distortion, group in alone.groupby("distortion"):
        truth = group[label].to_numpy()
        for column, shown in methods.items():
            predicted = group[column].to_numpy()
            samples = bootstrap(srcc, predicted, truth, group=group.get("content"), draws=draws)
            low, high = percentile_interval(samples)
            row = {"distortion": distortion, "method": shown, "n": len(group)}
            row |= {"srcc": srcc(predicted, truth), "low": low, "high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def mean_stage_weights(weights: pd.DataFrame, by: str) -> pd.DataFrame:
    """One row a group and stage: the mean stage weight, and for the stage "entropy" the mean
    entropy in bits.

    weights   columns stage1 to stage4, entropy, `by` and, optionally, content.
    by        distortion, or run: the column that names the groups.

    Returns columns `by`, n (images), stage, mean, low and high (95 % Student intervals over the
    means of contents, or over images where a set has no contents).
    """
    columns = [*STAGES, "entropy"]
    has_contents = own_contents(weights) is not None
    rows = []
    for name, group in weights.groupby(by, sort=by == "distortion"):
        values = group.groupby("content")[columns].mean() if has_contents else group[columns]
        for stage in columns:
            low, high = t_interval(values[stage])
            row = {by: name, "n": len(group), "stage": stage, "mean": values[stage].mean()}
            rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)


def entropy_agreement(weights: pd.DataFrame) -> dict:
    """How far the entropy of the stage weights goes with the label.

    weights   columns label, entropy and, optionally, content.

    Returns srcc over all images and interval (by content, or by image), and within: what
    `metrics.per_content` gives, None where images share no contents.
    """
    ranked = codes(weights.entropy), codes(weights.label)
    (value,) = rank_correlations(*ranked)
    (error,), units, _ = standard_error(
        rank_correlations, *ranked, content=weights.get("content"), fisher=True
    )
    contents = own_contents(weights)
    within = None
    if contents is not None:
        within = per_content(weights.entropy, weights.label, contents)
    return {
        "srcc": value,
        "interval": correlation_interval(value, error, units),
        "within": within,
    }


def attention_analysis(tested: pd.DataFrame, fixed: np.ndarray) -> pd.DataFrame:
    """What the entropy of stage weights has to do with the label, and what predictions lose by
    weights that are the same for all images.

    tested   columns label, predicted, entropy, distortion, level and, optionally, distortion2,
             level2, content: the test rows of the table
    fixed    predictions (n,) of the same images under the same weights for all

    Returns a row a quantity, by a short name: quantity (in words), value, low, high (95 %; NaN
    where there is no interval), n, unit (of the intervals), and interval: on which side of 0 it
    lies.
    """
    contents = own_contents(tested)  # None where images share none
    where = "over all images" if contents is None else "within contents"
    rows = {}

    pooled = correlations(tested.entropy, tested.label, content=tested.get("content"))
    name = "SRCC of entropy and label, over all images"
    rows["entropy"] = name, pooled["srcc"], *pooled["intervals"]["srcc"]
    if contents is not None:
        within = per_content(tested.entropy, tested.label, contents)
        rows["entropy_within"] = "the same, within contents", within["srcc"], *within["interval"]
    if crossed(tested):
        specific = content_specific(tested.entropy, tested.label, tested.content, versions(tested))
        name = "the same, content-specific: what type and level may explain taken out"
        rows["entropy_specific"] = name, specific["value"], *specific["interval"]

    compared = compare(tested.predicted, fixed, tested.label, content=tested.get("content"))
    lost = compared["within"] or compared
    name = f"SRCC of predictions lost by fixed weights, {where}"
    rows["lost"] = name, lost["difference"], *lost["interval"]
    name = "SRCC between predictions with and without, over all images"
    rows["between"] = name, srcc(tested.predicted, fixed), np.nan, np.nan
    change = (tested.predicted - fixed).abs().mean()
    rows["change"] = "mean change of a prediction by fixed weights", change, np.nan, np.nan

    analysis = pd.DataFrame(rows, index=["quantity", "value", "low", "high"]).T
    numbers = ["value", "low", "high"]
    analysis[numbers] = analysis[numbers].astype(float)
    analysis = analysis.assign(n=len(tested), unit=pooled["unit"])
    sides = [analysis.low > 0, analysis.high < 0, analysis.low.isna()]
    analysis["interval"] = np.select(sides, ["above 0", "below 0", ""], "holds 0: undecided")
    return analysis
