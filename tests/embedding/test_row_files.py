"""Files of rows of any width and type: what is written is what is read, whole, by slice and by range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.embedding import row_files
from pipeline.embedding.row_files import RowFormat, RowReader
from pipeline.embedding.rows import Rows
from pipeline.kernels.narrow_rows import round_rows

FORMATS = [
    RowFormat(21),
    RowFormat(16, 32, "float32", has_noise_scale=False),
    RowFormat(21, 16, "int8"),
    RowFormat(35, 0, "float16", has_noise_scale=False),
    RowFormat(0),
    RowFormat(0, 0, "int8"),
]


def rows_for(form: RowFormat, count: int) -> tuple[np.ndarray, Rows]:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(count, form.width)).astype(np.float32)
    return np.sort(rng.permutation(5 * count)[:count]), Rows(values, rng.random(count))


def as_read(form: RowFormat, rows: Rows) -> Rows:
    values = rows.values.copy()
    round_rows(values, form.dtype)
    noise_scale = rows.noise_scale
    if form.dtype != "float32":  # 8 bits of significand
        fraction, exponent = np.frexp(noise_scale.astype(np.float32).astype(np.float64))
        noise_scale = np.ldexp(np.floor(fraction * 2**8 + 0.5) / 2**8, exponent)
    return Rows(values, noise_scale if form.has_noise_scale else np.zeros_like(noise_scale))


@pytest.fixture(params=FORMATS, ids=str)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RowFormat:
    monkeypatch.setattr(row_files, "_BATCH_BYTES", 1000)  # several batches of few rows
    return request.param


def test_slices_are_read_as_they_were_addressed(form: RowFormat, tmp_path: Path) -> None:
    node_ix, rows = rows_for(form, 200)
    want = as_read(form, rows)
    slices = {3: np.arange(20, 90), 11: np.array([0, 5, 199]), 2: np.empty(0, np.int64), 7: np.arange(0, 200, 3)}
    where = row_files.write_slices(tmp_path / "f", slices, node_ix, rows, form)
    assert sorted(where) == [3, 7, 11]
    for receiver, batches in where.items():
        index = slices[receiver]
        read = list(row_files.read_slice(tmp_path / "f", *batches))
        np.testing.assert_array_equal(np.concatenate([ix for ix, _ in read]), node_ix[index])
        np.testing.assert_array_equal(np.concatenate([some.values for _, some in read]), want.values[index])
        np.testing.assert_array_equal(np.concatenate([some.noise_scale for _, some in read]), want.noise_scale[index])


def test_a_row_takes_the_bytes_that_are_counted(form: RowFormat, tmp_path: Path) -> None:
    node_ix, rows = rows_for(form, 200)
    row_files.write_rows(tmp_path / "f", node_ix, rows, form)
    reader = pa.ipc.open_file(pa.memory_map(str(tmp_path / "f")))
    stored = sum(reader.get_batch(number).nbytes for number in range(reader.num_record_batches))
    assert stored == 200 * (8 + form.row_bytes)


def test_ranges_are_put_where_they_belong(form: RowFormat, tmp_path: Path) -> None:
    node_ix, rows = rows_for(form, 200)
    want = as_read(form, rows)
    row_files.write_rows(tmp_path / "f", node_ix, rows, form)
    reader = RowReader(tmp_path / "f")
    for first, stop in ((0, 300), (300, 301), (301, 1000)):
        found = Rows(np.full((stop - first, 60), 7, np.float32), np.full(stop - first, 7.0))
        reader.fill(first, found)
        expected = Rows(np.full_like(found.values, 7), np.full_like(found.noise_scale, 7))
        here = (node_ix >= first) & (node_ix < stop)
        columns = slice(form.first_column, form.first_column + form.width)
        expected.values[node_ix[here] - first, columns] = want.values[here]
        if form.has_noise_scale:
            expected.noise_scale[node_ix[here] - first] = want.noise_scale[here]
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.noise_scale, expected.noise_scale)


def test_a_noise_scale_beyond_float32_stays_finite(tmp_path: Path) -> None:
    rows = Rows(np.ones((1, 4), np.float32), np.array([1e300]))
    row_files.write_rows(tmp_path / "f", np.array([3]), rows, RowFormat(4, 0, "int8"))
    ((_, read),) = row_files.read_rows(tmp_path / "f")
    assert read.noise_scale[0] == 2.0**128 - 2.0**120


def test_no_rows(form: RowFormat, tmp_path: Path) -> None:
    _, rows = rows_for(form, 5)
    row_files.write_rows(tmp_path / "f", np.empty(0, np.int64), Rows(rows.values[:0], rows.noise_scale[:0]), form)
    assert list(row_files.read_rows(tmp_path / "f")) == []
    RowReader(tmp_path / "f").fill(0, rows)
