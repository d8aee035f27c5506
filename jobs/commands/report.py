"""Writes the report on a night as one HTML file that needs nothing beside itself: the verdict with each gate's
figure and its last 30 nights, the rows of the input, what changed, and pictures of the table. Every run writes
one too; with this command it is compared with another release, or names persons.

examples
  graphquilt report --workspace work
  graphquilt report --workspace work --date 2024-06-01 --out night.html
  graphquilt report --workspace work --name default --release 2024-06-02-0123456789ab --compare 2024-05-26-ba9876543210
"""

import argparse
from pathlib import Path

from jobs.answers import Answer
from jobs.arguments import CommandParser, parse_date


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    command.add_argument("--workspace", required=True, metavar="ADDRESS", help="the workspace")
    command.add_argument("--name", help="published name (default: the only one)")
    night = command.add_mutually_exclusive_group()
    night.add_argument(
        "--date", type=parse_date, metavar="YYYY-MM-DD", help="the last night of this date, also refused"
    )
    night.add_argument("--release", help="the night of this release (default: the current one)")
    command.add_argument("--compare", metavar="RELEASE", help="the release to compare with (default: its baseline)")
    command.add_argument("--show-ids", action="store_true", help="name nodes that are persons, too")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: report-<release or date>.html")


def answer(options: argparse.Namespace) -> Answer:
    """Write the page; say where it is.

    Raises
    ------
    ConfigError : no such workspace, name, date or release; the file can't be written.
    """
    from jobs.commands.existing import published_names, require_folder_of, require_name, workspace_at, writing
    from pipeline.errors import ConfigError
    from pipeline.publishing.listing import read_current
    from pipeline.queries.night_facts import choose_name
    from pipeline.queries.night_report import render_night
    from pipeline.queries.night_run import compare_with, night_of_date, night_of_release

    root = workspace_at(options.workspace)
    name = choose_name(published_names(root), options.name)
    if options.date is not None:
        night = night_of_date(root, root, name, options.date)
    else:
        require_name(root, name)
        release = options.release or (read_current(root, name) or {}).get("release")
        if release is None:
            raise ConfigError(f"'{name}' has no current release; name a night with --date or --release")
        night = night_of_release(root, root, name, release)
    if options.compare:
        night = compare_with(night, options.compare)
    stem = night.release.name if night.release else night.date or "undated"
    out = options.out or Path(f"report-{stem}.html")
    require_folder_of(out)
    page = render_night(night, shows_persons=options.show_ids)
    with writing(out):
        out.write_text(page, encoding="utf-8")
    facts = {"report": str(out), "bytes": out.stat().st_size, "release": night.release and night.release.name}
    return Answer(facts, f"report   {out}")
