"""Mode ``halo``: every part copies in the nodes within some hops of its own and all edges among them.

Only ids and edges are exchanged, once, by the layout. A product of depth ``hops`` is exact for the part's own nodes,
since all edges of nodes nearer than that are there; the edges between two nodes at the rim are not needed for that, but
deeper products lose less with them [Gowalla, 16 parts, 2 hops, two_tower, a sample of 2,500 users: 99.8 % of
Recall@20 for 11 times the entries; without them 97.4 % for 6.5 times].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import storage
from pipeline.blocks.arrays import RowKind
from pipeline.blocks.edge_files import EdgeFiles
from pipeline.blocks.local_block import make_block
from pipeline.blocks.sent_rows import FileBatch, SentRows, batches_for, write_by_receiver
from pipeline.locations import Location
from pipeline.partitioning.figures import ModeFigures
from pipeline.partitioning.layouts.block_sets import (
    BlockLayout,
    BlockResult,
    BlockSet,
    BuildPayload,
    NodeTables,
    PartTables,
    ScatterPayload,
    write_independent_block,
)
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt, TaskFolder, TaskRecord

#: Work of all parts over that of one block from which on a warning is due.
MUCH_WORK = 4.0

_IDS = pa.schema([pa.field("node_ix", pa.int64(), nullable=False)])


def lay_out(tasks: TaskFolder, tables: PartTables, hops: int) -> BlockLayout:
    """Grow the halos hop by hop, then build the blocks."""
    parts = tables.parts
    edge_records = tasks.run_each(scatter_to_homes, "scatter", ScatterPayload.of_tables(tables))
    halos = {part: Halo(batches_for(part, edge_records, "edges")) for part in parts}
    for hop in range(1, hops + 1) if len(parts) > 1 else ():
        halos = _grow(tasks, tables.nodes, halos, hop, is_last=hop == hops)
    payloads = [BuildPayload(part, halo.edges, tables.nodes) for part, halo in halos.items()]
    blocks = tasks.run_each(build_halo, "build", payloads, parts)
    entries = sum(record.rows("edges") for record in blocks)
    factor = entries / max(sum(record.result.entries for record in edge_records), 1)
    warnings = []
    if factor > MUCH_WORK:
        warnings.append(
            f"the halos of {hops} hops hold {factor:.1f} times the entries of one block: hubs are everybody's "
            "neighbours; lower embedding.halo_hops or partition.parts, or set embedding.boundary = 'exchange'"
        )
    figures = ModeFigures(work_factor=round(factor, 3))
    return BlockLayout([BlockSet("parts", parts, blocks, blocks)], figures, warnings)


@dataclass(frozen=True)
class Halo:
    """A part's edges, those of its halo so far, and the file of the nodes whose edges it has asked for."""

    own: tuple[FileBatch, ...]  # with an end at home in the part
    from_others: tuple[FileBatch, ...] = ()
    members: Location | None = None

    @property
    def edges(self) -> EdgeFiles:
        """All edges of the part."""
        return EdgeFiles(batches=self.own + self.from_others)


def _grow(
    tasks: TaskFolder, nodes: NodeTables, halos: Mapping[int, Halo], hop: int, *, is_last: bool
) -> dict[int, Halo]:
    """Add one hop: parts ask the homes of their outermost nodes for the edges of these."""
    payloads = [AskPayload(part, halo.edges, nodes, halo.members) for part, halo in halos.items()]
    asks = tasks.run_each(ask_homes, f"hop-{hop}-ask", payloads, halos)
    answers = [
        AnswerPayload(EdgeFiles(batches=halo.own), _asks_for(part, halos, asks, is_last=is_last))
        for part, halo in halos.items()
    ]
    edge_records = tasks.run_each(answer_parts, f"hop-{hop}-answer", answers, halos)
    return {
        part: Halo(halo.own, halo.from_others + batches_for(part, edge_records, "edges"), record.file("members"))
        for (part, halo), record in zip(halos.items(), asks, strict=True)
    }


def _asks_for(
    part: int, parts: Iterable[int], asks: Sequence[TaskRecord[SentRows]], *, is_last: bool
) -> tuple[HaloAsk, ...]:
    return tuple(
        HaloAsk(asker, batch, record.file("members") if is_last else None)
        for asker, record in zip(parts, asks, strict=True)
        for batch in batches_for(part, [record], "asks")
    )


