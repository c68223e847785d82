"""The command line. A verb is one function here; what it does is in the module it calls, imported
when it is called.
"""

import signal
import sys
import warnings
from typing import Annotated

import typer

from iqa_core.apps import (
    data_commands,
    label_commands,
    run_commands,
    score_commands,
    video_commands,
    weight_commands,
)
from iqa_core.apps.printing import MISTAKES, verbs_below

app = verbs_below(
    "The verbs of the IQA workbook.",
    weights=weight_commands.group,
    data=data_commands.group,
    runs=run_commands.group,
    labels=label_commands.group,
    video=video_commands.group,
)


score = app.command("score")(score_commands.score_command)
scale = app.command("scale")(score_commands.scale_command)


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
    from iqa_core.apps import execute, planning, sweep

    kwargs = dict(
        resume=resume,
        timeout_s=None if timeout is None else timeout * 3600,
        overrides=planning.parse_overrides(settings or []),
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

    timeout_s = None if timeout is None else timeout * 3600
    run_distributed(target, settings or [], processes=processes, timeout_s=timeout_s, edited=edited)


@app.command()
def paper(
    experiment: Annotated[
        str, typer.Argument(help="Whose figures, tables and runs it holds.")
    ] = "demo",
) -> None:
    """Build figures/EXPERIMENT-paper.pdf: every figure and table, with how each run was made."""
    from iqa_core.apps.paper import make_paper

    make_paper(experiment)


def main() -> None:
    """Runs the verb on the command line; the user's mistakes end with a message and exit code 2, a
    failed notebook with 1.
    """
    from iqa_core.apps.kernel import NotebookFailed

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
