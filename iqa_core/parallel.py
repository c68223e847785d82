"""One function called many times, in processes of their own, behind one progress bar."""

from collections.abc import Callable, Iterator, Sequence

from joblib import Parallel, delayed
from tqdm.auto import tqdm


def in_processes(
    work: Callable, calls: Sequence[tuple], *, processes: int = -1, **bar: object
) -> Iterator:
    """What `work(*call)` returns for each of `calls`, in their order, as the results come.

    `work` is a function of a module; `processes` as joblib counts them (-1: one a core), each with
    one thread. `bar` goes to the progress bar (desc, unit, disable, mininterval).
    """
    pool = Parallel(processes, return_as="generator", backend="loky", inner_max_num_threads=1)
    results = pool(delayed(work)(*call) for call in calls)
    # by default a line every two seconds at most: readable in a log, too
    return iter(tqdm(results, total=len(calls), **{"mininterval": 2} | bar))
