"""The nightly DAG of each graph: its stages by spark-submit, and a gate that says whether readers got a table.

Parsed every few seconds, so it only declares. What there is to set: graphs.toml; how to run it: docs/how-to/airflow.md.
"""

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, chain
from airflow.sdk.module_loading import import_string
from graphquilt_graphs import Graph, read_graphs
from graphquilt_tasks import Gate, SparkJob

# The day that has ended when a run starts. A run triggered by hand may have no data interval; its
# run_after is fixed when it is created, so that a retry after midnight still computes the same day.
DATE = (
    "{{ params.date or ((data_interval_start if data_interval_start is defined"
    " else dag_run.run_after - macros.timedelta(days=1)) | ds) }}"
)
FLAGS = [
    "{{ '--accept-drift' if params.accept_drift else '' }}",
    "{{ '--force-current' if params.force_current else '' }}",
]
PARAMS = {
    "date": Param(
        None, type=["null", "string"], format="date", description="Day of the data (default: the one that has ended)"
    ),
    "wait_s": Param(0, type="integer", minimum=0, maximum=7200, description="Seconds to wait for another run's lock"),
    "accept_drift": Param(
        False, type="boolean", description="Publish what the gates refuse: the data are right, and did change so much"
    ),
    "force_current": Param(False, type="boolean", description="Let readers have this day, even after a later one"),
}
DOC = """\
Embeds the graph **{name}** every night and publishes its tables in `{workspace}`.

Green `gate`: this run's release is whole. Consumers run on the assets `{name}/node_embeddings`, `{name}/ppr_neighbors`,
`{name}/fold_in`, which change when readers get a new release; `extra` holds release, date, space_id, rows and path.

Red: the log of `gate` has the reason; readers keep the last release. Clearing any task is safe, it resumes. To publish
what a gate refused, trigger with `accept_drift`. Older days are added, and readers keep the newest.
"""


def nightly_dag(graph: Graph) -> DAG:
    """Return the DAG of a graph."""
    place = {"workspace": graph.workspace, "date": DATE, "storage_conn_id": graph.storage_conn_id}
    with DAG(
        dag_id=graph.dag_id,
        description=f"Embeds the graph {graph.name}, one release a night",
        doc_md=DOC.format(name=graph.name, workspace=graph.workspace),
        tags=graph.tags,
        # Not "@daily": there, ds is the day that is just starting, and its table would be almost empty.
        schedule=CronDataIntervalTimetable(graph.schedule, timezone="UTC") if graph.schedule else None,
        start_date=datetime.combine(graph.start, time(), UTC),
        catchup=False,
        max_active_runs=1,  # two runs would publish in an unknown order
        default_args={
            "owner": graph.owner,
            "pool": graph.pool,
            "execution_timeout": timedelta(hours=graph.timeout_hours),
            "retries": graph.retries,
            "retry_delay": timedelta(minutes=graph.retry_minutes),
        },
        params=PARAMS,
    ) as dag:
        jobs = [
            SparkJob(
                task_id=job,
                name=f"graphquilt-{graph.name}-{job}",
                application=f"{graph.home}/jobs/{job}.py",
                arguments=["--config", graph.config, "--wait", "{{ params.wait_s }}", *FLAGS],
                conn_id=graph.spark_conn_id,
                # A retry resumes from the records on storage, and a durable task refuses YARN's cluster mode.
                durable=False,
                **place,
            )
            for job in graph.jobs
        ]
        gate = Gate(
            task_id="gate",
            graph=graph.name,
            jobs=graph.jobs,
            trigger_rule="all_done",  # it says what became of the night, whatever did
            retry_delay=timedelta(minutes=1),  # of a store that doesn't answer; a verdict is final
            on_failure_callback=import_string(graph.on_failure) if graph.on_failure else None,
            **place,
        )
        chain(*jobs, gate)
    return dag


for graph in read_graphs():
    globals()[graph.dag_id] = nightly_dag(graph)
