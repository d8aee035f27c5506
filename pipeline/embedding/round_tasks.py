"""The tasks of the rounds: what a worker does with one part, or with some columns of it."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.fact_files import Facts, write_facts
from pipeline.embedding.method import Method
from pipeline.embedding.methods import method_for
from pipeline.embedding.norm_files import NormRecorder
from pipeline.embedding.products import Multiplier
from pipeline.embedding.row_files import RowFormat
from pipeline.embedding.rows import ColumnSums, Norms, Operand, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import FileSink, MemorySink, Sink, take
from pipeline.embedding.waves import FileSlices, PartPayload, PartResult, RowSlice, Traffic
from pipeline.kernels.buffers import Buffers, aligned_empty
from pipeline.kernels.rows import add_rows, column_sums, row_norms, scatter_rows
from pipeline.kernels.vector_tiles import SignRows
from pipeline.locations import Location
from pipeline.storage import BATCHES
from pipeline.tasks import Attempt


@dataclass(frozen=True)
class BlockPayload(PartPayload):
    """Input of the task that does all rounds of a block that needs no other."""

    wants_rows: bool  # else only the facts are wanted


@dataclass(frozen=True)
class PartRoundPayload(PartPayload):
    """Input of the tasks that do one round of a part."""

    number: int
    wants_rows: bool
    inbox: tuple[RowSlice, ...]
    carried_rows: tuple[Location, ...] = ()  # what the part's homes carry from the last round
    state: tuple[Location, ...] = ()  # the part's own rows of the last round


@dataclass(frozen=True)
class ReducePayload:
    """Input of the task that reduces the rows which a part's rounds emitted."""

    part_id: int
    settings: Settings
    files: Mapping[str, tuple[Location, ...]]  # by role


def embed_block(payload: BlockPayload, attempt: Attempt) -> PartResult:
    """Task: all rounds of a graph that is one block, in memory."""
    block, settings = payload.read()
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    files = FileSink(attempt, settings, block)
    memory = MemorySink(settings, block) if method.reduced_width(settings) else None
    writes_powers = method.keeps_total and settings.is_shard

    def norms(number: int) -> Norms:
        return _norms(attempt, method, number, settings)

    final = Rows.zeros(0, 0)
    for number, rows, after in rounds_of_block(block, settings, memory or files, norms):
        settings, final = after, rows
        if writes_powers and method.needs_noise_scales(number, settings):
            _write_power(attempt, block.node_ix[first:stop], rows, number, settings)
    result = PartResult(block.part_id, report=method.report(settings))
    _write_facts(attempt, settings.facts)
    if writes_powers or not payload.wants_rows:
        return result
    if memory:
        if not method.is_one_way(method.rounds(settings) - 1, settings):
            memory.emit(first, final)
        for role, node_ix, rows_of_role in memory.emitted_rows:
            files.emit_some(node_ix, method.reduce(rows_of_role, node_ix, settings, role), role)
        return result
    files.emit(first, final)
    at_home = take(final, np.flatnonzero(block.home[first:stop] == block.part_id))
    return replace(result, sums=sums_of(at_home, settings))


