"""Quality for machines as labels: what vision models answer to photographs and to their degraded
versions, asked once and kept, and what is made of it.

A folder data/labels/<name> holds the labels as MIQD-2.5M lays them out, and about.json, which says
how they were made; data/labels/answers what was answered, for labels of any name. The table that
notebooks take is data/tables/<name>.csv.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from iqa_core import __version__, datasets, mmos
from iqa_core.apps.made_labels import FOLDER, in_project
from iqa_core.apps.scorers import open_scorer
from iqa_core.apps.truths import read_truths
from iqa_core.detections import average_precision, match
from iqa_core.files import read_json, replacing, write_json
from iqa_core.machines import TASKS, Machine, open_machine
from iqa_core.machines.responses import file_of, read_answers, state_of, write_answers
from iqa_core.mmos import Choices
from iqa_core.pixels import image_sizes, read_image
from iqa_core.runs.choices import check_folder_name

ANSWERS = "answers"  # the folder of data/labels that all labels share
PIXELS = 2**26  # of the images that are decoded at a time
THREADS = 2  # that decode
BATCH = 32  # images that a scorer gets at a time


@dataclass(frozen=True)
class Panel:
    """The vision models that are asked, and how.

    machines   names (`machines.open_machine`) of those whose answers make the label
    held_out   of those that answer as well and never enter `label`, but `without <model>` of others
    sure       of classifiers: photographs of which a model of the panel gives its first class less
               probability than this are left out, for an unsure answer changes little and looks
               consistent
    """

    machines: Sequence[str]
    held_out: Sequence[str] = ()
    task: str = "cls"
    views: Sequence[str] = ("centre",)
    precision: str = "fp32"
    sure: float = 0.0

    def __post_init__(self):
        names = [*self.machines, *self.held_out]
        if not self.machines:
            raise ValueError("the panel is empty; name a vision model, as timm:resnet50")
        if len(set(names)) < len(names):
            raise ValueError(f"the panel names a model twice: {', '.join(names)}")
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}; there are {', '.join(TASKS)}")
        if not 0 <= self.sure < 1 or (self.sure and self.task != "cls"):
            raise ValueError(f"sure is {self.sure}; it lies in [0, 1) and is of classifiers")
        if self.task != "cls" and tuple(self.views) != ("centre",):
            raise ValueError("views are of classifiers; leave them out")

    @property
    def names(self) -> list[str]:
        """All that answer, the label's first."""
        return [*self.machines, *self.held_out]


@dataclass
class Photograph:
    """One photograph and its degraded versions."""

    name: str  # its content
    original: str  # paths from the root
    images: list[str]
    rows: np.ndarray  # of the table
    truth: object = None


