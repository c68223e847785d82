"""Runs notebooks headless, strictly: `params/<experiment>/<notebook stem>[--variant].yaml` says
which and with what.

All parameter files of a target are checked before the first notebook starts. The executed notebook
is kept in the run's folder, also when a cell fails. An experiment is a folder; its files run in the
order of their names. Those whose notebooks have the same number do not depend on each other: they
may run at once, and one that fails does not stop the others.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import yaml

from iqa_core import runs
from iqa_core.apps import kernel, planning, sweep
from iqa_core.apps.kernel import NotebookFailed
from iqa_core.apps.planning import Job
from iqa_core.runs import folders
from iqa_core.runs import resume as resuming


class Took(NamedTuple):
    """What one job took; `state` is "done" or "skipped"."""

    job: Job
    state: str
    seconds: float
    cpu_seconds: float


def execute(
    target: str,
    *,
    resume: bool = False,
    at_once: int = 1,
    shard: str = "",
    timeout_s: float | None = None,
    overrides: dict | None = None,
    edited: bool = False,
) -> list[Took]:
    """Runs the notebooks of a target, in order, and prints what each took.

    Args:
        target: an experiment ("demo"), or one of its files ("demo/02_train_baseline").
        resume: leave out what would come out the same.
        at_once: how many runs of notebooks with the same number go side by side.
        shard: "i/n", this machine's part of the runs (see `sweep.shard`); "" for all.
        timeout_s: the longest time of one cell, at least a second; None without limit.
        overrides: name -> another value, for every notebook that declares the parameter.
        edited: run notebooks also where they are not as they were committed.

    Returns:
        What each run took.

    Raises:
        FileNotFoundError, KeyError, ValueError: for what was asked wrongly, before anything runs.
        NotebookFailed: when cells failed, after all runs with the same notebook number.
    """
    root = runs.project_root()
    kernel.check_timeout(timeout_s)
    overrides = dict(overrides or {})
    jobs = planning.plan(target, root=root, overrides=overrides)
    planning.check_what_is_read(jobs, root=root)
    planning.check_committed(jobs, edited=edited)
    by_notebook = groupby(jobs, key=lambda job: resuming.number(job.notebook.stem))
    groups = [list(group) for _, group in by_notebook]
    mine, left = sweep.shard(groups, shard) if shard else (groups, [])
    sweep.environments(at_once)  # refuses a wrong number before anything runs
    kernel.prepare_environment(root)
    if shard:
        _print_shard(shard, mine[-1], of=groups[len(mine) - 1])
    begun = time.perf_counter()
    took: list[Took] = []
    failed: list[NotebookFailed] = []
    try:
        for place, group in enumerate(mine):
            # what all machines need may be there already, where they share a disk
            skip = resume or bool(shard and group is not mine[-1])
            titles = _titles(mine, place)
            kwargs = dict(resume=skip, timeout_s=timeout_s)
            if at_once > 1 and len(group) > 1:
                commands = [_command(job, **kwargs, overrides=overrides) for job in group]
                outcomes = _side_by_side(group, titles, commands, at_once=min(at_once, len(group)))
            else:
                outcomes = _one_by_one(group, titles, root=root, **kwargs)
            with closing(outcomes):
                for outcome in outcomes:
                    (took if isinstance(outcome, Took) else failed).append(outcome)
                    if isinstance(outcome, NotebookFailed) and len(group) > 1:
                        print(str(outcome).partition("\n")[0], flush=True)
            # later notebooks may read what this one should have written
            if failed:
                raise _all_failed(failed, later=mine[place + 1 :])
    finally:
        runs.write_index()  # data/runs may hold what another machine ran
        _print_times(took, time.perf_counter() - begun)
    if left:
        print(
            f"left for a call without --shard, once data/runs holds what all shards ran: "
            f"{_names(left)}"
        )
    return took


def _print_shard(shard: str, group: list[Job], *, of: list[Job]) -> None:
    which = f"{len(group)} of the {len(of)} runs of {of[0].notebook.stem}"
    print(f"shard {shard}: {which}", flush=True)


def execute_child(
    target: str, *, resume: bool, timeout_s: float | None, overrides: dict | None
) -> None:
    """What a process that `execute` started does: the run of one file, as `execute` would. What
    became of it is the last line that it prints, for `_outcome`.
    """
    root = runs.project_root()
    (job,) = planning.plan(target, root=root, overrides=overrides)
    kernel.prepare_environment(root)
    try:
        took = _run_or_skip(job, root=root, resume=resume, timeout_s=timeout_s)
        outcome = {key: value for key, value in took._asdict().items() if key != "job"}
    except NotebookFailed as error:
        outcome = {"failed": str(error)}
    print(f"{sweep.OUTCOME}{json.dumps(outcome)}", flush=True)


def _all_failed(failed: list[NotebookFailed], *, later: list[list[Job]]) -> NotebookFailed:
    """What failed in one group, and what was not started for it, in one error."""
    lines = [str(failure) for failure in failed]
    if later:
        lines.append(f"not started: {_names(later)}")
    return NotebookFailed("\n".join(lines))


def _names(groups: list[list[Job]]) -> str:
    return ", ".join(job.name for group in groups for job in group)


def _titles(groups: list[list[Job]], place: int) -> list[str]:
    """ "[2/5] demo/02_train_baseline" for each job of one group, of all that are run."""
    total = sum(map(len, groups))
    first = 1 + sum(map(len, groups[:place]))
    return [f"[{k}/{total}] {job.name}" for k, job in enumerate(groups[place], start=first)]


def _one_by_one(
    group: list[Job], titles: list[str], *, root: Path, resume: bool, timeout_s: float | None
) -> Iterator[Took | NotebookFailed]:
    """What became of independent jobs that run in this process, one after the other."""
    for job, title in zip(group, titles, strict=True):
        print(title, flush=True)
        try:
            yield _run_or_skip(job, root=root, resume=resume, timeout_s=timeout_s)
        except NotebookFailed as failure:
            yield failure


def _side_by_side(
    group: list[Job], titles: list[str], commands: list[list[str]], *, at_once: int
) -> Iterator[Took | NotebookFailed]:
    """What became of independent jobs that run in processes of their own, as they end; what one
    prints stands behind the name of its job.
    """
    names = [job.run.partition("--")[2] or job.run for job in group]
    if len({*names}) < len(names):
        names = [job.run for job in group]
    calls = [
        sweep.Call(title, f"{name} | ", command)
        for title, name, command in zip(titles, names, commands, strict=True)
    ]
    jobs = dict(zip(titles, group, strict=True))
    for call, ended in sweep.side_by_side(calls, at_once=at_once):
        yield _outcome(jobs[call.title], ended)


def _command(job: Job, *, resume: bool, timeout_s: float | None, overrides: dict) -> list[str]:
    """The command line that runs one job as `execute_child` does."""
    target = f"{job.file.parent.name}/{job.file.stem}"
    command = [sys.executable, "-m", "iqa_core", "run", target, "--child"]
    if resume:
        command.append("--resume")
    if timeout_s is not None:
        command.append(f"--timeout={timeout_s / 3600!r}")
    for name in overrides.keys() & job.parameters.keys():  # those that its notebook declares
        value = yaml.safe_dump(overrides[name], default_flow_style=True, width=float("inf"))
        command.append(f"--set={name}={value}")
    return command


def _outcome(job: Job, ended: sweep.Ended) -> Took | NotebookFailed:
    """What became of a job, as its process told in `execute_child`."""
    if not ended.outcome:
        return NotebookFailed(f"{job.name}: its process ended with exit code {ended.exit_code}")
    outcome = json.loads(ended.outcome)
    return NotebookFailed(outcome["failed"]) if "failed" in outcome else Took(job, **outcome)


def _run_or_skip(job: Job, *, root: Path, resume: bool, timeout_s: float | None) -> Took:
    folder = root / "data/runs" / job.experiment / job.run
    with folders.alone(job.name, lead=sweep.INDENT):
        folders.settle(folder)
        if resume:
            why = resuming.why_again(job.notebook, job.parameters, folder=folder, root=root)
            if not why:
                date = runs.read_json(folder / "params.json")["date"]
                print(
                    f"{sweep.INDENT}skipped: finished {date}, same parameters, notebook, code and "
                    f"files",
                    flush=True,
                )
                return Took(job, "skipped", 0.0, 0.0)
            print(f"{sweep.INDENT}runs: {why}", flush=True)
        wall, cpu, before = time.perf_counter(), _children_cpu(), _finished(folder)
        kernel.run_notebook(job, root=root, timeout_s=timeout_s)
        if _finished(folder) in (None, before):
            raise NotebookFailed(
                f"{job.notebook.name} ended without run.finish(...), so {job.name} is no result"
            )
        kernel.failed_notebook(folder).replace(folder / f"{job.run}.ipynb")
        return Took(job, "done", time.perf_counter() - wall, _children_cpu() - cpu)


def _finished(folder: Path) -> int | None:
    """When a run's `_SUCCESS` was written, nanoseconds; None without one."""
    return (folder / "_SUCCESS").stat().st_mtime_ns if (folder / "_SUCCESS").is_file() else None


def _children_cpu() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _print_times(took: list[Took], elapsed: float) -> None:
    """One line a notebook, one for all: wall and CPU seconds; then the load of the machine: times
    hold for an idle one.
    """
    if not took:
        return
    width = max(len(entry.job.run) for entry in took)
    for job, state, seconds, cpu_seconds in took:
        print(f"{job.run:{width}}  {state:7}  {seconds:7.1f} s  {cpu_seconds:8.1f} CPU s")
    cpu = sum(entry.cpu_seconds for entry in took)
    print(f"{'all':{width}}  {'':7}  {elapsed:7.1f} s  {cpu:8.1f} CPU s")
    if hasattr(os, "getloadavg"):
        one, five, fifteen = os.getloadavg()
        print(
            f"load average {one:.1f} {five:.1f} {fifteen:.1f} (1, 5, 15 minutes) on "
            f"{os.cpu_count()} cores",
            flush=True,
        )
