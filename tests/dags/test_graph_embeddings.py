"""The DAG as declared: its imports, the jobs it names, the day it computes."""

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILE = ROOT / "airflow" / "dags" / "graph_embeddings.py"
# The jobs run in the main environment; this one has Airflow and nothing of ours.
MAIN_PYTHON = Path(os.environ.get("MAIN_PYTHON", ROOT / ".venv" / "bin" / "python"))

pytestmark = [
    pytest.mark.airflow,
    # Airflow's own warnings; what is said of our file is asked for below.
    pytest.mark.filterwarnings("default"),
]


# --- the file -----------------------------------------------------------------------------------------------


def test_the_file_parses_without_errors_or_warnings(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    assert dag_bag.captured_warnings == {}
    assert sorted(dag_bag.dags) == ["graph_embeddings", "ranker_features"]


def test_parsing_looks_nothing_up(dag_bag: Any) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    # What the scheduler pays for every few seconds; heavy imports are the next test's.
    event.listen(Engine, "before_cursor_execute", note)
    try:
        DagBag(DAG_FILE)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert asked == []


def test_the_files_import_airflow_and_what_comes_with_it_only() -> None:
    files = sorted(DAG_FILE.parent.glob("*.py"))
    roots = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").partition(".")[0])
    assert roots - set(sys.stdlib_module_names) - {file.stem for file in files} == {"airflow", "openlineage"}


def test_no_folder_of_ours_hides_the_airflow_package() -> None:
    assert list((ROOT / "airflow").rglob("__init__.py")) == []


def test_it_survives_the_scheduler_s_serialisation(dag: Any, job_names: list[str]) -> None:
    read = as_the_scheduler_reads(dag)
    assert type(read.timetable).__name__ == "CronDataIntervalTimetable"
    assert read.timetable.serialize() == {"expression": "0 2 * * *", "timezone": "UTC"}
    assert (read.catchup, read.max_active_runs) == (False, 1)
    assert read.doc_md.startswith("Embeds the graph **default**")
    assert read.tags == {"graphquilt"}
    tasks = read.task_dict
    assert {task.retries for task in tasks.values()} == {2}
    assert {task.execution_timeout for task in tasks.values()} == {timedelta(hours=12)}
    assert tasks["gate"].trigger_rule == "all_done"
    outlets = {name: [outlet.name for outlet in task.outlets] for name, task in tasks.items()}
    assert outlets == {name: [] for name in job_names} | {"gate": ["default"]}


# --- the tasks ----------------------------------------------------------------------------------------------


def test_the_tasks_are_the_jobs_in_order_and_the_gate(dag: Any, job_names: list[str]) -> None:
    chain = [*job_names, "gate"]
    assert sorted(dag.task_ids) == sorted(chain)
    for before, after in pairwise(chain):
        assert dag.get_task(before).downstream_task_ids == {after}
    assert dag.get_task("gate").downstream_task_ids == set()


def test_tasks_name_job_files_and_arguments_that_their_parser_accepts(dag: Any, job_names: list[str]) -> None:
    home = "{{ var.value.pipeline_home }}"
    for name in job_names:
        assert dag.get_task(name).application == f"{home}/jobs/{name}.py"
        assert (ROOT / "jobs" / f"{name}.py").is_file()

    values = {
        home: str(ROOT),
        "{{ var.value.workspace }}": "some/workspace",
        dag.get_task("gate").date: "2026-05-01",
        "{{ params.wait_s }}": "60",
        "{{ '--accept-drift' if params.accept_drift else '' }}": "--accept-drift",
        "{{ '--force-current' if params.force_current else '' }}": "",
        dag.get_task(job_names[0]).job_run_id: "manual__2026-05-02/ingest/1",
    }
    (arguments,) = {tuple(dag.get_task(name).application_args) for name in job_names}
    arguments = tuple(values.get(argument, argument.replace(home, str(ROOT))) for argument in arguments)
    assert not any("{{" in argument for argument in arguments)

    code = (
        "import json, sys; from jobs.arguments import options_of, stage_parser; "
        "options = options_of(stage_parser('spark').parse_args([word for word in sys.argv[1:] if word])); "
        "print(json.dumps([str(options.config), str(options.workspace), str(options.date), options.run_id, "
        "options.wait_s, options.accept_drift, options.force_current]))"
    )
    done = subprocess.run([MAIN_PYTHON, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place = [f"{ROOT}/config.toml", "some/workspace", "2026-05-01"]
    assert json.loads(done.stdout) == [*place, "manual__2026-05-02/ingest/1", 60.0, True, False]


def test_the_page_s_connections_reach_the_masters_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    page = (ROOT / "docs" / "how-to" / "airflow.md").read_text(encoding="utf-8")
    masters = []
    for connection in re.findall(r"export AIRFLOW_CONN_SPARK_DEFAULT='(.*)'", page):
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", connection)
        masters.append(SparkSubmitHook()._connection["master"])
    assert masters == ["local[2]", "spark://master:7077", "yarn"]


# --- the day ------------------------------------------------------------------------------------------------


def test_a_scheduled_run_computes_the_day_that_has_ended(dag: Any) -> None:
    from airflow.sdk.timezone import coerce_datetime
    from airflow.timetables.base import DataInterval, TimeRestriction

    run = as_the_scheduler_reads(dag).timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(
            start=coerce_datetime(datetime(2026, 4, 30, 2, tzinfo=UTC)),
            end=coerce_datetime(datetime(2026, 5, 1, 2, tzinfo=UTC)),
        ),
        restriction=TimeRestriction(earliest=None, latest=None, catchup=True),
    )
    assert run.run_after == datetime(2026, 5, 2, 2, tzinfo=UTC)
    assert rendered_date(dag, data_interval_start=run.data_interval.start) == "2026-05-01"


def test_a_date_given_by_hand_wins_over_the_interval(dag: Any) -> None:
    start = datetime(2026, 5, 1, 2, tzinfo=UTC)
    assert rendered_date(dag, date="2025-12-31", data_interval_start=start) == "2025-12-31"


def test_a_run_by_hand_without_an_interval_computes_the_day_before_it_was_made(dag: Any) -> None:
    run_after = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    assert rendered_date(dag, dag_run=SimpleNamespace(run_after=run_after)) == "2026-02-28"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        *(("date", value) for value in ("yesterday", "2026-02-30", 20260501)),
        *(("wait_s", value) for value in (-1, 10**6, "1")),
        *((flag, value) for flag in ("accept_drift", "force_current") for value in ("no", 1)),
    ],
)
def test_a_param_out_of_bounds_is_refused_before_anything_runs(dag: Any, param: str, value: object) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        dag.params.get_param(param).resolve(value)


# --- means --------------------------------------------------------------------------------------------------


def as_the_scheduler_reads(dag: Any) -> Any:
    """The DAG after a round trip through the text that Airflow keeps of it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def rendered_date(dag: Any, date: str | None = None, **context: Any) -> str:
    """The argument of --date, rendered by Airflow with what a task would see."""
    from airflow.sdk.execution_time import macros

    gate = dag.get_task("gate")
    context = {"params": {"date": date}, "macros": macros, **context}
    rendered: str = gate.render_template(gate.date, context, gate.get_template_env())
    return rendered