def make_labels(
    table: pd.DataFrame,
    panel: Panel,
    name: str,
    *,
    root: Path,
    label: str = "consistency",
    choices: Choices | None = None,
    truth: Path | None = None,
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Ask the panel about every image of a table, and write the labels of `name`.

    What has been answered is kept photograph by photograph and never asked again, unless a model,
    the way it looks or an image has changed. Each image is decoded once for all models.

    table    columns image, reference and content; paths from `root`. What else it has is kept; its
             own label as source_label
    label    composite, consistency or accuracy: the column `label` of what is written
    truth    what is truly in the photographs (`truths.read_truths`); without it, and of photographs
             it does not tell of, accuracy and composite are missing

    Returns the table as data/tables/<name>.csv has it: label, label_kind mmos, label_std (of the
    models), consistency, accuracy, composite; of each model its own label as `by <model>`, and as
    `without <model>` the label of all others that answered.

    Errors: KeyError, ValueError or FileNotFoundError before any model is asked, where names,
    columns or files are wrong, or the label wanted would be missing everywhere.
    """
    choices = choices or Choices()
    if label not in mmos.LABELS:
        raise ValueError(f"label is {label!r}; there are {', '.join(mmos.LABELS)}")
    if truth is None and (label != "consistency" or choices.weights == "clean"):
        raise ValueError(
            f"label {label} with {choices.weights} weights needs the truth (--truth: a CSV with "
            "reference and true_class, or COCO's JSON); give it, or take consistency with equal "
            "weights"
        )
    _check_name(name, root)
    photographs = _photographs(table, root)
    if truth is not None:
        known = read_truths(truth, panel.task, [each.original for each in photographs])
        for each in photographs:
            each.truth = known.get(each.original)
    machines = [
        open_machine(each, task=panel.task, views=panel.views, precision=panel.precision)
        for each in panel.names
    ]
    folder = root / FOLDER / name
    answers = Answers(root / FOLDER / ANSWERS, machines, root)

    log(f"{len(photographs)} photographs, {len(table)} images; {', '.join(panel.names)}")
    if (folder / "about.json").is_file():
        before = read_json(folder / "about.json")["panel"]
        if before != _as_json(panel):
            named = ", ".join([*before["machines"], *before["held_out"]])
            log(f"replaces the labels {name}, which another panel made: {named}")
    answers.ask(photographs, "original")
    _check_classes(photographs, answers)
    kept = [each for each in photographs if _is_sure(each, answers, panel)]
    if panel.sure:
        log(
            f"{len(kept)} of {len(photographs)} photographs, on which every model of the panel "
            f"gives its first class a probability of {panel.sure:g} or more"
        )
        for each in (machine for machine in machines if machine.name in panel.held_out):
            surest = [answers.of_original(each, photograph)[0].max() for photograph in kept]
            count = sum(first >= panel.sure for first in surest)
            log(f"{each.name}, which is held out, is as sure of {count} of them")
    if not kept:
        raise ValueError(f"no photograph has a clean probability of {panel.sure:g}; lower `sure`")
    answers.ask(kept, "versions")

    clean = {each.name: _clean(each, answers, kept) for each in machines}
    data = _labelled(table, kept, answers, panel, label, choices, clean, folder)
    if lacking := int(data.label.isna().sum()):
        log(f"{lacking} of {len(data)} images have no {label} and are left out")
        data = data.dropna(subset=["label"])
    if data.empty:
        raise ValueError(f"no image has a {label}: the models answer nothing that counts")
    data = data.reset_index(drop=True)
    facts = {"panel": asdict(panel), "choices": asdict(choices), "label": label, "clean": clean}
    facts |= {"machines": {each.name: each.identity for each in machines}}
    facts |= {"photographs": len(kept), "images": len(data), "iqa_core": __version__}
    facts |= {"truth": None if truth is None else in_project(str(truth), root)}
    facts |= {"answers": [answers.listed(each) for each in kept]}
    facts["in words"] = f"{TASKS[panel.task]}: {choices.sentence(panel.task)}"
    write_json(folder / "about.json", facts)
    log(facts["in words"])
    with replacing(root / f"data/tables/{name}.csv") as draft:
        data.to_csv(draft, index=False)
    return data


def _as_json(panel):
    """A panel as about.json has it."""
    return json.loads(json.dumps(asdict(panel)))


def _check_name(name, root):
    """ValueError for a name that is no folder's, or of a table that is something else."""
    check_folder_name(name)
    if name == ANSWERS:
        raise ValueError(f"{name!r} is where the answers lie; give the labels another name")
    table = root / f"data/tables/{name}.csv"
    made_here = (root / FOLDER / name / "about.json").is_file()
    if name in datasets.list_datasets(root=root) or (table.is_file() and not made_here):
        raise ValueError(
            f"{name!r} is a data set's name; give the labels one of their own, as {name}_mmos"
        )


def _photographs(table, root):
    """The photographs of a table in order of their names; errors as `make_labels`."""
    if lacking := [column for column in ("image", "reference") if column not in table]:
        raise ValueError(
            f"the table has no column {', '.join(lacking)}: a label compares the answers to an "
            "image and to its original; `data distort` writes such a table"
        )
    if table.reference.isna().any() or (table.reference == "").any():
        raise ValueError("some images have no reference; drop their rows")
    content = table.content if "content" in table else table.reference
    if content.isna().any() or table.image.duplicated().any():
        raise ValueError("some rows have no content, or an image stands in two; one row an image")
    paths = [*table.image, *table.reference.unique()]
    absent = [path for path in paths if not (root / path).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(paths)} images are no files here, as {absent[0]}: fetch or "
            "make them first"
        )
    groups = table.reset_index(drop=True).groupby(content.to_numpy())
    photographs = []
    for name, rows in groups:
        if rows.reference.nunique() > 1:
            raise ValueError(
                f"content {name} has {rows.reference.nunique()} references; one original a content"
            )
        images = rows.image.tolist()
        photographs.append(
            Photograph(str(name), rows.reference.iloc[0], images, rows.index.to_numpy())
        )
    return photographs


