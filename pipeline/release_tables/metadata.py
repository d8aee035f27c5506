"""What a published table says of itself: enough to use it rightly without asking anybody."""

from collections.abc import Mapping
from typing import Any

from pipeline import codec, storage
from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import without_effect
from pipeline.embedding.combine import shared_widths
from pipeline.embedding.figures import EmbedFigures
from pipeline.embedding.method_spec import FoldInTypes
from pipeline.embedding.methods import spec_for
from pipeline.embedding.settings import Settings
from pipeline.ingest.figures import IndexFigures
from pipeline.locations import Location
from pipeline.partitioning.figures import LayoutFigures
from pipeline.release_tables.alignment import Alignment
from pipeline.release_tables.vector_space import (
    attributes_of,
    family_of,
    fixed_space,
    matrix_text,
    of_boundary,
    space_of_matrix,
    vector_facts,
)
from pipeline.storage import fingerprint_of
from pipeline.workspace import UNDATED, Workspace
from schemas.published_tables import NODE_EMBEDDINGS

#: Products of rows of one type whose norms were set: the norm ranks then.
_SET_NORMS = {
    "retrieval": "dot",
    "feature": "cosine",
    "classifier": "dot",
    "why": "a row's norm is its degree to norm_degree_power, so that the dot product of two nodes is a ranking score; "
    "cosine leaves out how popular a node is",
}

#: Products of two types, once a matrix says which of them are edges.
_FITTED = {
    "retrieval": "dot",
    "feature": "cosine",
    "classifier": "dot",
    "why": "a matrix fitted on the pairs is folded into the targets' rows, so that the dot product of a source and a "
    "target is a ranking score; between nodes of one type cosine leaves the norms out",
}


def metadata_of(
    config: PipelineConfig,
    settings: Settings,
    workspace: Workspace,
    alignment: Alignment,
    compatibility: Location | None = None,
) -> dict[str, Any]:
    """Return the metadata of node_embeddings, without the mean vectors.

    compatibility : the file of the matrix that is folded into the rows, if one is.
    """
    facts = vector_facts(settings)
    boundary = settings.embedding.boundary
    about = {
        "data_date": workspace.date.isoformat(),
        "undated": workspace.date == UNDATED,
        "window_days": config.input.window_days,
        **{name: facts[name] for name in ("method", "form", "dim", "seed", "parameters")},
        "found": workspace.figures("part_rows", EmbedFigures).found,
        "boundary": boundary,
        "boundary_parameters": of_boundary(settings) | _found_at_the_boundary(settings, workspace),
        "similarity": similarity_of(settings),
        "space_id": fixed_space(settings, workspace),
        "alignment": None,
        "fold_in": _fold_in_of(settings, config, keeps_table=bool(workspace.files("fold_in_rows"))),
        "source_type": config.input.source_type,
        "target_type": config.input.target_type,
        **({"relations": _relations_of(config)} if config.has_relations else {}),
        "holdout_pairs": workspace.figures("node_index", IndexFigures).holdout,
        "lineage": {"epoch": workspace.date.isoformat(), "parent": alignment.baseline},
    }
    if config.attributes:
        attributes = attributes_of(settings, workspace)
        about["parameters"] = facts["parameters"] | attributes
        about["attributes_without_effect"] = without_effect(config)
    if config.cold_types:
        about["cold_start"] = {"types": list(config.cold_types), **config.cold_start.model_dump(mode="json")}
    if spec_for(settings).has_own_axes:
        family = family_of(config)
        space_id, since = _spectral_space(settings, workspace, alignment, family)
        fit = {"parent": alignment.baseline, **codec.to_values(alignment.fit)}
        about |= {"space_id": space_id, "alignment": {**fit, "family": family, "space_since": since}}
    if compatibility is not None:
        matrix = matrix_text(storage.load_array(compatibility))
        about["compatibility"] = {"node_type": config.input.target_type, "matrix": matrix}
        about["space_id"] = space_of_matrix(about["space_id"], matrix)
    return about


def _relations_of(config: PipelineConfig) -> list[dict[str, Any]]:
    """Return what joins the nodes, and how strongly."""
    return [
        {
            "name": relation.name,
            "source_type": relation.source_type,
            "target_type": relation.target_type,
            "strength": strength,
        }
        for relation, strength in zip(config.all_relations, config.strengths, strict=True)
    ]


def _fold_in_of(settings: Settings, config: PipelineConfig, *, keeps_table: bool) -> dict[str, Any]:
    """Return, by type of new nodes, how their rows follow from their neighbours' published rows."""
    recipes = spec_for(settings).fold_in
    # Rows of other modes leave edges out, or have more in them.
    if recipes is None or settings.embedding.boundary != "exchange":
        return {}
    types = FoldInTypes(config.input.source_type, config.input.target_type, keeps_table)
    by_type = recipes(settings, types)
    if settings.embedding.compatibility is None or settings.graph.is_plain:
        return by_type
    # Rows of targets have the matrix in them: it can't be taken out again, and new targets take it up.
    by_type = {
        name: recipe for name, recipe in by_type.items() if (recipe["table"], name) != (NODE_EMBEDDINGS, types.source)
    }
    return {
        name: recipe | ({"compatibility": True} if name == types.target else {}) for name, recipe in by_type.items()
    }


def _found_at_the_boundary(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Return what sets no coordinates: columns of each set's vectors, the type of exchanged rows."""
    if settings.embedding.boundary == "border":
        return {"widths": _widths(settings, workspace)}
    dtype = settings.embedding.boundary_dtype
    return {"dtype": dtype} if settings.embedding.boundary == "exchange" and dtype != "float32" else {}


def _spectral_space(settings: Settings, workspace: Workspace, alignment: Alignment, family: str) -> tuple[str, str]:
    """Return the space of rows in coordinates of their own or of the baseline, and the data date it began with."""
    baseline = alignment.baseline_metadata
    is_folded = settings.embedding.compatibility is not None  # of a new matrix, which no rotation makes the old one
    if baseline is not None and not is_folded and alignment.stays_in_space(settings.dim):
        return baseline["space_id"], baseline["alignment"]["space_since"]
    turned_to = alignment.baseline if alignment.fit.rotated else None
    space = {"family": family, "rows": workspace.fingerprints["layout"], "turned_to": turned_to}
    return fingerprint_of(space), workspace.date.isoformat()


def _widths(settings: Settings, workspace: Workspace) -> list[int]:
    """Return the columns of the inner vectors and of each border graph's; added ones have all of them."""
    nodes = [node_set.nodes for node_set in workspace.figures("block_nodes", LayoutFigures).sets]
    if settings.embedding.border_join == "add":
        return [settings.dim] * len(nodes)
    return shared_widths(settings.dim, nodes)


def similarity_of(settings: Settings) -> Mapping[str, str]:
    """Return which product of two rows means something, by use, and why."""
    if settings.graph.is_plain and settings.embedding.norm_degree_power:
        return _SET_NORMS
    products = spec_for(settings).products(settings.embedding)
    if settings.embedding.compatibility is not None and not settings.graph.is_plain and products["retrieval"] != "dot":
        return _FITTED
    return products
