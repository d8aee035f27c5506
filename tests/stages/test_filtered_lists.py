"""The published table neighbors, from interactions to a release, against dense algebra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphquilt import NeighborTable
from schemas.published_tables import NEIGHBOR_LISTS_BY_FILTER
from tests.schemas.test_published_contracts import FILTERED_LISTS_METADATA
from tests.stages.chains import Chain, config_for, with_changes, write_rows
from tests.stages.published_lists import Exact, ListsOf, Node, check_scores

_DRAW = np.random.default_rng(5)
#: So few items that all their eigenvectors are iterated: the leading ones are exact but for rounding.
FEW = {
    "source": _DRAW.integers(0, 40, 220),
    "target": _DRAW.integers(0, 14, 220),
    "weight": _DRAW.integers(1, 9, 220) / 4,
}
PEOPLE = {"source": _DRAW.integers(0, 18, 60), "target": _DRAW.integers(0, 18, 60)}
#: What float32 may leave of an eigenvector, times the largest scores: the stated bound is on scores by given ones.
OF_VECTORS = 3e-4


def filtered(path: Path, *, plain: bool = False, lists: dict[str, Any] | None = None, **sections: Any) -> Any:
    config = config_for(path, plain=plain, **sections)
    return with_changes(config, embedding={"method": "none"}, lists={"filter": "plateau", "top_k": 5, **(lists or {})})


def exact_scores(
    exact: Exact, side: str, columns: str, *, phi: float = 1.5, degree: int = 8, rank: int, alpha: float, beta: float
) -> dict[Node, dict[Node, float]]:
    """Scores of every node of a type, by eigenvectors of P and numpy's own interpolation."""
    of_row = [i for i, (node_type, _) in enumerate(exact.nodes) if node_type == side]
    of_column = [i for i, (node_type, _) in enumerate(exact.nodes) if node_type == columns]
    edges = exact.weights[np.ix_(of_row, of_column)]
    row_degree, degree_of = edges.sum(axis=1), edges.sum(axis=0)
    scaled = edges / np.sqrt(np.where(row_degree > 0, row_degree, 1))[:, None]
    scaled /= np.sqrt(np.where(degree_of > 0, degree_of, 1))
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    plateau = np.polynomial.chebyshev.Chebyshev.interpolate(lambda y: 0.5 + 0.5 * np.sign(y) * np.abs(y) ** phi, degree)
    leading = vectors[:, ::-1][:, :rank]
    operator = vectors * plateau(2 * values - 1) @ vectors.T + alpha * leading @ leading.T
    power = np.where(degree_of > 0, degree_of, 1) ** beta
    scores = edges / power @ operator * power
    return {
        exact.nodes[i]: {exact.nodes[j]: float(score) for j, score in zip(of_column, row, strict=True)}
        for i, row in zip(of_row, scores, strict=True)
    }


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("few") / "in.parquet", FEW)


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"rank": 4}, {"rank": 4, "alpha": 0.2, "beta": 0.4}),
        ({"rank": 3, "alpha": 2.0, "beta": 0.0, "phi": 3.0}, {"rank": 3, "alpha": 2.0, "beta": 0.0, "phi": 3.0}),
        ({"rank": 0, "filter_degree": 3}, {"rank": 0, "alpha": 0.0, "beta": 0.4, "degree": 3}),
        (
            {"filter": "linear", "alpha": 0.0, "exclude_known": False, "top_k": 30},
            {"rank": 0, "alpha": 0.0, "beta": 0.4, "phi": 1.0, "degree": 1},
        ),
        ({"target_type": "user", "alpha": 0.0}, {"rank": 0, "alpha": 0.0, "beta": 0.4}),
    ],
    ids=["defaults", "other parameters", "no eigenvectors", "linear", "users of items"],
)
def test_two_types_have_the_scores_of_dense_algebra(
    keys: dict[str, Any], rule: dict[str, Any], few: Path, tmp_path: Path
) -> None:
    chain = Chain(tmp_path)
    ended = chain.run(filtered(few, lists=keys, input={"weight": "weight"}))
    assert ended.code == 0, ended.error
    exact, found = Exact.of(FEW, ("user", "item")), ListsOf.of(chain, NEIGHBOR_LISTS_BY_FILTER)
    target = keys.get("target_type", "item")
    side = "item" if target == "user" else "user"
    scores = exact_scores(exact, side, target, **rule)
    assert set(found.nodes) == set(scores)
    check_scores(
        found,
        exact,
        scores,
        top_k=keys.get("top_k", 5),
        target=target,
        exclude_known=keys.get("exclude_known", True),
        slack=OF_VECTORS,
    )
    assert max(found.bounds.values()) < OF_VECTORS


