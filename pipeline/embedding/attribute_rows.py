"""Vectors of nodes of which nothing is known but their attributes: new items, say, that nobody has met yet."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Features
from pipeline.config.model import PipelineConfig
from pipeline.embedding.combine import settings_for, shared_widths
from pipeline.embedding.methods import METHODS, method_for, spec_for
from pipeline.embedding.rows import ColumnSums, RowNodes, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.start_rows import feature_rows


def rows_of_attributes(
    features: Features, settings: Settings, sums: ColumnSums | None = None, nodes: Sequence[int] = ()
) -> NDArray[np.float32]:
    """The vectors of nodes from their attributes alone: what the table holds of nodes without edges.

    Σ_f value_f Ω_f, by the method's ``rows_of_attributes``. The forms of two types: an item's row is
    l2(Σ_f value_f Ω_f), the norm of an item of degree 1; a user's is zero, since users don't start. What the last step
    does to rows, by degree and by column, it does to these, as of a node with one edge of weight 1.

    Parameters
    ----------
    features : as :func:`pipeline.ingest.attributes.features.features_of` makes them, with the statistics of the table.
    settings : of the table's run; of two types, the nodes are targets.
    sums : of the table's columns, where they are standardised.
    nodes : of every set of blocks of the table, where its rows are made of several.

    Returns
    -------
    (n, dim) float32, finite; zero without features, and for methods that ignore attributes.
    """
    rows = unfinished_rows(features, settings, nodes)
    if rows is None:
        return np.zeros((len(features.counts), settings.dim), np.float32)
    node_ix = np.full(len(rows.values), settings.graph.target[0])
    strength_of_one_edge = (features.counts > 0).astype(np.float64)
    method_for(settings).finish(rows, RowNodes(node_ix, strength_of_one_edge), sums, settings)
    return rows.values


def fill_in(
    rows: Rows,
    node_ix: NDArray[np.int64],
    strength: NDArray[np.float64],
    features: Features,
    settings: Settings,
    nodes: Sequence[int],
) -> NDArray[np.float64]:
    """Give nodes that have no row the one that their attributes give, before the last step, in place.

    Returns
    -------
    (n,) strength, with that of one edge of weight 1 for the nodes that got one.
    """
    first, stop = nodes_that_start(settings)
    lacks = (strength == 0) & (features.counts > 0) & (node_ix >= first) & (node_ix < stop)
    index = np.flatnonzero(lacks)
    of_attributes = unfinished_rows(features.rows(index), settings, nodes) if index.size else None
    if of_attributes is None:
        return strength
    rows.values[index] = of_attributes.values
    rows.noise_scale[index] = of_attributes.noise_scale
    return np.where(lacks, 1.0, strength)


def types_that_start(config: PipelineConfig) -> set[str]:
    """Return the types of nodes whose attributes have an effect."""
    sides = config.sides
    types = {"all": {*sides.types}, "targets": {*sides.columns}}
    return types.get(METHODS[config.form].attributes_of or "", set())


def nodes_that_start(settings: Settings) -> tuple[int, int]:
    """Return the range of nodes whose start rows, if they have any, take attributes up."""
    return settings.graph.target if spec_for(settings).attributes_of == "targets" else (0, settings.graph.nodes)


def unfinished_rows(features: Features, settings: Settings, nodes: Sequence[int] = ()) -> Rows | None:
    """Return the rows of attributes before the last step; None of methods that ignore attributes."""
    if settings.embedding.attribute_share == 0 or spec_for(settings).attributes_of is None:
        return None
    pieces = [feature_rows(features, column_settings) for column_settings in _column_settings(settings, nodes)]
    values = pieces[0] if len(pieces) == 1 else np.hstack(pieces)
    noise_scale = features.sizes * math.sqrt(settings.dim)  # what nothing can cancel
    return method_for(settings).rows_of_attributes(Rows(values, noise_scale), settings)


def _column_settings(settings: Settings, nodes: Sequence[int]) -> list[Settings]:
    """Settings of the columns' sets of blocks: with vectors side by side, each has random rows of its own."""
    if settings.embedding.boundary != "border" or settings.embedding.border_join != "concatenate" or not nodes:
        return [settings]
    widths = shared_widths(settings.dim, nodes)
    return [settings_for(settings, "parts", place, nodes) for place, width in enumerate(widths) if width]


def without_effect(config: PipelineConfig) -> list[str]:
    """Return the types whose attributes change no row that was made from edges."""
    return sorted({*config.attributes} - (types_that_start(config) if config.embedding.attribute_share else set()))
