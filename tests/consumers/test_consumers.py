"""The examples with the real packages, against brute force over the table: run in the environment of make consumers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from graphquilt import EmbeddingTable, ExportedVectors
from tests.benchmarks.ranker_figures import ranker_options

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.consumers, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
CONFIG = """\
[input]
path = "{path}"
source = "src"
target = "dst"

[evaluate]
source = "none"
"""


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "consumers" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graphquilt(*arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name("graphquilt"), *arguments], check=True)


def publish(pairs: Path, folder: Path) -> Path:
    """Run the chain on pairs; return published/<name>."""
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(CONFIG.format(path=pairs))
    graphquilt("run", "--config", str(folder / "config.toml"), "--workspace", str(folder / "work"))
    return folder / "work" / "published" / "default"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    return publish(shared_data / "ml-100k" / "train.parquet", tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def check_ins(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    return publish(shared_data / "gowalla" / "train.parquet", tmp_path_factory.mktemp("check-ins"))


def assert_is_brute_force(answer: list[tuple], published: Path, user: int) -> None:
    with EmbeddingTable.open(published) as table:
        wanted = table.neighbors(user, "user", 5, "item")
    assert [item for item, _ in answer] == [item for item, _ in wanted]
    np.testing.assert_allclose([score for _, score in answer], [score for _, score in wanted], rtol=1e-4)


@pytest.mark.parametrize("name", ["duckdb_sql", "polars_frame"])
def test_tables_are_read_as_they_are(name: str, films: Path) -> None:
    assert_is_brute_force(example(name).recommend(str(films), "5"), films, 5)


@pytest.mark.spark
def test_spark_sql_multiplies_rows(films: Path, spark_session: object) -> None:
    assert_is_brute_force(example("spark_sql").recommend(spark_session, str(films), "5"), films, 5)


@pytest.mark.parametrize(
    ("format_name", "name"), [("faiss", "faiss_index"), ("usearch", "usearch_index"), ("lance", "lance_table")]
)
def test_exports_answer_as_brute_force(format_name: str, name: str, films: Path, tmp_path: Path) -> None:
    graphquilt("export", "--workspace", str(films), "--format", format_name, "--out", str(tmp_path / "out"))
    assert_is_brute_force(example(name).recommend(str(films), "5", str(tmp_path / "out")), films, 5)


def test_feast_knows_since_when_and_serves(films: Path, tmp_path: Path) -> None:
    graphquilt("export", "--workspace", str(films), "--format", "feast", "--out", str(tmp_path / "out"))
    features = example("feast_features")
    with EmbeddingTable.open(films) as table:
        (row,), _ = table.lookup([5], "item")
    then, now = features.vectors(str(tmp_path / "out"), 5, "2024-06-02")
    np.testing.assert_array_equal(np.array(then, np.float32), row)
    np.testing.assert_array_equal(np.array(now, np.float32), row)


@pytest.mark.parametrize("format_name", ["faiss", "usearch"])
def test_an_index_finds_the_largest_dot_products_of_gowalla(format_name: str, check_ins: Path, tmp_path: Path) -> None:
    graphquilt("export", "--workspace", str(check_ins), "--format", format_name, "--out", str(tmp_path / "out"))
    export = ExportedVectors.open(tmp_path / "out")
    with EmbeddingTable.open(check_ins) as table:
        items, rows = table.to_numpy("item")
        users = table.to_numpy("user")[1][::59][:500]
    exact = items[np.argpartition(-(users @ rows.T), 10, axis=1)[:, :10]]
    queries = export.queries(users)
    if format_name == "faiss":
        import faiss

        rows_found = faiss.read_index(str(export.file("item"))).search(queries, 10)[1]
    else:
        from usearch.index import Index

        index = Index.restore(str(export.file("item")))
        index.expansion_search = export.manifest["types"]["item"]["index"]["expansion_search"]
        rows_found = index.search(queries, 10).keys.astype(int)
    found = export.ids("item")[rows_found]
    recall = np.mean([len({*one} & {*other}) / 10 for one, other in zip(exact, found, strict=True)])
    assert recall >= 0.95
    # The manifest's own figure is of other users: two samples of 5,000 binomial draws at .95 differ by 4 x .0044.
    assert abs(export.manifest["types"]["item"]["measured"]["recall@10"] - recall) <= 0.0176


def test_a_ranker_with_the_table_beats_the_one_without_and_the_dot_product(tmp_path: Path, shared_data: Path) -> None:
    ranker = example("ranker")
    ndcg = ranker.main(ranker_options(shared_data / "gowalla", tmp_path / "ranker"))
    for other in ("ranker without", "dot product"):
        least, _ = ranker.interval(ndcg["ranker with"] - ndcg[other])
        assert least > 0
