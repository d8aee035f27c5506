"""Which master Spark takes where --conf names none: the JVM of a local one is closed, and made for a short life."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.spark_session import _default_master, _jvm_variables


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYSPARK_SUBMIT_ARGS", "MASTER", "SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_folder_that_somebody_happens_to_be_in_says_nothing() -> None:
    os.mkdir("conf")
    Path("conf", "spark-defaults.conf").write_text("spark.master spark://h:7077\n")
    assert _default_master() == "local[*]"


@pytest.mark.parametrize(
    ("name", "value", "master"),
    [
        ("PYSPARK_SUBMIT_ARGS", "--master spark://h:7077 pyspark-shell", "spark://h:7077"),
        ("PYSPARK_SUBMIT_ARGS", "--name x --master=local[2] pyspark-shell", "local[2]"),
        ("PYSPARK_SUBMIT_ARGS", "--conf spark.master=yarn pyspark-shell", "yarn"),
        ("PYSPARK_SUBMIT_ARGS", '--conf "spark.master=yarn" pyspark-shell', "yarn"),
        ("PYSPARK_SUBMIT_ARGS", "pyspark-shell", "local[*]"),
        ("MASTER", "spark://h:7077", "spark://h:7077"),
        ("SPARK_HOME", "home", "yarn"),
        ("SPARK_CONF_DIR", "home/conf", "yarn"),
    ],
)
def test_it_is_found_where_spark_looks(
    name: str, value: str, master: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / "conf").mkdir(parents=True)
    (tmp_path / "home" / "conf" / "spark-defaults.conf").write_text("# spark.master local\nspark.master=yarn\n")
    monkeypatch.setenv(name, value)
    assert _default_master() == master


@pytest.mark.parametrize(
    ("master", "jar", "variables"),
    [
        ("local[2]", None, {"SPARK_LOCAL_IP", "SPARK_SUBMIT_OPTS"}),
        ("local", None, {"SPARK_LOCAL_IP", "SPARK_SUBMIT_OPTS"}),
        ("local[*]", "graphframes.jar", {"SPARK_LOCAL_IP"}),  # which computes in the JVM
        ("local-cluster[2,1,1024]", None, {"SPARK_LOCAL_IP"}),  # whose executors have JVMs of their own
        ("spark://h:7077", None, set()),
        ("yarn", None, set()),
    ],
)
def test_variables_are_set_for_jvms_that_start_here(master: str, jar: str | None, variables: set[str]) -> None:
    assert set(_jvm_variables(master, jar)) == variables
