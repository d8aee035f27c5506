from __future__ import annotations

from pathlib import Path

import pytest

from jobs.graphframes_jar import choose_jar, jar_settings
from pipeline.errors import ConfigError

CORE = "io.graphframes:graphframes-spark4_2.13:0.12.3"
GRAPHX = "io.graphframes:graphframes-graphx-spark4_2.13:0.12.3"


@pytest.fixture(autouse=True)
def _plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYSPARK_GATEWAY_PORT", "GRAPHFRAMES_JAR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", [CORE, f"{CORE},{GRAPHX}", f" {CORE} , {GRAPHX} "])
def test_coordinates_bring_the_jar_of_graphx_along(given: str) -> None:
    assert jar_settings(given, {}) == {"spark.jars.packages": f"{CORE},{GRAPHX}"}


def test_other_coordinates_are_taken_as_they_are() -> None:
    assert jar_settings("org.me:my-graphframes:1.0-SNAPSHOT", {}) == {
        "spark.jars.packages": "org.me:my-graphframes:1.0-SNAPSHOT"
    }


def test_what_the_user_has_set_is_kept() -> None:
    given = {"spark.jars.packages": "a:b:1", "spark.master": "local[2]"}
    assert jar_settings(CORE, given) == {"spark.jars.packages": f"a:b:1,{CORE},{GRAPHX}"}


def test_a_path_is_a_jar_or_a_folder_of_jars(tmp_path: Path) -> None:
    jars = [tmp_path / "b.jar", tmp_path / "a.jar"]
    for jar in jars:
        jar.touch()
    (tmp_path / "notes.txt").touch()
    assert jar_settings(str(jars[0]), {}) == {"spark.jars": str(jars[0])}
    assert jar_settings(str(tmp_path), {"spark.jars": "c.jar"}) == {"spark.jars": f"c.jar,{jars[1]},{jars[0]}"}


@pytest.mark.parametrize("given", ["missing.jar", "io.graphframes:graphframes-spark4_2.13", "/nowhere/"])
def test_anything_else_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ConfigError, match=r"graphframes_jar.*neither.*graphframes-spark4_2\.13:0\.12\.3"):
        jar_settings(given, {})


def test_the_config_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_jar(None) is None
    assert jar_settings(None, {"spark.master": "local"}) == {}
    monkeypatch.setenv("GRAPHFRAMES_JAR", "from-environment.jar")
    assert choose_jar(None) == "from-environment.jar"
    assert choose_jar("from-config.jar") == "from-config.jar"


def test_under_spark_submit_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "25333")
    assert jar_settings(CORE, {}) == {}
