"""The verbs `data ...`."""

from pathlib import Path
from typing import Annotated

import typer

from iqa_core.apps.printing import MISTAKES, print_table, table_of, verbs_below

group = verbs_below(
    "Data sets: what there is, fetch it, check it, make distorted images of your own."
)


@group.command("list")
def list_data() -> None:
    """The sets that are known, and whether their label files are here."""
    from rich.markup import escape

    from iqa_core.datasets import describe, list_datasets
    from iqa_core.files import project_root

    root = project_root()
    table = table_of("name", "what it is", "images", "label", "here", right=("images",))
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
    print_table(table)
    print(
        "A folder data/raw/NAME with images and labels.csv or set.yaml is a set as well. Sets lie "
        "in data/raw, or are linked."
    )


@group.command("get")
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


@group.command("check")
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
        choice = ", which notebook 01 leaves out by `--set without_absent=true`"
        print(f"{problem}: {len(rows)}{choice if problem == 'missing' else ''}")
        for row in rows.head(most).itertuples():
            print(f"  {row.image} {row.detail}".rstrip())
    if len(problems):
        raise typer.Exit(1)
    print(f"{name}: nothing is wrong")


@group.command("distort")
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
    print(
        f"{len(table)} images listed in {out / 'images.csv'}; with a column label, as labels.csv "
        "in data/raw/<name>, they are a set"
    )
    if refused:
        raise typer.Exit(1)
