"""What this machine lends us: cores and memory, as the container's limits have it."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


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


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no limits here, or no Linux
        return ""
