"""Objects found in images, and how many of the true ones are among them: average precision as COCO
counts it (Lin et al. 2014, 10.1007/978-3-319-10602-1_48), of one image and of any set of images.

What is found is matched with what is there once, by pycocotools, an image at a time; the precision
of a set of images is then put together from those matches, so that a thousand subsets cost no
matching.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of intersection over union, COCO's ten
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections of a class that count in an image
KINDS = {"boxes": "bbox", "masks": "segm"}


@dataclass(frozen=True)
class Found:
    """The objects of one image, found or true.

    boxes     (n, 4): left, top, right, bottom, pixels
    classes   (n,) integers
    scores    (n,) in [0, 1]; 1 for true objects
    masks     n run-length codes of pycocotools (dicts of size and counts), or empty
    crowd     (n,): a true object that stands for many; finding it or not counts neither way
    size      height and width of the image
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    masks: tuple = ()
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    size: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.classes)

    def surer_than(self, score: float) -> "Found":
        """The objects whose score is at least `score`, as if they were true."""
        kept = np.flatnonzero(self.scores >= score)
        masks = tuple(self.masks[i] for i in kept) if self.masks else ()
        return Found(
            self.boxes[kept], self.classes[kept], np.ones(len(kept)), masks, size=self.size
        )


@dataclass(frozen=True)
class Matches:
    """Detections matched with true objects.

    image, category, score   (d,): of each detection, in order of falling score within an image
    hit       (d, thresholds): it is a true object at this overlap
    ignored   (d, thresholds): it counts neither way
    objects   (k, 3): image, category, number of true objects that count
    images    how many images there are
    """

    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray
    images: int

    def count(self, images: np.ndarray) -> int:
        """The number of true objects in these images."""
        kept = np.isin(self.objects[:, 0], images)
        return int(self.objects[kept, 2].sum())

    def take(self, images: np.ndarray) -> "Matches":
        """Those images, numbered anew in that order; one that is named twice is there twice."""
        image, places = _rows_of(self.image, images)
        named, objects = _rows_of(self.objects[:, 0], images)
        objects = np.column_stack([named, self.objects[objects, 1:]])
        rows = (values[places] for values in (self.category, self.score, self.hit, self.ignored))
        return Matches(image, *rows, objects, len(images))


def _rows_of(image, wanted):
    """The rows of each wanted image, and beside each row the position of that image in `wanted`."""
    order = np.argsort(image, kind="stable")
    first = np.searchsorted(image[order], wanted, side="left")
    last = np.searchsorted(image[order], wanted, side="right")
    rows = [order[start:end] for start, end in zip(first, last, strict=True)]
    numbers = np.repeat(np.arange(len(wanted)), last - first)
    return numbers, np.concatenate([np.zeros(0, int), *rows])


def match(found: Sequence[Found], truth: Sequence[Found], *, kind: str = "boxes") -> Matches:
    """Match what was found in some images with what is there, one of each an image.

    kind   boxes or masks: whose overlap counts. COCO's rules: within a class, by falling score,
           the best overlap that is free; at most 100 detections of a class.

    ValueError for another kind, lists of different length, and masks that are missing.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}")
    if len(found) != len(truth):
        raise ValueError(f"{len(found)} images with detections, {len(truth)} with true objects")
    if kind == "masks" and any(len(each) != len(each.masks) for each in (*found, *truth)):
        raise ValueError("masks are compared, but some objects have none; compare boxes")
    evaluated = _evaluated(found, truth, KINDS[kind])
    image, category, score, hit, ignored, objects = [], [], [], [], [], []
    for each in evaluated:
        number = len(each["dtScores"])
        place, name = each["image_id"] - 1, each["category_id"]
        image += [place] * number
        category += [name] * number
        score += each["dtScores"]
        hit.append(each["dtMatches"].T > 0)
        ignored.append(each["dtIgnore"].T > 0)
        count = int(np.sum(np.asarray(each["gtIgnore"]) == 0))
        if count:
            objects.append((place, name, count))
    none = np.zeros((0, len(THRESHOLDS)), bool)
    return Matches(
        np.array(image, int),
        np.array(category, int),
        np.array(score, float),
        np.concatenate([none, *hit]),
        np.concatenate([none, *ignored]),
        np.array(objects, int).reshape(-1, 3),
        len(found),
    )


def _evaluated(found, truth, iou_type):
    """What pycocotools says of each image and class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = sorted({int(name) for each in (*found, *truth) for name in each.classes})
    images = [
        {"id": number, "height": each.size[0], "width": each.size[1]}
        for number, each in enumerate(truth, 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        sides = []
        for objects in (truth, found):
            side = COCO()
            side.dataset = {
                "images": images,
                "categories": [{"id": name} for name in names],
                "annotations": _annotations(objects),
            }
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, iou_type)
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MOST]
        judge.evaluate()
    return [each for each in judge.evalImgs if each is not None]


