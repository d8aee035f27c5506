"""How long tasks take, from what they do: a few terms of physical meaning, with measured constants.

The constants were fitted by non-negative least squares of relative errors; ``tests/benchmarks/plan_accuracy.py``
says how far off they are. They are CPU seconds of one core of a shared server of 2026.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: A cache line of a row that a product reads, from the nearest caches, the last one, memory; an entry that it visits.
NEAR_LINE, CACHED_LINE, FAR_LINE, VISITED_ENTRY = 4.4e-10, 1e-9, 3.1e-9, 1.4e-9
#: A byte of rows that a product writes or reads in order: in the last cache, and in new pages of memory.
CACHED_BYTE, FAR_BYTE = 8.2e-10, 2.5e-9
#: A byte of rows that other kernels read or write in order; a float32 operation of rows times a small matrix; the
#: eigenpairs of a matrix of columns by columns, by their cube.
SWEPT_BYTE, DENSE_FLOP, CUBED_COLUMN = 1.1e-10, 1e-11, 2e-10
#: A byte of rows in files; a float of narrow rows, coded or decoded; a slice of such a file, addressed to a part.
FILE_BYTE, CODED_FLOAT, SLICE = 5.7e-10, 2.3e-9, 2.1e-4
#: An entry and a row of a block that a task opens, and the task itself.
OPENED_ENTRY, OPENED_ROW, STARTED_TASK = 5e-10, 5.1e-8, 5.7e-3
#: The first use of the kernels and of files in a process.
_FIRST_USE = 0.005
#: An empty wave of tasks, beside the tasks: measured, on two workers.
_EMPTY_WAVE = {"local": 0.0, "dask": 0.05, "spark": 0.5}

#: A core's own caches and the last one, of the usual server.
_NEAR_BYTES, CACHE_BYTES = 1 * 2**20, 32 * 2**20
_LINE_FLOATS = 16


@dataclass(frozen=True)
class Wave:
    """Tasks that run beside one another, and the CPU seconds of all of them."""

    tasks: int
    seconds: float


def product_seconds(rows: Sequence[int], entries: Sequence[int], dim: int, width: int, shards: int) -> float:
    """Return the seconds of one product with the graph, all parts and shards of it.

    A product reads rows at random. They are in the cache as often as the cache is large beside all rows.

    Parameters
    ----------
    rows, entries : of each part. dim : columns of all shards. width : columns of a shard.
    """
    seconds = 0.0
    for count, entry_count in zip(rows, entries, strict=True):
        near, cache_share = (min(1.0, size / max(count * width * 4, 1)) for size in (_NEAR_BYTES, CACHE_BYTES))
        lines, size = entry_count * math.ceil(dim / _LINE_FLOATS), count * dim * 4
        seconds += cache_share * (lines * CACHED_LINE + size * CACHED_BYTE) - near * lines * (CACHED_LINE - NEAR_LINE)
        seconds += (1.0 - cache_share) * (lines * FAR_LINE + size * FAR_BYTE) + shards * entry_count * VISITED_ENTRY
    return seconds


def cpu_seconds_of(waves: Sequence[Wave], slots: int) -> float:
    """Return the CPU seconds of waves, with those of the first use of the kernels in every process."""
    processes = min(slots, max((wave.tasks for wave in waves), default=0))
    return processes * _FIRST_USE + sum(wave.seconds for wave in waves)


def wall_seconds_of(waves: Sequence[Wave], engine: str, slots: int) -> float:
    """Return the seconds that waves take, one after the other, each as long as its fullest slot.

    Slots are taken as if each had memory of its own: where they share a slow one, waves take longer.
    """
    total = _FIRST_USE
    for wave in waves:
        is_in_process = engine == "local" and (slots == 1 or wave.tasks < 2)
        kind = "dask" if engine == "local" and not is_in_process else engine
        total += wave.seconds * math.ceil(wave.tasks / slots) / max(wave.tasks, 1) + _EMPTY_WAVE[kind]
    return total
