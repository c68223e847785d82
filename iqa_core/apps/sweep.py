"""Many independent runs: side by side in processes of their own on this machine, or shared out over
several machines.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
INDENT = "    "  # before each line that a notebook prints
OUTCOME = "outcome: "  # begins the line by which a process tells its caller what became of it
PATIENCE = (
    20.0  # seconds in which a process that is to end shuts its kernel down; then it is killed
)


class Call(NamedTuple):
    """A command to run: what is printed as it starts, what stands before each line that it prints,
    and its words.
    """

    title: str
    lead: str
    command: list[str]


class Ended(NamedTuple):
    """How a command ended: its exit code (-9: killed), and what it said behind `OUTCOME`, or ""."""

    exit_code: int
    outcome: str


class _Running(NamedTuple):
    call: Call
    process: subprocess.Popen
    environment: dict[str, str]
    printer: threading.Thread


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def threads_allowed() -> int:
    """Threads that this process may use: what OMP_NUM_THREADS says, else one for each core."""
    text = os.environ.get(THREADS[0], "")
    return int(text) if text.isdecimal() else cores()


def environments(at_once: int) -> list[dict[str, str]]:
    """What each of `at_once` processes finds in its environment: threads, so that processes x
    threads <= cores, and its GPU.

    ValueError for fewer than one, or for more than there are cores (or GPUs, if these are more).
    """
    devices = gpus() if at_once > 1 else []
    most = max(cores(), len(devices))
    if not 1 <= at_once <= most:
        raise ValueError(
            f"--jobs {at_once}: 1 to {most} runs at once are allowed, for {cores()} cores and "
            f"{len(devices)} GPUs"
        )
    threads = min(max(1, cores() // at_once), threads_allowed())
    result = []
    for place in range(at_once):
        environment = dict.fromkeys(THREADS, str(threads))
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[place % len(devices)]
        result.append(environment)
    return result


def processes_allowed(processes: int | None) -> int:
    """The number of processes: as many as GPUs, or 1, for None; ValueError for more than GPUs, or
    more than cores where there is none.
    """
    import torch

    count = torch.cuda.device_count()
    number = (count or 1) if processes is None else processes
    if not 1 <= number <= (count or cores()):
        raise ValueError(
            f"processes is {number}; 1 to {count or cores()} are allowed here, for {cores()} "
            f"cores and {count} GPUs"
        )
    return number


def gpus() -> list[str]:
    """Names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES wants them."""
    import torch

    count = torch.cuda.device_count()
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return names.split(",")[:count]


def shard(groups: list[list], text: str) -> tuple[list[list], list[list]]:
    """What a machine runs of `groups` (the runs of one notebook each) by `text`, "i/n", and what is
    left to a later call.

    Groups before the first with several runs prepare what every machine needs, so they stay whole.
    Of that one, which comes last, run k (from 0) is machine k mod n + 1's. Later groups need all of
    its runs: they are left. ValueError for another text than "i/n" with 1 <= i <= n, or where no
    group has several runs.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, machines = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= machines:
        raise ValueError(
            f"--shard {text!r}: write i/n with 1 <= i <= n, as 2/3 for the second of three machines"
        )
    several = [place for place, group in enumerate(groups) if len(group) > 1]
    if not several:
        raise ValueError(
            f"--shard {text}: no notebook has several parameter files here, so there is nothing to "
            f"share out"
        )
    first = several[0]
    return [*groups[:first], groups[first][number - 1 :: machines]], groups[first + 1 :]


def side_by_side(calls: list[Call], *, at_once: int) -> Iterator[tuple[Call, Ended]]:
    """Runs commands, `at_once` of them at any time; each call and how it ended, as they end.

    Each process has one of the `environments`. What it prints, errors too, is printed here, line by
    line. A command must call `end_with_stdin`: it then ends with this process, however that ends,
    and when this generator is closed or left by an exception.
    """
    free = environments(at_once)
    waiting = list(reversed(calls))
    running: dict[int, _Running] = {}  # by process id
    ended = queue.SimpleQueue()  # (process id, outcome), by the threads that read what is printed
    try:
        while waiting or running:
            while waiting and free:
                started = _start(waiting.pop(), free.pop(0), ended)
                running[started.process.pid] = started
            number, outcome = ended.get()
            call, process, environment, _ = running.pop(number)
            exit_code = process.wait()
            process.stdin.close()
            free.append(environment)
            yield call, Ended(exit_code, outcome)
    finally:
        _stop(list(running.values()))


def _start(call: Call, environment: dict[str, str], ended: queue.SimpleQueue) -> _Running:
    print(call.title, flush=True)
    process = subprocess.Popen(
        call.command,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # a Ctrl-C in the terminal reaches this process alone, which then stops the others
        start_new_session=True,
    )
    printer = threading.Thread(target=_print_lines, args=(call, process, ended), daemon=True)
    printer.start()
    return _Running(call, process, environment, printer)


def _print_lines(call: Call, process: subprocess.Popen, ended: queue.SimpleQueue) -> None:
    """Prints the lines of a process as they come, but for its outcome, which is its caller's."""
    outcome = ""
    with process.stdout:
        for line in process.stdout:
            line = line.rstrip("\n")
            if line.startswith(OUTCOME):
                outcome = line.removeprefix(OUTCOME)
            else:
                # Whole at once: print would let another run's line in before the line's end.
                sys.stdout.write(f"{call.lead}{line.removeprefix(INDENT)}\n")
                sys.stdout.flush()
    ended.put((process.pid, outcome))


def _stop(running: list[_Running]) -> None:
    """Ends processes by closing what they read, all at once; kills those that do not end."""
    for _, process, _, _ in running:
        process.stdin.close()
    for _, process, _, printer in running:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()  # its kernel ends itself within a second
        printer.join(1)


def end_with_stdin(kind: signal.Signals = signal.SIGTERM) -> None:
    """From now on this process gets the signal `kind` once the process at the other end of its
    standard input is dead or has closed it.

    SIGINT, which is a KeyboardInterrupt in Python, leaves time to end well.
    """
    if kind == signal.SIGINT:  # which processes in the background of a shell ignore
        signal.signal(kind, signal.default_int_handler)
    threading.Thread(target=_signal_at_the_end, args=(kind,), daemon=True).start()


def _signal_at_the_end(kind: signal.Signals) -> None:
    os.read(0, 1)  # nothing is ever written, so this returns at the end
    os.kill(os.getpid(), kind)
