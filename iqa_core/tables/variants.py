"""Variants of one model, each trained with several seeds and tested on the same images: a row a
variant, and which of them differ.
"""

import numpy as np
import pandas as pd

from ..stats import (
    compare,
    compare_seeds,
    holm,
    own_contents,
    t_interval,
    unit_name,
    within_contents,
)
from .cells import (
    BLIND,
    LABELS,
    STATISTICS,
    blind_rule,
    cell,
    crossed,
    labels_in,
    specific_to_contents,
    with_interval,
)
from .statement import STATED
from .trainings import (
    headline_statistic,
    mean_agreement,
    mean_difference,
    mean_interval,
    predictions_of,
    without_seeds,
)

DIFFERENCES = ["label", "variant", "than", "n", "units", "unit", "trainings", "difference", "low"]
DIFFERENCES += ["high", "p", "p_holm", "found"]


def ablations(
    tested: pd.DataFrame, table: pd.DataFrame, part, *, labels=LABELS, inputs: str = ""
) -> pd.DataFrame:
    """One row a label and variant, averaged over its trainings, then one a training (column seed,
    else NaN).

    tested   columns variant, seed, image, predicted, for the test images of `part`; optionally
             draw, repetitions within a training.
    part     the part of each table row.
    inputs   a column of the table: which images are outputs of one input, as its degradation; the
             headline is then input_srcc, the mean over contents of the mean SRCC within inputs.

    Returns columns label, variant, seed, n, contents, trainings, unit and units (what a bootstrap
    draws), and the value, _low and _high of srcc (over all images, bootstrap), content_srcc (mean
    SRCC within contents) and specific (the content-specific correlation). Values are averaged over
    the trainings first, so the intervals, t over contents, are of these trainings; seed_sd, the
    standard deviation of the headline (content_srcc, else srcc) over trainings, is beside them.
    Sets without contents have fewer columns, as those that are not crossed have; a crossed one has
    the content-blind rule as one more variant.

    Errors: ValueError for trainings of a variant on different images.
    """
    runs = {name: predictions_of(tested, name) for name in tested.variant.unique()}
    images = next(iter(runs.values())).index
    truth = table.set_index("image")
    looked = crossed(truth.loc[images])
    rows = []
    for label in labels_in(table, labels):
        rules = {}
        if looked:
            blind = blind_rule(table, part, label=label)[images].dropna()
            if len(blind):
                rules[BLIND] = without_seeds(blind)
        rows += _rows_of_label(label, {**runs, **rules}, truth, looked, inputs)
    data = pd.DataFrame(rows)
    # A rule has no trainings: one row, without a number of them.
    rule = data.variant == BLIND
    data["trainings"] = data.trainings.mask(rule)
    return data[~rule | data.seed.isna()].reset_index(drop=True)


def readable_ablations(data: pd.DataFrame) -> pd.DataFrame:
    """The variants' rows of `ablations` for people: figures with their intervals as text, and how
    much the trainings of a variant differ.
    """
    means = data[data.seed.isna()]
    rows = means.to_dict("records")
    trainings = [f"{number:.0f}" if np.isfinite(number) else "--" for number in means.trainings]
    shown = pd.DataFrame({"label": means.label, "variant": means.variant, "trainings": trainings})
    for name, title in STATISTICS.items():
        if name in means:
            shown[title] = [cell(row, name) for row in rows]
    if "specific" in means:
        shown.loc[shown.variant == BLIND, STATISTICS["specific"]] = "nothing left"
    sd = [f"{sd:.3f}" if np.isfinite(sd) else "--" for sd in means.seed_sd]
    shown.insert(4, "sd over seeds", sd)
    stated = means[[name for name in STATED if name in means]]
    return pd.concat([shown, stated], axis=1).set_index(["label", "variant"])


def seed_differences(
    tested: pd.DataFrame, table: pd.DataFrame, pairs, *, labels=LABELS, inputs: str = ""
) -> pd.DataFrame:
    """One row a label and pair of variants of `tested` (as for `ablations`): how much the first
    exceeds the second.

    The difference of what `ablations` has: the mean SRCC within `inputs` where these are named,
    within contents, else that over all images. With two or more trainings of each, these and the
    contents are random effects (`stats.compare_seeds`). With fewer it is between two trained
    networks, the first of each: an interval by contents, no p, and nothing is concluded. Where an
    optional column `networks` says that both are tests of the same networks, seeds are no noise:
    interval and p are of a paired t over contents, of these networks.

    Returns columns label, variant, than, n, units and unit (contents of three images or more, else
    what is drawn), trainings, difference, low, high, p, p_holm (over the pairs of a label), found.
    """
    rows = []
    for label in labels_in(table, labels):
        of_label = [_difference(tested, table, label, *pair, inputs) for pair in pairs]
        adjusted = holm([row["p"] for row in of_label])
        for row, p_holm in zip(of_label, adjusted, strict=True):
            found = "apart" if p_holm < 0.05 else "not told apart"
            if not row.pop("same_networks") and row["trainings"] < 2:
                found = "one training: nothing is concluded"
            unit = unit_name(row["units"], row["n"])
            rows.append(row | {"unit": unit, "p_holm": p_holm, "found": found})
    return pd.DataFrame(rows, columns=DIFFERENCES)


