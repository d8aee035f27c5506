"""Removes old releases of a name, old dates' working tables, and what killed runs left. The
current release, young ones and dates at work stay. Every publication does the same.

examples
  graphquilt clean --workspace work --dry-run
  graphquilt clean --workspace work --config config.toml
  graphquilt clean --workspace work --name default --keep-releases 2 --keep-runs 1 --min-age-hours 0
  graphquilt clean --workspace work --purge
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from graphquilt.output import amount
from jobs.answers import Answer, columns
from jobs.arguments import CommandParser, add_workspace, parse_amount, parse_count

if TYPE_CHECKING:
    from pipeline.config.publish import PublishConfig


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    add_workspace(command)
    command.add_argument("--name", help="published name (default: the config's, else 'default')")
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="take name, keep_* and min_age_hours from [publish]"
    )
    command.add_argument("--keep-releases", type=parse_count, metavar="N", help="releases that stay (default: 7)")
    command.add_argument(
        "--keep-runs", type=parse_count, metavar="N", help="dates whose working tables stay (default: 3)"
    )
    command.add_argument(
        "--min-age-hours", type=parse_amount, metavar="H", help="a younger release stays (default: 24)"
    )
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
    command.add_argument(
        "--purge",
        action="store_true",
        help="all that may still hold ids of publish.exclude_ids: releases but the current one, all working tables",
    )
    command.add_argument("--wait", type=parse_amount, default=60.0, metavar="SECONDS", help="for a lock (default: 60)")


def answer(options: argparse.Namespace) -> Answer:
    """Remove, or list, what may go.

    Raises
    ------
    ConfigError : no such workspace or name. LockedError : a publisher is at work.
    """
    from jobs.commands.existing import require_name, workspace_at
    from pipeline import codec
    from pipeline.publishing.retention import clean

    rules = _rules(options)
    root = workspace_at(options.workspace)
    require_name(rules.root(root), rules.name)
    report = clean(
        root,
        rules,
        dt.datetime.now(dt.UTC),
        dry_run=options.dry_run,
        purge_ids=options.purge,
        wait_s=options.wait,
    )
    removals = [("-", item.kind, item.path.name, amount(item.bytes), item.why) for item in report.removed]
    kept_rows = [("+", item.kind, item.path.name, amount(item.bytes), item.why) for item in report.kept]
    verb = "would go" if options.dry_run else "removed"
    text = [f"{rules.name}: {len(removals)} {verb}, {amount(report.freed_bytes)} freed", *columns(removals + kept_rows)]
    return Answer({"name": rules.name, **codec.to_values(report)}, "\n".join(text))


def _rules(options: argparse.Namespace) -> PublishConfig:
    from jobs.config_file import read_config
    from jobs.session import use_storage
    from pipeline.config.publish import PublishConfig

    defaults = PublishConfig()
    if options.config:
        config = read_config(options.config)
        use_storage(config.storage)
        defaults = config.publish
    options_set = {name: getattr(options, name) for name in ("name", "keep_releases", "keep_runs", "min_age_hours")}
    return defaults.model_copy(update={name: value for name, value in options_set.items() if value is not None})
