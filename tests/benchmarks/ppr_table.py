"""The table of lists of docs/explanation/benchmarks.md: ``graphquilt tune``, then one run, its test pairs read once.

    python -m tests.benchmarks.ppr_table --workspace build/lists [--data gowalla ...] [--budget 300]

``tune`` chooses restart, edge_degree_power and degree_correction on pairs hidden from the training pairs (a share of
each user's, or the latest, where the pairs have times); the run lists 100 new items for every user, and ``evaluate``
scores the first 20 on the test pairs, all users, full ranking, and compares a sample of the lists with exact ones. The
line without tuning is the configuration's own restart, nothing corrected. Nothing is chosen by a test figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
K = 20
TIMES = {"timestamp": "ts", "timestamp_unit": "s"}
DATASETS: Mapping[str, Mapping[str, str]] = {"gowalla": {}, "lastfm": {}, "ml-100k": TIMES}
KEYS = ("restart", "edge_degree_power", "degree_correction")


@dataclass(frozen=True)
class Line:
    """A line of the table. validation : None where nothing was tuned; exact : the figures of ``evaluate``."""

    data: str
    parameters: Mapping[str, float]
    validation: Mapping[str, float] | None
    test: Mapping[str, float]
    exact: Mapping[str, Any]
    lists: int
    cpu_seconds: float


def command(*words: str) -> dict[str, Any]:
    """Run graphquilt on one thread and return its answer."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "graphquilt", *words, "--json"],
        cwd=ROOT,
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def config_of(data: str, file: Path) -> None:
    """Write a configuration that lists new items for every user."""
    given = {"path": str(DATA / data / "train.parquet"), "source": "src", "target": "dst", **DATASETS[data]}
    sections = {
        "input": given,
        "embedding": {"method": "none"},
        "ppr": {"neighbors": True, "exclude_known": True, "source_type": "user"},
        "evaluate": {"source": "file", "path": str(DATA / data / "test.parquet"), "k": [K]},
        "publish": {"name": data},
    }
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in sections.items()
    ]
    file.write_text("".join(lines))


def line_of(data: str, config: Path, work: Path, tuned: Mapping[str, Any] | None) -> Line:
    """Run a configuration and read what it says of its lists."""
    found = command("run", "--config", str(config), "--workspace", str(work))
    metrics = found["metrics"]["ppr_neighbors"]
    embed = next(stage for stage in found["stages"] if stage["stage"] == "embed")
    published = json.loads(Path(found["path"], "manifest.json").read_text())["config"]["ppr"]
    return Line(
        data,
        {key: published[key] for key in KEYS},
        tuned["chosen"]["figures"] if tuned else None,
        metrics["ranking"],
        metrics["exact"],
        embed["figures"]["lists"]["lists"],
        embed["cpu_seconds"],
    )


def lines_of(data: str, folder: Path, budget: float) -> list[Line]:
    """Return the line without tuning, and the tuned one."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, tuned = folder / "plain.toml", folder / "tuned.toml"
    config_of(data, plain)
    chosen = command(
        *("tune", "--config", str(plain), "--workspace", str(folder / "work"), "--what", "lists"),
        *("--budget", str(budget), "--out", str(tuned), "--force"),
    )
    return [
        line_of(data, plain, folder / "plain", None),
        line_of(data, tuned, folder / "work", chosen),
    ]


def markdown(lines: list[Line]) -> str:
    """Return the table of docs/explanation/benchmarks.md."""
    text = [
        f"| Data | restart, edge power, correction | Validation Recall@{K} / NDCG@{K} | Test Recall@{K} / NDCG@{K} | "
        "precision@100, mean l1 error against exact | CPU s, all users |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        chosen = ", ".join(f"{line.parameters[key]:g}" for key in KEYS)
        seen = "not tuned"
        if line.validation is not None:
            seen = f"{line.validation[f'recall@{K}']:.4f} / {line.validation[f'ndcg@{K}']:.4f}"
        exact = line.exact
        text.append(
            f"| {line.data} | {chosen} | {seen} | {line.test[f'recall@{K}']:.4f} / {line.test[f'ndcg@{K}']:.4f} | "
            f"{exact['precision@100']:.4f}, {exact['l1']['mean']:.1e} ({exact['sources']} users) | "
            f"{line.cpu_seconds:.1f} ({line.lists:,} lists) |"
        )
    return "\n".join(text)


def main() -> None:
    """Tune, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=tuple(DATASETS), default=tuple(DATASETS))
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for tune, each data set")
    asked = parser.parse_args()
    lines = []
    for data in asked.data:
        lines += lines_of(data, asked.workspace.resolve() / data, asked.budget)
        print(markdown(lines[-2:]), file=sys.stderr, flush=True)
    print(markdown(lines))


if __name__ == "__main__":
    main()
