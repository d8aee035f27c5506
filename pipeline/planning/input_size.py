"""How large an input is, without reading it: from footers, and the first lines of text files."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.model import PipelineConfig
from pipeline.config.sections import InputConfig
from pipeline.ingest.addresses import filesystem_of, naming
from pipeline.ingest.file_formats import compression_of
from pipeline.ingest.pieces import split_tasks
from pipeline.ingest.sources import SourceFile

_SAMPLE_BYTES = 256 * 1024
_PART_BYTES = 4 * 1024


@dataclass(frozen=True)
class InputSize:
    """Sizes of an input.

    ``is_exact`` is False where rows are estimated from the first lines of text files. ``source_ids`` and
    ``target_ids`` are the most different ids there can be, where all footers hold integers' smallest and largest.
    """

    bytes: int
    rows: int
    is_exact: bool
    tasks: int
    source_ids: int | None = None
    target_ids: int | None = None


def measure_relations(config: PipelineConfig, sources: Sequence[Sequence[SourceFile]]) -> InputSize:
    """Return the size of all relations together: the ids that stand on the row side, and those on the column side.

    Parameters
    ----------
    sources : the files of each.

    Raises
    ------
    InputError : a file that can't be read.
    """
    sides = config.sides
    sizes = []
    for relation, files in zip(config.all_relations, sources, strict=True):
        size = measure_input(files, relation)
        if sides.ends[relation.name].is_turned:
            size = replace(size, source_ids=size.target_ids, target_ids=size.source_ids)
        sizes.append(size)
    source_ids, target_ids = ([getattr(size, name) for size in sizes] for name in ("source_ids", "target_ids"))
    return InputSize(
        bytes=sum(size.bytes for size in sizes),
        rows=sum(size.rows for size in sizes),
        is_exact=all(size.is_exact for size in sizes),
        tasks=sum(size.tasks for size in sizes),
        source_ids=None if None in source_ids else sum(source_ids),
        target_ids=None if None in target_ids else sum(target_ids),
    )


def measure_input(sources: Sequence[SourceFile], config: InputConfig) -> InputSize:
    """Look at the footers of Parquet files, or the first lines of text files.

    Raises
    ------
    InputError : a file that can't be read.
    """
    size, tasks = sum(source.bytes for source in sources), len(split_tasks(sources))
    if sources[0].format != "parquet":
        return InputSize(size, _text_rows(sources), is_exact=False, tasks=tasks)
    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(_footer, sources))
    rows = sum(footer.num_rows for footer in footers)
    is_lake = sources[0].snapshot is not None  # its log may have deleted rows, and renamed columns
    ends = (config.source, config.target)
    source_ids, target_ids = (None if is_lake else _span(footers, column) for column in ends)
    return InputSize(size, rows, not is_lake, tasks, source_ids, target_ids)


def _footer(source: SourceFile) -> pq.FileMetaData:
    filesystem, path = filesystem_of(source.address)
    with naming(source.address, "parquet"), pq.ParquetFile(path, filesystem=filesystem) as file:
        return file.metadata


def _span(footers: Sequence[pq.FileMetaData], column: str) -> int | None:
    """Return the largest less the smallest integer of a column, plus one; None where a footer does not say."""
    low: list[int] = []
    high: list[int] = []
    for footer in footers:
        names = [footer.schema.column(position).path for position in range(footer.num_columns)]
        if column not in names:
            return None
        for number in range(footer.num_row_groups):
            statistics = footer.row_group(number).column(names.index(column)).statistics
            if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, int):
                return None
            low.append(statistics.min)
            high.append(statistics.max)
    return max(high) - min(low) + 1 if low else None


def _text_rows(sources: Sequence[SourceFile]) -> int:
    """Estimate the lines of text files from the first bytes of the largest; of JSON arrays, the ends of objects."""
    largest = max(sources, key=lambda source: source.bytes)
    filesystem, path = filesystem_of(largest.address)
    with naming(largest.address, largest.format), filesystem.open_input_stream(path, compression=None) as stream:
        data = stream.read(_SAMPLE_BYTES)
    text = _decompress(data, compression_of(largest.relative))
    lines = max(1, text.count(b"\n"), text.count(b"}") if text.lstrip()[:1] == b"[" else 0)
    return round(sum(source.bytes for source in sources) * lines / max(1, len(data)))


def _decompress(data: bytes, compression: str | None) -> bytes:
    """Return the text in the first bytes of a file, as far as it goes."""
    if compression is None:
        return data
    parts: list[bytes] = []
    with contextlib.suppress(OSError), pa.CompressedInputStream(pa.BufferReader(data), compression) as stream:
        while part := stream.read(_PART_BYTES):  # which fails where the sample ends
            parts.append(part)
    return b"".join(parts)
