"""A consumer's DAG: features for a ranker, as soon as readers get new vectors. Copy it, and change what it exports.

It runs on the asset of a published table, not at an hour and not on the DAG that makes the table. Its variables are in
docs/how-to/airflow.md.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, Variable, task
from airflow.sdk.exceptions import AirflowFailException

VECTORS = Asset("default/node_embeddings")


@task(task_id="release", inlets=[VECTORS])
def release_of_event(triggering_asset_events: Any = None) -> str:
    """Return the folder of the release that started this run, not of whatever is current by now.

    Raises
    ------
    AirflowFailException : its vectors are of another space than those that the ranker was trained with.
    """
    event = triggering_asset_events[VECTORS][-1].extra
    own_space = Variable.get("ranker_space_id", default=event["space_id"])
    if own_space != event["space_id"]:
        raise AirflowFailException(
            f"release {event['release']} has vectors of space {event['space_id']}, and the ranker knows {own_space}: "
            "train it with these, and set the variable ranker_space_id"
        )
    return str(event["path"]).rpartition("/")[0]


with DAG(
    dag_id="ranker_features",
    description="Exports features for a ranker from each new release",
    doc_md=__doc__,
    tags=["graphquilt", "ranking"],
    schedule=[VECTORS],
    start_date=datetime(2024, 6, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(hours=2)},
) as dag:
    BashOperator(
        task_id="features",
        bash_command='"$GRAPHQUILT" export --workspace "$RELEASE" --format feast --out "$FEATURES"',
        env={
            "GRAPHQUILT": "{{ var.value.get('graphquilt_command', 'graphquilt') }}",
            "RELEASE": release_of_event(),
            "FEATURES": "{{ var.value.ranker_features }}",
        },
        append_env=True,
    )
