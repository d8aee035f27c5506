"""What a published table says of itself: enough to use it rightly without asking anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.embedding.combine import shared_widths
from pipeline.embedding.rows import Settings
from pipeline.stages.chain import stage_named
from pipeline.storage import fingerprint_of
from pipeline.workspace import UNDATED, Workspace

#: Which product of two rows means something, by form and use; the reason stands beside it.
SIMILARITY = {
    "two_tower": {
        "retrieval": "dot",
        "feature": "cosine",
        "classifier": "cosine",
        "why": "an item's norm is its degree to a small power, so that the dot product of a user and an item is a "
        "ranking score; between nodes of one type the norm says how popular they are, and cosine leaves it out",
    },
    "classic": {
        "retrieval": "cosine",
        "feature": "cosine",
        "classifier": "dot",
        "why": "rows are sums of powers of the transition matrix; their norms say how many powers agree, not how "
        "near two nodes are; a linear classifier takes the rows as they are",
    },
}

#: Of classic rows whose norms were set: it is the norm then that ranks.
_SET_NORMS = {
    "retrieval": "dot",
    "feature": "cosine",
    "classifier": "dot",
    "why": "a row's norm is its degree to norm_degree_power, so that the dot product of two nodes is a ranking score; "
    "cosine leaves out how popular a node is",
}

_PARAMETERS = {
    "two_tower": ("projection", "sparsity", "powers", "user_degree_power", "item_degree_power", "item_norm_power"),
    "classic": (
        *("projection", "sparsity", "iteration_weights", "degree_power", "transition", "normalize_powers"),
        *("standardize_columns", "norm_degree_power", "normalize_rows"),
    ),
}


#: Of each mode: which keys set its vectors beside the form's, and whether its columns mean something of one tree
#: only. Border widths follow from how many nodes the cut leaves on the border, and the rows of the quotient graph
#: are those of this tree's parts; with another tree, equal columns of two releases say different things. ``drop``
#: and ``halo`` leave out what a tree cuts, but what is left lies in the same coordinates for any tree.
_BOUNDARIES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "exchange": ((), False),
    "halo": (("halo_hops",), False),
    "border": (("border_join",), True),
    "quotient": (("quotient_weight",), True),
    "drop": ((), False),
}


def metadata_of(
    config: PipelineConfig, settings: Settings, workspace: Workspace, graph: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the metadata of node_embeddings, without the mean vectors."""
    embedding = config.embedding.model_dump(mode="json")
    parameters = {name: embedding[name] for name in _PARAMETERS[settings.form]}
    if parameters["sparsity"] == "sqrt_n":
        parameters["sparsity"] = math.sqrt(settings.nodes)
    boundary = settings.embedding.boundary
    names, is_of_one_tree = _BOUNDARIES[boundary]
    of_boundary = {name: embedding[name] for name in names}
    space = {
        "method": settings.embedding.method,
        "form": settings.form,
        "dim": settings.dim,
        "seed": settings.embedding.seed,
        "parameters": parameters,
        "boundary": [boundary, of_boundary] if of_boundary else boundary,
        "tree": workspace.fingerprints["partition"] if is_of_one_tree else None,
        "algorithm_version": stage_named("embed").algorithm_version,
        # Standardised columns are measured on one graph: no other release shares them.
        "graph": workspace.fingerprints["index"] if settings.embedding.standardize_columns else None,
    }
    return {
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        "method": settings.embedding.method,
        "form": settings.form,
        "dim": settings.dim,
        "seed": settings.embedding.seed,
        "parameters": parameters,
        "boundary": boundary,
        "boundary_parameters": of_boundary | ({"widths": _widths(settings, workspace)} if boundary == "border" else {}),
        "similarity": _similarity(settings),
        "space_id": fingerprint_of(space),
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "holdout_pairs": graph["holdout"],
        "lineage": {"epoch": workspace.date.isoformat(), "parent": None},
    }


def _widths(settings: Settings, workspace: Workspace) -> list[int]:
    """Return the columns of the inner vectors and of each border graph's; added ones have all of them."""
    nodes = [one["nodes"] for one in workspace.manifest("block_nodes").figures["sets"]]
    if settings.embedding.border_join == "add":
        return [settings.dim] * len(nodes)
    return shared_widths(settings.dim, nodes)


def _similarity(settings: Settings) -> Mapping[str, str]:
    sets_norms = settings.form == "classic" and settings.embedding.norm_degree_power
    return _SET_NORMS if sets_norms else SIMILARITY[settings.form]
