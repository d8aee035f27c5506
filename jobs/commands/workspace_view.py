"""Says what is in a workspace: dates with their verdicts, releases, what readers get. With --date: the
tables of that day with rows, bytes, fingerprints and seconds, the rows that were rejected and why
(file and row number, no ids), the parts of the graph, and memory.

examples
  graphquilt inspect --workspace work
  graphquilt inspect --workspace work --date 2024-06-01
  graphquilt inspect --workspace work --name default --json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from graphquilt.ancestry import describe_withdrawal
from graphquilt.locations import Location
from graphquilt.releases import join_problems
from jobs.answers import Answer, columns, list_of, section, table_of
from jobs.arguments import STAGE_NAMES, CommandParser, parse_date

if TYPE_CHECKING:
    from pipeline.workspace import Manifest

_EXAMPLES = 3
_ROWS_AT_ONCE = 65_536
#: Figures with vectors in them, or repeated elsewhere.
_LEFT_OUT = ("metadata", "sums", "metrics", "gate", "removed")


def add_options(command: CommandParser) -> None:
    """Add the options of the command."""
    command.add_argument("--workspace", required=True, metavar="ADDRESS", help="the workspace")
    command.add_argument("--date", type=parse_date, metavar="YYYY-MM-DD", help="one day in full")
    command.add_argument("--name", help="only this published name")


def answer(options: argparse.Namespace) -> Answer:
    """Read manifests and footers; compute nothing.

    Raises
    ------
    ConfigError : no such workspace, date or name.
    """
    from jobs.commands.existing import published_names, require_name, workspace_at
    from pipeline import storage
    from pipeline.errors import ConfigError

    root = workspace_at(options.workspace)
    if options.name:
        require_name(root, options.name)
    names = [options.name] if options.name else published_names(root)
    facts_by_name = {name: _published_facts(root, name) for name in names}
    dates = [name for name in storage.names_in(root / "runs") if PurePath(name).match("????-??-??")]
    if options.date is None:
        days = [_day_in_short(root, date) for date in dates]
        facts: dict[str, Any] = {"workspace": str(root), "dates": days, "published": facts_by_name}
        return Answer(facts, "\n".join([f"workspace {root}", *_dates_text(days), *_published_text(facts_by_name)]))
    date = options.date.isoformat()
    if date not in dates:
        raise ConfigError(f"workspace {root} has nothing of {date}; it has {', '.join(dates) or 'no dates'}")
    facts = {"workspace": str(root), "date": date, "verdict": _verdict(root, date), **_day(root / "runs" / date)}
    return Answer(facts | {"published": facts_by_name}, "\n".join([*_day_text(facts), *_published_text(facts_by_name)]))


def _day_in_short(root: Location, date: str) -> dict[str, Any]:
    manifests, damage = _manifests(root / "runs" / date)
    return {
        "date": date,
        "verdict": _verdict(root, date),
        "tables": len(manifests),
        "bytes": sum(manifest.bytes for manifest in manifests),
        "damaged": damage,
    }


def _verdict(root: Location, date: str) -> dict[str, Any] | None:
    from pipeline import storage
    from pipeline.errors import StorageError

    try:
        return storage.read_json(root / "runs" / date / "gate.json")
    except StorageError as error:
        return {"verdict": "unknown", "reasons": [str(error)]}


def _manifests(folder: Location) -> tuple[list[Manifest], list[str]]:
    """Manifests of all tables of a date, in the order of the stages, older first; and what is damaged, as sentences."""
    from pipeline import storage
    from pipeline.workspace import manifests_below

    manifests, damage = manifests_below(folder, "*/*")
    order = {stage: number for number, stage in enumerate(STAGE_NAMES)}  # what is made on demand comes last
    manifests.sort(key=lambda manifest: (str(manifest.made_by.get("started")), manifest.fingerprint))
    manifests.sort(key=lambda manifest: (order.get(manifest.stage, len(order)), manifest.table))  # stable
    sizes = {file.name: file.bytes for file in storage.files_below(folder)}
    for manifest in manifests:
        names = {f"{manifest.table}/{manifest.fingerprint}/{file.name}": file.bytes for file in manifest.files}
        damage += [
            f"{folder / name} is missing or cut short" for name, size in names.items() if sizes.get(name) != size
        ]
    return manifests, damage


def _day(folder: Location) -> dict[str, Any]:
    manifests, damage = _manifests(folder)
    newest = {manifest.table: manifest for manifest in manifests}  # the last of each table wins
    return {
        "tables": [_table(manifest) for manifest in manifests],
        "damaged": damage,
        "ingest": _ingest(folder, newest),
        "graph": _figures(newest.get("node_index")),
        "partition": _figures(newest.get("partition_tree")),
        "layout": _blocks(newest.get("block_nodes")),
        "stages": {
            manifest.stage: {
                name: manifest.made_by.get(name) for name in ("seconds", "cpu_seconds", "peak_bytes", "tasks", "engine")
            }
            for manifest in newest.values()
        },
    }


def _table(manifest: Manifest) -> dict[str, Any]:
    return {
        **{name: getattr(manifest, name) for name in ("table", "stage", "fingerprint", "rows", "bytes")},
        "files": len(manifest.files),
        **{name: manifest.made_by.get(name) for name in ("seconds", "run_id", "started")},
    }


def _figures(manifest: Manifest | None) -> dict[str, Any] | None:
    return {name: value for name, value in manifest.figures.items() if name not in _LEFT_OUT} if manifest else None


def _blocks(manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    rows, entries = manifest.figures["rows"].values(), manifest.figures["entries"].values()
    return {
        "parts": len(rows),
        "rows": sum(rows),
        "most_rows": max(rows, default=0),
        "most_entries": max(entries, default=0),
    }


def _ingest(folder: Location, newest: Mapping[str, Manifest]) -> dict[str, Any] | None:
    figures = _figures(newest.get("edges"))
    if figures is None:
        return None
    manifest = newest.get("rejected")
    table = folder / "rejected" / manifest.fingerprint if manifest else folder
    files = [table / file.name for file in manifest.files] if manifest else []
    return {**figures, "examples": _examples(files), "rejected_table": str(table) if files else None}


def _examples(files: Sequence[Location]) -> dict[str, list[dict[str, Any]]]:
    """Return the first rows of each reason by file and number: other columns may hold ids of persons."""
    import pyarrow.compute as pc

    from pipeline import storage

    examples: dict[str, list[dict[str, Any]]] = {}
    place = ["section", "file", "row"]
    for batch in storage.read_batches(files, [*place, "reason"], _ROWS_AT_ONCE):
        for reason in pc.unique(batch["reason"]).to_pylist():
            of_reason = examples.setdefault(reason, [])
            rows = batch.filter(pc.equal(batch["reason"], reason)).select(place)
            of_reason += rows.slice(0, _EXAMPLES - len(of_reason)).to_pylist()
    return examples


def _published_facts(root: Location, name: str) -> dict[str, Any]:
    from graphquilt.ancestry import trace, withdrawal_facts
    from graphquilt.pointers import RELEASES, PointerError, list_releases, read_pointers
    from graphquilt.releases import describe_pointer_remedy, describe_remedy, find_problems, manifest_sha256_in
    from pipeline.publishing.listing import note_of, releases
    from pipeline.publishing.pointer import own_folder

    folder = own_folder(root, name)
    try:
        pointers = read_pointers(folder)
        swap, problem = pointers.at, pointers.problem
        marks = trace(pointers).withdrawn
    except PointerError as error:
        swap, problem, marks = None, f"{error}. {describe_pointer_remedy(folder)}", {}
    damages = {}
    for release in sorted({*list_releases(folder), *([swap.release] if swap else [])}):
        if problems := find_problems(folder / RELEASES / release, manifest_sha256_in(swap, release), deep=False):
            damages[release] = {"problems": problems, "remedy": describe_remedy(folder, release)}
    return {
        "current": swap.release if swap else None,
        "current_problem": problem,
        "damaged": damages,
        "releases": [
            {
                "release": release.release,
                "data_date": release.data_date.isoformat(),
                "published_at": release.published_at.isoformat(),
                "rows": release.manifest.get("rows"),
                "tables": _rows_by_table(release.manifest),
                "run_id": release.manifest.get("run_id"),
                "gate": note_of(release.path, "gate.json") or None,
                "baseline": release.manifest.get("baseline"),
                "withdrawn": withdrawal_facts(marks.get(release.release)),
                "path": str(release.path),
            }
            for release in releases(root, name)
        ],
    }


def _rows_by_table(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the rows of each table of a release."""
    rows: dict[str, int] = {}
    for file in manifest["files"]:
        table, slash, _ = file["name"].partition("/")
        if slash:
            rows[table] = rows.get(table, 0) + file.get("rows", 0)
    return dict(sorted(rows.items()))


