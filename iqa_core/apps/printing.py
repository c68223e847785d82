"""What the files of the command line share: groups of verbs, tables to print, and which errors are
the user's.
"""

from typing import Annotated

import typer

# the user's mistakes: a message and exit code 2, no traceback
MISTAKES = (ValueError, KeyError, FileNotFoundError)
# options that several verbs take, as `scorers.open_scorer` does
Task = Annotated[str, typer.Option(help="Of weights for machines: cls, det or ins.")]
MetricType = Annotated[
    str, typer.Option(help="Of weights for machines: composite, consistency or accuracy.")
]
Scale = Annotated[
    str, typer.Option(help="predicted, the number to cite; or fitted, where a run has it.")
]


def verbs_below(help_text: str, **groups: typer.Typer) -> typer.Typer:
    """An app without verbs as yet; each group is an app below it."""
    result = typer.Typer(
        help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    for name, group in groups.items():
        result.add_typer(group, name=name)
    return result


def table_of(*titles: str, right: tuple[str, ...] = ()):
    """A table to print, without rows as yet."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    for title in titles:
        justify = "right" if title in right else "left"
        # names are copied, so they stay whole
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title == "run")
    return table


def print_table(table) -> None:
    from rich.console import Console

    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)
