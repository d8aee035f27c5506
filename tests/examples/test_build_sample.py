"""The script behind the bundled sample, and the sample itself."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

INDEX = """\
Package: vim
Version: 2:9.0.1378-2
Pre-Depends: dpkg (>= 1.15)
Depends: vim-common (= 2:9.0.1378-2), libc6:any (>= 2.36) [amd64], libacl1 (>= 2.2) | libacl1-dev,
 libc6 (<< 3)
Suggests: vim-doc <!nodoc>,
Description: depends: on nothing
 Depends: this-is-text

Package: vim-common
Recommends: g++-12 | c++-compiler
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_sample", EXAMPLES / "build_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_alternative_is_a_relation_and_what_narrows_a_name_is_dropped(script: ModuleType) -> None:
    assert Counter(script.relations(INDEX)) == Counter(
        [
            ("vim", "dpkg", "pre-depends"),
            ("vim", "vim-common", "depends"),
            ("vim", "libc6", "depends"),
            ("vim", "libacl1", "depends"),
            ("vim", "libacl1-dev", "depends"),
            ("vim", "libc6", "depends"),
            ("vim", "vim-doc", "suggests"),
            ("vim-common", "g++-12", "recommends"),
            ("vim-common", "c++-compiler", "recommends"),
        ]
    )


def test_the_same_rows_make_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    rows = sorted(set(script.relations(INDEX)))
    for name in ("one", "two"):
        script.write(rows, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert [tuple(row.values()) for row in pq.read_table(tmp_path / "one").to_pylist()] == rows


def test_the_bundled_sample_is_what_its_readme_says(script: ModuleType) -> None:
    path = EXAMPLES / "sample" / "interactions.parquet"
    table = pq.read_table(path)
    readme = (EXAMPLES / "sample" / "README.md").read_text(encoding="utf-8")

    assert table.schema.equals(script.SCHEMA)
    rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    assert rows == sorted(set(rows))
    packages, needs, events = (set(column) for column in zip(*rows, strict=True))
    assert events == set(script.EVENT_OF_FIELD.values())
    figures = [
        path.stat().st_size,
        len(rows),
        len({row[:2] for row in rows}),
        len(packages),
        len(needs),
        len(packages | needs),
        *Counter(row[2] for row in rows).values(),
    ]
    for figure in figures:
        assert f"{figure:,}" in readme
    assert path.stat().st_size < 2_000_000
