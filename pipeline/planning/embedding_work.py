"""What the embedding method of a configuration computes: the counts that its price is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import block_from_edges
from pipeline.embedding.methods import method_for, spec_for
from pipeline.embedding.rows import Settings
from pipeline.planning.round_work import RoundWork, Work
from schemas.tables import WEIGHT_UNIT

_ONE = round(1 / WEIGHT_UNIT)


def work_for(config: PipelineConfig, nodes: int, targets: int) -> Work:
    """Return what embedding a graph takes.

    Parameters
    ----------
    targets : nodes of the type that edges point to; of one type, all.
    """
    if config.embedding.method == "none":
        return Work(nodes=nodes, joined=nodes, dim=1, rounds=(), exchanges=False)
    both = (0, nodes)
    settings = Settings(
        embedding=config.embedding,
        form=config.form,
        nodes=nodes,
        source=both if config.input.is_plain else (targets, nodes),
        target=both if config.input.is_plain else (0, targets),
    )
    return _work(settings)


def _work(settings: Settings) -> Work:
    method, embedding = method_for(settings), settings.embedding
    exchanges = embedding.boundary == "exchange"
    rounds = [
        RoundWork(
            method.width(number, settings),
            needs_noise_scales=method.needs_noise_scales(number, settings),
            is_one_way=method.is_one_way(number, settings),
        )
        for number in range(method.rounds(settings))
    ]
    small = method.prelude(settings) if exchanges else None
    before = None if small is None else _work(small)
    return Work(
        nodes=settings.nodes,
        joined=_joined(settings),
        dim=settings.dim,
        rounds=tuple(rounds),
        dtype=embedding.boundary_dtype,
        carried=method.carry_width(settings),
        keeps_total=method.keeps_total,
        is_reduced=method.reduced_width(settings) > 0,
        buffers=spec_for(settings).buffers,
        exchanges=exchanges,
        preludes=() if before is None else (*before.preludes, replace(before, preludes=())),
    )


def _joined(settings: Settings) -> int:
    """Return how many nodes' rows go from round to round: by what the method takes of a graph of a single edge."""
    is_plain = settings.source == settings.target
    pair = replace(settings, nodes=2, target=(0, 2 if is_plain else 1), source=(0 if is_plain else 1, 2))
    edge = block_from_edges(np.arange(2, dtype=np.uint64), *(np.array([value]) for value in (1, 0, _ONE)))
    first, stop = method_for(pair).exchanged_range(edge, pair)
    return settings.nodes if stop - first == 2 else settings.target[1] - settings.target[0]