@dataclass(frozen=True)
class ScatterHomesResult(SentRows):
    """Entries of the edges of a file: each edge twice, loops once."""

    entries: int


def scatter_to_homes(payload: ScatterPayload, attempt: Attempt) -> ScatterHomesResult:
    """Task: sort edges by the homes of their ends; an edge between two homes goes to both."""
    edges, home = payload.edges.read(), payload.nodes.map_parts().part_id
    first, second = home[edges.src], home[edges.dst]
    twice = np.flatnonzero(first != second)
    index = np.concatenate([np.arange(first.size), twice])
    slices = edges.send(attempt.path("edges", BATCHES), np.concatenate([first, second[twice]]), index)
    return ScatterHomesResult({"edges": slices}, 2 * first.size - int((edges.src == edges.dst).sum()))


@dataclass(frozen=True)
class AskPayload:
    part: int
    edges: EdgeFiles
    nodes: NodeTables
    members: Location | None  # the halo of the hop before


def ask_homes(payload: AskPayload, attempt: Attempt) -> SentRows:
    """Task: find the nodes one hop further out than those whose edges are here; ask their homes for them.

    All nodes seen so far are written as ``members``, which on the last hop is the halo.
    """
    home = payload.nodes.map_parts().part_id
    edges = payload.edges.read()
    members = np.unique(np.concatenate([edges.src, edges.dst]))
    has_edges_here = home[members] == payload.part
    if payload.members:
        has_edges_here |= _is_among(members, _node_ix(payload.members))
    storage.write_arrow(attempt.path("members", "arrow"), pa.Table.from_arrays([pa.array(members)], schema=_IDS))
    frontier = members[~has_edges_here]
    return SentRows({"asks": write_by_receiver(attempt.path("asks", BATCHES), home[frontier], {"node_ix": frontier})})


@dataclass(frozen=True)
class HaloAsk:
    """Nodes whose edges a part asks for; on the last hop also its halo, outside which no edge is to lead."""

    part: int
    nodes: FileBatch
    members: Location | None


@dataclass(frozen=True)
class AnswerPayload:
    edges: EdgeFiles
    asks: tuple[HaloAsk, ...]


def answer_parts(payload: AnswerPayload, attempt: Attempt) -> SentRows:
    """Task: send every part the edges of the nodes it has asked for; on the last hop, those among its halo."""
    edges = payload.edges.read()
    index, receiver = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for ask in payload.asks:
        node_ix = ask.nodes.read().column(0).to_numpy()
        rows = np.flatnonzero(_is_among(edges.src, node_ix) | _is_among(edges.dst, node_ix))
        if ask.members:
            members = _node_ix(ask.members)
            rows = rows[_is_among(edges.src[rows], members) & _is_among(edges.dst[rows], members)]
        index.append(rows)
        receiver.append(np.full(rows.size, ask.part, np.int32))
    slices = edges.send(attempt.path("edges", BATCHES), np.concatenate(receiver), np.concatenate(index))
    return SentRows({"edges": slices})


def build_halo(payload: BuildPayload, attempt: Attempt) -> BlockResult:
    """Task: turn the edges of a part and of its halo into a block that needs no other."""
    part = payload.part

    def kind_of(node_ix: NDArray[np.int64], home: NDArray[np.int32]) -> NDArray[np.int8]:  # noqa: ARG001
        return np.where(home == part, RowKind.WHOLE, RowKind.HALO).astype(np.int8)

    edges, nodes = payload.edges.read().sorted_once(), payload.nodes
    return write_independent_block(
        attempt, make_block(part, edges.for_block(), nodes.map_arrays(), nodes.map_parts().part_id, kind_of)
    )


def _is_among(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not ascending.size:
        return np.zeros(values.size, np.bool_)
    row = np.minimum(np.searchsorted(ascending, values), ascending.size - 1)
    return np.equal(ascending[row], values)


def _node_ix(file: Location) -> NDArray[np.int64]:
    return storage.column(storage.map_arrow(file), "node_ix")
