"""Labels read off tables of one type: rows of docs/explanation/options.md, with ProNE for comparison.

    python -m tests.benchmarks.label_figures FOLDER [--dim 128] [--seeds 5]

FOLDER holds ``edges.parquet`` (src, dst) and ``labels.parquet`` (node, label), as `planted_coauthors.py` writes them.
Prints for each table the median micro-F1 by DeepWalk's protocol at a tenth of the labels, by our regression at C = .05
and, of the first seed's rows at norm 1, by liblinear at its default C = 1; and the CPU seconds of the rows, one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.embedding.in_memory import block_from_edges, embed_in_memory
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.evaluation.classification import classify_nodes, f1_scores, top_labels
from pipeline.kernels.hashing import splitmix64
from tests.oracles.log_transition import prone, unit

FORMS = {
    "eigenvectors": ("plain", {}),
    "eigenvectors, accelerate = true, iterations = 16": ("plain", {"accelerate": True, "iterations": 16}),
    "form = 'log_transition'": ("log_transition", {"form": "log_transition"}),
    "form = 'log_transition', smoothing = 0": ("log_transition", {"form": "log_transition", "smoothing": 0}),
    "form = 'log_transition', smoothing = 3": ("log_transition", {"form": "log_transition", "smoothing": 3}),
}
SHARE, UNIT = 0.1, 2**32


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    edges, rows = pq.read_table(asked.folder / "edges.parquet"), pq.read_table(asked.folder / "labels.parquet")
    src, dst = (edges[name].to_numpy().astype(np.int64) for name in ("src", "dst"))
    node, label = (rows[name].to_numpy() for name in ("node", "label"))
    nodes = 1 + int(max(src.max(), dst.max(), node.max()))
    labels = np.zeros((nodes, 1 + int(label.max())), np.bool_)
    labels[node, label] = True
    block = block_from_edges(splitmix64(np.arange(nodes, dtype=np.uint64)), src, dst, np.full(src.size, UNIT))
    has_both = block.node_ix[labels[block.node_ix].any(axis=1)]
    adjacency = sparse.csr_array((np.ones(src.size), (src, dst)), (nodes, nodes))
    adjacency = sparse.csr_array(adjacency + adjacency.T)[block.node_ix][:, block.node_ix]

    def of_form(form: str, keys: dict[str, object], seed: int) -> np.ndarray:
        embedding = EMBEDDING.model_validate({"method": "spectral", "dim": asked.dim, "seed": seed, **keys})
        every = (0, nodes)
        return embed_in_memory(block, Settings(GraphSummary(nodes, every, every), embedding, form))

    def of_prone(propagates: bool, seed: int) -> np.ndarray:
        table = np.zeros((nodes, asked.dim))
        table[block.node_ix] = prone(adjacency, asked.dim, propagates=propagates, seed=seed)
        return table

    makers: dict[str, Callable[[int], np.ndarray]] = {
        name: lambda seed, form=form, keys=keys: of_form(form, keys, seed) for name, (form, keys) in FORMS.items()
    }
    makers |= {
        f"ProNE{after}": lambda seed, on=on: of_prone(on, seed) for after, on in (("", False), (", band-pass", True))
    }
    keys = splitmix64(has_both.astype(np.uint64))
    print("| table | micro-F1 at 10 % | liblinear, C = 1, norm 1 | CPU |\n|---|---|---|---|")
    for name, make in makers.items():
        with threadpool_limits(1):
            figures, seconds, tables = [], [], []
            for seed in range(asked.seeds):
                started = time.process_time()
                table = unit(make(seed).astype(np.float64))[has_both]
                seconds.append(time.process_time() - started)
                tables.append(table)
                scaled = (table * np.sqrt(asked.dim) / 2).astype(np.float32)
                figures.append(classify_nodes(scaled, keys, labels[has_both], (SHARE,), (seed,))[0].micro_f1)
            of_library = liblinear_f1(tables[0], labels[has_both])
        cpu = statistics.median(seconds)
        print(f"| {name} | {statistics.median(figures):.4f} | {of_library:.4f} | {cpu:.1f} |", flush=True)


def liblinear_f1(rows: np.ndarray, labels: np.ndarray) -> float:
    """Micro-F1 by scikit-learn's liblinear with its defaults: C = 1, and an intercept that is penalised."""
    train, test = np.split(np.random.default_rng(0).permutation(len(rows)), [int(SHARE * len(rows))])
    scores = np.full((test.size, labels.shape[1]), -np.inf)
    for column in np.flatnonzero(labels[train].any(axis=0) & ~labels[train].all(axis=0)):
        model = LogisticRegression(solver="liblinear").fit(rows[train], labels[train, column])
        scores[:, column] = model.decision_function(rows[test])
    return f1_scores(labels[test], top_labels(scores, labels[test].sum(axis=1)))[0]


if __name__ == "__main__":
    main()
