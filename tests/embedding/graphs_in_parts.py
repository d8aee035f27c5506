"""Small graphs with a home for every node, and their rows through the pipeline's own blocks and rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from pipeline import storage
from pipeline.blocks.arrays import NodeParts
from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding import row_files
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.rounds import BlockFiles, Embedded, embed_parts
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.partitioning.layouts import exchange
from pipeline.partitioning.layouts.block_sets import NodeTables, PartTables
from pipeline.tasks import Task, TaskFolder, TaskFunction, TaskRecord, run_task
from schemas.tables import WEIGHT_UNIT
from tests.oracles.simulator import Graph, Parameters

ONE = round(1 / WEIGHT_UNIT)


@dataclass(frozen=True)
class GraphInParts:
    """A graph with weights in fixed point, and where its nodes are at home.

    Of a graph of two types, items are nodes 0 to ``items`` - 1 and users follow; edges run from user to item.
    """

    node_key: np.ndarray  # (n,) uint64
    src: np.ndarray
    dst: np.ndarray
    weight: np.ndarray  # int64, units of 2**-32
    items: int  # 0: a plain graph
    home: np.ndarray  # (n,) int32, -1 without edges
    is_split: np.ndarray

    @property
    def nodes(self) -> int:
        return self.node_key.size

    @property
    def form(self) -> str:
        return "two_tower" if self.items else "classic"

    @property
    def parts(self) -> list[int]:
        return sorted(set(self.home[self.home >= 0].tolist()))

    @property
    def graph(self) -> Graph:
        """The same graph as the oracles want it."""
        is_item = np.arange(self.nodes) < self.items
        return Graph(self.node_key, self.src, self.dst, self.weight * WEIGHT_UNIT, is_item)

    def in_one_block(self) -> GraphInParts:
        return replace(self, home=np.where(self.home >= 0, 0, -1).astype(np.int32), is_split=self.is_split & False)


def placed(
    src: Sequence[int],
    dst: Sequence[int],
    home: Sequence[int],
    is_split: Sequence[bool] | None = None,
    *,
    nodes: int,
    items: int = 0,
    weight: Sequence[int] | None = None,
    node_key: np.ndarray | None = None,
) -> GraphInParts:
    """A graph whose homes are repaired where they can't be: a split node lives where an edge of it is stored.

    On two types, users keep their edges: an item is split if and only if these are of several homes.
    """
    ends = [np.array(side, np.int64) for side in (src, dst)]
    made = GraphInParts(
        node_key=np.random.default_rng(nodes).integers(0, 2**64, nodes, np.uint64) if node_key is None else node_key,
        src=ends[0],
        dst=ends[1],
        weight=np.full(ends[0].size, ONE) if weight is None else np.array(weight, np.int64),
        items=items,
        home=np.array(home, np.int32),
        is_split=np.zeros(nodes, np.bool_) if is_split is None else np.array(is_split, np.bool_),
    )
    has_edges = made.graph.degree > 0
    made.home[~has_edges] = -1
    made.is_split[~has_edges] = False
    return _with_split_items(made) if items else _with_possible_homes(made)


def _with_split_items(made: GraphInParts) -> GraphInParts:
    made.is_split[made.items :] = False
    for item in range(made.items):
        homes = np.unique(made.home[made.src[made.dst == item]])
        if homes.size:
            wanted = made.home[item]
            made.home[item] = wanted if wanted in homes else homes[int(wanted) % homes.size]
            made.is_split[item] = homes.size > 1
    return made


def _with_possible_homes(made: GraphInParts) -> GraphInParts:
    """Make split nodes whole until every one that is left has an edge at its home."""
    degree = made.graph.degree
    while True:
        stored: dict[int, set[int]] = {v: set() for v in np.flatnonzero(made.is_split).tolist()}
        for a, b in zip(made.src.tolist(), made.dst.tolist(), strict=True):
            whole = [end for end in (a, b) if not made.is_split[end]]
            keeper = whole or [min((a, b), key=lambda v: (degree[v], made.node_key[v], v))]
            for end in {a, b} & stored.keys():
                stored[end] |= {int(made.home[v]) for v in keeper}
        wrong = [v for v, places in stored.items() if int(made.home[v]) not in places]
        if not wrong:
            return made
        made.is_split[wrong] = False


#: Smaller weights than this make rows that float32 can't hold: with degree powers of 1 and 0.5, each of the eight
#: products of a two-tower embedding with 3 powers divides by the square root of the weight. Publishing refuses them.
LEAST_WEIGHT = ONE >> 24
WEIGHTS = st.one_of(
    st.just(ONE),
    st.sampled_from([LEAST_WEIGHT, ONE >> 20, ONE // 2, 3 * ONE, ONE << 20]),
    st.integers(LEAST_WEIGHT, 2 * ONE),
)


@st.composite
def graphs_in_parts(draw: st.DrawFn, *, has_equal_keys: bool = True) -> GraphInParts:
    """Graphs of one or two types over 1 to 6 parts: any homes, any split nodes that can be, loops, hubs, loners."""
    items = draw(st.sampled_from([0, 0, 1, 4, 9]))
    nodes = items + draw(st.integers(1, 14))
    item, user = st.integers(0, max(items - 1, 0)), st.integers(items, nodes - 1)
    pair = st.tuples(user, item) if items else st.tuples(user, user).map(lambda ends: (min(ends), max(ends)))
    pairs = sorted(draw(st.sets(pair, min_size=1, max_size=40)))
    parts = draw(st.integers(1, 6))
    weights = st.just(ONE) if draw(st.booleans()) else WEIGHTS
    keys = st.lists(st.integers(0, 2**64 - 1), min_size=nodes, max_size=nodes, unique=not has_equal_keys)
    return placed(
        *zip(*pairs, strict=True),
        home=draw(st.lists(st.integers(0, parts - 1), min_size=nodes, max_size=nodes)),
        is_split=draw(st.lists(st.booleans(), min_size=nodes, max_size=nodes)),
        nodes=nodes,
        items=items,
        weight=draw(st.lists(weights, min_size=len(pairs), max_size=len(pairs))),
        node_key=np.array(draw(keys), np.uint64),
    )


@st.composite
def embeddings(draw: st.DrawFn, form: str) -> EmbeddingConfig:
    """Parameters of a form, 1 to 3 powers."""
    powers = draw(st.integers(1, 3))
    weights = [draw(st.sampled_from([0.0, 1.0, 7.81])) for _ in range(powers - 1)]
    return EMBEDDING(
        dim=draw(st.sampled_from([1, 7, 16, 35, 64])),
        seed=draw(st.integers(0, 3)),
        sparsity=draw(st.sampled_from([1.0, 3.0])),
        powers=powers,
        user_degree_power=draw(st.sampled_from([0.4, 0.0, 1.0])),
        item_degree_power=draw(st.sampled_from([0.4, 0.5])),
        iteration_weights=(*weights, draw(st.sampled_from([1.0, 45.28]))),
        degree_power=draw(st.sampled_from([0.0, -0.5])),
        transition=draw(st.sampled_from(["random_walk", "symmetric"])),
        normalize_powers=draw(st.booleans()),
        boundary_dtype=draw(st.sampled_from(["float32", "float32", "float16", "int8"])),
        shards=draw(st.sampled_from([None, 1, 2, 3])),
    )


def parameters_of(form: str, embedding: EmbeddingConfig) -> Parameters:
    """The same parameters as the simulator wants them."""
    embedding = embedding.values_of(form)
    names = [*("dim", "seed", "sparsity", "powers", "user_degree_power", "item_degree_power")]
    names += [*("iteration_weights", "degree_power", "transition", "normalize_powers", "boundary_dtype")]
    return Parameters(form=form, **{name: getattr(embedding, name) for name in names})


def settings_of(given: GraphInParts, embedding: EmbeddingConfig) -> Settings:
    both = (0, given.nodes)
    source, target = ((given.items, given.nodes), (0, given.items)) if given.items else (both, both)
    return Settings(GraphSummary(given.nodes, source, target), embedding, given.form)


class InThisProcess:
    """The engine's verb for tasks, counting what it ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        self.ran += [task.name for task in tasks]
        return [run_task(function, task) for task in tasks]


