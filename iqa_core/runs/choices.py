"""What the parameters of notebooks may be: one check a name, since a parameter means the same in
every notebook.

Nothing but files is read for it, with `ast` where they are code: torch, timm and the models are not
imported, so that `run` refuses in a second what would fail minutes later. Fields of
`training.Recipe` are checked by that.
"""

import csv
import glob
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, get_args, get_type_hints

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from iqa_core.datasets import label_names, module_of
from iqa_core.files import read_json
from iqa_core.full_reference import list_measures
from iqa_core.hints import nearest
from iqa_core.machines import KINDS, VIEWS
from iqa_core.mmos import Similarity
from iqa_core.models import Contract, grids, list_models, published
from iqa_core.models.arguments import (
    POOLED_CROP,
    TimmName,
    arguments_of,
    on_pooled_stages,
    wanted_for_frozen_crops,
)
from iqa_core.runs.parameters import check_parameters, declared_parameters
from iqa_core.runs.variants import CHANGEABLE, merged
from iqa_core.splits import check_scheme

PARTS_BY_TYPE = ("all types", "types seen in training", "types never seen")
NAME_RUNS = ("start_from", "baseline", "trained", "others", "transfer")


class Context(NamedTuple):
    """What a check may look at beside its value."""

    values: dict  # all parameters of the notebook
    notebook: Path
    root: Path

    @property
    def model(self) -> str:
        """The model that is built: notebooks without a parameter for it build SMART-IQA."""
        return self.values.get("model", "smart_iqa")

    def of_model(self, parameter: str) -> dict:
        """`arguments` or `contract` as the model gets it: what the notebook declares is for its own
        model, so that another one gets nothing of it.
        """
        declared = declared_parameters(self.notebook)
        value = self.values.get(parameter, {})
        another = "model" in declared and declared["model"].default != self.model
        return {} if another and value == declared[parameter].default else value

    def table(self) -> csv.DictReader | None:
        """The table of the data set, or of that of the run `trained`: notebook 01's, else the
        demo's labels; None where there is none yet.
        """
        data_set = self.values.get("data_set")
        trained = self.root / f"data/runs/{self.values.get('trained')}/params.json"
        if trained.is_file():
            data_set = read_json(trained).get("set")
        for name in (f"data/tables/{data_set}.csv", f"data/{data_set}/labels.csv"):
            if (self.root / name).is_file():
                lines = (self.root / name).read_text(encoding="utf-8").splitlines()
                return csv.DictReader(line for line in lines if not line.startswith("#"))
        return None


def check_choices(values: dict, *, notebook_stem: str, root: Path) -> None:
    """Refuses what a notebook cannot be run with, before anything is touched.

    values    all parameters of the notebook, of the types that it declares

    KeyError, ValueError or FileNotFoundError naming the parameter, its value, what is allowed and
    what of that is nearest.
    """
    _check(values, Context(values, root / f"notebooks/{notebook_stem}.ipynb", root))


def named_runs(values: dict) -> Iterator[tuple[str, str]]:
    """(parameter, <experiment>/<run>) of every run whose results a notebook is asked to read."""
    for name in NAME_RUNS:
        for entry in _entries(values.get(name, [])):
            if "/" in entry:
                yield name, entry


def check_folder_name(value: str) -> None:
    """ValueError for what is no name of a folder of data/runs."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", value):
        raise ValueError(f"{value!r} names a folder: letters, digits and . _ - + only, no /")


# ---- how values are refused


def _check(names, context):
    for name, check in CHECKS.items():
        if name not in names:
            continue
        try:
            check(context.values[name], context)
        except (KeyError, ValueError, FileNotFoundError) as error:
            raise type(error)(f"{name}: {error.args[0]}") from None


def _is_one_of(value, known):
    if value not in known:
        hint = nearest(value, known) or "."
        raise KeyError(f"there is no {value!r}{hint} There are {', '.join(known) or 'none'}")


def _fits(value, wanted, *, name=""):
    """ValueError where a value is not of a type, in pydantic's words and with what is nearest."""
    try:
        TypeAdapter(list[wanted], config=ConfigDict(strict=True)).validate_python([value])
    except ValidationError as error:
        faults = [fault["msg"].removeprefix("Value error, ") for fault in error.errors()]
        allowed = " or ".join(dict.fromkeys(faults))
        choices = re.findall(r"'([^']*)'", allowed) if "did you mean" not in allowed else []
        hint = nearest(error.errors()[0]["input"], choices)
        raise ValueError(f"{name}{value!r}: {allowed}{hint}") from None


