"""The tables of a release. A new one is a module beside this one with its object, and a line here."""

from typing import Any

from pipeline.release_tables import (
    compact_embeddings,
    fold_in,
    neighbors,
    node_codes,
    node_embeddings,
    ppr_graph,
    ppr_neighbors,
    ppr_walks,
    user_interests,
)
from pipeline.release_tables.published_table import PublishedTable

#: In the order in which a release's manifest lists them. The rows of a release are those of the first one it has.
PUBLISHED_TABLES: tuple[PublishedTable[Any], ...] = (
    node_embeddings.TABLE,
    compact_embeddings.TABLE,
    fold_in.TABLE,
    ppr_neighbors.TABLE,
    neighbors.TABLE,
    node_codes.TABLE,
    user_interests.TABLE,
    ppr_graph.TABLE,
    ppr_walks.TABLE,
)
