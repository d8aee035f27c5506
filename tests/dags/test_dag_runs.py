"""The DAG as run: by `airflow dags test` on SQLite, with a stand-in for spark-submit, and once for real."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN_PYTHON = Path(os.environ.get("MAIN_PYTHON", ROOT / ".venv" / "bin" / "python"))
GRAPHS = ROOT / "airflow" / "dags" / "graphs.toml"
SAMPLE = ROOT / "examples" / "sample" / "interactions.parquet"
# The JSON form: from "spark://local[2]" the hook makes a standalone master, and a mistake in it means YARN.
LOCAL_SPARK = json.dumps({"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}})
PUBLISHED = {
    **{"verdict": "published", "exit_code": 0, "reasons": [], "release": "a-release", "date": "2026-05-01"},
    **{"current_moved": True, "current": {"release": "a-release", "at": "2026-05-02T02:10:00+00:00"}},
    **{"space_id": "s", "tables": {"node_embeddings": {"path": "/releases/a-release/node_embeddings", "rows": 3}}},
    "inputs": ["s3://lake/events", "/releases/earlier/node_embeddings"],
}
REFUSED = {"verdict": "refused", "exit_code": 3, "reasons": ["too few rows"], "release": None}
BAD_INPUT = {"verdict": "failed", "exit_code": 4, "reasons": ["no column 'user'"], "release": None}
DONE = {"verdict": "done", "exit_code": 0, "reasons": [], "release": None}

TIMEOUT_S = 1800  # eight starts of Spark, on a busy machine of two cores
DAGS_TEST = ("-m", "airflow", "dags", "test", "graph_embeddings")
FOR_MAY = (*DAGS_TEST, "--conf", '{"date": "2026-05-01"}')

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.filterwarnings("default")]

# Writes down how it was called; leaves a verdict of this try and an exit code: as job STAND_IN_JOB those that it was
# given, else of a job that is done.
STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, sys
words = sys.argv[1:]
with open(os.environ["STAND_IN_CALLS"], "a") as calls:
    print(*words, file=calls)
job = next(pathlib.Path(word).stem for word in words if "/jobs/" in word)
date, run_id = (words[words.index(option) + 1] for option in ("--date", "--run-id"))
is_it = job == os.environ["STAND_IN_JOB"]
gate = json.loads(os.environ["STAND_IN_GATE"]) if is_it else {DONE}
folder = pathlib.Path(os.environ["AIRFLOW_VAR_WORKSPACE"]) / "runs" / date
folder.mkdir(parents=True, exist_ok=True)
if gate:
    (folder / "gate.json").write_text(json.dumps({{"run_id": run_id, **gate}}))
sys.exit(int(os.environ["STAND_IN_EXIT"]) if is_it else 0)
"""


