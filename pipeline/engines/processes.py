"""CPU seconds of process trees."""

import contextlib
from collections.abc import Iterable

import psutil


def cpu_seconds_of_trees(roots: Iterable[int]) -> float:
    """Return user and system seconds of processes, their live descendants, and all children these waited for.

    A process in several trees counts once. One that ends meanwhile does not count.
    """
    tree: set[psutil.Process] = set()
    for pid in roots:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            tree |= {root, *root.children(recursive=True)}
    seconds = 0.0
    for process in tree:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
