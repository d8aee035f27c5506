"""What needs all columns of a row, once the columns have been computed by several tasks.

The rounds are linear in the columns; norms and noise scales are not. Tasks of some columns leave the squares of
what they multiplied, and these tasks go over the rounds again with the same code and no columns at all: what is
left are the noise scales. A sum over powers, whose terms are divided by norms, is then added up column by column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.methods import method_for
from pipeline.embedding.norm_files import RecordedNorms, read_columns, write_columns
from pipeline.embedding.products import Multiplier
from pipeline.embedding.round_tasks import arrivals, send_partials, split_rows, sums_of
from pipeline.embedding.rows import Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import FileSink, take
from pipeline.embedding.waves import FileSlices, PartPayload, PartResult, RowSlice, Traffic
from pipeline.kernels.rows import add_scaled
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt


@dataclass(frozen=True)
class RoundNorms:
    """What the shards left of one round that needs noise scales."""

    number: int
    power: tuple[Location, ...]  # squares of the round's rows, a shard each; none where there is no sum over rounds
    operands: tuple[tuple[Location, ...], ...] = ()  # of each matrix that was multiplied, a shard each
    inbox: tuple[RowSlice, ...] = ()  # noise scales of partial rows


@dataclass(frozen=True)
class NoiseScalePayload(PartPayload):
    """Input of the tasks that compute the noise scales of a part's rows, in all rounds that ask for them."""

    rounds: tuple[RoundNorms, ...]
    is_only_part: bool = False


@dataclass(frozen=True)
class PowersPayload(PartPayload):
    """Input of the task that adds some columns of the powers of one part's rows."""

    kinds: tuple[RowKind, ...]  # of the rows that it adds
    factors: Location
    powers: tuple[Location, ...]


@dataclass(frozen=True)
class _NoiseScales:
    """Noise scales of rows as they come, round by round."""

    node_ix: NDArray[np.int64]
    strength: NDArray[np.float64]
    total: Rows
    factors: list[NDArray[np.float64]]

    @classmethod
    def of(cls, block: Block, local: NDArray[np.int64], settings: Settings) -> _NoiseScales:
        total = method_for(settings).initial_total(block, local, settings)
        return cls(block.node_ix[local], block.strength[local], total, [])

    def add(self, rows: Rows, norms: RoundNorms, settings: Settings) -> None:
        method = method_for(settings)
        method.scale_complete(rows, self.strength, settings)
        if not method.keeps_total:
            self.total.noise_scale[:] = rows.noise_scale
            return
        factor, growth = method.weigh(rows, norms.number, settings, RecordedNorms([norms.power]))
        self.factors.append(factor)
        self.total.noise_scale[:] += growth

    def write(self, attempt: Attempt, sink: FileSink) -> None:
        if self.factors:
            write_columns(attempt.path("factors", BATCHES), len(self.factors), [np.stack(self.factors, axis=1)])
        sink.emit_some(self.node_ix, self.total)


def compute_part_noise_scales(payload: NoiseScalePayload, attempt: Attempt) -> PartResult:
    """Task: noise scales of a part's complete rows, and its share of those of split nodes."""
    block, settings = payload.read()
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    complete = first + np.flatnonzero((block.kind[first:stop] == RowKind.WHOLE) | payload.is_only_part)
    sink, noise_scales = FileSink(attempt, settings, block), _NoiseScales.of(block, complete, settings)
    slices: dict[str, FileSlices] = {}
    sent_bytes = 0
    for round_inputs in payload.rounds:
        x = np.empty((stop - first, 0), np.float32)
        multiplier = Multiplier(block, RecordedNorms(round_inputs.operands))
        product = method.multiply(multiplier, x, round_inputs.number, settings, sink)
        if not payload.is_only_part:
            new_slices, traffic = send_partials(attempt, block, product, round_inputs.number, settings)
            slices = {role: (*slices.get(role, ()), *files) for role, files in new_slices.items()}
            sent_bytes += traffic.bytes
        noise_scales.add(take(product, complete - first), round_inputs, settings)
    noise_scales.write(attempt, sink)
    return PartResult(block.part_id, slices, partials=Traffic(bytes=sent_bytes))


def compute_home_noise_scales(payload: NoiseScalePayload, attempt: Attempt) -> PartResult:
    """Task: noise scales of the split nodes that are at home in a part."""
    block, settings = payload.read()
    noise_scales = _NoiseScales.of(block, split_rows(block, settings), settings)
    for round_inputs in payload.rounds:
        rows = Rows.zeros(noise_scales.node_ix.size, 0)
        for positions, partial in arrivals(round_inputs.inbox, noise_scales.node_ix):
            rows.noise_scale[positions] += partial.noise_scale
        noise_scales.add(rows, round_inputs, settings)
    noise_scales.write(attempt, FileSink(attempt, settings, block))
    return PartResult(block.part_id)


def sum_powers(payload: PowersPayload, attempt: Attempt) -> PartResult:
    """Task: some columns of the sum over the rounds, of the rows of one part."""
    settings = payload.settings
    factors = np.concatenate(list(read_columns(payload.factors)))
    total = Rows.zeros(len(factors), settings.width)
    if settings.embedding.self_influence:  # else a block would be mapped for nothing
        block = payload.block.read()
        first, stop = method_for(settings).exchanged_range(block, settings)
        local = first + np.flatnonzero(np.isin(block.kind[first:stop], payload.kinds))
        total = method_for(settings).initial_total(block, local, settings)
    for column, file in enumerate(payload.powers):
        numbers: list[NDArray[np.int64]] = []
        first = 0
        for node_ix, rows in row_files.read_rows(file):
            stop = first + node_ix.size
            add_scaled(total.values[first:stop], rows.values, factors[first:stop, column])
            numbers.append(node_ix)
            first = stop
    node_ix = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
    FileSink(attempt, settings).emit_some(node_ix, total)
    return PartResult(payload.block.part_id, sums=sums_of(total, settings))
