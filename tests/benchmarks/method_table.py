"""Methods x data x widths: parameters by ``graphquilt tune``, then the test pairs, once.

    python -m tests.benchmarks.method_table --workspace build/methods [--data gowalla ...] [--dims 64 ...] [--budget 60]

For each data set and width, ``tune`` chooses on a split of the training pairs, within the budget. Of each method the
parameters that were best there are embedded on all training pairs with five seeds, and scored on the test pairs: what
is printed is the median, with the smallest and the largest, CPU seconds of one embedding on one core, and megabytes of
the table. A star marks what tune would have written. Nothing is chosen by a test figure.

Data: ``../shared/data``; what is not there is left out. musae-github: 20 % of the edges are drawn (seed 0) as test
edges. BlogCatalog and PPI: tune reads the labels of a tenth of the nodes; test is DeepWalk's protocol (C = .05,
shuffles 0 to 4) over all labels. ML-100k is split by time, and peers are tuned on the very same validation split.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy import sparse  # noqa: E402

from jobs.commands.tune import without_test  # noqa: E402
from pipeline.config.model import PipelineConfig  # noqa: E402
from pipeline.embedding.methods import CONFIG  # noqa: E402
from pipeline.engines.local import LocalEngine  # noqa: E402
from pipeline.evaluation.classification import classify_nodes  # noqa: E402
from pipeline.evaluation.scoring import rank_pairs  # noqa: E402
from pipeline.evaluation.table import Pairs, Table  # noqa: E402
from pipeline.evaluation.top_k import unit_rows  # noqa: E402
from pipeline.ingest.run_date import end_of  # noqa: E402
from pipeline.kernels.hashing import hash_nodes  # noqa: E402
from pipeline.kernels.node_keys import node_keys  # noqa: E402
from pipeline.stages.opening import OpenOptions, open_workspace  # noqa: E402
from pipeline.tuning.embedder import Embedder, Vectors  # noqa: E402
from pipeline.tuning.options import TuneOptions  # noqa: E402
from pipeline.tuning.pair_weights import PairWeights, split_changes  # noqa: E402
from pipeline.tuning.training_graph import TrainingGraph, history_of, positions_of, read_training_graph  # noqa: E402
from pipeline.tuning.validation_tasks import hide_pairs, read_labels  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.benchmarks import matrix_peers  # noqa: E402

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SEEDS = range(5)
K = 20
LABELLED_SHARE = 0.1
TEST_EDGES = 0.2


@dataclass(frozen=True)
class Data:
    """A data set: its files, its widths, and how it is described to ``init``'s successors."""

    name: str
    train: str
    dims: tuple[int, ...]
    input: Mapping[str, str]
    test: str | None = None
    labels: str | None = None
    peers: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return DATA / self.name


PLAIN = {"source_type": "node", "target_type": "node"}
DATASETS = (
    Data("gowalla", "train.parquet", (64, 128, 256, 512), {}, test="test.parquet"),
    Data("lastfm", "train.parquet", (64, 128), {}, test="test.parquet"),
    Data(
        "ml-100k",
        "train.parquet",
        (32, 64, 128),
        {"timestamp": "ts", "timestamp_unit": "s"},
        test="test.parquet",
        peers=("EASE", "ALS"),
    ),
    Data("musae-github", "edges.parquet", (128,), PLAIN),
    Data("blogcatalog", "edges.parquet", (128,), PLAIN, labels="labels.parquet"),
    Data("ppi", "edges.parquet", (128,), PLAIN, labels="labels.parquet"),
)


@dataclass(frozen=True)
class Line:
    """A line of the table; quality as (median, smallest, largest) by figure."""

    data: str
    method: str
    dim: int
    is_chosen: bool
    quality: Mapping[str, tuple[float, float, float]]
    cpu_seconds: float
    table_bytes: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


Quality = Callable[[NDArray[np.float32], str], Mapping[str, float]]


