"""The config file of a command, with its relative paths found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import iglob
from pathlib import Path

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG

_ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def read_config(file: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a config file, apply ``--set``, and find its relative paths.

    Raises
    ------
    ConfigError : see :meth:`pipeline.config.model.PipelineConfig.from_toml`.
    """
    return _with_paths_found(CONFIG.from_toml(file, overrides), file)


def _is_there(path: str) -> bool:
    """Whether there is something at a path, or at a glob of any date."""
    return os.path.lexists(path) or any(True for _ in iglob(path.replace("{date}", _ANY_DATE), recursive=True))


def _with_paths_found(config: PipelineConfig, file: Path) -> PipelineConfig:
    """Return the config with relative input paths that only exist beside the config file made to point there."""

    def found(path: str | None) -> str | None:
        path = path and os.path.expanduser(path)
        if path is None or "://" in path or Path(path).is_absolute():
            return path
        beside = str(file.absolute().parent / path)
        is_beside = not _is_there(path) and (_is_there(beside) or os.path.isdir(os.path.dirname(beside)))
        return beside if is_beside else path

    path = found(config.input.path)
    evaluated, sources = found(config.evaluate.path), found(config.ppr.sources)
    attributes = {
        node_type: section.model_copy(update={"path": found(section.path)})
        for node_type, section in config.attributes.items()
    }
    return config.model_copy(
        update={
            "input": config.input.model_copy(update={"path": path}),
            "attributes": attributes,
            "evaluate": config.evaluate.model_copy(update={"path": evaluated}),
            "ppr": config.ppr.model_copy(update={"sources": sources}),
        }
    )
