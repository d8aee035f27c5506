import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphquilt import EmbeddingTable
from jobs.arguments import STAGE_NAMES, options_of, stage_parser, stages_named
from jobs.cli import COMMANDS
from pipeline.errors import ConfigError
from pipeline.stages import chain
from tests.jobs.conftest import write_shop

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "pyarrow", "pydantic", "numba", "scipy", "polars", "pyspark", "distributed"}
UNUSED = {"pandas", "polars", "scipy.linalg", "scipy.sparse", "pyspark", "distributed", "dask", "matplotlib", "sklearn"}


def test_the_stages_are_those_of_the_chain() -> None:
    assert chain.STAGE_NAMES == STAGE_NAMES


@pytest.mark.parametrize("command", ["run", *STAGE_NAMES, *COMMANDS])
def test_every_command_helps_with_an_example(command: str, call: Callable[..., Any]) -> None:
    said = call(command, "--help")
    assert said.code == 0
    assert f"  graphquilt {command}" in said.out.split("examples")[1]


def test_help_waits_for_no_heavy_import() -> None:
    commands = ["run", "embed", *COMMANDS]
    code = (
        "import sys, contextlib\nfrom graphquilt.__main__ import main\n"
        f"for command in {commands!r}:\n"
        "    with contextlib.suppress(SystemExit): main([command, '--help'])\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_local_run_loads_no_package_that_it_does_not_use(tmp_path: Path) -> None:
    arguments = ["run", "--config", str(write_shop(tmp_path)), "--workspace", str(tmp_path / "work")]
    code = (
        "import sys\nfrom graphquilt.__main__ import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print(sorted(set(sys.modules) & {UNUSED!r}))\n"
        "import pandas, pyarrow, scipy.linalg\n"  # both are there, for whoever asks
        "print(pyarrow.table({'a': [1]}).to_pandas()['a'].sum())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["[]", "1"]


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("last", range(8))
def test_any_stages_in_a_row_may_be_asked_for(first: int, last: int) -> None:
    names = STAGE_NAMES[first : last + 1]
    assert stages_named(names) == (names or STAGE_NAMES)


@pytest.mark.parametrize(
    "names", [("index", "embed"), ("layout", "partition"), ("index", "index"), ("publish", "ingest")]
)
def test_stages_out_of_order_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="do not follow each other"):
        stages_named(names)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bogus"], "there is no command 'bogus'"),
        (["run", "bogus", "--config", "c", "--workspace", "w"], "there is no stage 'bogus'"),
        (["run", "index", "embed", "--config", "c", "--workspace", "w"], "do not follow each other"),
        (["run", "--config", "c"], "required: --workspace"),
        (["run", "--config", "c", "--workspace", "w", "--date", "yesterday"], "'yesterday' is no date"),
        (["run", "--config", "c", "--workspace", "w", "--workers", "0"], "whole number from 1 on"),
        (["run", "--config", "c", "--workspace", "w", "--work", "2"], "there is no option --work; did you mean --work"),
        (["run", "--config", "missing.toml", "--workspace", "w"], "missing.toml can't be read"),
        (["plan", "--config", "missing.toml", "--workspace", "w"], "missing.toml can't be read"),
        (["inspect", "--workspace", "nowhere"], "there is no workspace"),
        (["inspect", "--workspace", "hdfs://node/w"], "hdfs://node/w is on 'hdfs'"),
        (["rollback", "--workspace", "nowhere"], "there is no workspace"),
        (["clean", "--workspace", "nowhere"], "there is no workspace"),
        (["clean", "--workspace", "w", "--keep-runs", "0"], "whole number from 1 on"),
        (["config"], "required"),
        (["config", "--check", "missing.toml"], "missing.toml can't be read"),
    ],
)
@pytest.mark.parametrize("is_json", [False, True])
def test_wrong_usage_exits_2_with_a_sentence(
    arguments: list[str],
    sentence: str,
    is_json: bool,
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = call(*arguments, *(["--json"] if is_json else []))
    assert said.code == 2
    assert sentence in said.err
    if is_json:
        assert sentence in said.json["error"]
        assert said.json["exit_code"] == 2
    else:
        assert said.out == ""


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("embedding.dim", "must read section.key=value"),
        ("embedding.dims=4", "did you mean 'dim'?"),
        ("embedding.dim=0", "embedding.dim is 0"),
        ("embedding.method=fastprp", "embedding.method is 'fastprp'"),
        ("evaluate.source=shadow", "not built yet"),
        ("partition.components=graphframes", "run with --engine spark"),
    ],
)
def test_a_wrong_override_is_explained(override: str, sentence: str, shop: Any, tmp_path: Path, call: Any) -> None:
    said = call("run", "--config", shop.config, "--workspace", tmp_path, "--set", override, "--json")
    assert said.code == 2
    assert sentence in said.json["error"]


def test_jobs_parse_what_the_commands_parse() -> None:
    words = ["--config", "c.toml", "--workspace", "w", "--date", "2024-06-01", "--conf", "a=b"]
    options = options_of(stage_parser("spark").parse_args(words))
    assert (options.engine, str(options.date), options.spark_conf) == ("spark", "2024-06-01", ("a=b",))


