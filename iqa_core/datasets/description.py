"""What a data set is, as data: the keys of sets.yaml and of a user's own set.yaml. Nothing here is
about one set.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..hints import nearest


def _stays_inside(path):
    if re.match(r"[/\\]|[A-Za-z]:[/\\]", path) or ".." in re.split(r"[/\\]", path):
        raise ValueError("it leads out of the set's folder; link what lies elsewhere into that")
    return path


def _usable(use, what):
    def used(text):
        try:
            use(text)
        except Exception as error:  # of many types, for a template
            raise ValueError(f"it is no {what}: {error}") from None
        return text

    return AfterValidator(used)


def _has_groups(pattern):
    if pattern and not re.compile(pattern).groupindex:
        raise ValueError("it names no group, as (?P<content>...) does")
    return pattern


Inside = Annotated[str, AfterValidator(_stays_inside)]
Pattern = Annotated[str, _usable(re.compile, "regular expression")]
Groups = Annotated[Pattern, AfterValidator(_has_groups)]
FILLED = "text with columns in braces, as {image}.png"
Template = Annotated[str, _usable(lambda text: text.format_map(defaultdict(str)), FILLED)]
Place = Annotated[Template, AfterValidator(_stays_inside)]


class Keys(BaseModel):
    """A mapping that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelFile(Keys):
    """One label file, or several alike."""

    # path under the set's folder; letter case and nesting do not matter; * stands for any name, and
    # all that fit equally near are read; with * for folders the column `folder` tells a row's
    file: Inside
    # our name: theirs, or its number from 0 where no row names them; none: theirs are ours. Of a
    # .mat file also scores[1], a matrix's column from 0; names[k], the names at the numbers k, from
    # 1 as MATLAB counts; mean(ratings) and std(ratings), over those of each image
    columns: dict[str, str | int] = {}
    # none: the commonest of , ; and tab in the first line; a blank: any white space
    delimiter: str = ""
    decimal: str = "."  # a comma where a file is written so
    sheet: str | int = 0
    fill: dict[str, str] = {}  # column: value for every image of this file
    # what it is joined by, where it has an `image`: that, or a named group of `pattern`, as content
    by: str = "image"
    # the named group that * in the file's name stands for; it may list no images of another
    of: str = ""
    optional: bool = False


class Label(Keys):
    """A label that can be chosen: range, direction, units."""

    low: float | None = None  # the scale's ends, in its own units
    high: float | None = None
    units: str = ""
    higher_is_better: bool = True  # false: published as DMOS, and turned round: low + high - dmos
    # share of labels that may lie outside low..high, because they do as published
    outside: float = 0
    std: str = ""  # column of the standard deviation in the same units
    # columns that it is the mean of, empty where one of them is; all stay, whichever is the label
    mean_of: list[str] = []
    gaps: bool = False  # true: rows that lack it are left out, and counted in a note


class Description(Label):
    """A data set. The range of a single label stands here; several stand under `labels`, the first
    of them the default.
    """

    std: str = "label_std"
    title: str = ""
    # the first holds the rows, the others are joined by image, without one by row; none: all images
    files: list[LabelFile] = []
    # templates of paths under the set's folder, however nested, with ./ before them exactly there;
    # taken is the one that most images lie at
    images: Annotated[list[Place], Field(min_length=1)] = ["{image}"]
    reference: Place = ""
    # no split may divide it; none: the named group `content`, else the reference, else the image
    content: Template = ""
    # regular expression on `image`, letter case ignored; its named groups become columns, those
    # that begin with _ for the keys here alone; a group `image` takes the place of what was told
    pattern: Groups = ""
    codes: dict[str, dict[str, dict[str, str]]] = {}  # new column: {from column: {code: word}}
    # distortion: rows, in the file's order; `number` counts within a distortion from 1
    counted: dict[str, int] = {}
    # column: regular expression of rows that are no labelled images
    leave_out: dict[str, Pattern] = {}
    votes: str = ""  # label that is the mean of 1, 2, ... with the counts (or shares) c1, c2, ...
    rest: str = ""  # official split of images that no file puts anywhere
    # images that the Q-Align and SMART-IQA subset of the official split leaves out
    subset_missing: list[str] = []
    labels: dict[str, Label] = {}
    label_kind: str = "mos"
    rows: int | None = None  # as published
    folder: Inside = ""  # under data/raw, where it is not the set's name, or holds other sets too
    module: str = ""  # of this package, for a set of sets.yaml that makes itself
    licence: str = "not stated"
    address: str = ""  # for people
    get: dict[Inside, str] = {}  # file under the set's folder: public address
    by_hand: str = ""  # what a person does where nothing can be fetched
    citation: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _fits_its_labels(self):
        lost = sorted({*Label.model_fields} & self.model_fields_set)
        if self.labels and lost:
            raise ValueError(
                f"{', '.join(lost)} beside `labels` would be lost; write it into each of them"
            )
        if self.votes and self.votes not in self.choices():
            raise ValueError(
                f"votes is {self.votes}, which is no label; there is {', '.join(self.choices())}"
            )
        groups = re.compile(self.pattern).groupindex
        for file in self.files:
            if file.of and ("*" not in file.file.rpartition("/")[2] or file.of not in groups):
                raise ValueError(
                    f"of is {file.of}, but {file.file} has no * in its name, or `pattern` no such "
                    f"group; it has {', '.join(groups) or 'none'}"
                )
        return self

    def choices(self) -> dict[str, Label]:
        """The labels one can choose, by the name of their column; the first is the default."""
        return self.labels or {"label": self}


def described(facts: object, where: str) -> Description:
    """A mapping as a Description; KeyError for an unknown key, ValueError for a wrong value, naming
    it and `where`.
    """
    try:
        return Description.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = {"files": LabelFile, "labels": Label}.get(first["loc"][0], Description).model_fields
        hint = nearest(first["loc"][-1], known) or "."
        raise KeyError(f"{where}: no key {place}{hint} Allowed are {', '.join(known)}")
    raise ValueError(
        f"{where}: {place or 'the file'} is {repr(first['input'])[:80]}; {first['msg'].lower()}"
    )


def described_file(path: Path, otherwise: dict) -> Description:
    """The Description in a set.yaml, where it names no `files` with the keys of `otherwise`; errors
    as `described`.
    """
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no YAML ({error}); put texts that hold a colon, a brace or a backslash "
            f"between single quotes"
        ) from None
    if not isinstance(facts, dict) or "files" in facts:
        otherwise = {}
    if "module" in facts:
        raise KeyError(f"{path}: no key module; only the sets of this package make themselves")
    return described(otherwise | facts if otherwise else facts, str(path))
