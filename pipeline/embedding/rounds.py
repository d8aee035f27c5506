"""Rounds over parts: reading blocks, carrying rows across the cut through files, resuming. Once for all methods.

A round is one product with the graph, in two waves of tasks. *Products*: the task of a part reads its block, its
rows and the slices addressed to it, multiplies, finishes the rows whose edges are all here, and writes partial
rows of split nodes, sorted by home. *Homes*: the home of split nodes adds the partial rows in part order and
finishes them. Finished rows go to the parts that read them next. A tree with a single part needs none of that:
its one task keeps all rounds in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block, RowKind
from pipeline.embedding import row_files
from pipeline.embedding.methods import Method, method_for
from pipeline.embedding.rows import ColumnSums, Rows, Settings
from pipeline.kernels.buffers import aligned_empty
from pipeline.kernels.rows import add_rows, column_sums, gather_rows, scatter_rows
from pipeline.tasks import Attempt, Task, TaskRecord, TaskRunner, run_missing


@dataclass(frozen=True)
class BlockFiles:
    """Where a block lies."""

    part_id: int
    nodes: Path
    edges: Path
    routes: Path
    has_splits: bool  # it is the home of split nodes

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for tasks."""
        return {"part_id": self.part_id, **{name: str(getattr(self, name)) for name in ("nodes", "edges", "routes")}}


@dataclass(frozen=True)
class Embedded:
    """Files of finished rows, and the sums that the last step needs."""

    files: Sequence[tuple[Path, int, str]]  # path, rows, checksum
    sums: ColumnSums | None
    records: Sequence[TaskRecord]


def embed_parts(runner: TaskRunner, blocks: Sequence[BlockFiles], settings: Settings, place: Path) -> Embedded:
    """Embed all parts; what an earlier run finished at ``place`` is kept.

    Raises
    ------
    TaskError : a task failed on a worker.
    """
    if len(blocks) == 1:
        task = Task("rounds", str(place), {"block": blocks[0].to_json(), "settings": settings.to_json()})
        return _embedded(run_missing(runner, embed_block, [task]))
    products: list[TaskRecord] = []
    homes: list[TaskRecord] = []
    records: list[TaskRecord] = []
    for number in range(method_for(settings).rounds(settings)):
        round_tasks = _product_tasks(number, blocks, settings, place, products, homes)
        products = run_missing(runner, multiply_part, round_tasks)
        homes = run_missing(runner, settle_homes, _home_tasks(number, blocks, settings, place, products, homes))
        records += [*products, *homes]
    return _embedded([*products, *homes], records)


def _embedded(last: Sequence[TaskRecord], records: Sequence[TaskRecord] | None = None) -> Embedded:
    files = [
        (Path(record.place) / file.name, int(rows), file.checksum)
        for record in last
        for file, rows in zip((f for f in record.files if f.role == "rows"), record.result["rows"], strict=True)
    ]
    sums = None
    for record in last:
        if record.result.get("sums"):
            part = ColumnSums.from_json(record.result["sums"])
            sums = part if sums is None else sums + part
    return Embedded(files, sums, last if records is None else records)


def _product_tasks(
    number: int,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    products: Sequence[TaskRecord],
    homes: Sequence[TaskRecord],
) -> list[Task]:
    home_of = {record.result["part"]: record for record in homes}
    tasks = []
    for position, block in enumerate(blocks):
        own = [record for record in (products[position], home_of.get(block.part_id)) if record] if products else []
        payload = {
            "block": block.to_json(),
            "settings": settings.to_json(),
            "number": number,
            "state": [str(record.file("state")) for record in own],
            "total": [str(path) for record in own[:1] for path in record.paths("total")],
            "inbox": _addressed_to(block.part_id, [*products, *homes], "outbox"),
        }
        tasks.append(Task(f"round-{number:02d}-products-{block.part_id:05d}", str(place), payload))
    return tasks


