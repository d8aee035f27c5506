"""Carrying tasks: once each, at the same time, errors as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, TaskError
from pipeline.kernels.threads import use_threads
from pipeline.tasks import Task, read_records
from tests.engines import tasks_for_tests as tasks


@pytest.fixture(scope="module")
def dask_engine() -> Iterator[Any]:
    from pipeline.engines.local import LocalEngine

    with LocalEngine(workers=2) as engine:
        yield engine


ON_SPARK = [pytest.param(kind, marks=pytest.mark.spark) for kind in ("spark", "connect")]


@pytest.fixture(params=["local", "dask", *ON_SPARK])
def carrier(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Everything that carries tasks: in process, Dask workers, Spark, Spark Connect."""
    if request.param == "dask":
        yield request.getfixturevalue("dask_engine")
    elif request.param == "local":
        from pipeline.engines.local import LocalEngine

        yield LocalEngine()
    else:
        from jobs.connect_session import connect_session
        from pipeline.engines.spark import SparkEngine

        if request.param == "spark":
            yield SparkEngine(request.getfixturevalue("spark_session"))
            return
        with connect_session(request.getfixturevalue("connect_server").address, {}) as session:
            yield SparkEngine(session)


def test_each_task_runs_once_and_records_come_in_order(carrier: Any, tmp_path: Path) -> None:
    todo = tasks.make_tasks(tmp_path, 50)  # many more than slots
    records = carrier.map_tasks(tasks.double, todo)
    assert [record.task for record in records] == [task.name for task in todo]
    assert [record.result["double"] for record in records] == [2 * ix for ix in range(50)]
    assert tasks.executions(tmp_path) == {task.name: 1 for task in todo}
    assert [record.file("rows").read_text() for record in records] == [str(2 * ix) for ix in range(50)]
    assert {record.task: record for record in read_records(tmp_path / "place").values()} == {
        record.task: record for record in records
    }


def test_no_tasks_are_no_work(carrier: Any) -> None:
    assert carrier.map_tasks(tasks.double, []) == []


@pytest.mark.parametrize("count", [1, 3])
def test_our_errors_arrive_as_they_are_after_one_try(carrier: Any, tmp_path: Path, count: int) -> None:
    with pytest.raises(InputError) as caught:
        carrier.map_tasks(tasks.bad_data, tasks.make_tasks(tmp_path, count))
    assert str(caught.value) in {f"bad row in t{ix}: 'ä\n2nd line'" for ix in range(count)}
    assert set(tasks.executions(tmp_path).values()) == {1}


@pytest.mark.parametrize("count", [1, 3])
def test_foreign_errors_name_task_and_worker(carrier: Any, tmp_path: Path, count: int) -> None:
    told = r"task t\d failed on .+:\d+ with KeyError: 'no such key in t\d'"
    with pytest.raises(TaskError, match=told) as caught:
        carrier.map_tasks(tasks.bug, tasks.make_tasks(tmp_path, count))
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError) or "KeyError" in str(cause)  # Spark's own error carries the text only


def test_an_error_that_can_not_travel_is_still_told(carrier: Any, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task t0 failed .*left right"):
        carrier.map_tasks(tasks.raise_unpicklable, tasks.make_tasks(tmp_path, 1))


def test_work_goes_on_after_an_error(carrier: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        carrier.map_tasks(tasks.bad_data, tasks.make_tasks(tmp_path / "bad", 4))
    assert len(carrier.map_tasks(tasks.double, tasks.make_tasks(tmp_path / "good", 4))) == 4


def test_tasks_have_one_thread(carrier: Any, tmp_path: Path) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    for record in carrier.map_tasks(tasks.threads, tasks.make_tasks(tmp_path, 2)):
        assert set(record.result["threads"]) == {1}
        assert record.result["omp"] == "1"
        if carrier.slots > 1:  # in this process Polars serves tables, too
            assert record.result["polars"] == 1
        assert record.result["of_rows"] == 1
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_tasks_share_rows_out_to_the_threads_that_the_run_asks_for(carrier: Any, tmp_path: Path) -> None:
    use_threads(3)
    try:
        records = carrier.map_tasks(tasks.threads, tasks.make_tasks(tmp_path, 2))
    finally:
        use_threads(1)
    assert [record.result["of_rows"] for record in records] == [3, 3]
    assert {pool for record in records for pool in record.result["threads"]} == {1}  # BLAS keeps its one


def test_all_slots_carry_tasks_at_once(carrier: Any, tmp_path: Path) -> None:
    # None of them ends before all have begun.
    carrier.map_tasks(tasks.meet, tasks.make_tasks(tmp_path, carrier.slots, others=carrier.slots))
    assert tasks.executions(tmp_path) == {f"t{ix}": 1 for ix in range(carrier.slots)}


def test_names_of_tasks_are_theirs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task name"):
        Task("a/b", tmp_path, {})
