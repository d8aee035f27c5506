"""What lists across workers are said to read and move, against files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.embedding.ppr.traffic import composed_traffic, pushed_entries, sharded_read_bytes
from tests.embedding.graphs_in_parts import lay_out, placed

_HEADERS = 4_096  # of two Arrow files


def test_source_shards_map_the_files_of_one_block_each(tmp_path: Path) -> None:
    n = 2_000
    chain = placed(range(n - 1), range(1, n), home=[0] * n, nodes=n)
    (block,) = lay_out(chain, tmp_path)
    size = block.nodes.stat().st_size + block.edges.stat().st_size
    assert 0 <= size - sharded_read_bytes(n, 2 * (n - 1), 1) <= _HEADERS
    assert sharded_read_bytes(n, 2 * (n - 1), 16) == 16 * sharded_read_bytes(n, 2 * (n - 1), 1)


def test_entries_are_a_share_of_the_theorem_s_bound_and_one_push_at_least() -> None:
    assert pushed_entries(10, 20.0, 1e-3, 0.2) == pytest.approx(10 * 0.05 * 20 / (1e-3 * 0.2))
    assert pushed_entries(10, 20.0, 0.9, 0.9) == 200
    with pytest.raises(ValueError, match="restart is"):
        pushed_entries(1, 1.0, 0.1, 1.0)
    with pytest.raises(ValueError, match="infinitely many"):
        pushed_entries(1, 1.0, 0.0, 0.5)


@pytest.mark.parametrize("error", [1e-2, 1e-4])
@pytest.mark.parametrize("restart", [0.15, 0.5])
def test_estimates_stay_below_the_bound_and_grow_with_sources_and_the_cut(error: float, restart: float) -> None:
    one = composed_traffic(100, 22.9, error, restart, 0.3, 16)
    assert 0 < one.moved_bytes < one.most_moved_bytes
    assert one.held_bytes > 0
    more = composed_traffic(300, 22.9, error, restart, 0.9, 16)
    assert more.moved_bytes == pytest.approx(9 * one.moved_bytes, rel=1e-3)
    assert more.most_moved_bytes == pytest.approx(3 * one.most_moved_bytes, rel=1e-3)


def test_one_part_sends_nothing() -> None:
    alone = composed_traffic(100, 22.9, 1e-3, 0.15, 0.3, 1)
    assert (alone.moved_bytes, alone.most_moved_bytes) == (0, 0)
    assert alone.entries > 0
