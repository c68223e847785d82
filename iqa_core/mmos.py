"""Machine mean opinion scores (MMOS): how much vision models suffer when a picture gets worse.

Wang, Zhang, Lin 2025, arXiv 2508.19850. Consistency compares a model's answer to the degraded
picture with its answer to the original, accuracy with the truth, composite is the mean of the two.
The paper leaves open how an answer is compared and how models are weighed; here that is `Choices`,
named and written beside every label.

An image without a truth has no accuracy and no composite: NaN, never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from .detections import Found, image_precisions, match
from .files import replacing

LABELS = ("composite", "consistency", "accuracy")
Similarity = Literal["top1", "bhattacharyya", "cosine", "jensen_shannon"]
Hit = Literal["top1", "probability"]
Weights = Literal["equal", "clean"]


@dataclass(frozen=True)
class Choices:
    """What the paper leaves open.

    similarity   of a classifier's two answers. top1: the same class, 1 or 0; bhattacharyya: the sum
                 of sqrt(p q) over classes; cosine: of the two vectors of probabilities;
                 jensen_shannon: 1 less their divergence in bits. All in [0, 1]
    hit          a classifier is right. top1: the true class, 1 or 0; probability: of that class
    confidence   a detector's objects in the original count as truth for its consistency from this
                 score on
    weights      of the models. equal; clean: by what they get right of the originals
    """

    similarity: Similarity = "top1"
    hit: Hit = "top1"
    confidence: float = 0.5
    weights: Weights = "equal"

    def __post_init__(self):
        for name, kind in (("similarity", Similarity), ("hit", Hit), ("weights", Weights)):
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}; there are {', '.join(get_args(kind))}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence is {self.confidence}; it lies in [0, 1]")

    def sentence(self, task: str) -> str:
        """The choices in force for a task, in words."""
        if task == "cls":
            how = f"consistency by {self.similarity}, accuracy by {self.hit}"
        else:
            how = (
                "average precision of one image over overlaps of .5 to .95 (COCO); consistency "
                f"takes what the model finds in the original from a score of {self.confidence:g} on"
            )
        weighed = {"equal": "equally", "clean": "by their clean performance"}[self.weights]
        return f"{how}; models weighed {weighed}"


# ---- one model


def class_consistency(
    answers: np.ndarray, original: np.ndarray, similarity: Similarity = "top1"
) -> np.ndarray:
    """How like its answer to the original a classifier's answers to degraded images are, (n,) in
    [0, 1], the mean over views.

    answers    (n, views, classes) probabilities
    original   (views, classes)
    """
    p, q = np.asarray(answers, float), np.asarray(original, float)[None]
    if similarity == "top1":
        return (p.argmax(-1) == q.argmax(-1)).mean(1)
    if similarity == "bhattacharyya":
        alike = np.sqrt(p * q).sum(-1)
    elif similarity == "cosine":
        alike = (p * q).sum(-1) / (np.linalg.norm(p, axis=-1) * np.linalg.norm(q, axis=-1))
    else:
        mean = (p + q) / 2
        divergence = (_surprise(mean) * mean - (_surprise(p) * p + _surprise(q) * q) / 2).sum(-1)
        alike = 1 - divergence
    # Bhattacharyya: probabilities that were stored in 16 bits need not add up to exactly 1.
    return np.clip(alike, 0, 1).mean(1)


def _surprise(p):
    """-log2 p, 0 where p is 0."""
    return -np.log2(p, where=p > 0, out=np.zeros_like(p))


def class_accuracy(answers: np.ndarray, true_class: float, hit: Hit = "top1") -> np.ndarray:
    """How right a classifier is on degraded images of one class, (n,) in [0, 1], the mean over
    views; NaN where the class is not known.

    answers   (n, views, classes) probabilities
    """
    if pd.isna(true_class):
        return np.full(len(answers), np.nan)
    if not 0 <= int(true_class) < answers.shape[-1]:
        raise ValueError(
            f"true class {true_class:g}, but the model knows {answers.shape[-1]} classes, from 0"
        )
    if hit == "top1":
        return (answers.argmax(-1) == int(true_class)).mean(1)
    return answers[..., int(true_class)].astype(float).mean(1)


def object_consistency(
    answers: Sequence[Found], original: Found, *, confidence: float = 0.5, kind: str = "boxes"
) -> np.ndarray:
    """The average precision (n,) of what a detector finds in degraded images, where what it is
    sure of in the original is taken for the truth; NaN where that is nothing.
    """
    return object_accuracy(answers, original.surer_than(confidence), kind=kind)


def object_accuracy(
    answers: Sequence[Found], truth: Found | None, *, kind: str = "boxes"
) -> np.ndarray:
    """The average precision (n,) of what a detector finds in degraded images of one photograph;
    NaN where nothing is truly there, or that is not known.
    """
    if truth is None:
        return np.full(len(answers), np.nan)
    return image_precisions(match(answers, [truth] * len(answers), kind=kind))


# ---- several models


def pooled(scores: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The scores of several models as mean, std (of the models, n in the denominator) and weighted
    mean, (n,) each; a model that has none for an image is left out of that image.

    scores    (models, n), NaN where a model has none
    weights   (models,), not negative; None: equal
    """
    scores = np.asarray(scores, float)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    if (weights < 0).any() or not weights.sum() > 0:
        raise ValueError(f"weights are {weights.tolist()}; they must be 0 or more, not all 0")
    known = np.isfinite(scores)
    values = np.where(known, scores, 0)
    count = known.sum(0)
    total = (known * weights[:, None]).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(0) / count
        spread = np.sqrt((known * (values - mean) ** 2).sum(0) / count)
        weighted = (values * weights[:, None]).sum(0) / total
    return {"mean": mean, "std": spread, "weighted": weighted}