def shuffle_loss(tested: pd.DataFrame, table: pd.DataFrame, pair, *, labels=LABELS) -> pd.DataFrame:
    """One row a label: the SRCC that the first variant of `pair` loses as the second, the same
    networks with their stage weights shuffled between images.

    tested   as for `ablations`.

    Returns columns label, n, units, trainings, draws, intact (its SRCC), lost, low, high (t over
    contents, trainings and draws averaged first; without contents by bootstrap of images), least
    and most (of a single training), found.
    """
    intact, shuffled = (predictions_of(tested, name) for name in pair)
    truth = table.set_index("image").loc[intact.index]
    content = own_contents(truth)
    seeds = intact.columns.unique(0)
    rows = []
    for label in labels_in(table, labels):
        lost = mean_difference(intact, shuffled, truth, label)
        low, high = lost["low"], lost["high"]
        single = [
            mean_difference(intact[[seed]], shuffled[[seed]], truth, label)["difference"]
            for seed in seeds
        ]
        agreement, _ = mean_agreement(intact, truth, label)
        rows.append(
            {
                "label": label,
                "n": len(truth),
                "units": lost["units"],
                "unit": unit_name(lost["units"], len(truth)),
                "trainings": len(seeds),
                "draws": shuffled.shape[1] // len(seeds),
                "intact": agreement[headline_statistic(content)],
                "lost": lost["difference"],
                "low": low,
                "high": high,
                "least": min(single),
                "most": max(single),
                "found": "lost" if low > 0 else "gained" if high < 0 else "not told from nothing",
            }
        )
    return pd.DataFrame(rows)


# ---- rows under one label


def _rows_of_label(label, runs, truth, looked, inputs):
    """Rows of `ablations`: of each variant its mean, then each training.

    looked   whether the images are crossed, so that what is specific to a content can be told.
    """
    rows = []
    for name, predictions in runs.items():
        mean, single = mean_agreement(predictions, truth, label)
        if inputs:
            of_rows = truth.loc[predictions.index]
            within = within_contents(
                predictions.T.to_numpy(), of_rows[label], of_rows.content, of_rows[inputs]
            )
            of_contents = pd.Series(within.mean(axis=0), dtype=float)
            interval = mean_interval(of_contents) if len(of_contents) else (np.nan, np.nan)
            mean = with_interval("input_srcc", of_contents.mean(), interval) | mean
            of_trainings = pd.DataFrame(within, index=predictions.columns).mean(axis=1)
            single["input_srcc"] = of_trainings.groupby(level="seed").mean()
            mean["seed_sd"] = single.input_srcc.std()
        if looked and name != BLIND:  # nothing is left of the rule itself
            tested = truth.loc[predictions.index]
            mean |= specific_to_contents(tested, predictions.T, label)
            single["specific"] = [
                specific_to_contents(tested, predictions[[seed]].T, label)["specific"]
                for seed in predictions.columns.unique(0)
            ]
        rows.append({"label": label, "variant": name, "seed": np.nan} | mean)
        counts = {
            column: mean[column] for column in ("n", "contents", "trainings", "unit", "units")
        }
        for seed, values in single.to_dict("index").items():
            rows.append({"label": label, "variant": name, "seed": seed} | counts | values)
    return rows


def _difference(tested, table, label, variant, than, inputs):
    """A row of `seed_differences`, and whether both are tests of the same networks."""
    first, second = predictions_of(tested, variant), predictions_of(tested, than)
    if set(first.index) != set(second.index):
        raise ValueError(
            f"{variant} and {than} were tested on different images; there is no paired difference"
        )
    second = second.loc[first.index]
    truth = table.set_index("image").loc[first.index]
    trainings = min(first.shape[1], second.shape[1])
    row = {"label": label, "variant": variant, "than": than}
    row |= {"n": len(truth), "trainings": trainings}

    networks = tested.get("networks", tested.variant).groupby(tested.variant).first()
    if networks[variant] == networks[than] and not inputs:
        return row | mean_difference(first, second, truth, label) | {"same_networks": True}

    # The interval within contents needs no draws.
    draws = 2000 if own_contents(truth) is None else 2
    content = truth.get("content")
    runs, other = first.T.to_numpy(), second.T.to_numpy()
    if trainings > 1:
        inner = truth[inputs] if inputs else None
        compared = compare_seeds(
            runs, other, truth[label], content=content, inner=inner, draws=draws
        )
    elif inputs:
        values = within_contents(
            np.stack([runs[0], other[0]]), truth[label], content, truth[inputs]
        )
        gains = values[0] - values[1]
        compared = {"within": None, "units": len(gains), "difference": gains.mean()}
        compared["interval"] = t_interval(gains)
    else:
        compared = compare(runs[0], other[0], truth[label], content=content, draws=draws)
    part = compared["within"] or compared
    low, high = part["interval"]
    row |= {"units": part.get("contents", compared["units"])}
    row |= {"difference": part["difference"], "low": low, "high": high}
    row |= {"p": part["p"] if trainings > 1 else np.nan}
    return row | {"same_networks": False}
