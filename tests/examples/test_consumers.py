"""The consumers of the examples, on small published tables."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from graphquilt import EmbeddingTable
from tests.graphquilt.published_neighbors import publish_lists
from tests.graphquilt.published_tables import publish_nodes

CONSUMERS = Path(__file__).resolve().parents[2] / "examples" / "consumers"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"consumer_{name}", CONSUMERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lists_are_printed_from_the_best_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"package": {"emacs": ([], [], 0.0), "vim": (["libc6", "vim-common"], [0.5, 0.25], 0.0)}}
    publish_lists(tmp_path, lists, target_type="package")
    folder = str(tmp_path / "published" / "default")
    script("ppr_neighbors").main([folder, "vim", "emacs", "nano"])
    assert capsys.readouterr().out.splitlines() == [
        "# packages by PageRank, restart 0.25, error bounds pointwise",
        "vim    libc6 0.5000  vim-common 0.2500",
        "emacs",
        "nano   no list",
    ]
    script("ppr_neighbors").main([folder, "vim", "-k", "1"])
    assert capsys.readouterr().out.splitlines()[1] == "vim  libc6 0.5000"


def test_nearest_vectors_are_printed_from_the_best_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = ["emacs", "nano", "vim"]
    publish_nodes(tmp_path, {"package": (ids, np.random.default_rng(0).standard_normal((3, 4), np.float32))})
    folder = str(tmp_path / "published" / "default")
    script("neighbors").main([folder, "vim", "emacs", "-k", "1"])
    with EmbeddingTable.open(tmp_path) as table:
        nearest = {node: table.neighbors(node, "package", k=1)[0] for node in ids}
    assert capsys.readouterr().out.splitlines() == [
        f"{node:<5}  {nearest[node][0]} {nearest[node][1]:.2f}" for node in ("vim", "emacs")
    ]
