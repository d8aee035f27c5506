"""What sets the vectors of a table, and so which tables share one space.

A space is named by a hash, so that its name may change only where vectors can't be compared any more. Hence a version
of its own, which no other change of a stage raises; and a key that joins a form's later stands in
``MethodSpec.later_keys``, with the value that stands for how it was before: at that value it is left out. The values
are written there, not taken from the config, whose defaults may change.
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.model import PipelineConfig
from pipeline.embedding.attribute_rows import nodes_that_start
from pipeline.embedding.method_keys import RandomRowKeys
from pipeline.embedding.methods import spec_for
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.embedding.start_rows import are_often_empty
from pipeline.storage import fingerprint_of
from pipeline.workspace import Workspace

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


def family_of(config: PipelineConfig) -> str:
    """Return a hash of what sets the vectors of a table of eigenpairs, but for its graph: tables of one are comparable.

    That is, after a rotation: their axes are the data's own.
    """
    of_no_graph = Settings(GraphSummary(0, (0, 0), (0, 0)), config.embedding, config.form, config.ppr)
    types = [config.input.source_type, config.input.target_type]
    return fingerprint_of({**vector_facts(of_no_graph), "types": types})


def vector_facts(settings: Settings) -> dict[str, Any]:
    """Return what sets the vectors, beside the graph and the cut; what the form decides is written out."""
    embedding = settings.embedding.model_dump(mode="json")
    if embedding["sparsity"] == "sqrt_n":
        embedding["sparsity"] = math.sqrt(settings.graph.nodes)
    boundary, keys = settings.embedding.boundary, of_boundary(settings)
    spec = spec_for(settings)
    return {
        "method": settings.embedding.method,
        "form": settings.form,
        "dim": settings.dim,
        "seed": settings.embedding.seed,
        "parameters": {name: embedding[name] for name in spec.space}
        | {name: getattr(settings.ppr, name) for name in spec.space_of_ppr}
        | ({"nodes": settings.graph.nodes} if spec.space_has_nodes else {})
        | {name: embedding[name] for name, neutral in spec.later_keys.items() if embedding[name] != neutral}
        | ({} if embedding["compatibility"] is None else {"compatibility": embedding["compatibility"]}),
        "boundary": [boundary, keys] if keys else boundary,
        "algorithm_version": _version(settings),
    }


def _version(settings: Settings) -> int:
    """Return the version of what these settings mean: raised, for them alone, where vectors of before aren't theirs.

    2: random rows that chance left empty, where these are many, have an entry.
    """
    return 2 if issubclass(spec_for(settings).keys, RandomRowKeys) and are_often_empty(settings) else 1


def attributes_of(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    """Return the attributes that set vectors, and all that it takes to make features of another node's.

    By node type: columns, weights, means and deviations. Empty without attributes, and where they have no effect:
    spectral rows don't start from any, and the forms of two types start from targets only.
    """
    attributes = workspace.manifest("edges").figures.get("attributes", {})
    share = settings.embedding.attribute_share
    if not attributes or not share or spec_for(settings).attributes_of is None:
        return {}
    types = workspace.manifest("node_index").figures["types"]
    first, stop = nodes_that_start(settings)
    parameters = {
        name: {key: about[key] for key in ("columns", "weights", "statistics")}
        for name, about in attributes.items()
        if first <= types[name][0] < stop
    }
    return {"attribute_share": share, "attributes": parameters} if parameters else {}


def of_boundary(settings: Settings) -> dict[str, Any]:
    """Return the keys that set the vectors of the mode beside the form's, with their values."""
    names, _ = _BOUNDARIES[settings.embedding.boundary]
    return settings.embedding.model_dump(mode="json", include=set(names))


def fixed_space(settings: Settings, workspace: Workspace) -> str:
    """Return the space of rows whose coordinates are hashed: the same for every graph with the same settings."""
    _, is_of_one_tree = _BOUNDARIES[settings.embedding.boundary]
    return fingerprint_of(
        {
            **vector_facts(settings),
            **attributes_of(settings, workspace),
            "tree": workspace.fingerprints["partition"] if is_of_one_tree else None,
            # Standardised columns are measured on one graph: no other release shares them.
            "graph": workspace.fingerprints["index"] if settings.embedding.standardize_columns else None,
        }
    )


def matrix_text(matrix: NDArray[np.float32]) -> str:
    """Return a (dim, dim) matrix as metadata hold it: base64 of little-endian float32, row by row."""
    return base64.b64encode(matrix.astype("<f4").tobytes()).decode()


def read_matrix(metadata: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return the (dim, dim) matrix that metadata hold; None: none is folded into the rows."""
    about = metadata.get("compatibility")
    if about is None:
        return None
    matrix = np.frombuffer(base64.b64decode(about["matrix"]), "<f4").astype(np.float64)
    return matrix.reshape(math.isqrt(matrix.size), -1)


def space_of_matrix(space: str, matrix: str) -> str:
    """Return the space of rows of a space into which a matrix is folded: every other matrix makes another space."""
    return fingerprint_of({"space": space, "compatibility": matrix})


def published_space(settings: Settings, workspace: Workspace, metadata: Mapping[str, Any]) -> str:
    """Return the fixed space of a release's rows, by its settings and the matrix that its metadata hold."""
    space, about = fixed_space(settings, workspace), metadata.get("compatibility")
    return space if about is None else space_of_matrix(space, about["matrix"])