class StandIn:
    """Runs the DAG with a spark-submit that only pretends; remembers what it was asked to submit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        (folder / "bin").mkdir()
        binary = folder / "bin" / "spark-submit"
        binary.write_text(STAND_IN)
        binary.chmod(0o755)

    def run(
        self,
        *command: str,
        gate: dict[str, object] | None,
        exit_code: int = 0,
        mode: str = "stages",
        job: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        job = job or {"stages": "publish", "night": "run"}[mode]
        return run(*command, **self.environment(gate, mode, job) | {"STAND_IN_EXIT": str(exit_code)})

    def environment(self, gate: dict[str, object] | None, mode: str, job: str) -> dict[str, str]:
        (self.folder / "graphs.toml").write_text(f'{GRAPHS.read_text()}\nmode = "{mode}"\nretry_minutes = 0\n')
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "AIRFLOW_VAR_PIPELINE_HOME": "/home/pipeline",
            "AIRFLOW_VAR_WORKSPACE": str(self.workspace),
            "GRAPHQUILT_GRAPHS": str(self.folder / "graphs.toml"),
            "STAND_IN_JOB": job,
            "STAND_IN_CALLS": str(self.folder / "calls"),
            "STAND_IN_GATE": json.dumps(gate),
            "STAND_IN_EXIT": "0",
        }

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def stand_in(tmp_path: Path, airflow_database: None) -> StandIn:
    return StandIn(tmp_path)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with a Spark connection; its standard error stands in its standard output."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *command],
        env={**kept, "AIRFLOW_CONN_SPARK_DEFAULT": LOCAL_SPARK, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_a_run_submits_each_stage_once_in_order_for_one_date(stand_in: StandIn, asset_events: Any) -> None:
    done = stand_in.run(*DAGS_TEST, "2026-05-02", gate=PUBLISHED)

    assert done.returncode == 0, done.stdout[-4000:]
    stages = ["ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish"]
    calls, run_ids = zip(*(call.rsplit(" --run-id ") for call in stand_in.calls), strict=True)
    # The last interval that had ended by 2026-05-02 00:00 began on 04-30 at 02:00.
    assert list(calls) == [
        f"--master local[2] --name graphquilt-default-{stage} --deploy-mode client /home/pipeline/jobs/{stage}.py "
        f"--config /home/pipeline/config.toml --wait 0 --workspace {stand_in.workspace} --date 2026-04-30"
        for stage in stages
    ]
    assert [run_id.split("/")[-2:] for run_id in run_ids] == [[stage, "1"] for stage in stages]
    assert len({run_id.split("/")[0] for run_id in run_ids}) == 1
    about = {"path": "/releases/a-release/node_embeddings", "rows": 3}
    extra = {"release": "a-release", "date": "2026-05-01", "space_id": "s", **about}
    assert asset_events()[-1] == ("default/node_embeddings", extra)


def test_openlineage_hears_of_every_job_and_of_the_tables(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(log), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "graphs")
    done = stand_in.run(*FOR_MAY, gate=PUBLISHED, mode="night")

    assert done.returncode == 0, done.stdout[-4000:]
    ended = [event for event in map(json.loads, log.read_text().splitlines()) if event["eventType"] == "COMPLETE"]
    outputs = {event["job"]["name"]: event.get("outputs", []) for event in ended}
    assert {"graph_embeddings.run", "graph_embeddings.gate"} <= set(outputs)
    inputs = {event["job"]["name"]: event.get("inputs", []) for event in ended}
    read = [(one["namespace"], one["name"]) for one in inputs["graph_embeddings.gate"]]
    assert read == [("s3://lake", "events"), ("file", "/releases/earlier/node_embeddings")]
    (table,) = outputs["graph_embeddings.gate"]
    assert (table["namespace"], table["name"]) == ("file", "/releases/a-release/node_embeddings")
    assert table["facets"]["version"]["datasetVersion"] == "a-release"


def test_a_night_in_one_session_is_one_job_and_the_gate(stand_in: StandIn) -> None:
    done = stand_in.run(
        *DAGS_TEST, "--conf", '{"date": "2026-05-01", "accept_drift": true}', gate=PUBLISHED, mode="night"
    )

    assert done.returncode == 0, done.stdout[-4000:]
    (call,) = stand_in.calls
    assert call.startswith(
        "--master local[2] --name graphquilt-default-run --deploy-mode client /home/pipeline/jobs/run.py "
        "--config /home/pipeline/config.toml --wait 0 --accept-drift "
        f"--workspace {stand_in.workspace} --date 2026-05-01 --run-id "
    )


@pytest.mark.parametrize("is_handed_back", [True, False])  # not in cluster mode
@pytest.mark.parametrize(
    ("job", "gate", "said", "jobs_run"),
    [
        ("publish", REFUSED, "'refused', exit code 3: too few rows", 8),
        ("ingest", BAD_INPUT, "'failed', exit code 4: no column 'user'", 1),
    ],
)
def test_a_bad_night_is_red_at_once_and_no_consumer_is_told(
    stand_in: StandIn,
    job: str,
    gate: dict[str, object],
    said: str,
    jobs_run: int,
    is_handed_back: bool,
    asset_events: Any,
) -> None:
    before, started = asset_events(), time.monotonic()
    done = stand_in.run(*FOR_MAY, gate=gate, exit_code=int(str(gate["exit_code"])) if is_handed_back else 0, job=job)

    assert time.monotonic() - started < 60
    assert done.returncode != 0
    assert f"nothing was published: None is {said}" in done.stdout
    assert "up_for_retry" not in done.stdout
    assert len(stand_in.calls) == jobs_run
    assert asset_events() == before


@pytest.mark.parametrize("exit_code", [137, 0])
def test_a_job_that_died_is_tried_again_whatever_an_earlier_run_said(stand_in: StandIn, exit_code: int) -> None:
    path = stand_in.workspace / "runs" / "2026-05-01" / "gate.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**PUBLISHED, "run_id": "another night/publish/1"}))

    done = stand_in.run(*FOR_MAY, gate=None, exit_code=exit_code, mode="night")

    assert done.returncode != 0
    assert [call.rpartition("/run/")[2] for call in stand_in.calls] == ["1", "2", "3"]
    assert "the job left no last word" in done.stdout
    assert "nothing is known of 2026-05-01: gate.json is of another run, another night/publish/1" in done.stdout


def test_a_release_that_readers_do_not_get_is_green_and_no_consumer_is_told(
    stand_in: StandIn, asset_events: Any
) -> None:
    before = asset_events()
    added = {
        **PUBLISHED,
        "verdict": "added",
        "current_moved": False,
        "current": {"release": "later", "at": "2026-06-01"},
    }
    done = stand_in.run(*FOR_MAY, gate=added, mode="night")

    assert done.returncode == 0, done.stdout[-4000:]
    assert "no consumer is told" in done.stdout
    assert asset_events() == before


def test_a_run_by_hand_without_a_logical_date_computes_the_day_before(stand_in: StandIn) -> None:
    # `airflow dags test` always has one; a run triggered through the API may not.
    code = (
        "import sys\n"
        "from airflow import settings\n"
        "from airflow.dag_processing.dagbag import DagBag\n"
        "sys.path.append(settings.DAGS_FOLDER)  # as whoever parses a bundle does\n"
        "run = DagBag().dags['graph_embeddings'].test(logical_date=None)\n"
        "assert run.data_interval_start is None\n"
        "print('AFTER', run.run_after.isoformat(), run.state)\n"
    )
    done = stand_in.run("-c", code, gate=PUBLISHED)

    assert done.returncode == 0, done.stdout[-4000:]
    _, run_after, state = next(line for line in done.stdout.splitlines() if line.startswith("AFTER")).split()
    assert state == "success"
    day = (datetime.fromisoformat(run_after) - timedelta(days=1)).date().isoformat()
    assert all(f" --date {day} " in call for call in stand_in.calls)


def test_missed_nights_are_caught_up_in_order_by_a_backfill_and_consumers_run(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports, graphquilt = tmp_path / "exports", tmp_path / "graphquilt"
    graphquilt.write_text(f'#!/bin/sh\necho "$@" >> {exports}\n')
    graphquilt.chmod(0o755)
    home, port = tmp_path / "airflow", free_port()
    settings = {
        **{"AIRFLOW_HOME": str(home), "AIRFLOW_CONN_SPARK_DEFAULT": LOCAL_SPARK},
        **{"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60"},
        **{"AIRFLOW__CORE__PARALLELISM": "1"},  # two tasks that end at once: SQLite keeps the state of one
        **{"AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API__PORT": str(port)},
        **{"AIRFLOW__API__BASE_URL": f"http://localhost:{port}"},
        **{"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/"},
        **{"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port())},
        **{"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port())},
        **{"AIRFLOW_VAR_GRAPHQUILT_COMMAND": str(graphquilt), "AIRFLOW_VAR_RANKER_FEATURES": "/features"},
        **stand_in.environment(PUBLISHED, "night", "run"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    airflow = [sys.executable, "-m", "airflow"]
    # It starts its parts by the name of the command.
    monkeypatch.setenv("PATH", f"{stand_in.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")

    # Before the scheduler runs: SQLite has one writer, and refuses a command whose read another's write has overtaken.
    window = ["--from-date", "2026-05-01", "--to-date", "2026-05-04", "--max-active-runs", "1"]
    for command in (
        ["db", "migrate"],
        ["dags", "reserialize"],
        ["dags", "unpause", "graph_embeddings"],
        ["dags", "unpause", "ranker_features"],
        ["backfill", "create", "--dag-id", "graph_embeddings", *window],
    ):
        subprocess.run([*airflow, *command], check=True)
    with (tmp_path / "standalone.log").open("w") as log:
        process = subprocess.Popen([*airflow, "standalone"], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: has_ended(backfilled(home / "airflow.db")))
        assert backfilled(home / "airflow.db") == ["success"] * 3, (tmp_path / "standalone.log").read_text()[-4000:]
        wait_until(exports.exists)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    dates = [call.partition(" --date ")[2].partition(" ")[0] for call in stand_in.calls]
    assert [date for date in dates if date.startswith("2026-05")] == ["2026-05-01", "2026-05-02", "2026-05-03"]
    assert set(exports.read_text().splitlines()) == {
        "export --workspace /releases/a-release --format feast --out /features"
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def backfilled(database: Path) -> list[str]:
    """States of the runs that a backfill made."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [state for (state,) in connection.execute("select state from dag_run where run_type = 'backfill'")]


