"""The tasks of the rounds: what a worker does with one part, or with some columns of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.methods import Method, method_for
from pipeline.embedding.norm_files import NormRecorder
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import ColumnSums, Norms, Rows, Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.narrow_rows import round_rows
from pipeline.kernels.rows import add_rows, add_scaled, column_sums, gather_rows, row_norms, scatter_rows
from pipeline.tasks import Attempt, Task


def embed_block(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: all rounds of a graph that is one block, in memory."""
    block, settings = block_of(task), Settings.from_json(task.payload["settings"])
    method = method_for(settings)
    first, stop = method.travelling(block, settings)
    node_ix, strength = block.node_ix[first:stop], block.strength[first:stop]
    is_home = block.home == block.part_id
    sink = Sink(attempt, settings, block.node_ix, is_home)
    keeps_powers = method.keeps_total and settings.is_shard
    total = Rows.zeros(stop - first, settings.width) if method.keeps_total and not keeps_powers else None
    x = method.start(block, settings)
    for number in range(method.rounds(settings)):
        rows = method.multiply(block, x, number, settings, _norms(attempt, method, number, settings), sink.emit)
        _settle(rows, strength, method, number, settings)
        if keeps_powers and method.is_measured(number, settings):
            _keep_power(attempt, node_ix, rows, method, number, settings)
        if total is not None:
            _add_power(total, rows, method, number, settings)
        x = rows.values
    del x
    if keeps_powers:
        return {"part": block.part_id}
    done = rows if total is None else total
    sink.emit(first, done)
    at_home = take(done, np.flatnonzero(is_home[first:stop]))
    return {"part": block.part_id, "rows": sink.rows, "sums": sums_of(at_home, settings)}