def composite(consistency, accuracy):
    """Half of each; NaN where one of the two is."""
    return 0.5 * consistency + 0.5 * accuracy


def labels_of(answers: pd.DataFrame, choices: Choices, clean: dict | None = None) -> pd.DataFrame:
    """The labels of all images from those of each model.

    answers   columns image, machine, consistency, accuracy: one row an image and model
    clean     {machine: performance on the originals}, wanted for weights by it

    Returns a row an image, in the order of their first rows: image; for consistency and accuracy
    the columns mean_, std_ and weighted_; and consistency, accuracy (weighted) and composite.

    ValueError for images that not all models have answered, and for weights by a clean
    performance that is not known.
    """
    machines = list(dict.fromkeys(answers.machine))
    images = list(dict.fromkeys(answers.image))
    if len(answers) != len(machines) * len(images):
        raise ValueError(
            f"{len(answers)} answers for {len(images)} images by {len(machines)} models: each "
            "model answers each image once"
        )
    weights = None
    if choices.weights == "clean":
        known = {machine: (clean or {}).get(machine, np.nan) for machine in machines}
        lacking = [machine for machine, value in known.items() if not np.isfinite(value)]
        if lacking:
            raise ValueError(
                f"weights by clean performance, but that of {', '.join(lacking)} is not known: "
                "give the truth, or weigh equally"
            )
        weights = np.array([known[machine] for machine in machines])
    data = pd.DataFrame({"image": images})
    for label in ("consistency", "accuracy"):
        grid = answers.pivot(index="machine", columns="image", values=label)
        for name, values in pooled(grid.loc[machines, images], weights).items():
            data[f"{name}_{label}"] = values
    data["consistency"] = data.weighted_consistency
    data["accuracy"] = data.weighted_accuracy
    data["composite"] = composite(data.consistency, data.accuracy)
    return data


def without_each(answers: pd.DataFrame, label: str, choices: Choices, clean=None) -> pd.DataFrame:
    """A label of all models but one, for every one: columns image and `without <machine>`. What is
    learnt from it can be tested on that one's own answers, which it has not heard.
    """
    machines = list(dict.fromkeys(answers.machine))
    data = pd.DataFrame({"image": list(dict.fromkeys(answers.image))})
    for machine in machines:
        others = labels_of(answers[answers.machine != machine], choices, clean)
        data[f"without {machine}"] = others[label].to_numpy()
    return data


# ---- files, as MIQD-2.5M has them


def write_labels(labels: pd.DataFrame, folder: Path, *, task: str, names: pd.Series) -> list[Path]:
    """Write the labels of one photograph's images as MIQD-2.5M lays them out, and say where.

    cls         <original>_mmos.csv with dist_images and mean_, std_ and weighted_ consistency and
                accuracy
    det, ins    <original>_consistency.csv and <original>_accuracy.csv with filename and
                AP_weighted_avg
    names       what each image is called there, and the original as the series' name

    A label that is missing is an empty cell.
    """
    if task == "cls":
        columns = [c for c in labels if c.startswith(("mean_", "std_", "weighted_"))]
        data = labels[columns].assign(dist_images=names.to_numpy())
        return [_written(data[["dist_images", *columns]], folder / f"{names.name}_mmos.csv")]
    files = []
    for label in ("consistency", "accuracy"):
        data = pd.DataFrame({"filename": names.to_numpy(), "AP_weighted_avg": labels[label]})
        files.append(_written(data, folder / f"{names.name}_{label}.csv"))
    return files


def _written(data, path):
    with replacing(path) as draft:
        data.to_csv(draft, index=False, lineterminator="\n")
    return path
