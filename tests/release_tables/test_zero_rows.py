"""A node with edges has a row, in any form and on any graph; or the run refuses and names the key to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, Ended, config_for, with_changes, write_rows

HERE = np.arange(100)
#: Columns of interactions: of two types, then of one.
OF_TWO: dict[str, dict[str, Any]] = {
    "one pair": {"source": [0], "target": [0]},
    "a user and three items": {"source": [0, 0, 0], "target": [0, 1, 2]},
    "an item and all users": {"source": HERE, "target": 0 * HERE},
    "a user and all items": {"source": 0 * HERE, "target": HERE},
    "an item a user": {"source": HERE, "target": HERE % 5},
    "pairs": {"source": HERE, "target": HERE},
    "pairs beside a graph": {
        "source": np.concatenate([HERE[:20], np.repeat(HERE[40:60], 4)]),
        "target": np.concatenate([HERE[:20], 40 + (7 * np.arange(80) // 3) % 19]),
    },
    "equal weights": {"source": np.repeat(HERE[:9], 6), "target": np.tile(HERE[:6], 9)},
    "weights that have decayed": {"source": HERE % 30, "target": HERE % 7, "weight": 2.0 ** -(HERE % 30)},
}
OF_ONE: dict[str, dict[str, Any]] = {
    "one edge": {"source": [0], "target": [1]},
    "a star": {"source": 0 * HERE, "target": HERE + 1},
    "pairs": {"source": 2 * HERE, "target": 2 * HERE + 1},
    "a path": {"source": HERE, "target": HERE + 1},
    "a square": {"source": [0, 1, 2, 3], "target": [1, 2, 3, 0]},
    "pairs of tiny weights beside a ring": {
        "source": np.concatenate([HERE[:20], 40 + 2 * HERE[:10]]),
        "target": np.concatenate([(HERE[:20] + 1) % 20, 41 + 2 * HERE[:10]]),
        "weight": np.concatenate([np.full(20, 1000.0), np.full(10, 2.0**-30)]),
    },
}
#: Sections of a config that must give every node with edges a row.
ANY: list[dict[str, Any]] = [
    {"sparsity": "sqrt_n", "dim": 64},
    {"sparsity": 1e9, "dim": 64, "form": "low_pass"},
    {"form": "low_pass"},
    {"method": "spectral"},
    {"method": "spectral", "dim": 3, "rank": 7, "reduction": "rotate", "boundary_dtype": "int8"},
    {"method": "ppr"},
    {"method": "ppr", "form": "hashed", "dim": 2},
]
TWO = [{"sparsity": 1e9, "dim": 64}, {"powers": 3}, {"method": "spectral", "no_return": 0.5}]
ONE = [{"dim": 64}, {"method": "spectral", "eigenvalues": "positive"}]


def config_of(folder: Path, columns: dict[str, Any], *, plain: bool, parts: int = 3) -> dict[str, Any]:
    path = write_rows(folder / "in.parquet", columns)
    given = {"weight": "weight"} if "weight" in columns else {}
    return config_for(path, plain=plain, parts=parts, input=given)


def zero_rows_of(chain: Chain, ended: Ended) -> tuple[int, int]:
    """Zero rows of nodes with edges, counted in the table and as the run says."""
    made = chain.published(Path(ended.answer["path"]))
    assert np.isfinite(made.rows).all()
    assert min(made.table["degree"].to_pylist()) > 0
    return int((~made.rows.any(axis=1)).sum()), ended.figures("aggregate")["zero_rows_with_edges"]


@pytest.mark.parametrize(("name", "plain"), [*((name, False) for name in OF_TWO), *((name, True) for name in OF_ONE)])
def test_every_form_gives_nodes_with_edges_rows(name: str, plain: bool, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), config_of(tmp_path, (OF_ONE if plain else OF_TWO)[name], plain=plain)
    for embedding in [*ANY, *(ONE if plain else TWO)]:
        ended = chain.run(with_changes(config, embedding=embedding))
        assert ended.code == 0, (embedding, ended.error)
        assert zero_rows_of(chain, ended) == (0, 0), embedding


@pytest.mark.parametrize(
    ("columns", "plain", "embedding", "key"),
    [
        # Two rows of one column are equal or opposite.
        (OF_ONE["pairs"], True, {"dim": 1}, "embedding.dim (now 1)"),
        (OF_ONE["one edge"], True, {"standardize_columns": True, "dim": 1}, "embedding.standardize_columns = false"),
        (OF_ONE["one edge"], True, {"iteration_weights": [0.0, 1.0, 0.0, -1.0]}, "embedding.iteration_weights"),
        (OF_TWO["pairs beside a graph"], False, {"method": "spectral", "shift": 0.0}, "embedding.shift = 0.05"),
    ],
)
def test_what_is_left_is_refused_with_the_key_to_change(
    columns: dict[str, Any], plain: bool, embedding: dict[str, Any], key: str, tmp_path: Path
) -> None:
    chain, config = Chain(tmp_path), config_of(tmp_path, columns, plain=plain, parts=1)
    config = with_changes(config, embedding=embedding)
    ended = chain.run(config)
    assert ended.code == 2
    assert "nodes with edges have zero rows" in ended.error
    assert key in ended.error
    assert "publish.gates.max_zero_share" in ended.error
    assert chain.current() is None
    # Whoever says how many are expected gets the table, with their number.
    config["publish.gates"] = {"max_zero_share": 1.0}
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    found, said = zero_rows_of(chain, ended)
    assert found == said > 0


def test_modes_that_lose_edges_say_how_many_rows_it_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from graphquilt.__main__ import main

    columns = {"source": np.repeat(HERE, 2), "target": (np.repeat(HERE, 2) + np.tile([13, 45], 100)) % 100}
    chain = Chain(tmp_path)
    config = with_changes(config_of(tmp_path, columns, plain=True), embedding={"boundary": "drop"})
    config["partition"] = {"parts": 40, "method": "hash"}
    words = ["run", "--config", str(chain.write_config(config)), "--workspace", str(chain.root), "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    found, said = zero_rows_of(chain, Ended(0, answer))
    assert found == said > 0
    assert (
        f"{said} of {len(set(columns['source']) | set(columns['target']))} nodes with edges have zero rows"
        in captured.err
    )
    assert "'exchange' loses nothing" in captured.err


def test_nodes_of_more_strength_together_than_int64_holds_have_a_mean(tmp_path: Path) -> None:
    # A node's weight is 2**20; that of 2,200 nodes is above 2**31, and 2**63 units.
    pair = np.arange(1100)
    columns = {"source": 2 * pair, "target": 2 * pair + 1, "weight": np.full(1100, 2.0**20)}
    chain, config = Chain(tmp_path), config_of(tmp_path, columns, plain=True)
    for embedding in ({"method": "spectral"}, {"method": "ppr", "form": "hashed"}):
        ended = chain.run(with_changes(config, embedding=embedding))
        assert ended.code == 0, ended.error
        assert zero_rows_of(chain, ended) == (0, 0)
