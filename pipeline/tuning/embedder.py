"""The rows of a candidate: what is embedded here is what a run embeds, by the same kernels, on one block."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.model import PipelineConfig
from pipeline.embedding.in_memory import embed_in_memory
from pipeline.embedding.methods import CONFIG
from pipeline.embedding.settings import GraphSummary, Settings
from pipeline.errors import ConfigError
from pipeline.release_tables.metadata import similarity_of
from pipeline.tuning.options import Use
from pipeline.tuning.pair_weights import BlockCache, PairWeights, split_changes
from pipeline.tuning.training_graph import TrainingGraph

#: Keys of [embedding] that say how a run is done and are no parameters of a method: candidates leave them alone.
RUN_KEYS = {*EmbeddingConfig.model_fields, "align", "attribute_share"} - {"method", "form", "dim", "compatibility"}


@dataclass(frozen=True, eq=False)
class Vectors:
    """The rows of a candidate, the similarity that ranks; CPU seconds and bytes of one table."""

    rows: NDArray[np.float32]
    similarity: str
    cpu_seconds: float
    table_bytes: int


class Embedder:
    """Embeds the pairs that stay with a candidate's changes, as a run would; several splits one below another."""

    def __init__(self, config: PipelineConfig, graph: TrainingGraph, splits: Sequence[PairWeights], use: Use) -> None:
        self._config, self._graph, self._use = config, graph, use
        self._cache = BlockCache(splits)

    def __call__(self, changes: Mapping[str, Any]) -> Vectors:
        """Raise ConfigError for changes that the config's checks refuse."""
        settings = self.settings(changes)
        blocks = self.blocks(changes)
        start = time.process_time()
        tables = [embed_in_memory(block, settings, (self._graph.source, self._graph.target)) for block in blocks]
        seconds = (time.process_time() - start) / len(tables)
        rows = tables[0] if len(tables) == 1 else np.concatenate(tables)
        return Vectors(rows, similarity_of(settings)[self._use], seconds, tables[0].nbytes)

    def blocks(self, changes: Mapping[str, Any]) -> list[Block]:
        """Return the graph of each split."""
        return self._cache.blocks_for(changes)

    def settings(self, changes: Mapping[str, Any]) -> Settings:
        """Return what a candidate's method needs."""
        config = self._changed_config(changes)
        summary = GraphSummary(self._graph.nodes, self._graph.rows, self._graph.columns)
        return Settings(summary, config.embedding, config.form, config.ppr)

    def _changed_config(self, changes: Mapping[str, Any]) -> PipelineConfig:
        of_embedding, of_others = split_changes(changes)
        raw = self._config.model_dump(mode="json", exclude_unset=True)
        raw["input"] |= of_others.get("input", {})
        raw["input"] = {key: value for key, value in raw["input"].items() if value is not None}
        for relation in raw.get("relations", ()):
            relation |= of_others.get(f"relations.{relation['name']}", {})
        run_keys = {key: value for key, value in raw.get("embedding", {}).items() if key in RUN_KEYS}
        try:
            return CONFIG.model_validate({**raw, "embedding": {**run_keys, **of_embedding}})
        except ValidationError as error:
            raise ConfigError("; ".join(str(detail["msg"]) for detail in error.errors())) from error
