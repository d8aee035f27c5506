"""A generated graph of users, items and what is known of items, with the config of its run.

    python -m tests.benchmarks.knowledge_graph FOLDER [--seed N]
    graphquilt tune --config FOLDER/config.toml --workspace WORK --out FOLDER/tuned.toml

Items have facts, most of them of one subject, as knowledge graphs have; users like some facts, and click what has them
and what is popular. A tenth of the items is in no training pair. Files: train and test pairs, facts as pairs and as
lists of items; attributes.toml is the config of a run with facts as attributes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USERS, ITEMS, FACTS, SUBJECTS = 3_000, 2_000, 600, 60
_FACTS_AN_ITEM, _LIKED, _CLICKS, _COLD = 4, 4, 12, 0.1
_PULL = 2.5  # how much likelier a liked fact makes a click, as a logarithm

_CONFIG = """[input]
path = "train.parquet"
source = "user"
target = "item"

[[relations]]
name = "facts"
path = "facts.parquet"
source = "item"
source_type = "item"
target = "fact"
target_type = "fact"
strength = 0.3

[embedding]
method = "spectral"
dim = 64

[evaluate]
source = "file"
path = "test.parquet"
"""

_ATTRIBUTES = """[input]
path = "train.parquet"
source = "user"
target = "item"

[attributes.item]
path = "items.parquet"
lists = ["facts"]

[embedding]
method = "spectral"
dim = 128

[cold_start]
rows = "map"

[evaluate]
source = "file"
path = "test.parquet"
"""


def write_graph(folder: Path, seed: int = 0) -> None:
    """Write the files."""
    rng = np.random.default_rng(seed)
    of_subject = rng.permutation(FACTS).reshape(SUBJECTS, -1)
    subject = rng.integers(0, SUBJECTS, ITEMS)
    facts = np.stack([_draw_facts(rng, of_subject[one], _FACTS_AN_ITEM) for one in subject])
    has_fact = np.zeros((ITEMS, FACTS), np.bool_)
    has_fact[np.arange(ITEMS)[:, None], facts] = True
    popularity = rng.pareto(1.5, ITEMS) + 0.1
    pairs = []
    for user in range(USERS):
        liked = np.concatenate([_draw_facts(rng, of_subject[rng.integers(SUBJECTS)], 2) for _ in range(_LIKED // 2)])
        chance = popularity * np.exp(_PULL * has_fact[:, liked].sum(axis=1))
        items = rng.choice(ITEMS, _CLICKS, replace=False, p=chance / chance.sum())
        pairs.append(np.stack([np.full(_CLICKS, user), items], axis=1))
    clicks = np.concatenate(pairs)
    is_cold = rng.random(ITEMS) < _COLD
    is_test = (rng.random(len(clicks)) < 0.2) | is_cold[clicks[:, 1]]
    for name, some in (("train", clicks[~is_test]), ("test", clicks[is_test])):
        pq.write_table(pa.table({"user": some[:, 0], "item": some[:, 1]}), folder / f"{name}.parquet")
    item, fact = np.nonzero(has_fact)
    pq.write_table(pa.table({"item": item, "fact": fact}), folder / "facts.parquet")
    lists = [list(map(str, fact[item == one])) for one in range(ITEMS)]
    pq.write_table(pa.table({"id": np.arange(ITEMS), "facts": lists}), folder / "items.parquet")
    (folder / "config.toml").write_text(_CONFIG, encoding="utf-8")
    (folder / "attributes.toml").write_text(_ATTRIBUTES, encoding="utf-8")


def _draw_facts(rng: np.random.Generator, near: np.ndarray, count: int) -> np.ndarray:
    """Draw facts, nine of ten from those near."""
    is_near = rng.random(count) < 0.9
    return np.where(is_near, rng.choice(near, count), rng.integers(0, FACTS, count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_graph(options.folder, options.seed)
