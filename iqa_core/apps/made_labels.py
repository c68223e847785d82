"""Labels that were made (`labels.make_labels`), read again: what each vision model gets right of
the images, and which photograph each shows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iqa_core.apps.truths import read_truths
from iqa_core.detections import Matches, match
from iqa_core.files import read_json
from iqa_core.machines.responses import read_answers

FOLDER = Path("data/labels")


def performances(
    name: str, images: Sequence[str], *, root: Path, against: str = "original"
) -> dict[str, np.ndarray | Matches]:
    """What each vision model gets right of images, from its answers as `make_labels` kept them.

    against   original: of a classifier whether it names the same class as there in its first view,
              1 or 0; of a detector its objects matched with those that it is sure of there.
              truth: the same with what is truly there

    Returns {model: values (n,), or `detections.Matches` of the n images}: what `rejection` takes.

    FileNotFoundError for labels that were not made; KeyError for an image that they do not know;
    ValueError for truth where the labels had none, or not of each of the photographs.
    """
    facts, place = _about(name, root)
    images = [in_project(image, root) for image in images]
    if strangers := [image for image in images if image not in place]:
        raise KeyError(
            f"{len(strangers)} of {len(images)} images are none that {name} labels, as "
            f"{strangers[0]}; it labels {next(iter(place))} and others"
        )
    where = [place[image] for image in images]
    truths = _truths_again(facts, {number for number, _ in where}, root, against)
    return {
        machine: _performance(machine, facts, where, truths, root / FOLDER)
        for machine in facts["machines"]
    }


def contents(name: str, images: Sequence[str], *, root: Path) -> list[str | None]:
    """The content of each image by the labels of `name`; None for one that they do not know.

    FileNotFoundError for labels that were not made.
    """
    facts, place = _about(name, root)
    numbers = [place.get(in_project(image, root), (None, 0))[0] for image in images]
    return [None if n is None else facts["answers"][n]["content"] for n in numbers]


def _about(name, root):
    """What about.json says of labels, and {image: (number of its photograph, row in it)}."""
    file = root / FOLDER / name / "about.json"
    if not file.is_file():
        raise FileNotFoundError(f"no labels {name!r}: `python -m iqa_core labels make` makes them")
    facts, place = read_json(file), {}
    for number, photograph in enumerate(facts["answers"]):
        for row, image in enumerate(photograph["images"]):
            place[image] = number, row
    return facts, place


def _truths_again(facts, numbers, root, against):
    """What is truly in those photographs, by their number; empty for `original`."""
    if against not in ("original", "truth"):
        raise ValueError(f"against is {against!r}; there are original, truth")
    if against == "original":
        return {}
    if not facts["truth"]:
        raise ValueError("these labels were made without a truth; against the original there is")
    originals = {number: facts["answers"][number]["original"] for number in numbers}
    known = read_truths(root / facts["truth"], facts["panel"]["task"], originals.values())
    if lacking := [each for each in originals.values() if each not in known]:
        raise ValueError(f"the truth does not tell of {len(lacking)} photographs, as {lacking[0]}")
    return {number: known[original] for number, original in originals.items()}


def _performance(machine, facts, where, truths, folder):
    """What one model gets right of images, each by (number of its photograph, row in it)."""
    task = facts["panel"]["task"]
    found, true = {}, {}
    for number in {number for number, _ in where}:
        files = facts["answers"][number]["files"][machine]
        found[number] = read_answers(folder / files["versions"], task)
        if task == "cls":
            found[number] = found[number][:, 0].argmax(-1)  # of which there is room for all
        true[number] = read_answers(folder / files["original"], task)[0]
        if task == "cls":
            true[number] = true[number][0].argmax()
        else:
            true[number] = true[number].surer_than(facts["choices"]["confidence"])
    true |= truths
    if task == "cls":
        return np.array([found[n][row] == true[n] for n, row in where], float)
    answers = [found[n][row] for n, row in where]
    kind = "masks" if task == "ins" else "boxes"
    return match(answers, [true[n] for n, _ in where], kind=kind)


def in_project(image, root):
    """A path as tables have it, from the project's root, where it lies there."""
    path = Path(image)
    if not (root / path).is_file() and path.is_file():
        path = path.resolve()
    if path.is_absolute() and path.is_relative_to(root):
        path = path.relative_to(root)
    return path.as_posix()
