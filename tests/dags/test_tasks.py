"""What a job's task and the gate make of gate.json: exit codes, tries, other runs, and who is told."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("default")]

RUN = "scheduled__2026-05-01"
START = datetime(2026, 5, 2, 2, 0, 0, 500_000, tzinfo=UTC)
PUBLISHED = {
    "date": "2026-05-01",
    "verdict": "published",
    "exit_code": 0,
    "reasons": [],
    "release": "2026-05-01-0123456789ab",
    "run_id": f"{RUN}/publish/1",
    "space_id": "s",
    "tables": {
        "node_embeddings": {"path": "/p/node_embeddings", "rows": 7},
        "fold_in": {"path": "/p/fold_in", "rows": 2},
    },
    "current": {"release": "2026-05-01-0123456789ab", "at": "2026-05-02T02:30:00+00:00"},
    "current_moved": True,
    "current_reason": None,
}
REFUSED = {
    **PUBLISHED,
    "verdict": "refused",
    "exit_code": 3,
    "reasons": ["recall@20 is 0.11; at least 0.15 is wanted"],
    "release": None,
}


# --- a job --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "spark_submit", "outcome", "said"),
    [
        # The job's own word, whatever spark-submit says.
        ({"verdict": "done", "exit_code": 0}, None, None, ""),
        ({"verdict": "failed", "exit_code": 2}, 2, "final", "exit code 2: why"),
        ({"verdict": "refused", "exit_code": 3}, None, "final", "exit code 3: why"),
        ({"verdict": "failed", "exit_code": 4}, 1, "final", "exit code 4: why"),
        ({"verdict": "failed", "exit_code": 1}, 1, "retry", "exit code 1: why"),
        ({"verdict": "failed", "exit_code": 1}, None, "retry", "exit code 1: why"),
        ({"verdict": "done", "exit_code": 0}, 1, "retry", "is 'done'"),
        # No last word: it began, and was lost.
        ({"verdict": "running", "exit_code": None}, None, "retry", "no last word: spark-submit says that all is well"),
        ({"verdict": "running", "exit_code": None}, 137, "retry", "no last word: Cannot execute"),
        # Another try's or another run's, or none at all: spark-submit's code is all there is.
        ({"verdict": "failed", "exit_code": 4, "run_id": f"{RUN}/ingest/1"}, 1, "retry", "no last word"),
        ({"verdict": "published", "exit_code": 0, "run_id": "other/ingest/2"}, None, "retry", "no last word"),
        (None, None, "retry", "no last word"),
        (None, 2, "final", "no last word: Cannot execute: spark-submit. Error code is: 2."),
    ],
)
def test_a_job_ends_as_it_said_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gate: Any, spark_submit: int | None, outcome: str | None, said: str
) -> None:
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    def submit(self: Any, _context: Any) -> None:
        assert self.application_args[:2] == ["--config", "c"]  # and no empty flag
        if gate is not None:
            write(tmp_path, {"run_id": f"{RUN}/ingest/2", "reasons": ["why"], **gate})
        if spark_submit is not None:
            raise AirflowException(f"Cannot execute: spark-submit. Error code is: {spark_submit}.")

    monkeypatch.setattr(SparkSubmitOperator, "execute", submit)
    job = new_job(tmp_path)
    if outcome is None:
        job.execute({})
        return
    with pytest.raises(AirflowException, match=said) as caught:
        job.execute({})
    assert isinstance(caught.value, AirflowFailException) == (outcome == "final")


def test_on_kubernetes_the_driver_s_code_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    def submit(_self: Any, _context: Any) -> None:
        raise AirflowException("Cannot execute: x. Error code is: 0. Kubernetes spark exit code is: 2")

    monkeypatch.setattr(SparkSubmitOperator, "execute", submit)
    with pytest.raises(AirflowFailException):
        new_job(tmp_path).execute({})


# --- the gate -----------------------------------------------------------------------------------------------


def test_a_published_release_is_told_to_the_consumers_of_each_table(tmp_path: Path) -> None:
    facts, events = judged(tmp_path, {**PUBLISHED, "report": "/p/report.html"})
    assert (facts["release"], facts["report"]) == ("2026-05-01-0123456789ab", "/p/report.html")
    common = {"release": "2026-05-01-0123456789ab", "date": "2026-05-01", "space_id": "s"}
    assert events == {
        f"shop/{table}": {**common, **about}
        for table, about in PUBLISHED["tables"].items()  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({"verdict": "added", "current": {"release": "later", "at": "2026-05-02T02:30:00+00:00"}}, False),
        ({"verdict": "unchanged", "current": {**PUBLISHED["current"], "at": "2026-05-02T01:59:59+00:00"}}, False),  # type: ignore[dict-item]
        # An earlier try of this run moved CURRENT, and died before it could say so.
        ({"verdict": "unchanged"}, True),
        ({"verdict": "unchanged", "current": {**PUBLISHED["current"], "at": "2026-05-02T02:00:00+00:00"}}, True),  # type: ignore[dict-item]
        ({"verdict": "unchanged", "current": {"release": PUBLISHED["release"], "at": None}}, False),
        ({"verdict": "unchanged", "current": None}, False),
    ],
)
def test_consumers_are_told_only_if_current_moved_in_this_run(
    tmp_path: Path, changes: dict[str, Any], is_told: bool
) -> None:
    facts, events = judged(tmp_path, {**PUBLISHED, "current_moved": False, **changes})
    assert facts["release"] == "2026-05-01-0123456789ab"
    assert bool(events) == is_told


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (REFUSED, r"2026-05-01 is 'refused', exit code 3: recall@20 is 0\.11; at least 0\.15"),
        ({**REFUSED, "report": "/r.html"}, r"is wanted \(report: /r\.html\)"),
        ({**REFUSED, "verdict": "failed", "exit_code": 4, "reasons": []}, "exit code 4: no reason given"),
        # A stage that passed, and then a publish that left nothing.
        ({**PUBLISHED, "verdict": "done", "release": None}, "is 'done'"),
        ({**PUBLISHED, "verdict": "running", "exit_code": None}, "is 'running', exit code None"),
        ({**PUBLISHED, "run_id": "scheduled__2026-05-01T02/publish/1"}, "is of another run, scheduled__2026-05-01T02"),
        ({}, "is of another run, None"),
    ],
)
def test_the_gate_fails_with_the_reason_that_it_finds(tmp_path: Path, gate: dict[str, Any], said: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=said):
        judged(tmp_path, gate)


@pytest.mark.parametrize("state", ["failed", "upstream_failed", None])
@pytest.mark.parametrize("job", ["ingest", "publish"])
def test_an_earlier_try_s_pass_does_not_hide_a_job_that_died(tmp_path: Path, job: str, state: str | None) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=f"{job} is '{state}' without a last word"):
        judged(tmp_path, PUBLISHED, **{job: state})
    with pytest.raises(AirflowFailException, match=rf"gate\.json is missing.*See the log of {job}"):
        judged(tmp_path / "other", None, **{job: state})


def test_a_torn_verdict_is_not_a_pass(tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    path = tmp_path / "runs" / "2026-05-01" / "gate.json"
    path.parent.mkdir(parents=True)
    torn = {b'{"verdict": "publi': "is not JSON", b"\xff\0": "is not JSON", b"[]": "no JSON object"}
    for content, said in torn.items():
        path.write_bytes(content)
        with pytest.raises(AirflowFailException, match=said):
            judged(tmp_path, None)
    path.unlink()
    path.mkdir()
    with pytest.raises(AirflowFailException, match="can't be read: Is a directory"):
        judged(tmp_path, None)


def test_the_verdict_may_lie_in_an_object_store() -> None:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.exceptions import AirflowFailException

    workspace = ObjectStoragePath("memory://lake/graphquilt")  # a store of fsspec, as s3fs brings another
    with pytest.raises(AirflowFailException, match=r"gate\.json is missing"):
        judged(workspace, None)
    assert judged(workspace, PUBLISHED)[0]["release"] == "2026-05-01-0123456789ab"
    (workspace / "runs" / "2026-05-01" / "gate.json").unlink()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://lake/a/b", ("s3://lake", "a/b")),
        ("/data/a", ("file", "/data/a")),
        ("file:///data/a", ("file", "/data/a")),
    ],
)
def test_tables_have_the_names_of_openlineage(address: str, place: tuple[str, str]) -> None:
    from graphquilt_tasks import split_address

    assert split_address(address) == place


# --- means --------------------------------------------------------------------------------------------------


def new_job(workspace: Path) -> Any:
    """Return a job's task as it is once its templates are rendered, in its second try."""
    from graphquilt_tasks import SparkJob

    place = {"workspace": str(workspace), "date": "2026-05-01"}
    job = SparkJob(task_id="ingest", application="a", arguments=["--config", "c"], durable=False, **place)
    job.job_run_id = f"{RUN}/ingest/2"
    job.application_args = ["", "--config", "c", ""]
    return job


def write(workspace: Any, gate: dict[str, Any]) -> None:
    path = workspace / "runs" / "2026-05-01" / "gate.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(gate))


def judged(workspace: Any, gate: dict[str, Any] | None, **states: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the gate returns and emits in a run whose jobs ended in these states (else "success")."""
    from graphquilt_tasks import Gate

    if gate is not None:
        write(workspace, gate)
    jobs = ["ingest", "publish"]
    ended = {**dict.fromkeys(jobs, "success"), **states}

    def get_task_states(dag_id: str, *, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, task_ids) == ("a_dag", jobs)
        return {run: {name: ended[name] for name in task_ids if ended[name]} for run in run_ids}

    task = Gate(
        task_id="gate", graph="shop", workspace=str(workspace), date="2026-05-01", jobs=jobs, storage_conn_id=None
    )
    events: dict[str, Any] = {}
    told = SimpleNamespace(add=lambda asset, extra: events.update({asset.name: extra}))
    facts = task.execute(
        {
            "run_id": RUN,
            "dag_run": SimpleNamespace(start_date=START),
            "ti": SimpleNamespace(dag_id="a_dag", get_task_states=get_task_states),
            "outlet_events": {task.outlets[0]: told},
        }
    )
    return facts, events
