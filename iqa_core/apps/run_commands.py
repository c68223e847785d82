"""The verbs `runs ...`."""

from typing import Annotated

import typer

from iqa_core.apps.printing import print_table, table_of, verbs_below

group = verbs_below("Runs: what there is, what one holds, what tells two apart; throw one away.")


@group.command("list")
def list_runs() -> None:
    """All runs, finished or not, and the trainings that are kept."""
    from iqa_core.runs import folders, manage

    titles = ("run", "state", "method", "split", "headline", "date", "MB")
    table = table_of(*titles, right=("MB",))
    for row in manage.rows():
        words = [row[title] for title in titles[:-1]]
        table.add_row(*words, f"{row['bytes'] / 1e6:.0f}")
    print_table(table)
    unused = manage.unused_trainings()
    kept = manage.size_of(folders.home() / ".trainings") / 1e6
    spare = sum(map(manage.size_of, unused)) / 1e6
    print(
        f"Kept trainings take {kept:.0f} MB; {len(unused)} finished ones, {spare:.0f} MB, belong "
        f"to no run: `runs remove --unused-trainings`."
    )


@group.command("show")
def show_run(name: Annotated[str, typer.Argument(help="<experiment>/<run>")]) -> None:
    """How a run was made, what it read, whether it is stale, and what came out."""
    from iqa_core.runs import manage

    print(*manage.described(name), sep="\n")


@group.command("diff")
def compare_runs(
    one: Annotated[str, typer.Argument(help="<experiment>/<run>")],
    other: Annotated[str, typer.Argument(help="<experiment>/<run>")],
) -> None:
    """Parameters, data, code, versions and results in which two finished runs differ."""
    from rich.markup import escape

    from iqa_core.runs import manage

    table = table_of("what", one, other)
    for row in manage.differences(one, other):
        table.add_row(*map(escape, row))
    print_table(table)


@group.command("remove")
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