def _annotations(objects):
    """COCO's annotations of the objects in some images, numbered from 1."""
    rows = []
    for number, each in enumerate(objects, 1):
        for i in range(len(each)):
            left, top, right, bottom = (float(side) for side in each.boxes[i])
            row = {
                "id": len(rows) + 1,
                "image_id": number,
                "category_id": int(each.classes[i]),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "score": float(each.scores[i]),
                "iscrowd": int(len(each.crowd) > 0 and each.crowd[i]),
            }
            if each.masks:
                row["segmentation"] = each.masks[i]
            rows.append(row)
    return rows


def average_precision(
    matches: Matches,
    *,
    images: np.ndarray | None = None,
    threshold: float | None = None,
) -> float:
    """Average precision over some images in [0, 1]: the mean over the classes that are truly in
    them; NaN where nothing is.

    images      their numbers; None: all
    threshold   of the overlap, one of `THRESHOLDS`; None: the mean over all ten

    A detection of a class that is in none of these images counts neither way, as in COCO.
    ValueError for another threshold.
    """
    columns = _columns(threshold)
    kept, there = np.ones(len(matches.image), bool), matches.objects
    if images is not None:
        kept = np.isin(matches.image, images)
        there = there[np.isin(there[:, 0], images)]
    values = []
    for name in np.unique(there[:, 1]):
        number = there[there[:, 1] == name, 2].sum()
        rows = np.flatnonzero(kept & (matches.category == name))
        order = rows[np.argsort(-matches.score[rows], kind="stable")]
        hit, ignored = matches.hit[order][:, columns], matches.ignored[order][:, columns]
        values.append([_precision(*pair, number) for pair in zip(hit.T, ignored.T, strict=True)])
    return float(np.mean(values)) if values else np.nan


def _precision(hit, ignored, number):
    """Of detections of one class by falling score, the precision averaged over 101 recalls, with
    so many true objects.
    """
    right = np.cumsum(hit & ~ignored)
    wrong = np.cumsum(~hit & ~ignored)
    recall = right / number
    precision = right / np.maximum(right + wrong, np.spacing(1))
    # the best precision that is reached at this recall or a higher one
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return np.append(best, 0)[np.minimum(places, len(best))].mean()


def _columns(threshold):
    """The columns of `Matches.hit` of one overlap, or of all."""
    if threshold is None:
        return slice(None)
    columns = np.flatnonzero(np.isclose(THRESHOLDS, threshold))
    if not len(columns):
        raise ValueError(f"threshold is {threshold}; there are {THRESHOLDS.round(2).tolist()}")
    return columns


def image_precisions(matches: Matches, *, threshold: float | None = None) -> np.ndarray:
    """The average precision of each image by itself (n,), at one overlap or over all ten; NaN where
    nothing is there. Errors as `average_precision`.
    """
    everything = matches.take(np.arange(matches.images))  # in the order of images
    ends = np.arange(matches.images + 1)
    rows = np.searchsorted(everything.image, ends)
    objects = np.searchsorted(everything.objects[:, 0], ends)
    values = []
    for i in range(matches.images):
        some, there = slice(*rows[i : i + 2]), slice(*objects[i : i + 2])
        parts = (getattr(everything, name)[some] for name in ("image", "category", "score"))
        own = Matches(
            *parts,
            everything.hit[some],
            everything.ignored[some],
            everything.objects[there],
            images=1,
        )
        values.append(average_precision(own, threshold=threshold))
    return np.array(values)
