"""Vision models of one's own, as `callable:label_machines:<function>` names them: they answer by
brightness, so that what they say can be worked out.
"""

import numpy as np
from pycocotools import mask as run_length

from iqa_core.detections import Found

ASKED = []  # how many images each call brought
FAIL_AFTER = [None]  # calls after which an answer fails, as if the process were killed


def _asked(images):
    if FAIL_AFTER[0] is not None and len(ASKED) >= FAIL_AFTER[0]:
        raise KeyboardInterrupt
    ASKED.append(len(images))


def classifier(images):
    """Three classes: how much of the picture's light is red, green or blue."""
    _asked(images)
    light = np.array([image.reshape(-1, 3).mean(0) + 1 for image in images]) ** 2
    return list(light / light.sum(1, keepdims=True))


def other_classifier(images):
    """The same three classes, by the brightest tenth of each."""
    _asked(images)
    light = [np.quantile(image.reshape(-1, 3), 0.9, axis=0) + 1 for image in images]
    return [each / each.sum() for each in light]


def detector(images):
    """One object of class 1: where the picture is bright; surer the brighter it is there."""
    _asked(images)
    return [_bright(image) for image in images]


def segmenter(images):
    """The same with the mask of the bright pixels."""
    _asked(images)
    return [_bright(image, masked=True) for image in images]


def _bright(image, masked=False):
    plane = image.min(axis=2) > 150
    size = image.shape[:2]
    if not plane.any():
        none = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
        return Found(*none, size=size)
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    masks = (run_length.encode(np.asfortranarray(plane.astype(np.uint8))),) if masked else ()
    score = image[plane].mean() / 255
    return Found(np.array([box], float), np.array([1]), np.array([score]), masks, size=size)
