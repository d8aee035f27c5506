"""Fixtures of all tests. Nothing heavy is imported up here: the DAG tests run where Spark is not."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

#: Names of what must be there: REQUIRE=spark,airflow,data turns a skip for its lack into a failure.
REQUIRED = frozenset(filter(None, os.environ.get("REQUIRE", "").split(",")))

HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def missing(what: str, reason: str) -> None:
    """Skip the test that asks, or fail it where REQUIRE names what it lacks."""
    if what in REQUIRED:
        pytest.fail(f"REQUIRE={','.join(sorted(REQUIRED))}, but {reason}", pytrace=False)
    pytest.skip(reason)


with contextlib.suppress(ImportError):  # the DAG tests' environment has no hypothesis
    from hypothesis import HealthCheck, settings

    # No verdict depends on how busy the machine is. All else is hypothesis' own, which on CI draws no new examples.
    settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    if unknown := REQUIRED - {"spark", "sparks", "airflow", "data", "graphframes", "browser"}:
        raise pytest.UsageError(
            f"REQUIRE names {sorted(unknown)}; it may name spark, sparks, airflow, data, graphframes and browser"
        )


def restore_signals() -> None:
    """A command that a test runs here ignores signals as it ends, and so would all processes that start later."""
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


def pytest_runtest_call() -> None:
    restore_signals()  # after fixtures, some of which run commands


def pytest_runtest_setup(item: pytest.Item) -> None:
    restore_signals()
    if item.get_closest_marker("spark") and not has_java():
        missing("spark", "Spark needs Java 17 or later: no 'java' on PATH and no JAVA_HOME")
    if item.get_closest_marker("data") and not SHARED_DATA.is_dir():
        missing("data", "the real data sets are not there (../shared/data)")
    if item.get_closest_marker("consumers") and importlib.util.find_spec("lancedb") is None:
        missing("consumers", "the packages of the examples are not installed in this environment (make consumers)")
    if item.get_closest_marker("airflow") and not has_airflow():
        missing("airflow", "Airflow is not installed in this environment")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what this run did not test, and why, where nobody can overlook it."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("skipped, by reason")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:6d}  {reason}")


def has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return (bool(home) and Path(str(home), "bin", "java").exists()) or shutil.which("java") is not None


def has_airflow() -> bool:
    # airflow.sdk, not airflow: the repository's own folder of that name would satisfy the check.
    try:
        import airflow.sdk  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users can enter and list, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="graphquilt-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """No fsync in this process: no test sees what it guards against, and it takes half of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets; tests that take it are marked ``data``."""
    if not SHARED_DATA.is_dir():
        missing("data", "the real data sets are not there (../shared/data)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One session a process that runs tests: two slots, two shuffle partitions."""
    if not has_java():
        missing("spark", "Spark needs Java 17 or later: no 'java' on PATH and no JAVA_HOME")
    from pyspark.sql import SparkSession

    from jobs.graphframes_jar import choose_jar, jar_settings
    from jobs.spark_session import CLOSED, QUICK

    # Workers take the first python3 they find, unless told; and find tests and pipeline on the path.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        builder = (
            SparkSession.builder.master("local[2]")
            .appName("tests")
            .config("spark.driver.memory", "2g")
            .config("spark.driver.extraJavaOptions", "-XX:+UseParallelGC -XX:TieredStopAtLevel=1")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
            .config("spark.ui.showConsoleProgress", "false")
        )
        for key, value in {**CLOSED, **QUICK, **jar_settings(choose_jar(None), {})}.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture(scope="session")
def connect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Spark Connect server a process that runs tests: two slots."""
    if not has_java():
        missing("spark", "Spark needs Java 17 or later: no 'java' on PATH and no JAVA_HOME")
    from tests.spark_connect import run_server

    with run_server(tmp_path_factory.mktemp("connect")) as server:
        yield server


@pytest.fixture(params=["local", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Any:
    """Every engine in turn; a test that takes this fixture states what engines agree on."""
    if request.param == "local":
        from pipeline.engines.local import LocalEngine

        return LocalEngine(workers=1)
    from pipeline.engines.spark import SparkEngine

    # Asked for lazily: a run without Spark tests never starts a JVM.
    return SparkEngine(request.getfixturevalue("spark_session"))
