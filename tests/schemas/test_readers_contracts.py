"""The readers' own copy of the published contracts is what the pipeline writes by."""

import pytest

from graphquilt import contracts
from graphquilt.contracts import TableColumns
from schemas import published_tables as tables
from schemas.contracts import TableContract

DIM = 7  # any width


@pytest.mark.parametrize(
    ("copy", "contract"),
    [
        (contracts.node_embeddings(DIM), tables.node_embeddings(DIM)),
        (contracts.node_embeddings_int8(DIM), tables.node_embeddings_int8(DIM)),
        (contracts.fold_in(DIM), tables.fold_in(DIM)),
        (contracts.PPR_NEIGHBORS, tables.PPR_NEIGHBOR_LISTS),
    ],
    ids=lambda table: table.name,
)
def test_the_readers_copy_equals_the_contract(copy: TableColumns, contract: TableContract) -> None:
    assert (copy.name, copy.version) == (contract.name, contract.version)
    assert copy.schema.equals(contract.schema, check_metadata=True)
    assert copy.optional.equals(contract.optional, check_metadata=True)
