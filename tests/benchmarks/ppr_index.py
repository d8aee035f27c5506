"""The walk index: accuracy, size and speed by walks a node and rounds; full paths against end points.

    python -m tests.benchmarks.ppr_index --data TRAIN.parquet --out DIR

The file holds the pairs of a bipartite graph, users and items in its first two columns. Rates are for CPU seconds of
one core, and end to end: reading the index, the batch, ids, tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from jobs.config_file import read_config
from pipeline.embedding.ppr.walk_graph import WalkGraph
from pipeline.embedding.ppr.walk_index import WalkIndex
from pipeline.embedding.ppr.whole_graph import whole_graph
from pipeline.engines.local import LocalEngine
from pipeline.kernels.ppr_batch import batch_top_k, nodes_after
from pipeline.kernels.ppr_batch_passes import BatchRule
from pipeline.kernels.ppr_top_k import Candidates
from pipeline.kernels.ppr_walks import WalkRule, walk_scores
from pipeline.kernels.transition import Transition, single_seeds
from pipeline.queries.ppr import QueryOptions, answer_batch
from pipeline.queries.restart_batches import Batch
from pipeline.stages.opening import OpenOptions, open_workspace

mpl.use("Agg")
from matplotlib import pyplot as plt

RESTART, K = 0.15, 100
WALKS, ROUNDS = (10, 50, 200), (0, 1, 2)
COMPARED_WALKS = 2_000  # of full paths and of end points
CONFIG = """\
[input]
path = "{path}"
source = "{source}"
source_type = "user"
target = "{target}"
target_type = "item"
[ppr]
restart = {restart}
"""


def exact_scores(graph: Transition, seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """(seeds, n) float64: power iteration until what is left is below 1e-6."""
    ones = np.ones(graph.indices.size)
    matrix = sparse.csr_array((ones, graph.indices, graph.indptr), shape=(graph.n, graph.n))
    start = np.zeros((graph.n, seeds.size))
    start[seeds, np.arange(seeds.size)] = RESTART
    x = start.copy()
    for _ in range(85):
        x = start + (1 - RESTART) * (matrix @ (x / graph.degree[:, None]))
    return np.ascontiguousarray(x.T)


def end_point_scores(graph: Transition, seed_node: int, walks: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n,) float64: the share of walks that end at each node, which is the other unbiased estimate."""
    node = np.full(walks, seed_node)
    left = rng.geometric(RESTART, walks) - 1
    while (left > 0).any():
        (going,) = np.nonzero(left)
        at = node[going]
        degree = np.diff(graph.indptr)[at]
        node[going] = graph.indices[graph.indptr[at] + (rng.random(going.size) * degree).astype(np.int64)]
        left[going] -= 1
    return np.bincount(node, minlength=graph.n) / walks


def times_fewer_walks(whole: WalkGraph, rows: NDArray[np.int64], exact: NDArray[np.float64]) -> tuple[float, float]:
    """Return how many times the walks end points need for the squared error of full paths; measured, and in theory.

    Over nodes other than the seed. Theory: 1 / (restart (2 G - 1)) for a node that a walk which visits it visits G
    times; weighted by score, as errors are, G is exact[v, v] / restart.
    """
    graph, rng = whole.graph, np.random.default_rng(0)
    rule = WalkRule(RESTART, COMPARED_WALKS, 0)
    found = walk_scores(graph, None, single_seeds(rows), whole.node_key[rows], rule)
    full, ends = 0.0, 0.0
    for i, row in enumerate(rows):
        got = np.zeros(graph.n)
        entries = slice(found.indptr[i], found.indptr[i + 1])
        got[found.nodes[entries]] = found.scores[entries]
        others = np.arange(graph.n) != row
        full += float(((got - exact[i])[others] ** 2).sum())
        ends += float(((end_point_scores(graph, int(row), COMPARED_WALKS, rng) - exact[i])[others] ** 2).sum())
    returns = np.diag(exact[:, rows]) / RESTART  # of the seeds themselves, a sample of nodes
    return ends / full, float(1 / (RESTART * (2 * returns.mean() - 1)))


