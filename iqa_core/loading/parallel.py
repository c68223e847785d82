"""Images one after the other through a network whose steps are too small to share among threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch

AHEAD = 2  # images a worker that are under way before the first is asked for: bounds memory


def each_image(work: Callable, images: Iterable, device: torch.device) -> Iterator:
    """`work(image)` of every image, in order.

    On a CPU, workers take an image each, as many as torch has threads, and torch gets one thread in
    each: a network at batch 1 uses a second thread badly (EfficientNet-Lite0's first stages on
    patches gain a third on two cores). On a GPU they go one after the other. Threads that others
    start later have one thread of torch as well, until they ask for more.
    """
    workers = torch.get_num_threads()
    if device.type != "cpu" or workers == 1:
        yield from map(work, images)
        return
    images = iter(images)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            pending = deque(pool.submit(work, image) for image in islice(images, AHEAD * workers))
            while pending:
                done = pending.popleft().result()
                pending.extend(pool.submit(work, image) for image in islice(images, 1))
                yield done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
