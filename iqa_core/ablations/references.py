"""What notebook 07 asks of models that compare: types they have never seen, other references, and
measures that are given the degraded image in place of the pristine one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import Subset

from .. import evaluation, measuring, runs, splits, study
from ..loading import Samples, open_samples
from ..stats import srcc, t_interval, within_contents


def without_types(
    record: runs.Run, data: study.Data, column: str, types: Sequence[str]
) -> study.Data:
    """The data without the training and validation rows of some types, which the test keeps; the
    run keeps the split in splits/<its name>.csv.

    column   that names the type; where there is a <column>2, a second one counts as well

    KeyError for a column or type that the table lacks; ValueError where nothing is left to train.
    """
    table, part = data.table, data.part
    if column not in table:
        raise KeyError(f"{data.name} has no column {column}; there are {', '.join(table)}")
    if unknown := sorted(set(types) - set(table[column])):
        known = ", ".join(sorted(table[column].dropna().unique()))
        raise KeyError(f"no {column} is {', '.join(unknown)}; there are {known}")
    part = part.where(~_is_of(table, column, types) | (part == "test"))
    for name in ("train", "val"):
        if not (part == name).any():
            raise ValueError(f"all {name} rows are of the types left out; leave out fewer")
    split = table[["image"]].assign(split=part).dropna()
    file = record.path(f"splits/{Path(record.parameters.get('split', 'split')).name}.csv")
    return replace(data, part=part, split_hash=splits.save_split(split, file))


def _is_of(table, column, types):
    found = table[column].isin(types)
    return found | table[f"{column}2"].isin(types) if f"{column}2" in table else found


def parts_by_type(
    data: study.Data, column: str, types: Sequence[str], *, always: Sequence[str] = ()
) -> dict[str, pd.Series]:
    """Test images by whether training saw their type: name -> images.

    always   types that are counted in every part, as the input that no restorer touched
    """
    test = data.of("test")
    unseen = _is_of(test, column, types)
    kept = test[column].isin(always)
    parts = {"all types": test.image}
    if unseen.any():
        parts["types seen in training"] = test.image[~unseen]
        parts["types never seen"] = test.image[unseen | kept]
    return parts


def averaged(tested: pd.DataFrame, averages: dict[str, list[str]]) -> pd.DataFrame:
    """`tested` with further variants, each the mean of the predictions of several, seed by seed."""
    parts = [tested]
    for name, variants in averages.items():
        rows = tested[tested.variant.isin(variants)]
        if missing := set(variants) - set(rows.variant):
            raise KeyError(f"{name} averages {', '.join(sorted(missing))}, which was not trained")
        keys = [key for key in ("image", "label", "seed", "split") if key in rows]
        mean = rows.groupby(keys, as_index=False, sort=False).predicted.mean()
        parts.append(mean.assign(variant=name, networks=name))
    return pd.concat(parts, ignore_index=True)


# ---- other references


def reference_checks(network, test: Samples) -> pd.DataFrame:
    """What becomes of a full-reference model's scores when the reference is not the image's own.

    test   samples with pristine references; of several contents

    Returns a row a reference (its own; that of another photograph, in the same place of its list;
    the distorted image itself): n, contents, mean predicted label, its percentile among the scores
    with the own reference (mean), and the mean SRCC within contents (NaN where all scores are the
    same), with the ends of its t interval.
    """
    pristine, content = test.parts["pristine"], test.table.content.to_numpy()
    others = _of_another_content(content)
    references = {
        "its own photograph": pristine,
        "another photograph": Subset(pristine, others.tolist()),
        "itself": test.parts["image"],
    }
    rows, own = [], None
    for name, reference in references.items():
        samples = Samples({**test.parts, "pristine": reference}, test.table)
        predicted = evaluation.predict_samples(network, samples)
        own = np.sort(predicted) if own is None else own
        (within,) = within_contents(predicted[None], test.table.label, content, inner=content)
        low, high = t_interval(within)
        percentile = 100 * np.searchsorted(own, predicted).mean() / len(own)
        row = {"reference": name, "n": len(predicted), "units": len(within)}
        row |= {"unit": "content", "mean predicted": predicted.mean(), "percentile": percentile}
        mean = within.mean() if len(within) else np.nan
        rows.append(row | {"content_srcc": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def _of_another_content(content):
    """For every row the position of a row of the next content, as far down in its list."""
    names = list(dict.fromkeys(content))
    if len(names) < 2:
        raise ValueError("one content has no other photograph; test on two or more")
    members = {name: np.flatnonzero(content == name) for name in names}
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    found = np.empty(len(content), int)
    for name, rows in members.items():
        theirs = members[following[name]]
        found[rows] = theirs[np.arange(len(rows)) % len(theirs)]
    return found


# ---- what needs no training, or was trained elsewhere


def judged_beside(
    table: pd.DataFrame, measures: Sequence[str], *, reference: str, root: Path
) -> pd.DataFrame:
    """Full-reference measures of a table's images, given the images of a column in place of the
    pristine ones; column image and one a measure, those that are absent left out.
    """
    beside = table.assign(reference=table[reference])
    possible = measuring.measurable(beside, measures, root=root)
    return measuring.measure(beside, possible, root=root)


def judged_by_run(
    record: runs.Run, run: str, table: pd.DataFrame, *, reference: str, root: Path
) -> tuple[str, pd.Series]:
    """The model's name, and the scores, by image, of a table's images by the full-reference network
    of a finished run, given the images of a column in place of the pristine ones.

    FileNotFoundError for a run that has not finished; ValueError for a network that compares with
    no pristine image.
    """
    network = study.load_network(run)
    record.uses(runs.finished(run) / "model.safetensors")
    if network.contract.reference != "pristine":
        raise ValueError(
            f"{run} compares with no pristine image: name one of a full-reference model"
        )
    samples = open_samples(table.assign(reference=table[reference]), network, root=root)
    predicted = evaluation.predict_samples(evaluation.prepared(network), samples)
    scores = pd.Series(predicted, index=table.image)
    return network.config["name"], scores


def input_quality(table: pd.DataFrame, *, inputs: str, untouched: pd.Series) -> pd.Series:
    """The label of the input that each image was made of, by image: what a judge earns who looks at
    the input alone.

    inputs      the column that, within a content, tells one input's images
    untouched   whether a row is its input
    """
    keys = ["content", inputs]
    labels = table[untouched].set_index(keys).label
    found = labels.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy()
    return pd.Series(found, index=table.image)


def untrained(
    record: runs.Run,
    data: study.Data,
    measures: Sequence[str],
    *,
    others: Sequence[str] = (),
    inputs: str = "",
    column: str = "",
    untouched: Sequence[str] = (),
) -> pd.DataFrame:
    """What judges say of the test images that were not trained on this set, columns image and one a
    judge: full-reference measures, which are given the pristine image; and where images are outputs
    of `inputs`, the same measures and the networks of the runs `others`, given the degraded image
    in its place, and the label of the input, the image whose type, in `column`, is one of
    `untouched`.

    Errors of `judged_beside` and `judged_by_run`; ValueError where no image is an input.
    """
    test = data.of("test")
    found = judged_beside(test, measures, reference="reference", root=data.root)
    found = found.set_index("image")
    if inputs:
        given = judged_beside(test, measures, reference="degraded", root=data.root)
        found = found.join(given.set_index("image"), rsuffix=", degraded")
        for run in others:
            name, scores = judged_by_run(record, run, test, reference="degraded", root=data.root)
            found[f"{name}, degraded"] = scores
        is_input = test[column].isin(untouched)
        if not is_input.any():
            raise ValueError(
                f"no {column} is {', '.join(untouched) or 'named'}: name in `always` what the "
                "untouched input is called"
            )
        found["the input's label"] = input_quality(test, inputs=inputs, untouched=is_input)
    return found.reset_index()


def worst_inputs(rows: pd.DataFrame, *, inputs: str) -> pd.DataFrame:
    """The images of three inputs of different contents, the worst ordered last.

    rows   of the test: content, label, predicted and the column `inputs`
    """
    keys = ["content", inputs]
    order = rows.groupby(keys).apply(_agreement, include_groups=False).dropna().sort_values()
    order = order[~order.index.get_level_values(0).duplicated()]
    chosen = [order.index[-1], order.index[len(order) // 2], order.index[0]]
    index = pd.MultiIndex.from_frame(rows[keys])
    return pd.concat([rows[index == pair] for pair in dict.fromkeys(chosen)])


def _agreement(rows):
    labels, predicted = rows.label.to_numpy(), rows.predicted.to_numpy()
    return np.nan if len(rows) < 3 or not labels.std() else float(srcc(predicted, labels))