def measure(
    engine: Any, config_file: Path, work: Path, walks: int, queries: int, sample: int
) -> tuple[list[dict[str, Any]], tuple[float, float]]:
    """Build an index, and answer by it with each number of rounds."""
    setting = f"ppr.index_walks={walks}"
    command = [
        "-m",
        "graphquilt",
        "ppr-index",
        "--config",
        config_file,
        "--workspace",
        work,
        "--set",
        setting,
        "--json",
    ]
    done = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    made = json.loads(done.stdout)
    config = read_config(config_file, [setting])
    workspace = open_workspace(engine, config, work, OpenOptions(None, uuid4().hex[:12], starts_with_ingest=False))
    whole = WalkGraph.read(whole_graph(engine, config, workspace)[0])
    index = WalkIndex(workspace.files("ppr_index"), whole, RESTART, walks)
    figures = workspace.manifest("node_index").figures["types"]
    users, items = (whole.rows_between(*figures[name]) for name in ("user", "item"))
    rows = np.random.default_rng(0).choice(np.arange(*users), queries, replace=False)
    ids = pq.read_table(workspace.files("node_index"), columns=["node_id"])["node_id"]
    names = [str(one) for one in ids.take(whole.node_ix[rows]).to_pylist()]
    batch = Batch(names, np.arange(queries + 1), names, None, np.ones(queries))
    exact = exact_scores(whole.graph, rows[:sample])
    last = -np.sort(-exact[:, slice(*items)], axis=1)[:, K - 1]
    first, stop = figures["item"]
    number_of = {name: first + ix for ix, name in enumerate(ids.slice(first, stop - first).to_pylist())}
    lines = []
    for rounds in ROUNDS:
        began = time.process_time()
        answered = answer_batch(engine, config, workspace, batch, QueryOptions("user", "item", K, rounds, 0.0, False))
        seconds = time.process_time() - began
        listed = answered["neighbor_ids"].to_pylist()[:sample]
        right = 0
        for i, one in enumerate(listed):
            at = whole.rows_of(np.array([number_of[name] for name in one], np.int64))
            right += int((exact[i, at] >= last[i] * (1 - 1e-6)).sum())
        prints = index.fingerprints(nodes_after(whole.graph, rows[:sample], rounds))
        everyone = Candidates(0, whole.graph.n)
        lists = batch_top_k(
            whole.graph, prints, single_seeds(rows[:sample]), BatchRule(RESTART, rounds), whole.graph.n, everyone
        )
        dense = np.zeros((sample, whole.graph.n + 1))  # places behind the end of a list are the last column
        np.put_along_axis(dense, lists.nodes, lists.scores.astype(np.float64), axis=1)
        lines.append(
            {
                "walks": walks,
                "rounds": rounds,
                "bytes_per_node": made["bytes_per_node"],
                "build_cpu_seconds": made["cpu_seconds"],
                "precision": right / (K * sample),
                "l1": float(np.abs(dense[:, :-1] - exact).sum(axis=1).mean()),
                "queries_per_second": queries / seconds,
                "median_bound": float(np.median(answered["error_bound"].to_numpy())),
            }
        )
        print(json.dumps(lines[-1]), flush=True)
    return lines, times_fewer_walks(whole, rows[: min(sample, 50)], exact)


def plot(lines: list[dict[str, Any]], title: str, path: Path) -> None:
    """Accuracy against size, a line for each number of rounds."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for rounds in ROUNDS:
        some = [line for line in lines if line["rounds"] == rounds]
        size = [line["bytes_per_node"] for line in some]
        label = f"{rounds} rounds" if rounds != 1 else "1 round"
        for axis, name in zip(axes, ("precision", "l1"), strict=True):
            axis.plot(size, [line[name] for line in some], marker="o", label=label if rounds else "fingerprints alone")
    for line in (line for line in lines if line["rounds"] == ROUNDS[-1]):
        axes[0].annotate(
            f"{line['walks']} walks", (line["bytes_per_node"], line["precision"]), (0, 7), textcoords="offset points",
            ha="center", fontsize=9,
        )  # fmt: skip
    titles = (f"share of the exact top {K} found", "sum of all scores' errors (L1)")
    for axis, about in zip(axes, titles, strict=True):
        axis.set(xscale="log", xlabel="bytes of index a node", title=about)
        axis.set_ylim(bottom=0)
        axis.margins(x=0.12)
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylim(0, 1.05)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(ROUNDS))
    figure.suptitle(title)
    figure.savefig(path, dpi=130)


def markdown(lines: list[dict[str, Any]], ratio: tuple[float, float], queries: int, sample: int) -> str:
    """Return the table for people."""
    rows = [
        f"| {line['walks']} | {line['bytes_per_node']:.0f} | {line['rounds']} | {line['precision']:.3f} "
        f"| {line['l1']:.3f} | {line['queries_per_second']:,.0f} |"
        for line in lines
    ]
    return "\n".join(
        [
            f"| walks a node | bytes a node | rounds | precision@{K} | L1 error | queries a CPU second |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Batch of {queries:,} users, restart {RESTART}; accuracy against power iteration on {sample} of them. "
            f"For the squared error of full paths end points need {ratio[0]:.1f} times the walks "
            f"(theory {ratio[1]:.1f}).",
            "",
        ]
    )


def main() -> None:
    """Measure, and write the table, the plot and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--walks", type=int, nargs="+", default=WALKS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    source, target = pq.read_schema(options.data).names[:2]
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, LocalEngine(workers=1) as engine:
        config_file = Path(folder) / "config.toml"
        text = CONFIG.format(path=options.data.absolute(), source=source, target=target, restart=RESTART)
        config_file.write_text(text)
        for walks in options.walks:
            more, ratio = measure(engine, config_file, Path(folder) / "work", walks, options.queries, options.sample)
            lines += more
    (options.out / "ppr_index.json").write_text(json.dumps({"lines": lines, "ends_per_path": ratio}, indent=1))
    (options.out / "ppr_index.md").write_text(markdown(lines, ratio, options.queries, options.sample))
    plot(lines, f"walk index of {options.data.parent.name}, restart {RESTART}", options.out / "ppr_index.png")


if __name__ == "__main__":
    main()
