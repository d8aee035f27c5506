"""Random secrets at random places of commands and configs: refused, and in no byte that is written."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphquilt.__main__ import main
from pipeline import storage
from tests.secrets_in_addresses import SECRETS, addresses

ROOT = Path(__file__).parents[2]
INPUT = "[input]\npath = '{path}'\n"
#: Where a secret can stand in a config; "" takes a TOML string.
IN_CONFIG = {
    "input.path": "[input]\npath = {}\n",
    "attributes.user.path": INPUT + "[attributes.user]\npath = {}\ncategories = ['c']\n",
    "evaluate.path": INPUT + "[evaluate]\nsource = 'file'\npath = {}\n",
    "ppr.sources": INPUT + "[ppr]\nneighbors = true\nsources = {}\n",
    "partition.graphframes_jar": INPUT + "[partition]\ngraphframes_jar = {}\n",
    "input.pathh": INPUT + "pathh = {}\n",
    "input.event_weights": INPUT + "event = 'e'\nevent_weights = {{{} = 1.0}}\n",
    "a section": INPUT + "[{}]\nx = 1\n",
}
#: Commands with "S" for the secret, "C" for a sound config and "W" for a workspace.
COMMANDS = [
    *("run --config C --workspace S", "run --config C --workspace=S", "run --config S --workspace W"),
    *("ingest --config C --workspace W --set input.path=S", "run --config C --workspace W --set S"),
    *("run --config C --workspace W --dask S", "run --config C --workspace W --engine spark --conf S"),
    *("run --config C --workspace W --engine spark --conf spark.jars=S", "run S --config C --workspace W"),
    "run --config C --workspace W --engine spark --remote S",
    *("run --config C --workspace W --date S", "run --config C --workspace W --workers S --json"),
    *("init S --out W/c.toml", "init x.csv --out S", "plan --config S", "tune --config C --workspace S --budget 1"),
    *("query neighbors S --workspace W", "inspect --workspace S", "clean --workspace S", "doctor --workspace S"),
    *("rollback --workspace W --name S", "config --check S", "evaluate --table S", "current --workspace S"),
    *("check --workspace S --json", "check --workspace W --name S", "S", "--unknown S", "run --unknown=S --json"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "in.csv").write_text("source,target\n" + "".join(f"{u},{i}\n" for u in range(9) for i in range(u + 1)))
    (folder / "c.toml").write_text(INPUT.format(path=folder / "in.csv"))
    return folder


def said_by(arguments: list[str]) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(arguments)
        except SystemExit as leaving:  # of argparse
            code = int(leaving.code or 0)
    return code, out.getvalue()


def refuse(arguments: list[str], secret: str, place: Path) -> None:
    code, said = said_by(arguments)
    assert code == 2, said
    assert secret not in said
    assert json.dumps(secret)[1:-1] not in said
    assert "holds a secret" in said
    for path in (place / "w").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    shutil.rmtree(place / "w", ignore_errors=True)


@given(st.data(), SECRETS, st.sampled_from(COMMANDS))
def test_a_secret_on_the_command_line_is_refused(place: Path, data: st.DataObject, secret: str, command: str) -> None:
    address = data.draw(addresses(secret))
    known = {"C": str(place / "c.toml"), "W": str(place / "w"), "W/c.toml": str(place / "w" / "c.toml")}
    words = [known.get(word, word.replace("S", address) if word.endswith("S") else word) for word in command.split()]
    refuse(words, secret, place)


@given(st.data(), SECRETS, st.sampled_from(sorted(IN_CONFIG)), st.sampled_from(["run", "plan", "config", "evaluate"]))
def test_a_secret_in_a_config_is_refused(
    place: Path, data: st.DataObject, secret: str, where: str, command: str
) -> None:
    address = data.draw(addresses(secret))
    config = place / "secret.toml"
    config.write_text(IN_CONFIG[where].format(json.dumps(address), path=place / "in.csv"))
    workspace = [] if command == "config" else ["--workspace", str(place / "w")]
    refuse([command, "--check" if command == "config" else "--config", str(config), *workspace], secret, place)


@given(st.data(), SECRETS)
def test_what_is_written_as_json_is_masked(place: Path, data: st.DataObject, secret: str) -> None:
    address = data.draw(addresses(secret))
    storage.write_json(place / "gate.json", {"reasons": [f"input {address} can't be opened"], "n": 1})
    assert secret.encode() not in (place / "gate.json").read_bytes()
    assert storage.read_json(place / "gate.json")["n"] == 1  # type: ignore[index]  # and still JSON


@pytest.mark.slow
@pytest.mark.parametrize("script", ["jobs/ingest.py", "jobs/run.py"])
def test_a_job_of_spark_submit_refuses_them_too(place: Path, script: str) -> None:
    command = [sys.executable, str(ROOT / script), "--config", str(place / "c.toml"), "--workspace", "s3://K:hush@b/x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "--workspace holds a secret" in done.stderr
    assert "hush" not in done.stderr + done.stdout
