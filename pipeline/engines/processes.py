"""CPU seconds of process trees, from /proc."""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

# Fields of /proc/<pid>/stat, counted from the one after the command's name: see proc_pid_stat(5).
_PARENT = 1
_TIMES = slice(11, 15)  # utime, stime, and those of waited-for children


def cpu_seconds_of_trees(roots: Iterable[int]) -> float:
    """Return user and system seconds of processes, their live descendants, and all children these waited for.

    A process in several trees counts once. Without /proc: this process and the children it waited for.
    """
    try:
        processes = _read_all()
    except OSError:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, _) in processes.items():
        children[parent].append(pid)
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in processes and pid not in seen:
            seen.add(pid)
            waiting += children[pid]
    return sum(processes[pid][1] for pid in seen) / os.sysconf("SC_CLK_TCK")


def _read_all() -> dict[int, tuple[int, int]]:
    """Return (parent, clock ticks) by pid."""
    found: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            text = Path("/proc", name, "stat").read_text(errors="replace")
        except OSError:  # it ended between the listing and now
            continue
        fields = text.rpartition(")")[2].split()  # the name may hold spaces and brackets
        found[int(name)] = (int(fields[_PARENT]), sum(map(int, fields[_TIMES])))
    return found
