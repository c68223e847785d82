"""Which notebooks a target runs, with which parameters: read from its files, and all of it checked
before anything is touched, in a second, without torch.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from iqa_core import runs
from iqa_core.apps import sweep
from iqa_core.hints import nearest
from iqa_core.runs import committed
from iqa_core.runs.choices import check_choices, named_runs
from iqa_core.runs.parameters import check_parameters, declared_parameters
from iqa_core.runs.variants import trainings
from iqa_core.training.recipe import Recipe


class Job(NamedTuple):
    """One notebook with its parameters: what the YAML file `file` asks for."""

    file: Path
    experiment: str
    run: str
    notebook: Path
    parameters: dict

    @property
    def name(self) -> str:
        """Of the run: its folder below data/runs."""
        return f"{self.experiment}/{self.run}"


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice in a file is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if key in keys:
                raise ValueError(f"the key {key!r} stands twice")
            keys.append(key)
        return super().construct_mapping(node, deep)


def plan(target: str, *, root: Path, overrides: dict | None = None) -> list[Job]:
    """The checked jobs of a target, in order; nothing is run."""
    overrides = dict(overrides or {})
    files = parameter_files(target, root=root)
    jobs = [_job(path, root=root, overrides=overrides) for path in files]
    known = sorted({name for job in jobs for name in declared_parameters(job.notebook)})
    for name in set(overrides) - set(known):
        hint = nearest(name, known) or "."
        raise KeyError(
            f"no notebook of {target} declares a parameter {name!r}{hint} They have: "
            f"{', '.join(known)}"
        )
    renamed = [job.run != job.file.stem for job in jobs]
    if any(renamed) and not all(renamed) and "experiment" not in overrides:
        raise ValueError(
            f"--set makes {sum(renamed)} of the {len(jobs)} runs of {target} others, and the rest "
            f"would read them in place of those that are there; keep them apart: "
            f"--set experiment={target.strip('/').partition('/')[0]}-trial"
        )
    return jobs


def check_committed(jobs: list[Job], *, edited: bool) -> None:
    """Prints how notebooks differ from the committed ones; ValueError unless that is meant."""
    differ = []
    for notebook in dict.fromkeys(job.notebook for job in jobs):
        lines = committed.edits(notebook)
        for line in lines:
            print(f"{notebook.name}: {line}", flush=True)
        if lines:
            differ.append(notebook.name)
    if differ and not edited:
        raise ValueError(
            f"{', '.join(differ)}: not as committed, see above (JupyterLab saves by itself); "
            "`git checkout notebooks` brings them back, --edited runs them as they are; to try a "
            "value say --set, to keep a change run scripts/record_notebooks.py"
        )


def parameter_files(target: str, *, root: Path) -> list[Path]:
    """The YAML files of an experiment in the order of their stems, or the one file
    `experiment/stem` names.
    """
    experiment, _, stem = (
        target.strip("/").removesuffix(".yaml").removeprefix("params/").partition("/")
    )
    files = sorted((root / "params" / experiment).glob("*.yaml"), key=lambda path: path.stem)
    if not experiment or not files:
        known = sorted({path.parent.name for path in root.glob("params/*/*.yaml")})
        raise FileNotFoundError(
            f"no experiment {experiment!r} in params/; there are: {', '.join(known) or 'none yet'}"
        )
    chosen = [path for path in files if not stem or path.stem == stem]
    if not chosen:
        known = ", ".join(path.stem for path in files)
        raise FileNotFoundError(f"no {stem}.yaml in params/{experiment}/; there are: {known}")
    return chosen


def read_parameters(path: Path) -> dict:
    """The mapping a parameter file holds ({} for comments alone); ValueError where it is no mapping
    or no YAML.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if not isinstance(values, dict | None):
        raise ValueError(f"{where} holds a {type(values).__name__}; lines `name: value` are wanted")
    return values or {}


