"""Threads of a task: rows are shared out to them, and one computes a row, so that no bit depends on their number."""

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_RANGES_A_THREAD = 4  # so that one with a hub in it keeps nobody waiting
_ROWS_OF_RANGE = 1_024  # at least
_in_use = 1


def use_threads(count: int) -> None:
    """Let kernels that share their rows out use so many threads in this process; they start when one needs them."""
    global _in_use
    if count < 1:
        raise ValueError(f"threads is {count}; at least 1 is needed")
    _in_use = count


def threads_in_use() -> int:
    """Return the number that :func:`use_threads` was given last; 1 at first."""
    return _in_use


def share_rows(
    start: int, stop: int, compute: Callable[[int, int], object], totals: NDArray[np.int64] | None = None
) -> None:
    """Call ``compute(first, last)`` for ranges that make up ``start`` to ``stop``, on this process' threads.

    Parameters
    ----------
    compute : releases the GIL, and touches no other row's result.
    totals : (rows + 1,) ascending, what the rows before each one cost; None: rows cost the same.
    """
    ranges = min(_RANGES_A_THREAD * _in_use, (stop - start) // _ROWS_OF_RANGE)
    if _in_use == 1 or ranges < 2:
        compute(start, stop)
        return
    totals = np.arange(start, stop + 1) if totals is None else totals[start : stop + 1]
    inner = np.searchsorted(totals, np.linspace(totals[0], totals[-1], ranges + 1)[1:-1])
    share_ranges([start, *(start + inner).tolist(), stop], compute)


def share_ranges(bounds: Sequence[int], compute: Callable[[int, int], object]) -> None:
    """Call ``compute(first, last)`` for the ranges between these bounds, on this process' threads.

    Where ranges add something up, their bounds must not depend on the threads.
    """
    if _in_use == 1:
        for pair in itertools.pairwise(bounds):
            compute(*pair)
        return
    futures = [_pool(_in_use).submit(compute, *pair) for pair in itertools.pairwise(bounds)]
    for future in futures:
        future.result()


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "rows")
