"""Relational verbs as waves of tasks that exchange rows through files, whoever carries the tasks.

Rows meet by key in two steps: the tasks of one wave deal their rows out to buckets, a slice a bucket in one file
each, and those of the next read all slices of a bucket. What needs no meeting is done along the way, a union is more
tasks in the same wave, and what fits one bucket is not dealt out at all.

How many tasks there are follows from the bytes of the data, never from who carries them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engines.frames import ExchangeFrame
from pipeline.engines.parquet import rows_per_file
from pipeline.engines.pieces import FramePiece, concat_pieces, group_by_bytes, plan
from pipeline.engines.relay import SortedFile
from pipeline.engines.waves import Sizes, Waves
from pipeline.tasks import TaskRunner

SIZES = Sizes()
_SAMPLES = 64  # of keys, a range of sorted rows


def write(
    runner: TaskRunner, frame: ExchangeFrame, folder: Path, schema: pa.Schema, sizes: Sizes | None = None
) -> list[Path]:
    """Write Parquet files with exactly this schema; a frame without rows gives no files."""
    sizes = sizes or SIZES
    waves = Waves(runner, folder, sizes)
    pieces = waves.pieces_of(frame, schema.names)
    written = waves.run(
        "write", pieces, schema.names, _table_sink(schema, sizes.rows_per_file or rows_per_file(schema))
    )
    return waves.finish(written)


def write_sorted(
    runner: TaskRunner,
    frame: ExchangeFrame,
    folder: Path,
    schema: pa.Schema,
    keys: Sequence[str],
    sizes: Sizes | None = None,
) -> list[Path]:
    """Like :func:`write`, in ascending order of ``keys`` over the files in the returned order.

    Sorted files first, in the wave that makes the rows; then ranges, whose tasks find their rows in each file by
    halving. A range ends at a row of the order, not at a key: a key of many rows may take several.
    """
    sizes = sizes or SIZES
    waves = Waves(runner, folder, sizes)
    pieces = waves.pieces_of(frame, schema.names)
    sink = _table_sink(schema, sizes.rows_per_sorted_file)
    if not pieces:
        return waves.finish([])
    if len(group_by_bytes(pieces, sizes.bytes)) == 1:
        whole = concat_pieces(pieces, schema.names).with_step("sort", {"keys": list(keys)})
        return waves.finish(waves.run("write", [whole], schema.names, sink))
    by_key = {"keys": list(keys), "schema": sink["schema"]}
    records = waves.run("sort", pieces, schema.names, {"sink": "sorted", **by_key})
    full = [record for record in records if record.result["rows"]]
    files = [(record.file("sorted"), int(record.result["rows"])) for record in full]
    if not files:
        return waves.finish([])
    rows, size = sum(rows for _, rows in files), sum(record.files[0].bytes for record in full)
    ranges = max(math.ceil(rows / sizes.rows_per_sorted_file), math.ceil(size / sizes.bytes))
    cuts: list[list[int] | None] = [None, *_cuts([file for file, _ in files], keys, rows, ranges), None]
    all_files = [str(file) for file, _ in files]
    sources = [
        {"sorted": all_files, "keys": list(keys), "first": first, "stop": stop}
        for first, stop in itertools.pairwise(cuts)
    ]
    merged = [
        FramePiece(plan([source], schema.names), rows // ranges, sizes.bytes).with_step("sort", {"keys": list(keys)})
        for source in sources
    ]
    return waves.finish(waves.run("write", merged, schema.names, sink))


def _table_sink(schema: pa.Schema, rows: int) -> dict[str, Any]:
    fields = [[field.name, str(field.type), field.nullable] for field in schema]
    return {"sink": "table", "schema": fields, "rows_per_file": rows}


def _cuts(files: Sequence[Path], keys: Sequence[str], rows: int, ranges: int) -> list[list[int]]:
    """Return where ranges of sorted files end, all but the last: [number of the file, row].

    The rows at even distances in all files, in order, stand for the rows around them.
    """
    step = max(1, rows // (ranges * _SAMPLES))
    sample = []
    for number, path in enumerate(files):
        file = SortedFile(number, path, keys)
        sample += [(file.key(row), number, row) for row in range(step // 2, file.table.num_rows, step)]
    sample.sort()
    return [list(sample[len(sample) * cut // ranges][1:]) for cut in range(1, ranges)]
