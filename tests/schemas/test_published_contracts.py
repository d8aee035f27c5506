"""The tables that others read against their frozen copies.

After a change that raises a version: write what the failing test prints to the file it names, and a line to
schemas/CHANGELOG.md. There is no script for it, so that it is done on purpose.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas.contracts import TableContract
from schemas.metrics_history import METRICS_HISTORY
from schemas.published_tables import (
    NEIGHBOR_LISTS_BY_FILTER,
    NODE_CODE_PATHS,
    PPR_GRAPH_ROWS,
    PPR_NEIGHBOR_LISTS,
    PPR_WALK_ROWS,
    fold_in,
    node_embeddings,
    node_embeddings_int8,
    user_interests,
)

SCHEMAS = Path(__file__).parents[2] / "schemas"
FROZEN = SCHEMAS / "published"
DIM = 7  # any width: it is written as "dim"
PUBLISHED = (
    node_embeddings(DIM),
    node_embeddings_int8(DIM),
    fold_in(DIM),
    PPR_NEIGHBOR_LISTS,
    NEIGHBOR_LISTS_BY_FILTER,
    NODE_CODE_PATHS,
    PPR_GRAPH_ROWS,
    PPR_WALK_ROWS,
    user_interests(DIM),
    METRICS_HISTORY,
)
EMBEDDINGS_METADATA = [
    "alignment",
    "boundary",
    "boundary_parameters",
    "data_date",
    "dim",
    "fold_in",
    "form",
    "found",
    "holdout_pairs",
    "lineage",
    "mean_vectors",
    "method",
    "parameters",
    "seed",
    "similarity",
    "source_type",
    "space_id",
    "target_type",
    "undated",
    "window_days",
]
#: tests/jobs/test_query_neighbors.py holds what a run writes against it.
LISTS_METADATA = [
    "across",
    "contract_version",
    "data_date",
    "degree_correction",
    "edge_degree_power",
    "edge_source_type",
    "edge_target_type",
    "error_kind",
    "exclude_known",
    "largest_bound",
    "lists",
    "method",
    "nodes",
    "restart",
    "seed",
    "solver",
    "solver_reason",
    "source_type",
    "table",
    "target_type",
    "tolerance",
    "top_k",
    "undated",
    "window_days",
]
#: tests/stages/test_node_codes.py holds what a run writes against it.
CODES_METADATA = [
    "clusters",
    "codes_id",
    "contract_version",
    "data_date",
    "groups",
    "inversions",
    "kept",
    "largest",
    "levels",
    "max_size",
    "modularity",
    "nodes",
    "resolution",
    "rows",
    "source_type",
    "table",
    "target_type",
    "undated",
    "widest",
    "window_days",
]
#: tests/stages/test_filtered_lists.py holds what a run writes against it; "linear" has neither filter_degree nor phi.
FILTERED_LISTS_METADATA = [
    "alpha",
    "beta",
    "contract_version",
    "data_date",
    "edge_source_type",
    "edge_target_type",
    "error_kind",
    "exclude_known",
    "filter",
    "filter_degree",
    "largest_bound",
    "lists",
    "nodes",
    "phi",
    "rank",
    "seed",
    "source_type",
    "table",
    "target_type",
    "top_k",
    "undated",
    "window_days",
]
#: tests/queries/test_query_ppr.py holds what a run writes against it.
INDEX_METADATA = [
    "contract_version",
    "data_date",
    "edge_degree_power",
    "edge_source_type",
    "edge_target_type",
    "nodes",
    "restart",
    "seed",
    "table",
    "undated",
    "walks",
    "window_days",
]
#: tests/stages/test_user_interests.py holds what a run writes against it.
INTERESTS_METADATA = [
    "clusters",
    "contract_version",
    "data_date",
    "own_share",
    "per_source",
    "resolution",
    "smoothing",
    "source_type",
    "space_id",
    "table",
    "target_type",
    "undated",
    "window_days",
]
METADATA = {
    "ppr_graph": INDEX_METADATA,
    "ppr_walks": INDEX_METADATA,
    "node_embeddings": EMBEDDINGS_METADATA,
    "node_embeddings_int8": EMBEDDINGS_METADATA,
    "ppr_neighbors": LISTS_METADATA,
    "node_codes": CODES_METADATA,
    "neighbors": FILTERED_LISTS_METADATA,
    "user_interests": INTERESTS_METADATA,
}
#: Of tables whose rows are not in the order of their key.
ORDER = {"user_interests": ["node_type", "node_id", "weight descending"]}


def described(contract: TableContract) -> dict[str, Any]:
    def type_of(field: pa.Field) -> str:
        if field.name == "node_id":
            return "int64 | string"
        if field.name == "neighbor_ids":
            return str(field.type).replace("string", "int64 | string")
        return str(field.type).replace(f"[{DIM}]", "[dim]")

    return {
        "name": contract.name,
        "version": contract.version,
        "key": list(contract.key),
        "order": ORDER.get(contract.name, list(contract.key)),
        "columns": [
            {"name": field.name, "type": type_of(field), "nullable": field.nullable}
            for field in (*contract.schema, *contract.optional)
        ],
        "rules": [rule.statement for rule in contract.rules],
        "file_metadata": {"graphquilt": METADATA[contract.name]} if contract.name in METADATA else {},
    }


def breaks(frozen: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """What a reader of the frozen contract would trip over."""
    added = [column for column in live["columns"] if column["name"] not in {c["name"] for c in frozen["columns"]}]
    found = [f"new column {column['name']} is not nullable" for column in added if not column["nullable"]]
    kept = [column for column in live["columns"] if column not in added]
    if kept != frozen["columns"]:
        found.append(f"columns were {frozen['columns']}, are {kept}")
    found += [
        f"{key} was {frozen[key]}, is {live[key]}" for key in ("name", "key", "order") if frozen[key] != live[key]
    ]
    return found


@pytest.mark.parametrize("contract", PUBLISHED, ids=lambda contract: contract.name)
def test_a_published_contract_is_its_frozen_copy(contract: TableContract) -> None:
    live = described(contract)
    path = FROZEN / f"{contract.name}-v{contract.version}.json"
    text = json.dumps(live, indent=2) + "\n"
    assert path.exists(), f"no frozen copy of this version yet; write {path.name}:\n{text}"
    frozen = json.loads(path.read_text(encoding="utf-8"))
    if found := breaks(frozen, live):
        pytest.fail(f"{contract.name} breaks its readers: {found}. Raise its version; then freeze:\n{text}")
    assert frozen == live, f"a minor change: write {path.name} anew, and a line to CHANGELOG.md:\n{text}"


@pytest.mark.parametrize("contract", PUBLISHED, ids=lambda contract: contract.name)
def test_the_changelog_has_every_version(contract: TableContract) -> None:
    log = (SCHEMAS / "CHANGELOG.md").read_text(encoding="utf-8")
    for version in range(1, contract.version + 1):
        assert f"## {contract.name}, version {version}\n" in log


def test_what_breaks_a_reader() -> None:
    frozen = described(PUBLISHED[0])
    column = {"name": "extra", "type": "float", "nullable": True}
    assert breaks(frozen, {**frozen, "columns": [*frozen["columns"], column]}) == []
    assert breaks(frozen, {**frozen, "columns": [*frozen["columns"], {**column, "nullable": False}]})
    assert breaks(frozen, {**frozen, "columns": frozen["columns"][1:]})
    assert breaks(frozen, {**frozen, "columns": frozen["columns"][::-1]})
    assert breaks(frozen, {**frozen, "key": ["node_id"]})