class Bench:
    """One data set in a workspace: tuned by the command, embedded and scored here."""

    def __init__(self, data: Data, folder: Path) -> None:
        self.data, self.folder = data, folder / data.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.test: pa.Table | None = pq.read_table(data.folder / data.test) if data.test else None
        train = data.folder / data.train
        if not data.test and not data.labels:
            train = self._split_edges(train)
        self.config_file = self.folder / "config.toml"
        given = {"path": str(train), "source": "src", "target": "dst", **data.input}
        self.config_file.write_text("[input]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in given.items()))
        self.labels = self._some_labels() if data.labels else None

    def tuned(self, dim: int, budget: float) -> dict[str, Any]:
        """Run the command."""
        use = ["--labels", str(self.labels)] if self.labels else []
        out = self.folder / f"tuned-{dim}.toml"
        command = [sys.executable, "-m", "graphquilt", "tune", "--config", str(self.config_file), "--out", str(out)]
        command += ["--workspace", str(self.folder / "work"), "--dims", str(dim), "--budget", str(budget), "--json"]
        done = subprocess.run([*command, *use], cwd=ROOT, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def lines(self, dim: int, budget: float, seeds: Sequence[int]) -> list[Line]:
        """Tune at a width; embed and score the best of every method that was tried."""
        found = self.tuned(dim, budget)
        config, workspace, graph = self._opened()
        quality = self._quality(config, workspace, graph)
        best: dict[str, dict[str, Any]] = {}
        for trial in found["candidates"]:
            method = _method_of(config, trial["changes"])
            if method not in best or (trial["is_whole"], trial["value"]) > (
                best[method]["is_whole"],
                best[method]["value"],
            ):
                best[method] = trial
        best[_method_of(config, found["chosen"]["changes"])] = found["chosen"]
        made = []
        for method, trial in sorted(best.items()):
            is_chosen = trial["changes"] == found["chosen"]["changes"]
            tables = (self._embedded(config, workspace, graph, trial["changes"], seed) for seed in seeds)
            made.append(_line(self.data.name, method, dim, is_chosen, tables, quality, trial["changes"]))
        return made

    def peer_lines(self, seeds: Sequence[int]) -> list[Line]:
        """Tune the peers on the validation split that tune uses, then score them as all others."""
        if not self.data.peers:
            return []
        config, workspace, graph = self._opened()
        quality = self._quality(config, workspace, graph)
        task = hide_pairs(config, graph, workspace, TuneOptions(), max(self.data.dims))
        made = []
        for name in self.data.peers:
            method, values = matrix_peers.METHODS[name], {}
            for number, parameters in enumerate(matrix_peers.settings_of(name)):
                matrices = (_matrix(graph, split.weights.stays) for split in task.splits)
                rows = np.concatenate([_stacked(graph, *method(matrix, **parameters)) for matrix in matrices])
                values[number] = (task.validation(rows, "dot", task.validation.units).value, parameters)
            parameters = max(values.values(), key=lambda pair: pair[0])[1]
            everything = np.ones(graph.src.size, np.bool_)
            tables = (_timed(method, graph, everything, parameters, seed) for seed in seeds)
            dim = int(parameters.get("factors", graph.target[1] - graph.target[0]))
            made.append(_line(self.data.name, name, dim, False, tables, quality, parameters))
        return made

    def _opened(self) -> tuple[PipelineConfig, Workspace, TrainingGraph]:
        config = without_test(CONFIG.from_toml(self.config_file))
        opening = OpenOptions(None, "bench", starts_with_ingest=True)
        workspace = open_workspace(LocalEngine(), config, self.folder / "work", opening)
        return config, workspace, read_training_graph(config, workspace, 2**62, 0)

    def _embedded(
        self,
        config: PipelineConfig,
        workspace: Workspace,
        graph: TrainingGraph,
        changes: Mapping[str, Any],
        seed: int,
    ) -> Vectors:
        seeded = config.model_copy(update={"embedding": config.embedding.model_copy(update={"seed": seed})})
        use = "classifier" if self.labels else "retrieval"
        everything = np.ones(graph.src.size, np.bool_)
        history = history_of(graph, workspace)
        # Ages run to the end of the date, as in a run.
        weights = PairWeights(config, graph, everything, history, end_of(workspace.date))
        return Embedder(seeded, graph, [weights], use)(changes)

    def _quality(self, config: PipelineConfig, workspace: Workspace, graph: TrainingGraph) -> Quality:
        if self.data.labels:
            found = read_labels(str(self.data.folder / self.data.labels), config.input.source_type, graph, workspace)

            def by_labels(rows: NDArray[np.float32], similarity: str) -> Mapping[str, float]:
                seen = unit_rows(rows[found.position]) if similarity == "cosine" else rows[found.position]
                shares = classify_nodes(seen, graph.node_key[found.position], found.labels)
                return {f"micro-F1 at {at.train_share:.0%}": at.micro_f1 for at in shares}

            return by_labels
        assert self.test is not None
        src_type, dst_type = config.input.source_type, config.input.target_type
        src = positions_of(self.test["src"].combine_chunks(), src_type, graph, workspace)
        dst = positions_of(self.test["dst"].combine_chunks(), dst_type, graph, workspace)
        # Users that are new count with zeros, each by its own number.
        test = Pairs(np.where(src < 0, -2 - self.test["src"].to_numpy().astype(np.int64), src), dst)
        ranges = {src_type: graph.source, dst_type: graph.target}
        degree = np.bincount(np.concatenate([graph.src, graph.dst]), minlength=graph.nodes)

        def by_pairs(rows: NDArray[np.float32], similarity: str) -> Mapping[str, float]:
            table = Table(rows, graph.node_key, degree, ranges, src_type, dst_type, similarity)
            metrics = rank_pairs(table, Pairs(graph.src, graph.dst), test, (K,), None, 0).metrics
            return {f"Recall@{K}": metrics.recall[0], f"NDCG@{K}": metrics.ndcg[0]}

        return by_pairs

    def _split_edges(self, file: Path) -> Path:
        edges = pq.read_table(file)
        is_test = np.zeros(edges.num_rows, np.bool_)
        is_test[np.random.default_rng(0).permutation(edges.num_rows)[: int(TEST_EDGES * edges.num_rows)]] = True
        self.test = edges.filter(pa.array(is_test))
        pq.write_table(edges.filter(pa.array(~is_test)), self.folder / "train.parquet")
        return self.folder / "train.parquet"

    def _some_labels(self) -> Path:
        labels = pq.read_table(self.data.folder / str(self.data.labels))
        node = labels["node"].to_numpy().astype(np.int64)
        # Another seed than those of the shuffles, which share these nodes as they share all others.
        word = hash_nodes(_keys(int(node.max()) + 1), 1_000)
        chosen = word[node] < np.uint64(int(LABELLED_SHARE * 2**64))
        pq.write_table(labels.filter(pa.array(chosen)), self.folder / "labels.parquet")
        return self.folder / "labels.parquet"


def _keys(n: int) -> NDArray[np.uint64]:
    return node_keys("node", [str(number).encode() for number in range(n)])


def _method_of(config: PipelineConfig, changes: Mapping[str, Any]) -> str:
    raw = config.model_dump(exclude_unset=True)
    full = CONFIG.model_validate({**raw, "embedding": split_changes(changes)[0]})
    return full.embedding.method if full.embedding.method != "fastrp" else f"fastrp {full.form}"


def _matrix(graph: TrainingGraph, stays: NDArray[np.bool_]) -> sparse.csr_array:
    users, items = graph.source[1] - graph.source[0], graph.target[1] - graph.target[0]
    src, dst = graph.src[stays] - graph.source[0], graph.dst[stays] - graph.target[0]
    return sparse.csr_array((np.ones(src.size), (src, dst)), shape=(users, items))


def _stacked(graph: TrainingGraph, users: NDArray[np.float32], items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows by position: the types stand in the order of their names."""
    return np.vstack([users, items] if graph.source < graph.target else [items, users])


def _timed(
    method: Callable[..., matrix_peers.Rows],
    graph: TrainingGraph,
    stays: NDArray[np.bool_],
    parameters: Mapping[str, Any],
    seed: int,
) -> Vectors:
    pairs = _matrix(graph, stays)
    started = time.process_time()
    users, items = method(pairs, **parameters, seed=seed)
    rows = _stacked(graph, users, items)
    return Vectors(rows, "dot", time.process_time() - started, rows.nbytes)


def _line(
    data: str,
    method: str,
    dim: int,
    is_chosen: bool,
    tables: Any,
    quality: Quality,
    parameters: Mapping[str, Any],
) -> Line:
    found: dict[str, list[float]] = {}
    seconds, size = [], 0
    for vectors in tables:
        seconds.append(vectors.cpu_seconds)
        size = vectors.table_bytes
        for name, value in quality(vectors.rows, vectors.similarity).items():
            found.setdefault(name, []).append(value)
    figures = {name: (statistics.median(values), min(values), max(values)) for name, values in found.items()}
    return Line(data, method, dim, is_chosen, figures, statistics.median(seconds), size, parameters)


def markdown(lines: Sequence[Line]) -> str:
    """Return the table of docs/explanation/benchmarks.md."""
    text = ["| Data | Method | d | Quality: median (smallest to largest) | CPU s | MB |", "|---|---|---|---|---|---|"]
    for line in lines:
        shown = " · ".join(
            f"{name} {median:.4f} ({low:.4f} to {high:.4f})" for name, (median, low, high) in line.quality.items()
        )
        star = " *" if line.is_chosen else ""
        text.append(
            f"| {line.data} | {line.method}{star} | {line.dim} | {shown} | {line.cpu_seconds:.2f} | "
            f"{line.table_bytes / 1e6:.1f} |"
        )
    return "\n".join(text)


def main() -> None:
    """Tune, embed, score, print; a line of JSON with the parameters for each line of the table on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=[data.name for data in DATASETS])
    parser.add_argument("--dims", nargs="*", type=int)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each data set and width")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    asked = parser.parse_args()
    lines: list[Line] = []
    for data in DATASETS:
        if not data.folder.is_dir() or (asked.data and data.name not in asked.data):
            continue
        bench = Bench(data, asked.workspace.absolute())
        for dim in asked.dims or data.dims:
            lines += _told(bench.lines(dim, asked.budget, range(asked.seeds)))
        lines += _told(bench.peer_lines(range(asked.seeds)))
    print(markdown(lines))


def _told(lines: list[Line]) -> list[Line]:
    for line in lines:
        print(json.dumps({**line.__dict__, "parameters": dict(line.parameters)}), file=sys.stderr, flush=True)
    return lines


if __name__ == "__main__":
    main()