def has_ended(states: list[str]) -> bool:
    return len(states) == 3 and {*states} <= {"success", "failed"}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


@pytest.mark.spark
@pytest.mark.parametrize("mode", ["stages", "night"])
def test_the_sample_is_published_for_real(mode: str, tmp_path: Path, airflow_database: None) -> None:
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    home.mkdir()
    (tmp_path / "graphs.toml").write_text(f'{GRAPHS.read_text()}\nmode = "{mode}"\n')
    shutil.copytree(ROOT / "jobs", home / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "config.toml").write_text(
        f"""
        [input]
        path = "{SAMPLE}"
        source = "package"
        source_type = "package"
        target = "needs"
        target_type = "package"
        event = "event"
        event_weights = {{ depends = 1.0, pre-depends = 1.0, recommends = 0.7, suggests = 0.3 }}
        [partition]
        parts = 2
        [embedding]
        dim = 16
        [evaluate]
        source = "none"
        [publish]
        name = "debian"
        """
    )
    spark_home = subprocess.run(
        [MAIN_PYTHON, "-c", "import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    done = run(
        *DAGS_TEST,
        "--conf",
        '{"date": "2026-07-11"}',
        PATH=f"{spark_home}/bin:{os.environ['PATH']}",
        GRAPHQUILT_GRAPHS=str(tmp_path / "graphs.toml"),
        SPARK_HOME=spark_home,
        PYSPARK_PYTHON=str(MAIN_PYTHON),
        PYSPARK_DRIVER_PYTHON=str(MAIN_PYTHON),
        AIRFLOW_VAR_PIPELINE_HOME=str(home),
        AIRFLOW_VAR_WORKSPACE=str(workspace),
    )

    assert done.returncode == 0, done.stdout[-8000:]
    published = workspace / "published" / "debian"
    current = json.loads((published / "CURRENT.json").read_text())
    assert current["data_date"] == "2026-07-11"
    table = pq.read_table(published / current["path"] / "node_embeddings")
    assert sorted(table["node_id"].to_pylist()) == nodes_of_the_sample()
    assert table.schema.field("embedding").type.list_size == 16
    assert pc.all(pc.greater(table["norm"], 0)).as_py()


def nodes_of_the_sample() -> list[str]:
    """Every package that stands in a relation with another one, in order."""
    rows = pq.read_table(SAMPLE)
    rows = rows.filter(pc.not_equal(rows["package"], rows["needs"]))  # self loops are rejected
    return sorted({*rows["package"].to_pylist(), *rows["needs"].to_pylist()})
