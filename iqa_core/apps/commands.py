"""The command line. A verb is one function here; what it does is in the module it calls, imported
when it is called.
"""

import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer


def _verbs(help_text: str, **groups: typer.Typer) -> typer.Typer:
    """An app without verbs as yet; each group is an app below it."""
    result = typer.Typer(
        help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    for name, group in groups.items():
        result.add_typer(group, name=name)
    return result


weights = _verbs("Published weights: what there is, fetch it, make models of it.")
data = _verbs("Data sets: what there is, fetch it, check it, make distorted images of your own.")
runs = _verbs("Runs: what there is, what one holds, what tells two apart; throw one away.")
app = _verbs("The verbs of the IQA workbook.", weights=weights, data=data, runs=runs)
# the user's mistakes: a message and exit code 2, no traceback
MISTAKES = (ValueError, KeyError, FileNotFoundError)


@app.callback()
def verbs() -> None:
    """The verbs of the IQA workbook. Notebooks are recipes, params/ the experiments, data/runs/ the
    results.
    """


@app.command()
def run(
    target: Annotated[
        str,
        typer.Argument(help="An experiment (demo) or one of its files (demo/02_train_baseline)."),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what would come out the same.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(help="Runs of one notebook that go side by side, at most as many as cores."),
    ] = 1,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Only part I of N of the first notebook with several files: one machine's.",
        ),
    ] = "",
    timeout: Annotated[
        float | None, typer.Option(help="Longest time for one cell, in hours; without it any.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a parameter, read as YAML; repeatable.",
        ),
    ] = None,
    edited: Annotated[
        bool,
        typer.Option("--edited", help="Run notebooks that are not as they were committed."),
    ] = False,
    child: Annotated[
        bool,
        typer.Option("--child", hidden=True, help="For the processes that `run --jobs` starts."),
    ] = False,
) -> None:
    """Run the notebooks of an experiment, headless and in order."""
    from iqa_core.apps import execute, sweep

    kwargs = dict(
        resume=resume,
        timeout_s=timeout and timeout * 3600,
        overrides=execute.parse_overrides(settings or []),
    )
    if child:
        sweep.end_with_stdin(signal.SIGINT)
        execute.execute_child(target, **kwargs)
    else:
        execute.execute(target, at_once=jobs, shard=shard, edited=edited, **kwargs)


@app.command()
def train(
    target: Annotated[str, typer.Argument(help="One parameter file (demo/02_train_baseline).")],
    processes: Annotated[
        int | None, typer.Option(help="How many train together; the number of GPUs if not given.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Longest time for one cell, in hours; outside torchrun.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a parameter, read as YAML; repeatable.",
        ),
    ] = None,
    edited: Annotated[
        bool,
        typer.Option("--edited", help="Run a notebook that is not as it was committed."),
    ] = False,
) -> None:
    """Run a notebook, its training by several processes. Inside torchrun: what this process does of
    it, up to the checkpoint.
    """
    from iqa_core.apps.distributed import run_distributed

    timeout_s = timeout and timeout * 3600
    run_distributed(target, settings or [], processes=processes, timeout_s=timeout_s, edited=edited)


