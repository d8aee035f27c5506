"""Points CURRENT at the release before the current one, or at the one named. Its bytes are
checked first, and restored from working tables where they can be. It lasts until the next
publication of the same or a later date. What readers are taken back from is withdrawn, with
time and reason: no later run is measured by it, and no rerun hands it to readers again. With
--to it also mends a CURRENT.json that is damaged beyond its history.

examples
  graphquilt rollback --workspace work --reason 'half of the items were missing'
  graphquilt rollback --workspace work --name default --to 2024-06-01-0123456789ab
"""

import argparse

from jobs.answers import Answer
from jobs.arguments import CommandParser, add_workspace, parse_amount


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    add_workspace(command, with_name=True)
    command.add_argument("--to", metavar="RELEASE", help="'graphquilt inspect' lists them")
    command.add_argument("--reason", metavar="TEXT", default="", help="why; 'graphquilt inspect' shows it")
    command.add_argument("--wait", type=parse_amount, default=60.0, metavar="SECONDS", help="for a lock (default: 60)")


def answer(options: argparse.Namespace) -> Answer:
    """Move the pointer; say from where to where.

    Raises
    ------
    ConfigError : no such workspace, name or release.
    StorageError : the release is damaged and can't be restored; CURRENT stays.
    """
    from graphquilt.ancestry import trace
    from jobs.commands.existing import require_name, workspace_at
    from pipeline.publishing.pointer import own_folder, pointers_of
    from pipeline.publishing.release import rollback

    root = workspace_at(options.workspace)
    require_name(root, options.name)
    reason = " ".join(options.reason.split())
    before, now = rollback(root, options.name, options.to, reason=reason, wait_s=options.wait)
    was = before.release if before else None
    marks = trace(pointers_of(own_folder(root, options.name))).withdrawn
    withdrawn = sorted(release for release, mark in marks.items() if mark == now)
    facts = {"name": options.name, "from": was, "to": now.release, "data_date": now.data_date, "reason": reason}
    text = f"{options.name}: readers now get {now.release} (before: {was or 'not known'})"
    if withdrawn:
        text += f"\nwithdrawn: {', '.join(withdrawn)}"
    return Answer(facts | {"withdrawn": withdrawn}, text)
