"""What predicts how vision models suffer: of every model that answered, how well labels of the
others, predictions, measures and the rule without pixels know its own answers.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..detections import Matches
from ..metrics import per_content
from ..rejection import area, curve, oracle
from ..stats import content_blind
from .agreement import differences
from .cells import BLIND, bracketed, cell, crossed, specific_to_contents, with_interval
from .statement import STATED

OTHERS = "label of the other models"  # what a student has learnt


def machines_of(table: pd.DataFrame) -> list[str]:
    """The vision models whose own answers stand in a table, as columns `by <model>`."""
    return [column.removeprefix("by ") for column in table if column.startswith("by ")]


def machine_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """How alike each two models find the versions of a photograph: a row a pair, columns machine,
    other, n, contents, content_srcc and, where the set is crossed, specific, with intervals.

    What one model's answers tell of another's; a label made of the one can hardly tell more.
    """
    machines = machines_of(table)
    rows = []
    for place, machine in enumerate(machines):
        for other in machines[place + 1 :]:
            row = {"machine": machine, "other": other}
            rows.append(row | _agreement(table, table[f"by {other}"], f"by {machine}"))
    return pd.DataFrame(rows)


def _agreement(table, predicted, label, *, specific=True):
    """Mean SRCC within contents, and the content-specific correlation, as columns."""
    found = per_content(predicted, table[label], table.content)
    row = {"n": found["n"], "unit": "content", "units": found["contents"]}
    row |= with_interval("content_srcc", found["srcc"], found["interval"])
    if specific and crossed(table) and predicted.notna().all():
        row |= specific_to_contents(table, predicted, label)
    return row


def machine_counts(table: pd.DataFrame, right: dict[str, np.ndarray]) -> pd.DataFrame:
    """Hard answers, as counts: a row a model, how many images keep the class of their original, in
    all and of each quarter of the machines' label, worst first.

    right   1 where a model names the same class, 0 where not
    """
    quarter = pd.qcut(table.label.rank(method="first"), 4, labels=False)
    rows = []
    for machine, answers in right.items():
        row = {"machine": machine, "n": len(table), "same class": int(answers.sum())}
        for number, name in enumerate(("worst quarter", "second", "third", "best quarter")):
            some = answers[quarter == number]
            row[name] = f"{int(some.sum())} of {len(some)}"
        rows.append(row)
    return pd.DataFrame(rows)


def blind_by_fold(table: pd.DataFrame, parts: Sequence[pd.Series], label: str) -> pd.Series:
    """The rule that sees no pixel, for every image that is tested once in `parts`: the mean of
    `label` over the training images of the same version.

    parts   of each training train, val or test for the rows of the table
    """
    predicted = pd.Series(np.nan, table.index)
    for part in parts:
        tested = part == "test"
        predicted[tested] = content_blind(table, part, label=label)[tested, 0]
    return predicted


def for_machines(
    table: pd.DataFrame,
    learnt: dict[str, pd.Series],
    others: pd.DataFrame,
    parts: Sequence[pd.Series],
    *,
    method: str,
) -> dict[str, pd.DataFrame]:
    """What `by_machine` takes: of every vision model the label of all others, predictions of a
    network that learnt that label, `others`, and the rule without pixels that was taught it too.

    learnt   {model: predictions (n,) in the table's rows}
    others   columns of predictions or measures that are the same for all models
    parts    of each training train, val or test for the rows of the table
    method   what the network is called
    """
    methods = {}
    for machine, predicted in learnt.items():
        target = f"without {machine}"
        rows = {OTHERS: table[target], method: predicted}
        rows |= {name: others[name] for name in others}
        rows[BLIND] = blind_by_fold(table, parts, target)
        methods[machine] = pd.DataFrame(rows, index=table.index)
    return methods


def by_machine(
    table: pd.DataFrame,
    predictions: dict[str, pd.DataFrame],
    *,
    right: dict[str, np.ndarray | Matches],
) -> pd.DataFrame:
    """One row a vision model and method: how well the method knows what the model does to each
    version, and what rejecting by it is worth to the model.

    table         the tested rows, with columns content, `by <model>`, distortion, level, and
                  together: which rows one network judged
    predictions   {model: a column a method, in the table's rows}; higher is better. A method
                  without values (a measure whose weights are absent) keeps its row, empty.
    right         what each model gets right of the images (`rejection.curve`)

    Returns columns machine, method, n, unit, units; content_srcc, specific (where crossed), and the
    normalised area of the error-versus-reject curve over all images (area) and within contents
    (area_within), each with _low and _high.
    """
    rows = []
    for machine, methods in predictions.items():
        for method, predicted in methods.items():
            row = {"machine": machine, "method": method}
            if predicted.isna().any():
                contents = table.content.nunique()
                rows.append(row | {"n": len(table), "unit": "content", "units": contents})
                continue
            looks = method != BLIND  # of a rule that sees no pixel nothing is left
            row |= _agreement(table, predicted, f"by {machine}", specific=looks)
            for name, within in (("area", False), ("area_within", True)):
                found = area(predicted, right[machine], content=table.content, within=within)
                row |= with_interval(name, found["value"], found["interval"])
            rows.append(row)
    return pd.DataFrame(rows)


def machine_differences(
    table: pd.DataFrame, predictions: dict[str, pd.DataFrame], *, method: str
) -> pd.DataFrame:
    """How much one method knows more of each vision model than every other that has numbers: rows
    as `agreement.differences` has them, of which Holm's correction is over one model and statistic;
    further a column machine.
    """
    parts = []
    for machine, methods in predictions.items():
        known = [name for name in methods if methods[name].notna().all() and name != method]
        with (
            warnings.catch_warnings()
        ):  # of the rule without pixels nothing is left: the row says so
            warnings.filterwarnings("ignore", message="no comparison: nothing is left")
            rows = differences(
                table.join(methods), [(method, other) for other in known], labels=[f"by {machine}"]
            )
        parts.append(rows.assign(machine=machine))
    return pd.concat(parts, ignore_index=True)


def readable_machine_differences(data: pd.DataFrame) -> pd.DataFrame:
    """`machine_differences` for people: a row a model and method, each statistic's difference with
    its interval as text, * where the two are apart (p by Holm below .05).
    """
    titles = {"content_srcc": "per-content SRCC", "specific": "content-specific"}
    shown = data[["machine", "than", *(name for name in STATED if name in data)]].copy()
    shown["statistic"] = data.statistic.map(titles)
    columns = ["difference", "low", "high", "found"]
    shown["text"] = [
        "--"
        if np.isnan(value)
        else bracketed(value, (low, high)) + (" *" if found == "apart" else "")
        for value, low, high, found in data[columns].itertuples(index=False, name=None)
    ]
    index = [name for name in shown if name not in ("statistic", "text", "n", "units")]
    wide = shown.pivot(index=index, columns="statistic", values="text")
    order = [title for title in titles.values() if title in wide]
    pairs = data.drop_duplicates(["machine", "than"])[["machine", "than"]]
    wide = wide[order].reset_index().merge(pairs, how="right", on=["machine", "than"])
    return wide.assign(n=int(data.n.max())).set_index(["machine", "than"])


def readable_machines(data: pd.DataFrame) -> pd.DataFrame:
    """`by_machine` for people: each figure with its interval as text."""
    titles = {
        "per-content SRCC": "content_srcc",
        "content-specific": "specific",
        "area": "area",
        "area within contents": "area_within",
    }
    told = [name for name in STATED if name in data]
    shown = data[["machine", "method", *told]].copy()
    for title, name in titles.items():
        if name in data:
            shown[title] = [cell(row, name) for row in data.to_dict("records")]
    blind = data.method == BLIND
    if "specific" in data:
        shown.loc[blind & data.specific.isna(), "content-specific"] = "nothing left"
    return shown.set_index(["machine", "method"])


def reject_curves(
    table: pd.DataFrame,
    predictions: dict[str, pd.DataFrame],
    *,
    right: dict[str, np.ndarray | Matches],
) -> pd.DataFrame:
    """The error-versus-reject curves behind `by_machine`, with random and oracle: one row a model,
    method, way (over all images, within contents) and share; columns as `rejection.curve`.
    """
    parts = []
    for machine, methods in predictions.items():
        answers = right[machine]
        known = {name: methods[name] for name in methods if methods[name].notna().all()}
        lines = known | {"random": np.zeros(len(table)), "oracle": oracle(answers)}
        ways = {"over all images": None}
        if "content" in table:
            ways["within contents"] = table.content
        for method, quality in lines.items():
            for way, content in ways.items():
                data = curve(quality, answers, content=content)
                parts.append(data.assign(machine=machine, method=method, way=way))
    return pd.concat(parts, ignore_index=True)


def thresholds(quality, right: dict[str, np.ndarray | Matches]) -> pd.DataFrame:
    """Which threshold? One row a tenth of images rejected: the score from which on images are
    kept, how many are left, and what each model gets right of them.

    quality   (n,) scores, higher is better
    right     what each model gets right of the images (`rejection.curve`); none: scores alone
    """
    shares = np.arange(0, 0.91, 0.1)
    data = curve(quality, np.zeros(len(quality)), shares=shares)
    data = data.rename(columns={"quality": "keep from"}).drop(columns="performance")
    for machine, answers in right.items():
        data[machine] = curve(quality, answers, shares=shares).performance
    return data


def apart(table: pd.DataFrame, label: str, other: str) -> pd.Series:
    """How much higher an image stands under one label than under another, both as ranks within its
    content from 0 to 1.
    """
    ranks = table.groupby("content")[[label, other]].rank(pct=True)
    return ranks[label] - ranks[other]
