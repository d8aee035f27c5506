"""What 'plan' says of every stage beside what a run takes: CPU seconds, memory of the process, bytes on disk.

    python -m tests.benchmarks.planned_runs --work FOLDER --rows 1000000 10000000 50000000 [--stages STAGE ...]
        [--string-ids] [--keep] [--most-gib N] [-- OPTION ...]

Writes rows of :mod:`tests.benchmarks.planted_bipartite`, ten times as many as nodes, and runs stage by stage, a process
each, with the local engine and one worker; options behind ``--`` go to both commands. Memory is anonymous memory beside
Python's own, of the largest process; bytes on disk are the most that the workspace grew by during the stage. Prints a
Markdown table of said / taken, and what all processes of the stage held at once, with Python; removes what it wrote. A
stage whose processes hold more than ``--most-gib`` at once is ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.planted_bipartite import write_rows

STAGES = ("ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish")
#: Anonymous memory of a process with all libraries that a stage loads: what a stage without rows takes.
_PYTHON_BYTES = 150 * 2**20
_CONFIG = '[input]\npath = "{path}"\nsource = "user_id"\ntarget = "item_id"\n[evaluate]\nsource = "holdout"\n'


@dataclass(frozen=True)
class Taken:
    """What a stage took."""

    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    disk_bytes: int
    tree_bytes: int  # of all processes at once


def call(words: Sequence[str]) -> list[str]:
    """Return the words of a command of graphquilt."""
    return [sys.executable, "-m", "graphquilt", *words]


def run_stage(words: Sequence[str], workspace: Path, most_bytes: float) -> Taken:
    """Run one stage in a process of its own, and watch it; end it if its processes hold more than ``most_bytes``."""
    before, most, tree, disk = bytes_of(workspace), 0, 0, 0
    process = subprocess.Popen(call(words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    looked = 0.0
    while process.poll() is None:
        sizes = anonymous_bytes(process.pid)
        most, tree = max(most, *sizes), max(tree, sum(sizes))
        if tree > most_bytes:
            process.terminate()
            raise SystemExit(f"{words[0]}: its processes hold {tree:,} bytes at once, more than --most-gib")
        if time.monotonic() - looked > 1.0:
            disk, looked = max(disk, bytes_of(workspace) - before), time.monotonic()
        time.sleep(0.2)
    assert process.stdout is not None
    answer = json.loads(process.stdout.read())
    if process.returncode:
        raise SystemExit(answer["error"])
    (stage,) = answer["stages"]
    disk = max(disk, bytes_of(workspace) - before)
    return Taken(stage["cpu_seconds"], stage["seconds"], max(0, most - _PYTHON_BYTES), disk, tree)


def anonymous_bytes(pid: int) -> list[int]:
    """Return the anonymous memory of a process and of each of its children."""
    sizes = [0]
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            sizes.extend(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    return sizes


def bytes_of(folder: Path) -> int:
    """Return the bytes on disk below a folder; a file with several names counts once."""
    sizes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            sizes[status.st_ino] = 512 * status.st_blocks
    return sum(sizes.values())


def planned_stages(words: Sequence[str]) -> dict[str, Any]:
    """Return by stage what a plan says."""
    answer = subprocess.run(call(["plan", *words, "--json"]), capture_output=True, check=True).stdout
    return {cost["stage"]: cost for cost in json.loads(answer)["costs"]}


def measure(rows: int, asked: argparse.Namespace) -> list[str]:
    """Return the lines of a table: what a plan by counts says of each stage, over what it took."""
    kind = "string" if asked.string_ids else "int64"
    folder, workspace, config = (asked.work / f"{name}-{kind}-{rows}" for name in ("rows", "workspace", "config"))
    config = config.with_suffix(".toml")
    if not folder.is_dir():
        write_rows(folder, rows, rows // 10, communities=1_000, seed=0, string_ids=asked.string_ids)
    config.write_text(_CONFIG.format(path=folder))
    place = ["--config", str(config), "--workspace", str(workspace), *asked.options]
    taken = {}
    for stage in asked.stages:
        workspace.mkdir(exist_ok=True)
        taken[stage] = run_stage([stage, *place, "--json"], workspace, asked.most_gib * 2**30)
        print(f"{rows:,} {stage}: {taken[stage]}", file=sys.stderr, flush=True)
    counts = {**_counts_of(workspace), "rows": rows, "ids": kind}
    words = [f"--{name}={count}" for name, count in counts.items()]
    said = planned_stages([*words, "--config", str(config), *asked.options])
    if not asked.keep:
        for path in (folder, workspace):
            shutil.rmtree(path)
    return [_line(counts["edges"], stage, said[stage], taken[stage]) for stage in asked.stages]


def _counts_of(workspace: Path) -> dict[str, int]:
    (manifest,) = workspace.glob("runs/*/node_index/*/manifest.json")
    figures = json.loads(manifest.read_text())["figures"]
    first, stop = figures["types"]["item"]
    return {"nodes": figures["nodes"], "edges": figures["edges"] + figures["holdout"], "targets": stop - first}


def _line(edges: int, stage: str, said: dict[str, Any], taken: Taken) -> str:
    memory = said["task_bytes"] + said["driver_bytes"]
    cells = [
        f"{said['cpu_seconds']:.1f} / {taken.cpu_seconds:.1f} = {_ratio(said['cpu_seconds'], taken.cpu_seconds)}",
        f"{memory / 2**20:.0f} / {taken.memory_bytes / 2**20:.0f} = {_ratio(memory, taken.memory_bytes)}",
        f"{said['disk_bytes'] / 2**20:.0f} / {taken.disk_bytes / 2**20:.0f} = "
        f"{_ratio(said['disk_bytes'], taken.disk_bytes)}",
        f"{taken.tree_bytes / 2**20:.0f}",
    ]
    return f"| {edges:,} | {stage} | {' | '.join(cells)} |"


def _ratio(said: float, taken: float) -> str:
    return f"{said / taken:.2f}" if taken else "-"


def main() -> None:
    """Print the table as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--rows", nargs="+", type=int, default=[1_000_000, 10_000_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--string-ids", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--most-gib", type=float, default=math.inf)
    parser.add_argument("options", nargs="*")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    print("| edges | stage | CPU s | memory MiB | disk MiB | all at once MiB |\n|---|---|---|---|---|---|", flush=True)
    for rows in asked.rows:
        print("\n".join(measure(rows, asked)), flush=True)


if __name__ == "__main__":
    main()
