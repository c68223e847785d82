"""How well every method agrees with the labels on the same test images, beside the content-blind
baseline.
"""

import numpy as np
import pandas as pd

from ..metrics import logistic5, per_content
from ..stats import (
    boosted_blind,
    codes,
    compare,
    content_blind,
    correlation_interval,
    holm,
    least_holm,
    own_contents,
    partial_srcc,
    plcc,
    rank_correlations,
    resampled_interval,
    srcc,
    standard_error,
    t_interval,
    unit_name,
)
from .cells import BLIND, BOOSTED, LABELS, has_blind_rule, labels_in, with_interval
from .images import content_blind_column
from .statement import STATED

DIFFERENCES = ["label", "method", "than", "n", "units", "unit", "difference", "low", "high"]
DIFFERENCES += ["p", "p_holm", "found"]


def results(
    tests: list[tuple[pd.DataFrame, pd.Series]], table: pd.DataFrame, *, labels=LABELS
) -> pd.DataFrame:
    """One row a label and method: pooled SRCC, mean SRCC within contents, and the partial SRCC
    given the content-blind baseline.

    tests   for each run its test predictions (column image and one column a method) and its split
            (part of each table row). Rotations are put one under the other, each baseline learnt
            on its own training contents.
    table   of the data set. Without distortions it has no baseline and no partial correlation.

    Returns columns label, method, n, unit and units (contents or images: what a bootstrap draws),
    contents, and for srcc (by bootstrap), content_srcc, partial and gain (t over contents) the
    value, _low and _high. gain is how much the partial SRCC exceeds that of a boosted rule which
    sees no pixels either, paired by content.

    Errors: ValueError for a method that made a label, and for predictions of images that are not
    test images of their split.
    """
    rows = []
    for label in labels_in(table, labels):
        rows += _rows_of_label(label, tests, table)
    return pd.DataFrame(rows)


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
    methods = _methods(tests) + [BLIND] * has_blind_rule(table)
    rows = []
    for label in labels_in(table, labels):
        of_splits = []
        for predictions, split in tests:
            tested = predictions.merge(table, on="image", validate="one_to_one")
            if BLIND in methods:
                tested = tested.merge(content_blind_column(table, split, label=label), on="image")
                tested = tested.rename(columns={"content_blind": BLIND})
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
    """One row a label and pair of columns of `data`, predictions for the same images: how much the
    first exceeds the second.

    With contents the difference of the mean SRCC within contents (t interval over contents, signs
    of the contents), else of the plain SRCC (bootstrap of images, exchanges). It is of these
    trained networks: what another seed would give is no part of it (`seed_differences` is for
    that).

    Returns columns label, method, than, n, units, unit, difference, low, high, p, p_holm (Holm over
    the pairs of a label), found: "apart" (p_holm below .05), "not told apart", or that there are
    too few contents for it: their smallest p is .05 or more after Holm.
    """
    content = data.get("content")
    rows = []
    for label in labels_in(data, labels):
        of_label, least_p = [], []
        for method, than in pairs:
            pair = compare(data[method], data[than], data[label], content=content)
            part = pair["within"] or pair
            low, high = part["interval"]
            least_p.append(part["least_p"])
            of_label.append(
                {
                    "label": label,
                    "method": method,
                    "than": than,
                    "n": pair["n"],
                    "units": part.get("contents", pair["units"]),
                    "unit": pair["unit"],
                    "difference": part["difference"],
                    "low": low,
                    "high": high,
                    "p": part["p"],
                }
            )
        p = [row["p"] for row in of_label]
        for row, p_holm, least in zip(of_label, holm(p), least_holm(p, least_p), strict=True):
            rows.append(row | {"p_holm": p_holm, "found": _found(p_holm, least, row["unit"])})
    return pd.DataFrame(rows, columns=DIFFERENCES)


def _found(p_holm, least, unit):
    """What an adjusted p-value allows to say, and the smallest that it could have been."""
    if least >= 0.05:
        return f"too few {unit}s: p_holm is {least:.3f} at best"
    return "apart" if p_holm < 0.05 else "not told apart"


# ---- from predictions to rows


def _methods(tests):
    predictions, _ = tests[0]
    return [column for column in predictions if column != "image"]


def _rows_of_label(label, tests, table):
    """Rows of `results` under one label."""
    test = pd.concat([_joined(predictions, split, table, label) for predictions, split in tests])
    methods = _methods(tests)
    content = own_contents(test)
    partials = {}
    if has_blind_rule(table):
        baseline = test.filter(regex=r"^blind\d+$")
        test[BLIND] = test["blind0"]
        methods += [BLIND, BOOSTED]
        # Of the baseline itself nothing is left when it is taken out.
        for method in methods:
            if method != BLIND:
                partials[method] = partial_srcc(
                    test[method], test[label], baseline, content=content
                )
    rows = []
    for method in methods:
        row = {"label": label, "method": method} | _agreement(test, method, label, content)
        rows.append(row | _beyond_blind(method, partials))
    return rows


def _joined(predictions, split, table, label):
    """Test predictions of one run beside the table's columns and those of rules without pixels."""
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
    if not has_blind_rule(table):
        return test
    named, parts = table[split.notna()], split.dropna()
    baseline = content_blind(named, parts, label=label)
    rules = pd.DataFrame(baseline, index=named.image).add_prefix("blind")
    rules[BOOSTED] = boosted_blind(named, parts, label=label)
    return test.join(rules, on="image")


def _agreement(test, method, label, content):
    """Counts, pooled SRCC and mean SRCC within contents, with their intervals, as columns."""
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


def _beyond_blind(method, partials):
    """Partial SRCC, and how much of it the boosted rule does not have, as columns."""
    if method not in partials:
        return {}
    partial = partials[method]
    row = with_interval("partial", partial["value"], partial["interval"])
    if method != BOOSTED:
        boosted = partials[BOOSTED]["values"]
        gains = [value - boosted[content] for content, value in partial["values"].items()]
        row |= with_interval("gain", float(np.mean(gains)), t_interval(gains))
    return row


def _statistics(test, method, label):
    """Agreement of one method on one split: statistic -> value."""
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
