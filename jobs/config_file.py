"""The config file of a command, with its relative paths found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import PipelineConfig


def read_config(file: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a config file, apply ``--set``, and find its relative paths.

    Raises
    ------
    ConfigError : see :meth:`pipeline.config.PipelineConfig.from_toml`.
    """
    return _with_paths_found(PipelineConfig.from_toml(file, overrides), file)


def _with_paths_found(config: PipelineConfig, file: Path) -> PipelineConfig:
    """Return the config with relative input paths that only exist beside the config file made to point there."""

    def found(path: str | None) -> str | None:
        path = path and os.path.expanduser(path)
        if path is None or "://" in path or Path(path).is_absolute():
            return path
        fixed = Path(path.split("{date}")[0].split("*")[0])
        beside = file.absolute().parent / path
        return str(beside) if not fixed.exists() and beside.parent.exists() else path

    path = found(config.input.path)
    evaluated, sources = found(config.evaluate.path), found(config.ppr.sources)
    attributes = {
        node_type: given.model_copy(update={"path": found(given.path)})
        for node_type, given in config.attributes.items()
    }
    return config.model_copy(
        update={
            "input": config.input.model_copy(update={"path": path}),
            "attributes": attributes,
            "evaluate": config.evaluate.model_copy(update={"path": evaluated}),
            "ppr": config.ppr.model_copy(update={"sources": sources}),
        }
    )
