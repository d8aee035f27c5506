from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DamagedFileError
from pipeline.storage.batch_files import BatchFile, batch_writer

ENTRY = pa.struct([("row", pa.int32()), ("mass", pa.float64())])
#: Values of every kind that tasks send, with nulls where they may have some.
VALUES = {
    pa.int64(): st.none() | st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.none() | st.booleans(),
    pa.string(): st.none() | st.text(max_size=4),
    pa.large_string(): st.text(max_size=4),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.list_(pa.float32(), 2): st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2),
    pa.list_(ENTRY): st.lists(st.fixed_dictionaries({"row": st.integers(0, 9), "mass": st.floats(0, 1)}), max_size=3),
}


@st.composite
def batches(draw: st.DrawFn) -> list[pa.RecordBatch]:
    """Slices of one table, so that columns begin anywhere in their buffers."""
    rows = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    columns = [pa.array(draw(st.lists(VALUES[kind], min_size=rows, max_size=rows)), kind) for kind in kinds]
    whole = pa.record_batch(columns, names=[f"c{number}" for number in range(len(kinds))])
    first = sorted(draw(st.lists(st.integers(0, rows), min_size=1, max_size=4)))
    return [whole.slice(start, stop - start) for start, stop in zip(first, [*first[1:], rows], strict=True)]


def written(folder: str, given: list[pa.RecordBatch]) -> Path:
    path = Path(folder) / "a.batches"
    with batch_writer(path, given[0].schema) as writer:
        for batch in given:
            writer.write_batch(batch)
    return path


def batch_or_reason(path: Path, number: int, *, is_mapped: bool) -> pa.RecordBatch | str:
    try:
        return BatchFile(path, is_mapped=is_mapped).read(number)
    except DamagedFileError as error:
        return str(error)


@given(batches(), st.booleans())
def test_batches_come_back_as_they_were(given: list[pa.RecordBatch], is_mapped: bool) -> None:
    with TemporaryDirectory() as folder:
        file = BatchFile(written(folder, given), is_mapped=is_mapped)
        assert file.count == len(given)
        for number in reversed(range(file.count)):
            assert file.read(number).equals(given[number])


@given(batches(), st.data())
def test_no_batch_comes_back_as_another(given: list[pa.RecordBatch], data: st.DataObject) -> None:
    """A flipped bit, zeros, a file cut anywhere: each batch is what was written, or named as damaged."""
    with TemporaryDirectory() as folder:
        path = written(folder, given)
        whole = path.read_bytes()
        place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        for damaged in (bytes(flipped), whole[:place], bytes(len(whole))):
            path.write_bytes(damaged)
            for number, batch in enumerate(given):
                found = batch_or_reason(path, number, is_mapped=data.draw(st.booleans()))
                assert str(path) in found if isinstance(found, str) else found.equals(batch)


def test_a_batch_in_the_place_of_another_is_noticed(tmp_path: Path) -> None:
    """Both are whole: a footer that points to the wrong one gives other rows."""
    batch = pa.record_batch({"a": np.arange(3)})
    path = written(str(tmp_path), [batch, batch])
    reader = pa.ipc.open_file(str(path))
    moved = [reader.get_batch_with_custom_metadata(number) for number in (1, 0)]
    with pa.ipc.new_file(str(tmp_path / "moved"), batch.schema) as writer:
        for one, told in moved:
            writer.write_batch(one, custom_metadata=told)
    with pytest.raises(DamagedFileError, match="batch 0 has other rows"):
        BatchFile(tmp_path / "moved").read(0)
