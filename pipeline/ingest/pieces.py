"""How files are dealt out to tasks: in pieces, which are files or ranges of row groups."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import unquote

import pyarrow.parquet as pq

from pipeline.ingest.addresses import filesystem_of, naming
from pipeline.ingest.file_formats import Format, compression_of
from pipeline.ingest.lake.snapshot import Snapshot
from pipeline.ingest.sources import SourceFile

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # what Hive and Spark call the folder of null
_SIGNATURE_BYTES = 28  # of a Parquet footer that anybody may read and that tells of encrypted columns

ROWS_PER_TASK = 2_000_000
BYTES_PER_TASK = 64 * 2**20


@dataclass(frozen=True)
class FilePiece:
    """What a task reads of one file: all of it, or, in Parquet, a range of row groups."""

    relative: str
    address: str
    format: Format
    row_groups: tuple[int, int] | None = None  # first, one past the last
    first_row: int = 0  # number of the first row read, counted in the file
    snapshot: Snapshot | None = None  # of the lake table that it is a file of

    @property
    def compression(self) -> str | None:
        """How the file has to be unpacked while it is read."""
        return compression_of(self.relative)

    @property
    def folder_values(self) -> dict[str, str | None]:
        """Columns that the path names: ``event=click/part-0.parquet`` has event = "click"."""
        values: dict[str, str | None] = {}
        if self.snapshot is not None:  # whose log knows better: folders may be named after anything
            return values
        for folder in self.relative.split("/")[:-1]:
            name, equals, value = folder.partition("=")
            if equals:
                values[unquote(name)] = None if value == _NULL_FOLDER else unquote(value)
        return values


@dataclass(frozen=True)
class ParseTask:
    """The pieces one task reads, in order."""

    pieces: tuple[FilePiece, ...]


def split_tasks(
    sources: Sequence[SourceFile], rows_per_task: int = ROWS_PER_TASK, bytes_per_task: int = BYTES_PER_TASK
) -> list[ParseTask]:
    """Deal the files out to tasks, in order; the cut depends on the files and the two bounds only.

    Parquet is cut between row groups, at about ``rows_per_task`` rows: a row group is never split, since all
    of it would be decoded twice. A text file is always read by one task, since where a row starts can't be
    told from the middle; small ones share a task of up to ``bytes_per_task`` bytes on disk.

    Raises
    ------
    InputError : a Parquet file whose footer can't be read.
    """
    if sources and sources[0].format == "parquet":
        with ThreadPoolExecutor(16) as pool:  # footers of a remote folder: latency, not work
            return _pack(_row_groups(sources, list(pool.map(_rows_of_groups, sources))), rows_per_task)
    return _pack(((FilePiece(s.relative, s.address, s.format), s.bytes) for s in sources), bytes_per_task)


def _rows_of_groups(source: SourceFile) -> list[int]:
    filesystem, path = filesystem_of(source.address)
    with naming(source.address, "parquet"), pq.ParquetFile(path, filesystem=filesystem) as file:
        with filesystem.open_input_file(path) as tail:
            footer_bytes = int.from_bytes(tail.read_at(4, tail.size() - 8), "little")
        if footer_bytes == file.metadata.serialized_size + _SIGNATURE_BYTES:
            # pyarrow ends the process where it is asked what lies in an encrypted column.
            raise OSError("it has encrypted columns")
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _row_groups(sources: Sequence[SourceFile], rows: Sequence[Sequence[int]]) -> Iterator[tuple[FilePiece, int]]:
    for source, rows_of_groups in zip(sources, rows, strict=True):
        whole = FilePiece(source.relative, source.address, "parquet", snapshot=source.snapshot)
        if source.snapshot is not None and source.snapshot.kind == "Iceberg":  # whose library reads whole files
            yield whole, sum(rows_of_groups)
            continue
        first_row = 0
        for group, count in enumerate(rows_of_groups):
            yield replace(whole, row_groups=(group, group + 1), first_row=first_row), count
            first_row += count
        if not rows_of_groups:  # still read, so that its columns are checked
            yield replace(whole, row_groups=(0, 0)), 0


def _pack(pieces: Iterable[tuple[FilePiece, int]], most: int) -> list[ParseTask]:
    tasks: list[list[FilePiece]] = []
    size = 0
    for piece, cost in pieces:
        if not tasks or (size and size + cost > most):
            tasks.append([])
            size = 0
        size += cost
        last = tasks[-1][-1] if tasks[-1] else None
        if last and last.address == piece.address and last.row_groups and piece.row_groups:
            groups = (last.row_groups[0], piece.row_groups[1])
            tasks[-1][-1] = replace(last, row_groups=groups)
        else:
            tasks[-1].append(piece)
    return [ParseTask(tuple(pieces)) for pieces in tasks]
