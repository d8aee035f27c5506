"""The Airflow environment of the DAG's tests: a home and a database of their own, never the user's."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAGS_FOLDER = ROOT / "airflow" / "dags"


def pytest_configure(config: pytest.Config) -> None:
    """Set AIRFLOW_HOME before anything imports Airflow: the import alone writes files there."""
    home = tempfile.mkdtemp(prefix="airflow-")
    patch = pytest.MonkeyPatch()
    patch.setenv("AIRFLOW_HOME", home)
    patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS_FOLDER))
    patch.syspath_prepend(DAGS_FOLDER)  # as whoever parses a bundle does
    config.add_cleanup(patch.undo)
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """A migrated SQLite database in AIRFLOW_HOME."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture
def asset_events(airflow_database: None) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """A function that returns every asset event so far, in order: name and extra."""

    def events() -> list[tuple[str, dict[str, Any]]]:
        with contextlib.closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"], "airflow.db"))) as database:
            query = "select name, e.extra from asset_event e join asset a on a.id = e.asset_id order by e.id"
            return [(name, json.loads(extra)) for name, extra in database.execute(query)]

    return events


@pytest.fixture(scope="session", params=["stages", "night"])
def mode(request: pytest.FixtureRequest) -> str:
    """How the DAG runs the stages; a test that takes this fixture or a later one holds for both."""
    return str(request.param)


@pytest.fixture(scope="session")
def dag_bag(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAGs folder, parsed as the scheduler parses it."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        if mode != "stages":  # the default
            graphs = tmp_path_factory.mktemp("graphs") / "graphs.toml"
            graphs.write_text(f'{(DAGS_FOLDER / "graphs.toml").read_text()}\nmode = "{mode}"\n')
            patch.setenv("GRAPHQUILT_GRAPHS", str(graphs))
        return DagBag(DAGS_FOLDER)


@pytest.fixture(scope="session")
def dag(dag_bag: Any) -> Any:
    assert dag_bag.import_errors == {}
    return dag_bag.dags["graph_embeddings"]


@pytest.fixture(scope="session")
def job_names(mode: str) -> list[str]:
    """The files in jobs/ that the DAG submits, in order."""
    stages = ["ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish"]
    return {"stages": stages, "night": ["run"]}[mode]