def _home_tasks(
    number: int,
    blocks: Sequence[BlockFiles],
    settings: Settings,
    place: Path,
    products: Sequence[TaskRecord],
    homes: Sequence[TaskRecord],
) -> list[Task]:
    earlier = {record.result["part"]: record for record in homes}
    tasks = []
    for block in blocks:
        if not block.has_splits:
            continue
        known = earlier.get(block.part_id)
        payload = {
            "block": block.to_json(),
            "settings": settings.to_json(),
            "number": number,
            "total": [str(path) for path in known.paths("total")] if known else [],
            "inbox": _addressed_to(block.part_id, products, "partials"),  # in part order: so they are added
        }
        tasks.append(Task(f"round-{number:02d}-homes-{block.part_id:05d}", str(place), payload))
    return tasks


def _addressed_to(part: int, records: Sequence[TaskRecord], role: str) -> list[list[Any]]:
    found = []
    for record in records:
        where = record.result.get(f"{role}_slices", {}).get(str(part))
        if where:
            found.append([str(record.file(role)), *where])
    return found


def embed_block(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task: all rounds of a graph that is one block, in memory."""
    block, settings = _block_of(task), Settings.from_json(task.payload["settings"])
    method = method_for(settings)
    first, stop = method.travelling(block, settings)
    strength = block.strength[first:stop]
    sink = _Sink(attempt, block)
    total = Rows.zeros(stop - first, settings.dim) if method.keeps_total else None
    x = method.start(block, settings)
    for number in range(method.rounds(settings)):
        rows = method.multiply(block, x, number, settings, sink.emit)
        method.settle(rows, strength, total, number, settings)
        x = rows.values
    del x
    done = rows if total is None else total
    sink.emit(first, done)
    return {"part": block.part_id, "rows": sink.rows, "sums": _sums(done, settings)}


def multiply_part(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task, first wave: one part's share of a product."""
    payload, settings = task.payload, Settings.from_json(task.payload["settings"])
    block, number = _block_of(task), int(task.payload["number"])
    method = method_for(settings)
    is_last = number == method.rounds(settings) - 1
    first, stop = method.travelling(block, settings)
    node_ix, kind, strength = block.node_ix[first:stop], block.kind[first:stop], block.strength[first:stop]
    whole = np.flatnonzero(kind == RowKind.WHOLE)

    x = method.start(block, settings) if number == 0 else _collect(payload, node_ix, settings.dim)
    sink = _Sink(attempt, block)
    product = method.multiply(block, x, number, settings, sink.emit)
    del x
    result: dict[str, Any] = {"part": block.part_id}

    shared = np.flatnonzero((kind == RowKind.SPLIT) | (kind == RowKind.COPY))
    home = block.home[first:stop]
    result["partials_slices"] = row_files.write_slices(
        attempt.path("partials", "arrow"),
        {int(part): shared[home[shared] == part] for part in np.unique(home[shared])},
        node_ix,
        product,
    )
    rows = _take(product, whole)
    del product
    total = _total_of(payload, method, node_ix[whole], settings)
    method.settle(rows, strength[whole], total, number, settings)
    if is_last:
        done = rows if total is None else total
        sink.emit_some(node_ix[whole], done)
        return {**result, "rows": sink.rows, "sums": _sums(done, settings)}
    result |= _pass_on(attempt, block, node_ix[whole], rows, total)
    return result


def settle_homes(task: Task, attempt: Attempt) -> Mapping[str, Any]:
    """Task, second wave: add the partial rows of the split nodes that are at home in a part."""
    payload, settings = task.payload, Settings.from_json(task.payload["settings"])
    block, number = _block_of(task), int(task.payload["number"])
    method = method_for(settings)
    first, stop = method.travelling(block, settings)
    split = first + np.flatnonzero(block.kind[first:stop] == RowKind.SPLIT)
    node_ix, strength = block.node_ix[split], block.strength[split]

    sums, magnitude = np.zeros((split.size, settings.dim)), np.zeros(split.size)
    for file, *batches in payload["inbox"]:
        for partial_ix, partial in row_files.read_slice(Path(file), *batches):
            here = np.searchsorted(node_ix, partial_ix)
            add_rows(sums, here, partial.values)
            magnitude[here] += partial.magnitude
    rows = Rows(sums.astype(np.float32), magnitude)
    del sums
    total = _total_of(payload, method, node_ix, settings)
    method.settle(rows, strength, total, number, settings)
    if number == method.rounds(settings) - 1:
        done = rows if total is None else total
        sink = _Sink(attempt, block)
        sink.emit_some(node_ix, done)
        return {"part": block.part_id, "rows": sink.rows, "sums": _sums(done, settings)}
    return {"part": block.part_id, **_pass_on(attempt, block, node_ix, rows, total)}


def _block_of(task: Task) -> Block:
    files = task.payload["block"]
    return Block.read(files["part_id"], Path(files["nodes"]), Path(files["edges"]), Path(files["routes"]))


def _collect(payload: Mapping[str, Any], node_ix: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """Bring the rows of the last round together: a part's own, and those that others sent."""
    x = aligned_empty((node_ix.size, dim))
    filled = 0
    for sent_ix, sent in _arrivals(payload):
        scatter_rows(sent.values, np.searchsorted(node_ix, sent_ix), x)
        filled += sent_ix.size
    if filled != node_ix.size:
        raise RuntimeError(f"{filled} rows arrived for {node_ix.size} local nodes: routes and blocks disagree")
    return x


def _arrivals(payload: Mapping[str, Any]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    for file in payload["state"]:
        yield from row_files.read_rows(Path(file))
    for file, *batches in payload["inbox"]:
        yield from row_files.read_slice(Path(file), *batches)


def _total_of(
    payload: Mapping[str, Any], method: Method, node_ix: NDArray[np.int64], settings: Settings
) -> Rows | None:
    if not method.keeps_total:
        return None
    total = Rows.zeros(node_ix.size, settings.dim)
    for file in payload["total"]:
        for known_ix, known in row_files.read_rows(Path(file)):
            here = np.searchsorted(node_ix, known_ix)
            total.values[here] = known.values
            total.magnitude[here] = known.magnitude
    return total


def _pass_on(
    attempt: Attempt, block: Block, node_ix: NDArray[np.int64], rows: Rows, total: Rows | None
) -> dict[str, Any]:
    """Write finished rows for the next round: the part's own, and a slice for each part that reads some."""
    row_files.write_rows(attempt.path("state", "arrow"), node_ix, rows)
    if total is not None:
        row_files.write_rows(attempt.path("total", "arrow"), node_ix, total)
    wanted = {}
    for receiver, route in block.routes.items():
        position = np.searchsorted(node_ix, block.node_ix[route])
        is_here = np.append(node_ix, -1)[position] == block.node_ix[route]
        if is_here.any():
            wanted[receiver] = position[is_here]
    return {"outbox_slices": row_files.write_slices(attempt.path("outbox", "arrow"), wanted, node_ix, rows)}


def _take(rows: Rows, index: NDArray[np.int64]) -> Rows:
    if index.size == len(rows.values):
        return rows
    values = aligned_empty((index.size, rows.values.shape[1]))
    gather_rows(rows.values, index, values)
    return Rows(values, rows.magnitude[index])


def _sums(rows: Rows, settings: Settings) -> dict[str, Any] | None:
    if not settings.embedding.standardize_columns:
        return None
    sums, squares, count = column_sums(rows.values, np.ones(len(rows.values), np.bool_))
    return ColumnSums(sums, squares, count).to_json()


class _Sink:
    """Files of finished rows of one attempt."""

    def __init__(self, attempt: Attempt, block: Block) -> None:
        self._attempt = attempt
        self._block = block
        self.rows: list[int] = []

    def emit(self, first: int, rows: Rows) -> None:
        """Write consecutive local rows."""
        self.emit_some(self._block.node_ix[first : first + len(rows.values)], rows)

    def emit_some(self, node_ix: NDArray[np.int64], rows: Rows) -> None:
        """Write rows by their node numbers."""
        row_files.write_rows(self._attempt.path("rows", "arrow"), node_ix, rows)
        self.rows.append(int(node_ix.size))
