"""The walk index against exact lists: latency, CPU, bytes read and precision by walks, rounds and size of the batch.

    python -m tests.benchmarks.ppr_index --data TRAIN.parquet --work FOLDER

The file holds the pairs of a bipartite graph, users and items in its first two columns, such as one of
``tests/benchmarks/planted_bipartite.py``. A batch is answered as ``graphquilt query ppr`` does it with one process that
has its kernels loaded: the release is opened, what is needed is read, and ids are looked up both ways. Bytes are those
of the row groups and footers that are read; of exact lists, of the graph and the ids. ``push`` touches what is near a
source alone: here to the errors that ``--push`` names, at a node of mean degree. Precision is that of some of the
queries, against power iteration in float64.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from graphquilt.column_checksums import columns_of
from graphquilt.row_groups import RowGroups
from pipeline.kernels.transition import Transition
from pipeline.queries.ppr import answer_batch
from pipeline.queries.restart_batches import Batch
from pipeline.queries.restart_solvers import ExactSolver, QueryOptions, open_solver

K = 100
CONFIG = """\
[input]
path = "{path}"
source = "{source}"
source_type = "user"
target = "{target}"
target_type = "item"
[embedding]
dim = 8
[evaluate]
source = "none"
[ppr]
restart = {restart}
walk_index = true
"""


def make_release(data: Path, work: Path, restart: float, walks: int) -> tuple[Path, dict[str, Any]]:
    """Run the chain; return the release's folder, and the figures of aggregate, which makes the index."""
    source, target = pq.read_schema(data).names[:2]
    config = work / "config.toml"
    config.write_text(CONFIG.format(path=data.absolute(), source=source, target=target, restart=restart))
    command = ["run", "--config", config, "--workspace", work, "--set", f"ppr.index_walks={walks}", "--json"]
    done = subprocess.run([sys.executable, "-m", "graphquilt", *map(str, command)], check=True, capture_output=True)
    folder = Path(json.loads(done.stdout)["path"])
    made = json.loads((folder / "manifest.json").read_text())["stages"]["aggregate"]
    waves = {wave["name"]: wave["cpu_seconds"] for wave in made["made_by"]["waves"]}
    cpu = sum(waves.get(name, 0.0) for name in ("graph", "walks"))
    return folder, {"bytes_per_node": made["figures"]["walk_bytes"] / made["figures"]["rows"], "build_cpu": cpu}


@contextmanager
def counted_reads() -> Iterator[list[int]]:
    """Yield a list that all reads of row groups and footers add their bytes to."""
    counts: list[int] = []
    decode, add_file = RowGroups._decode, RowGroups._add_file

    def counting_decode(self: RowGroups, file: int, groups: Any, names: Any) -> pa.Table:
        footer = self._footers[file]
        of_groups = [one for group in groups for one in columns_of(footer.row_group(group.number))]
        counts.append(sum(size for name, _, size in of_groups if name in names))
        return decode(self, file, groups, names)

    def counting_add(self: RowGroups, *arguments: Any) -> None:
        add_file(self, *arguments)
        counts.append(self._footers[-1].serialized_size)

    with patch.object(RowGroups, "_decode", counting_decode), patch.object(RowGroups, "_add_file", counting_add):
        yield counts


def exact_scores(graph: Transition, seeds: NDArray[np.int64], restart: float) -> NDArray[np.float64]:
    """(seeds, n) float64: power iteration until what is left is below 1e-6."""
    matrix = sparse.csr_array((np.ones(graph.indices.size), graph.indices, graph.indptr), shape=(graph.n, graph.n))
    start = np.zeros((graph.n, seeds.size))
    start[seeds, np.arange(seeds.size)] = restart
    x = start.copy()
    for _ in range(math.ceil(math.log(1e-6) / math.log1p(-restart))):
        x = start + (1 - restart) * (matrix @ (x / graph.degree[:, None]))
    return np.ascontiguousarray(x.T)


