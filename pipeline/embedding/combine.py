"""Rows of several sets of blocks -> the rows of a mode: what ``border`` and ``quotient`` add to induced parts.

All work is row by row: a task that writes some nodes reads what every set knows of these, and no more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import storage
from pipeline.embedding.fastrp import CLASSIC
from pipeline.embedding.methods import spec_for
from pipeline.embedding.row_files import RowReader
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.kernels.rows import add_scaled, row_norms, scale_rows, unit_or_zero_scales
from pipeline.kernels.vector_tiles import GROUP
from pipeline.locations import Location

#: Of the quotient graph, whatever the form: a part is where it is linked to, one and two steps away.
_QUOTIENT = {
    "iteration_weights": (1.0, 1.0),
    "transition": "random_walk",
    "degree_power": 0.0,
    "self_influence": 0.0,
    "normalize_powers": True,
    "standardize_columns": False,
}


@dataclass(frozen=True)
class RowSet:
    """The rows of a set of blocks: files of rows, and files of the weights that these blocks kept of their nodes."""

    nodes: int  # with rows
    rows: tuple[Location, ...]
    kept_weights: tuple[Location, ...]


def shared_widths(dim: int, nodes: Sequence[int]) -> list[int]:
    """Share columns between sets in proportion to their nodes, in whole groups of 16 where there are enough.

    Every set with nodes gets a group, and of the others the largest remainders decide, ties for the earlier set.
    With fewer groups than sets, single columns are shared, and sets beyond ``dim`` get none. The columns that
    are left over when groups are dealt go to the first set.
    """
    alive = [place for place, count in enumerate(nodes) if count]
    unit = GROUP if dim // GROUP >= len(alive) else 1
    units = dim // unit
    widths = [0] * len(nodes)
    total = sum(nodes)
    for place in alive[:units]:
        widths[place] = 1
    while sum(widths) < units and alive:
        # Give the next unit to whom it is owed most; Python integers, so that no rounding decides.
        debts = [nodes[place] * units - widths[place] * total for place in alive]
        widths[alive[debts.index(max(debts))]] += 1
    widths = [width * unit for width in widths]
    if alive:
        widths[alive[0]] += dim - sum(widths)
    return widths


def settings_for(settings: Settings, name: str, position: int, nodes: Sequence[int]) -> Settings:
    """Return what a set of blocks is embedded with.

    Parameters
    ----------
    name, position : of the set.
    nodes : of all sets, by position.
    """
    embedding = settings.embedding
    # Parts exchange no rows, so none is rounded; and a block is one task, which holds whole rows.
    changes: dict[str, Any] = {"shards": None, "boundary_dtype": "float32"}
    if name == "quotient":
        quotient_embedding = embedding.model_copy(update=changes | _QUOTIENT)
        every = (0, 2**31)  # a part_id is an int32
        return replace(
            settings, graph=GraphSummary(nodes[1], every, every), embedding=quotient_embedding, form=CLASSIC.form
        )
    if embedding.boundary == "border" and embedding.border_join == "concatenate":
        # Other random rows for each set: with the same ones, the errors of their products would add up.
        changes |= {"dim": max(1, shared_widths(embedding.dim, nodes)[position])}
        changes |= {"seed": (embedding.seed + position) % 2**63}
    return replace(settings, embedding=embedding.model_copy(update=changes))


@dataclass(frozen=True)
class NodesOfSets:
    """Nodes with consecutive numbers, and the sets of blocks that have rows of them.

    buffer : (at least n, dim) float32, which rows of the first set are put into.
    open_rows : opens a file of rows, or returns what has been opened: that takes longer than to read some of its rows.
    """

    first: int
    sets: Sequence[RowSet]
    weight: NDArray[np.int64]  # (n,) fixed point, over the whole graph
    home: NDArray[np.int32]  # (n,)
    settings: Settings
    buffer: NDArray[np.float32]
    open_rows: Callable[[Location], RowReader] = RowReader

    def rows(self, position: int, width: int) -> Rows:
        """Rows of a set, zero where it has none."""
        rows = Rows.zeros(self.weight.size, width)
        for file in self.sets[position].rows:
            self.open_rows(file).fill(self.first, rows)
        return rows

    def rows_in_buffer(self) -> Rows:
        """The same of the first set, in the buffer."""
        rows = Rows(self.buffer[: self.weight.size], np.zeros(self.weight.size))
        has_row = np.zeros(self.weight.size, np.bool_)
        for file in self.sets[0].rows:
            self.open_rows(file).fill(self.first, rows, has_row)
        rows.values[~has_row] = 0.0
        return rows

    def kept_weight(self, position: int) -> NDArray[np.int64]:
        """Weight of each node's edges that a set has kept."""
        weight = np.zeros(self.weight.size, np.int64)
        for file in self.sets[position].kept_weights:
            table = storage.map_arrow(file)
            node_ix = storage.column(table, "node_ix")
            start, stop = np.searchsorted(node_ix, [self.first, self.first + weight.size])
            weight[node_ix[start:stop] - self.first] = storage.column(table, "weight")[start:stop]
        return weight


