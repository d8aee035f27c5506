"""One contender in this process: prepare, call, print a line of JSON. :mod:`run` starts it.

python -m tests.benchmarks.speed.measure CASE CONTENDER GRAPH.parquet
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from tests.benchmarks.speed import structure, vectors, whole_jobs  # noqa: F401  (they enter themselves)
from tests.benchmarks.speed.contender import CASES, Pairs

AT_LEAST = 0.5  # seconds of calls: short ones are repeated


def cpu_seconds() -> float:
    """User and system time of this process and of those it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Time calls, after one that warms them where the contender says so."""
    case, name, path = sys.argv[1:]
    with threadpool_limits(1):
        contender = CASES[case][name](Pairs(Path(path)))
        if contender.warms:
            contender.call()
        cpu, started, calls = cpu_seconds(), time.monotonic(), 0
        while calls == 0 or time.monotonic() - started < AT_LEAST:
            result = contender.call()
            calls += 1
        seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu
    if contender.cpu_seconds is not None:
        cpu = calls * contender.cpu_seconds(result)
    own = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = max(contender.peak_bytes(result) / 1024, *own)
    measured = {
        "cpu_seconds": cpu / (calls * contender.units),
        "seconds": seconds / (calls * contender.units),
        "peak_mib": peak / 1024,  # of the largest process, preparation included
        "figures": dict(contender.figures(result)),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
