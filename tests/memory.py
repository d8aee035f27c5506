"""Memory that a call takes, in a process of its own: what is anonymous, since mapped files make room for others."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.kernels.warm import warm_kernels


def memory_growth(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the most bytes of anonymous memory that a call added to its process, which has loaded all kernels."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=warm_kernels) as process:
        return process.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    start, most, is_done = _anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.wait(0.001):
            most = max(most, _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function(*arguments)
    finally:
        is_done.set()
        watcher.join()
    return most - start


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status names no anonymous memory: this needs Linux")