def rows_of(nodes: NodesOfSets) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the rows of the mode before the last step, and which nodes have one."""
    return COMBINATIONS[nodes.settings.embedding.boundary](nodes)


def _as_they_are(nodes: NodesOfSets) -> tuple[Rows, NDArray[np.bool_]]:
    return nodes.rows_in_buffer(), nodes.weight > 0


def _inner_rows(nodes: NodesOfSets) -> tuple[Rows, NDArray[np.bool_]]:
    return nodes.rows_in_buffer(), nodes.kept_weight(0) > 0


def _border(nodes: NodesOfSets) -> tuple[Rows, NDArray[np.bool_]]:
    """Inner and border rows side by side or added, each by the size that it has in the whole graph.

    Rows of linear forms have this size as they are: with unit vectors in their place, a node's few cut edges
    would weigh as much as all others [Gowalla, 4 parts: 56 % of Recall@20 instead of 95 %]. Where powers have
    been normalised, the share of the node's weight that the set has kept is what gives the size back.
    """
    settings, embedding = nodes.settings, nodes.settings.embedding
    sizes = [block_set.nodes for block_set in nodes.sets]
    joins = embedding.border_join == "concatenate"
    widths = shared_widths(settings.dim, sizes) if joins else [settings.dim] * len(sizes)
    total = Rows.zeros(nodes.weight.size, settings.dim)
    has_row = np.zeros(nodes.weight.size, np.bool_)
    column = 0
    for position, width in enumerate(widths):
        if not width or not nodes.sets[position].rows:
            column += width if joins else 0
            continue
        rows, kept_weight = nodes.rows(position, width), nodes.kept_weight(position)
        has_row |= kept_weight > 0
        share = np.ones(kept_weight.size)
        if spec_for(settings).hides_degree(embedding):
            share = kept_weight / np.maximum(nodes.weight, 1)
        if joins:
            scale_rows(rows.values, share, out=rows.values)
            total.values[:, column : column + width] = rows.values
            column += width
        else:
            add_scaled(total.values, rows.values, share)
        total.noise_scale[:] += share * rows.noise_scale
    return total, has_row


def _quotient(nodes: NodesOfSets) -> tuple[Rows, NDArray[np.bool_]]:
    """The induced row x, and what it lost from its part: x + c (1 - s) |x| q.

    c is ``quotient_weight``, s the share of the node's weight that its part has kept, q the unit vector of the
    part. A node that has kept nothing gets c q. With s = 0 for all nodes the vectors of parts would drown what
    nodes inside a part know of each other [Gowalla, 16 parts, a sample of 2,500 users: 87.1 % of Recall@20 instead
    of 89.0 %; drop 88.1 %].
    """
    rows, kept_weight = nodes.rows_in_buffer(), nodes.kept_weight(0)
    parts = Rows.zeros(1 + max(int(nodes.home.max(initial=0)), 0), nodes.settings.dim)
    for file in nodes.sets[1].rows:
        nodes.open_rows(file).fill(0, parts)
    scale_rows(parts.values, unit_or_zero_scales(row_norms(parts.values), parts.noise_scale), out=parts.values)
    size = np.where(kept_weight > 0, row_norms(rows.values), 1.0)
    # Both are integers: a node that has lost nothing has lost exactly nothing.
    lost_share = (nodes.weight - kept_weight) / np.maximum(nodes.weight, 1)
    scale = nodes.settings.embedding.quotient_weight * lost_share * size
    of_part = parts.values[np.maximum(nodes.home, 0)]
    add_scaled(rows.values, of_part, scale)
    rows.noise_scale[:] += scale * (row_norms(of_part) > 0)
    return rows, nodes.weight > 0


#: By embedding.boundary: how the rows of a node become one.
COMBINATIONS: Mapping[str, Callable[[NodesOfSets], tuple[Rows, NDArray[np.bool_]]]] = MappingProxyType(
    {"exchange": _as_they_are, "halo": _as_they_are, "drop": _inner_rows, "border": _border, "quotient": _quotient}
)
