"""Engines, opened for the length of a command. The only place that starts a Spark session."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from jobs.arguments import Options
from jobs.config_file import read_config
from jobs.graphframes_jar import jar_settings, wanted_jar
from jobs.stopping import StopRequest
from pipeline.errors import ConfigError, GraphquiltError


@contextlib.contextmanager
def open_engine(options: Options, name: str, stop: StopRequest) -> Iterator[Any]:
    """Yield the engine that the options name, and close it."""
    if options.engine == "local":
        with _local_engine(options) as engine:
            yield engine
        return
    session, engine = _spark(options, name)
    # pyspark's own handler of Ctrl-C would call the JVM through the very connection that is waiting.
    stop.cancels_jvm_calls(session.sparkContext.cancelAllJobs)
    try:
        yield engine
    finally:
        stop.settle()
        session.stop()


def _local_engine(options: Options) -> Any:
    try:
        from pipeline.engines.local import LocalEngine
    except ImportError as error:
        raise ConfigError(
            f"--engine local needs a package that this Python lacks ({error}): pip install 'graphquilt[local]'"
        ) from error
    return LocalEngine(workers=options.workers, dask_address=options.dask)


def _spark(options: Options, name: str) -> tuple[Any, Any]:
    """Return a session and the engine on it."""
    conf = dict(map(_setting, options.spark_conf))
    jar = wanted_jar(read_config(options.config, options.overrides).partition.graphframes_jar)
    conf |= jar_settings(jar, conf)
    try:
        from pyspark.sql import SparkSession

        from pipeline.engines.spark import SparkEngine
    except ImportError as error:
        raise ConfigError(
            f"--engine spark needs pyspark, which can't be imported here ({error}): pip install 'graphquilt[spark]', "
            "into an environment without pyspark-client, which overwrites pyspark's files"
        ) from error
    _require_java()
    # Executors of a local master would otherwise take the first python3 on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"graphquilt {name}")
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # of pyspark, py4j or the JVM: each has its own family
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise GraphquiltError(
            f"no Spark session could be started: {first}. What the JVM wrote stands above; check the master, --conf "
            f"and 'graphquilt doctor' (Spark 4 needs Java 17 or later){_about(jar)}"
        ) from error
    try:
        return session, SparkEngine(session)
    except BaseException:
        session.stop()
        raise


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--conf {text!r} must read key=value, such as spark.master=local[4]")
    return key, value


def _about(jar: str | None) -> str:
    if jar is None:
        return ""
    return f", and whether {jar} can be resolved from here: it stands in partition.graphframes_jar or GRAPHFRAMES_JAR"


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") or (home and os.access(os.path.join(home, "bin", "java"), os.X_OK)):
        return
    raise ConfigError(
        "Spark needs Java 17 or later, and neither JAVA_HOME nor the path has one. Install it (Debian: "
        "apt-get install openjdk-17-jre-headless), or use --engine local, which needs none."
    )
