"""Makes the walk index of a date: ppr.index_walks walks from each node, with every node that they visit
and how often. 'graphquilt query ppr' answers batches from it. Stages that it needs run first, where
they have not yet. What is made already is not made again: the same command resumes a stopped one.

examples
  graphquilt ppr-index --config config.toml --workspace work
  graphquilt ppr-index --config config.toml --workspace work --set ppr.index_walks=200 --workers 4
  graphquilt ppr-index --config config.toml --workspace /mnt/work --engine spark --json
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from graphquilt.output import amount
from jobs.answers import Answer
from jobs.arguments import add_stage_options
from jobs.stopping import StopRequest
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.stages.runner import StageReport
    from pipeline.workspace import Workspace

add_options = add_stage_options


def answer(options: argparse.Namespace) -> Answer:
    """Make the index, or find it made.

    Raises
    ------
    ConfigError : wrong options or config. InputError : the input can't be used.
    """
    with StopRequest() as stop:
        workspace, report = _make_index(options, stop)
    facts = {
        "date": workspace.date.isoformat(),
        "path": str(workspace.folder("ppr_index")),
        "skipped": report.skipped,
        **report.figures,
        "seconds": round(report.seconds, 3),
        "cpu_seconds": round(report.cpu_seconds, 3),
        "peak_bytes": report.peak_bytes,
    }
    return Answer(facts, _text(facts))


def _make_index(options: argparse.Namespace, stop: StopRequest) -> tuple[Workspace, StageReport]:
    """Run the stages that are missing, under the date's lock."""
    from jobs.config_file import read_config
    from jobs.session import open_date
    from pipeline.stages.runner import run_stages

    config = read_config(options.config, options.overrides)
    for name in ("force_current", "accept_drift"):
        if getattr(options, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for publishing; leave it out")
    with open_date(options, config, "ppr-index", stop) as (engine, workspace):
        names = ("ingest", "index", "partition", "layout", "ppr-index")
        *_, report = run_stages(names, engine, config, workspace)
        return workspace, report


def _text(facts: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{'unchanged' if facts['skipped'] else 'done'} date={facts['date']} seconds={facts['seconds']:.1f}",
            f"index    {facts['path']}",
            f"size     {facts['nodes']:,} nodes, {facts['walks']} walks each at restart {facts['restart']:g}: "
            f"{amount(facts['bytes'])}, {facts['bytes_per_node']:.0f} bytes a node",
        ]
    )
