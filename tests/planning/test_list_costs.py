"""What lists across workers are said to read and move, against files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.embedding.methods import CONFIG
from pipeline.embedding.ppr.lists import pushed_entries
from pipeline.ingest.weights import ONE
from pipeline.planning.list_costs import ListTraffic, list_traffic
from tests.embedding.graphs_in_parts import lay_out, placed

_HEADERS = 4_096  # of two Arrow files


def traffic(nodes: int, edges: int, sources: int, tasks: int, crossing: float, **ppr: float) -> ListTraffic:
    config = CONFIG.model_validate({"input": {"path": "-"}, "ppr": ppr})
    return list_traffic(config, nodes, edges, sources, tasks, crossing)


def test_tasks_over_sources_map_the_files_of_one_block_each(tmp_path: Path) -> None:
    n = 2_000
    weight = [ONE + edge for edge in range(n - 1)]  # blocks whose edges all weigh 1 take four bytes less an entry
    chain = placed(range(n - 1), range(1, n), home=[0] * n, nodes=n, weight=weight)
    (block,) = lay_out(chain, tmp_path)
    size = block.nodes.stat().st_size + block.edges.stat().st_size
    one = traffic(n, n - 1, n, 1, 0.0)
    assert 0 <= size - one.read_bytes <= _HEADERS
    assert traffic(n, n - 1, n, 16, 0.0).read_bytes == 16 * one.read_bytes
    assert one.moved_bytes == 0


def test_entries_are_a_share_of_the_theorem_s_bound_and_one_push_at_least() -> None:
    assert pushed_entries(10, 20.0, 1e-3, 0.2) == pytest.approx(10 * 0.05 * 20 / (1e-3 * 0.2))
    assert pushed_entries(10, 20.0, 0.9, 0.9) == 200
    with pytest.raises(ValueError, match="restart is"):
        pushed_entries(1, 1.0, 0.1, 1.0)
    with pytest.raises(ValueError, match="infinitely many"):
        pushed_entries(1, 1.0, 0.0, 0.5)


@pytest.mark.parametrize("threshold", [1e-3, 1e-5])
@pytest.mark.parametrize("restart", [0.15, 0.5])
def test_traffic_grows_with_sources_and_the_cut(threshold: float, restart: float) -> None:
    one = traffic(1_000, 10_000, 100, 1, 0.3, restart=restart, push_threshold=threshold)
    assert one.held_bytes > 0
    more = traffic(1_000, 10_000, 300, 1, 0.9, restart=restart, push_threshold=threshold)
    assert more.moved_bytes == pytest.approx(9 * one.moved_bytes, rel=1e-3)
