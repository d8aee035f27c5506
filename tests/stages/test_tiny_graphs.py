"""What a graph of a few nodes brings, with settings for large ones: a table, or a sentence with the key to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, config_for, with_changes, write_rows

GRAPHS: dict[str, tuple[dict[str, list[int]], bool]] = {
    "a pair": ({"source": [0], "target": [0]}, False),
    "a user and three items": ({"source": [0, 0, 0], "target": [0, 1, 2]}, False),
    "an edge": ({"source": [0], "target": [1]}, True),
}
#: Sections that ask for more than such a graph has: columns, eigenpairs, parts, shards, neighbours, pairs, ranks.
ASKED: list[dict[str, Any]] = [
    {"embedding": {"dim": 128, "shards": 8}},
    {"embedding": {"method": "spectral", "rank": 512, "reduction": "rotate", "oversampling": 64}},
    {"embedding": {"method": "ppr", "dim": 512}},
    {"embedding": {"method": "ppr", "form": "hashed"}, "ppr": {"shards": 50}},
    {"embedding": {"form": "low_pass", "rank": 900}},
    {"partition": {"parts": 16}},
    {"partition": {"parts": 16, "method": "metis"}},
    {"partition": {"parts": 16, "method": "ldg"}, "embedding": {"boundary": "border"}},
    {"partition": {"parts": 16, "method": "hash"}, "embedding": {"boundary": "quotient"}},
    {"ppr": {"neighbors": True, "top_k": 100, "shards": 9}},
    {"ppr": {"neighbors": True, "solver": "walks"}, "embedding": {"method": "none"}},
    {"ppr": {"neighbors": True, "across": "parts"}, "partition": {"parts": 4}},
    {"evaluate": {"source": "holdout", "holdout_users": 1.0, "k": [500]}},
    {"evaluate": {"source": "next_day", "k": [500]}},
]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_table_or_a_sentence(name: str, tmp_path: Path) -> None:
    columns, plain = GRAPHS[name]
    chain, config = Chain(tmp_path), config_for(write_rows(tmp_path / "in.parquet", columns), plain=plain)
    for asked in ASKED:
        ended = chain.run(with_changes(config, **asked))
        if ended.code:
            # Of one edge a hold-out leaves none.
            assert (ended.code, asked.get("evaluate", {}).get("source"), plain) == (4, "holdout", True), ended.error
            assert "lower evaluate.holdout_edges" in ended.error
        elif asked.get("embedding", {}).get("method") != "none":
            made = chain.published(Path(ended.answer["path"]))
            assert np.isfinite(made.rows).all()
            assert "boundary" in asked.get("embedding", {}) or made.rows.any(axis=1).all()


def test_shorter_lists_are_said_to_be_shorter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from graphquilt.__main__ import main

    columns, _ = GRAPHS["a user and three items"]
    chain = Chain(tmp_path)
    config = config_for(write_rows(tmp_path / "in.parquet", columns), ppr={"neighbors": True})
    assert main(["run", "--config", str(chain.write_config(config)), "--workspace", str(chain.root)]) == 0
    assert "ppr.top_k is 100, and the graph has 3 nodes of type 'item' to list" in capsys.readouterr().err
