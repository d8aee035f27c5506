"""Nights that start their eigenvectors from those of the night before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.stages.chains import Chain, Config, Ended, with_changes
from tests.stages.test_lineage_nights import Row, config_for, date_of, run_night, write_file

COMMUNITIES = 12


def rows_of(day: int, count: int, shuffle: int = 0) -> list[Row]:
    """Rows of one day, most of them inside communities; another ``shuffle`` gives items other communities."""
    rng = np.random.default_rng([day, shuffle])
    users = rng.integers(0, 300 + 2 * day, count)
    ranks = np.where(rng.random(count) < 0.8, users % COMMUNITIES, rng.integers(0, COMMUNITIES, count))
    items = ranks + COMMUNITIES * rng.integers(0, 16 + day // 4, count)
    items = np.random.default_rng(shuffle).permutation(1_000)[items] if shuffle else items
    return [(str(user), int(item), day, 1) for user, item in zip(users, items, strict=True)]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """A folder with a day of many rows, and six of few."""
    for day in range(7):
        write_file(tmp_path / "in", f"dt={date_of(day)}/a.parquet", rows_of(day, 60 if day else 4_000))
    return tmp_path / "in"


def warm(folder: Path, **of_embedding: Any) -> Config:
    embedding = {"method": "spectral", "dim": 10, "oversampling": 6, "warm_start": True} | of_embedding
    more = {"embedding": embedding, "lineage": {"full_every": 20}, "evaluate": {"source": "none"}}
    return {**config_for(folder), "partition": {"parts": 3}} | more


def products(ended: Ended) -> int:
    return int(ended.figures("embed")["found"]["products"])


def residual(ended: Ended) -> float:
    return float(ended.figures("embed")["found"]["residual"])


PLAIN = {"source_type": "node", "target_type": "node", "self_loops": "keep"}


@pytest.mark.parametrize(
    ("parts", "types", "form"),
    [(1, {}, {}), (3, {}, {}), (3, PLAIN, {}), (3, {}, {"method": "ppr", "form": "factorised"})],
    ids=["one part", "parts", "plain", "factorised"],
)
def test_nights_take_one_product_and_come_nearer_to_the_eigenvectors(
    days: Path, tmp_path: Path, parts: int, types: dict[str, str], form: dict[str, str]
) -> None:
    config = with_changes(warm(days, **form), partition={"parts": parts}, input=types)
    chain = Chain(tmp_path)
    first, *later = (run_night(chain, config, day) for day in range(4))
    assert "start=" not in first.log
    for before, (day, ended) in enumerate(enumerate(later, 1)):
        assert f"start={date_of(before)} residual=" in ended.log, day
        assert products(ended) == 1 < products(first)
        assert residual(ended) < residual(first)  # before its one product; a cold run's is before its third
    assert residual(later[-1]) < 0.5 * residual(first)


def test_a_recomputed_night_starts_from_the_same_rows(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), warm(days)
    for day in (1, 2, 4):
        night = run_night(chain, config, day)
    for _ in range(2):
        again = run_night(chain, config, 4, recompute=True)
        assert again.answer["release"] == night.answer["release"]
        assert again.answer["verdict"] == "unchanged"
        assert f"start={date_of(2)}" in again.log
        run_night(chain, config, 3)  # a backfill between the two is no reason to start from elsewhere


def test_a_night_whose_graph_has_changed_starts_from_random_rows(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path / "warm"), with_changes(warm(days), input={"window_days": 2})
    for day in (2, 3):
        write_file(days, f"dt={date_of(day)}/a.parquet", rows_of(day, 4_000, shuffle=day))
    run_night(chain, config, 1)
    ended = run_night(chain, config, 3)
    assert "from=random_rows" in ended.log
    alone = Chain(tmp_path / "alone")
    alone_ended = run_night(alone, config, 3)
    assert products(ended) == products(alone_ended) > 1
    assert residual(ended) == pytest.approx(residual(alone_ended))
    # And the next night is measured by this one's start.
    write_file(days, f"dt={date_of(4)}/a.parquet", rows_of(4, 4_000, shuffle=3))
    assert "largest=" + f"{residual(ended):.3g}" in run_night(chain, config, 4).log


def test_a_new_piece_of_the_graph_gets_rows(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), warm(days)
    run_night(chain, config, 1)
    write_file(days, f"dt={date_of(2)}/b.parquet", [(f"new{n}", 10_000 + n % 3, 2, 1) for n in range(6)])
    ended = run_night(chain, config, 2)
    assert f"start={date_of(1)}" in ended.log
    table = pq.read_table(Path(ended.answer["path"]) / "node_embeddings")
    norms = dict(zip(table["node_id"].to_pylist(), table["norm"].to_pylist(), strict=True))
    assert all(norms[f"new{n}"] > 0 for n in range(6))
    assert all(norms[str(10_000 + n)] > 0 for n in range(3))


def test_rows_that_are_gone_are_named(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), warm(days)
    for day in (1, 2):
        run_night(chain, config, day)
    shutil.rmtree(chain.root / "runs" / str(date_of(1)))
    shutil.rmtree(chain.root / "runs" / str(date_of(2)) / "part_rows")
    ended = chain.run(config, date=str(date_of(2)))
    assert ended.code == 1
    assert f"{date_of(2)} takes over the vectors of {date_of(1)}, and" in ended.error
    assert f"remove {chain.root / 'inputs'}/vectors-{date_of(2)}-*.json" in ended.error
    (record,) = (chain.root / "inputs").glob(f"vectors-{date_of(2)}-*.json")
    record.unlink()
    assert "start=" not in run_night(chain, config, 2).log


def test_full_runs_have_no_night_to_start_from(days: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_changes(warm(days), lineage={"full_every": 0}), date=str(date_of(2)))
    assert ended.code == 2
    assert "embedding.warm_start is true and lineage.full_every 0" in ended.error