def _of(wanted) -> Callable:
    """The check that a value is of a type."""
    return lambda value, context: _fits(value, wanted)


def _each(check) -> Callable:
    """The check of every entry of a list, or of a text that is not empty."""

    def check_entries(value, context):
        for entry in _entries(value):
            check(entry, context)

    return check_entries


def _entries(value):
    if isinstance(value, str):
        return [value] if value else []
    return value


# ---- checks of a value and of what it is context with


def _folder(value, context):
    check_folder_name(value)


def _data_set(value, context):
    if not (context.root / f"data/tables/{value}.csv").is_file():
        label_names(value, root=context.root)


def _label(value, context):
    if value:
        _is_one_of(value, label_names(context.values["data_set"], root=context.root))


def _without_absent(value, context):
    if value and module_of(context.values["data_set"]):
        raise ValueError("true: this set makes its own images, so none is absent; leave it out")


def _column(value, context):
    table = context.table()
    if table is not None:
        _is_one_of(value, table.fieldnames)


def _distortion(value, context):
    table = context.table()
    if table is not None:
        known = {row.get("distortion", "") for row in table} - {""}
        _is_one_of(value, sorted(known))


def _scheme(value, context):
    fields = check_scheme(value)
    if "distortion" in fields:
        _distortion(fields["distortion"], context)


def _schemes(value, context):
    if not value:
        raise ValueError("[]: at least one scheme is wanted, as rotation1")
    for scheme in value:
        _scheme(scheme, context)


def _split(value, context):
    folder, data_set = context.root / "data/splits", context.values["data_set"]
    file, table = folder / f"{value}.csv", context.root / f"data/tables/{data_set}.csv"
    if file.is_file():
        divided, of_set = _images(file), _images(table)
        if divided and of_set and not divided & of_set:
            usable = sorted(path.stem for path in folder.glob(f"{data_set}-*.csv"))
            raise ValueError(
                f"{value} divides other images than those of {data_set}; there are "
                f"{', '.join(usable) or 'none of these'}, and notebook 01 makes {data_set}-<scheme>"
            )
        return
    known = sorted(path.stem for path in folder.glob("*.csv"))
    hint = nearest(value, known) or "."
    missing = f"there is no data/splits/{value}.csv{hint} There are {', '.join(known) or 'none'}"
    if not value.startswith(f"{data_set}-"):
        raise FileNotFoundError(f"{missing}; notebook 01 makes {data_set}-<scheme>")
    try:  # notebook 01 can make it
        _scheme(value.removeprefix(f"{data_set}-"), context)
    except (KeyError, ValueError) as error:
        raise FileNotFoundError(f"{missing}; notebook 01 cannot make it: {error.args[0]}") from None


def _images(file):
    """The images that a table or split names; none where that cannot be told, which is for who
    reads it whole to say.
    """
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as rows:
        return {row["image"] for row in csv.DictReader(rows) if "image" in row}


def _resize(value, context):
    if len(value) > 2 or min(value, default=1) < 1:
        raise ValueError(
            f"{value}: height and width are wanted, or the shorter side, pixels; or [], images as "
            "they are"
        )


def _arguments(value, context):
    wanted = arguments_of(context.model)
    for name, argument in context.of_model("arguments").items():
        _is_one_of(name, wanted)
        _fits(argument, wanted[name][0], name=f"{name} = ")


def _contract(value, context):
    wanted = get_type_hints(Contract, include_extras=True)
    for name, field in context.of_model("contract").items():
        _is_one_of(name, wanted)
        field = tuple(field) if isinstance(field, list) else field
        _fits(field, wanted[name], name=f"{name} = ")
        if name == "crop" and _on_pooled_stages(context) and field != POOLED_CROP:
            raise ValueError(f"crop = {field}: {context.model} takes crops of {POOLED_CROP}")


