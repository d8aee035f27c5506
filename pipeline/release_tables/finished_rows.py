"""Rows as they are published, range by range: combined, finished, folded, rotated; and the ids that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import FeatureTable, NodeArrays, NodeParts
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import fill_in
from pipeline.embedding.cold_rows import ColdRows
from pipeline.embedding.combine import NodesOfSets, RowSet, rows_of
from pipeline.embedding.compatibility import fold_in_place
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.methods import method_for
from pipeline.embedding.row_files import RowReader
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.errors import ContractError
from pipeline.ingest.decay import factor_between
from pipeline.ingest.figures import IndexFigures
from pipeline.ingest.parse_rules import parse_rules
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.procrustes import rotate_rows
from pipeline.kernels.rows import column_sums, row_norms
from pipeline.locations import Location
from pipeline.partitioning.figures import LayoutFigures
from pipeline.release_tables.published_table import TableRun
from pipeline.tasks import Attempt
from pipeline.workspace import Workspace
from schemas.tables import WEIGHT_UNIT

ROW_GROUP_ROWS = 65_536
_OPEN_FILES = 128  # of rows, at most


@dataclass(frozen=True)
class PublishedNodes:
    """Files of the graph's ids, the range of each published type, and the ids that no published table has."""

    node_index: tuple[Location, ...]
    types: Mapping[str, tuple[int, int]]
    exclude_ids: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, config: PipelineConfig, workspace: Workspace) -> PublishedNodes:
        """Return the nodes of a run."""
        types = workspace.figures("node_index", IndexFigures).types
        return cls(
            tuple(workspace.files("node_index")),
            {name: types[name] for name in config.published_types},
            {name: tuple(map(str, ids)) for name, ids in config.publish.exclude_ids.items()},
        )

    @property
    def count(self) -> int:
        """Number of the nodes of published types."""
        return sum(stop - first for first, stop in self.types.values())

    @property
    def id_type(self) -> pa.DataType:
        """Type of the column node_id."""
        return storage.read_schema(self.node_index[0]).field("node_id").type

    def find_excluded(self, node_type: str, node_id: pa.Array) -> NDArray[np.bool_] | None:
        """Return which ids of a type are left out of the published tables; None: no id of the type is."""
        texts = self.exclude_ids.get(node_type)
        if not texts:
            return None
        return pc.is_in(node_id.cast(pa.string()), pa.array(texts, pa.string())).to_numpy(zero_copy_only=False)

    def without_excluded(self, table: pa.Table, node_type: str) -> pa.Table:
        """Return the rows of a table of one type whose ids are published."""
        is_excluded = self.find_excluded(node_type, table["node_id"].combine_chunks())
        return table if is_excluded is None else table.filter(pa.array(~is_excluded))


