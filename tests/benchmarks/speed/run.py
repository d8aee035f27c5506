"""Time every case on every graph and keep the figures: make bench.

    python -m tests.benchmarks.speed.run build/bench [--cases fastrp partition] [--graphs gowalla 10m] [--repeat 5]

Contenders take turns, each in a process of its own with one thread, so that a busy hour or a warm cache is shared by
all. The results are in ``FOLDER/<date>-<revision>.json``, to which a later run adds; a contender that fails for want
of its package, or after an hour, is in it with the reason. Ratios are of medians, to graphquilt.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.speed import structure, vectors, whole_jobs  # noqa: F401  (they enter themselves)
from tests.benchmarks.speed.contender import CASES
from tests.benchmarks.speed.graphs import write_graph, write_scaled_rows

GRAPHS = ("gowalla", "10m")
SCALING = ("1m", "10m", "50m", "200m")
SCALED_CASE, SCALED = "job", "graphquilt"
TOO_LONG = 3_600
#: Preparation by tuples, or hours of work: not beyond this graph.
SMALL_ONLY = {
    ("fastrp", "scikit-network"),
    ("partition", "Mt-KaHyPar"),
    ("clusters", "leidenalg"),
    ("ppr lists", "igraph PRPACK"),
}
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")}


def measure(case: str, name: str, graph: Path) -> dict[str, Any]:
    """Return what `measure.main` prints, or the reason why it didn't."""
    words = [sys.executable, "-m", "tests.benchmarks.speed.measure", case, name, str(graph)]
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=TOO_LONG, env={**os.environ, **ONE_THREAD}
        )
    except subprocess.TimeoutExpired:
        return {"missing": f"more than {TOO_LONG:,} seconds"}
    if ended.returncode:
        return {"missing": (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]}
    return json.loads(ended.stdout.splitlines()[-1])


def compare(case: str, names: Sequence[str], graph: Path, repeat: int) -> dict[str, dict[str, Any]]:
    """Return each contender's times of all turns and the figures of its last result."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            if not any("missing" in turn for turn in turns[name]):
                turns[name].append(measure(case, name, graph))
    return {name: _together(of_name) for name, of_name in turns.items()}


def _together(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if "missing" in turns[-1]:
        return dict(turns[-1])
    every = {key: [turn[key] for turn in turns] for key in ("cpu_seconds", "seconds", "peak_mib")}
    return {**every, "figures": turns[-1]["figures"]}


def show(case: str, graph: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a line a contender."""
    own = statistics.median(next(iter(results.values())).get("cpu_seconds", [float("nan")]))
    for name, result in results.items():
        if "missing" in result:
            print(f"{case} · {graph} · {name}: {result['missing']}", flush=True)
            continue
        cpu = statistics.median(result["cpu_seconds"])
        figures = "".join(f" · {key} {value:.4g}" for key, value in result["figures"].items())
        memory = f"{max(result['peak_mib']):,.0f} MiB"
        print(f"{case} · {graph} · {name}: {cpu:.4g} CPU s, {cpu / own:.2f} times ours, {memory}{figures}", flush=True)


def revision() -> str:
    """Return the commit that is measured."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def main() -> None:
    """Read the command line, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--graphs", nargs="+", default=GRAPHS, help="gowalla, or millions of edges: 10m")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--scaling", action="store_true", help=f"whole jobs at {', '.join(SCALING)} edges too, once each"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"{dt.date.today()}-{revision()}.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"cases": {}}
    kept |= {"python": platform.python_version(), "processors": os.cpu_count()}
    results: dict[str, dict[str, Any]] = kept["cases"]
    for graph in options.graphs:
        path = write_graph(graph, options.folder / "graphs")
        for case in options.cases:
            names = [name for name in CASES[case] if graph == "gowalla" or (case, name) not in SMALL_ONLY]
            results.setdefault(case, {})[graph] = compare(case, names, path, options.repeat)
            show(case, graph, results[case][graph])
            file.write_text(json.dumps(kept, indent=1))
    for graph in SCALING if options.scaling else ():
        path = write_scaled_rows(graph, options.folder / "graphs")
        results.setdefault("scaling", {})[graph] = compare(SCALED_CASE, [SCALED], path, 1)
        show("scaling", graph, results["scaling"][graph])
        file.write_text(json.dumps(kept, indent=1))
    print(file)


if __name__ == "__main__":
    main()