class KilledError(Exception):
    pass


class DiesAfter(InThisProcess):
    """Runs so many tasks, and no more."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self._left = tasks

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        records = []
        for task in tasks:
            if not self._left:
                raise KilledError
            self._left -= 1
            records += super().map_tasks(function, [task])
        return records


def tables_of(graph: GraphInParts, folder: Path, edge_files: int = 2) -> PartTables:
    """Write a graph's tables under a folder."""
    loop = graph.src == graph.dst
    strength = np.zeros(graph.nodes, np.int64)
    np.add.at(strength, graph.src, graph.weight)
    np.add.at(strength, graph.dst[~loop], graph.weight[~loop])
    columns = {"node_key": graph.node_key.view(np.int64), "degree": graph.graph.degree, "weight": strength}
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_arrow(folder / "arrays.arrow", pa.table(columns))
    NodeParts(graph.home, graph.is_split).write(folder / "parts.arrow")
    files = []
    for number in range(min(edge_files, graph.src.size)):
        some = slice(number, None, edge_files)
        ends = {"src_ix": graph.src[some], "dst_ix": graph.dst[some], "weight": graph.weight[some]}
        files.append(folder / f"edges-{number}.parquet")
        pq.write_table(pa.table(ends), files[-1])
    nodes = NodeTables((folder / "arrays.arrow",), folder / "parts.arrow")
    return PartTables(nodes, tuple(files), {part: f"0/{part}" for part in graph.parts})


