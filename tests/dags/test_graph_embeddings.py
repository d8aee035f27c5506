"""The DAG as declared: its imports, the jobs it names, the day it computes, what its gate lets through."""

import ast
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
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
    assert list(dag_bag.dags) == ["graph_embeddings"]


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


def test_the_file_imports_airflow_and_the_standard_library_only() -> None:
    roots = set()
    for node in ast.walk(ast.parse(DAG_FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").partition(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"airflow"}


def test_no_folder_of_ours_hides_the_airflow_package() -> None:
    assert list((ROOT / "airflow").rglob("__init__.py")) == []


def test_an_unknown_mode_is_an_import_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("GRAPHQUILT_DAG_MODE", "nightly")
    (error,) = DagBag(DAG_FILE).import_errors.values()
    assert "GRAPHQUILT_DAG_MODE is 'nightly': choose one of ['night', 'stages']" in error


def test_it_survives_the_scheduler_s_serialisation(dag: Any, job_names: list[str]) -> None:
    read = as_the_scheduler_reads(dag)
    assert type(read.timetable).__name__ == "CronDataIntervalTimetable"
    assert read.timetable.serialize() == {"expression": "0 2 * * *", "timezone": "UTC"}
    assert (read.catchup, read.max_active_runs) == (False, 1)
    assert {name: task.retries for name, task in read.task_dict.items()} == {
        name: 0 if name in ("publish", "gate") else 2 for name in [*job_names, "gate"]
    }
    assert read.task_dict["gate"].trigger_rule == "all_done"
    outlets = {name: [asset.name for asset in task.outlets] for name, task in read.task_dict.items()}
    assert outlets == {name: [] for name in [*job_names, "gate"]} | {job_names[-1]: ["node_embeddings"]}


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
        dag_file(dag).DATE: "2026-05-01",
    }
    (arguments,) = {tuple(dag.get_task(name).application_args) for name in job_names}
    for template, value in values.items():
        arguments = tuple(argument.replace(template, value) for argument in arguments)
    assert not any("{{" in argument for argument in arguments)

    code = (
        "import json, sys; from jobs.arguments import options_of, stage_parser; "
        "options = options_of(stage_parser('spark').parse_args(sys.argv[1:])); "
        "print(json.dumps([str(options.config), str(options.workspace), str(options.date)]))"
    )
    done = subprocess.run([MAIN_PYTHON, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [f"{ROOT}/config.toml", "some/workspace", "2026-05-01"]


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


@pytest.mark.parametrize("date", ["yesterday", "2026-02-30", 20260501])
def test_a_date_that_is_none_is_refused_before_anything_runs(dag: Any, date: object) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        dag.params.get_param("date").resolve(date)


# --- the gate -----------------------------------------------------------------------------------------------

PUBLISHED = {
    "date": "2026-05-01",
    "verdict": "published",
    "exit_code": 0,
    "reasons": [],
    "release": "2026-05-01-0123456789ab",
    "run_id": "r",
}
REFUSED = {
    **PUBLISHED,
    "verdict": "refused",
    "exit_code": 3,
    "reasons": ["recall@20 is 0.11; at least 0.15 is wanted"],
    "release": None,
}


def test_the_gate_returns_the_published_release(dag: Any, tmp_path: Path) -> None:
    assert judged(dag, tmp_path, PUBLISHED) == "2026-05-01-0123456789ab"
    assert judged(dag, tmp_path, {**PUBLISHED, "verdict": "unchanged"}) == "2026-05-01-0123456789ab"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (REFUSED, r"2026-05-01: the verdict is 'refused', exit code 3: recall@20 is 0\.11; at least 0\.15"),
        ({**REFUSED, "verdict": "failed", "exit_code": 4, "reasons": []}, "exit code 4: no reason given"),
        # A stage that passed, and then a publish that never ended.
        ({**PUBLISHED, "verdict": "done", "release": None}, "verdict is 'done'"),
        ({**PUBLISHED, "verdict": "running", "exit_code": None}, "verdict is 'running', exit code None"),
        ({}, "exit code None"),
    ],
)
def test_the_gate_fails_with_the_reason_that_it_finds(
    dag: Any, tmp_path: Path, gate: dict[str, Any], said: str
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=said):
        judged(dag, tmp_path, gate)


def test_a_missing_or_torn_verdict_is_not_a_pass(dag: Any, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=r"gate\.json is missing"):
        judged(dag, tmp_path, None)
    path = tmp_path / "runs" / "2026-05-01" / "gate.json"
    path.parent.mkdir(parents=True)
    torn = {b'{"verdict": "publi': "is not JSON", b"\xff\0": "is not JSON", b"[]": "no JSON object"}
    for content, said in torn.items():
        path.write_bytes(content)
        with pytest.raises(AirflowFailException, match=said):
            judged(dag, tmp_path, None)
    path.unlink()
    path.mkdir()
    with pytest.raises(AirflowFailException, match="can't be read: Is a directory"):
        judged(dag, tmp_path, None)


def test_the_verdict_may_lie_in_an_object_store(dag: Any) -> None:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.exceptions import AirflowFailException

    workspace = ObjectStoragePath("memory://lake/graphquilt")  # a store of fsspec, as s3fs brings another
    with pytest.raises(AirflowFailException, match=r"memory://lake/graphquilt/runs/2026-05-01/gate\.json is missing"):
        judged(dag, workspace, None)
    assert judged(dag, workspace, PUBLISHED) == "2026-05-01-0123456789ab"
    (workspace / "runs" / "2026-05-01" / "gate.json").unlink()


@pytest.mark.parametrize("state", ["failed", "upstream_failed", None])
def test_an_earlier_run_s_pass_does_not_hide_a_job_that_died(
    dag: Any, job_names: list[str], tmp_path: Path, state: str | None
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    for name in job_names:
        with pytest.raises(AirflowFailException, match=f"{name} is '{state}'.*an earlier run's"):
            judged(dag, tmp_path, PUBLISHED, **{name: state})


# --- means --------------------------------------------------------------------------------------------------


def dag_file(dag: Any) -> Any:
    """The module that the DAG came from, for its constants."""
    return sys.modules[dag.get_task("gate").python_callable.__module__]


def as_the_scheduler_reads(dag: Any) -> Any:
    """The DAG after a round trip through the text that Airflow keeps of it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


def rendered_date(dag: Any, date: str | None = None, **context: Any) -> str:
    """The argument of --date, rendered by Airflow with what a task would see."""
    from airflow.sdk.execution_time import macros

    task = next(task for task in dag.tasks if task.task_id != "gate")
    template = task.application_args[task.application_args.index("--date") + 1]
    context = {"params": {"date": date}, "macros": macros, **context}
    rendered: str = task.render_template(template, context, task.get_template_env())
    return rendered


def judged(dag: Any, workspace: Any, gate: dict[str, Any] | None, **states: str | None) -> str:
    """What the gate says of a gate.json in a run whose jobs ended in these states (else "success")."""
    if gate is not None:
        path = workspace / "runs" / "2026-05-01" / "gate.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(gate))
    ended = {**{task.task_id: "success" for task in dag.tasks if task.task_id != "gate"}, **states}

    def get_task_states(dag_id: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        assert dag_id == "graph_embeddings"
        return {run: {name: ended[name] for name in task_ids if ended[name]} for run in run_ids}

    verdict: str = dag.get_task("gate").python_callable(
        str(workspace),
        "2026-05-01",
        run_id="this run",
        dag=dag,
        ti=SimpleNamespace(get_task_states=get_task_states),
    )
    return verdict
