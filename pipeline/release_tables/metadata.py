"""What a published table says of itself: enough to use it rightly without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import without_effect
from pipeline.embedding.combine import shared_widths
from pipeline.embedding.rows import Settings
from pipeline.release_tables.alignment import Alignment
from pipeline.release_tables.fold_in_recipes import fold_in_of
from pipeline.release_tables.vector_space import (
    OF_EIGENPAIRS,
    attributes_of,
    family_of,
    fixed_space,
    of_boundary,
    vector_facts,
)
from pipeline.storage import fingerprint_of
from pipeline.workspace import UNDATED, Workspace

_BOTH_SIGNS = {
    "retrieval": "cosine",
    "feature": "cosine",
    "classifier": "dot",
    "why": "rows have one norm, and columns of eigenvalues of both signs, which describe a node best: a linear "
    "classifier takes the rows as they are. A product of two rows counts negative eigenvalues with the wrong sign: "
    "for who is near, embedding.eigenvalues = 'positive' makes the better table",
}

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
    "low_pass": {
        "retrieval": "dot",
        "feature": "cosine",
        "classifier": "cosine",
        "why": "an item's norm is its degree to a small power, so that the dot product of a user and an item is a "
        "ranking score; between nodes of one type the norm says how popular or active they are, and cosine leaves it "
        "out; columns are random mixtures of eigenvectors, and a linear classifier needs all of them",
    },
    "plain_low_pass": {
        "retrieval": "cosine",
        "feature": "cosine",
        "classifier": "dot",
        "why": "rows are random mixtures of the leading eigenvectors, at norm 1: a node's direction says where in the "
        "graph it is, and its length there mostly its degree; a linear classifier takes the rows as they are",
    },
    "bipartite": {
        "retrieval": "dot",
        "feature": "cosine",
        "classifier": "cosine",
        "why": "a user's row is the weighted sum of its items' eigenvector rows, and an item's norm is set by its "
        "degree and by item_row_power, so that the dot product of a user and an item is a ranking score; between "
        "nodes of one type norms say how popular or active they are, and cosine leaves them out; a linear classifier "
        "does better on truncated columns, which are orthogonal, than on rotated ones",
    },
    "plain": {
        "retrieval": "cosine",
        "feature": "cosine",
        "classifier": "dot",
        "why": "rows have one norm: a node's direction among the leading eigenvectors says where in the graph it is, "
        "and its length there mostly its degree; a linear classifier takes the rows as they are",
    },
    "factorised": {
        "retrieval": "dot",
        "feature": "cosine",
        "classifier": "cosine",
        "why": "before norms are set, a user's and an item's rows multiply to the chance of a walk from one to the "
        "other, but for powers of degrees; an item's norm is set by its degree and by item_row_power, so that the dot "
        "product is a ranking score; between nodes of one type norms say how popular or active they are, and cosine "
        "leaves them out",
    },
    "plain_factorised": {
        "retrieval": "cosine",
        "feature": "cosine",
        "classifier": "dot",
        "why": "rows have one norm; before it was set, two rows multiplied to the chance of a walk from one node to "
        "the other, but for the roots of degrees; a linear classifier takes the rows as they are",
    },
    "plain_factorised both": _BOTH_SIGNS,
    "hashed": {
        "retrieval": "dot",
        "feature": "cosine",
        "classifier": "cosine",
        "why": "rows are hashed logarithms of where walks from a node are, and two rows multiply to how much these "
        "agree, with the noise of the hashes; an item's norm is its degree to a small power, so that the dot product "
        "of a user and an item is a ranking score; between nodes of one type cosine leaves the norm out",
    },
    "plain_hashed": {
        "retrieval": "cosine",
        "feature": "cosine",
        "classifier": "dot",
        "why": "rows are hashed logarithms of where walks from a node are, at one norm: two rows multiply to how much "
        "these agree, with the noise of the hashes; a linear classifier takes the rows as they are",
    },
    "plain both": _BOTH_SIGNS,
}

#: Of rows of one type whose norms were set: it is the norm then that ranks.
_SET_NORMS = {
    "retrieval": "dot",
    "feature": "cosine",
    "classifier": "dot",
    "why": "a row's norm is its degree to norm_degree_power, so that the dot product of two nodes is a ranking score; "
    "cosine leaves out how popular a node is",
}


def metadata_of(
    config: PipelineConfig, settings: Settings, workspace: Workspace, graph: Mapping[str, Any], aligned: Alignment
) -> dict[str, Any]:
    """Return the metadata of node_embeddings, without the mean vectors."""
    facts = vector_facts(settings)
    boundary = settings.embedding.boundary
    about = {
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        **{name: facts[name] for name in ("method", "form", "dim", "seed", "parameters")},
        "found": workspace.manifest("part_rows").figures.get("found") or {},
        "boundary": boundary,
        "boundary_parameters": of_boundary(settings) | _found_at_the_boundary(settings, workspace),
        "similarity": similarity_of(settings),
        "space_id": fixed_space(settings, workspace),
        "alignment": None,
        "fold_in": fold_in_of(
            settings,
            config.input.source_type,
            config.input.target_type,
            keeps_table=bool(workspace.files("fold_in_rows")),
        ),
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        "holdout_pairs": graph["holdout"],
        "lineage": {"epoch": workspace.date.isoformat(), "parent": aligned.facts["parent"]},
    }
    if config.attributes:
        used = attributes_of(settings, workspace)
        about["parameters"] = facts["parameters"] | used
        about["attributes_without_effect"] = without_effect(config)
    if settings.form in OF_EIGENPAIRS:
        family = family_of(config)
        space_id, since = _spectral_space(settings, workspace, aligned, family)
        about |= {"space_id": space_id, "alignment": {**aligned.facts, "family": family, "space_since": since}}
    return about


def _found_at_the_boundary(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Return what sets no coordinates: columns of each set's vectors, the type of rows that travelled."""
    if settings.embedding.boundary == "border":
        return {"widths": _widths(settings, workspace)}
    dtype = settings.embedding.boundary_dtype
    return {"dtype": dtype} if settings.embedding.boundary == "exchange" and dtype != "float32" else {}


def _spectral_space(settings: Settings, workspace: Workspace, aligned: Alignment, family: str) -> tuple[str, str]:
    """Return the space of rows in coordinates of their own or of a parent, and the data date it began with."""
    if aligned.parent is not None and aligned.stays_in_space(settings.dim):
        return aligned.parent["space_id"], aligned.parent["alignment"]["space_since"]
    turned_to = aligned.facts["parent"] if aligned.facts["rotated"] else None
    space = {"family": family, "rows": workspace.fingerprints["layout"], "turned_to": turned_to}
    return fingerprint_of(space), workspace.date.isoformat()


def _widths(settings: Settings, workspace: Workspace) -> list[int]:
    """Return the columns of the inner vectors and of each border graph's; added ones have all of them."""
    nodes = [one["nodes"] for one in workspace.manifest("block_nodes").figures["sets"]]
    if settings.embedding.border_join == "add":
        return [settings.dim] * len(nodes)
    return shared_widths(settings.dim, nodes)


def similarity_of(settings: Settings) -> Mapping[str, str]:
    """Return which product of two rows means something, by use, and why."""
    if settings.source == settings.target and settings.embedding.norm_degree_power:
        return _SET_NORMS
    has_both_signs = settings.form in ("plain", "plain_factorised") and settings.embedding.eigenvalues == "both"
    return SIMILARITY[f"{settings.form} both" if has_both_signs else settings.form]
