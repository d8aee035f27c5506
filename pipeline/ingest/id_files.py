"""Files with ids in their columns, of any format that ingest reads."""

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.ingest.pieces import FilePiece, split_tasks
from pipeline.ingest.raw_batch import RawBatch
from pipeline.ingest.readers import column_names, read
from pipeline.ingest.sources import list_sources
from pipeline.ingest.text.formats import BY_NAME, TextFormat
from pipeline.locations import Location


def read_id_file(path: Location | str, types: Mapping[str, pa.DataType], needs: Collection[str], key: str) -> pa.Table:
    """Return the columns of a file that ``types`` names, in its order; a file may lack some.

    Parameters
    ----------
    types : of the columns; those of other types are cast. Text stays text: an id such as 007 is no number.
    needs : columns that must be there. key : the option that names the file, for errors.

    Raises
    ------
    InputError : it can't be read or cast, lacks a column, or has a row that can't be read.
    """
    pieces = [piece for task in split_tasks(list_sources(str(path), key=key)) for piece in task.pieces]
    return read_id_pieces(pieces, types, needs, key, BY_NAME)


def read_id_pieces(
    pieces: Sequence[FilePiece],
    types: Mapping[str, pa.DataType],
    needs: Collection[str],
    key: str,
    text: TextFormat,
) -> pa.Table:
    """Return what :func:`read_id_file` does, for files that are listed already."""
    tables = []
    for piece in pieces:
        names = column_names(piece, text)
        if names and (missing := [name for name in needs if name not in names]):
            raise InputError(f"{key} {piece.address} has no column {', '.join(missing)}; it has {names}")
        columns = {name: name for name in types if name in names or name in piece.folder_values}
        tables += [_table(batch, types, piece, key) for batch in read(piece, columns, text)]
    if not tables:
        return pa.table({name: pa.array([], kind) for name, kind in types.items() if name in needs})
    if any(table.column_names != tables[0].column_names for table in tables):
        raise InputError(f"files of {key} differ: {pieces[0].address} has the columns {tables[0].column_names}")
    return pa.concat_tables(tables)


def _table(batch: RawBatch, types: Mapping[str, pa.DataType], piece: FilePiece, key: str) -> pa.Table:
    for line in batch.unreadable:
        raise InputError(
            f"{key} {piece.address} row {line.row:,} (from 0) can't be read: {line.why}, {line.text[:100]!r}; repair it"
        )
    try:
        return pa.table({name: _cast(values, types[name]) for name, values in batch.values.items()})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{key} {piece.address} can't be read: {error}") from error


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(values.type):
        values.validate(full=True)  # whether it is UTF-8, which readers leave open
        if pa.types.is_floating(kind):
            values = pc.ascii_trim_whitespace(values)
    return values.cast(kind)
