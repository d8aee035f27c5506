"""graphs.toml: one DAG a graph, and an error that names file, graph, key and bound for what can't be one."""

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

DAGS_FOLDER = Path(__file__).resolve().parents[2] / "airflow" / "dags"
SHOP = """
[shop]
config = "/etc/shop.toml"
workspace = "s3://lake/shop"
"""

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    def parse(text: str) -> Any:
        path = tmp_path / "graphs.toml"
        path.write_text(text)
        monkeypatch.setenv("GRAPHQUILT_GRAPHS", str(path))
        return DagBag(DAGS_FOLDER / "graph_embeddings.py")

    return parse


def test_each_graph_has_a_dag_of_its_own(parse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alerts.py").write_text("def page(context):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    bag = parse(
        SHOP
        + """
        [music]
        dag_id = "music_every_week"
        config = "/etc/music.toml"
        workspace = "s3://lake/music"
        home = "/opt/graphquilt"
        mode = "night"
        schedule = "30 4 * * 1"
        start = 2026-01-05
        owner = "ranking"
        tags = ["music", "weekly"]
        pool = "spark"
        retries = 5
        retry_minutes = 3
        timeout_hours = 30
        spark_conn_id = "yarn"
        storage_conn_id = "lake"
        on_failure = "alerts.page"
        """
    )
    assert bag.import_errors == {}
    assert sorted(bag.dags) == ["music_every_week", "shop"]
    assert len(bag.dags["shop"].tasks) == 9
    music = bag.dags["music_every_week"]
    assert (music.tags, music.start_date) == ({"music", "weekly"}, datetime(2026, 1, 5, tzinfo=UTC))
    assert music.timetable.expression == "30 4 * * 1"
    run, gate = music.get_task("run"), music.get_task("gate")
    for task in (run, gate):
        assert (task.owner, task.pool, task.retries, task.storage_conn_id) == ("ranking", "spark", 5, "lake")
        assert task.execution_timeout == timedelta(hours=30)
    assert (run.application, run._conn_id, run.retry_delay) == (
        "/opt/graphquilt/jobs/run.py",
        "yarn",
        timedelta(minutes=3),
    )
    assert run.application_args[1] == "/etc/music.toml"
    assert [callback.__name__ for callback in gate.on_failure_callback] == ["page"]
    assert [outlet.name for outlet in gate.outlets] == ["music"]


def test_the_page_s_file_and_its_table_of_keys_are_true(parse: Any) -> None:
    from graphquilt_graphs import Graph

    page = (DAGS_FOLDER.parents[1] / "docs" / "how-to" / "airflow.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```text\n(# airflow.*?)```", page, re.DOTALL)
    assert sorted(parse(example.replace('on_failure = "alerts.page"', "")).dags) == ["music", "shop"]
    table = page[page.index("| Key |") : page.index("Texts may be templates")]
    keys = [key for row in table.strip().splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(keys) == sorted(field.name for field in fields(Graph) if field.name != "name")


def test_a_graph_for_runs_by_hand_has_no_schedule(parse: Any) -> None:
    (dag,) = parse(f'{SHOP}schedule = ""').dags.values()
    assert dag.schedule is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{SHOP}shedule = 'x'", r"graphs.toml \[shop\] has the key 'shedule'; it may have config, workspace, dag_id"),
        ("[shop]\nconfig = 'c'", r"\[shop\] lacks the key 'workspace'"),
        (f"{SHOP}retries = '2'", r"\[shop\] retries is '2'; a whole number is wanted"),
        (f"{SHOP}retries = true", r"\[shop\] retries is True; a whole number is wanted"),
        (f"{SHOP}retries = 11", r"\[shop\] retries is 11; it must be from 0 to 10"),
        (f"{SHOP}timeout_hours = 0", r"\[shop\] timeout_hours is 0; it must be from 1 to 168"),
        (f"{SHOP}start = '2026-01-01'", r"\[shop\] start is '2026-01-01'; a date such as"),
        (f"{SHOP}tags = 'x'", r"\[shop\] tags is 'x'; a list of texts is wanted"),
        (f"{SHOP}mode = 'nightly'", r"\[shop\] mode is 'nightly'; choose one of \['night', 'stages'\]"),
        ("shop = 1", r"\[shop\] is no table: write \[shop\]"),
        (SHOP + SHOP.replace("[shop]", "[other]"), r"2 graphs have the workspace 's3://lake/shop'"),
        (SHOP + "dag_id = 'x'\n[x]\nconfig = 'c'\nworkspace = 'w'", r"2 graphs have the dag_id 'x'"),
        ("[shop", "can't be read: Expected"),
        (f"{SHOP}on_failure = 'no_such_module.page'", "No module named 'no_such_module'"),
    ],
)
def test_a_file_that_declares_no_dag_is_an_import_error(parse: Any, text: str, said: str) -> None:
    (error,) = parse(text).import_errors.values()
    assert re.search(said, error), error


def test_a_missing_file_is_an_import_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("GRAPHQUILT_GRAPHS", str(tmp_path / "none.toml"))
    (error,) = DagBag(DAGS_FOLDER / "graph_embeddings.py").import_errors.values()
    assert "none.toml can't be read" in error