def lay_out(given: GraphInParts, folder: Path, edge_files: int = 2) -> list[BlockFiles]:
    """Write a graph's tables under a folder, and its blocks by the tasks of the layout stage."""
    layout = exchange.lay_out(TaskFolder(InThisProcess(), folder / "blocks"), tables_of(given, folder, edge_files))
    (blocks,) = layout.sets
    return [
        BlockFiles(part, built.file("nodes"), built.file("edges"), routed.file("routes"), built.result.splits > 0)
        for part, built, routed in zip(blocks.parts, blocks.block_records, blocks.route_records, strict=True)
    ]


def embed(given: GraphInParts, embedding: EmbeddingConfig, folder: Path) -> tuple[Rows, Embedded]:
    """Rows of all nodes before the last normalisation, zero without edges; every node with edges exactly once."""
    done = embed_parts(InThisProcess(), lay_out(given, folder), settings_of(given, embedding), folder / "rows")
    return rows_of(done, given, embedding.dim), done


def rows_of(done: Embedded, given: GraphInParts, dim: int) -> Rows:
    """Join what the files hold; every column and every noise scale of a node with edges is in exactly one of them."""
    rows = Rows.zeros(given.nodes, dim)
    written = np.zeros((given.nodes, dim + 1), np.int64)
    for file, count, _ in written_files(done):
        schema = pa.ipc.open_file(pa.memory_map(str(file))).schema
        first = int(schema.metadata[b"first_column"])
        seen = 0
        for node_ix, some in row_files.read_rows(file):
            width = some.values.shape[1]
            rows.values[node_ix, first : first + width] = some.values
            written[node_ix, first : first + width] += 1
            if "noise_scale" in schema.names:
                rows.noise_scale[node_ix] = some.noise_scale
                written[node_ix, dim] += 1
            seen += node_ix.size
        assert seen == count
    np.testing.assert_array_equal(written, np.repeat((given.home >= 0)[:, None], dim + 1, axis=1))
    return rows


def written_files(done: Embedded) -> list[tuple[Path, int | None, str]]:
    """Files of finished rows, how many each holds, and their checksums."""
    return [
        (record.folder / file.name, file.rows, file.checksum)
        for record in done.row_records
        for file in record.files
        if file.role == "rows"
    ]


def moved(done: Embedded) -> dict[str, float]:
    """What tasks addressed to other parts, from the files: rows, each once, and bytes of entries and scales."""
    found = {"partials": 0, "totals": 0, "bytes": 0}
    for record in done.records:
        for role, name in (("partials", "partials"), ("outbox", "totals")):
            for path, slices in zip(record.paths(role), record.result.slices.get(role, ()), strict=True):
                reader = pa.ipc.open_file(pa.memory_map(str(path)))
                for receiver, (first, batches) in slices.items():
                    assert receiver != record.result.part_id
                    for number in range(first, first + batches):
                        batch = reader.get_batch(number)
                        has_first_columns = batch.schema.metadata[b"first_column"] == b"0"
                        if has_first_columns and {"row", "codes"} & set(batch.schema.names):
                            found[name] += batch.num_rows
                        found["bytes"] += (
                            batch.num_rows * sum(width_of(field.type) for field in batch.schema) - 8 * batch.num_rows
                        )
    return found


def width_of(kind: pa.DataType) -> int:
    return 4 * kind.list_size if pa.types.is_fixed_size_list(kind) else kind.bit_width // 8
