"""The verbs `weights ...`."""

from pathlib import Path
from typing import Annotated

import typer

from iqa_core.apps.printing import print_table, table_of, verbs_below

group = verbs_below("Published weights: what there is, fetch it, make models of it.")


@group.command("list")
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
    table = table_of(*titles, right=("scores", "MB"))
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
    print_table(table)
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


@group.command("get")
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


@group.command("convert")
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
    entry: Annotated[
        str, typer.Option(help="Of a file with several, which to take: params_ema, model.ema.")
    ] = "",
    named: Annotated[
        int, typer.Option(help="How many entries of a kind a refusal names, where some do not fit.")
    ] = 5,
) -> None:
    """Make a model folder of a published checkpoint. Nothing in the file is executed, and it is
    left as it is.
    """
    from iqa_core.apps.planning import parse_overrides
    from iqa_core.models import published
    from iqa_core.models.weights import convert

    if file is None and published.row(model).model:  # what models start from is refused below
        file = published.local_file(model)
    kwargs = parse_overrides(settings or [])
    folder = convert(file or Path(model), model, out=out, named=named, entry=entry, **kwargs)
    name = folder.name if folder.parent == published.folder() else str(folder)
    print(f"{folder}: model.safetensors and model.json; runs.load_model({name!r}) loads it")
