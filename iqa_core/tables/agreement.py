"""How well every method agrees with the labels on the same test images, beside the content-blind
baseline.
"""

import numpy as np
import pandas as pd

from ..datasets import set_of
from ..metrics import logistic5, per_content
from ..stats import (
    codes,
    compare,
    compare_specific,
    correlation_interval,
    holm,
    least_holm,
    own_contents,
    plcc,
    rank_correlations,
    resampled_interval,
    srcc,
    standard_error,
    unit_name,
    vectors,
    versions,
)
from .cells import (
    BLIND,
    LABELS,
    blind_rule,
    crossed,
    labels_in,
    specific_to_contents,
    with_interval,
)
from .statement import STATED

DIFFERENCES = ["label", "statistic", "method", "than", "n", "units", "unit"]
DIFFERENCES += ["difference", "low", "high", "p", "p_holm", "found"]


def results(
    tests: list[tuple[pd.DataFrame, pd.Series]], table: pd.DataFrame, *, labels=LABELS
) -> pd.DataFrame:
    """One row a label and method: pooled SRCC, mean SRCC within contents, content-specific
    correlation.

    tests   for each run its test predictions (column image and one column a method) and its split
            (part of each table row). Rotations are put one under the other, each content-blind
            rule learnt on its own training contents, and contents are centred within a rotation.
    table   of the data set. Where it is not crossed (`cells.crossed`) there is no content-blind row
            and no content-specific correlation.

    Returns columns label, method, n, unit and units (contents or images: what a bootstrap draws),
    contents, and for srcc (by bootstrap), content_srcc and specific (t over contents) the value,
    _low and _high; of specific also what `cells.specific_to_contents` tells. Of the content-blind
    row nothing is left: specific is nan there. `attrs["set"]` is the data set's name.

    Errors: ValueError for a method that made a label, and for predictions of images that are not
    test images of their split.
    """
    rows = []
    for label in labels_in(table, labels):
        rows += _rows_of_label(label, tests, table)
    data = pd.DataFrame(rows)
    data.attrs["set"] = set_of(table.image.iloc[0])
    return data


def headline(data: pd.DataFrame, method: str) -> dict:
    """A method's rows of `results` as flat numbers, for a run's metrics.json.

    Names end in the label where it is not `label`: srcc, srcc_label2.
    """
    numbers = {}
    rows = data[data.method == method].drop(columns=["method", *STATED[1:]], errors="ignore")
    for row in rows.to_dict("records"):
        label = row.pop("label")
        suffix = "" if label == "label" else f"_{label}"
        for name, value in row.items():
            numbers[name + suffix] = value
    return numbers


def over_splits(
    tests: list[tuple[pd.DataFrame, pd.Series]], table: pd.DataFrame, pairs, *, labels=LABELS
) -> pd.DataFrame:
    """One row a label, statistic and method over random splits of one set, then one for each of
    `pairs` of methods: first minus second.

    tests   as for `results`, with the same methods in each.

    Returns columns label, statistic (srcc; plcc, raw; plcc5, after the 5-parameter logistic;
    content_srcc where images share contents), method, splits, n (test images a split), unit
    ("split"), median, mean, std over splits, low and high of the mean (`stats.resampled_interval`:
    splits share images). Among the methods is the content-blind rule, where the set has one.
    """
    # Splits share images, so the variance of their mean needs the sizes of both parts.
    train = np.median([split.isin(["train", "val"]).sum() for _, split in tests])
    test = np.median([(split == "test").sum() for _, split in tests])
    methods = _methods(tests) + [BLIND] * crossed(table)
    rows = []
    for label in labels_in(table, labels):
        of_splits = []
        for predictions, split in tests:
            tested = predictions.merge(table, on="image", validate="one_to_one")
            if BLIND in methods:
                tested = tested.join(blind_rule(table, split, label=label), on="image")
            statistics = {method: _statistics(tested, method, label) for method in methods}
            of_splits.append(pd.DataFrame(statistics))
        scores = pd.concat(of_splits, keys=range(len(of_splits)))
        for method, than in pairs:
            scores[f"{method} - {than}"] = scores[method] - scores[than]
        for statistic, of_statistic in scores.groupby(level=1, sort=False):
            for method, values in of_statistic.items():
                row = {"label": label, "statistic": statistic, "method": method}
                rows.append(row | _summary(values.dropna(), train=train, test=test))
    return pd.DataFrame(rows)


def splits_headline(data: pd.DataFrame, method: str) -> dict:
    """A method's rows of `over_splits` under `label` as flat numbers, for a run's metrics.json:
    splits, n, and of each statistic the mean with its interval, as srcc, srcc_low, srcc_high.
    """
    rows = data[(data.method == method) & (data.label == "label")].set_index("statistic")
    numbers = {"splits": rows.splits.iloc[0].item(), "n": rows.n.iloc[0].item()}
    numbers |= rows["mean"].to_dict()
    for end in ("low", "high"):
        for statistic, value in rows[end].items():
            numbers[f"{statistic}_{end}"] = value
    return numbers


