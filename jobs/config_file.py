"""The config file of a command, with its relative paths resolved."""

import os
from collections.abc import Sequence
from glob import iglob
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from pipeline.config.model import PipelineConfig
from pipeline.embedding.methods import CONFIG

AnySection = TypeVar("AnySection", bound=BaseModel)

_ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def read_config(file: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a config file and apply ``--set``; a relative input path may lead from the file's folder, too.

    Raises
    ------
    ConfigError : see :meth:`pipeline.config.model.PipelineConfig.from_toml`.
    """
    config, folder = CONFIG.from_toml(file, overrides), file.absolute().parent
    sections = {
        "input": _resolve(config.input, "path", folder),
        "relations": tuple(_resolve(relation, "path", folder) for relation in config.relations),
        "attributes": {name: _resolve(section, "path", folder) for name, section in config.attributes.items()},
        "evaluate": _resolve(config.evaluate, "path", folder),
        "ppr": _resolve(config.ppr, "sources", folder),
        "lists": _resolve(config.lists, "sources", folder),
    }
    return config.model_copy(update=sections)


def _resolve(section: AnySection, key: str, folder: Path) -> AnySection:
    """Return a section whose relative path is absolute if it exists only as seen from a folder."""
    path = getattr(section, key)
    if path is None or "://" in path:
        return section
    path = os.path.expanduser(path)
    beside = os.path.join(folder, path)
    if not _is_there(path) and (_is_there(beside) or os.path.isdir(os.path.dirname(beside))):
        path = beside
    return section.model_copy(update={key: path})


def _is_there(path: str) -> bool:
    """Whether there is something at a path, or at a glob of any date."""
    return os.path.lexists(path) or any(True for _ in iglob(path.replace("{date}", _ANY_DATE), recursive=True))