def rounds_of_block(
    block: Block, settings: Settings, sink: Sink, norms: Callable[[int], Norms] | None = None
) -> Iterator[tuple[int, Rows, Settings]]:
    """Yield (number, rows, settings) after each round of a block that needs no other; rows are the next round's.

    The last rows are the result, unless the method emits all of it. The settings have the facts of the round. ``norms``
    returns the norms for a round; by default, of whole rows if the round needs noise scales.
    """
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    strength = block.strength[first:stop]
    carried_rows = method.initial_carry(block, np.arange(first, stop), settings)
    x = _start(method, block, settings)
    buffers, row_scales = Buffers(), method.row_scales(strength, settings)
    norms_of_x: NDArray[np.float64] | None = None
    for number in range(method.rounds(settings)):
        of_round = norms(number) if norms else _norms_of_rows(method, number, settings)
        if norms_of_x is not None:
            needs_norms = method.needs_noise_scales(number, settings)
            of_round = functools.partial(_norms_at_hand, norms_of_x if needs_norms else None)
        power_sum = method.power_sum(carried_rows, number, settings)
        multiplier = Multiplier(block, of_round, row_scales, buffers, settings.reads_halves, power_sum)
        rows = method.multiply(multiplier, x, number, settings, sink)
        facts: Facts
        if method.is_one_way(number, settings):
            facts = sink.facts
        else:
            rows = method.carry(carried_rows, rows, number, settings) if power_sum is None else rows
            facts = {**sink.facts, **method.local_facts(rows, carried_rows, number, settings)}
        settings = settings.with_facts(method.reduce_facts(number, [facts], settings))
        yield number, rows, settings
        if rows.values is not x and not isinstance(x, SignRows):
            buffers.give(x)
        x, norms_of_x = rows.values, rows.norms


def _start(method: Method, block: Block, settings: Settings) -> Operand:
    """Return the exchanged rows of the first product: random ones, or those of an earlier night."""
    x = method.start(block, settings)
    if settings.earlier is not None and not isinstance(x, SignRows):
        first, stop = method.exchanged_range(block, settings)
        settings.earlier.put_into(x, block.node_key[first:stop], settings.graph.target[1] - settings.graph.target[0])
    return x


def multiply_part(payload: PartRoundPayload, attempt: Attempt) -> PartResult:
    """Task, first wave: one part's share of a product."""
    block, settings = payload.read()
    method, number = method_for(settings), payload.number
    first, stop = method.exchanged_range(block, settings)
    whole = first + np.flatnonzero(block.kind[first:stop] == RowKind.WHOLE)

    x = _start(method, block, settings) if number == 0 else _collect_rows(payload, block.node_ix[first:stop], settings)
    sink = FileSink(attempt, settings, block)
    norms = _norms(attempt, method, number, settings)
    multiplier = Multiplier(block, norms, reads_halves=settings.reads_halves)
    product = method.multiply(multiplier, x, number, settings, sink)
    del x, multiplier
    if method.is_one_way(number, settings):
        _write_facts(attempt, sink.facts)
        return PartResult(block.part_id)
    slices, traffic = send_partials(attempt, block, product, number, settings)
    rows = take(product, whole - first)
    del product
    result = _finish_round(attempt, block, whole, rows, sink, payload, settings)
    return replace(result, slices={**slices, **result.slices}, partials=traffic)


def sum_partials(payload: PartRoundPayload, attempt: Attempt) -> PartResult:
    """Task, second wave: add the partial rows of the split nodes that are at home in a part."""
    block, settings = payload.read()
    split = split_rows(block, settings)
    width = method_for(settings).width(payload.number, settings)
    sums, noise_scale = np.zeros((split.size, width)), np.zeros(split.size)
    for positions, share in arrivals(payload.inbox, block.node_ix[split]):
        add_rows(sums, positions, share.values)
        noise_scale[positions] += share.noise_scale
    rows = Rows(sums.astype(np.float32), noise_scale)
    del sums
    return _finish_round(attempt, block, split, rows, FileSink(attempt, settings, block), payload, settings)


def reduce_part(payload: ReducePayload, attempt: Attempt) -> PartResult:
    """Task: files of rows as the rounds emitted them -> rows with the embedding's columns."""
    settings = payload.settings.read()
    method = method_for(settings)
    sink = FileSink(attempt, settings)
    for role, files in payload.files.items():
        for file in files:
            node_ix, rows = row_files.read_all(file, method.width(method.rounds(settings) - 1, settings))
            sink.emit_some(node_ix, method.reduce(rows, node_ix, settings, role), role)
    return PartResult(payload.part_id)


def split_rows(block: Block, settings: Settings) -> NDArray[np.int64]:
    """Return the local rows that are summed here, ascending."""
    first, stop = method_for(settings).exchanged_range(block, settings)
    return first + np.flatnonzero(block.kind[first:stop] == RowKind.SPLIT)