def _on_pooled_stages(context):
    return on_pooled_stages(context.model) and not _other_arguments(context)


def _other_arguments(context):
    """What keeps a model from learning on frozen crops, as `FROZEN_CROPS` in its file: name -> (as
    it is, as it would have to be, None where nothing could make it one).
    """
    wanted, known = wanted_for_frozen_crops(context.model), arguments_of(context.model)
    if wanted is None:
        return {"model": (context.model, None)}
    arguments = context.of_model("arguments")
    others = {}
    for name, needed in wanted.items():
        argument = arguments.get(name, known[name][1])
        allowed = needed if isinstance(needed, list) else [needed]
        if argument not in allowed:
            others[name] = (argument, " or ".join(map(str, allowed)))
    return others


def _frozen_crops(value, context):
    _fits(value, NonNegativeInt)
    if value == 0:
        return
    grids(value)
    for name, (argument, needed) in _other_arguments(context).items():
        if needed is None:
            raise ValueError(f"{value}: {argument} cannot be trained on frozen crops; give 0")
        raise ValueError(
            f"{value}: {context.model} with {name} {argument} cannot be trained on frozen crops; "
            f"give 0, or {name}: {needed}"
        )


def _options(value, context):
    if "select" in value:
        sets = (
            ["val", "test", *context.values["monitor"]] if "monitor" in context.values else ["val"]
        )
        _is_one_of(value["select"], sets)


def _seeds(value, context):
    _fits(value, Annotated[list[NonNegativeInt], Field(min_length=1)])
    if len(set(value)) < len(value):
        raise ValueError(f"{value}: a seed stands twice; give each once")


def _variants(value, context):
    for variant, change in value.items():
        check_folder_name(variant)
        if variant == "full":
            raise ValueError("full is the model of `arguments`; name the variant otherwise")
        _fits(change, dict, name=f"{variant}: ")
        try:
            for name in change:
                _is_one_of(name, CHANGEABLE)
            check_parameters(context.notebook, change)
            _check(change, context._replace(values=merged(context.values, change)))
        except (KeyError, ValueError) as error:
            raise type(error)(f"{variant}: {error.args[0]}") from None


def _pair(value, context):
    if not isinstance(value, list) or len(value) != 2 or value[0] == value[1]:
        raise ValueError(f"{value!r}: pairs of variants are wanted, as [full, single]")
    for variant in value:
        _is_one_of(variant, ["full", *context.values["variants"]])


def _shuffle(value, context):
    full = {name: default for name, (_, default) in arguments_of(context.model).items()}
    full |= context.of_model("arguments")
    adaptive = full["multiscale"] and full["attention"] and full["gate"] == "adaptive"
    if value and not adaptive:
        raise ValueError(
            "true: stage weights that are exchanged depend on the image; give shuffle: false, or "
            "the full model multiscale, attention and gate: adaptive"
        )


def _run(value, context):
    parts = value.split("/")
    if len(parts) < 2:
        raise ValueError(f"{value!r}: <experiment>/<run> is wanted, as demo/02_train_baseline")
    for part in parts:
        check_folder_name(part)


def _baseline(value, context):
    if value not in ("", "none"):
        _run(value, context)


def _other_set(value, context):
    data_set, colon, scheme = value.partition(":")
    _data_set(data_set, context)
    if colon:
        check_scheme(scheme)


def _averages(value, context):
    for name, variants in value.items():
        check_folder_name(name)
        if name in ("full", *context.values["variants"]):
            raise ValueError(f"{name} is a variant already; name the average otherwise")
        for variant in variants:
            _is_one_of(variant, ["full", *context.values["variants"]])


def _question(value, context):
    wanted = {"ask", "variant", "than", "caution"}
    if not isinstance(value, dict) or set(value) != wanted:
        raise ValueError(f"{value!r}: a mapping of {', '.join(sorted(wanted))} is wanted")
    known = ["full", *context.values["variants"], *context.values.get("averages", {})]
    measures = context.values.get("measures", [])
    known += measures
    if context.values.get("inputs"):  # the same, given the degraded image
        known += [f"{name}, degraded" for name in measures]
    for name in ("variant", "than"):
        _is_one_of(value[name], known)


def _type_column(value, context):
    if value:
        _column(value, context)


