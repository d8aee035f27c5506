"""Ids of nodes that only join others: several in one value, and texts as numbers where no reader sees them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.ingest.attributes.values import categories_of, lists_of
from pipeline.ingest.ids import canonical_int64, keys_of
from pipeline.ingest.pieces import FilePiece
from pipeline.ingest.raw_batch import RawBatch
from pipeline.ingest.rejected import Verdicts, is_text

#: Role of a target column whose rows hold any number of ids: read as lists of attributes are.
TARGETS = "target\0lists"
_NEVER = "\0"  # in no text: a value without a separator is one id


def one_target_a_row(raw: RawBatch, separator: str | None, name: str, piece: FilePiece) -> RawBatch:
    """Return the rows of a batch once for each of their targets; rows without any are left out.

    Targets are lists, text that ``separator`` parts, or single values. A row whose targets can't be read stays, with
    no target.

    Raises
    ------
    InputError : a column that is none of these.
    """
    column, verdicts = raw.values[TARGETS], Verdicts(len(raw.rows))
    if is_text(column.type) or pa.types.is_nested(column.type):
        is_json = piece.format == "json"
        lists = lists_of(column, separator or _NEVER, verdicts, name, piece.address, is_json=is_json)
        counts = pc.list_value_length(lists).to_numpy().astype(np.int64)
        values = lists.flatten()
    else:
        single = categories_of(column, verdicts, name, piece.address)
        counts, values = single.is_valid().to_numpy(zero_copy_only=False).astype(np.int64), single.drop_null()
    if verdicts.codes is not None:
        is_unreadable = verdicts.codes != 0
        values = values.filter(pa.array(~np.repeat(is_unreadable, counts)))
        counts[is_unreadable] = 0
        place = np.full(int(counts.sum()) + int(is_unreadable.sum()), True)
        counts[is_unreadable] = 1
        place[(np.cumsum(counts) - counts)[is_unreadable]] = False
        values = values.take(pa.array(np.cumsum(place) - 1, mask=~place))
    row = np.repeat(np.arange(len(raw.rows)), counts)
    columns = {role: column.take(pa.array(row)) for role, column in raw.values.items() if role != TARGETS}
    return RawBatch(
        rows=raw.rows[row],
        values={**columns, "target": values},
        wrong_type=_of_rows(raw.wrong_type, row),
        is_header=_of_rows(raw.is_header, row),
        unreadable=raw.unreadable,
        blank_lines=raw.blank_lines,
        comment_lines=raw.comment_lines,
        header_lines=raw.header_lines,
    )


def _of_rows(mask: NDArray[np.bool_] | None, row: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    return None if mask is None else mask[row]


def as_numbers(ids: pa.Array) -> pa.Array:
    """Return ids without nulls as int64: canonical decimals as they are, other texts as the bits of their hash.

    So texts that no reader sees leave the ids of all others integers. Two texts share a number with a chance of
    n^2 / 2^65.
    """
    numbers = canonical_int64(ids)
    if numbers is not None:
        return numbers
    codes = ids.dictionary_encode()
    texts = codes.dictionary
    keys = keys_of("", texts).view(np.int64)
    is_decimal = pc.match_substring_regex(texts, r"^(0|-?[1-9][0-9]{0,18})$").to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(is_decimal).tolist():
        number = int(texts[place].as_py())
        keys[place] = number if -(2**63) <= number < 2**63 else keys[place]
    return pa.array(keys).take(codes.indices)
