"""Average precision: worked by hand, against torchmetrics, and put together from matches."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as run_length

from iqa_core.detections import THRESHOLDS, Found, average_precision, image_precisions, match

SIDE = 300


def found(boxes, classes, scores=None, crowd=()):
    boxes = np.array(boxes, float).reshape(-1, 4)
    scores = np.ones(len(boxes)) if scores is None else np.array(scores, float)
    crowd = np.array(crowd or [False] * len(boxes), bool)
    return Found(boxes, np.array(classes, int), scores, (), crowd, (SIDE, SIDE))


def planes_of(objects):
    """Each box filled, as a mask."""
    planes = np.zeros((len(objects), SIDE, SIDE), bool)
    for plane, (left, top, right, bottom) in zip(
        planes, np.rint(objects.boxes).astype(int), strict=True
    ):
        plane[max(top, 0) : bottom, max(left, 0) : right] = True
    return planes


def with_masks(objects):
    """The same with masks."""
    planes = planes_of(objects).astype(np.uint8)
    masks = [run_length.encode(np.asfortranarray(plane)) for plane in planes]
    return Found(
        objects.boxes, objects.classes, objects.scores, tuple(masks), objects.crowd, objects.size
    )


def random_scenes(n=30, seed=0):
    """True objects, and what a bad detector finds of them; scores with ties."""
    generator = np.random.default_rng(seed)
    truth, answers = [], []
    for _ in range(n):
        number = generator.integers(0, 7)
        corners = generator.uniform(0, 200, (number, 2))
        boxes = np.hstack([corners, corners + generator.uniform(10, 90, (number, 2))])
        classes = generator.integers(1, 5, number)
        truth.append(found(boxes, classes))
        kept = generator.random(number) < 0.8
        shifted = boxes[kept] + generator.normal(0, 5, (kept.sum(), 4))
        wrong = generator.uniform(0, 100, (2, 4)) + np.array([0, 0, 100, 100])
        both = np.clip(np.vstack([shifted, wrong]), 0, SIDE)
        names = np.concatenate([classes[kept], generator.integers(1, 5, 2)])
        answers.append(found(both, names, np.round(generator.random(len(both)), 1)))
    return truth, answers


def by_torchmetrics(truth, answers, kind="bbox"):
    """(mean over overlaps, at .75) as torchmetrics has it."""
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    def as_dict(objects, scores):
        values = {"boxes": torch.tensor(objects.boxes), "labels": torch.tensor(objects.classes)}
        if kind == "segm":
            values["masks"] = torch.tensor(planes_of(objects))
        return values | ({"scores": torch.tensor(objects.scores)} if scores else {})

    # its own thresholds are rounded to 32 bits, which an overlap of exactly .6 does not survive
    overlaps = THRESHOLDS.tolist()
    metric = MeanAveragePrecision(iou_type=kind, backend="pycocotools", iou_thresholds=overlaps)
    metric.update(
        [as_dict(each, True) for each in answers], [as_dict(each, False) for each in truth]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        values = metric.compute()
    return values["map"].item(), values["map_75"].item()


def test_an_average_precision_worked_by_hand():
    """Two true objects; found by falling score are one of them, a mistake, and the other.

    Precision is 1 up to a recall of .5 and 2/3 up to 1: of 101 recalls 51 have 1 and 50 have 2/3.
    """
    truth = [found([[0, 0, 10, 10], [50, 50, 60, 60]], [1, 1])]
    answers = [
        found([[0, 0, 10, 10], [90, 90, 99, 99], [50, 50, 60, 60]], [1, 1, 1], [0.9, 0.8, 0.7])
    ]
    expected = (51 + 50 * 2 / 3) / 101
    assert average_precision(match(answers, truth)) == pytest.approx(expected)
    # an overlap of 8 / 12 = .67 counts from .5 to .65: 4 of the ten
    truth, answers = [found([[0, 0, 10, 10]], [1])], [found([[2, 0, 12, 10]], [1], [0.9])]
    assert average_precision(match(answers, truth)) == pytest.approx(0.4)
    assert average_precision(match(answers, truth), threshold=0.75) == 0
    assert average_precision(match(answers, truth), threshold=0.5) == 1


def test_classes_that_are_not_there_and_crowds_count_neither_way():
    truth = [found([[0, 0, 10, 10], [100, 100, 200, 200]], [1, 2], crowd=[False, True])]
    boxes = [[0, 0, 10, 10], [50, 50, 60, 60], [120, 120, 180, 180]]
    matches = match([found(boxes, [1, 3, 2], [0.9, 0.95, 0.8])], truth)
    assert average_precision(matches) == 1
    assert matches.count(np.array([0])) == 1
    empty = match([found(boxes, [1, 3, 2])], [found([], [])])
    assert np.isnan(average_precision(empty))
    assert average_precision(match([found([], [])], truth)) == 0


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_any_set_of_images_as_torchmetrics_has_it(kind):
    truth, answers = random_scenes()
    if kind == "masks":
        # torchmetrics does not count what is found in a picture without a true mask
        answers = [a if len(t) else found([], []) for t, a in zip(truth, answers, strict=True)]
        truth, answers = ([with_masks(each) for each in side] for side in (truth, answers))
    iou_type = {"boxes": "bbox", "masks": "segm"}[kind]
    matches = match(answers, truth, kind=kind)
    for images in (np.arange(30), np.array([2, 5, 7, 11, 20, 21])):
        some = [truth[i] for i in images], [answers[i] for i in images]
        mean, at_75 = by_torchmetrics(*some, kind=iou_type)
        assert average_precision(matches, images=images) == pytest.approx(mean, abs=1e-6)
        found_75 = average_precision(matches, images=images, threshold=0.75)
        assert found_75 == pytest.approx(at_75, abs=1e-6)
        assert average_precision(matches.take(images)) == pytest.approx(mean, abs=1e-6)


def test_each_image_by_itself():
    truth, answers = random_scenes(8)
    values = image_precisions(match(answers, truth))
    for i in range(8):
        if len(truth[i]):
            mean, _ = by_torchmetrics([truth[i]], [answers[i]])
            assert values[i] == pytest.approx(mean, abs=1e-6)
        else:
            assert np.isnan(values[i])


def test_an_image_drawn_twice_counts_twice():
    truth, answers = random_scenes(6, seed=3)
    again = np.array([0, 0, 3, 5, 5, 5])
    drawn = match(answers, truth).take(again)
    direct = match([answers[i] for i in again], [truth[i] for i in again])
    assert average_precision(drawn) == pytest.approx(average_precision(direct), abs=0.02)
    assert drawn.count(np.arange(6)) == direct.count(np.arange(6))


def test_what_is_refused():
    with pytest.raises(ValueError, match="2 images with detections, 1 with true objects"):
        match([found([], [])] * 2, [found([], [])])
    with pytest.raises(ValueError, match="kind is 'box'; there are boxes, masks"):
        match([], [], kind="box")
    with pytest.raises(ValueError, match="some objects have none; compare boxes"):
        match([found([[0, 0, 1, 1]], [1])], [found([], [])], kind="masks")
    with pytest.raises(ValueError, match="threshold is 0.77; there are"):
        average_precision(match([], []), threshold=0.77)
