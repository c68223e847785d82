"""The command line. A verb is one function here; what it does is in the module it calls, imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def _verbs(help_text: str, **groups: typer.Typer) -> typer.Typer:
    """An app without verbs as yet; each group is an app below it."""
    made = typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    for name, group in groups.items():
        made.add_typer(group, name=name)
    return made


weights = _verbs("Published weights: what there is, fetch it, make models of it.")
app = _verbs("The verbs of the IQA workbook.", weights=weights)
GIVEN_WRONG = (ValueError, KeyError, FileNotFoundError)  # the user's mistakes: a message and exit code 2, no traceback


@app.callback()
def verbs() -> None:
    """The verbs of the IQA workbook. Notebooks are recipes, params/ the experiments, data/runs/ the results."""


@app.command()
def run(
    target: Annotated[str, typer.Argument(help="An experiment (demo) or one of its files (demo/02_train_baseline).")],
    resume: Annotated[bool, typer.Option("--resume", help="Skip what finished with the same parameters.")] = False,
    timeout: Annotated[float, typer.Option(help="Longest time for one cell, in hours.")] = 24.0,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value for a parameter, read as YAML; repeatable."),
    ] = None,
) -> None:
    """Run the notebooks of an experiment, headless and in order."""
    from iqa_core.apps import execute

    execute.execute(target, resume=resume, timeout_s=timeout * 3600, overrides=execute.parse_overrides(given or []))


@weights.command("list")
def list_weights(
    model: Annotated[str | None, typer.Option(help="Only those of this model, and what it starts from.")] = None,
) -> None:
    """Everything that can be loaded: published models, then what models start from."""
    import difflib
    import re

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from iqa_core.download import page
    from iqa_core.models import list_models, published

    rows = sorted(published.rows(), key=lambda row: (not row.model, row.model))
    if model is not None:
        word = re.compile(rf"\b{re.escape(model)}\b", re.IGNORECASE)
        rows = [row for row in rows if model.lower() in (row.model, row.name.lower()) or word.search(row.needed_by)]
        if not rows:
            names = difflib.get_close_matches(model, list_models(), n=1) or list_models()
            raise KeyError(f"no weights are known for a model {model!r}; did you mean {', '.join(names)}?")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    for title in ("name", "model", "trained on", "label", "scores", "MB", "licence", "here"):
        table.add_column(title, justify="right" if title in ("scores", "MB") else "left", overflow="fold")
    for row in rows:
        scores = f"{row.low:g}-{row.high:g}" if row.high is not None else ""
        converted = row.model and (published.folder() / row.name / "model.json").is_file()
        here = "converted" if converted else "auto" if not row.file else "yes" if row.path.is_file() else "no"
        short = row.licence.partition(";")[0]
        label = f"{row.task} {row.label}".strip()
        table.add_row(row.name, row.model, row.trained_on, label, scores, str(row.megabytes), short, here)
    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)
    print("MB: about. here auto: timm or torchvision fetches it on first use. --model NAME tells addresses and notes as well.")
    for row in rows if model else ():
        print(f"\n{row.name}: {page(row.address) or 'not published'}\n  licence: {row.licence}")
        print(*[f"  note: {row.note}"] if row.note else [], sep="\n", end="\n" if row.note else "")


@weights.command("get")
def get_weights(name: Annotated[str, typer.Argument(help="A name that `weights list` shows.")]) -> None:
    """Fetch a published file into data/raw/weights; an interrupted download goes on where it stopped."""
    from iqa_core.download import download
    from iqa_core.models import published

    row = published.row(name)
    if not row.file:
        library, _, key = row.address.partition(":")
        cache = {
            "timm": "$HF_HOME/hub (~/.cache/huggingface/hub)",
            "torchvision": "$TORCH_HOME/hub/checkpoints (~/.cache/torch/hub/checkpoints)",
        }
        print(f"{name}: {library} fetches {key} by itself on first use and keeps it in {cache[library]}. Nothing to do.")
        return
    if not row.address:
        raise ValueError(f"{name} cannot be fetched: {row.note}")
    there = row.path.is_file() and row.path.stat().st_size > 0
    digest = download(row.address, row.path, sha256=row.sha256 or None)
    print(f"{name}: {'was here already' if there else 'fetched'}, {row.path}")
    print(f"sha256: {digest}, {'as expected' if row.sha256 else 'recorded; none is known to compare it with'}")
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
        Path | None, typer.Argument(help="A checkpoint: .pkl .pth .pt .pth.tar .npz .safetensors; else what `get` fetched.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An argument of the model, read as YAML; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; data/raw/weights/NAME if not given.")] = None,
) -> None:
    """Make a model folder of a published checkpoint. Nothing in the file is executed, and it is left as it is."""
    from iqa_core.apps.execute import parse_overrides
    from iqa_core.models import published
    from iqa_core.models.weights import convert

    if file is None and published.row(model).model:  # what models start from is refused below
        file = published.local_file(model)
    folder = convert(file or Path(model), model, out=out, **parse_overrides(given or []))
    name = folder.name if folder.parent == published.folder() else str(folder)
    print(f"{folder}: model.safetensors and model.json; runs.load_model({name!r}) loads it")


def main() -> None:
    """Runs the verb on the command line; the user's mistakes end with a message and exit code 2, a failed notebook with 1."""
    from iqa_core.apps.execute import NotebookFailed

    try:
        app()
    except GIVEN_WRONG as error:
        sys.exit(_tell(error.args[0] if isinstance(error, KeyError) else error, code=2))
    except NotebookFailed as error:
        sys.exit(_tell(error, code=1))


def _tell(message: object, *, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code
