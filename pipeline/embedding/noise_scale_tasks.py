"""What needs all columns of a row, once the columns have been computed by several tasks.

The rounds are linear in the columns; norms and noise scales are not. Tasks of some columns leave the squares of
what they multiplied, and these tasks go over the rounds again with the same code and no columns at all: what is
left are the noise scales. A sum over powers, whose terms are divided by norms, is then added up column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.methods import method_for
from pipeline.embedding.norm_files import RecordedNorms, read_columns, write_columns
from pipeline.embedding.round_tasks import arrivals, block_of, send_partials, split_rows, sums_of
from pipeline.embedding.rows import Rows, Settings
from pipeline.embedding.sinks import FileSink, take
from pipeline.kernels.rows import add_scaled
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt


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

    def add(self, rows: Rows, measured: Mapping[str, Any], settings: Settings) -> None:
        method = method_for(settings)
        method.finalize_rows(rows, self.strength, settings)
        if not method.keeps_total:
            self.total.noise_scale[:] = rows.noise_scale
            return
        factor, growth = method.weigh(rows, measured["number"], settings, RecordedNorms([measured["powers"]]))
        self.factors.append(factor)
        self.total.noise_scale[:] += growth

    def write(self, attempt: Attempt, sink: FileSink) -> dict[str, Any]:
        if self.factors:
            pieces: Iterator[NDArray[np.float64]] = iter([np.stack(self.factors, axis=1)])
            write_columns(attempt.path("factors", BATCHES), len(self.factors), pieces)
        sink.emit_some(self.node_ix, self.total)
        return sink.counts


def compute_part_noise_scales(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: noise scales of a part's complete rows, and its share of those of split nodes, in all measured rounds."""
    settings, block = Settings.from_json(payload["settings"]), block_of(payload)
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    is_complete = (block.kind[first:stop] == RowKind.WHOLE) | payload["is_only_part"]
    complete = first + np.flatnonzero(is_complete)
    sink, measures = FileSink(attempt, settings, block), _NoiseScales.of(block, complete, settings)
    partials: dict[str, list[Any]] = {"partials_slices": [], "kept_slices": []}
    sent_bytes = 0
    for measured in payload["measured"]:
        number, norms = measured["number"], RecordedNorms(measured["operands"])
        x = np.empty((stop - first, 0), np.float32)
        product = method.multiply(block, x, number, settings, norms, sink)
        if not payload["is_only_part"]:
            sent = send_partials(attempt, block, product, number, settings)
            for name, found in partials.items():
                found += sent.get(name, [])
            sent_bytes += sent["partials_moved"][1]
        measures.add(take(product, complete - first), measured, settings)
    result = measures.write(attempt, sink)
    return {"part": block.part_id, **partials, "partials_moved": [0, sent_bytes], **result}


def compute_home_noise_scales(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: noise scales of the split nodes that are at home in a part, in all measured rounds."""
    settings, block = Settings.from_json(payload["settings"]), block_of(payload)
    measures = _NoiseScales.of(block, split_rows(block, settings), settings)
    for measured in payload["measured"]:
        rows = Rows.zeros(measures.node_ix.size, 0)
        for here, partial in arrivals(measured["inbox"], measures.node_ix):
            rows.noise_scale[here] += partial.noise_scale
        measures.add(rows, measured, settings)
    return {"part": block.part_id, **measures.write(attempt, FileSink(attempt, settings, block))}


def add_powers(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: some columns of the sum over the measured rounds, of the rows of one part."""
    settings = Settings.from_json(payload["settings"])
    factors = np.concatenate(list(read_columns(Path(payload["factors"]))))
    total = Rows.zeros(len(factors), settings.width)
    if settings.embedding.self_influence:  # else a block would be mapped for nothing
        block = block_of(payload)
        first, stop = method_for(settings).exchanged_range(block, settings)
        here = first + np.flatnonzero(np.isin(block.kind[first:stop], payload["kinds"]))
        total = method_for(settings).initial_total(block, here, settings)
    for column, file in enumerate(payload["powers"]):
        seen: list[NDArray[np.int64]] = []
        first = 0
        for node_ix, rows in row_files.read_rows(Path(file)):
            stop = first + node_ix.size
            add_scaled(total.values[first:stop], rows.values, factors[first:stop, column], 1.0)
            seen.append(node_ix)
            first = stop
    node_ix = np.concatenate(seen) if seen else np.empty(0, np.int64)
    sink = FileSink(attempt, settings)
    sink.emit_some(node_ix, total)
    return {"part": payload["block"]["part_id"], **sink.counts, "sums": sums_of(total, settings)}
