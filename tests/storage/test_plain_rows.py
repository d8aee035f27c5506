"""Chosen rows of a column of vectors, against the files read whole by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage

#: Of a published table; and forms of pages that have to be decoded.
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none", "use_dictionary": False},
    "plain, with statistics and checksums": {
        **{"compression": "none", "use_dictionary": False, "write_statistics": True, "write_page_checksum": True}
    },
    "version 2": {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
    "compressed": {"compression": "zstd", "use_dictionary": False},
    "dictionary": {"compression": "none", "use_dictionary": True},
    "split": {"compression": "none", "use_dictionary": False, "use_byte_stream_split": True},
}


def write(path: Path, vectors: np.ndarray, is_nullable: bool, **form: Any) -> None:
    kind = pa.list_(pa.field("element", pa.float32(), is_nullable), vectors.shape[1])
    schema = pa.schema([pa.field("node_id", pa.int64()), pa.field("embedding", kind, is_nullable)])
    flat = pa.array(vectors.reshape(-1))
    table = pa.Table.from_arrays(
        [pa.array(np.arange(len(vectors))), pa.FixedSizeListArray.from_arrays(flat, type=kind)], schema=schema
    )
    pq.write_table(table, path, **form)


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    dim=st.integers(1, 40),
    page_bytes=st.sampled_from([64, 1_000, 2**20]),
    group=st.sampled_from([7, 100, 1_000]),
    form=st.sampled_from(sorted(FORMS)),
    is_nullable=st.booleans(),
    data=st.data(),
)
def test_chosen_rows_are_those_of_the_files(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    dim: int,
    page_bytes: int,
    group: int,
    form: str,
    is_nullable: bool,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    vectors = np.random.default_rng(dim).standard_normal((sum(sizes), dim)).astype(np.float32)
    paths, first = [folder / f"{number}.parquet" for number in range(len(sizes))], 0
    options = {**FORMS[form], "data_page_size": page_bytes, "write_batch_size": 8, "row_group_size": group}
    for path, size in zip(paths, sizes, strict=True):
        write(path, vectors[first : first + size], is_nullable, **options)
        first += size
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, max(len(vectors) - 1, 0))))), np.int64)[: len(vectors)]
    np.testing.assert_array_equal(storage.take_vectors(paths, "embedding", rows), vectors[rows])


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("is_nullable", [False, True])
def test_plain_pages_are_not_decoded(
    tmp_path: Path, form: str, is_nullable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", np.zeros((100, 8), np.float32), is_nullable, **FORMS[form])
    decoded = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda *args, **names: decoded.append(1) or read(*args, **names)
    )
    storage.take_vectors([tmp_path / "file"], "embedding", np.arange(0, 100, 9))
    assert bool(decoded) == (not form.startswith("plain"))


def test_entries_without_a_value_are_not_passed_over(tmp_path: Path) -> None:
    column = pa.array([[1.0, None], [2.0, 3.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"embedding": column}), tmp_path / "file", compression="none", use_dictionary=False)
    with pytest.raises(pa.ArrowInvalid, match="1 nulls"):
        storage.take_vectors([tmp_path / "file"], "embedding", np.array([0, 1]))