def differences(data: pd.DataFrame, pairs: list[tuple[str, str]], *, labels=LABELS) -> pd.DataFrame:
    """One row a label, statistic and pair of columns of `data`, predictions for the same images:
    how much the first exceeds the second.

    data    joined with the table; optionally a column together, which rows one network judged

    The statistic is content_srcc, the mean SRCC within contents (t interval over contents, signs of
    the contents), or without contents srcc (bootstrap of images, exchanges); in crossed sets also
    specific, the content-specific correlation (`stats.compare_specific`). It is of these trained
    networks: what another seed would give is no part of it (`seed_differences` is for that).

    Returns columns label, statistic, method, than, n, units, unit, difference, low, high, p, p_holm
    (Holm over the pairs of a label and statistic), found: "apart" (p_holm below .05), "not told
    apart", or that there are too few contents for it: their smallest p is .05 or more after Holm.
    """
    kinds = [_difference, _specific_difference] if crossed(data) else [_difference]
    rows = []
    for label in labels_in(data, labels):
        for kind in kinds:
            of_table = []
            for method, than in pairs:
                row = {"label": label, "method": method, "than": than}
                of_table.append(row | kind(data, method, than, label))
            p = [row["p"] for row in of_table]
            best = least_holm(p, [row.pop("least_p") for row in of_table])
            for row, p_holm, least in zip(of_table, holm(p), best, strict=True):
                rows.append(row | {"p_holm": p_holm, "found": _found(p_holm, least, row["unit"])})
    return pd.DataFrame(rows, columns=DIFFERENCES)


def _found(p_holm, least, unit):
    """What an adjusted p-value allows to say, and the smallest that it could have been."""
    if np.isnan(p_holm):
        return "nothing is left of one of the two"
    if least >= 0.05:
        return f"too few {unit}s: p_holm is {least:.3f} at best"
    return "apart" if p_holm < 0.05 else "not told apart"


# ---- from predictions to rows


def _methods(tests):
    predictions, _ = tests[0]
    return [column for column in predictions if column != "image"]


def _rows_of_label(label, tests, table):
    """Rows of `results` under one label."""
    parts = [_joined(*test, table) for test in tests]
    test = pd.concat(parts, keys=range(len(parts)), names=["together"]).reset_index("together")
    methods = _methods(tests)
    vectors(**test[methods])
    rows = [{"method": method} | _agreement(test, method, label) for method in methods]
    if crossed(test):
        for row in rows:
            row |= specific_to_contents(test, test[row["method"]], label)
        rules = [
            blind_rule(table, split, label=label)[predictions.image] for predictions, split in tests
        ]
        # Versions that no training image had, as those of a type left out, have no rule.
        known = test.join(pd.concat(rules), on="image").dropna(subset=BLIND)
        if len(known):
            rows.append({"method": BLIND} | _agreement(known, BLIND, label))
    return [{"label": label} | row for row in rows]


def _joined(predictions, split, table):
    """Test predictions of one run beside the table's columns."""
    labels = sorted(set(predictions) & set(table) - {"image"})
    if labels:
        raise ValueError(
            f"{', '.join(labels)} made the labels or stands in the table; it cannot compete, "
            f"leave it out"
        )
    test = table.assign(split=split).merge(predictions, on="image", validate="one_to_one")
    if len(test) != len(predictions) or set(test.split) != {"test"}:
        raise ValueError(
            "predictions hold images that are no test images of their split; results are for "
            "test images only"
        )
    return test


def _agreement(test, method, label):
    """Counts, pooled SRCC and mean SRCC within contents, with their intervals, as columns."""
    content = own_contents(test)
    ranked = codes(test[method]), codes(test[label])
    (pooled,) = rank_correlations(*ranked)
    (error,), units, _ = standard_error(
        rank_correlations, *ranked, content=test.get("content"), fisher=True
    )
    row = {"n": len(test), "unit": unit_name(units, len(test)), "units": units}
    row["contents"] = None if content is None else content.nunique()
    row |= with_interval("srcc", float(pooled), correlation_interval(pooled, error, units))
    if content is not None:
        within = per_content(test[method], test[label], content)
        row |= with_interval("content_srcc", within["srcc"], within["interval"])
    return row


def _difference(data, method, than, label):
    """How much one method's SRCC exceeds another's, as columns."""
    pair = compare(data[method], data[than], data[label], content=data.get("content"))
    row = {"statistic": "srcc", "n": pair["n"], "unit": pair["unit"], "units": pair["units"]}
    part = pair
    if pair["within"]:
        part = pair["within"]
        row |= {"statistic": "content_srcc", "units": part["contents"]}
    low, high = part["interval"]
    row |= {"difference": part["difference"], "low": low, "high": high}
    return row | {"p": part["p"], "least_p": part["least_p"]}


def _specific_difference(data, method, than, label):
    """The same of the content-specific correlation."""
    versus = data[method], data[than], data[label], data.content, versions(data)
    pair = compare_specific(*versus, together=data.get("together"))
    row = {"statistic": "specific", "n": pair["n"], "unit": "content", "units": pair["contents"]}
    low, high = pair["interval"]
    row |= {"difference": pair["difference"], "low": low, "high": high}
    return row | {"p": pair["p"], "least_p": 0.0}  # a t test allows any


def _statistics(test, method, label):
    """Agreement of one method on one split: statistic -> value."""
    test = test[test[method].notna()]  # the blind rule has no value for versions not trained on
    predicted, truth = test[method].to_numpy(), test[label].to_numpy()
    fitted = logistic5(predicted, truth)(predicted)
    statistics = {
        "srcc": srcc(predicted, truth),
        "plcc": plcc(predicted, truth),
        "plcc5": plcc(fitted, truth),
    }
    content = own_contents(test)
    if content is not None:
        statistics["content_srcc"] = per_content(predicted, truth, content)["srcc"]
    return statistics


def _summary(values, *, train, test):
    """Values of one statistic over splits as columns."""
    low, high = resampled_interval(values, train=train, test=test)
    return {
        "splits": len(values),
        "n": int(test),
        "unit": "split",
        "median": values.median(),
        "mean": values.mean(),
        "std": values.std(),
        "low": low,
        "high": high,
    }
