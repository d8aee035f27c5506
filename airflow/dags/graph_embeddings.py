"""The nightly graph of tasks: eight spark-submit stages, and a gate that says whether a table was published.

In mode "night" one spark-submit runs all stages in one session. Parsed every few seconds by the scheduler, so it only
declares. Variables, connection and mode: docs/how-to/airflow.md.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, ObjectStoragePath, Param, chain, task
from airflow.sdk.exceptions import AirflowFailException

STAGES = ("ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish")
MODES = {"stages": STAGES, "night": ("run",)}
# From the environment, since an Airflow variable would be looked up each time that this file is parsed.
MODE = os.environ.get("GRAPHQUILT_DAG_MODE", "stages")
if MODE not in MODES:
    raise ValueError(f"GRAPHQUILT_DAG_MODE is '{MODE}': choose one of {sorted(MODES)}, or unset it")
JOBS = MODES[MODE]  # files in jobs/, in order; the last one publishes
NODE_EMBEDDINGS = Asset("node_embeddings")  # rankers schedule on this, not on our dag_id

HOME = "{{ var.value.pipeline_home }}"  # a template: read when a task runs, not when parsed
WORKSPACE = "{{ var.value.workspace }}"  # one for all days: a night builds on the last release
# The day that has ended when a run starts. A run triggered by hand may have no data interval; its
# run_after is fixed when it is created, so that a retry after midnight still computes the same day.
DATE = (
    "{{ params.date or ((data_interval_start if data_interval_start is defined"
    " else dag_run.run_after - macros.timedelta(days=1)) | ds) }}"
)


@task(task_id="gate", trigger_rule="all_done", retries=0)
def verdict_of_gate(workspace: str, date: str, **context: Any) -> str:
    """Return the published release, or fail the run with the reason that the jobs left in gate.json.

    Needed beside the stages' own states: in cluster mode spark-submit does not hand back a job's exit
    code, and with ``all_done`` a run would be green whatever happened before its last task.

    Raises
    ------
    AirflowFailException : a stage did not succeed; no verdict; or the verdict is not a pass.
    """
    path = ObjectStoragePath(workspace) / "runs" / date / "gate.json"  # a folder, or what a provider adds: s3://
    try:
        gate = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AirflowFailException(
            f"nothing was published for {date}: {path} is missing, so no stage came to an end. "
            "See the log of the first task that is not green"
        ) from None
    except OSError as error:  # a retry reads no better; Airflow's worker may be another user than the jobs
        raise AirflowFailException(f"nothing is known about {date}: {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise AirflowFailException(f"nothing is known about {date}: {path} is not JSON: {error}") from error
    if not isinstance(gate, dict):
        raise AirflowFailException(f"nothing is known about {date}: {path} holds no JSON object")

    # A stage that passed leaves exit code 0 as well, but only publish names a release.
    if gate.get("exit_code") != 0 or not gate.get("release"):
        raise AirflowFailException(
            f"nothing was published for {date}: the verdict is '{gate.get('verdict')}', exit code "
            f"{gate.get('exit_code')}: {'; '.join(gate.get('reasons') or ['no reason given'])}"
        )

    # gate.json may be an earlier run's of the same date, if a stage died without a last word.
    run = context["run_id"]
    states = context["ti"].get_task_states(context["dag"].dag_id, task_ids=list(JOBS), run_ids=[run])[run]
    for job in JOBS:
        if states.get(job) != "success":
            raise AirflowFailException(
                f"{job} is '{states.get(job)}', so {path} is an earlier run's. See the log of {job}, "
                "then clear it: it resumes where it stopped"
            )
    return gate["release"]


with DAG(
    dag_id="graph_embeddings",
    # Not "@daily": there, ds is the day that is just starting, and its table would be almost empty.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=datetime(2024, 6, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would publish in an unknown order
    params={"date": Param(None, type=["null", "string"], format="date")},
) as dag:
    jobs = [
        SparkSubmitOperator(
            task_id=job,
            name=f"graphquilt-{job}",
            application=f"{HOME}/jobs/{job}.py",
            application_args=["--config", f"{HOME}/config.toml", "--workspace", WORKSPACE, "--date", DATE],
            # A retry resumes from the records on storage, and a durable task refuses YARN's cluster mode.
            durable=False,
            # A refusal repeated is still a refusal; but `run` has seven stages more that a lost worker may end.
            retries=0 if job == "publish" else 2,
            retry_delay=timedelta(minutes=10),
            outlets=[NODE_EMBEDDINGS] if job == JOBS[-1] else [],
        )
        for job in JOBS
    ]
    chain(*jobs, verdict_of_gate(WORKSPACE, DATE))