@dataclass
class Answers:
    """The answers of some machines, in files of a folder."""

    folder: Path
    machines: list[Machine]
    root: Path
    files: dict = field(default_factory=dict)  # (machine, photograph, part): file

    def ask(self, photographs: list[Photograph], part: str) -> None:
        """Ask every machine about the originals of some photographs, or about their versions, where
        it has not been asked.
        """
        missing = []
        for photograph in photographs:
            images = [photograph.original] if part == "original" else photograph.images
            state = state_of([self.root / image for image in images])
            files = {
                each.name: file_of(self.folder, each, photograph.name, state)
                for each in self.machines
            }
            for name, file in files.items():
                self.files[name, photograph.name, part] = file
            left = [each for each in self.machines if not files[each.name].exists()]
            if left:
                missing.append((photograph, images, left, files))
        for photograph, images, left, files in tqdm(missing, part, mininterval=2):
            found = {each.name: [] for each in left}
            for pixels in self._decoded(images):
                for each in left:
                    found[each.name] += list(each.respond(pixels))
            for each in left:
                if len(found[each.name]) != len(images):
                    raise ValueError(
                        f"{each.name} gave {len(found[each.name])} answers to {len(images)} "
                        f"images of {photograph.name}; one an image is wanted"
                    )
                write_answers(files[each.name], each, found[each.name])

    def of(self, machine: Machine, photograph: Photograph):
        """A machine's answers to the versions of one photograph."""
        return read_answers(self.files[machine.name, photograph.name, "versions"], machine.task)

    def of_original(self, machine: Machine, photograph: Photograph):
        """A machine's answer to a photograph as it is."""
        return read_answers(self.files[machine.name, photograph.name, "original"], machine.task)[0]

    def listed(self, photograph: Photograph) -> dict:
        """Where the answers to a photograph and its versions are, from data/labels."""
        files = {}
        for each in self.machines:
            files[each.name] = {}
            for part in ("original", "versions"):
                file = self.files[each.name, photograph.name, part]
                files[each.name][part] = file.relative_to(self.folder.parent).as_posix()
        listed = {"content": photograph.name, "original": photograph.original}
        return listed | {"images": photograph.images, "files": files}

    def _decoded(self, images) -> Iterator[list[np.ndarray]]:
        """The images, as many at a time as have `PIXELS` pixels."""
        paths = [self.root / image for image in images]
        sizes = image_sizes(paths).to_numpy()
        number = np.cumsum(sizes[:, 0] * sizes[:, 1]) // PIXELS
        with ThreadPoolExecutor(THREADS) as pool:
            for part in np.unique(number):
                some = [path for path, own in zip(paths, number, strict=True) if own == part]
                yield list(pool.map(read_image, some))


def _check_classes(photographs, answers):
    """ValueError for a true class that a model does not know."""
    told = [each for each in photographs if isinstance(each.truth, int)]
    for machine in answers.machines if told else []:
        classes = answers.of_original(machine, told[0]).shape[-1]
        for each in told:
            if each.truth >= classes:
                raise ValueError(
                    f"the true class of {each.original} is {each.truth}, but {machine.name} knows "
                    f"{classes}, from 0"
                )


def _is_sure(photograph, answers, panel):
    """Whether every model of the panel is sure enough of the original, in its first view."""
    if not panel.sure:
        return True
    asked = [each for each in answers.machines if each.name in panel.machines]
    return all(answers.of_original(each, photograph)[0].max() >= panel.sure for each in asked)


def _clean(machine, answers, photographs):
    """What a machine gets right of the originals: top-1 accuracy, or average precision over the
    ten overlaps; NaN without a truth.
    """
    told = [each for each in photographs if each.truth is not None]
    if not told:
        return np.nan
    found = [answers.of_original(machine, each) for each in told]
    if machine.task == "cls":
        pairs = zip(told, found, strict=True)
        return float(np.mean([each.truth == answer[0].argmax() for each, answer in pairs]))
    matches = match(found, [each.truth for each in told], kind=_kind(machine))
    return average_precision(matches)


def _kind(machine):
    return "masks" if machine.task == "ins" else "boxes"


def _scores(machine, photograph, answers, choices) -> pd.DataFrame:
    """A machine's consistency, accuracy and composite on the images of one photograph."""
    found = answers.of(machine, photograph)
    original = answers.of_original(machine, photograph)
    if machine.task == "cls":
        true_class = np.nan if photograph.truth is None else photograph.truth
        values = {
            "consistency": mmos.class_consistency(found, original, choices.similarity),
            "accuracy": mmos.class_accuracy(found, true_class, choices.hit),
        }
    else:
        kind = _kind(machine)
        values = {
            "consistency": mmos.object_consistency(
                found, original, confidence=choices.confidence, kind=kind
            ),
            "accuracy": mmos.object_accuracy(found, photograph.truth, kind=kind),
        }
    values["composite"] = mmos.composite(values["consistency"], values["accuracy"])
    return pd.DataFrame({"image": photograph.images, "machine": machine.name} | values)