def arrivals(inbox: Sequence[RowSlice], node_ix: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    """Yield rows that were sent, with their positions among ascending node numbers."""
    for row_slice in inbox:
        for sent_ix, rows in row_files.read_slice(row_slice.file, row_slice.first_batch, row_slice.batches):
            yield np.searchsorted(node_ix, sent_ix), rows


def send_partials(
    attempt: Attempt, block: Block, product: Rows, number: int, settings: Settings
) -> tuple[dict[str, FileSlices], Traffic]:
    """Write the partial rows of split nodes, by home; those at home in this part stay float32.

    Returns
    -------
    The slices of each role, and what goes to other parts.
    """
    method = method_for(settings)
    first, stop = method.exchanged_range(block, settings)
    node_ix, kind, home = block.node_ix[first:stop], block.kind[first:stop], block.home[first:stop]
    shared_rows = np.flatnonzero((kind == RowKind.SPLIT) | (kind == RowKind.COPY))
    slices = {int(part): shared_rows[home[shared_rows] == part] for part in np.unique(home[shared_rows])}
    own = {block.part_id: slices.pop(block.part_id)} if block.part_id in slices else {}
    has_noise_scale = method.needs_noise_scales(number, settings) and not settings.is_shard
    form = _format(product, settings, has_noise_scale=has_noise_scale, dtype=settings.embedding.boundary_dtype)
    own_form = _format(product, settings, has_noise_scale=has_noise_scale)
    files: dict[str, FileSlices] = {
        role: (row_files.write_slices(attempt.path(role, BATCHES), of_role, node_ix, product, form_of_role),)
        for role, of_role, form_of_role in (("partials", slices, form), ("home_partials", own, own_form))
        if of_role
    }
    return files, _traffic(slices, form)


def sums_of(rows: Rows, settings: Settings) -> ColumnSums | None:
    """Return the column sums of complete rows, if the last step standardises columns."""
    if not settings.embedding.standardize_columns:
        return None
    return ColumnSums(*column_sums(rows.values, np.ones(len(rows.values), np.bool_)))


def _format(rows: Rows, settings: Settings, *, has_noise_scale: bool, dtype: str = "float32") -> RowFormat:
    return RowFormat(rows.values.shape[1], settings.first_column, dtype, has_noise_scale)


def _traffic(slices: Mapping[int, NDArray[np.int64]], form: RowFormat) -> Traffic:
    rows = sum(index.size for index in slices.values())
    return Traffic(rows if form.width and form.first_column == 0 else 0, rows * form.row_bytes)


def _norms_of_rows(method: Method, number: int, settings: Settings) -> Norms:
    """Norms of whole rows, if the round needs noise scales."""
    return row_norms if method.needs_noise_scales(number, settings) else lambda _: None


def _norms_at_hand(norms: NDArray[np.float64] | None, _: NDArray[np.float32]) -> NDArray[np.float64] | None:
    return norms


def _norms(attempt: Attempt, method: Method, number: int, settings: Settings) -> Norms:
    if settings.is_shard and method.needs_noise_scales(number, settings):
        return NormRecorder(attempt, "operand_squares")
    return _norms_of_rows(method, number, settings)


def _collect_rows(payload: PartRoundPayload, node_ix: NDArray[np.int64], settings: Settings) -> NDArray[np.float32]:
    """Bring the rows of the last round together: a part's own, and those that others sent."""
    x = aligned_empty((node_ix.size, method_for(settings).width(payload.number, settings)))
    row_count = 0
    for file in payload.state:
        for own_ix, own in row_files.read_rows(file):
            scatter_rows(own.values, np.searchsorted(node_ix, own_ix), x)
            row_count += own_ix.size
    for positions, rows in arrivals(payload.inbox, node_ix):
        scatter_rows(rows.values, positions, x)
        row_count += positions.size
    if row_count != node_ix.size:
        raise RuntimeError(f"{row_count} rows arrived for {node_ix.size} local nodes: routes and blocks disagree")
    return x


def _write_facts(attempt: Attempt, facts: Facts) -> None:
    if facts:
        write_facts(attempt.path("facts", "arrow"), facts)


def _write_power(attempt: Attempt, node_ix: NDArray[np.int64], rows: Rows, number: int, settings: Settings) -> None:
    """Write columns of a power and the squares of its rows: it is added up when the norms are known."""
    NormRecorder(attempt, "power_squares")(rows.values)
    _write_state(attempt, node_ix, rows, number, settings)


def _write_state(attempt: Attempt, node_ix: NDArray[np.int64], rows: Rows, number: int, settings: Settings) -> None:
    is_last = number == method_for(settings).rounds(settings) - 1
    dtype = "float32" if is_last else settings.embedding.boundary_dtype
    form = _format(rows, settings, has_noise_scale=False, dtype=dtype)
    row_files.write_rows(attempt.path("state", BATCHES), node_ix, rows, form)


def _finish_round(
    attempt: Attempt,
    block: Block,
    local: NDArray[np.int64],
    rows: Rows,
    sink: FileSink,
    payload: PartRoundPayload,
    settings: Settings,
) -> PartResult:
    """Finalize complete rows, those of the local numbers, and write them for the next round or as the result."""
    method, number, result = method_for(settings), payload.number, PartResult(block.part_id)
    node_ix, is_last = block.node_ix[local], number == method.rounds(settings) - 1
    method.scale_complete(rows, block.strength[local], settings)
    carried_rows = _carried_rows(payload, block, local, settings)
    rows = method.carry(carried_rows, rows, number, settings)
    _write_facts(attempt, {**sink.facts, **method.local_facts(rows, carried_rows, number, settings)})
    writes_powers = method.keeps_total and settings.is_shard
    if writes_powers and method.needs_noise_scales(number, settings):
        _write_power(attempt, node_ix, rows, number, settings)
    elif not is_last:
        _write_state(attempt, node_ix, rows, number, settings)
    if not is_last:
        if carried_rows.values.shape[1]:
            row_files.write_rows(
                attempt.path("carried", BATCHES), node_ix, carried_rows, RowFormat(carried_rows.values.shape[1])
            )
        slices, traffic = _send_totals(attempt, block, node_ix, rows, settings)
        return replace(result, slices={"outbox": (slices,)}, totals=traffic)
    if writes_powers or not payload.wants_rows:
        return result
    sink.emit_some(node_ix, rows)
    return replace(result, sums=sums_of(rows, settings))


def _carried_rows(payload: PartRoundPayload, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
    """Read what some rows' home carries from the last round."""
    method, node_ix = method_for(settings), block.node_ix[local]
    if payload.number == 0:
        return method.initial_carry(block, local, settings)
    carried_rows = Rows.zeros(node_ix.size, method.carry_width(settings))
    for file in payload.carried_rows:
        for file_ix, rows in row_files.read_rows(file):
            positions = np.searchsorted(node_ix, file_ix)
            carried_rows.values[positions] = rows.values
            carried_rows.noise_scale[positions] = rows.noise_scale
    return carried_rows


def _send_totals(
    attempt: Attempt, block: Block, node_ix: NDArray[np.int64], rows: Rows, settings: Settings
) -> tuple[dict[int, tuple[int, int]], Traffic]:
    """Write a slice of finished rows for each part that reads some."""
    rows_for = {}
    for receiver, route in block.routes.items():
        position = np.searchsorted(node_ix, block.node_ix[route])
        is_here = np.append(node_ix, -1)[position] == block.node_ix[route]
        if is_here.any():
            rows_for[receiver] = position[is_here]
    form = _format(rows, settings, has_noise_scale=False, dtype=settings.embedding.boundary_dtype)
    slices = row_files.write_slices(attempt.path("outbox", BATCHES), rows_for, node_ix, rows, form)
    return slices, _traffic(rows_for, form)
