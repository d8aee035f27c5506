import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jobs.cli
from graphquilt import __main__ as command
from graphquilt.__main__ import HELP, main
from jobs.arguments import STAGE_NAMES
from tests.graphquilt.published_neighbors import publish_lists, random_lists
from tests.graphquilt.published_tables import publish_nodes, random_nodes

ROOT = Path(__file__).parents[2]
COMMANDS = [
    *("init", "run", "ingest", "index", "partition", "layout", "embed", "aggregate", "evaluate", "publish"),
    *("plan", "tune", "inspect", "query", "export", "report", "current", "check", "rollback", "clean"),
    *("doctor", "config"),
]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    nodes = random_nodes(np.random.default_rng(0), {"item": 20, "user": 30})
    publish_nodes(tmp_path, nodes, date=yesterday, files=2, release=f"{yesterday}-a")
    return tmp_path


def test_help_lists_every_command() -> None:
    listed = [line.split()[0] for line in HELP.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(COMMANDS)
    assert set(listed) == {"run", "evaluate", "current", "check", *STAGE_NAMES, *jobs.cli.COMMANDS}


def test_help_and_version_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == HELP
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("graphquilt 0.")


def test_current_prints_the_folder_of_the_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["current", "--workspace", str(workspace)]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert sorted(path.name for path in folder.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    assert main(["current", "--workspace", str(workspace), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["path"] == str(folder)
    assert [Path(file).name for file in about["files"]] == ["part-00000.parquet", "part-00001.parquet"]


def test_current_without_a_release_or_table_exits_4(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["current", "--workspace", str(workspace), "--name", "other"]) == 4
    assert "published there: ['default']" in capsys.readouterr().err
    assert main(["current", "--workspace", str(workspace), "--table", "ppr_neighbors", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["ok"] is False


@pytest.mark.parametrize(
    ("bounds", "code", "says"),
    [
        ([], 0, "ok: "),
        (["--max-age", "49h", "--min-rows", "50", "--space-id", "space-1"], 0, "50 rows"),
        (["--max-age", "0s"], 3, "hours old, at most 0 are wanted"),
        (["--min-rows", "51"], 3, "50 rows, at least 51"),
        (["--space-id", "space-2"], 3, "space-2 is wanted"),
        (["--deep"], 0, "ok: "),
    ],
)
def test_check_holds_its_bounds(
    workspace: Path, capsys: pytest.CaptureFixture[str], bounds: list[str], code: int, says: str
) -> None:
    assert main(["check", "--workspace", str(workspace), *bounds]) == code
    assert says in capsys.readouterr().out


@pytest.fixture
def lists_only(tmp_path: Path) -> Path:
    publish_lists(tmp_path, random_lists(np.random.default_rng(0), {"item": 20, "user": 31}))
    return tmp_path


def test_current_of_lists_needs_their_name(lists_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["current", "--workspace", str(lists_only)]) == 4
    assert "has no table 'node_embeddings'; ask for --table ppr_neighbors" in capsys.readouterr().err
    assert main(["current", "--workspace", str(lists_only), "--table", "ppr_neighbors"]) == 0
    assert capsys.readouterr().out.strip().endswith("/2024-06-01-aaaaaaaaaaaa/ppr_neighbors")


def test_check_of_lists_counts_their_rows(lists_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["check", "--workspace", str(lists_only)]
    assert main([*where, "--min-rows", "51", "--deep"]) == 0
    assert "ok: 2024-06-01-aaaaaaaaaaaa, ppr_neighbors 51 rows" in capsys.readouterr().out
    assert main([*where, "--min-rows", "52", "--max-age", "1h"]) == 3
    said = capsys.readouterr().out
    assert "ppr_neighbors has 51 rows, at least 52 are wanted" in said
    assert "at most 1 are wanted" in said
    assert main([*where, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["table"], about["rows"], about["dim"], about["space_id"]) == ("ppr_neighbors", 51, None, None)
    assert about["tables"] == {"ppr_neighbors": {"rows": 51, "top_k": 5, "restart": 0.25}}


def test_check_of_lists_has_no_space_and_no_vectors(lists_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["check", "--workspace", str(lists_only)]
    assert main([*where, "--space-id", "space-1"]) == 4
    assert "has no vectors, which --space-id is about: ppr_neighbors only" in capsys.readouterr().err
    assert main([*where, "--table", "node_embeddings"]) == 4
    assert "no table 'node_embeddings'; it has ['ppr_neighbors']" in capsys.readouterr().err


def test_check_of_both_counts_the_vectors_and_opens_the_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lists = random_lists(rng, {"item": 20, "user": 31})
    publish_lists(tmp_path, lists, vectors=random_nodes(rng, {"user": 8}))
    where = ["check", "--workspace", str(tmp_path), "--min-rows", "9"]
    assert main(where) == 3
    assert "node_embeddings has 8 rows" in capsys.readouterr().out
    assert main([*where, "--table", "ppr_neighbors", "--space-id", "space-1"]) == 0
    assert "node_embeddings 8 rows, ppr_neighbors 51 rows" in capsys.readouterr().out
    publish_lists(tmp_path, lists, vectors=random_nodes(rng, {"user": 8}), release="2024-06-01-b", contract_version=2)
    assert main(["check", "--workspace", str(tmp_path)]) == 4
    assert "ppr_neighbors version 2, this reader knows version 1" in capsys.readouterr().err


def test_check_says_every_broken_bound_in_one_object(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--workspace", str(workspace), "--min-rows", "99", "--space-id", "x", "--json"]) == 3
    about = json.loads(capsys.readouterr().out)
    assert (about["ok"], len(about["findings"]), about["rows"], about["dim"]) == (False, 2, 50, 8)


def test_the_age_of_dated_data_counts_from_the_end_of_their_day(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--workspace", str(workspace), "--json"]) == 0
    age = json.loads(capsys.readouterr().out)["age_hours"]
    now = dt.datetime.now(dt.UTC)
    since_midnight = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 3600
    assert abs(age - since_midnight) < 0.1 or abs(age - since_midnight - 24) < 0.1  # or midnight has just passed


MIDDAY = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("date", "published", "code", "age"),
    [
        (dt.date(2037, 6, 8), MIDDAY, 3, -92292.0),
        (dt.date(2026, 11, 29), MIDDAY, 3, -36.0),
        (dt.date(2026, 11, 28), MIDDAY, 0, 0.0),  # the day has not ended: not old at all
        (dt.date(2026, 11, 27), MIDDAY, 0, 12.0),
        (dt.date(1970, 1, 1), MIDDAY + dt.timedelta(minutes=2), 0, 0.0),  # two clocks
        (dt.date(1970, 1, 1), MIDDAY + dt.timedelta(hours=2), 3, -2.0),
    ],
)
def test_data_of_the_future_are_never_well(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    date: dt.date,
    published: dt.datetime,
    code: int,
    age: float,
) -> None:
    monkeypatch.setattr(command, "utc_now", lambda: MIDDAY)
    publish_nodes(tmp_path, random_nodes(np.random.default_rng(0), {"u": 3}), date=date, now=published)
    for bound in ([], ["--max-age", "99999d"]):
        assert main(["check", "--workspace", str(tmp_path), *bound]) == code
        said = capsys.readouterr().out
        assert said.startswith("ok: ") == (code == 0)
        assert ("its age is negative" in said) == (code == 3)
        assert "-" not in said.split(" rows, ")[-1] or code == 3
    assert main(["check", "--workspace", str(tmp_path), "--json"]) == code
    about = json.loads(capsys.readouterr().out)
    assert (about["ok"], about["age_hours"]) == (code == 0, age)


def test_the_age_of_undated_data_counts_from_publication(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = random_nodes(np.random.default_rng(0), {"u": 3})
    published = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)
    publish_nodes(tmp_path, nodes, date=dt.date(1970, 1, 1), now=published)
    assert main(["check", "--workspace", str(tmp_path), "--max-age", "6h"]) == 0
    assert main(["check", "--workspace", str(tmp_path), "--max-age", "270m"]) == 3


def test_a_damaged_table_exits_4_and_a_changed_byte_needs_deep(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = next(workspace.glob("published/default/releases/*/node_embeddings/part-00001.parquet"))
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    assert main(["check", "--workspace", str(workspace)]) == 0
    assert main(["check", "--workspace", str(workspace), "--deep"]) == 4
    assert "part-00001.parquet has other bytes" in capsys.readouterr().err
    part.unlink()
    assert main(["check", "--workspace", str(workspace), "--json"]) == 4
    assert "is missing" in json.loads(capsys.readouterr().out)["findings"][0]


def test_wrong_usage_exits_2(workspace: Path) -> None:
    for arguments in (["current"], ["check", "--workspace", str(workspace), "--max-age", "26"]):
        assert main(arguments) == 2


def run_without(module: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command where an import fails, as it does where an extra is not installed."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from graphquilt.__main__ import main; "
        f"sys.exit(main({arguments!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_current_needs_nothing_but_the_standard_library(workspace: Path) -> None:
    assert run_without("pyarrow", ["current", "--workspace", str(workspace)]).returncode == 0
    assert run_without("pydantic", ["check", "--workspace", str(workspace)]).returncode == 0


def test_a_missing_extra_is_named() -> None:
    done = run_without("pydantic", ["run", "--config", str(ROOT / "pyproject.toml"), "--workspace", "w"])
    assert done.returncode == 2
    assert "pip install 'graphquilt-pipeline[local]'" in done.stderr
