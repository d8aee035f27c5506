"""What this machine lends us: cores and memory within the container's limits, and the speed of the product."""

import os
import time
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
#: Of the block whose product is timed.
_ROWS, _DEGREE, _WIDTH, _TIMES = 1 << 16, 12, 128, 4
#: Seconds of the same product where the model of time was fitted, on a server that others used too.
_REFERENCE_SECONDS = 0.040
#: Less than this apart is what neighbours on a shared server do to it, from one minute to the next.
_SAME = 1.5
#: A measurement beyond this tells of a disturbance rather than of the machine.
_LEAST, _MOST = 0.2, 5.0


def cores() -> float:
    """Return the cores that this process may use; a container may have a part of one."""
    usable = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    return min(usable, int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else usable


def memory_bytes() -> int:
    """Return the memory that this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read(_CGROUP / "memory.max"), _read(_CGROUP / "memory" / "memory.limit_in_bytes")]
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def slowness() -> float:
    """Return the seconds of the product here over those of the reference; the best of a few, in under 0.3 s.

    It is 1 where the two are about the same.

    Rows take 32 MiB and are wanted in a scattered order, so that caches and memory count as in a run.
    """
    import numpy as np

    from pipeline.kernels.buffers import aligned_empty
    from pipeline.kernels.csr import Csr
    from pipeline.kernels.spmm import spmm

    indptr = np.arange(_ROWS + 1, dtype=np.int64) * _DEGREE
    # An odd factor permutes the rows; neighbouring entries are far apart.
    order = np.arange(_ROWS * _DEGREE, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(48)
    indices = order.astype(np.int32)
    x, out = aligned_empty((_ROWS, _WIDTH)), aligned_empty((_ROWS, _WIDTH))
    x[:], out[:] = 1.0, 0.0
    best = float("inf")
    for _ in range(_TIMES):
        start = time.process_time()
        spmm(Csr(indptr, indices, None), x, out, start=0, stop=_ROWS)
        best = min(best, time.process_time() - start)
    ratio = min(max(best / _REFERENCE_SECONDS, _LEAST), _MOST)
    return 1.0 if 1 / _SAME <= ratio <= _SAME else ratio


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no limits here, or no Linux
        return ""
