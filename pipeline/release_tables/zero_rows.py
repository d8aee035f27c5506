"""Nodes that have edges and a zero row: why, which key to change, and whether the run goes on."""

from __future__ import annotations

import logging

from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)


def refuse_zero_rows(config: PipelineConfig, zero_rows: int, with_edges: int) -> None:
    """Raise ConfigError if nodes with edges have zero rows, naming the key to change; or warn, with their number.

    A mode that leaves out what the cut cuts loses rows by design, and ``publish.gates.max_zero_share`` says that some
    are expected: then it is a warning.

    Parameters
    ----------
    zero_rows : of nodes with edges. with_edges : all nodes with edges, in the published table.
    """
    if not zero_rows:
        return
    sentence = f"{zero_rows:,} of {with_edges:,} nodes with edges have zero rows: {_reason(config)}"
    if config.embedding.boundary != "exchange" or config.publish.gates.max_zero_share is not None:
        log.warning('stage=aggregate zero_rows_with_edges=%d reason="%s"', zero_rows, sentence)
        return
    raise ConfigError(f"{sentence}. To publish them as they are, set publish.gates.max_zero_share")


def _reason(config: PipelineConfig) -> str:
    """Say why rows can be zero, and what makes them others."""
    embedding = config.embedding.resolved(config.form)
    if embedding.boundary != "exchange":
        return (
            f"embedding.boundary = '{embedding.boundary}' leaves out what the cut cuts; 'exchange' loses nothing, and "
            "fewer parts lose less"
        )
    if config.form in ("bipartite", "factorised"):
        if embedding.shift == 0:
            return "embedding.shift = 0 loses what no walk comes back to while iterating; set embedding.shift = 0.05"
        return (
            "no eigenvector that was found reaches them; set embedding.no_return = 0 (now "
            f"{embedding.no_return:g}), or raise embedding.dim (now {embedding.dim})"
        )
    if config.form in ("plain", "plain_factorised"):
        return (
            "their weights are too small next to the mean degree that is added to each; set "
            f"embedding.degree_offset = 0 (now {embedding.degree_offset:g})"
        )
    if config.form == "classic" and embedding.standardize_columns:
        return "all they are is the mean that is taken off; set embedding.standardize_columns = false"
    if config.form == "classic" and min(embedding.iteration_weights) < 0:
        return "powers cancel; set embedding.iteration_weights to weights that are not below 0"
    return (
        f"random rows of few entries cancel; raise embedding.dim (now {embedding.dim}), or lower "
        f"embedding.sparsity (now {embedding.sparsity})"
    )
