"""A method is one file and one line in the table: planned, run on both engines, evaluated and published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphquilt
from pipeline.kernels.node_keys import node_keys
from pipeline.kernels.random_projection import very_sparse_projection
from tests.conftest import ROOT
from tests.stages.chains import config_for, friends, to_toml, users_and_items, write_rows

METHOD = Path(__file__).with_name("neighbor_average.py")
IMPORT = "from pipeline.embedding.neighbor_average import NEIGHBOR_AVERAGE\n"
DIM, SEED = 24, 5


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, with the method's file, and its line in the table and what that imports."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("graphquilt", "jobs", "pipeline", "schemas"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(METHOD, folder / "pipeline/embedding")
    table = folder / "pipeline/embedding/methods.py"
    text = table.read_text(encoding="utf-8")
    lines = {"from pipeline.embedding.ppr.factorised": IMPORT, "    HASHED,\n": "    NEIGHBOR_AVERAGE,\n"}
    for before, added in lines.items():
        assert text.count(before) == 1
        text = text.replace(before, added + before)
    table.write_text(text, encoding="utf-8")
    return folder


def command(packages: Path, folder: Path, name: str, *arguments: str, engine: str = "local") -> Any:
    """Run a command of the copy; return its exit code and the object that it printed."""
    known = {"plan", "run"}
    options = ["--workspace", str(folder / engine), "--engine", engine] if name in known else []
    ended = subprocess.run(
        [sys.executable, "-m", "graphquilt", name, "--json", *options, *arguments],
        capture_output=True, text=True, check=False, cwd=packages, env={**os.environ, "PYTHONPATH": str(packages)},
    )  # fmt: skip
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def config_file(folder: Path, is_plain: bool) -> tuple[Path, dict[str, np.ndarray]]:
    """Write a graph in three parts, pairs to evaluate, and a config that names the method."""
    pairs = friends() if is_plain else users_and_items()
    rows = write_rows(folder / "in.parquet", pairs)
    write_rows(folder / "test.parquet", friends(seed=1) if is_plain else users_and_items(seed=1))
    keys = {"method": "neighbor_average", "seed": SEED, "hops": 2}
    config = config_for(
        rows, plain=is_plain, parts=3, dim=DIM,
        embedding=keys, evaluate={"source": "file", "path": str(folder / "test.parquet")},
    )  # fmt: skip
    file = folder / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    return file, pairs


def dense_rows(pairs: dict[str, np.ndarray], types: tuple[str, str]) -> dict[tuple[str, int], np.ndarray]:
    """The same by dense matrices, in float64."""
    ends = [[(name, int(value)) for value in pairs[end]] for name, end in zip(types, ("source", "target"), strict=True)]
    nodes = sorted({*ends[0], *ends[1]})
    place = {node: number for number, node in enumerate(nodes)}
    adjacency = np.zeros((len(nodes), len(nodes)))
    for one, other in zip(*ends, strict=True):
        adjacency[place[one], place[other]] += 1
        adjacency[place[other], place[one]] += 1
    key = np.concatenate([node_keys(name, [str(value).encode()]) for name, value in nodes])
    step = adjacency / adjacency.sum(axis=1, keepdims=True)
    rows = step @ step @ very_sparse_projection(key, DIM, 3.0, SEED).astype(np.float64)
    return dict(zip(nodes, rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("is_plain", [True, False], ids=["one_type", "two_types"])
def test_rows_are_those_of_dense_matrices(packages: Path, tmp_path: Path, is_plain: bool) -> None:
    file, pairs = config_file(tmp_path, is_plain)
    code, answer = command(packages, tmp_path, "run", "--config", str(file))
    assert code == 0, answer
    types = ("person", "person") if is_plain else ("user", "item")
    want = dense_rows(pairs, types)
    table = graphquilt.EmbeddingTable.open(tmp_path / "local")
    assert table.metadata["parameters"] == {"projection": "sparse", "sparsity": 3.0, "hops": 2}
    got: dict[tuple[str, int], np.ndarray] = {}
    for name in {*types}:
        ids, rows = table.to_numpy(name)
        got |= {(name, value): row for value, row in zip(ids.tolist(), rows, strict=True)}
    assert sorted(got) == sorted(want)
    np.testing.assert_allclose([got[node] for node in want], list(want.values()), atol=2e-6)
    metrics = json.loads((Path(answer["path"]) / "metrics.json").read_text(encoding="utf-8"))
    assert "recall" in json.dumps(metrics)


@pytest.mark.slow
def test_the_plan_prices_its_rounds(packages: Path, tmp_path: Path) -> None:
    file, _ = config_file(tmp_path, is_plain=True)
    prices = {}
    for hops in (1, 2):
        code, facts = command(packages, tmp_path, "plan", "--config", str(file), "--set", f"embedding.hops={hops}")
        assert code == 0, facts
        assert facts["embed"]["rounds"] == hops
        prices[hops] = facts["embed"]
    assert 0 < prices[1]["cpu_seconds"] < prices[2]["cpu_seconds"]


@pytest.mark.slow
def test_its_keys_are_checked_and_listed(packages: Path, tmp_path: Path) -> None:
    file, _ = config_file(tmp_path, is_plain=True)

    def refusal(setting: str) -> str:
        code, answer = command(packages, tmp_path, "config", "--check", str(file), "--set", setting)
        assert code == 2
        return str(answer["error"])

    wanted = "input should be less than or equal to 2 (neighbor_average: steps from the random rows)"
    assert f"embedding.hops is 3; {wanted}" in refusal("embedding.hops=3")
    assert "there is no key embedding.hop; did you mean 'hops'?" in refusal("embedding.hop=1")
    assert "it is a form of fastrp" in refusal("embedding.form=classic")
    code, answer = command(packages, tmp_path, "config", "--defaults")
    assert code == 0
    (key,) = [key for key in answer["keys"] if key["key"] == "hops"]
    assert (key["section"], key["default"]) == ("embedding", "2")


@pytest.mark.spark
@pytest.mark.slow
def test_engines_publish_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    file, _ = config_file(tmp_path, is_plain=True)
    written = []
    for engine in ("local", "spark"):
        code, answer = command(packages, tmp_path, "run", "--config", str(file), engine=engine)
        assert code == 0, answer
        folder = Path(answer["path"]) / "node_embeddings"
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert written[0] == written[1]
