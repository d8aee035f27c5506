"""What each boundary mode keeps of the ranking of one block, and what it moves: a Markdown table a graph and form.

    python -m tests.benchmarks.boundary_modes --work FOLDER [--data gowalla musae-github] [--forms two_tower]
        [--parts 4 16 64] [--methods metis hash] [--modes drop halo-2 ...] [--dtypes float32 int8]

Work is stored entries over those of one block, where a mode copies edges. Shares are of the same form's Recall@20
and NDCG@20 in one block. Stages that an earlier line has made are reused.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stages.chains import Chain

DATA = Path(__file__).parents[3] / "shared" / "data"

#: By name of a graph: input, what is scored, and the forms that fit it.
GRAPHS: Mapping[str, Mapping[str, Any]] = {
    "gowalla": {
        "input": {"path": str(DATA / "gowalla/train.parquet"), "source": "src", "target": "dst"},
        "evaluate": {"source": "file", "path": str(DATA / "gowalla/test.parquet"), "sample": 100_000},
        "forms": ("two_tower", "classic"),
    },
    "musae-github": {
        "input": {
            "path": str(DATA / "musae-github/edges.parquet"),
            "source": "src",
            "target": "dst",
            "source_type": "developer",
            "target_type": "developer",
        },
        "evaluate": {"source": "holdout", "holdout_edges": 0.2},
        "forms": ("classic",),
    },
}

#: By form and whether the graph has one type; weights of at least one odd and one even power where it has two.
FORMS: Mapping[str, Mapping[str, Any]] = {
    "two_tower": {"form": "two_tower"},
    "classic": {
        "form": "classic",
        "iteration_weights": [0.0, 1.0, 1.0],
        "transition": "symmetric",
        "norm_degree_power": 0.3,
    },
}

MODES: Mapping[str, Mapping[str, Any]] = {
    "exchange": {"boundary": "exchange"},
    "halo-1": {"boundary": "halo", "halo_hops": 1},
    "halo-2": {"boundary": "halo", "halo_hops": 2},
    "border": {"boundary": "border"},
    "border-add": {"boundary": "border", "border_join": "add"},
    "quotient": {"boundary": "quotient"},
    "drop": {"boundary": "drop"},
}


@dataclass(frozen=True)
class Run:
    """What one configuration came to."""

    recall: float
    ndcg: float
    cut_percent: float
    floats_moved: float
    work_factor: float | None


def run(chain: Chain, graph: str, form: str, partition: Mapping[str, Any], embedding: Mapping[str, Any]) -> Run:
    """Run a configuration, or read what an earlier run made."""
    given = GRAPHS[graph]
    config = {
        "input": given["input"],
        "partition": partition,
        "embedding": {**FORMS[form], "dim": 128, **embedding},
        "evaluate": given["evaluate"],
    }
    made = chain.publish(config)
    workspace = chain.workspace(config)
    ranking = made.metrics["ranking"]
    levels = workspace.manifest("partition_tree").figures["levels"]
    layout = workspace.manifest("block_nodes").figures
    return Run(
        ranking["recall@20"],
        ranking["ndcg@20"],
        levels[-1]["cut_percent"] if levels else 0.0,
        workspace.manifest("part_rows").figures["floats_moved_per_node"],
        layout.get("work_factor"),
    )


def lines(options: argparse.Namespace, graph: str, form: str) -> Iterator[str]:
    """Yield the table of a graph and a form, a line each as it is done."""
    chain = Chain(Path(options.work) / graph)
    whole = run(chain, graph, form, {"parts": 1}, {})
    yield f"\n{graph}, {form}: one block has Recall@20 {whole.recall:.4f}, NDCG@20 {whole.ndcg:.4f}\n"
    yield "| parts | cut % | mode | type of rows | Recall@20 % | NDCG@20 % | float32s moved a node | work |"
    yield "|---|---|---|---|---|---|---|---|"
    for method in options.methods:
        for parts in options.parts:
            for mode in options.modes:
                # Where no row travels, there is nothing to narrow.
                for dtype in options.dtypes if mode == "exchange" else ["float32"]:
                    partition = {"method": method, "parts": parts}
                    found = run(chain, graph, form, partition, {**MODES[mode], "boundary_dtype": dtype})
                    yield (
                        f"| {method} {parts} | {found.cut_percent:.1f} | {mode} | {dtype} "
                        f"| {100 * found.recall / whole.recall:.2f} | {100 * found.ndcg / whole.ndcg:.2f} "
                        f"| {found.floats_moved:.0f} | {found.work_factor or '1'} |"
                    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for workspaces")
    parser.add_argument("--data", nargs="+", default=list(GRAPHS), choices=list(GRAPHS))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--parts", nargs="+", type=int, default=[4, 16, 64])
    parser.add_argument("--methods", nargs="+", default=["multilevel", "hash"])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float16", "int8"])
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    for graph in options.data:
        for form in options.forms:
            if form in GRAPHS[graph]["forms"]:
                for line in lines(options, graph, form):
                    print(line, flush=True)


if __name__ == "__main__":
    with contextlib.redirect_stderr(io.StringIO()):
        main()
