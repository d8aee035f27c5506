"""Spectral and low-pass embeddings of graphs in parts: their parameters, and their rows through blocks and rounds."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.ppr import PprConfig
from pipeline.embedding.methods import EMBEDDING, METHODS, method_for
from pipeline.embedding.rounds import embed_parts
from pipeline.embedding.rows import RowNodes, Rows
from pipeline.embedding.settings import Settings
from tests.embedding.graphs_in_parts import (
    ONE,
    GraphInParts,
    InThisProcess,
    lay_out,
    moved,
    placed,
    rows_of,
    settings_of,
)
from tests.oracles.low_pass_simulator import LowPassParameters
from tests.oracles.spectral_simulator import SpectralParameters

FORMS = {("spectral", True): "bipartite", ("spectral", False): "plain"}
FORMS |= {("fastrp", True): "low_pass", ("fastrp", False): "plain_low_pass"}
FORMS |= {("ppr", True): "factorised", ("ppr", False): "plain_factorised"}


@dataclass(frozen=True)
class Done:
    """Rows before the last scaling, what the run says of itself, and what travelled."""

    rows: Rows
    report: dict[str, Any]
    moved: dict[str, float]
    made: GraphInParts
    settings: Settings

    @property
    def finished(self) -> np.ndarray:
        """Rows as published; ``rows`` stay as they are."""
        rows = Rows(self.rows.values.copy(), self.rows.noise_scale.copy())
        strength = self.made.graph.strength
        method_for(self.settings).finish(rows, RowNodes(np.arange(self.made.nodes), strength), None, self.settings)
        return rows.values


def settings_for(made: GraphInParts, embedding: EmbeddingConfig) -> Settings:
    is_of_logs = embedding.form == "log_transition"
    form = "log_transition" if is_of_logs else FORMS[embedding.method, made.items > 0]
    strength = made.graph.strength
    settings = settings_of(made, embedding)
    graph = replace(
        settings.graph,
        mean_strength=float(strength.mean()),
        mean_weight=float(strength.sum() / made.graph.degree.sum()),
        returns_at_once=made.items > 0 and bool((made.graph.degree[made.items :] < 2).all()),
    )
    return replace(settings, graph=graph, embedding=embedding, form=form)


def in_rounds(made: GraphInParts, embedding: EmbeddingConfig, restart: float = 0.15) -> Done:
    settings = replace(settings_for(made, embedding), ppr=PprConfig(restart=restart))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        done = embed_parts(InThisProcess(), lay_out(made, place), settings, place / "rows")
        return Done(rows_of(done, made, embedding.dim), dict(done.report), moved(done), made, settings)


def spectral(**changes: object) -> EmbeddingConfig:
    return EMBEDDING.model_validate({"method": "spectral", "dim": 4, "oversampling": 4, **changes})


def log_transition(**changes: object) -> EmbeddingConfig:
    return spectral(form="log_transition", **changes)


def factorised(**changes: object) -> EmbeddingConfig:
    return EMBEDDING.model_validate({"method": "ppr", "form": "factorised", "dim": 4, "oversampling": 4, **changes})


def low_pass(**changes: object) -> EmbeddingConfig:
    return EMBEDDING.model_validate({"method": "fastrp", "dim": 5, "filter_degree": 4, **changes})


def spectral_parameters(made: GraphInParts, embedding: EmbeddingConfig) -> SpectralParameters:
    settings = settings_for(made, embedding)
    embedding = settings.embedding
    known = {field.name: getattr(embedding, field.name) for field in fields(SpectralParameters)}
    if settings.graph.returns_at_once and embedding.no_return == 1.0:
        known["no_return"] = 0.0
    if made.items:  # P grows with this power of the weights, and what is added to it must
        power = 2 - 2 * (embedding.user_degree_power + embedding.item_degree_power)
        known["shift"] *= settings.graph.mean_weight**power
    return SpectralParameters(**known)


def low_pass_parameters(made: GraphInParts, embedding: EmbeddingConfig) -> LowPassParameters:
    names = {field.name for field in fields(LowPassParameters)} - {"power_rounds", "moment_rounds"}
    settings = settings_for(made, embedding)
    embedding = settings.embedding
    moments = "spectrum" if made.items else "plain_spectrum"
    return LowPassParameters(
        **{name: getattr(embedding, name) for name in names},
        power_rounds=METHODS["largest"].rounds.rounds(settings),
        moment_rounds=METHODS[moments].rounds.rounds(settings),
    )


@st.composite
def spectral_embeddings(draw: st.DrawFn) -> EmbeddingConfig:
    """Parameters of a spectral embedding of a few columns."""
    dim = draw(st.integers(1, 6))
    return spectral(
        dim=dim,
        seed=draw(st.integers(0, 3)),
        rank=draw(st.sampled_from([None, dim, dim + 2])),
        iterations=draw(st.sampled_from([None, 1, 2, 4])),
        oversampling=draw(st.sampled_from([0, 2, 8])),
        no_return=draw(st.sampled_from([0.5, 0.0, 1.0])),
        shift=draw(st.sampled_from([None, 0.0, 0.5])),
        user_degree_power=draw(st.sampled_from([0.5, 0.4, 0.0])),
        item_degree_power=draw(st.sampled_from([0.5, 0.4])),
        eigenvalue_power=draw(st.sampled_from([None, 0.5, 0.0])),
        degree_offset=draw(st.sampled_from([0.5, 0.0])),
        eigenvalues=draw(st.sampled_from(["both", "positive"])),
        reduction=draw(st.sampled_from(["truncate", "rotate"])),
        boundary_dtype=draw(st.sampled_from(["float32", "float32", "float32", "float16", "int8"])),
    )


@st.composite
def low_pass_embeddings(draw: st.DrawFn) -> EmbeddingConfig:
    """Parameters of a low-pass embedding of a few columns."""
    return low_pass(
        dim=draw(st.sampled_from([1, 5, 16, 19])),
        seed=draw(st.integers(0, 3)),
        sparsity=draw(st.sampled_from([1.0, 3.0])),
        rank=draw(st.sampled_from([None, 1, 3])),
        cut=draw(st.sampled_from([None, 0.2, 0.7, 0.7])),  # without one, many rounds go before
        filter_degree=draw(st.integers(1, 6)),
        user_degree_power=draw(st.sampled_from([0.4, 0.5])),
        boundary_dtype=draw(st.sampled_from(["float32", "float32", "float16", "int8"])),
        shards=draw(st.sampled_from([None, 2])),
    )


def random_tree(parts: int, items: int, seed: int, edges: int = 300, others: int = 60) -> GraphInParts:
    """A random graph with hubs, weights of every size, and homes drawn at random."""
    rng = np.random.default_rng(seed)
    nodes = items + others
    ends = [rng.integers(items, nodes, edges), rng.zipf(1.4, edges) % (items or nodes)]
    pairs = np.unique(np.stack(ends if items else np.sort(ends, axis=0), axis=1), axis=0)
    return placed(
        *pairs.T.tolist(),
        home=rng.integers(0, parts, nodes).tolist(),
        is_split=(rng.random(nodes) < 0.3).tolist(),
        nodes=nodes,
        items=items,
        weight=rng.integers(1, 4 * ONE, len(pairs)).tolist(),
    )