def parse_overrides(settings: list[str]) -> dict:
    """{"epochs": 2} from ["epochs=2"]; the values are read as YAML."""
    overrides = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"--set {text!r}: write --set name=value")
        try:
            overrides[name] = yaml.load(value, Loader=_StrictLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {text!r}: {value!r} is no YAML value; quote it") from error
    return overrides


def check_file(path: Path, *, root: Path, overrides: dict | None = None) -> dict:
    """Every parameter its notebook will be given for a YAML file, `experiment` and `run` filled in,
    all checked.
    """
    return _job(path, root=root, overrides=overrides or {}).parameters


def _job(path: Path, *, root: Path, overrides: dict) -> Job:
    """The checked job of one parameter file; errors name the file."""
    notebook = root / "notebooks" / f"{path.stem.partition('--')[0]}.ipynb"
    by_place = {"experiment": path.parent.name, "run": path.stem}
    try:
        values = read_parameters(path)
        for key in by_place.keys() & values.keys():
            if values[key] != by_place[key]:
                raise ValueError(
                    f"{key} is {values[key]!r}, but the file's place makes it {by_place[key]!r}: "
                    f"leave it out"
                )
        if "run" in overrides:
            raise ValueError(
                "run follows from the file's name and cannot be set; copy the file instead"
            )
        declared = declared_parameters(notebook)
        replaced = {name: value for name, value in overrides.items() if name in declared}
        parameters = check_parameters(notebook, by_place | values | replaced)
        defaults = {name: parameter.default for name, parameter in declared.items()}
        of_file = defaults | check_parameters(notebook, by_place | values)
        if replaced:  # makes another run than that of the file
            parameters["run"] = runs.name_of(path.stem, of_file | parameters, defaults=of_file)
        _check_values(of_file | parameters, notebook, root=root)
    except (KeyError, ValueError, FileNotFoundError) as error:
        where = f"params/{path.parent.name}/{path.name}"
        raise type(error)(f"{where}: {error.args[0]}") from error
    return Job(path, parameters["experiment"], parameters["run"], notebook, parameters)


def _check_values(values: dict, notebook: Path, *, root: Path) -> None:
    """Refuses values, of the right names and types, with which the notebook cannot run."""
    check_choices(values, notebook_stem=notebook.stem, root=root)
    if "options" not in values:
        return
    for variant, parameters in trainings(values).items():
        try:
            Recipe.from_parameters(parameters)
        except (KeyError, ValueError) as error:
            where = f"variants: {variant}: " if variant else ""
            raise type(error)(f"{where}{error.args[0]}") from None


def check_what_is_read(jobs: list[Job], *, root: Path) -> None:
    """Errors for what a job is to read and neither is there nor is made by an earlier job, and for
    more processes than this machine has; as `check_runs` and `check_data`.
    """
    check_runs(jobs, root=root)
    check_data(jobs, root=root)
    for job in jobs:
        if job.parameters.get("processes", 1) != 1:
            sweep.processes_allowed(job.parameters["processes"])


def check_runs(jobs: list[Job], *, root: Path) -> None:
    """FileNotFoundError for a run that a job is to read, if neither data/runs nor an earlier job
    has it.
    """
    planned: list[str] = []
    for job in jobs:
        for parameter, run in named_runs(job.parameters):
            # a variant's run lies in its notebook's: demo-full/04_ablations/full-seed0
            made = any(f"{run}/".startswith(f"{name}/") for name in planned)
            if made or (root / "data/runs" / run / "params.json").is_file():
                continue
            known = sorted({*runs.all_runs(), *planned})
            hint = nearest(run, known) or "."
            raise FileNotFoundError(
                f"params/{job.file.parent.name}/{job.file.name}: {parameter}: there is no run "
                f"{run!r}, nor is one made before{hint} There are {', '.join(known) or 'none yet'}"
            )
        planned.append(job.name)


def check_data(jobs: list[Job], *, root: Path) -> None:
    """FileNotFoundError for a table or split that a job is to read, if neither data/ nor notebook
    01 in an earlier job has it.
    """
    made: dict[str, set[str]] = {}  # schemes by data set
    for job in jobs:
        declared = declared_parameters(job.notebook)
        values = {name: each.default for name, each in declared.items()} | job.parameters
        if "schemes" in values:
            made.setdefault(values["data_set"], set()).update(values["schemes"])
        if "split" not in values:
            continue
        where = f"params/{job.file.parent.name}/{job.file.name}"
        further = [*values.get("monitor", []), *values.get("transfer", [])]
        others = [name.partition(":")[0] for name in further if "/" not in name]
        for name in [values["data_set"], *others]:
            if name not in made and not (root / f"data/tables/{name}.csv").is_file():
                raise FileNotFoundError(
                    f"{where}: data/tables/{name}.csv is not there; make it first, by notebook "
                    f"01_prepare_data with data_set {name}"
                )
        split, schemes = values["split"], made.get(values["data_set"], set())
        if (root / f"data/splits/{split}.csv").is_file():
            continue
        if split.removeprefix(f"{values['data_set']}-") not in schemes:
            known = ", ".join(sorted(schemes)) or "none"
            raise FileNotFoundError(
                f"{where}: data/splits/{split}.csv is not there, and not among the schemes that "
                f"notebook 01 makes before this: {known}"
            )
