"""Slips on the command line and in paths: answered by name, at once, and before anything is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphquilt.toml_text import toml_string
from jobs.arguments import STAGE_NAMES
from jobs.cli import COMMANDS
from jobs.commands.config_text import toml_value
from jobs.config_file import read_config
from pipeline.errors import InputError
from pipeline.ingest.addresses import filesystem_of
from tests.other_user import as_another_user

ROOT = Path(__file__).parents[2]
CONFIG = "[input]\npath = '{}'\n[embedding]\ndim = 8\n[evaluate]\nsource = 'none'\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.csv").write_text("source,target\n" + "".join(f"{n % 9},{n % 7}\n" for n in range(40)))
    (tmp_path / "c.toml").write_text(CONFIG.format(tmp_path / "data"))
    return tmp_path / "c.toml"


@pytest.mark.parametrize("name", ["run", *STAGE_NAMES, *COMMANDS, "current", "check"])
def test_two_letters_swapped_in_a_command_are_understood(name: str, call: Callable[..., Any]) -> None:
    slip = name[:-2] + name[-1] + name[-2]
    said = call(slip, "--config", "x")
    assert said.code == 2
    assert f"there is no command '{slip}'; did you mean '{name}'?" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run --confg C --workspace W", "there is no option --confg; did you mean --config"),
        ("run --config C --worksapce W", "there is no option --worksapce; did you mean --workspace"),
        ("run --config C --workspace W --worker 2", "there is no option --worker; did you mean --workers"),
        ("query neighbors 1 --workspce W", "there is no option --workspce; did you mean --workspace"),
        ("tune --config C --workspace W --budgte 3 --out x", "there is no option --budgte; did you mean --budget"),
        ("run ingets --config C --workspace W", "there is no stage 'ingets'; did you mean 'ingest'?"),
        ("run --config C --workspace W --set embeding.dim=8", "there is no key embeding; did you mean 'embedding'?"),
        ("run --config C --workspace W --set embedding.dmi=8", "there is no key embedding.dmi; did you mean 'dim'?"),
        ("run --config C --workspace W --conf spark.master=local", "--conf spark.master is a setting of Spark"),
        ("run --config C --workspace W --engine spark --dask tcp://h:1", "--dask is of --engine local"),
        ("run --config C --workspace W --engine spark --workers 4", "--workers is of --engine local"),
        ("run --config C --workspace W --remote sc://h", "--remote is a setting of Spark"),
        ("run --config C --workspace W --slots 4", "--slots is a setting of Spark"),
        ("run --config C --workspace W --engine spark --remote h:15002", "'h:15002', which is no address of a Spark"),
        ("run --config C --workspace E", "--workspace is empty; is a variable of the shell not set?"),
        ("run --config C --workspace=", "--workspace is empty"),
        ("current --workspace E", "--workspace is empty"),
        ("init E", "an argument is empty"),
        *(
            (f"run --config C --workspace W --dask {address}", f"'{address}' is no address of a Dask scheduler")
            for address in ("localhost", "tcp://", "a:b", "http://h:8786", "inproc://x", "/s.json", "h:1/x")
        ),
        ("config --defaults --set embedding.dim=3", "--set changes a config file"),
        ("plan --config C --workspace C", "is a file, and a workspace is a folder"),
        ("evaluate --workspace W --out /dev/full", "--out is /dev/full, which is no file"),
    ],
)
def test_slips_are_named(words: str, says: str, config: Path, call: Callable[..., Any]) -> None:
    known = {"C": str(config), "W": str(config.parent / "work"), "E": ""}
    said = call(*(known.get(word, word) for word in words.split()))
    assert said.code == 2
    assert says in said.err
    assert not (config.parent / "work").exists()


def test_a_slip_of_a_reader_is_named_too() -> None:
    command = [sys.executable, "-m", "graphquilt", "check", "--worksapce", "w"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "there is no option --worksapce; did you mean --workspace" in done.stderr


BROKEN = {
    "missing": (None, "can't be read: No such file"),
    "a folder": ("folder", "can't be read: Is a directory"),
    "empty": (b"", "is empty"),
    "blank": (b"\xef\xbb\xbf \n\n", "is empty"),
    "UTF-16": ("[input]\n".encode("utf-16"), "is UTF-16"),
    "UTF-16 without mark": ("[input]\n".encode("utf-16-le"), "is UTF-16"),
    "Latin-1": (b"# gr\xfc\xdfe\n", "byte 0xfc in line 1"),
    "no TOML": (b"input: x", "is not TOML"),
}


@pytest.mark.parametrize("command", ["run", "ingest", "plan", "tune", "evaluate", "config"])
@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_a_config_that_is_none_is_seen_before_anything_is_made(
    command: str, kind: str, tmp_path: Path, call: Callable[..., Any]
) -> None:
    content, says = BROKEN[kind]
    file = tmp_path / "c.toml"
    if content == "folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    more = {"config": ["--check", file], "tune": ["--budget", "9", "--out", tmp_path / "o.toml"]}.get(command, [])
    where = [] if command == "config" else ["--config", file, "--workspace", tmp_path / "work"]
    said = call(command, *where, *more)
    assert said.code == 2
    assert says in said.err
    assert not (tmp_path / "work").exists()


def test_a_missing_config_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom graphquilt.__main__ import main\n"
        "assert main(['run', '--config', 'nowhere.toml', '--workspace', 'w', '--engine', 'spark']) == 2\n"
        "heavy = {'numba', 'polars', 'pyspark', 'pyarrow', 'pydantic', 'scipy', 'distributed'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_byte_order_mark_is_no_part_of_a_config(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes().replace(b"\n", b"\r\n"))
    assert read_config(config).embedding.dim == 8


@given(st.text())
def test_any_text_comes_back_from_toml(text: str) -> None:
    assert tomllib.loads(f"{toml_string(text)} = {toml_string(text)}") == {text: text}
    value = {"a": [text, 1, True, 0.5], "b": {text: text}}
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_a_name_that_is_not_unicode_is_refused_not_written() -> None:
    with pytest.raises(ValueError, match="not Unicode"):
        toml_string(os.fsdecode(b"gr\xfc\xdfe.csv"))


def test_emoji_of_a_graph_go_the_whole_way(tmp_path: Path) -> None:
    import networkx as nx

    from graphquilt import from_networkx

    settings = from_networkx(nx.path_graph(3), tmp_path / "🦜 grüße.parquet", node_type="👩‍🔬")
    (tmp_path / "c.toml").write_text(settings.toml, encoding="utf-8")
    read = read_config(tmp_path / "c.toml")
    assert (read.input.path, read.input.source_type) == (str(tmp_path / "🦜 grüße.parquet"), "👩‍🔬")


def test_home_is_found_in_paths_and_options(
    config: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    monkeypatch.setenv("HOME", str(config.parent))
    config.write_text(CONFIG.format("~/data/*.csv"))
    said = call("run", "--config=~/c.toml", "--workspace=~/work")
    assert said.code == 0, said.err
    assert (config.parent / "work" / "published").is_dir()
    assert call("inspect", "--workspace=~/work").code == 0
    found = call("current", "--workspace=~/work")
    assert found.out.startswith(str(config.parent / "work"))
    from graphquilt import EmbeddingTable

    # What current prints is what people pass on.
    with EmbeddingTable.open(found.out.strip()) as printed, EmbeddingTable.open("~/work") as table:
        assert len(printed) == len(table) == 16
    assert call("init", "~/data/in.csv", "--out=~/new.toml").code == 0
    assert read_config(config.parent / "new.toml").input.path == str(config.parent / "data" / "in.csv")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3a://b/x", "s3://BUCKET"),
        ("s3n://b/x", "s3://BUCKET"),
        ("wasbs://c@a.blob.core.windows.net/x", "abfs://CONTAINER@ACCOUNT"),
        ("wasb://c@a/x", "abfs://CONTAINER@ACCOUNT"),
        ("az://c/x", "abfs://CONTAINER@ACCOUNT"),
        ("dbfs:/mnt/x", "/dbfs/"),
        ("dbfs://mnt/x", "/dbfs/"),
        ("s3:/b/x.csv", "write s3://b/x.csv"),
        ("hdfs:/user/x", "write hdfs:///user/x"),
        ("file:/data/x", "write file:///data/x"),
    ],
)
def test_addresses_of_other_systems_get_the_way_to_write_them(address: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        filesystem_of(address)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "workspace"), [("data", "data/work"), ("data", "data"), (".", "work"), ("**", "work"), ("work", "work")]
)
def test_a_workspace_in_the_input_is_refused(
    path: str, workspace: str, config: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    monkeypatch.chdir(config.parent)
    if path in ("**", "work"):  # only tables that are there show what a glob would take
        assert call("ingest", "--config", config, "--workspace", "work", "--date", "2024-06-01").code == 0
        (config.parent / "data").rename(config.parent / "_data")
    else:
        config.rename(config.with_suffix(".txt~"))
        config.write_text("")
    config.write_text(CONFIG.format(path))
    config.rename(config.parent / "_c.toml")
    said = call("run", "--config", "_c.toml", "--workspace", workspace)
    assert said.code == 2, said.err
    assert "lie in each other" in said.err


def test_an_input_beside_our_folders_in_the_workspace_is_fine(config: Path, call: Callable[..., Any]) -> None:
    assert call("run", "--config", config, "--workspace", config.parent).code == 0
    assert call("run", "--config", config, "--workspace", config.parent).code == 0


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_workspace_that_is_a_file_is_said(place: str, config: Path, call: Callable[..., Any]) -> None:
    (config.parent / "file").touch()
    said = call("run", "--config", config, "--workspace", config.parent / place)
    assert said.code == 1
    assert f"{config.parent / 'file'} is a file, and a workspace is a folder" in said.err


@pytest.mark.slow
@pytest.mark.parametrize("what", ["work", "work/runs", "work/published"])
def test_where_another_user_may_not_write_is_a_sentence(what: str, shared_folder: Path) -> None:
    prefix = as_another_user()  # who may read everything, so as to reach this Python: reading is for tests of the parts
    (shared_folder / "data").mkdir()
    (shared_folder / "data" / "in.csv").write_text("source,target\n1,2\n2,3\n")
    (shared_folder / "c.toml").write_text(CONFIG.format(shared_folder / "data"))
    (shared_folder / what).mkdir(parents=True)  # belongs to root
    if what != "work":
        (shared_folder / "work").chmod(0o777)
    command = [*prefix, sys.executable, "-m", "graphquilt", "run", "--json", "--config", str(shared_folder / "c.toml")]
    done = subprocess.run(
        [*command, "--workspace", str(shared_folder / "work")], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)["error"]
    assert "(uid 65534) has no right to" in said
    assert str(shared_folder / what) in said
    assert "Traceback" not in done.stderr


def test_a_config_error_leaves_its_verdict_where_the_workspace_is_there(config: Path, call: Callable[..., Any]) -> None:
    (config.parent / "work").mkdir()
    config.write_text("no toml")
    where = ["--config", config, "--workspace", config.parent / "work", "--date", "2024-06-01"]
    assert call("run", *where).code == 2
    verdict = json.loads((config.parent / "work/runs/2024-06-01/gate.json").read_text())
    assert verdict["verdict"] == "failed"
    assert "is not TOML" in verdict["reasons"][0]


def test_a_setting_of_spark_must_have_a_value(config: Path, call: Callable[..., Any]) -> None:
    said = call("run", "--config", config, "--workspace", config.parent / "w", "--engine", "spark", "--conf", "abc")
    assert said.code == 2
    assert "must read key=value" in said.err


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SPARK_HOME", "/nowhere/spark", "SPARK_HOME is /nowhere/spark, where no bin/spark-submit"),
        ("SPARK_HOME", "old", "which is Spark 3.5.1, and this Python has pyspark"),
        ("JAVA_HOME", "/nowhere/java", "JAVA_HOME is /nowhere/java"),
    ],
)
def test_a_wrong_home_is_named(
    name: str, value: str, says: str, config: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    old = config.parent / "old"
    for file in ("bin/spark-submit", "jars/spark-core_2.12-3.5.1.jar"):
        (old / file).parent.mkdir(parents=True, exist_ok=True)
        (old / file).touch(mode=0o755)
    monkeypatch.setenv(name, str(old) if value == "old" else value)
    said = call("run", "--config", config, "--workspace", config.parent / "w", "--engine", "spark")
    assert said.code == 2, said.err
    assert says in said.err
