"""The tasks of the rounds: what a worker does with one part, or with some columns of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.fact_files import write_facts
from pipeline.embedding.method_spec import Method
from pipeline.embedding.methods import method_for
from pipeline.embedding.norm_files import NormRecorder
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import ColumnSums, Facts, Norms, Rows, Settings
from pipeline.embedding.sinks import FileSink, MemorySink, Sink, take
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.rows import add_rows, column_sums, row_norms, scatter_rows
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt


def embed_block(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: all rounds of a graph that is one block, in memory."""
    block, settings = block_of(payload), Settings.from_json(payload["settings"])
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    files = FileSink(attempt, settings, block)
    memory = MemorySink(settings, block) if method.reduced_width(settings) else None
    has_kept_powers = method.keeps_total and settings.is_shard

    def norms(number: int) -> Norms:
        return _norms(attempt, method, number, settings)

    done = Rows.zeros(0, 0)
    for number, rows, known in rounds_of_block(block, settings, memory or files, norms):
        settings, done = known, rows
        if has_kept_powers and method.needs_noise_scales(number, settings):
            _keep_power(attempt, block.node_ix[first:stop], rows, method, number, settings)
    result: dict[str, Any] = {"part": block.part_id, "report": method.report(settings)}
    _write_facts(attempt, settings.facts)
    if has_kept_powers or not payload["wants_rows"]:
        return result
    if memory:
        for role, node_ix, held in memory.held:
            files.emit_some(node_ix, method.reduce(held, node_ix, settings, role), role)
        return result | files.counts
    files.emit(first, done)
    at_home = take(done, np.flatnonzero(block.home[first:stop] == block.part_id))
    return result | files.counts | {"sums": sums_of(at_home, settings)}


def rounds_of_block(
    block: Block, settings: Settings, sink: Sink, norms: Callable[[int], Norms] | None = None
) -> Iterator[tuple[int, Rows, Settings]]:
    """Yield (number, rows, settings) after each round of a block that needs no other; rows are the next round's.

    The last rows are the result, unless the method emits all of it. The settings know what the rounds found out.
    ``norms`` gives those of a round; by default, of whole rows where its noise scales are asked for.
    """
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    strength = block.strength[first:stop]
    carried = method.initial_carry(block, np.arange(first, stop), settings)
    x = method.start(block, settings)
    for number in range(method.rounds(settings)):
        of_round = norms(number) if norms else _norms_of_rows(method, number, settings)
        rows = method.multiply(block, x, number, settings, of_round, sink)
        found: Facts
        if method.is_one_way(number, settings):
            found = sink.facts
        else:
            method.finalize_rows(rows, strength, settings)
            rows = method.carry(carried, rows, number, settings)
            found = method.local_facts(rows, carried, number, settings)
        settings = settings.knowing(method.reduce_facts(number, [found], settings))
        yield number, rows, settings
        x = rows.values