def test_a_run_says_one_object_and_repeats_nothing(shop: Any) -> None:
    said = shop.call("run", "--config", shop.config, "--date", "2024-03-02", "--json")
    assert said.code == 0, said.err
    assert said.json["verdict"] == "unchanged"
    assert [stage["skipped"] for stage in said.json["stages"]] == [True] * 7 + [False]
    assert {"release", "path", "published", "metrics", "seconds", "run_id"} <= set(said.json)
    assert all(" level=" in line for line in said.err.splitlines()[:-4] if line.startswith("20"))


def test_stages_can_run_in_parts(tmp_path: Path, call: Any, shop: Any) -> None:
    where = ["--config", shop.config, "--workspace", tmp_path, "--date", "2024-03-01"]
    early = call("run", "index", "partition", *where)
    assert early.code == 1
    assert "run 'graphquilt ingest' first" in early.err
    assert call("ingest", *where).code == 0
    done = call("run", "index", "partition", *where, "--json")
    assert [stage["stage"] for stage in done.json["stages"]] == ["index", "partition"]
    # Options may stand between the stages, too.
    done = call("run", "layout", *where, "embed", "--json")
    assert done.code == 0, done.err
    assert [stage["stage"] for stage in done.json["stages"]] == ["layout", "embed"]


def test_a_scheduler_knows_the_verdict_of_its_own_run_by_the_id_that_it_gave(
    shop: Any, tmp_path: Path, call: Any
) -> None:
    where = ["--config", shop.config, "--workspace", tmp_path, "--date", "2024-03-01"]
    folder, gates = tmp_path / "runs" / "2024-03-01", []
    for stages in (["ingest"], ["run"], ["run"]):
        assert call(*stages, *where, "--run-id", f"nightly/{len(gates)}").code == 0
        gates.append(json.loads((folder / "gate.json").read_text()))
    assert [gate["run_id"] for gate in gates] == ["nightly/0", "nightly/1", "nightly/2"]
    assert [(gate["verdict"], gate["exit_code"], gate.get("current_moved")) for gate in gates] == [
        ("done", 0, None),
        ("published", 0, True),
        ("unchanged", 0, False),
    ]
    with EmbeddingTable.open(tmp_path / "published" / "shop") as table:
        assert gates[1]["space_id"] == table.space_id
        about = gates[1]["tables"]["node_embeddings"]
        assert (about["rows"], Path(about["path"]).is_dir()) == (len(table), True)
        assert gates[1]["current"]["release"] == gates[1]["release"] == table.release
    wrong = call("run", *where, "--run-id", "two words")
    assert wrong.code == 2
    assert "is no run id" in wrong.err


def test_bad_input_exits_4_and_a_refusing_gate_3(shop: Any, tmp_path: Path, call: Any) -> None:
    where = ["--config", shop.config, "--workspace", tmp_path, "--date", "2024-03-01", "--json"]
    bad = call("run", *where, "--set", "input.source=usr_id")
    assert (bad.code, bad.json["exit_code"]) == (4, 4)
    assert "Did you mean 'user_id'?" in bad.json["error"]
    gate = json.loads((tmp_path / "runs" / "2024-03-01" / "gate.json").read_text())
    assert (gate["verdict"], gate["exit_code"]) == ("failed", 4)
    refused = call("run", *where, "--set", "publish.gates.min_rows=1000")
    assert (refused.code, refused.json["exit_code"]) == (3, 3)
    gate = json.loads((tmp_path / "runs" / "2024-03-01" / "gate.json").read_text())
    assert (gate["verdict"], gate["exit_code"]) == ("refused", 3)
    assert not (tmp_path / "published" / "shop" / "CURRENT.json").exists()


def test_an_unexpected_error_is_no_bare_traceback(shop: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("the moon is blue")

    monkeypatch.setattr("jobs.commands.workspace_view.answer", broken)
    said = call("inspect", "--workspace", shop.workspace, "--json")
    assert said.code == 1
    assert said.json == {"error": "RuntimeError: the moon is blue", "exit_code": 1}
    assert "level=ERROR command=inspect error=RuntimeError" in said.err


def test_a_workspace_that_cannot_be_made_exits_1(shop: Any, tmp_path: Path, call: Any) -> None:
    (tmp_path / "file").write_text("")
    said = call("run", "--config", shop.config, "--workspace", tmp_path / "file", "--json")
    assert said.code == 1
    assert "can't be made" in said.json["error"]


@pytest.mark.parametrize(("missing", "engine", "extra"), [("pyspark", "spark", "spark"), ("polars", "local", "local")])
def test_a_missing_engine_is_named(
    missing: str, engine: str, extra: str, shop: Any, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("pipeline.engines.local", "pipeline.engines.spark"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    said = call("run", "--config", shop.config, "--workspace", tmp_path, "--engine", engine)
    assert said.code == 2
    assert f"pip install 'graphquilt-pipeline[{extra}]'" in said.err


def test_spark_without_java_is_said_before_a_jvm_is_sought(
    shop: Any, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = call("run", "--config", shop.config, "--workspace", tmp_path, "--engine", "spark")
    assert said.code == 2
    assert "Spark needs Java 17" in said.err
    said = call("run", "--config", shop.config, "--workspace", tmp_path, "--engine", "spark", "--conf", "spark.master")
    assert "--conf 'spark.master' must read key=value" in said.err


@pytest.mark.parametrize("command", [["config", "--defaults"], ["inspect"]])
def test_a_reader_that_goes_away_is_no_failure(command: list[str], shop: Any) -> None:
    where = ["--workspace", str(shop.workspace)] if command == ["inspect"] else []
    line = f"'{sys.executable}' -m graphquilt {' '.join([*command, *where])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
