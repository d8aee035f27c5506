"""Where a task's finished rows go: to files, or into memory until they can be reduced."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.embedding import row_files
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import FOLD_IN, SUBSPACE, Rows
from pipeline.embedding.settings import Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.rows import gather_rows, scatter_rows
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt


class Sink(ABC):
    """Takes what a product has beside the rows that it returns: final rows of a block, and its share of the facts."""

    def __init__(self, settings: Settings, block: Block | None = None) -> None:
        """Take the block whose rows are emitted; without one, rows come by node number only."""
        self._settings = settings
        self._node_ix = np.empty(0, np.int64) if block is None else block.node_ix
        self._is_home = np.empty(0, np.bool_) if block is None else block.home == block.part_id
        self.facts: Facts = {}

    def emit(self, first: int, rows: Rows, role: str = "rows") -> None:
        """Take rows that are final, with their first local row; those of other homes are left out.

        A role other than "rows" is a table of its own.
        """
        is_kept = {FOLD_IN: self._settings.keeps_fold_in, SUBSPACE: self._settings.keeps_subspace}
        if not is_kept.get(role, True):
            return
        at_home = np.flatnonzero(self._is_home[first : first + len(rows.values)])
        self.emit_some(self._node_ix[first + at_home], take(rows, at_home), role)

    def report_facts(self, facts: Facts) -> None:
        """Take what the block contributes to the facts of the whole graph."""
        self.facts = facts

    @abstractmethod
    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows, role: str = "rows") -> None:
        """Take rows by their node numbers, ascending."""


class FileSink(Sink):
    """Writes a file each time, of the attempt's."""

    def __init__(self, attempt: Attempt, settings: Settings, block: Block | None = None) -> None:
        super().__init__(settings, block)
        self._attempt = attempt

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows, role: str = "rows") -> None:
        has_noise_scale = role == "rows" and not self._settings.is_shard
        form = RowFormat(rows.values.shape[1], self._settings.first_column, has_noise_scale=has_noise_scale)
        row_files.write_rows(self._attempt.path(role, BATCHES), node_ix, rows, form)


class MemorySink(Sink):
    """Keeps the rows."""

    def __init__(self, settings: Settings, block: Block) -> None:
        super().__init__(settings, block)
        self.emitted_rows: list[tuple[str, NDArray[np.int64], Rows]] = []

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows, role: str = "rows") -> None:
        self.emitted_rows.append((role, node_ix, rows))


class TableSink(Sink):
    """Copies rows into those of all nodes."""

    def __init__(self, settings: Settings, block: Block) -> None:
        super().__init__(settings, block)
        self.rows = Rows.zeros(settings.graph.nodes, settings.dim)

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows, role: str = "rows") -> None:
        """Copy rows to where their nodes are; those of other roles are not of the table."""
        if role == "rows":
            scatter_rows(rows.values, node_ix, self.rows.values)
            self.rows.noise_scale[node_ix] = rows.noise_scale


def take(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Return some of the rows, in ascending order."""
    if index.size == len(rows.values):
        return rows
    values = aligned_empty((index.size, rows.values.shape[1]))
    gather_rows(rows.values, index, values)
    return Rows(values, rows.noise_scale[index])
