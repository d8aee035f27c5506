"""The nightly graph of tasks: eight spark-submit stages, and a gate that says whether a table was published.

Parsed every few seconds by the scheduler, so it only declares. Variables and connection: docs/how-to/airflow.md.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param, chain, task
from airflow.sdk.exceptions import AirflowFailException

STAGES = ("ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish")
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
    path = Path(workspace) / "runs" / date / "gate.json"
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
    states = context["ti"].get_task_states(context["dag"].dag_id, task_ids=list(STAGES), run_ids=[run])[run]
    for stage in STAGES:
        if states.get(stage) != "success":
            raise AirflowFailException(
                f"{stage} is '{states.get(stage)}', so {path} is an earlier run's. See the log of {stage}, "
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
            task_id=stage,
            name=f"graphquilt-{stage}",
            application=f"{HOME}/jobs/{stage}.py",
            application_args=["--config", f"{HOME}/config.toml", "--workspace", WORKSPACE, "--date", DATE],
            # A retry resumes from the records on storage, and a durable task refuses YARN's cluster mode.
            durable=False,
            retries=0 if stage == "publish" else 2,  # a refusal repeated is still a refusal
            retry_delay=timedelta(minutes=10),
            outlets=[NODE_EMBEDDINGS] if stage == "publish" else [],
        )
        for stage in STAGES
    ]
    chain(*jobs, verdict_of_gate(WORKSPACE, DATE))
