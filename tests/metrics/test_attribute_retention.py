"""What is left of attributes, against dicts of Python; and files of attributes that went wrong upstream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.kernels.node_keys import node_keys
from pipeline.metrics.graph_retention import (
    AttributeComparison,
    AttributeFiles,
    AttributeRetention,
    measure_attributes,
)
from tests.stages.chains import Chain, write_rows
from tests.stages.nights import planted
from tests.stages.test_nights import CONFIGS, Nights

Said = dict[tuple[str, int], dict[int, float]]  # by node: feature, value


@st.composite
def attributes(draw: st.DrawFn) -> Said:
    nodes = draw(st.sets(st.tuples(st.sampled_from(["item", "user"]), st.integers(0, 5)), min_size=1))
    values = st.dictionaries(st.integers(0, 4), st.sampled_from([-0.5, 0.25, 1.0]), max_size=4)
    return {node: draw(values) for node in nodes}


def written(folder: Path, name: str, said: Said) -> AttributeFiles:
    nodes = sorted(said)
    index = pa.table(
        {
            "node_ix": pa.array(range(len(nodes)), pa.int64()),
            "node_key": np.array([node_keys(kind, [str(one).encode()])[0] for kind, one in nodes]).view(np.int64),
            "node_type": pa.array([kind for kind, _ in nodes], pa.string()),
        }
    )
    rows = [(at, key, value) for at, node in enumerate(nodes) for key, value in sorted(said[node].items())]
    fields = [("node_ix", pa.int64()), ("feature_key", pa.int64()), ("value", pa.float32())]
    features = pa.table(
        {name: pa.array([row[at] for row in rows], kind) for at, (name, kind) in enumerate(fields)},
    )
    pq.write_table(index, folder / f"{name}.parquet")
    storage.write_arrow(folder / f"{name}.arrow", features)
    return AttributeFiles((folder / f"{name}.arrow",), (folder / f"{name}.parquet",))


@given(old=attributes(), new=attributes())
def test_sums_are_those_of_dicts(tmp_path_factory: pytest.TempPathFactory, old: Said, new: Said) -> None:
    folder = tmp_path_factory.mktemp("attributes")
    nights = (written(folder, name, said) for name, said in (("old", old), ("new", new)))
    got = measure_attributes(AttributeComparison(*nights, types=("item", "user"), seed=0))
    for kind in ("item", "user"):
        both = [(old[node], new[node]) for node in old.keys() & new.keys() if node[0] == kind and old[node]]
        kept = sum(value * b.get(key, 0.0) for a, b in both for key, value in a.items())
        of = sum(value * value for a, _ in both for value in a.values())
        assert got[kind] == AttributeRetention(kept, of, len(both))  # sums of eighths are exact


ITEMS = np.arange(400)
Columns = dict[str, Any]


def columns(ids: Any = ITEMS, kind: Any = ITEMS % 8, price: Any = ITEMS % 40) -> Columns:
    return {"id": ids, "kind": [f"kind {one}" for one in kind], "price": np.asarray(price, np.float64)}


RNG = np.random.default_rng(0)
ODD = ITEMS % 10 == 3
PASS: dict[str, Callable[[], Columns]] = {
    "as they were": columns,
    "one of ten is another": lambda: columns(kind=np.where(ODD, 0, ITEMS % 8), price=np.where(ODD, 3, ITEMS % 40)),
    "dearer by a tenth, all of them": lambda: columns(price=1.1 * (ITEMS % 40)),
    "more items, and a few are gone": lambda: columns(np.arange(20, 420)[:380], ITEMS[20:] % 8, ITEMS[20:] % 40),
}
REFUSE: dict[str, Callable[[], Columns]] = {
    "of other items": lambda: columns(RNG.permutation(ITEMS)),
    "of the item before": lambda: columns(ITEMS + 1),
    "all the same": lambda: columns(kind=0 * ITEMS, price=0 * ITEMS),
    "half of them": lambda: {name: values[::2] for name, values in columns().items()},
    "a column as text that looks alike": lambda: columns(kind=np.char.add(" ", (ITEMS % 8).astype(str))),
}


def test_attributes_that_went_wrong_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    about = {"attributes.item": {"path": str(path), "categories": ["kind"], "numbers": ["price"]}}
    nights = Nights(Chain(tmp_path), planted(), {**CONFIGS["fastrp"], **about})
    write_rows(path, columns())
    nights.pass_all(range(1, 3))
    for name, change in REFUSE.items():
        write_rows(path, change())
        ended = nights.run(3)
        assert ended.code == 3, name
        assert "attributes_kept of item is " in ended.error
        assert "[attributes]" in ended.error
    for name, change in PASS.items():
        write_rows(path, change())
        ended = nights.run(3)
        assert ended.code == 0, (name, ended.error)
    # What is asked of the columns is another: there is nothing to compare.
    other = {**CONFIGS["fastrp"], "attributes.item": {"path": str(path), "categories": ["kind"]}}
    ended = Nights(nights.chain, nights.stream, other).run(3)
    assert ended.code == 0, ended.error
    (gate,) = [one for one in ended.answer["gate"]["gates"] if one["gate"] == "min_attributes_kept"]
    assert (gate["verdict"], "are others than on" in gate["note"]) == ("not judged", True)
