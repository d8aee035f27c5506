"""Engines, opened for the length of a command."""

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.arguments import STAGE_NAMES, Options, options_of
from jobs.commands.existing import folder_of
from jobs.commands.plan import estimate_run
from jobs.connect_session import connect_session, remote_address
from jobs.progress import with_progress
from jobs.stopping import StopRequest
from pipeline import storage
from pipeline.config.model import PipelineConfig
from pipeline.config.sections import StorageConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.kernels.threads import use_threads
from pipeline.locations import Location
from pipeline.stages.opening import OpenOptions, open_workspace
from pipeline.tasks import require_shared
from pipeline.workspace import Workspace, hold


@contextlib.contextmanager
def open_date(
    options: Namespace, config: PipelineConfig, purpose: str, stop: StopRequest
) -> Iterator[tuple[Any, Workspace]]:
    """Yield an engine and the workspace of the options' date, under the date's lock: stages can run there."""
    use_storage(config.storage, options.scratch)
    root = make_root(options.workspace)
    with open_engine(options_of(options), config, purpose, stop, root) as engine:
        opening = OpenOptions(
            options.date,
            options.run_id,
            starts_with_ingest=True,
            allow_future=options.allow_future,
            fixes_baseline=False,
        )
        workspace = open_workspace(engine, config, root, opening)
        with hold(workspace, purpose, options.wait_s):
            yield engine, workspace


def make_root(address: str) -> Location:
    """Return the location of a workspace, made if it is missing.

    Raises
    ------
    ConfigError : no workspace can be at this address, or its store refuses. StorageError : no folder can be made there.
    """
    root = folder_of(address)
    try:
        return storage.open_root(root)
    except StorageError as error:
        if isinstance(root, Path):
            raise
        raise ConfigError(str(error)) from error  # what is wrong is the option, not the disk


def use_storage(section: StorageConfig, scratch: Path | None = None) -> None:
    """Let this process, and workers that it sends tasks to, reach stores as the config says, by a cache in a folder."""
    store = storage.StoreSettings(section.endpoint, section.region)
    storage.use_settings(storage.StorageSettings(store, storage.CacheSettings(scratch and scratch.absolute())))


@contextlib.contextmanager
def open_engine(
    options: Options, config: PipelineConfig, name: str, stop: StopRequest, root: Location
) -> Iterator[Any]:
    """Yield the engine that the options name, which shows its tasks on a terminal, and close it.

    Raises
    ------
    StorageError : a worker on another machine does not share the workspace ``root``.
    """
    stages = [word for word in name.split() if word in STAGE_NAMES]
    use_threads(options.threads)
    estimate = partial(estimate_run, options)
    if options.engine == "local":
        with (
            open_local(options.workers, options.dask) as engine,
            with_progress(_share(engine, root), stages, estimate) as visible_engine,
        ):
            yield visible_engine
        return
    _require_pyspark()
    from pipeline.engines.spark import SparkEngine

    settings = dict(map(_setting, options.spark_conf))
    address = remote_address(options.remote)
    session_context = (
        _connect_session(address, settings, stop) if address else _spark_session(name, settings, config, stop)
    )
    with session_context as session:
        try:
            engine = _share(SparkEngine(session, options.slots), root)
            with with_progress(engine, stages, estimate) as visible_engine:
                yield visible_engine
        finally:
            stop.settle()


def _share(engine: Any, root: Location) -> Any:
    """Return the engine, once its workers have shown that they share the workspace."""
    if engine.spans_machines:
        require_shared(engine, root, engine.slots)
    return engine


@contextlib.contextmanager
def _spark_session(name: str, settings: Mapping[str, str], config: PipelineConfig, stop: StopRequest) -> Iterator[Any]:
    """Yield a session of a Spark application that is this process's, or that spark-submit has started."""
    from jobs.graphframes_jar import choose_jar
    from jobs.spark_session import spark_session

    # Executors of a local master would otherwise take the first python3 on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    jar = choose_jar(config.partition.graphframes_jar) if config.partition.asks_graphframes else None
    with spark_session(name, settings, jar) as session:
        # pyspark's own handler of Ctrl-C would call the JVM through the very connection that is waiting.
        stop.cancels_calls(session.sparkContext.cancelAllJobs, of=("py4j",))
        yield session


@contextlib.contextmanager
def _connect_session(address: str, settings: Mapping[str, str], stop: StopRequest) -> Iterator[Any]:
    """Yield a session of a Spark Connect server."""
    with connect_session(address, settings) as session:
        # Else the server would go on with the job.
        stop.cancels_calls(session.interruptAll, of=("grpc", "pyspark"))
        yield session


def open_local(workers: int = 1, dask_address: str | None = None) -> Any:
    """Return a local engine, which is closed at the end of a ``with``."""
    if find_spec("polars") is None:  # here, since it is loaded when a table is first read
        raise ConfigError(
            "--engine local needs polars, which this Python lacks: pip install 'graphquilt-pipeline[local]'"
        )
    from pipeline.engines.local import LocalEngine

    return LocalEngine(workers=workers, dask_address=dask_address)


def _require_pyspark() -> None:
    try:
        import pyspark.sql  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--engine spark needs pyspark, which can't be imported here ({error}): pip install "
            "'graphquilt-pipeline[spark]', into an environment without pyspark-client, which overwrites pyspark's files"
        ) from error


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--conf {text!r} must read key=value, such as spark.master=local[4]")
    return key, value
