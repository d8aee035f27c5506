"""Graphs that break embedders: stars, paths, dust, rows that cancel; as tables of interactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pipeline.kernels.node_keys import node_keys
from pipeline.kernels.random_projection import very_sparse_projection
from tests.stages.chains import config_for, with_changes, write_rows

#: Powers of two by which rows are planted to cancel, on both sides of the 2**-18 below which they count as zero.
CANCELLATIONS = (-8, -12, -16, -17, -19, -20, -24)


@dataclass(frozen=True)
class Hostile:
    """Columns of interactions, and what a config must say about them."""

    columns: Mapping[str, Any]
    plain: bool = True
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def config(self, folder: Path, **sections: Mapping[str, Any]) -> dict[str, Any]:
        """Write the table and return a small config for it; ``sections`` win."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "in.parquet"
        if not path.exists():
            write_rows(path, self.columns)
        config = with_changes(config_for(path, plain=self.plain), **self.sections)
        return with_changes(config, **sections)


def _ends(source: Any, target: Any, *, plain: bool = True, **sections: Any) -> Hostile:
    return Hostile({"source": np.asarray(source), "target": np.asarray(target)}, plain, sections)


def _star(leaves: int) -> Hostile:
    return _ends(np.zeros(leaves, np.int64), np.arange(1, leaves + 1))


def _user_hub(items: int) -> Hostile:
    return _ends(np.zeros(items, np.int64), np.arange(items), plain=False)


def _item_hub(users: int) -> Hostile:
    return _ends(np.arange(users), np.zeros(users, np.int64), plain=False)


def _both_hubs(size: int) -> Hostile:
    users = np.concatenate([np.zeros(size, np.int64), np.arange(size)])
    return _ends(users, users[::-1], plain=False)


def _path(nodes: int) -> Hostile:
    return _ends(np.arange(nodes - 1), np.arange(1, nodes))


def _pairs(components: int) -> Hostile:
    return _ends(2 * np.arange(components), 2 * np.arange(components) + 1)


def _pairs_of_two_types(components: int) -> Hostile:
    return _ends(np.arange(components), np.arange(components), plain=False)


def _giant(nodes: int) -> Hostile:
    rng = np.random.default_rng(0)
    ends = rng.integers(0, nodes, (2, 3 * nodes))
    ends = ends[:, ends[0] != ends[1]]
    return _ends(np.concatenate([ends[0], np.arange(nodes - 1)]), np.concatenate([ends[1], np.arange(1, nodes)]))


def _loop() -> Hostile:
    return _ends([1], [1], input={"self_loops": "keep"})


def _loop_and_more() -> Hostile:
    return _ends([1, 1, 2, 3], [1, 2, 3, 3], input={"self_loops": "keep"})


def _cancelling(leaves: int) -> Hostile:
    """Hubs between two camps whose random rows are opposite, each camp's nodes close together.

    A hub's partial rows from the camps' parts are as long as its noise scale, and their sum is a given power of two
    of it. Random rows have entries of +-1, so that camps are found by looking.
    """
    dim = 4
    ids = np.arange(10_000)
    rows = very_sparse_projection(node_keys("person", [str(one).encode() for one in ids]), dim, 1.0, 0)
    camps = [ids[(rows == sign).all(axis=1)][:leaves] for sign in (1, -1)]
    assert all(camp.size == leaves for camp in camps)
    source, target, weight = [], [], []
    for camp in camps:
        for step in (1, 2, 3):
            source += camp.tolist()
            target += np.roll(camp, step).tolist()
            weight += [1.0] * leaves
    for number, exponent in enumerate(CANCELLATIONS):
        for camp, sign in zip(camps, (1, -1), strict=True):
            source += [1_000_000 + number] * leaves
            target += camp.tolist()
            weight += [1.0 + sign * 2.0**exponent] * leaves
    columns = {"source": np.array(source), "target": np.array(target), "weight": np.array(weight)}
    embedding = {"dim": dim, "sparsity": 1.0, "iteration_weights": [1.0], "normalize_powers": False}
    embedding["normalize_rows"] = True  # what cancels is a zero row then, and else a unit vector
    publish = {"gates": {"max_zero_share": 1.0}}
    sections = {"input": {"weight": "weight"}, "embedding": embedding, "publish": publish}
    return Hostile(columns, True, sections)


#: By name: a function of the size, the size it must have, and one for the fast run.
GRAPHS: Mapping[str, tuple[Callable[..., Hostile], tuple[int, ...], tuple[int, ...]]] = MappingProxyType(
    {
        "star": (_star, (10_000,), (300,)),
        "a user with all items": (_user_hub, (10_000,), (300,)),
        "an item with all users": (_item_hub, (10_000,), (300,)),
        "both": (_both_hubs, (10_000,), (300,)),
        "path": (_path, (20_000,), (400,)),
        "10,000 components": (_pairs, (10_000,), (200,)),
        "10,000 components of two types": (_pairs_of_two_types, (10_000,), (200,)),
        "giant component": (_giant, (10_000,), (300,)),
        "two nodes": (_pairs, (1,), (1,)),
        "fewer nodes than parts": (_path, (9,), (9,)),
        "a loop": (_loop, (), ()),
        "loops and more": (_loop_and_more, (), ()),
        "rows that cancel": (_cancelling, (400,), (48,)),
    }
)


def hostile(name: str, *, small: bool) -> Hostile:
    """Return a graph of :data:`GRAPHS`."""
    make, large, few = GRAPHS[name]
    return make(*(few if small else large))
