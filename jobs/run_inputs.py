"""What a release was made of, as addresses: what a scheduler tells those who follow data from table to table."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from graphquilt.pointers import RELEASES
from pipeline.config.model import PipelineConfig
from pipeline.workspace import Manifest, Workspace, published_folder, run_folder
from schemas.tables import NIGHT_SUMS


def input_addresses(
    config: PipelineConfig, workspace: Workspace, tables: Iterable[str], edges: Manifest | None
) -> list[str]:
    """Return where the input is, the baseline's tables, and the sums of the night that this one went on from.

    Parameters
    ----------
    tables : names of the release's tables, which are held against the baseline's.
    edges : manifest of the run's edges.
    """
    inputs = [str(section.path) for section in (*config.all_relations, *config.attributes.values())]
    places = [_full(path.replace("{date}", workspace.date.isoformat())) for path in inputs]
    if baseline := workspace.inputs.baseline:
        folder = published_folder(config.publish.root(workspace.root), config.publish.name) / RELEASES / baseline
        places += [str(folder / table) for table in tables]
    if edges and (night := edges.figures.get("night_before")):
        places.append(str(run_folder(workspace.root, dt.date.fromisoformat(night)) / NIGHT_SUMS.name))
    return places


def _full(address: str) -> str:
    return address if "://" in address else str(Path(address).absolute())
