"""Many independent runs: side by side in processes of their own on this machine, or shared out over
several machines.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = (
    20.0  # seconds in which a process that is told to stop shuts its kernel down; then it is killed
)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def environments(at_once: int) -> list[dict[str, str]]:
    """What each of `at_once` processes finds in its environment: threads, so that processes x
    threads <= cores, and its GPU.

    ValueError for fewer than one, or for more than there are cores (or GPUs, if these are more).
    """
    devices = _devices() if at_once > 1 else []
    most = max(cores(), len(devices))
    if not 1 <= at_once <= most:
        raise ValueError(
            f"--jobs {at_once}: 1 to {most} runs at once are allowed, for {cores()} cores and "
            f"{len(devices)} GPUs"
        )
    given = os.environ.get(THREADS[0], "")
    threads = min(max(1, cores() // at_once), int(given) if given.isdecimal() else cores())
    gpus = [
        {"CUDA_VISIBLE_DEVICES": devices[k % len(devices)]} if devices else {}
        for k in range(at_once)
    ]
    return [dict.fromkeys(THREADS, str(threads)) | gpu for gpu in gpus]


def _devices() -> list[str]:
    """Names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES wants them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return named.split(",")[:count]


def share(groups: list[list], shard: str) -> tuple[list[list], list[list]]:
    """What a machine runs of `groups` (the runs of one notebook each) by `shard` "i/n", and what is
    left to a later call.

    Groups before the first with several runs prepare what every machine needs, so they stay whole.
    Of that one, which comes last, run k (from 0) is machine k mod n + 1's. Later groups need all of
    its runs: they are left. ValueError for another text than "i/n" with 1 <= i <= n, or where no
    group has several runs."""
    told = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = map(int, told.groups()) if told else (0, 0)
    if not 1 <= part <= parts:
        raise ValueError(
            f"--shard {shard!r}: write i/n with 1 <= i <= n, as 2/3 for the second of three "
            f"machines"
        )
    many = next((k for k, group in enumerate(groups) if len(group) > 1), None)
    if many is None:
        raise ValueError(
            f"--shard {shard}: no notebook has several parameter files here, so there is nothing "
            f"to share out"
        )
    return [*groups[:many], groups[many][part - 1 :: parts]], groups[many + 1 :]


def outcomes(work: Callable, calls: list[tuple], *, at_once: int) -> Iterator[tuple]:
    """Pairs of a call and what `work(*call)` returned or raised, as they end.

    One at a time runs in this process; several each in a process of its own, with its own of the
    `environments`, where `work` must be a function of a module. One that is killed gives a
    ChildProcessError. However this ends (an exception, Ctrl-C, SIGKILL), its processes end as well.
    """
    if at_once > 1:
        yield from _together(work, calls, environments(at_once))
        return
    for call in calls:
        yield call, _outcome(work, call)


def _outcome(work: Callable, call: tuple) -> object:
    try:
        return work(*call)
    except Exception as error:
        return error


def _together(work: Callable, calls: list[tuple], given: list[dict[str, str]]) -> Iterator[tuple]:
    context = multiprocessing.get_context(
        "spawn"
    )  # nothing of this process is in the new one, torch least of all
    waiting, free, running = list(reversed(calls)), list(reversed(range(len(given)))), {}
    try:
        while waiting or running:
            while waiting and free:
                here, there = context.Pipe()
                call, slot = waiting.pop(), free.pop()
                process = context.Process(
                    target=_work, args=(there, given[slot], work, call), daemon=True
                )
                running[here] = (process, slot, call)
                process.start()
                there.close()
            for ended in wait(list(running)):
                process, slot, call = running[ended]
                try:
                    outcome = ended.recv()
                except (EOFError, OSError):
                    process.join()
                    outcome = ChildProcessError(
                        f"its process ended with exit code {process.exitcode}"
                    )
                del running[ended]
                ended.close()
                process.join(PATIENCE)
                free.append(slot)
                yield call, outcome
    finally:
        _stop(running)


def _stop(running: dict[Connection, tuple]) -> None:
    """Ends processes by closing their lines, all at once; kills those that do not end."""
    for line in running:
        line.close()
    for process, *_ in running.values():
        if process.pid is None:
            continue
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()  # its kernel ends itself within a second


def _work(line: Connection, environment: dict[str, str], work: Callable, call: tuple) -> None:
    """The life of a process: does `work(*call)` and tells the outcome; if the other end of the line
    closes, it stops.
    """
    if hasattr(os, "setsid"):
        # a Ctrl-C in the terminal reaches the first process alone, which then closes the lines
        os.setsid()
    os.environ.update(environment)
    ended = threading.Event()
    threading.Thread(target=_stop_when_closed, args=(line, ended), daemon=True).start()
    try:
        outcome = _outcome(work, call)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    ended.set()
    line.send(outcome)


def _stop_when_closed(line: Connection, ended: threading.Event) -> None:
    with suppress(OSError):
        line.poll(
            None
            # nothing is ever sent this way, so this returns when the other end is closed or its process
            # dead
        )
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)