def multiply_part(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task, first wave: one part's share of a product."""
    payload, settings = task.payload, Settings.from_json(task.payload["settings"])
    block, number = block_of(task), int(payload["number"])
    method = method_for(settings)
    first, stop = method.travelling(block, settings)
    node_ix = block.node_ix[first:stop]
    whole = first + np.flatnonzero(block.kind[first:stop] == RowKind.WHOLE)

    x = method.start(block, settings) if number == 0 else _collect(payload, node_ix, settings.width)
    sink = Sink(attempt, settings, block.node_ix)
    product = method.multiply(block, x, number, settings, _norms(attempt, method, number, settings), sink.emit)
    del x
    sent = send_partials(attempt, block, product, number, settings)
    rows = take(product, whole - first)
    del product
    return sent | _finish_round(attempt, block, whole, rows, sink, payload, settings)


def settle_homes(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task, second wave: add the partial rows of the split nodes that are at home in a part."""
    payload, settings = task.payload, Settings.from_json(task.payload["settings"])
    block = block_of(task)
    split = split_rows(block, settings)
    sums, magnitude = np.zeros((split.size, settings.width)), np.zeros(split.size)
    for here, partial in arrivals(payload["inbox"], block.node_ix[split]):
        add_rows(sums, here, partial.values)
        magnitude[here] += partial.magnitude
    rows = Rows(sums.astype(np.float32), magnitude)
    del sums
    return _finish_round(attempt, block, split, rows, Sink(attempt, settings, block.node_ix), payload, settings)


def block_of(task: Task) -> Block:
    """Map the block that a task is about."""
    files = task.payload["block"]
    return Block.read(files["part_id"], Path(files["nodes"]), Path(files["edges"]), Path(files["routes"]))


def split_rows(block: Block, settings: Settings) -> NDArray[np.int64]:
    """Return the local rows that are summed here, ascending."""
    first, stop = method_for(settings).travelling(block, settings)
    return first + np.flatnonzero(block.kind[first:stop] == RowKind.SPLIT)


def take(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Return some of the rows, in ascending order."""
    if index.size == len(rows.values):
        return rows
    values = aligned_empty((index.size, rows.values.shape[1]))
    gather_rows(rows.values, index, values)
    return Rows(values, rows.magnitude[index])


def arrivals(inbox: list[list[Any]], node_ix: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield rows that were sent, with their positions among ascending node numbers."""
    for file, *batches in inbox:
        for sent_ix, sent in row_files.read_slice(Path(file), *batches):
            yield np.searchsorted(node_ix, sent_ix), sent


def send_partials(attempt: Attempt, block: Block, product: Rows, number: int, settings: Settings) -> dict[str, Any]:
    """Write the partial rows of split nodes, by home; what is at home here stays float32, since it stays here."""
    method = method_for(settings)
    first, stop = method.travelling(block, settings)
    node_ix, kind, home = block.node_ix[first:stop], block.kind[first:stop], block.home[first:stop]
    shared = np.flatnonzero((kind == RowKind.SPLIT) | (kind == RowKind.COPY))
    slices = {int(part): shared[home[shared] == part] for part in np.unique(home[shared])}
    own = {block.part_id: slices.pop(block.part_id)} if block.part_id in slices else {}
    has_magnitude = method.is_measured(number, settings) and not settings.is_shard
    form = _format(settings, has_magnitude=has_magnitude, dtype=settings.embedding.boundary_dtype)
    result: dict[str, Any] = {"partials_moved": _moved(slices, form)}
    for role, wanted, held in (
        ("partials", slices, form),
        ("kept", own, _format(settings, has_magnitude=has_magnitude)),
    ):
        if wanted:
            path = attempt.path(role, "arrow")
            result[f"{role}_slices"] = [row_files.write_slices(path, wanted, node_ix, product, held)]
    return result


def sums_of(rows: Rows, settings: Settings) -> dict[str, Any] | None:
    """Return the column sums of complete rows, if the last step asks for them."""
    if not settings.embedding.standardize_columns:
        return None
    sums, squares, count = column_sums(rows.values, np.ones(len(rows.values), np.bool_))
    return ColumnSums(sums, squares, count).to_json()


class Sink:
    """Files of finished rows of one attempt."""

    def __init__(
        self,
        attempt: Attempt,
        settings: Settings,
        local_ix: NDArray[np.int64],
        is_home: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the node numbers of a block's rows, and which of them are written; by default, all."""
        self._attempt = attempt
        self._local_ix = local_ix
        self._is_home = np.ones(local_ix.size, np.bool_) if is_home is None else is_home
        self._format = _format(settings, has_magnitude=not settings.is_shard)
        self.rows: list[int] = []

    def emit(self, first: int, rows: Rows) -> None:
        """Write consecutive local rows."""
        at_home = np.flatnonzero(self._is_home[first : first + len(rows.values)])
        self.emit_some(self._local_ix[first + at_home], take(rows, at_home))

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows) -> None:
        """Write rows by their node numbers."""
        row_files.write_rows(self._attempt.path("rows", "arrow"), node_ix, rows, self._format)
        self.rows.append(int(node_ix.size))


def _format(settings: Settings, *, has_magnitude: bool, dtype: str = "float32") -> RowFormat:
    return RowFormat(settings.width, settings.first_column, dtype, has_magnitude)


def _moved(slices: Mapping[int, NDArray[np.int64]], form: RowFormat) -> list[int]:
    """[rows, bytes]; of a row whose columns travel apart, the first ones count it."""
    rows = sum(index.size for index in slices.values())
    return [rows if form.width and form.first_column == 0 else 0, rows * form.row_bytes]


def _norms(attempt: Attempt, method: Method, number: int, settings: Settings) -> Norms:
    if not method.is_measured(number, settings):
        return lambda _: None
    return NormRecorder(attempt, "operand_squares") if settings.is_shard else row_norms


def _collect(payload: Mapping[str, Any], node_ix: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """Bring the rows of the last round together: a part's own, and those that others sent."""
    x = aligned_empty((node_ix.size, width))
    filled = 0
    for file in payload["state"]:
        for own_ix, own in row_files.read_rows(Path(file)):
            scatter_rows(own.values, np.searchsorted(node_ix, own_ix), x)
            filled += own_ix.size
    for here, sent in arrivals(payload["inbox"], node_ix):
        scatter_rows(sent.values, here, x)
        filled += here.size
    if filled != node_ix.size:
        raise RuntimeError(f"{filled} rows arrived for {node_ix.size} local nodes: routes and blocks disagree")
    return x


def _settle(rows: Rows, strength: NDArray[np.float64], method: Method, number: int, settings: Settings) -> None:
    """Finish complete rows; those that go on are rounded for every reader, so that it doesn't matter who is near."""
    method.settle(rows, strength, settings)
    if number < method.rounds(settings) - 1:
        round_rows(rows.values, settings.embedding.boundary_dtype)


def _add_power(total: Rows, rows: Rows, method: Method, number: int, settings: Settings) -> None:
    if method.is_measured(number, settings):
        factor, growth = method.weigh(rows, number, settings, row_norms)
        add_scaled(total.values, rows.values, factor, 1.0)
        total.magnitude[:] += growth


def _keep_power(
    attempt: Attempt, node_ix: NDArray[np.int64], rows: Rows, method: Method, number: int, settings: Settings
) -> None:
    """Write columns of a power and the squares of its rows: it is added up when the norms are known."""
    NormRecorder(attempt, "power_squares")(rows.values)
    _write_state(attempt, node_ix, rows, method, number, settings)


def _write_state(
    attempt: Attempt, node_ix: NDArray[np.int64], rows: Rows, method: Method, number: int, settings: Settings
) -> None:
    is_last = number == method.rounds(settings) - 1
    dtype = "float32" if is_last else settings.embedding.boundary_dtype
    form = _format(settings, has_magnitude=False, dtype=dtype)
    row_files.write_rows(attempt.path("state", "arrow"), node_ix, rows, form)


def _finish_round(
    attempt: Attempt,
    block: Block,
    local: NDArray[np.int64],
    rows: Rows,
    sink: Sink,
    payload: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """Settle complete rows, the local ones that are named, and write them for whoever is next."""
    method, number = method_for(settings), int(payload["number"])
    node_ix, is_last = block.node_ix[local], number == method.rounds(settings) - 1
    _settle(rows, block.strength[local], method, number, settings)
    keeps_powers = method.keeps_total and settings.is_shard
    total = None
    if keeps_powers and method.is_measured(number, settings):
        _keep_power(attempt, node_ix, rows, method, number, settings)
    elif not is_last:
        _write_state(attempt, node_ix, rows, method, number, settings)
    if method.keeps_total and not keeps_powers:
        total = _total_of(payload, node_ix, settings)
        _add_power(total, rows, method, number, settings)
    if not is_last:
        if total is not None:
            form = _format(settings, has_magnitude=True)
            row_files.write_rows(attempt.path("total", "arrow"), node_ix, total, form)
        return {"part": block.part_id, **_send_totals(attempt, block, node_ix, rows, settings)}
    if keeps_powers:
        return {"part": block.part_id}
    done = rows if total is None else total
    sink.emit_some(node_ix, done)
    return {"part": block.part_id, "rows": sink.rows, "sums": sums_of(done, settings)}


def _total_of(payload: Mapping[str, Any], node_ix: NDArray[np.int64], settings: Settings) -> Rows:
    total = Rows.zeros(node_ix.size, settings.width)
    for file in payload["total"]:
        for known_ix, known in row_files.read_rows(Path(file)):
            here = np.searchsorted(node_ix, known_ix)
            total.values[here] = known.values
            total.magnitude[here] = known.magnitude
    return total


def _send_totals(
    attempt: Attempt, block: Block, node_ix: NDArray[np.int64], rows: Rows, settings: Settings
) -> dict[str, Any]:
    """Write a slice of finished rows for each part that reads some."""
    wanted = {}
    for receiver, route in block.routes.items():
        position = np.searchsorted(node_ix, block.node_ix[route])
        is_here = np.append(node_ix, -1)[position] == block.node_ix[route]
        if is_here.any():
            wanted[receiver] = position[is_here]
    form = _format(settings, has_magnitude=False, dtype=settings.embedding.boundary_dtype)
    slices = row_files.write_slices(attempt.path("outbox", "arrow"), wanted, node_ix, rows, form)
    return {"outbox_slices": [slices], "totals_moved": _moved(wanted, form)}
