"""Mode ``exchange``: blocks that exchange rows, with whole and split nodes, copies, ghosts, and routes.

Three waves of tasks, whose exchange goes through files: edges to the parts that store them, blocks, and then
routes (which home rows the other parts need). With one part there is nothing to exchange.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import RowKind, write_routes
from pipeline.blocks.edge_files import EdgeFiles
from pipeline.blocks.local_block import make_block
from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, write_by_receiver
from pipeline.locations import Location
from pipeline.partitioning.layouts.block_sets import (
    BlockLayout,
    BlockResult,
    BlockSet,
    BuildPayload,
    PartTables,
    ScatterPayload,
)
from pipeline.partitioning.placement import NodeHomes, stored_at
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder


def lay_out(tasks: TaskFolder, tables: PartTables) -> BlockLayout:
    """Lay out the blocks of all parts, and the routes between them."""
    parts = tables.parts
    if len(parts) == 1:
        edges = [EdgeFiles(tables.edges)]
    else:
        edge_records = tasks.run_each(scatter_edges, "scatter", ScatterPayload.of_tables(tables))
        edges = [EdgeFiles(batches=batches_for(part, edge_records, "edges")) for part in parts]
    payloads = [BuildPayload(part, part_edges, tables.nodes) for part, part_edges in zip(parts, edges, strict=True)]
    blocks = tasks.run_each(build_block, "build", payloads, parts)
    needs = [
        tuple(
            (sender, batch)
            for sender, record in zip(parts, blocks, strict=True)
            for batch in batches_for(part, [record], "needs")
        )
        for part in parts
    ]
    routes = [RoutesPayload(record.file("nodes"), batches) for record, batches in zip(blocks, needs, strict=True)]
    return BlockLayout([BlockSet("parts", parts, blocks, tasks.run_each(route_rows, "route", routes, parts))])


def scatter_edges(payload: ScatterPayload, attempt: Attempt) -> SentRows:
    """Task: sort edges by the parts that store them."""
    edges, arrays = payload.edges.read(), payload.nodes.map_arrays()
    nodes = NodeHomes(payload.nodes.map_parts(), arrays.all("degree"), arrays.all("node_key").view(np.uint64))
    first, second = stored_at(edges.src, edges.dst, nodes)
    file, twice = attempt.path("edges", BATCHES), np.flatnonzero(second >= 0)
    if not twice.size:
        return SentRows({"edges": edges.send(file, first)})
    index = np.concatenate([np.arange(first.size), twice])
    return SentRows({"edges": edges.send(file, np.concatenate([first, second[twice]]), index)})


def build_block(payload: BuildPayload, attempt: Attempt) -> BlockResult:
    """Task: turn a part's edges into its block, and ask other homes for the rows it needs."""
    part, parts = payload.part, payload.nodes.map_parts()

    def kind_of(node_ix: NDArray[np.int64], home: NDArray[np.int32]) -> NDArray[np.int8]:
        is_split = parts.is_split[node_ix]
        return np.select(
            [(home == part) & ~is_split, home == part, is_split],
            [RowKind.WHOLE, RowKind.SPLIT, RowKind.COPY],
            RowKind.GHOST,
        ).astype(np.int8)

    nodes = payload.nodes.map_arrays()
    block = make_block(part, payload.edges.read_for_block(nodes.nodes), nodes, parts.part_id, kind_of)
    block.write(attempt.path("nodes", "arrow"), attempt.path("edges", "arrow"))
    is_away = block.kind >= RowKind.COPY
    columns = {"node_ix": block.node_ix[is_away]}
    slices = write_by_receiver(attempt.path("needs", BATCHES), block.home[is_away], columns)
    splits = int((block.kind == RowKind.SPLIT).sum())
    return BlockResult({"needs": slices}, int(np.count_nonzero(~is_away)), splits)


@dataclass(frozen=True)
class RoutesPayload:
    nodes: Location
    needs: tuple[tuple[int, FileBatch], ...]  # part, and what it sent


def route_rows(payload: RoutesPayload, attempt: Attempt) -> None:
    """Task: turn what the other parts need from this home into local rows."""
    node_ix = storage.column(storage.map_arrow(payload.nodes), "node_ix")
    routes = {
        receiver: np.searchsorted(node_ix, batch.read().column(0).to_numpy()).astype(np.int32)
        for receiver, batch in payload.needs
    }
    write_routes(attempt.path("routes", "arrow"), routes)
