"""Trained here, tested there: types of distortion that a training left out, and other sets."""

import pandas as pd

from .cells import BLIND, blind_rule, crossed
from .trainings import mean_agreement, predictions_of


def blind_predictions(table: pd.DataFrame, part: pd.Series) -> pd.DataFrame:
    """The content-blind rule's predictions of the test images of `part`, as those of one more
    variant: columns variant, seed, image, predicted, label. No rows where they are not crossed, and
    none for a version that the training lacks.
    """
    test = table[part == "test"]
    if not crossed(test):
        return pd.DataFrame(columns=["variant", "seed", "image", "predicted", "label"])
    rows = test[["image", "label"]].assign(variant=BLIND, seed=0)
    return rows.merge(blind_rule(table, part).rename("predicted"), on="image").dropna()


def on_left_out(tested: pd.DataFrame, table: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    """Predictions of the images that have each of `kinds` of distortion, one kind after the other.

    tested   columns variant, seed, image, predicted, label.
    table    columns image, distortion and, optionally, distortion2, content: an image has a kind
             as its first or second distortion.

    Returns rows for `transfers` (columns trained, tested and seen: False for that of the variant
    `without-<kind>`) and, as its column variant names training and kind, for `seed_differences`.
    """
    parts = []
    for kind in kinds:
        has_kind = table.reindex(columns=["distortion", "distortion2"]).eq(kind).any(axis=1)
        images = table[has_kind].reindex(columns=["image", "content"])
        rows = tested.merge(images, on="image").rename(columns={"variant": "trained"})
        seen = rows.trained != f"without-{kind}"
        parts.append(rows.assign(tested=kind, seen=seen, variant=rows.trained + ", " + kind))
    return pd.concat(parts)


def transfers(tested: pd.DataFrame) -> pd.DataFrame:
    """One row for what was trained on and what was tested: agreement averaged over trainings, with
    the columns of `ablations`; the content-blind rule has no number of trainings.

    tested   columns trained, tested, seed, image, predicted, label, optionally content, split
             (empty: all images of a set) and seen: whether the training had such images, else
             whether both are of one name.
    """
    rows = []
    for (trained, name), group in tested.groupby(["trained", "tested"], sort=False):
        truth = group.drop_duplicates("image").set_index("image")
        predictions = predictions_of(group, trained, column="trained")
        agreement, _ = mean_agreement(predictions, truth, "label")
        seen = group.seen.iloc[0] if "seen" in group else trained == name
        row = {"trained": trained, "tested": name, "seen": bool(seen)}
        if "split" in group:
            row["split"] = group.split.fillna("all images").iloc[0]
        rows.append(row | agreement)
    data = pd.DataFrame(rows)
    return data.assign(trainings=data.trainings.mask(data.trained == BLIND))
