"""One machine without a JVM: Polars for tables; tasks in this process, or on Dask workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import pyarrow as pa

from pipeline.engines.attempts import WorkerSettings, attempt
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.errors import ConfigError, GraphquiltError, TaskError
from pipeline.locations import Location
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, payload_type

if TYPE_CHECKING:
    from distributed import Client
    from polars import LazyFrame


class LocalEngine(AbstractContextManager["LocalEngine"]):
    """Tasks in this process (``workers == 1``), or on Dask workers with a thread each.

    Parameters
    ----------
    workers : tasks that run at once. Worker processes start with the first call that has several tasks, and
        end with this object's context or with this process, however it ends.
    dask_address : scheduler of a Dask cluster whose machines mount the workspace at the same path; its own
        workers then carry the tasks, and ``workers`` is not used.

    Polars uses all cores, or ``POLARS_MAX_THREADS``.
    """

    name = "local"

    def __init__(self, workers: int = 1, dask_address: str | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; at least 1 is needed")
        self._workers = workers
        self._address = dask_address
        self._open = ExitStack()
        self._client: Client | None = None

    def __exit__(self, *error: object) -> None:
        self._client = None
        self._open.close()

    @property
    def slots(self) -> int:
        """Tasks that run at once: of a Dask cluster, its threads at this moment."""
        if self._address is None:
            return self._workers
        return sum(worker["nthreads"] for worker in self._open_client().scheduler_info(-1)["workers"].values())

    @property
    def spans_machines(self) -> bool:
        """Whether a Dask cluster of the user's carries the tasks."""
        return self._address is not None

    def open_graph_tables(self) -> NoReturn:
        raise ConfigError("engine 'local' has no GraphFrames")

    def describe_jobs(self, description: str) -> AbstractContextManager[None]:
        return nullcontext()  # nobody watches it

    def map_tasks(self, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
        """Run ``function`` once for each task; the first error ends the call, and no other task starts then."""
        if self._address is None and (self._workers == 1 or len(tasks) < 2):
            return [attempt(function, task) for task in tasks]
        return _run_on_dask(self._open_client(), function, tasks) if tasks else []

    @cached_property
    def _tables(self) -> Any:
        """Polars: a tenth of a second to load, and runs whose pairs fit into one task don't use it."""
        from pipeline.engines import polars_tables

        return polars_tables

    def read(self, files: Sequence[Location], columns: Sequence[str], schema: pa.Schema) -> LazyFrame:
        return self._tables.read(files, columns, schema)

    def rename(self, frame: LazyFrame, columns: Mapping[str, str], constants: Mapping[str, int | str]) -> LazyFrame:
        return self._tables.rename(frame, columns, constants)

    def union(self, frames: Sequence[LazyFrame]) -> LazyFrame:
        return self._tables.union(frames)

    def sum_by(
        self,
        frame: LazyFrame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,
    ) -> LazyFrame:
        return self._tables.sum_by(frame, keys, sums, newest, keys_repeat=keys_repeat, may_overflow=may_overflow)

    def where_positive(self, frame: LazyFrame, column: str, *, positive: bool) -> LazyFrame:
        return self._tables.where_positive(frame, column, positive=positive)

    def where_equal(self, frame: LazyFrame, column: str, value: str) -> LazyFrame:
        return self._tables.where_equal(frame, column, value)

    def where_different(self, frame: LazyFrame, left: str, right: str) -> LazyFrame:
        return self._tables.where_different(frame, left, right)

    def look_up(self, frame: LazyFrame, table: LazyFrame, on: Mapping[str, str], take: Mapping[str, str]) -> LazyFrame:
        return self._tables.look_up(frame, table, on, take)

    def without(self, frame: LazyFrame, table: LazyFrame, keys: Sequence[str]) -> LazyFrame:
        return self._tables.without(frame, table, keys)

    def write(self, frame: LazyFrame, folder: Location, schema: pa.Schema) -> list[Location]:
        return self._tables.write(frame, folder, schema)

    def write_sorted(
        self, frame: LazyFrame, folder: Location, schema: pa.Schema, keys: Sequence[str]
    ) -> list[Location]:
        return self._tables.write_sorted(frame, folder, schema, keys)

    def cpu_seconds(self) -> float:
        """CPU seconds of this process and its Dask workers; those of other machines are in their records."""
        return cpu_seconds_of_trees([os.getpid()])

    def _open_client(self) -> Client:
        if self._client is None:
            self._client = self._open.enter_context(_dask_client(self._workers, self._address))
        return self._client


def _attempt_json(function: TaskFunction[P, R], task: str, settings: WorkerSettings) -> TaskRecord[R]:
    settings.use()
    return attempt(function, Task.from_json(task, payload_type(function)))


def _run_on_dask(client: Client, function: TaskFunction[P, R], tasks: Sequence[Task[P]]) -> list[TaskRecord[R]]:
    from distributed import KilledWorker, as_completed

    # As JSON: Dask looks for futures inside of containers, and finds nothing to look into here.
    futures = [
        client.submit(
            *(_attempt_json, function, task.to_json(), WorkerSettings.current()),
            key=f"{task.name}-{uuid4().hex}",
            pure=False,
        )
        for task in tasks
    ]
    task_of = dict(zip(futures, tasks, strict=True))
    records: dict[str, TaskRecord[R]] = {}
    try:
        for future in as_completed(futures, loop=client.loop):
            task = task_of[future]
            try:
                records[task.name] = future.result()
            except GraphquiltError:
                raise
            except KilledWorker as error:
                raise TaskError(
                    f"task {task.name} lost {error.allowed_failures + 1} workers in a row, the last at "
                    f"{error.last_worker.address}. Most likely the system killed them for want of memory "
                    "(dmesg says so): run fewer at once (--workers), or cut smaller parts "
                    "(partition.max_bytes)"
                ) from error
            except Exception as error:  # of Dask itself, or one that did not survive its journey
                raise TaskError(f"task {task.name} failed with {type(error).__name__}: {error}") from error
    finally:
        client.cancel([future for future in futures if not future.done()])
    return [records[task.name] for task in tasks]


@contextmanager
def _dask_client(workers: int, address: str | None) -> Iterator[Client]:
    if address is None:
        from pipeline.engines.dask_workers import own_workers

        with own_workers(workers) as client:
            yield client
        return
    from distributed import Client
    from distributed.security import Security

    # Dask itself would say so as an error of its own, and wait for a minute at exit.
    if address.startswith("tls://") and Security().get_connection_args("client")["ssl_context"] is None:
        raise ConfigError(
            f"--dask is {address}, and Dask's own settings name no certificates for it: set distributed.comm.tls "
            "(ca-file, client.key and client.cert) in its YAML or DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on"
        )
    try:
        client = Client(address, set_as_default=False, timeout="20s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address} ({error}); start one, or check --dask (tcp://HOST:8786)"
        ) from error
    with client:
        yield client