@dataclass(frozen=True)
class RowSources:
    """What the published rows are made of: files of the run's tables, settings, and sums over columns."""

    nodes: PublishedNodes
    settings: Settings
    sums: ColumnSums | None
    sets: tuple[RowSet, ...]
    weight_unit: float  # of the nodes' weights, as of the date
    node_arrays: tuple[Location, ...]
    main_nodes: tuple[Location, ...]  # none of a graph of one relation
    node_features: tuple[Location, ...]
    node_parts: Location
    cold_rows: tuple[ColdRows, ...] = ()
    compatibility: Location | None = None  # the file of the matrix that is folded into finished rows, if one is

    def main_degree(self, node_ix: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the degrees that are published, of nodes with ascending numbers."""
        if self.main_nodes:
            return NodeArrays(self.main_nodes).take("main_degree", node_ix)
        return NodeArrays(self.node_arrays).take("degree", node_ix)


def row_sources(run: TableRun, settings: Settings) -> RowSources:
    """Return what the rows of a run are made of; where several sets of blocks are combined, tasks sum the columns."""
    workspace = run.workspace
    sources = RowSources(
        nodes=PublishedNodes.of(run.config, workspace),
        settings=settings,
        sums=workspace.figures("part_rows", EmbedFigures).sums,
        sets=_row_sets(workspace),
        weight_unit=_weight_unit(run.config, workspace),
        node_arrays=tuple(workspace.graph_files("node_arrays")),
        main_nodes=tuple(workspace.files("main_nodes")),
        node_features=tuple(workspace.files("node_features")),
        node_parts=workspace.files("node_parts")[0],
    )
    if not settings.embedding.standardize_columns or len(sources.sets) == 1:
        return sources
    # No single block has seen the combined rows.
    records = run.run_tasks(sum_columns, "columns", [RowRange(sources, bounds) for bounds in run.ranges])
    first, *rest = [record.result for record in records]
    return replace(sources, sums=sum(rest, start=first))


def _weight_unit(config: PipelineConfig, workspace: Workspace) -> float:
    """Return what one unit of a node's weight is as of the date: nodes have it as of the lineage's epoch."""
    rules = parse_rules(config.input, workspace.date, lineage=workspace.inputs.lineage)
    if rules.epoch_us is None or rules.end_us is None:
        return WEIGHT_UNIT
    return WEIGHT_UNIT * factor_between(rules.epoch_us, rules.end_us, rules.half_life_us)


@dataclass(frozen=True)
class RowRange:
    """Rows of a range of nodes."""

    sources: RowSources
    bounds: tuple[int, int]


def sum_columns(payload: RowRange, attempt: Attempt) -> ColumnSums:  # noqa: ARG001
    """Task: column sums of the combined rows of one range, before the last step."""
    dim = payload.sources.settings.dim
    total = ColumnSums(np.zeros(dim), np.zeros(dim), 0)
    for _, _, _, rows, strength in combined_rows(payload.sources, payload.bounds):
        total += ColumnSums(*column_sums(rows.values, strength > 0))
    return total


def _row_sets(workspace: Workspace) -> tuple[RowSet, ...]:
    """Deal the files of rows and of kept weights out to the sets of blocks that they belong to."""
    rows, weight_files = (iter(workspace.files(table)) for table in ("part_rows", "kept_weights"))
    blocks = workspace.figures("block_nodes", LayoutFigures).sets
    counts = workspace.figures("part_rows", EmbedFigures).sets
    return tuple(
        RowSet(block_set.nodes, tuple(islice(rows, count)), tuple(islice(weight_files, block_set.kept_files)))
        for block_set, count in zip(blocks, counts, strict=True)
    )


@dataclass(frozen=True)
class FinishedRows:
    """Finished rows of a run of nodes of one type, and their norms. The next ones take the place of the vectors."""

    node_type: str
    first: int
    stop: int
    vectors: NDArray[np.float32]
    norms: NDArray[np.float64]
    degree: NDArray[np.int64]
    strength: NDArray[np.float64]


def combined_rows(
    sources: RowSources, bounds: tuple[int, int]
) -> Iterator[tuple[str, int, int, Rows, NDArray[np.float64]]]:
    """Yield (type, first, stop, rows, strength) of the row groups of a range of nodes, in the published order.

    Rows take the place of those before: first writes to fresh memory cost as much as reading them.

    Strength is 0 where there is no row: a node whose edges were all left out is a zero vector, like one that has
    none. What is known of it beside its edges is looked at later.
    """
    nodes = NodeArrays(sources.node_arrays)
    home = NodeParts.map(sources.node_parts).part_id
    open_rows = lru_cache(_OPEN_FILES)(RowReader)
    buffer = aligned_empty((min(bounds[1] - bounds[0], ROW_GROUP_ROWS), sources.settings.dim))
    for node_type, first, stop in row_groups(bounds, sources.nodes.types):
        weight = nodes.take("weight", np.arange(first, stop))
        set_rows = NodesOfSets(first, sources.sets, weight, home[first:stop], sources.settings, buffer, open_rows)
        rows, has_row = rows_of(set_rows)
        yield node_type, first, stop, rows, np.where(has_row, weight * WEIGHT_UNIT, 0.0)


def finished_rows(
    sources: RowSources, bounds: tuple[int, int], rotation: Location | None = None
) -> Iterator[FinishedRows]:
    """Yield the row groups of a range of nodes, in the published order.

    rotation : the file of the matrix that turns them, if they are turned.
    """
    settings = sources.settings
    method = method_for(settings)
    nodes = NodeArrays(sources.node_arrays)
    of_main, prefix = (NodeArrays(sources.main_nodes), "main_") if sources.main_nodes else (nodes, "")
    matrix = storage.load_array(rotation) if rotation else None
    compatibility = storage.load_array(sources.compatibility) if sources.compatibility else None
    features = FeatureTable(sources.node_features)
    cold_rows = {rows_of_type.node_type: rows_of_type for rows_of_type in sources.cold_rows}
    in_sets = [row_set.nodes for row_set in sources.sets]
    for node_type, first, stop, rows, strength in combined_rows(sources, bounds):
        node_ix = np.arange(first, stop)
        if sources.node_features:
            strength = fill_in(rows, node_ix, strength, features.take(node_ix), settings, in_sets)
        method.finish(rows, RowNodes(node_ix, strength), sources.sums, settings)
        if compatibility is not None:
            fold_in_place(rows.values, node_ix, compatibility, settings.graph)
        weight, degree = (of_main.take(f"{prefix}{name}", node_ix) for name in ("weight", "degree"))
        if node_type in cold_rows:
            cold_rows[node_type].fill_in(rows.values, degree, features.take(node_ix))
        if matrix is not None:
            rotate_rows(rows.values, matrix)
        norms = row_norms(rows.values)
        refuse_not_finite(norms, first)
        weight = weight * sources.weight_unit  # as it is, whatever a mode left out
        yield FinishedRows(node_type, first, stop, rows.values, norms, degree, weight)


def refuse_not_finite(rows: NDArray[np.floating], first: int) -> None:
    """Raise ContractError if an entry of the rows from node ``first`` on, or a norm of theirs, is not finite."""
    is_finite = np.isfinite(rows)
    if not is_finite.all():
        bad_rows = int((~is_finite).reshape(len(rows), -1).any(axis=1).sum())
        raise ContractError(
            f"{bad_rows} of {len(rows)} rows from node {first} on are not finite; nothing was published. Weights "
            "of very different size overflow float32: look at the largest weights and at the powers of degree."
        )


def row_groups(
    bounds: Sequence[int], types: Mapping[str, Sequence[int]], size: int = ROW_GROUP_ROWS
) -> Iterator[tuple[str, int, int]]:
    """Ranges of at most ``size`` nodes that mix no types, ascending."""
    first, stop = bounds
    for node_type, (type_first, type_stop) in sorted(types.items(), key=lambda item: item[1][0]):
        for start in range(max(first, type_first), min(stop, type_stop), size):
            yield node_type, start, min(start + size, stop, type_stop)


class RowColumn:
    """A column by number of the row over all files; only the row groups that are asked for are read."""

    def __init__(self, files: Sequence[Location], name: str) -> None:
        self._name = name
        self._groups: list[tuple[int, int, pq.ParquetFile, int]] = []  # first node, one past the last, file, group
        start = 0
        for path in files:
            file = storage.open_parquet(path)
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                self._groups.append((start, stop, file, group))
                start = stop

    def pieces(self, first: int, stop: int) -> Iterator[pa.ChunkedArray]:
        """Yield the values of a range of rows, row group after row group."""
        for start, end, file, group in self._groups:
            if start < stop and first < end:
                column = file.read_row_group(group, columns=[self._name])[self._name]
                yield column.slice(max(first - start, 0), min(stop, end) - max(first, start))

    def between(self, first: int, stop: int) -> pa.Array:
        """Return the values of a range of rows, which is not empty."""
        chunks = [chunk for piece in self.pieces(first, stop) for chunk in piece.chunks]
        return pa.chunked_array(chunks).combine_chunks()


class NodeIds(RowColumn):
    """The node_id column by node number."""

    def __init__(self, files: Sequence[Location]) -> None:
        super().__init__(files, "node_id")


class PublishedRows:
    """The rows of a table that has one for each node: in order of their numbers, without those that are left out.

    ``count``: nodes of the graph, published or not.
    """

    def __init__(self, nodes: PublishedNodes, count: int) -> None:
        ids = NodeIds(nodes.node_index)
        self._is_published = np.zeros(count, np.bool_)
        for node_type, (first, stop) in nodes.types.items():
            self._is_published[first:stop] = True
            if nodes.exclude_ids.get(node_type) and stop > first:
                is_excluded = nodes.find_excluded(node_type, ids.between(first, stop))
                self._is_published[first:stop] = True if is_excluded is None else ~is_excluded
        self._row = np.cumsum(self._is_published, dtype=np.int32) - np.int32(1)

    def between(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of the nodes in a range that have rows."""
        return first + np.flatnonzero(self._is_published[first:stop])

    def are_published(self, node_ix: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which nodes have rows; (n,) int64 -> (n,)."""
        return self._is_published[node_ix]

    def of(self, node_ix: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the rows of nodes that have some; (n,) int64 -> (n,) int32."""
        return self._row[node_ix]
