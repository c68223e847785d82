"""Rejecting images by a score, and what that is worth to vision models."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from iqa_core import figures, tables
from iqa_core.apps import made_labels
from iqa_core.detections import Matches, average_precision
from iqa_core.files import replacing
from iqa_core.rejection import area


class Filtered(NamedTuple):
    """What `filter_images` found and wrote."""

    thresholds: pd.DataFrame
    machines: list[str]
    sentences: list[str]
    files: list[Path]


def filter_images(
    scores: Path,
    by: str,
    out: Path,
    *,
    root: Path,
    reject: float | None = None,
    keep_from: float | None = None,
    higher_is_better: bool = True,
    labels: str = "",
    against: str = "original",
    columns: Sequence[str] = (),
) -> Filtered:
    """Reject images by a column of a CSV file: thresholds.csv, kept.csv and rejected.csv, and with
    what vision models get right the error-versus-reject curves.

    scores     columns image and `by`, and the further `columns`; rows without a score are rejected,
               and counted
    reject     the share to reject, or keep_from the score from which on an image is kept; neither:
               no kept.csv and rejected.csv
    labels     a name of `labels make`, whose models' answers tell what they get right, and whose
               contents are resampled; images that they do not know are counted, and no part of the
               curves
    against    original or truth: what their answers are held against (`made_labels.performances`)
    columns    of the file itself: what models get right of each image, 0 to 1

    Errors: ValueError for both or neither of what there is to do, shares outside [0, 1), columns
    that lack or are no numbers, and images that the labels do not know.
    """
    if reject is not None and keep_from is not None:
        raise ValueError("give --reject or --keep-from, not both")
    if against != "original" and not labels:
        raise ValueError("--against is of the answers behind --labels; give that too")
    if reject is not None and not 0 <= reject < 1:
        raise ValueError(f"reject is {reject}; it is a share of the images, from 0 to below 1")
    if reject is None and keep_from is None and not labels and not columns:
        raise ValueError("nothing to do: give --reject, --keep-from, --labels or --column")
    if not Path(scores).is_file():
        raise FileNotFoundError(f"{scores} is no file; `score --save-results` writes such a list")
    data = pd.read_csv(scores)
    wanted = ["image", by, *columns]
    if lacking := [name for name in wanted if name not in data]:
        raise KeyError(f"{scores} has no column {', '.join(lacking)}; it has {', '.join(data)}")
    quality = pd.to_numeric(data[by], errors="coerce") * (1 if higher_is_better else -1)
    known = quality.notna()
    if not known.any():
        raise ValueError(f"column {by} of {scores} holds no number")
    sentences = []
    if not known.all():
        sentences.append(f"{(~known).sum()} of {len(data)} images have no score: rejected")
    data, quality, without = data[known], quality[known].to_numpy(), data[~known]

    judged, content = _judged(data, labels, root, sentences)
    right = _right(data[judged], labels, against, columns, root)
    files = []
    found = tables.thresholds(quality[judged], right)
    if not higher_is_better:
        found = found.rename(columns={"keep from": "keep up to"})
        found["keep up to"] *= -1
    files.append(_written(found, out / "thresholds.csv"))
    if right:
        files += _curves(quality[judged], right, content, by, out, sentences)
    if reject is not None or keep_from is not None:
        kept = _kept(quality, reject, keep_from, higher_is_better, by)
        rejected = pd.concat([data[~kept], without])
        sentences.append(f"{kept.sum()} images kept, {len(rejected)} rejected")
        sentences += _right_on(kept[judged], right)
        files.append(_written(data[kept], out / "kept.csv"))
        files.append(_written(rejected, out / "rejected.csv"))
    return Filtered(found, list(right), sentences, files)


def _judged(data, labels, root, sentences):
    """Which rows the models have answered to, and the contents of these, None where not known."""
    content = data.content.to_numpy() if "content" in data else None
    if not labels:
        return np.ones(len(data), bool), content
    found = np.array(made_labels.contents(labels, data.image, root=root), object)
    judged = np.array([each is not None for each in found])
    if not judged.any():
        raise ValueError(f"none of {len(data)} images is labelled in {labels}: other pictures?")
    if not judged.all():
        sentences.append(
            f"{(~judged).sum()} of {len(data)} images have no answers in {labels} and are no part "
            "of the curves"
        )
    return judged, found[judged]


def _right(data, labels, against, columns, root):
    """What each model gets right of the images, by its name."""
    right = {}
    for name in columns:
        values = pd.to_numeric(data[name], errors="coerce")
        wrong = ~values.between(0, 1)
        if wrong.any():
            raise ValueError(
                f"{name}: {wrong.sum()} of {len(values)} values are no numbers from 0 to 1; the "
                "curve is of what a model gets right of each image"
            )
        right[name] = values.to_numpy()
    if labels:
        right |= made_labels.performances(labels, data.image, root=root, against=against)
    return right


def _curves(quality, right, content, by, out, sentences):
    """The curves as figure and numbers, and their areas as sentences."""
    rows = pd.DataFrame(index=range(len(quality)))
    if content is not None:
        rows["content"] = content
    methods = {name: pd.DataFrame({by: quality}) for name in right}
    drawn = tables.reject_curves(rows, methods, right=right)
    figures.style()
    figures.export(figures.reject_curves, drawn, folder=out, name="reject_curves")
    for name in right:
        found = area(quality, right[name], content=content)
        low, high = found["interval"]
        sentences.append(
            f"{name}: the curve by {by} goes {found['value']:.3f} [{low:.3f}, {high:.3f}] of the "
            f"way from random (0) to oracle (1), n {found['n']}, {found['units']} {found['unit']}s"
        )
    return [out / f"reject_curves.{kind}" for kind in ("png", "pdf", "svg", "csv", "tex")]


def _kept(quality, reject, keep_from, higher_is_better, by):
    """Which images are kept; ValueError where none is."""
    if reject is not None:
        kept = np.zeros(len(quality), bool)
        number = max(1, round(len(quality) * (1 - reject)))
        kept[np.argsort(-quality, kind="stable")[:number]] = True
        return kept
    sign = 1 if higher_is_better else -1
    kept = quality >= sign * keep_from
    if not kept.any():
        best = sign * quality.max()
        raise ValueError(f"no image has {by} {keep_from:g}; the best has {best:.4g}")
    return kept


def _right_on(kept, right):
    """What each model gets right of the images that are kept, and of all, in a sentence each."""
    sentences = []
    for name, answers in right.items():
        if isinstance(answers, Matches):
            some = average_precision(answers, images=np.flatnonzero(kept), threshold=0.75)
            everything = average_precision(answers, threshold=0.75)
            what = "average precision at an overlap of .75"
        else:
            some = answers[kept].mean() if kept.any() else np.nan
            everything, what = answers.mean(), "right"
        sentences.append(
            f"{name}: {what} {some:.3f} on the {kept.sum()} that are kept and have answers, "
            f"{everything:.3f} on all {len(kept)}"
        )
    return sentences


def _written(data, path):
    with replacing(path) as draft:
        data.to_csv(draft, index=False)
    return path
