"""Nights that read what is new beside runs that read everything: bytes, CPU and seconds, and that they are equal.

    python -m tests.benchmarks.nights FOLDER --pairs 10000000 --nights 30 --compare 5

Writes the stream of :mod:`nightly_stream` day by day, as a producer does, and runs each night by the command line.
Every ``--compare``-th night is followed by ``--recompute``, which ends with an error if one byte of the published data
differs, and by a full run in a workspace of full runs, which has a baseline as well: shares are of the last of those.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.nightly_stream import FIRST_DAY, NIGHT_SHARE, NightlyStream, write_days

CONFIG = """
[input]
path = "{path}"
source = "user_id"
target = "item_id"
timestamp = "ts"
half_life_days = 30
[lineage]
full_every = 60
"""


@dataclass(frozen=True)
class NightCost:
    """What a run took, and how many bytes of interactions it read."""

    answer: dict[str, Any]
    seconds: float
    cpu_seconds: float  # of the whole process, its start included

    @property
    def bytes_read(self) -> int:
        return int(self._stages["ingest"]["figures"]["bytes_read"])

    @property
    def tree(self) -> str:
        """How good the cut is, and what it took."""
        partition = self._stages["partition"]
        figures = partition["figures"]
        cut = figures["levels"][-1]["cut_percent"] if figures["levels"] else 0
        parts = f"{figures['parts']} parts, {figures['copies_per_node']:.3f} copies, {cut:.2f} % cut"
        return f"{parts}, imbalance {figures['imbalance']:.3f}, {partition['cpu_seconds']:.2f} CPU s"

    @property
    def cpu_to_blocks(self) -> float:
        """What the stages took that turn interactions into blocks."""
        return sum(self._stages[name]["cpu_seconds"] for name in ("ingest", "index", "partition", "layout"))

    @property
    def _stages(self) -> dict[str, dict[str, Any]]:
        return {report["stage"]: report for report in self.answer["stages"]}


def run_night(config: Path, workspace: Path, date: dt.date, *options: str) -> NightCost:
    """Run a night in a process of its own; its failure ends the benchmark."""
    words = ["run", "--config", str(config), "--workspace", str(workspace), "--date", str(date), "--json", *options]
    before, started = os.times(), time.monotonic()
    ended = subprocess.run([sys.executable, "-m", "graphquilt", *words], capture_output=True, text=True, check=False)
    after, seconds = os.times(), time.monotonic() - started
    if ended.returncode:
        raise SystemExit(f"{date} {' '.join(options)}: {ended.stdout}{ended.stderr[-2000:]}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return NightCost(json.loads(ended.stdout), seconds, cpu)


def main() -> None:
    """Read the command line, run the nights, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--nodes", type=int, default=500_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--compare", type=int, default=5, metavar="N", help="a full run beside every N-th night")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    more = [word for override in options.overrides for word in ("--set", override)]
    stream, days = NightlyStream(options.pairs, options.nodes), round(1 / NIGHT_SHARE)
    options.folder.mkdir(parents=True)
    config, workspace, days_of_input = (options.folder / name for name in ("config.toml", "workspace", "input"))
    config.write_text(CONFIG.format(path=days_of_input))
    write_days(days_of_input, stream, FIRST_DAY, days)
    last = FIRST_DAY + dt.timedelta(days=days - 1)
    beside, as_full = options.folder / "full_runs", ("--set", "lineage.full_every=0", *more)
    run_night(config, beside, last, *as_full)
    run_night(config, workspace, last, *more)
    print(
        "| night | bytes read | CPU s, s | tree | a full run: CPU s, s | its tree | CPU, ingest to layout | all CPU |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number in range(1, options.nights + 1):
        date = last + dt.timedelta(days=number)
        write_days(days_of_input, stream, date, 1)
        night = run_night(config, workspace, date, *more)
        about = ""
        if number % options.compare == 0 or number == 1:
            again = run_night(config, workspace, date, "--recompute", *more)
            assert again.answer["release"] == night.answer["release"]
            full = run_night(config, beside, date, *as_full)
            about = f"{full.cpu_seconds:.1f}, {full.seconds:.1f} | {full.tree}"
        print(
            f"| {date} | {night.bytes_read:,} ({night.bytes_read / full.bytes_read:.1%}) "
            f"| {night.cpu_seconds:.1f}, {night.seconds:.1f} | {night.tree} | {about or '|'} "
            f"| {night.cpu_to_blocks / full.cpu_to_blocks:.0%} | {night.cpu_seconds / full.cpu_seconds:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