def _dates_text(days: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [{**day, "date": _date_text(day["date"]), "verdict": _verdict_text(day["verdict"])} for day in days]
    damages = {day["date"]: len(day["damaged"]) for day in days if day["damaged"]}
    return [
        *section("dates", table_of(rows, ("date", "tables", "bytes", "verdict")) or ["  none"]),
        *(f"  {date}: {count} files damaged (--date shows them)" for date, count in damages.items()),
    ]


def _date_text(date: str) -> str:
    """Return the name of a date's folder as people read it."""
    from pipeline.workspace import UNDATED

    return f"undated ({date})" if date == UNDATED.isoformat() else date  # --date takes it


def _verdict_text(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "no verdict"
    return " ".join(": ".join([str(verdict.get("verdict")), *verdict.get("reasons", [])]).split())


def _published_text(facts_by_name: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, facts in facts_by_name.items():
        rows = [
            (
                "->" if release["release"] == facts["current"] else "",
                release["release"],
                ", ".join(f"{table} {rows:,} rows" for table, rows in release["tables"].items()),
                f"gate {(release['gate'] or {}).get('verdict')}",
                f"published {release['published_at']}",
            )
            for release in facts["releases"]
        ]
        lines += section(f"published as {name}", columns(rows) or ["  no release"])
        for release, damage in facts["damaged"].items():
            lines.append(f"  damaged: {release}: {join_problems(damage['problems'])}. {damage['remedy']}")
        lines += [
            f"  withdrawn: {release['release']}: {describe_withdrawal(**release['withdrawn'])}"
            for release in facts["releases"]
            if release["withdrawn"]
        ]
        if facts["current_problem"]:
            lines.append(f"  CURRENT: {facts['current_problem']}")
    return lines


def _day_text(facts: Mapping[str, Any]) -> list[str]:
    tables = table_of(facts["tables"], ("table", "fingerprint", "rows", "bytes", "seconds", "run_id"))
    costs = [{"stage": stage, **costs} for stage, costs in facts["stages"].items()]
    return [
        f"{_date_text(facts['date'])}  {_verdict_text(facts['verdict'])}",
        *section("tables", tables),
        *(f"  damaged: {problem}; the next run makes it again" for problem in facts["damaged"]),
        *section("gates", table_of((facts["verdict"] or {}).get("gates", ()), ("gate", "verdict", "note"))),
        *_ingest_text(facts["ingest"]),
        *section("graph", list_of(facts["graph"])),
        *section("partition", list_of(facts["partition"])),
        *section("blocks", list_of(facts["layout"])),
        *section("stages", table_of(costs, ("stage", "seconds", "cpu_seconds", "peak_bytes"))),
    ]


def _ingest_text(ingest: Mapping[str, Any] | None) -> list[str]:
    if ingest is None:
        return []
    counts = ("read", "kept", "late", "early", "pairs", "decayed_pairs")
    lines = section("rows of the input", list_of({name: ingest[name] for name in counts}))
    for reason, count in ingest["rejected"].items():
        rows = ingest["examples"].get(reason, [])
        of = {row["section"]: f" of {row['section']}" if len(ingest["relations"]) > 1 else "" for row in rows}
        where = ", ".join(f"{row['file']}{of[row['section']]} row {row['row']}" for row in rows)
        example = ingest["reasons"][reason]
        lines.append(f"  rejected: {reason}: {count:,} (first: {where})")
        lines.append(f"    such as {example['example']}; accepted: {example['accepted']}")
    if ingest["rejected_table"]:
        lines.append(f"  the rejected rows with their values: {ingest['rejected_table']}")
    for node_type, counts in ingest.get("attributes", {}).items():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts["rejected"].items())
        rejections = f"{sum(counts['rejected'].values()):,} rejected" + (f" ({reasons})" if reasons else "")
        lines.append(f"  attributes of {node_type}: {counts['read']:,} rows, {counts['nodes']:,} nodes, {rejections}")
    return lines