class Truth:
    """The exact scores of items for some users, and the precision of lists by them."""

    def __init__(self, folder: Path, sample: int) -> None:
        with open_solver(folder, QueryOptions(is_exact=True)) as solver:
            assert isinstance(solver, ExactSolver)
            whole, (first, stop) = solver._whole, solver.types["item"]
            users = whole.node_ix[slice(*whole.rows_between(*solver.types["user"]))]
            rng = np.random.default_rng(0)
            self.ids = [str(one) for one in solver.ids_of(rng.permutation(users)).to_pylist()]
            seeds = whole.rows_of(solver.find(pa.array(self.ids[:sample]), "user"))
            rows = slice(*whole.rows_between(first, stop))
            names = solver.ids_of(whole.node_ix[rows]).to_pylist()
            self.mean_degree = float(whole.graph.degree.mean())
            self._place = {name: at for at, name in enumerate(names)}
            self._scores = exact_scores(whole.graph, seeds, solver.config.ppr.restart)[:, rows]
        runs = folder.parents[3] / "runs"
        files = [file for name in ("block_edges", "block_nodes", "node_index") for file in runs.glob(f"*/{name}/*/*")]
        self.graph_bytes = sum(file.stat().st_size for file in files if file.is_file())
        self._last = -np.partition(-self._scores, K - 1, axis=1)[:, K - 1]

    def batch(self, queries: int) -> Batch:
        """The first users; those whose scores are known come first."""
        ids = self.ids[:queries]
        return Batch(ids, np.arange(len(ids) + 1), ids, ["user"] * len(ids), np.ones(len(ids)))

    def precision(self, answers: pa.Table) -> float:
        """Return the share of listed items that are among the exact best."""
        lists = answers["neighbor_ids"].slice(0, len(self._last)).to_pylist()
        hits = [
            sum(self._scores[i, self._place[name]] >= last * (1 - 1e-6) for name in names)
            for i, (names, last) in enumerate(zip(lists, self._last, strict=False))
        ]
        return sum(hits) / (K * len(hits))


def measure(folder: Path, way: str, query: QueryOptions, truth: Truth, queries: int) -> None:
    """Answer a batch, and print a row of the table."""
    batch = truth.batch(queries)
    with counted_reads() as counts:
        began, cpu = time.perf_counter(), time.process_time()
        answers = answer_batch(folder, batch, query)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    megabytes = (truth.graph_bytes if query.is_exact else sum(counts)) / 1e6
    figures = f"{seconds:.2f} | {cpu_seconds:.2f} | {megabytes:,.1f} | {truth.precision(answers):.3f}"
    print(f"| {queries:,} | {way} | {figures} |", flush=True)


def main() -> None:
    """Measure, and print a table for each number of walks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="for workspaces; an index is made once")
    parser.add_argument("--restart", type=float, default=0.15)
    parser.add_argument("--walks", type=int, nargs="+", default=[100])
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--push", type=float, nargs="*", default=[1e-5], metavar="ERROR")
    parser.add_argument("--most", type=int, default=1_000, metavar="N", help="queries solved exactly or in 2 rounds")
    parser.add_argument("--sample", type=int, default=20)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    truth: Truth | None = None
    for walks in options.walks:
        folder, made = make_release(options.data, options.work, options.restart, walks)
        print(f"{walks} walks a node: {made['bytes_per_node']:.0f} bytes a node, {made['build_cpu']:.0f} CPU s\n")
        print(f"| queries | way | s | CPU s | MB read | precision@{K} |\n|---|---|---|---|---|---|", flush=True)
        ways = {
            f"index, rounds: {rounds}": QueryOptions(target_type="item", k=K, rounds=rounds)
            for rounds in options.rounds
        }
        if truth is None:
            truth = Truth(folder, options.sample)
            exact = QueryOptions(target_type="item", k=K, is_exact=True)
            ways["exact"] = exact
            for error in options.push:
                threshold = f"ppr.push_threshold={error / truth.mean_degree:.3g}"
                ways[f"push to {error:g}"] = replace(exact, overrides=(threshold,))
        for size in options.batches:
            for way, query in ways.items():
                if size <= options.most or not (query.is_exact or query.rounds > 1):
                    measure(folder, way, query, truth, size)


if __name__ == "__main__":
    main()