def multiply_part(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task, first wave: one part's share of a product."""
    settings = Settings.from_json(payload["settings"])
    block, number = block_of(payload), int(payload["number"])
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    node_ix = block.node_ix[first:stop]
    whole = first + np.flatnonzero(block.kind[first:stop] == RowKind.WHOLE)

    width = method.width(number, settings)
    x = method.start(block, settings) if number == 0 else _collect(payload, node_ix, width)
    sink = FileSink(attempt, settings, block)
    product = method.multiply(block, x, number, settings, _norms(attempt, method, number, settings), sink)
    del x
    if method.is_one_way(number, settings):
        _write_facts(attempt, sink.facts)
        return {"part": block.part_id, **sink.counts}
    sent = send_partials(attempt, block, product, number, settings)
    rows = take(product, whole - first)
    del product
    return sent | _finish_round(attempt, block, whole, rows, sink, payload, settings)


def settle_homes(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task, second wave: add the partial rows of the split nodes that are at home in a part."""
    settings = Settings.from_json(payload["settings"])
    block = block_of(payload)
    split = split_rows(block, settings)
    width = method_for(settings).width(int(payload["number"]), settings)
    sums, noise_scale = np.zeros((split.size, width)), np.zeros(split.size)
    for here, share in arrivals(payload["inbox"], block.node_ix[split]):
        add_rows(sums, here, share.values)
        noise_scale[here] += share.noise_scale
    rows = Rows(sums.astype(np.float32), noise_scale)
    del sums
    return _finish_round(attempt, block, split, rows, FileSink(attempt, settings, block), payload, settings)


def reduce_rows(payload: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
    """Task: files of rows as the rounds emitted them -> rows with the embedding's columns."""
    settings = Settings.from_json(payload["settings"])
    method = method_for(settings)
    files = FileSink(attempt, settings)
    for role, file in payload["files"]:
        node_ix, rows = _read_all(Path(file), method.width(method.rounds(settings) - 1, settings))
        files.emit_some(node_ix, method.reduce(rows, node_ix, settings, role), role)
    return {"part": payload["part"], **files.counts}


def block_of(payload: Mapping[str, Any]) -> Block:
    """Map the block that a task is about."""
    files = payload["block"]
    features = Path(files["features"]) if files["features"] else None
    nodes, edges, routes = (Path(files[name]) for name in ("nodes", "edges", "routes"))
    return Block.read(files["part_id"], nodes, edges, routes, features)


def split_rows(block: Block, settings: Settings) -> NDArray[np.int64]:
    """Return the local rows that are summed here, ascending."""
    first, stop = method_for(settings).exchanged_range(block, settings)
    return first + np.flatnonzero(block.kind[first:stop] == RowKind.SPLIT)


def arrivals(inbox: list[list[Any]], node_ix: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield rows that were sent, with their positions among ascending node numbers."""
    for file, *batches in inbox:
        for sent_ix, sent in row_files.read_slice(Path(file), *batches):
            yield np.searchsorted(node_ix, sent_ix), sent


def send_partials(attempt: Attempt, block: Block, product: Rows, number: int, settings: Settings) -> dict[str, Any]:
    """Write the partial rows of split nodes, by home; what is at home here stays float32, since it stays here."""
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    node_ix, kind, home = block.node_ix[first:stop], block.kind[first:stop], block.home[first:stop]
    shared = np.flatnonzero((kind == RowKind.SPLIT) | (kind == RowKind.COPY))
    slices = {int(part): shared[home[shared] == part] for part in np.unique(home[shared])}
    own = {block.part_id: slices.pop(block.part_id)} if block.part_id in slices else {}
    has_noise_scale = method.needs_noise_scales(number, settings) and not settings.is_shard
    form = _format(product, settings, has_noise_scale=has_noise_scale, dtype=settings.embedding.boundary_dtype)
    result: dict[str, Any] = {"partials_moved": _moved(slices, form)}
    for role, wanted, held in (
        ("partials", slices, form),
        ("kept", own, _format(product, settings, has_noise_scale=has_noise_scale)),
    ):
        if wanted:
            path = attempt.path(role, BATCHES)
            result[f"{role}_slices"] = [row_files.write_slices(path, wanted, node_ix, product, held)]
    return result


def sums_of(rows: Rows, settings: Settings) -> dict[str, Any] | None:
    """Return the column sums of complete rows, if the last step asks for them."""
    if not settings.embedding.standardize_columns:
        return None
    sums, squares, count = column_sums(rows.values, np.ones(len(rows.values), np.bool_))
    return ColumnSums(sums, squares, count).to_json()


def _format(rows: Rows, settings: Settings, *, has_noise_scale: bool, dtype: str = "float32") -> RowFormat:
    return RowFormat(rows.values.shape[1], settings.first_column, dtype, has_noise_scale)


def _moved(slices: Mapping[int, NDArray[np.int64]], form: RowFormat) -> list[int]:
    """[rows, bytes]; of a row whose columns travel apart, the first ones count it."""
    rows = sum(index.size for index in slices.values())
    return [rows if form.width and form.first_column == 0 else 0, rows * form.row_bytes]


def _norms_of_rows(method: Method, number: int, settings: Settings) -> Norms:
    """Norms of whole rows, where a round's noise scales are asked for."""
    return row_norms if method.needs_noise_scales(number, settings) else lambda _: None


def _norms(attempt: Attempt, method: Method, number: int, settings: Settings) -> Norms:
    if settings.is_shard and method.needs_noise_scales(number, settings):
        return NormRecorder(attempt, "operand_squares")
    return _norms_of_rows(method, number, settings)


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


def _write_facts(attempt: Attempt, facts: Facts) -> None:
    if facts:
        write_facts(attempt.path("facts", "arrow"), facts)


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
    form = _format(rows, settings, has_noise_scale=False, dtype=dtype)
    row_files.write_rows(attempt.path("state", BATCHES), node_ix, rows, form)


def _finish_round(
    attempt: Attempt,
    block: Block,
    local: NDArray[np.int64],
    rows: Rows,
    sink: FileSink,
    payload: Mapping[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """Finalize complete rows, the local ones that are named, and write them for whoever is next."""
    method, number = method_for(settings), int(payload["number"])
    node_ix, is_last = block.node_ix[local], number == method.rounds(settings) - 1
    method.finalize_rows(rows, block.strength[local], settings)
    carried = _carried_rows(payload, block, local, settings)
    rows = method.carry(carried, rows, number, settings)
    _write_facts(attempt, method.local_facts(rows, carried, number, settings))
    keeps_powers = method.keeps_total and settings.is_shard
    if keeps_powers and method.needs_noise_scales(number, settings):
        _keep_power(attempt, node_ix, rows, method, number, settings)
    elif not is_last:
        _write_state(attempt, node_ix, rows, method, number, settings)
    if not is_last:
        if carried.values.shape[1]:
            row_files.write_rows(attempt.path("carried", BATCHES), node_ix, carried, RowFormat(carried.values.shape[1]))
        return {"part": block.part_id, **_send_totals(attempt, block, node_ix, rows, settings)}
    if keeps_powers or not payload["wants_rows"]:
        return {"part": block.part_id}
    sink.emit_some(node_ix, rows)
    return {"part": block.part_id, **sink.counts, "sums": sums_of(rows, settings)}


def _carried_rows(payload: Mapping[str, Any], block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
    """Read what some rows' home carries from the last round."""
    method, node_ix = method_for(settings), block.node_ix[local]
    if not payload["number"]:
        return method.initial_carry(block, local, settings)
    carried = Rows.zeros(node_ix.size, method.carry_width(settings))
    for file in payload["carried"]:
        for file_ix, rows in row_files.read_rows(Path(file)):
            here = np.searchsorted(node_ix, file_ix)
            carried.values[here] = rows.values
            carried.noise_scale[here] = rows.noise_scale
    return carried


def _read_all(path: Path, width: int) -> tuple[NDArray[np.int64], Rows]:
    """Read a whole file of rows."""
    pieces = list(row_files.read_rows(path))
    if not pieces:
        return np.empty(0, np.int64), Rows.zeros(0, width)
    values = np.concatenate([rows.values for _, rows in pieces])
    noise_scale = np.concatenate([rows.noise_scale for _, rows in pieces])
    return np.concatenate([node_ix for node_ix, _ in pieces]), Rows(values, noise_scale)


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
    form = _format(rows, settings, has_noise_scale=False, dtype=settings.embedding.boundary_dtype)
    slices = row_files.write_slices(attempt.path("outbox", BATCHES), wanted, node_ix, rows, form)
    return {"outbox_slices": [slices], "totals_moved": _moved(wanted, form)}