def test_one_type_walks_two_steps(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.parquet", PEOPLE)
    chain = Chain(tmp_path / "chain")
    config = filtered(path, plain=True, lists={"rank": 4}, input={"self_loops": "keep"})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    exact = Exact.of(PEOPLE, ("person", "person"))
    found = ListsOf.of(chain, NEIGHBOR_LISTS_BY_FILTER)
    scores = exact_scores(exact, "person", "person", rank=4, alpha=0.2, beta=0.4)
    check_scores(found, exact, scores, top_k=5, target="person", exclude_known=True, slack=OF_VECTORS)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    more = np.random.default_rng(3)
    rows = {"source": more.integers(0, 400, 3_000), "target": more.integers(0, 90, 3_000)}
    return write_rows(tmp_path_factory.mktemp("many") / "in.parquet", rows)


def test_neither_shards_nor_parts_change_a_byte(many: Path, tmp_path: Path) -> None:
    made = []
    for name, lists, partition in (("one", {"shards": 1}, {"parts": 1}), ("several", {"shards": 3}, {"parts": 3})):
        chain = Chain(tmp_path / name)
        ended = chain.run(filtered(many, lists={"rank": 24, **lists}, partition=partition))
        assert ended.code == 0, ended.error
        made.append(ListsOf.of(chain, NEIGHBOR_LISTS_BY_FILTER).data)
    assert made[0] == made[1]


@pytest.mark.spark
def test_spark_publishes_the_same_bytes(many: Path, tmp_path: Path, spark_session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    made = []
    for name, engine in (("here", None), ("spark", SparkEngine(spark_session))):
        chain = Chain(tmp_path / name, engine)
        assert chain.run(filtered(many, lists={"rank": 24, "shards": 3})).code == 0
        made.append(ListsOf.of(chain, NEIGHBOR_LISTS_BY_FILTER).data)
    assert made[0] == made[1]


def test_lists_are_scored_opened_and_found_again(few: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    config = with_changes(filtered(few, lists={"rank": 4}), evaluate={"source": "holdout", "holdout_users": 0.9})
    ended = chain.run(config)
    assert ended.code == 0, ended.error
    assert ended.answer["metrics"]["neighbors"]["ranking"]["users"] > 0
    assert chain.run(config).skipped == [
        stage["stage"] for stage in ended.answer["stages"] if stage["stage"] != "publish"
    ]
    with NeighborTable.open(chain.root) as table:
        assert (table.filter, table.restart, table.error_kind, table.target_type) == (
            "plateau",
            None,
            "pointwise",
            "item",
        )
        assert len(table.neighbors(3, "user", k=2)) == 2
        assert table.metadata["rank"] == 4
        assert sorted(table.metadata) == FILTERED_LISTS_METADATA


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"lists": {"filter": "ppr"}}, "set ppr.neighbors = true in its place"),
        ({"ppr": {"neighbors": True}}, "a release has lists of one kind"),
        (
            {"lists": {"filter": "linear", "source_type": "item"}},
            "lists.source_type is 'item', on the side of what is listed",
        ),
        (
            {"lists": {"filter": "linear", "target_type": "shop"}},
            "lists.target_type is 'shop', which is of no type in the input",
        ),
    ],
    ids=["ppr", "two kinds", "a listed source", "no such type"],
)
def test_what_a_filter_cannot_do_is_refused(sections: dict[str, Any], message: str, few: Path, tmp_path: Path) -> None:
    ended = Chain(tmp_path).run(with_changes(filtered(few), **sections))
    assert ended.code != 0
    assert message in ended.error