def _labelled(table, photographs, answers, panel, label, choices, clean, folder):
    """The table with the labels, and their files."""
    # The published files are called by their original; where two are called alike, by content.
    stems = {each.name: Path(each.original).stem for each in photographs}
    if len(set(stems.values())) < len(stems):
        stems = {name: re.sub(r"[^\w.-]+", "_", name) for name in stems}
    parts, written = [], []
    for photograph in tqdm(photographs, "labels", mininterval=2):
        scores = [_scores(each, photograph, answers, choices) for each in answers.machines]
        scores = pd.concat(scores)
        own = scores[scores.machine.isin(list(panel.machines))]
        labels = mmos.labels_of(own, choices, clean)
        names = [Path(image).name for image in photograph.images]
        names = pd.Series(names, name=stems[photograph.name])
        written += mmos.write_labels(labels, folder / "labels", task=panel.task, names=names)

        grid = scores.pivot(index="image", columns="machine")
        grid = grid.loc[photograph.images]
        data = labels.set_index("image").join(grid[label][panel.names].add_prefix("by "))
        if len(panel.names) > 1:
            data = data.join(mmos.without_each(scores, label, choices, clean).set_index("image"))
        parts.append(data)
    for file in {*(folder / "labels").iterdir()} - {*written}:
        file.unlink()  # of another task, or of photographs that no longer count
    labels = pd.concat(parts)
    earlier = ("by ", "without ", "source_")  # of a table that was made here
    dropped = [c for c in table if c.startswith(earlier) or c in ("label_kind", "label_std")]
    source = table.drop(columns=dropped)
    taken = [c for c in source if c in ("label", "label2", *labels)]
    source = source.rename(columns={c: f"source_{c}" for c in taken})
    data = source[source.image.isin(labels.index)].join(labels, on="image")
    data.insert(1, "label", data[label])
    data.insert(2, "label_kind", "mmos")
    data.insert(3, "label_std", data.get(f"std_{label}", np.nan))
    return data


# ---- what is labelled, and what else judges it


def source_table(source: str, *, root: Path) -> pd.DataFrame:
    """The table to label: a data set's, by its name, or a CSV file with columns image and
    reference whose paths are relative to its folder; a set that makes its images makes them.

    KeyError for what is neither; ValueError for a file outside the project.
    """
    path = Path(source)
    if path.suffix != ".csv":
        try:
            table = datasets.saved_table(source, root=root)
        except FileNotFoundError:
            table = datasets.load_table(source, root=root)
        datasets.make_images(source, table, root=root)
        return table
    if not path.is_file():
        raise FileNotFoundError(f"{source} is no file; `data distort` writes such a list")
    table = pd.read_csv(path)
    folder = path.resolve().parent
    if not folder.is_relative_to(root.resolve()):
        raise ValueError(f"{source} lies outside of {root}; link its folder to data/raw")
    start = folder.relative_to(root.resolve())
    for column in [name for name in ("image", "reference") if name in table]:
        table[column] = [(start / name).as_posix() for name in table[column]]
    return table


def scores_by(names: Sequence[str], table: pd.DataFrame, *, root: Path) -> pd.DataFrame:
    """What scorers of single pictures (`scorers.open_scorer`) give the images of a table, higher is
    better: a column a scorer, of which one without weights here is empty, and the reason printed.

    KeyError for a name that no scorer has; ValueError for an image that cannot be judged.
    """
    columns = pd.DataFrame(np.nan, index=table.index, columns=list(names))
    for name in names:
        try:
            scorer = open_scorer(name)
        except FileNotFoundError as error:
            print(f"{name} has no numbers here: {error}", flush=True)
            continue
        if scorer.reference:
            raise ValueError(f"{name} compares with another image; `measures` is for such")
        scores = []
        for start in tqdm(range(0, len(table), BATCH), name, mininterval=2):
            some = table.image.iloc[start : start + BATCH]
            scores += list(scorer.judge([read_image(root / image) for image in some], None))
        columns[name] = np.array(scores) * (1 if scorer.facts["higher_is_better"] else -1)
    return columns
