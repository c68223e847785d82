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
    rows = test[["image", "label"]].assign(variant=BLIND, seed=0)
    if not crossed(test):
        return rows.head(0).assign(predicted=0.0)
    return rows.merge(blind_rule(table, part).rename("predicted"), on="image").dropna()


def on_left_out(
    tested: pd.DataFrame, table: pd.DataFrame, kinds: list[str], *, part: pd.Series
) -> pd.DataFrame:
    """Predictions of the images that have each of `kinds` of distortion, one kind after the other.

    tested   columns variant, seed, image, predicted, label, split.
    table    columns image, distortion and, optionally, distortion2, content: an image has a kind
             as its first or second distortion.
    part     of each table row in the split `all-types`, by whose training images the content-blind
             rule is one more variant.

    Returns rows for `transfers` (columns trained, tested and seen: False for that of the variant
    `without-<kind>`) and, as its column variant names training and kind, for `seed_differences`.
    """
    blind = blind_predictions(table, part).assign(split="all-types")
    tested = pd.concat([tested, blind])
    parts = []
    for kind in kinds:
        has_kind = table.reindex(columns=["distortion", "distortion2"]).eq(kind).any(axis=1)
        images = table[has_kind].reindex(columns=["image", "content"])
        rows = tested.merge(images, on="image").rename(columns={"variant": "trained"})
        seen = rows.trained != f"without-{kind}"
        parts.append(rows.assign(tested=kind, seen=seen, variant=rows.trained + ", " + kind))
    return pd.concat(parts)


def on_other_sets(
    tested: pd.DataFrame, elsewhere: pd.DataFrame, table: pd.DataFrame, part: pd.Series, name: str
) -> pd.DataFrame:
    """Rows for `transfers` of the full model: on the test images of its own set, beside the
    content-blind rule, and on other sets.

    tested      as for `on_left_out`, of one split, whose `part` of each row of `table` it is
    elsewhere   columns tested, seed, image, predicted, label, content; no columns for no sets
    name        of its own set
    """
    full = tested[tested.variant == "full"].assign(variant=name)
    here = pd.concat([full, blind_predictions(table, part).assign(split=full.split.iloc[0])])
    here = here.merge(table.reindex(columns=["image", "content"]), on="image")
    rows = [here.assign(tested=name, seen=True), elsewhere.assign(variant=name, seen=False)]
    return pd.concat(rows).rename(columns={"variant": "trained"})


def transfers(tested: pd.DataFrame) -> pd.DataFrame:
    """One row for what was trained on and what was tested: agreement averaged over trainings, with
    the columns of `ablations`; the content-blind rule has no number of trainings.

    tested   columns trained, tested, seen (whether the training had such images), seed, image,
             predicted, label and, optionally, content and split (empty: all images of a set).
    """
    rows = []
    for (trained, name), group in tested.groupby(["trained", "tested"], sort=False):
        truth = group.drop_duplicates("image").set_index("image")
        predictions = predictions_of(group, trained, column="trained")
        agreement, _ = mean_agreement(predictions, truth, "label")
        row = {"trained": trained, "tested": name, "seen": bool(group.seen.iloc[0])}
        if "split" in group:
            row["split"] = group.split.fillna("all images").iloc[0]
        rows.append(row | agreement)
    data = pd.DataFrame(rows)
    trainings = data.trainings.astype("Int64").mask(data.trained == BLIND)
    return data.assign(trainings=trainings)
