"""Learning rates as pure functions of where training is."""

from typing import NamedTuple

import numpy as np

MIQA_START, MIQA_END = 5e-6, 1e-8  # absolute, as its flags have them
SMART_ETA_MIN = 1e-6  # absolute: above the backbone's own rate of 5e-7, which therefore rises


class Place(NamedTuple):
    """Steps and epochs done before this step, and those of the whole training."""

    step: int
    steps: int
    epoch: int
    epochs: int


def learning_rate(
    name: str, base: float, place: Place, *, head: bool, warmup: float, decay_epochs: int
) -> float:
    """The rate of a step, of the backbone's group or the head's, of which `base` is the peak or
    start.

    cosine, constant, step: a linear warm-up over the fraction `warmup` of all steps; then down to 1
    % along a cosine, level, or a tenth of it every `decay_epochs` epochs. The others are those of
    published code, which know no warm-up: smart: a cosine by epochs towards 1e-6 (SMART-IQA).
    hyperiqa: the backbone's constant; the head's a tenth from epoch 8, a hundredth from 11, a
    thousandth from 14 (github.com/SSL92/hyperIQA, had its optimizer still held the head).
    smart_resnet: both a tenth from epoch 8, a hundredth from 14 (the ResNet-50 solver of
    github.com/cny123222/Perceptual-IQA-CS3324, on 24 December 2025). maniqa: a cosine meant for 50
    epochs but taken by steps, so it swings to 0 and back every 100 steps
    (github.com/IIGROUP/MANIQA). miqa: made for a warm-up from 5e-6 over the first epoch and a
    cosine to 1e-8, but counted an epoch ahead, so that one step is at 5e-6, no other is warmed up,
    and the last epoch is at 1e-8 (github.com/SYSU-Video/MIQA). KeyError for an unknown name.
    """
    if name not in SCHEDULES:
        raise KeyError(f"no schedule {name!r}; there are {', '.join(SCHEDULES)}")
    if name in OURS and place.step < warmup * place.steps:
        return float(base * ((place.step + 1) / (warmup * place.steps + 1)))
    return float(SCHEDULES[name](base, place, head=head, warmup=warmup, decay_epochs=decay_epochs))


def cosine(base, place, *, warmup, **_):
    done = min(1, (place.step - warmup * place.steps) / (place.steps * (1 - warmup)))
    return base * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))


def constant(base, place, **_):
    return base


def step(base, place, *, decay_epochs, **_):
    return base / 10 ** (place.epoch // decay_epochs)


def smart(base, place, **_):
    return (
        SMART_ETA_MIN
        + (base - SMART_ETA_MIN) * (1 + np.cos(np.pi * place.epoch / place.epochs)) / 2
    )


def smart_resnet(base, place, **_):
    return base / 10 ** (_written(place) // 6)


def hyperiqa(base, place, *, head, **_):
    if not head:
        return base
    return smart_resnet(base, place) / (10 if _written(place) > 8 else 1)


def _written(place):
    """The epoch, from 0, at whose end HyperIQA's code has written the rate of this one."""
    return max(0, place.epoch - 1)


def maniqa(base, place, **_):
    return base * (1 + np.cos(np.pi * place.step / 50)) / 2


def miqa(base, place, **_):
    if place.step == 0:
        return MIQA_START
    ahead = place.steps / place.epochs + place.step - 1
    done = min(1, ahead / place.steps)
    return MIQA_END + (base - MIQA_END) * (1 + np.cos(np.pi * done)) / 2


OURS = {function.__name__: function for function in (cosine, constant, step)}
PUBLISHED = {
    function.__name__: function for function in (smart, smart_resnet, hyperiqa, maniqa, miqa)
}
SCHEDULES = OURS | PUBLISHED
