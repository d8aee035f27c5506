"""One machine without a JVM: Polars for tables; tasks in this process, or on Dask workers."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import reduce
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

import polars as pl
import pyarrow as pa

from pipeline import storage
from pipeline.engines import integer_keys, verbs
from pipeline.engines.attempts import WorkerSettings, attempt
from pipeline.engines.integer_keys import (
    can_be_array,
    join_keys,
    part_keys,
    sum_in_arrays,
    survey_keys,
)
from pipeline.engines.parquet import ready_to_write, rows_per_file, write_files
from pipeline.engines.processes import cpu_seconds_of_trees
from pipeline.errors import ConfigError, GraphquiltError, TaskError
from pipeline.locations import Location
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, payload_type

if TYPE_CHECKING:
    from distributed import Client

_BATCH_ROWS = 1_000_000
#: Rows are added up so many at a time. Where keys hardly repeat, a row takes about 130 bytes; where they do, about 36,
#: since Polars keeps what leaves its small first table until all rows are read.
SUMMED_ROWS, REPEATING_ROWS = 32_000_000, 96_000_000


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

    def read(self, files: Sequence[Location], columns: Sequence[str], schema: pa.Schema) -> pl.LazyFrame:
        for file in files:
            storage.check_sealed(file)
        if not files:
            empty = pl.from_arrow(schema.empty_table())
            return pl.LazyFrame(empty).select(columns)
        return pl.scan_parquet(
            [storage.local_file(file) for file in files], glob=False, hive_partitioning=False
        ).select(columns)

    rename = staticmethod(verbs.rename)
    where_positive = staticmethod(verbs.where_positive)
    where_equal = staticmethod(verbs.where_equal)
    where_different = staticmethod(verbs.where_different)
    without = staticmethod(verbs.without)
    look_up = staticmethod(integer_keys.look_up)

    def union(self, frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
        return verbs.union(frames, frames[0].collect_schema().names())

    def sum_by(
        self,
        frame: pl.LazyFrame,
        keys: Sequence[str],
        sums: Sequence[str],
        newest: Sequence[str] = (),
        *,
        keys_repeat: bool,
        may_overflow: bool = True,
    ) -> pl.LazyFrame:
        rows, ranges = survey_keys(frame, keys)
        if len(ranges) == 1 and not newest and not may_overflow and can_be_array(ranges[0], rows):
            return sum_in_arrays(frame, keys[0], sums, ranges[0]).lazy()
        compact_frame, compact_keys = join_keys(frame, keys, ranges)
        shares = math.ceil(rows / (REPEATING_ROWS if keys_repeat else SUMMED_ROWS))
        if shares <= 1:
            totals = verbs.sum_by(compact_frame, compact_keys, sums, newest, may_overflow=may_overflow)
            return part_keys(totals, keys, ranges)
        # A union takes one input after the other: the rows are read for each share, and one table is held at a time.
        share = reduce(operator.xor, (pl.col(key).hash(seed) for seed, key in enumerate(compact_keys))) % shares
        parts = [compact_frame.filter(share == number) for number in range(shares)]
        of_parts = [verbs.sum_by(part, compact_keys, sums, newest, may_overflow=may_overflow) for part in parts]
        return part_keys(pl.concat(of_parts), keys, ranges)

    def write(self, frame: pl.LazyFrame, folder: Location, schema: pa.Schema) -> list[Location]:
        return _write(frame, folder, schema, keep_order=False)

    def write_sorted(
        self, frame: pl.LazyFrame, folder: Location, schema: pa.Schema, keys: Sequence[str]
    ) -> list[Location]:
        return _write(frame.sort(keys), folder, schema, keep_order=True)

    def cpu_seconds(self) -> float:
        """CPU seconds of this process and its Dask workers; those of other machines are in their records."""
        return cpu_seconds_of_trees([os.getpid()])

    def _open_client(self) -> Client:
        if self._client is None:
            self._client = self._open.enter_context(_dask_client(self._workers, self._address))
        return self._client


def _write(frame: pl.LazyFrame, folder: Location, schema: pa.Schema, *, keep_order: bool) -> list[Location]:
    staging = storage.staging_folder(folder)
    batches = ready_to_write(frame, schema).collect_batches(
        chunk_size=_BATCH_ROWS, maintain_order=keep_order, engine="streaming"
    )
    with verbs.overflow_of(folder):
        files = write_files(
            batches, schema, rows_per_file(schema), lambda number: staging / f"part-{number:05d}.parquet"
        )
    return [storage.seal(file, folder, file.stem) for file in files]


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
