from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import DamagedFileError, StorageError


def test_a_root_is_made(tmp_path: Path) -> None:
    assert storage.open_root(tmp_path / "a" / "b").is_dir()


def test_a_root_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be made"):
        storage.open_root(tmp_path / "file" / "w")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StorageError, match="link is a link to nothing"):
        storage.open_root(tmp_path / "link" / "w")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    storage.write_json(path, {"a": 1})
    before = path.stat().st_ino
    storage.write_json(path, {"a": "ß"})
    assert storage.read_json(path) == {"a": "ß"}
    assert path.stat().st_ino != before  # a reader that has it open keeps the old one
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        storage.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert storage.read_json(tmp_path / "a.json") == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_reading_json_tells_absent_from_damaged(tmp_path: Path) -> None:
    assert storage.read_json(tmp_path / "a.json") is None
    for text in ("{", "[1]"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(StorageError, match=r"a\.json"):
            storage.read_json(tmp_path / "a.json")


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    assert storage.fingerprint_of({"a": 1, "b": [1, 2]}) == storage.fingerprint_of({"b": [1, 2], "a": 1})
    assert storage.fingerprint_of({"a": 1}) != storage.fingerprint_of({"a": 2})
    assert len(storage.fingerprint_of(None)) == 16


def test_a_full_disk_names_both_numbers(tmp_path: Path) -> None:
    storage.require_free_space(tmp_path, 1, "ingest")
    with pytest.raises(StorageError, match=r"ingest needs about 909494.7 TiB .* are free"):
        storage.require_free_space(tmp_path, 10**18, "ingest")


@pytest.mark.parametrize("rows", [0, 1, 100_000])
def test_arrow_files_are_mapped_as_they_were_written(rows: int, tmp_path: Path) -> None:
    given = pa.table({"a": np.arange(rows), "b": np.arange(rows, dtype=np.float32)})
    pieces = pa.concat_tables([given.slice(0, rows // 2), given.slice(rows // 2)])
    storage.write_arrow(tmp_path / "a.arrow", pieces)
    mapped = storage.map_arrow(tmp_path / "a.arrow")
    assert mapped.equals(given)
    for name in ("a", "b"):
        column = storage.column(mapped, name)
        assert column.dtype == given[name].type.to_pandas_dtype()
        np.testing.assert_array_equal(column, given[name].to_numpy())
        assert rows == 0 or not column.flags.owndata  # a view: read where it is touched


def test_parquet_files_have_the_same_bytes_and_counted_rows(tmp_path: Path) -> None:
    table = pa.table({"src_type": ["user"] * 1_000, "src_id": list(map(str, range(1_000)))})
    for name in ("a", "b"):
        storage.write_parquet(tmp_path / name, table)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert storage.rows_in([tmp_path / "a", tmp_path / "b"]) == 2_000
    assert pq.read_table(tmp_path / "a").equals(table)


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    storage.remove_tree(tmp_path / "a")
    storage.remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_sealed_name_says_what_the_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "rows.half.arrow").write_bytes(b"rows")
    sealed = storage.seal(tmp_path / "rows.half.arrow", tmp_path, "rows")
    checksum = storage.checksum_of(sealed)
    assert sealed.name == f"rows.xxh3-{checksum}.arrow"
    assert storage.sealed_checksum(sealed) == checksum
    storage.check_sealed(sealed)
    for other in (b"rowz", b"row", b""):
        sealed.write_bytes(other)
        with pytest.raises(DamagedFileError, match=f"{sealed} has .* bytes"):
            storage.check_sealed(sealed)
    sealed.write_bytes(b"rows")
    storage.check_sealed(sealed)
    sealed.unlink()
    with pytest.raises(DamagedFileError, match="is missing"):
        storage.check_sealed(sealed)


@pytest.mark.parametrize("name", ["export.0123456789abcdef0123456789abcdef.csv", "part-00000.parquet", "a.xxh3-12.csv"])
def test_names_that_others_give_say_nothing(name: str, tmp_path: Path) -> None:
    storage.check_sealed(tmp_path / name)  # an input may be named after its md5


@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda key: key != "checksum"),
        st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
    ),
    st.data(),
)
def test_checked_json_is_what_was_written_or_nothing(value: dict[str, Any], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        storage.write_checked_json(path, value, indent=data.draw(st.sampled_from([None, 2])))
        assert storage.read_checked_json(path) == value
        assert {k: v for k, v in json.loads(path.read_bytes()).items() if k != "checksum"} == value
        written = path.read_bytes()
        place, bit = data.draw(st.integers(0, len(written) - 1)), data.draw(st.integers(0, 7))
        flipped = bytearray(written)
        flipped[place] ^= 1 << bit
        for damaged in (bytes(flipped), written[:place], b"", bytes(len(written)), written + b" "):
            path.write_bytes(damaged)
            with pytest.raises(DamagedFileError, match=str(path)):
                storage.read_checked_json(path)
        path.unlink()
        assert storage.read_checked_json(path) is None
