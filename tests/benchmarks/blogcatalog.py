"""Node classification on BlogCatalog by the DeepWalk protocol, from a published table.

    python tests/benchmarks/blogcatalog.py DATA_FOLDER WORKSPACE

Writes a config, runs the chain (classic FastRP, d = 512, the parameters of the reference implementation), then
trains one-vs-rest logistic regression (liblinear, C = .1) on 10 % and 50 % of the labelled nodes, predicts as many
labels as a node has, and prints micro- and macro-F1 over five permutations.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from graphquilt import EmbeddingTable

CONFIG = """\
[input]
path = "{data}/edges.parquet"
source = "src"
source_type = "blogger"
target = "dst"
target_type = "blogger"

[embedding]
form = "classic"
dim = 512
seed = {seed}
iteration_weights = [1, 1, 7.81, 45.28]
degree_power = -0.628
transition = "random_walk"
normalize_powers = true
standardize_columns = true
sparsity = "sqrt_n"

[evaluate]
source = "none"

[publish]
name = "blogcatalog"
"""


def scores(vectors: np.ndarray, labels: np.ndarray, share: float, permutations: int = 5) -> tuple[float, float]:
    """Mean micro- and macro-F1; ``vectors`` (n, dim), ``labels`` (n, classes) of 0 and 1."""
    found = []
    for seed in range(permutations):
        order = np.random.default_rng(seed).permutation(len(labels))
        train, test = np.split(order, [int(share * len(order))])
        model = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=0.1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class without a positive in 10 %: predicted never, as it should be
            model.fit(vectors[train], labels[train])
            chance = model.predict_proba(vectors[test])
        rank = np.argsort(np.argsort(-chance, axis=1, kind="stable"), axis=1)
        predicted = (rank < labels[test].sum(axis=1, keepdims=True)).astype(int)
        found.append([f1_score(labels[test], predicted, average=kind, zero_division=0) for kind in ("micro", "macro")])
    micro, macro = np.mean(found, axis=0)
    return float(micro), float(macro)


def main() -> None:
    """Run the chain and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.workspace.mkdir(parents=True, exist_ok=True)
    config = asked.workspace / f"config-{asked.seed}.toml"
    config.write_text(CONFIG.format(data=asked.data.absolute(), seed=asked.seed))
    command = ["run", "--config", str(config), "--workspace", str(asked.workspace)]
    subprocess.run([sys.executable, "-m", "graphquilt", *command], check=True)

    table = pq.read_table(asked.data / "labels.parquet")
    node, label = (table[name].to_numpy() for name in ("node", "label"))
    nodes, row = np.unique(node, return_inverse=True)
    labels = np.zeros((nodes.size, int(label.max()) + 1), int)
    labels[row, label] = 1
    with EmbeddingTable.open(asked.workspace, name="blogcatalog") as embeddings:
        vectors, found = embeddings.lookup(nodes, "blogger")
    print(f"nodes {nodes.size}, with a vector {int(found.sum())}")
    for share in (0.1, 0.5):
        micro, macro = scores(vectors, labels, share)
        print(f"{share:.0%} labels: micro-F1 {micro:.4f} macro-F1 {macro:.4f}")


if __name__ == "__main__":
    main()
