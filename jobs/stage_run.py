"""One run of stages: config, engine, stages in order, one verdict."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from graphquilt.output import write, write_answer
from jobs.answers import explain_error
from jobs.arguments import Options
from jobs.commands.existing import folder_of
from jobs.config_file import read_config
from jobs.current_words import current_facts, last_line
from jobs.last_screen import describe_run, next_command, read_baseline
from jobs.run_inputs import input_addresses
from jobs.run_report import leave_report
from jobs.session import make_root, open_engine, use_storage
from jobs.stopping import StopRequest
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.errors import ConfigError, GateError, GraphquiltError, InputError, LockedError, StorageError
from pipeline.locations import Location
from pipeline.queries.night_run import finished_tables
from pipeline.stages.opening import OpenOptions, open_workspace
from pipeline.stages.partition import open_graph_tables
from pipeline.stages.runner import StageReport, run_stages
from pipeline.storage.disk_space import free_reserve, full, is_full, keep_reserve
from pipeline.workspace import Manifest, PublishOptions, Workspace, hold, run_folder

#: About what a run writes beside its stages' tables: verdict, locks, digests of the input's files.
_OWN_BYTES = 2**20


class StageRun:
    """One command over stages, and what its verdict needs to know."""

    def __init__(self, names: Sequence[str], options: Options) -> None:
        self._names, self._options = names, options
        self._run_id = options.run_id
        self._start = time.monotonic()
        # Set early where it is there already: whatever fails leaves its verdict in it.
        self._root = _root_that_is_there(options.workspace)
        self._config: PipelineConfig | None = None
        self._workspace: Workspace | None = None
        self._reports: dict[str, StageReport] = {}
        self._tables: Mapping[str, Manifest] = {}

    def go(self, stop: StopRequest) -> None:
        """Run the stages; raise what stops them."""
        options = self._options
        try:
            config = read_config(options.config, options.overrides)
        except ConfigError:
            if options.date is not None and self._root is None:  # a place for the verdict; else nothing is made
                with contextlib.suppress(ConfigError, StorageError):
                    self._root = make_root(options.workspace)
            raise
        use_storage(config.storage, options.scratch)
        self._root = None  # a store that refuses takes no verdict either
        self._root = root = make_root(options.workspace)
        if config.publish.to:
            _make_publish_root(config.publish.to)
        keep_reserve(root)
        self._config = config
        with open_engine(options, config, " ".join(self._names), stop, root) as engine:
            if "partition" in self._names:
                open_graph_tables(engine, config.partition, root)  # else a run would end after its first hours
            self._workspace = open_workspace(
                engine,
                config,
                root,
                OpenOptions(
                    options.date,
                    self._run_id,
                    starts_with_ingest=self._names[0] == "ingest",
                    rehash=options.rehash,
                    allow_future=options.allow_future,
                    recomputes=options.recompute,
                    publish=PublishOptions(options.force_current, options.accept_drift),
                ),
            )
            # Held from the first stage to the last: one that waits for this date doesn't cut in between two stages.
            with hold(self._workspace, self._purpose(), options.wait_s):
                if self._names[0] == "ingest":
                    self._write_verdict("running", None, [])
                with self._keep_tables(self._workspace):
                    for report in run_stages(self._names, engine, config, self._workspace):
                        if not report.skipped or report.stage not in self._reports:  # a repair looks at stages again
                            self._reports[report.stage] = report

    @contextlib.contextmanager
    def _keep_tables(self, workspace: Workspace) -> Iterator[None]:
        """Keep the manifests for a run's report, at its end: while the date is held, a store is not asked for them."""
        has_report = "publish" in self._names
        try:
            yield
        except (GateError, InputError):
            has_report = True
            raise
        finally:
            if has_report:
                with contextlib.suppress(StorageError), storage.brief_requests():
                    self._tables = finished_tables(workspace)

    def _purpose(self) -> str:
        return f"stage {self._names[0]}" if len(self._names) == 1 else "a run"

    def finish(self) -> int:
        """Report a run that came to its end; return the exit code."""
        figures = self._figures("publish")
        verdict = "done"
        if figures:
            is_unchanged = not figures["is_new"] and not figures["current_moved"]
            verdict = "unchanged" if is_unchanged else "published" if figures["current_moved"] else "added"
        try:
            record = self._write_verdict(verdict, figures.get("release"), [], 0, figures.get("gate"))
            report = self._add_report(record) if figures else None
        except (OSError, GraphquiltError) as error:
            return self.fail(error)
        answer = {
            "verdict": verdict,
            "release": figures.get("release"),
            "path": figures.get("path"),
            "tables": figures.get("tables", []),
            "published": bool(figures),
            "metrics": self._figures("evaluate").get("metrics"),
            "gate": figures.get("gate"),
            "report": report,
            **self._run_facts(),
        }
        baseline = read_baseline(self._workspace, self._config.publish) if self._workspace and self._config else None
        return self._report(answer, describe_run(answer, baseline), figures, 0)

    def fail(self, error: Exception) -> int:
        """Report an error and what to do about it; return the exit code. A store that is away is not waited for."""
        with storage.brief_requests():
            return self._fail(error)

    def _fail(self, error: Exception) -> int:
        if self._root and is_full(error) and not getattr(error, "names_bytes", False):
            error = full("the run", self._root, _OWN_BYTES, error)
        sentence, code = explain_error(error, f"run_id={self._run_id}")
        gate, report = (error.gate if isinstance(error, GateError) else None), None
        if not isinstance(error, LockedError):  # the verdict is that of the run that holds the lock
            try:
                record = self._write_verdict("refused" if gate else "failed", None, [sentence], code, gate)
                if isinstance(error, GateError | InputError):  # what people look into; others are the machine's
                    report = self._add_report(record)
            except (OSError, GraphquiltError) as another:
                sentence += "" if str(another) in sentence else f" (nor could gate.json be written: {another})"
        answer = {"verdict": "failed", "error": sentence, "exit_code": code, "published": False, **self._run_facts()}
        if gate:
            answer["gate"] = gate
        if report:
            answer["report"], sentence = report, f"{sentence}\nreport   {report}"
        return self._report(answer, f"graphquilt: {sentence}", {}, code, error)

    def _run_facts(self) -> dict[str, Any]:
        return {
            "date": self._workspace.date.isoformat() if self._workspace else None,
            "run_id": self._run_id,
            "engine": self._options.engine,
            "seconds": round(time.monotonic() - self._start, 3),
            "stages": [_without_metadata(report) for report in self._reports.values()],
        }

    def _figures(self, stage: str) -> dict[str, Any]:
        return dict(self._reports[stage].figures) if stage in self._reports else {}

    def _report(
        self,
        answer: dict[str, Any],
        text: str,
        publication: Mapping[str, Any],
        code: int,
        error: Exception | None = None,
    ) -> int:
        if self._root is not None and self._config is not None:
            publish = self._config.publish
            answer = answer | current_facts(publish.root(self._root), publish.name, publication, error)
            if command := next_command(self._names, self._options.workspace, self._config, answer):
                text = f"{text}\nnext     {command}"
            if "publish" in self._names and (line := last_line(answer)):
                text = f"{text}\n{line}"
        if self._options.is_json:
            code = write_answer(answer, code)
        write(sys.stderr, text)
        return code

    def _write_verdict(
        self,
        verdict: str,
        release: str | None,
        reasons: list[str],
        exit_code: int | None = None,
        gate: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Leave the verdict in the date's ``gate.json``; return it, None where there is no place for it yet."""
        date = self._workspace.date if self._workspace else self._options.date
        if self._root is None or date is None:
            return None
        path = run_folder(self._root, date) / "gate.json"
        record = {
            "date": date.isoformat(),
            "verdict": verdict,
            "exit_code": exit_code,
            "reasons": reasons,
            "release": release,
            "run_id": self._run_id,
            **self._release_facts(),
            **{name: gate[name] for name in ("accepted_drift", "gates") if gate},
        }
        try:
            storage.write_json(path, record)
        except OSError as error:
            if exit_code is None or not is_full(error):
                raise
            free_reserve(self._root)  # kept for the last word; a run that can't even start has one too
            storage.write_json(path, record)
        return record

    def _add_report(self, record: dict[str, Any] | None) -> str | None:
        """Write the night's report, and name it in the verdict, which stands before and without it."""
        if record is None or self._workspace is None or self._config is None:
            return None
        place = leave_report(self._config, self._workspace, self._tables, record)
        if place is None:
            return None
        storage.write_json(
            run_folder(self._workspace.root, self._workspace.date) / "gate.json", record | {"report": str(place)}
        )
        return str(place)

    def _release_facts(self) -> dict[str, Any]:
        """Return what a scheduler tells consumers of a release, and whether they have it; nothing without one."""
        figures = self._figures("publish")
        if not figures or self._root is None or self._config is None or self._workspace is None:
            return {}
        place, path, rows = self._config.publish, figures["path"], figures["rows"]
        return {
            "name": place.name,
            "space_id": figures["space_id"],
            "tables": {name: {"path": f"{path}/{name}", "rows": count} for name, count in rows.items()},
            "inputs": input_addresses(self._config, self._workspace, rows, self._tables.get("edges")),
            **current_facts(place.root(self._root), place.name, figures, None),
        }


def _root_that_is_there(address: str) -> Location | None:
    with contextlib.suppress(ConfigError):
        root = folder_of(address)
        return root if not isinstance(root, Path) or root.is_dir() else None
    return None


def _make_publish_root(address: str) -> None:
    try:
        make_root(address)
    except (ConfigError, StorageError) as error:
        raise ConfigError(f"publish.to: {error}") from error


def _without_metadata(report: StageReport) -> dict[str, Any]:
    plain = asdict(report)
    plain["figures"] = {k: v for k, v in plain["figures"].items() if k not in ("metadata", "sums", "metrics")}
    return plain
