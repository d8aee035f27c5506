"""Nodes that have edges and a zero row: why, which key to change, and whether the run goes on."""

import logging

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import METHODS
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
    embedding = config.embedding.values_of(config.form)
    if embedding.boundary != "exchange":
        return (
            f"embedding.boundary = '{embedding.boundary}' leaves out what the cut cuts; 'exchange' loses nothing, and "
            "fewer parts lose less"
        )
    return METHODS[config.form].zero_rows(embedding)
