"""Tasks on sessions of Spark Connect: one a partition, as many at once as there are slots, described by tags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, GraphquiltError
from pipeline.tasks import Task
from tests.engines import tasks_for_tests as tasks
from tests.processes import free_port

pytestmark = pytest.mark.spark


@pytest.fixture
def session(connect_server: Any) -> Iterator[Any]:
    from jobs.connect_session import connect_session

    with connect_session(connect_server.address, {"spark.sql.shuffle.partitions": "3"}) as session:
        yield session


def test_all_slots_are_used_at_once_and_the_jobs_have_tags(session: Any, connect_server: Any, tmp_path: Path) -> None:
    from pipeline.engines.spark import SparkEngine

    engine = SparkEngine(session)
    assert engine.slots == 2
    # None of them ends before the other has begun.
    work = tmp_path / "_work" / "embed-0123456789abcdef"
    meeting = tasks.make_tasks(tmp_path, 2, others=2)
    todo = [Task(f"round-02-products-0000{ix}", work, one.payload) for ix, one in enumerate(meeting)]
    engine.map_tasks(tasks.meet, todo)
    assert tasks.executions(tmp_path) == {task.name: 1 for task in todo}
    tagged = [job for job in connect_server.jobs() if "embed: round 2 products" in job.get("spark.job.tags", "")]
    assert tagged
    assert session.getTags() == set()


def test_the_option_says_how_many_slots_there_are(session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    assert SparkEngine(session, slots=40).slots == 40


def test_rows_are_placed_by_id(session: Any, spark_session: Any) -> None:
    from pipeline.engines.spark_jobs import place_by_id

    for one in (session, spark_session):
        frame = place_by_id(one.range(60).selectExpr("cast(id % 7 as int) as bucket"), "bucket", 9)
        rows = frame.selectExpr("bucket", "spark_partition_id() as partition").collect()
        assert len(rows) == 60
        assert all(row["bucket"] == row["partition"] for row in rows)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 100, 513])
def test_rows_are_placed_by_id_where_spark_can_only_hash(spark_session: Any, count: int) -> None:
    from pipeline.engines.spark_jobs import place_by_hash

    frame = spark_session.range(2 * count).selectExpr(f"cast(id % {count} as int) as bucket")
    placed = place_by_hash(frame, "bucket", count)
    rows = placed.selectExpr("bucket", "spark_partition_id() as partition").collect()
    assert sorted(row["bucket"] for row in rows) == sorted([*range(count), *range(count)])
    assert all(row["bucket"] == row["partition"] for row in rows)


def test_graphframes_needs_a_spark_context(session: Any) -> None:
    from pipeline.engines.spark import SparkEngine

    with pytest.raises(ConfigError, match="Spark Connect has no SparkContext"):
        SparkEngine(session).open_graph_tables()


def test_settings_are_the_sessions_and_those_of_the_cluster_are_refused(session: Any, connect_server: Any) -> None:
    from jobs.connect_session import connect_session

    assert session.conf.get("spark.sql.shuffle.partitions") == "3"
    refusal = r"--conf spark\.executor\.memory=2g can't be set.*Settings of the cluster are the server's"
    with (
        pytest.raises(ConfigError, match=refusal),
        connect_session(connect_server.address, {"spark.executor.memory": "2g"}),
    ):
        pass


def test_a_server_that_is_not_there_is_named_at_once() -> None:
    from jobs.connect_session import connect_session

    address = f"sc://127.0.0.1:{free_port()}"
    refusal = rf"no Spark Connect server answers at {address} .*refused.*SPARK_REMOTE"
    with pytest.raises(GraphquiltError, match=refusal), connect_session(f"{address}/;token=abc", {}):
        pass
