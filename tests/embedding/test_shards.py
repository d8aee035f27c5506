"""Columns computed by several tasks: the same bits, for any number of them, in any tree and of any type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import codec
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.rounds import Embedded, embed_parts
from pipeline.embedding.rows import Rows
from pipeline.kernels.random_projection import very_sparse_projection
from tests.embedding.graphs_in_parts import (
    ONE,
    GraphInParts,
    InThisProcess,
    lay_out,
    placed,
    rows_of,
    settings_of,
    written_files,
)


def graph(items: int, parts: int) -> GraphInParts:
    rng = np.random.default_rng(11)
    nodes = items + 70
    ends = [rng.integers(items, nodes, 400), rng.zipf(1.3, 400) % (items or nodes)]
    pairs = np.unique(np.stack(ends if items else np.sort(ends, axis=0), axis=1), axis=0)
    return placed(
        *pairs.T.tolist(),
        home=rng.integers(0, parts, nodes).tolist(),
        is_split=(rng.random(nodes) < 0.3).tolist(),
        nodes=nodes,
        items=items,
        weight=rng.integers(1, 4 * ONE, len(pairs)).tolist(),
    )


def embedded(made: GraphInParts, place: Path, **changes: object) -> tuple[Rows, Embedded, InThisProcess]:
    embedding = EMBEDDING.model_validate({"powers": 2, "iteration_weights": [1.0, 0.0, 2.0], **changes})
    runner = InThisProcess()
    done = embed_parts(runner, lay_out(made, place), settings_of(made, embedding), place / "rows")
    return rows_of(done, made, embedding.dim), done, runner


CASES = [
    {"dim": 128},
    {"dim": 100, "boundary_dtype": "int8", "transition": "symmetric"},
    {"dim": 20, "boundary_dtype": "float16", "normalize_powers": False, "projection": "normal"},
    {"dim": 40, "standardize_columns": True, "degree_power": -0.5},
    {"dim": 37, "compute": "half"},
    {"dim": 128, "compute": "half", "iteration_weights": [0.0, 0.0, 1.0]},
]
#: Of each case over several parts, where every number costs dozens of tasks.
SOME_SHARDS = [(8,), (3,), (2,), (2,), (3,), (3,)]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("items", [0, 20], ids=["plain", "two_types"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_any_number_of_shards_gives_the_same_bits(case: int, items: int, parts: int, tmp_path: Path) -> None:
    made, config = graph(items, parts), CASES[case]
    made = made if parts > 1 else made.in_one_block()
    want, alone, _ = embedded(made, tmp_path / "alone", **config)
    assert np.abs(want.values).max() > 0
    for shards in (2, 3, 8) if parts == 1 else SOME_SHARDS[case]:
        got, done, runner = embedded(made, tmp_path / str(shards), **config, shards=shards)
        assert got.values.tobytes() == want.values.tobytes()
        assert got.noise_scale.tobytes() == want.noise_scale.tobytes()
        assert done.rows_moved == alone.rows_moved
        assert done.floats_moved == alone.floats_moved
        assert (done.sums is None) == (alone.sums is None)
        if done.sums and alone.sums:
            assert codec.to_values(done.sums) == codec.to_values(alone.sums)
        groups = -(-int(str(config["dim"])) // 16)
        columns = {name.split("-columns-")[1] for name in runner.ran if "-columns-" in name}
        assert len(columns) == min(shards, groups)
        assert {int(first) % 16 for first in columns} == {0}


def keys_with_one_entry() -> tuple[int, int, int]:
    """Keys whose rows have one entry: two opposite ones in the first 16 columns, one in the next 16."""
    keys = np.arange(20_000, dtype=np.uint64)
    rows = very_sparse_projection(keys, 32, 500.0, 0)
    found: dict[tuple[int, bool], int] = {}
    for key in np.flatnonzero((rows != 0).sum(axis=1) == 1).tolist():
        column = int(np.flatnonzero(rows[key])[0])
        found[column, bool(rows[key, column] > 0)] = key
    column = next(column for column in range(16) if {(column, True), (column, False)} <= set(found))
    return found[column, True], found[column, False], next(key for (at, _), key in found.items() if at >= 16)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("has_signal", [False, True])
def test_noise_in_one_shard_is_judged_by_the_whole_row(has_signal: bool, parts: int, tmp_path: Path) -> None:
    # Node 0: two rows that cancel to 2**-20 in the first columns and, with a signal, one row in the others.
    plus, minus, beside = keys_with_one_entry()
    made = placed(
        [0, 0, 0][: 2 + has_signal],
        [1, 2, 3][: 2 + has_signal],
        [0, 0, 1, 1] if parts == 2 else [0] * 4,
        [parts == 2, False, False, False],
        nodes=4,
        weight=[ONE + (ONE >> 20), ONE - (ONE >> 20), ONE][: 2 + has_signal],
        node_key=np.array([10**6, plus, minus, beside], np.uint64),
    )
    config = {"dim": 32, "sparsity": 500.0, "iteration_weights": [1.0]}
    want, *_ = embedded(made, tmp_path / "alone", **config)
    got, *_ = embedded(made, tmp_path / "shards", **config, shards=2)
    assert got.values.tobytes() == want.values.tobytes()
    assert got.noise_scale.tobytes() == want.noise_scale.tobytes()
    assert (got.values[0, :16] != 0).any() == has_signal
    assert got.noise_scale[0] == has_signal


def test_a_killed_sharded_run_keeps_what_is_done(tmp_path: Path) -> None:
    made = graph(0, 3)
    embedding = EMBEDDING(dim=48, iteration_weights=(1.0, 1.0), shards=3, boundary_dtype="int8")
    blocks, settings = lay_out(made, tmp_path), settings_of(made, embedding)
    second = InThisProcess()
    done = embed_parts(InThisProcess(), blocks, settings, tmp_path / "rows")
    for role in ("factors", "partials"):
        record = next(r for r in done.records if r.paths(role) and "noise-scales" in r.task)
        record.paths(role)[0].unlink()
        again = embed_parts(second, blocks, settings, tmp_path / "rows")
        assert record.task in second.ran
        assert not any(name.startswith("round-") for name in second.ran)
        assert [checksum for *_, checksum in written_files(again)] == [checksum for *_, checksum in written_files(done)]
