"""How a large sweep would behave: a simulation of one dispatcher and many workers, and its closed form."""

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Scaled(NamedTuple):
    """A simulated sweep."""

    seconds: float  #: from the first task sent to the last one done
    busy: float  #: fraction of the workers' time in which they run points
    dispatching: float  #: fraction of the time in which the dispatcher is busy


def simulate(seconds: ArrayLike, workers: int, *, dispatch: float, overhead: float = 0.0, batch: int = 1) -> Scaled:
    """Send tasks of `batch` points, one after the other, to whichever worker is free first.

    Args:
        seconds: (points,) what each point takes on its worker.
        workers: how many there are.
        dispatch: seconds that the one dispatcher (client and scheduler) is busy with a task.
        overhead: seconds a point takes on its worker beside itself: its files.
        batch: points of a task.

    Returns:
        `Scaled`.

    >>> simulate([1.0] * 6, 3, dispatch=0.0).seconds
    2.0
    """
    work = np.asarray(seconds, float) + overhead
    tasks = np.add.reduceat(work, np.arange(0, len(work), batch))
    free, sent, end = [0.0] * workers, 0.0, 0.0
    for task in tasks.tolist():
        sent += dispatch  # one at a time, and ahead of the workers: a task waits for them, or they for it
        start = max(sent, heapq.heappop(free))
        heapq.heappush(free, start + task)
        end = max(end, start + task)
    return Scaled(end, float(work.sum() / (workers * end)), float(len(tasks) * dispatch / end))


def closed_form(points: int, mean: float, workers: ArrayLike, *, dispatch: float, batch: int = 1) -> np.ndarray:
    """max(N·c/W, N·o/B): the workers' time or the dispatcher's, whichever is longer.

    Args:
        points: N.
        mean: c, seconds a point with its overhead.
        workers: W.
        dispatch: o, seconds a task.
        batch: B, points of a task.
    """
    return np.maximum(points * mean / np.asarray(workers, float), points * dispatch / batch)