def _types(value, context):
    table, column = context.table(), context.values["type_column"]
    if table is not None and value:
        known = {row.get(column, "") for row in table} - {""}
        for kind in value:
            _is_one_of(kind, sorted(known))


def _set_or_run(value, context):
    check = _run if "/" in value else _other_set
    check(value, context)


def _path(value, context):
    """Pictures, videos, folders, lists; patterns and addresses are looked at when they are used."""
    if glob.has_magic(value) or "://" in value or (context.root / value).exists():
        return
    raise FileNotFoundError(f"{value} is not there; paths are meant from the project's folder")


def _scorer(value, context):
    if (context.root / "data/raw/weights" / value / "model.json").is_file():
        return
    if "/" in value:
        _run(value, context)
        return
    shipped = [file.parent.name for file in context.root.glob("data/demo/*/model.json")]
    weights = [row.name for row in published.rows() if row.model]
    _is_one_of(value, [*list_measures(), *shipped, *weights])


def _machine(value, context):
    kind, _, name = value.partition(":")
    _is_one_of(kind, KINDS)
    if kind == "timm":
        _fits(name, TimmName)
    elif not name:
        raise ValueError(f"{value!r} names no model; timm:resnet50 does")


def _held_out(value, context):
    _each(_machine)(value, context)
    if len(value) + len(context.values["panel"]) < 2:
        raise ValueError(f"{value}: panel and held_out need two vision models or more together")


def _operator(value, context):
    from iqa_core.distortions import list_distortions  # two seconds, for who needs it

    _is_one_of(value, list_distortions())


WIDTHS = ("column", "page", "slide")  # as figures/page.py has them, which imports matplotlib
FREE_TEXT = {"label_name", "shown_method"}  # of axes; of what finished runs alone can tell
CHECKS = {
    "experiment": _each(_folder),
    "run": _each(_folder),
    "data_set": _data_set,
    "label": _label,
    "without_absent": _without_absent,
    "schemes": _schemes,
    "resize": _resize,
    "split": _split,
    "model": lambda value, context: _is_one_of(value, list_models()),
    "arguments": _arguments,
    "contract": _contract,
    "frozen_crops": _frozen_crops,
    "options": _options,
    "batch_size": _of(PositiveInt),
    "processes": _of(PositiveInt),
    "further": _of(NonNegativeInt),
    "seed": _of(NonNegativeInt),
    "seeds": _seeds,
    "measures": _each(lambda value, context: _is_one_of(value, list_measures())),
    "panel": _each(_machine),
    "held_out": _held_out,
    "views": _each(lambda value, context: _is_one_of(value, VIEWS)),
    "similarity": lambda value, context: _is_one_of(value, get_args(Similarity)),
    "sure": _of(Annotated[float, Field(ge=0, lt=1)]),
    "folds": _of(Annotated[int, Field(ge=2)]),
    "scale_label": _column,
    "target": _column,
    "select_by": _column,
    "monitor": _each(_other_set),
    "start_from": _each(_run),
    "baseline": _baseline,
    "ablation_run": lambda value, context: value and _run(value, context),
    "attention_run": lambda value, context: value and _run(value, context),
    "width": lambda value, context: value and _is_one_of(value, WIDTHS),
    "names": _of(dict[str, str]),
    "trained": _each(_run),
    "others": _each(_run),
    "variants": _variants,
    "compare": _each(_pair),
    "averages": _averages,
    "questions": _each(_question),
    "type_column": _type_column,
    "inputs": _type_column,
    "unseen": _types,
    "always": _types,
    "asked_on": lambda value, context: _is_one_of(value, PARTS_BY_TYPE),
    "photographs": _of(PositiveInt),
    "ratios": _each(_of(Annotated[float, Field(ge=0.1, le=10)])),
    "shuffle": _shuffle,
    "left_out": _each(_distortion),
    "transfer": _each(_set_or_run),
    "paths": _each(_path),
    "reference": _each(_path),
    "photo": _each(_path),
    "videos": _each(_path),
    "scorers": _each(_scorer),
    "distortions": _each(_operator),
    "frames": _of(PositiveInt),
    "clip_frames": _of(Annotated[int, Field(ge=2)]),
}
