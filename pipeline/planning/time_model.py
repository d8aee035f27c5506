"""How long tasks take, from what they do: a few terms of physical meaning, with measured constants.

The constants were fitted by non-negative least squares of relative errors; ``tests/benchmarks/plan_accuracy.py``
says how far off they are. They are CPU seconds of one core of a shared server of 2026; another machine is told apart
by one factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

#: Caches of a core's neighbourhood, of the usual server: rows within them are read that much faster.
_NEAR_BYTES, _FAR_BYTES = 1 * 2**20, 32 * 2**20
_LINE_FLOATS = 16

#: Seconds of an empty wave of tasks, beside the tasks: measured, on two workers.
_EMPTY_WAVE_SECONDS = {"local": 0.0, "dask": 0.05, "spark": 0.5}


@dataclass(frozen=True)
class Load:
    """What tasks do. Every field counts units of work, and has its seconds a unit in :data:`SECONDS`."""

    near_lines: float = 0.0  # cache lines of rows read for entries, from the nearest caches
    mid_lines: float = 0.0  # from the last cache
    far_lines: float = 0.0  # from memory
    entries: float = 0.0  # entries visited by a product, however wide
    streamed_bytes: float = 0.0  # of rows written or read in order, in the last cache
    touched_bytes: float = 0.0  # the same, of arrays larger than that: new pages, from memory
    opened_entries: float = 0.0  # entries of blocks that are mapped and looked over
    opened_rows: float = 0.0
    file_bytes: float = 0.0  # of rows in files, written or read
    coded_floats: float = 0.0  # of narrow rows, coded or decoded
    slices: float = 0.0  # of rows in files, addressed to a part
    tasks: float = 0.0
    swept_bytes: float = 0.0  # of rows that a kernel reads or writes in order, however large, and does little with
    single_flops: float = 0.0  # of dense products of rows and a small matrix, in float32
    double_flops: float = 0.0  # of sums over rows of all pairs of columns, in float64
    decomposed: float = 0.0  # cubes of the columns of matrices whose eigenpairs are found

    def __add__(self, other: Load) -> Load:
        return Load(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def times(self, factor: float) -> Load:
        """Return the load so many times."""
        return Load(*(factor * getattr(self, one.name) for one in fields(self)))

    @classmethod
    def product(cls, rows: Sequence[int], entries: Sequence[int], dim: int, width: int, shards: int) -> Load:
        """Return the load of one product with the graph, all shards of it.

        A row is wanted at random: it is in a cache as often as the cache is large beside all rows.

        Parameters
        ----------
        width : columns that are read at a time.
        """
        near = mid = far = streamed = touched = 0.0
        for n, visited in zip(rows, entries, strict=True):
            lines = visited * math.ceil(dim / _LINE_FLOATS)
            held = max(n * width * 4, 1)
            in_near = min(1.0, _NEAR_BYTES / held)
            in_last = min(1.0, _FAR_BYTES / held)
            near += lines * in_near
            mid += lines * (in_last - in_near)
            far += lines * (1.0 - in_last)
            streamed += n * dim * 4 * in_last
            touched += n * dim * 4 * (1.0 - in_last)
        return cls(near, mid, far, shards * sum(entries), streamed, touched)


#: CPU seconds a unit. Lines, opened entries, swept bytes and what follows them are as measured by themselves; the
#: others are fitted beside them.
SECONDS = Load(
    near_lines=4.4e-10,
    mid_lines=1e-09,
    far_lines=3.1e-09,
    entries=1.4e-09,
    streamed_bytes=8.2e-10,
    touched_bytes=2.5e-09,
    opened_entries=5e-10,
    opened_rows=5.1e-08,
    file_bytes=5.7e-10,
    coded_floats=2.3e-09,
    slices=0.00021,
    tasks=0.0057,
    swept_bytes=1.1e-10,
    single_flops=9.5e-12,
    double_flops=2e-11,
    decomposed=2e-10,
)
#: CPU seconds of the first use of the kernels and of files in a process.
_FIRST_USE_SECONDS = 0.005


@dataclass(frozen=True)
class Wave:
    """Tasks that run beside one another; 0: work of the driver."""

    tasks: int
    load: Load

    def seconds(self) -> float:
        """CPU seconds of all its tasks."""
        return sum(getattr(self.load, one.name) * getattr(SECONDS, one.name) for one in fields(Load))


def seconds_of(waves: Sequence[Wave], slots: int, slowness: float) -> float:
    """Return the CPU seconds of waves, with those of the first use of the kernels in every process."""
    processes = min(slots, max((wave.tasks for wave in waves), default=0))
    return slowness * (processes * _FIRST_USE_SECONDS + sum(wave.seconds() for wave in waves))


def wall_of(waves: Sequence[Wave], engine: str, slots: int, slowness: float) -> float:
    """Return the seconds that waves take, one after the other, each as long as its fullest slot.

    Slots are taken as if each had memory of its own: where they share a slow one, it takes longer.
    """
    total = slowness * _FIRST_USE_SECONDS
    for wave in waves:
        if not wave.tasks:
            total += slowness * wave.seconds()
            continue
        turns = math.ceil(wave.tasks / slots)
        is_here = engine == "local" and (slots == 1 or wave.tasks < 2)
        kind = engine if is_here or engine != "local" else "dask"
        total += slowness * wave.seconds() * turns / wave.tasks + _EMPTY_WAVE_SECONDS[kind]
    return total