def _table(*titles: str, right: tuple[str, ...] = ()):
    """A table to print, without rows as yet."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    for title in titles:
        justify = "right" if title in right else "left"
        # names are copied, so they stay whole
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title == "run")
    return table


def _print(table) -> None:
    from rich.console import Console

    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)


@weights.command("list")
def list_weights(
    model: Annotated[
        str | None, typer.Option(help="Only those of this model, and what it starts from.")
    ] = None,
) -> None:
    """Everything that can be loaded: published models, then what models start from."""
    import re

    from iqa_core.download import page
    from iqa_core.hints import nearest
    from iqa_core.models import list_models, published

    rows = sorted(published.rows(), key=lambda row: (not row.model, row.model))
    if model is not None:
        word = re.compile(rf"\b{re.escape(model)}\b", re.IGNORECASE)
        wanted = model.lower()
        rows = [
            row
            for row in rows
            if wanted in (row.model, row.name.lower()) or word.search(row.needed_by)
        ]
        if not rows:
            hint = nearest(model, list_models()) or f"; models are {', '.join(list_models())}"
            raise KeyError(f"no weights are known for a model {model!r}{hint}")
    titles = ("name", "model", "trained on", "label", "scores", "MB", "licence", "here")
    table = _table(*titles, right=("scores", "MB"))
    for row in rows:
        table.add_row(
            row.name,
            row.model,
            row.trained_on,
            f"{row.task} {row.label}".strip(),
            f"{row.low:g}-{row.high:g}" if row.high is not None else "",
            str(row.megabytes),
            row.licence.partition(";")[0],
            _where(row),
        )
    _print(table)
    print(
        "MB: about. here auto: timm or torchvision fetches it on first use. --model NAME tells "
        "addresses and notes as well."
    )
    if model is None:
        return
    for row in rows:
        print(f"\n{row.name}: {page(row.address) or 'not published'}\n  licence: {row.licence}")
        if row.note:
            print(f"  note: {row.note}")


def _where(row) -> str:
    """Whether published weights are here, in a word."""
    from iqa_core.models import published

    if row.model and (published.folder() / row.name / "model.json").is_file():
        return "converted"
    if not row.file:
        return "auto"
    return "yes" if row.path.is_file() else "no"


@weights.command("get")
def get_weights(
    name: Annotated[str, typer.Argument(help="A name that `weights list` shows.")],
) -> None:
    """Fetch a published file into data/raw/weights; an interrupted download goes on where it
    stopped.
    """
    from iqa_core.download import download
    from iqa_core.models import published

    row = published.row(name)
    if not row.file:
        library, _, key = row.address.partition(":")
        cache = {
            "timm": "$HF_HOME/hub (~/.cache/huggingface/hub)",
            "torchvision": "$TORCH_HOME/hub/checkpoints (~/.cache/torch/hub/checkpoints)",
        }
        print(
            f"{name}: {library} fetches {key} by itself on first use and keeps it in "
            f"{cache[library]}. Nothing to do."
        )
        return
    if not row.address:
        raise ValueError(f"{name} cannot be fetched: {row.note}")
    there = row.path.is_file() and row.path.stat().st_size > 0
    digest = download(row.address, row.path, sha256=row.sha256 or None)
    print(f"{name}: {'was here already' if there else 'fetched'}, {row.path}")
    compared = "as expected" if row.sha256 else "recorded; none is known to compare it with"
    print(f"sha256: {digest}, {compared}")
    print(f"licence: {row.licence}")
    if row.note:
        print(f"note: {row.note}")
    if row.model:
        print(f"next: python -m iqa_core weights convert --model {name}")
    else:
        print(f"used by: {row.needed_by}")


@weights.command("convert")
def convert_weights(
    model: Annotated[str, typer.Option(help="A name that `weights list` shows, or a model.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A checkpoint: .pkl .pth .pt .pth.tar .npz .safetensors; else what `get` fetched."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An argument of the model, read as YAML; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; data/raw/weights/NAME if not given.")
    ] = None,
) -> None:
    """Make a model folder of a published checkpoint. Nothing in the file is executed, and it is
    left as it is.
    """
    from iqa_core.apps.execute import parse_overrides
    from iqa_core.models import published
    from iqa_core.models.weights import convert

    if file is None and published.row(model).model:  # what models start from is refused below
        file = published.local_file(model)
    folder = convert(file or Path(model), model, out=out, **parse_overrides(settings or []))
    name = folder.name if folder.parent == published.folder() else str(folder)
    print(f"{folder}: model.safetensors and model.json; runs.load_model({name!r}) loads it")


@data.command("list")
def list_data() -> None:
    """The sets that are known, and whether their label files are here."""
    from rich.markup import escape

    from iqa_core.datasets import describe, list_datasets
    from iqa_core.files import project_root

    root = project_root()
    table = _table("name", "what it is", "images", "label", "here", right=("images",))
    for name in list_datasets(root=root):
        try:
            facts = describe(name, root=root)
        except MISTAKES as error:
            table.add_row(escape(name), escape(f"broken: {error.args[0]}"))
            continue
        scales = [
            f"{label['low']:g}-{label['high']:g} {label['units']}"
            for label in facts["labels"].values()
            if label["low"] is not None
        ]
        here = facts["module"] or (facts["folder"].is_dir() and not facts["absent"])
        table.add_row(
            escape(name),
            escape(facts["title"]),
            f"{facts['rows'] or ''}",
            "; ".join(scales),
            "yes" if here else "no",
        )
    _print(table)
    print(
        "A folder data/raw/NAME with images and labels.csv or set.yaml is a set as well. Sets lie "
        "in data/raw, or are linked."
    )


@data.command("get")
def get_data(name: Annotated[str, typer.Argument(help="A name that `data list` shows.")]) -> None:
    """Fetch a set into data/raw where its owners allow it, else tell how to; an interrupted
    download goes on.
    """
    from iqa_core.apps.raw_data import fetch
    from iqa_core.datasets import describe
    from iqa_core.files import project_root

    root = project_root()
    facts = describe(name, root=root)
    for key in ("title", "licence", "citation", "address", "note"):
        if facts[key]:
            print(f"{key}: {facts[key]}", flush=True)
    for sentence in fetch(name, root=root):
        print(sentence)
    facts = describe(name, root=root)
    if facts["absent"]:
        print(f"by hand: {facts['by_hand'] or 'see the address above'}")
        print(f"  to: {facts['folder']}\n  wanted: {', '.join(facts['absent'])}, and the images")
        raise typer.Exit(1)
    print(f"next: python -m iqa_core data check {name}")


@data.command("check")
def check_data(
    name: Annotated[
        str, typer.Argument(help="A name that `data list` shows, or a folder of data/raw.")
    ],
    most: Annotated[int, typer.Option(help="How many of each problem are named.")] = 5,
) -> None:
    """Missing, unreadable, unlisted and duplicate images, wrong labels; writes nothing. Exit code 1
    if there are any.
    """
    from iqa_core.apps.raw_data import check
    from iqa_core.files import project_root

    problems = check(name, root=project_root())
    for problem, rows in problems.groupby("problem", sort=False):
        print(f"{problem}: {len(rows)}")
        for row in rows.head(most).itertuples():
            print(f"  {row.image} {row.detail}".rstrip())
    if len(problems):
        raise typer.Exit(1)
    print(f"{name}: nothing is wrong")


@data.command("distort")
def distort_data(
    path: Annotated[Path, typer.Argument(help="A photograph, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="The folder to write, outside of PATH.")],
    names: Annotated[
        list[str] | None, typer.Option("--name", help="A distortion; repeatable; all if not given.")
    ] = None,
    levels: Annotated[
        list[float] | None, typer.Option("--level", help="1 to 5, fractions allowed; repeatable.")
    ] = None,
    background_levels: Annotated[
        list[float] | None,
        typer.Option(
            "--background-level", help="Level of the background around the subject; repeatable."
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of <photograph>.png, not 0 on the subject; else a guess."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of noise, angles and places.")] = 0,
) -> None:
    """Distorted images of your own photographs, KADID-10k's 25 types and MIQD-2.5M's 10, with a
    table of what was done.
    """
    from iqa_core.apps.distort_tree import write_tree
    from iqa_core.distortions import LEVELS

    table, refused = write_tree(
        path,
        out,
        names=names,
        levels=tuple(levels or LEVELS),
        background_levels=tuple(background_levels or ()),
        masks=masks,
        seed=seed,
    )
    print(f"{len(table)} images listed in {out / 'images.csv'}")
    if refused:
        raise typer.Exit(1)


@runs.command("list")
def list_runs() -> None:
    """All runs, finished or not, and the trainings that are kept."""
    from iqa_core.runs import folders, manage

    titles = ("run", "state", "method", "split", "headline", "date", "MB")
    table = _table(*titles, right=("MB",))
    for row in manage.rows():
        words = [row[title] for title in titles[:-1]]
        table.add_row(*words, f"{row['bytes'] / 1e6:.0f}")
    _print(table)
    unused = manage.unused_trainings()
    kept = manage.size_of(folders.home() / ".trainings") / 1e6
    spare = sum(map(manage.size_of, unused)) / 1e6
    print(
        f"Kept trainings take {kept:.0f} MB; {len(unused)} finished ones, {spare:.0f} MB, belong "
        f"to no run: `runs remove --unused-trainings`."
    )


@runs.command("show")
def show_run(name: Annotated[str, typer.Argument(help="<experiment>/<run>")]) -> None:
    """How a run was made, what it read, whether it is stale, and what came out."""
    from iqa_core.runs import manage

    print(*manage.described(name), sep="\n")


@runs.command("diff")
def compare_runs(
    one: Annotated[str, typer.Argument(help="<experiment>/<run>")],
    other: Annotated[str, typer.Argument(help="<experiment>/<run>")],
) -> None:
    """Parameters, data, code, versions and results in which two finished runs differ."""
    from rich.markup import escape

    from iqa_core.runs import manage

    table = _table("what", one, other)
    for row in manage.differences(one, other):
        table.add_row(*map(escape, row))
    _print(table)


@runs.command("remove")
def remove_run(
    name: Annotated[str, typer.Argument(help="<experiment>/<run>")] = "",
    unused: Annotated[
        bool,
        typer.Option("--unused-trainings", help="Finished trainings that no run has."),
    ] = False,
) -> None:
    """Throw a run away, with its training where no other run has it; refused where others read
    it.
    """
    from iqa_core.runs import manage

    if bool(name) == unused:
        raise ValueError("name one run, or say --unused-trainings")
    removed = manage.remove_unused_trainings() if unused else manage.remove(name)
    for folder in removed:
        print(f"removed {folder}")


def main() -> None:
    """Runs the verb on the command line; the user's mistakes end with a message and exit code 2, a
    failed notebook with 1.
    """
    from iqa_core.apps.execute import NotebookFailed

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        app()
    except MISTAKES as error:
        _exit(error.args[0] if isinstance(error, KeyError) else error, code=2)
    except NotebookFailed as error:
        _exit(error, code=1)


def _exit(message: object, *, code: int) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(code)
