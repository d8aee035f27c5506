"""Published tables hold the bytes that they held before: a digest of each column, on the bundled sample.

``digests.json`` has the digests; ``python -m tests.golden.rewrite`` writes it anew, for a change that is meant to
change them. A failure names the tables, columns and metadata keys that moved.

The digests are the same on every x86-64 CPU with AVX2: our kernels are compiled without fastmath, and forms that go
through BLAS are computed with the OpenBLAS kernels of one CPU type. They did not move with numpy, numba, pyarrow and
libc held to SSE2; those of BLAS move with OpenBLAS, so that they are compared under the numpy and scipy they are of.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import ROOT
from tests.golden.configs import NAMES, THROUGH_BLAS
from tests.golden.digests import column_digest
from tests.golden.rewrite import DIGESTS, blas_versions, compute_digests

HELD = json.loads(DIGESTS.read_text())

on_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the digests of published bytes are of x86-64"
)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("golden") / "digests.json"
    subprocess.run([sys.executable, "-m", "tests.golden.rewrite", "--out", str(out)], cwd=ROOT, check=True)
    return json.loads(out.read_text())["releases"]


@on_x86
@pytest.mark.parametrize("name", NAMES)
def test_a_release_holds_the_bytes_it_held(name: str, computed: dict[str, Any]) -> None:
    if name in THROUGH_BLAS and blas_versions() != HELD["blas_versions"]:
        pytest.skip(f"the digests of {', '.join(THROUGH_BLAS)} are of other versions of numpy and scipy")
    assert computed[name] == HELD["releases"][name]


@on_x86
@pytest.mark.spark
def test_spark_publishes_the_same_bytes(tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    names = ["two_tower_parts"]
    assert compute_digests(names, tmp_path, SparkEngine(spark_session))[names[0]] == HELD["releases"][names[0]]


def test_every_configuration_has_digests() -> None:
    assert [*HELD["releases"]] == [*NAMES]


def test_shards_of_columns_and_the_cut_are_covered() -> None:
    # Else two names would hold one computation: tables are reused where fingerprints are equal.
    columns = {
        json.dumps(tables["node_embeddings"]["columns"]["embedding"])
        for tables in HELD["releases"].values()
        if "node_embeddings" in tables
    }
    assert len(columns) == sum("node_embeddings" in tables for tables in HELD["releases"].values())


TEXTS = pa.array(["a", None, "bc", ""])
LISTS = pa.array([[1.0, 2.0], [], None, [3.0]], pa.list_(pa.float32()))
ROWS = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 2)


@pytest.mark.parametrize("array", [TEXTS, LISTS, ROWS], ids=["texts", "lists", "rows"])
def test_a_digest_is_of_values_not_of_chunks(array: pa.Array) -> None:
    whole = column_digest(pa.chunked_array([array]))
    padded = pa.concat_arrays([array.slice(1, 1), array]).slice(1)
    assert column_digest(pa.chunked_array([padded.slice(0, 3), padded.slice(3)])) == whole
    changed = [array.take(pa.array([0, 1, 3, 2])), array.slice(0, 3), array.take(pa.array([0, None, 2, 3]))]
    assert whole not in [column_digest(pa.chunked_array([one])) for one in changed[: 2 + (array.null_count == 0)]]


def test_a_digest_is_of_the_sign_of_zero_and_of_the_type() -> None:
    zeros = [np.zeros(3, np.float32), -np.zeros(3, np.float32), np.zeros(3, np.float64), np.zeros(3, np.int32)]
    assert len({column_digest(pa.chunked_array([pa.array(one)])) for one in zeros}) == 4
