"""What 'plan' says of a run beside what the run records: memory of the largest task, rows that travel, CPU seconds.

    python -m tests.benchmarks.plan_accuracy --work FOLDER [--data gowalla blogcatalog ...] [--dims 128 ...]
        [--methods fastrp low_pass spectral rotated] [--parts 1 4 16] [--shards 0 1 4] [--dtypes float32 int8]
        [--input NAME=FILE ...] [--repeat 2]

Prints a Markdown table and the shares of lines within 30 %. Shards 0 are those that the run chooses. Every run is a
process of its own, so that its memory starts where the first task finds it; of repeats the fewest CPU seconds count.
``--input`` adds a Parquet file with columns user_id and item_id. Stages before ``embed`` are reused.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.engines.local import LocalEngine
from pipeline.stages import embed
from tests.stages.chains import Chain

DATA = Path(__file__).parents[3] / "shared" / "data"
METHODS: Mapping[str, Mapping[str, Any]] = {
    "fastrp": {},
    "low_pass": {"form": "low_pass"},
    "spectral": {"method": "spectral"},
    "rotated": {"method": "spectral", "rank": 512, "reduction": "rotate"},
}
LAID_OUT = ("ingest", "index", "partition", "layout")
WITHIN = 0.30


def _plain(name: str) -> dict[str, str]:
    path = str(DATA / name / "edges.parquet")
    return {"path": path, "source": "src", "target": "dst", "source_type": "node", "target_type": "node"}


def _pairs(name: str) -> dict[str, str]:
    return {"path": str(DATA / name / "train.parquet"), "source": "src", "target": "dst"}


GRAPHS: Mapping[str, Mapping[str, str]] = {
    **{name: _pairs(name) for name in ("gowalla", "lastfm", "ml-100k")},
    **{name: _plain(name) for name in ("musae-github", "blogcatalog", "ppi")},
}


def measure(folder: str, config: Mapping[str, Any], repeat: int) -> dict[str, Any]:
    """Run ``embed`` in this process, without committing; return what was said before and what was recorded."""
    from jobs.commands.machine import slowness
    from pipeline.embedding.methods import CONFIG

    machine = slowness()
    workspace = Chain(Path(folder)).workspace(config)
    read = CONFIG.model_validate(config)
    said = embed.shards_for(read, workspace, "local", 1).price
    growth, seconds, moved, tasks = 0, float("inf"), 0.0, 0
    for number in range(repeat):
        engine = LocalEngine()
        before = engine.cpu_seconds()
        outcome = embed.run(engine, read, workspace)
        seconds = min(seconds, engine.cpu_seconds() - before)
        if number == 0:  # later ones find memory that the first has left
            growth = max(record.growth_bytes for record in outcome.records)
        moved, tasks = outcome.figures["floats_moved_per_node"], len(outcome.records)
        shutil.rmtree(workspace.work(embed.NAME))
    return {
        "shards": said.shards,
        "task_bytes": (said.task_bytes, growth),
        "floats": (said.floats_moved_per_node, moved),
        "tasks": (said.tasks, tasks),
        "seconds": (machine * said.cpu_seconds, seconds),
        "slowness": machine,
    }


def configs(options: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the graph's and the method's name and the configuration of every run."""
    given = {name: GRAPHS[name] for name in options.data}
    for name, _, path in (text.partition("=") for text in options.input):
        given[name] = {"path": path, "source": "user_id", "target": "item_id"}
    for name, source in given.items():
        for parts in options.parts:
            for dim in options.dims:
                for dtype in options.dtypes if parts > 1 else options.dtypes[:1]:
                    for method, shards in product(options.methods, options.shards):
                        if shards > 1 and METHODS[method].get("method") == "spectral":
                            continue
                        asked = {**METHODS[method], "dim": dim, "boundary_dtype": dtype}
                        embedding = {**asked, "shards": shards} if shards else asked
                        given_config = {"input": source, "partition": {"parts": parts}, "embedding": embedding}
                        yield name, method, given_config


def main() -> None:
    """Print the table as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", nargs="*", choices=sorted(GRAPHS), default=["gowalla", "musae-github", "blogcatalog"])
    parser.add_argument("--input", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--methods", nargs="*", choices=sorted(METHODS), default=["fastrp"])
    parser.add_argument("--parts", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--dims", nargs="+", type=int, default=[128])
    parser.add_argument("--shards", nargs="+", type=int, default=[0, 4])
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    print("| graph | method | parts | dim | type | shards | memory MiB | floats a node | tasks | CPU s | slowness |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    off: dict[str, list[float]] = {"task_bytes": [], "floats": [], "seconds": []}
    context = multiprocessing.get_context("spawn")
    for name, method, config in configs(options):
        chain = Chain(Path(options.work) / name)
        ended = chain.run({**config, "evaluate": {"source": "none"}}, LAID_OUT)
        if ended.code:
            raise SystemExit(ended.error)
        with ProcessPoolExecutor(1, mp_context=context) as process:
            found = process.submit(
                measure, str(chain.folder), {**config, "evaluate": {"source": "none"}}, options.repeat
            ).result()
        for what, ratios in off.items():
            said, recorded = found[what]
            ratios.append(abs(said / recorded - 1) if recorded else float(said != recorded))
        memory = " / ".join(f"{size / 2**20:.0f}" for size in found["task_bytes"])
        floats = " / ".join(f"{count:.1f}" for count in found["floats"])
        tasks = " / ".join(f"{count}" for count in found["tasks"])
        seconds = " / ".join(f"{count:.2f}" for count in found["seconds"])
        asked = config["embedding"]
        print(
            f"| {name} | {method} | {config['partition']['parts']} | {asked['dim']} | {asked['boundary_dtype']} "
            f"| {found['shards']} | {memory} | {floats} | {tasks} | {seconds} | {found['slowness']:.2f} |",
            flush=True,
        )
    print("\nEach cell: said / recorded.")
    for what, ratios in off.items():
        near = sum(ratio <= WITHIN for ratio in ratios)
        middle = sorted(ratios)[len(ratios) // 2]
        print(
            f"{what}: {near} of {len(ratios)} within {WITHIN:.0%}, median off by {middle:.1%}, most {max(ratios):.1%}"
        )


if __name__ == "__main__":
    main()
