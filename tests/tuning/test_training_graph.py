from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG
from pipeline.errors import InputError
from pipeline.tuning.training_graph import TrainingGraph, history_of, positions_of, read_training_graph
from pipeline.tuning.validation_tasks import read_labels
from pipeline.workspace import Workspace
from tests.stages.chains import Chain, config_for, with_changes

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
TYPES = {"two types": {}, "plain": {"source_type": "node", "target_type": "node"}}
Ids = list[str]


def events(kind: str) -> list[tuple[str, str, int]]:
    """900 events as (source, target, seconds after the start); some pairs and, on plain graphs, directions repeat."""
    rng = np.random.default_rng(0)
    left = [f"a{n}" for n in rng.integers(0, 40, 900)]
    right = [f"{'a' if kind == 'plain' else 'b'}{n}" for n in rng.integers(0, 30, 900)]
    return [(a, b, int(s)) for a, b, s in zip(left, right, rng.integers(0, 80_000, 900), strict=True) if a != b]


def opened(folder: Path, kind: str, **sections: Any) -> tuple[PipelineConfig, Workspace]:
    columns = zip(*events(kind), strict=True)
    table = dict(zip(("source", "target", "second"), columns, strict=True))
    at = [START + dt.timedelta(seconds=second) for second in table.pop("second")]
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({**table, "at": at}), folder / "in.parquet")
    chain = Chain(folder)
    raw = with_changes(config_for(folder / "in.parquet", input={"timestamp": "at", **TYPES[kind]}), **sections)
    ended = chain.run(raw, ["ingest", "index"])
    assert ended.code == 0, ended.error
    return CONFIG.from_toml(chain.write_config(raw)), chain.workspace(raw, date="2024-03-01")


def ids_of(graph: TrainingGraph, workspace: Workspace) -> Ids:
    tables = [pq.read_table(file, partitioning=None) for file in workspace.files("node_index")]
    ids: Ids = pa.concat_tables(tables)["node_id"].to_pylist()
    return [ids[node_ix] for node_ix in graph.node_ix]


def pair_of(kind: str, left: str, right: str) -> tuple[str, str]:
    return (min(left, right), max(left, right)) if kind == "plain" else (left, right)


def newest(kind: str) -> Mapping[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for left, right, second in events(kind):
        pair = pair_of(kind, left, right)
        found[pair] = max(found.get(pair, 0), second)
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_every_pair_is_there_once_with_its_last_event(kind: str, tmp_path: Path) -> None:
    config, workspace = opened(tmp_path, kind)
    graph = read_training_graph(config, workspace, 10**9, 0)
    ids = ids_of(graph, workspace)
    pairs = [pair_of(kind, ids[s], ids[d]) for s, d in zip(graph.src, graph.dst, strict=True)]
    history = history_of(graph, workspace)
    moments = history.last_us
    assert moments is not None
    seen = Counter(pair_of(kind, left, right) for left, right, _ in events(kind))
    assert dict(zip(pairs, history.events.tolist(), strict=True)) == seen
    start = int(START.timestamp() * 1e6)
    assert dict(zip(pairs, ((moments - start) // 10**6).tolist(), strict=True)) == newest(kind)
    assert not graph.is_sampled
    assert set(ids[slice(*graph.source)]) == {left for left, _ in pairs} | (set(ids) if kind == "plain" else set())
    assert len(pairs) == len(set(pairs)) == graph.all_pairs


@pytest.mark.parametrize("kind", TYPES)
def test_pairs_held_out_by_index_are_never_seen(kind: str, tmp_path: Path) -> None:
    shares = {"holdout_users": 0.5, "holdout_pairs": 0.3, "holdout_edges": 0.3}
    config, workspace = opened(tmp_path, kind, evaluate={"source": "holdout", **shares})
    graph = read_training_graph(config, workspace, 10**9, 0)
    held_out = pa.concat_tables(pq.read_table(file, partitioning=None) for file in workspace.files("holdout"))
    assert held_out.num_rows > 20
    seen = {
        pair_of(kind, *pair)
        for pair in zip(graph.node_ix[graph.src].tolist(), graph.node_ix[graph.dst].tolist(), strict=True)
    }
    hidden = {
        pair_of(kind, *pair)
        for pair in zip(held_out["src_ix"].to_pylist(), held_out["dst_ix"].to_pylist(), strict=True)
    }
    assert not seen & hidden
    assert len(seen) + len(hidden) == len(newest(kind))
    moments = history_of(graph, workspace).last_us  # though the edges table has all of them
    assert moments is not None
    assert moments.size == len(seen)


@pytest.mark.parametrize("kind", TYPES)
def test_a_sample_keeps_whole_users_and_the_same_ones(kind: str, tmp_path: Path) -> None:
    config, workspace = opened(tmp_path, kind)
    whole = read_training_graph(config, workspace, 10**9, 0)
    some, again, other = (read_training_graph(config, workspace, 200, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(some.node_ix[some.src], again.node_ix[again.src])
    assert some.is_sampled
    assert some.all_pairs == whole.src.size
    assert other.src.size != some.src.size or (other.node_ix[other.src] != some.node_ix[some.src]).any()
    kept = set(some.node_ix[some.src].tolist())
    if kind == "plain":
        kept |= set(some.node_ix[some.dst].tolist())
    of_whole = [
        (s, d)
        for s, d in zip(whole.node_ix[whole.src].tolist(), whole.node_ix[whole.dst].tolist(), strict=True)
        if s in kept and (kind != "plain" or d in kept)
    ]
    of_some = list(zip(some.node_ix[some.src].tolist(), some.node_ix[some.dst].tolist(), strict=True))
    assert sorted(of_some) == sorted(of_whole)
    np.testing.assert_array_equal(
        whole.node_key[np.searchsorted(whole.node_ix, some.node_ix)], some.node_key, "keys go with their nodes"
    )


def test_labels_find_their_nodes(tmp_path: Path) -> None:
    config, workspace = opened(tmp_path, "plain")
    graph = read_training_graph(config, workspace, 10**9, 0)
    ids = ids_of(graph, workspace)
    rows = [(node, f"g{n % 3}") for n, node in enumerate(ids)] + [("nobody", "g0"), (ids[1], "g0"), ("nobody", "g1")]
    file = tmp_path / "labels.csv"
    file.write_text("node,label\n" + "".join(f"{node},{label}\n" for node, label in rows))
    found = read_labels(str(file), "node", graph, workspace)
    assert found.names == ("g0", "g1", "g2")
    assert found.unknown_nodes == 1
    got = {(ids[found.position[row]], found.names[column]) for row, column in np.argwhere(found.labels).tolist()}
    assert got == {(node, label) for node, label in rows if node != "nobody"}
    assert positions_of(pa.array(["nobody", ids[3]]), "node", graph, workspace).tolist() == [-1, 3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("node,group\n1,2\n", "no column"), ("node,label\na1,x\n", "at least 2 labels"), ("", "0 labels")],
)
def test_labels_that_are_of_no_use_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    config, workspace = opened(tmp_path, "plain")
    graph = read_training_graph(config, workspace, 10**9, 0)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_labels(str(tmp_path / "labels.csv"), "node", graph, workspace)
