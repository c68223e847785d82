"""The command line. A verb is one function here; what it does is in the module it calls, imported when it is called."""

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="iqa_core",
    help="The verbs of the IQA workbook.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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
