import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.planning import sizes as planning
from pipeline.planning.cuts import Cut
from pipeline.planning.sizes import GraphCounts

COUNTS = st.integers(0, 10**9)


def config(**sections: object) -> PipelineConfig:
    return CONFIG.model_validate({"input": {"path": "x"}, **sections})


def test_a_block_takes_what_the_bounds_of_partition_compare() -> None:
    bounds = planning.bounds_of(config())
    assert bounds.bytes_of(1, 0) == 80 + 3 * 4 * 16  # of the narrowest shard
    assert bounds.bytes_of(1_000_000, 10_000_000) == 432_000_000


@given(
    st.lists(st.tuples(st.integers(5, 30), st.integers(-3, 20)), min_size=1, max_size=60), st.booleans(), st.booleans()
)
def test_bounds_hold_for_any_pairs(pairs: list[tuple[int, int]], is_plain: bool, knows_ids: bool) -> None:
    spans = [max(ids) - min(ids) + 1 for ids in zip(*pairs, strict=True)] if knows_ids else [None, None]
    bound = planning.upper_bounds(len(pairs), spans[0], spans[1], is_plain=is_plain)
    sources, targets = ({pair[end] for pair in pairs} for end in (0, 1))
    nodes = len(sources | targets) if is_plain else len(sources) + len(targets)
    edges = len({tuple(sorted(pair)) for pair in pairs}) if is_plain else len(set(pairs))
    assert bound.nodes >= nodes
    assert bound.edges >= edges


@pytest.mark.parametrize(
    ("partition", "edges", "parts"),
    [
        ({"max_edges": 1000}, 500, 1),
        ({"max_edges": 1000}, 1000, 1),
        ({"max_edges": 1000}, 1010, 2),
        ({"max_edges": 1000}, 8000, 16),
        ({"max_edges": 1000, "method": "none"}, 50_000, 1),
        ({"parts": 16}, 100, 16),
        ({"parts": 1}, 10**9, 1),
    ],
)
def test_parts_follow_the_bounds_unless_told(partition: dict[str, object], edges: int, parts: int) -> None:
    assert planning.expected_parts(config(partition=partition), GraphCounts(10, edges, 5, is_exact=True)) == parts


@given(COUNTS, COUNTS, COUNTS, st.integers(1, 64))
def test_disk_grows_with_all_it_depends_on(nodes: int, edges: int, size: int, parts: int) -> None:
    def needed(
        more_nodes: int = 0,
        more_edges: int = 0,
        more_bytes: int = 0,
        dim: int = 128,
        more_rows: int = 0,
        kept: int = 0,
    ) -> int:
        graph = GraphCounts(nodes + more_nodes, edges + more_edges, nodes, is_exact=True)
        chosen = config(embedding={"dim": dim})
        cut = Cut([graph.nodes + more_rows, *[0] * (parts - 1)], [2 * graph.edges], 0, 0, 0)
        more = {"input_bytes": size + more_bytes, "input_rows": edges, "kept_bytes": kept}
        return sum(planning.disk_bytes(chosen, graph, cut, **more).values())

    assert needed(more_nodes=1) > needed()
    assert needed(more_edges=1) > needed()
    assert needed(more_bytes=1) >= needed()
    # What a mode copies in is laid out, and what rounds leave is kept until the stage has committed.
    assert needed(more_rows=10) > needed()
    assert needed(kept=1000) == needed() + 1000
    # A vector more is written by embed and by aggregate.
    assert needed(dim=129) >= needed() + 8 * nodes


def test_a_task_holds_three_buffers_of_a_shards_columns() -> None:
    assert planning.held_columns(config()) == 16
    assert planning.held_columns(config(embedding={"shards": 2})) == 64
    assert planning.held_columns(config(embedding={"dim": 16})) == 16
    assert planning.held_columns(config(embedding={"boundary": "drop"})) == 128
    assert planning.held_columns(config(embedding={"method": "spectral"})) == 144  # orthogonal columns never part
    assert planning.held_columns(config(embedding={"method": "spectral", "rank": 512, "reduction": "rotate"})) == 528
    assert planning.held_columns(config(embedding={"form": "low_pass", "shards": 1})) == 214  # five, in threes
    assert planning.held_columns(config(embedding={"form": "classic", "shards": 1})) == 128
