"""A row of docs/explanation/options.md: what an option wins on one data set, and what it costs.

    python -m tests.benchmarks.option_figures CONFIG --part "more columns" --data LastFM --figure ranking/recall@20
        --with embedding.dim=128 [--without embedding.dim=64] [--also embedding.method=spectral] [--seeds 5]

Runs the configuration from its input to its figures, in a workspace of its own for each seed of ``embedding.seed``,
with the option and without it, and prints the median of each figure and the median CPU seconds of all stages. A figure
is a path in the metrics of ``graphquilt run --json``. The keys of ``--with`` are those that ``tune`` chose on
validation pairs: the test pairs that ``evaluate.path`` names choose nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunFigures:
    """Medians over seeds: of each figure asked for, and of the CPU seconds of all stages."""

    values: Sequence[float]
    cpu_seconds: float


def run_seeds(config: Path, seeds: int, overrides: Sequence[str], paths: Sequence[str]) -> RunFigures:
    """Run with the seeds 0 to ``seeds`` - 1; a run that fails ends the benchmark."""
    answers = [run_once(config, [f"embedding.seed={seed}", *overrides]) for seed in range(seeds)]
    values = [statistics.median(figure_at(answer["metrics"], path) for answer in answers) for path in paths]
    cpu_seconds = (sum(stage["cpu_seconds"] for stage in answer["stages"]) for answer in answers)
    return RunFigures(values, statistics.median(cpu_seconds))


def run_once(config: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Run in a process and a workspace of its own; return its answer."""
    words = [word for override in overrides for word in ("--set", override)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "graphquilt", "run", "--config", str(config), "--workspace", folder, *words]
        ended = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(overrides)}: {ended.stdout}{ended.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def figure_at(metrics: Any, path: str) -> float:
    """Return the figure at a path such as ``ranking/recall@20`` or ``slices/by_popularity/0/recall@20``."""
    for name in path.split("/"):
        metrics = metrics[int(name) if isinstance(metrics, list) else name]
    return float(metrics)


def main() -> None:
    """Read the command line, run, print one row for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--part", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--figure", required=True, nargs="+", dest="figures", metavar="PATH")
    parser.add_argument("--with", required=True, nargs="+", dest="changes", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--without", nargs="*", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--also", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="keys of both")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    without, changed = (
        run_seeds(options.config, options.seeds, [*options.also, *keys], options.figures)
        for keys in (options.without, options.changes)
    )
    for path, before, after in zip(options.figures, without.values, changed.values, strict=True):
        figure = path.rsplit("/", 1)[-1]
        print(
            f"| {options.part} | {options.data} | {figure} | {before:.4f} | {after:.4f} "
            f"| {without.cpu_seconds:.1f} | {changed.cpu_seconds:.1f} | |"
        )


if __name__ == "__main__":
    main()
