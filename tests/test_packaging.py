"""The two wheels of this repository, built from their own source archives and installed into empty environments.

No index is asked: setuptools and pip come from this environment, and so do the packages that ours require.
"""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tests.graphquilt.published_tables import publish_nodes, random_nodes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
VERSION = (ROOT / "graphquilt" / "VERSION").read_text().strip()
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
#: The readers' requirements, and what is needed to see them as installed.
READERS_PACKAGES = ("numpy", "pyarrow")


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Kernels are not run here, and compiling them takes half a minute. A Spark session that this process started before
    # has set PYTHONPATH to the clone: the wheels would not be what is imported.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"NUMBA_DISABLE_JIT": "1"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def checked(*command: object, cwd: Path = ROOT) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Archives:
    """What a project's build leaves."""

    wheel: Path
    source: Path

    @property
    def top_level(self) -> set[str]:
        """What the wheel puts into site-packages, without its metadata."""
        names = {name.split("/")[0] for name in zipfile.ZipFile(self.wheel).namelist()}
        return {name for name in names if not name.endswith(".dist-info")}

    @property
    def metadata(self) -> email.message.Message:
        with zipfile.ZipFile(self.wheel) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return email.message_from_string(wheel.read(name).decode())


def build(project: Path, output: Path) -> Archives:
    """Build a source archive, and the wheel from it."""
    checked(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, project)
    return Archives(next(output.glob("*.whl")), next(output.glob("*.tar.gz")))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is in the repository, since a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("clone")
    for name in checked("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def readers(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return build(clone / "graphquilt", tmp_path_factory.mktemp("readers"))


@pytest.fixture(scope="module")
def pipeline(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return build(clone, tmp_path_factory.mktemp("pipeline"))


def new_environment(folder: Path, *wheels: Path) -> Path:
    """Make an environment that holds some wheels and nothing else; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = ("install", "--quiet", "--no-index", "--no-deps")
    checked(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, *install, *wheels)
    return python


def site_packages(python: Path) -> Path:
    return next(python.parents[1].glob("lib/python*/site-packages"))


def check_requirements(python: Path) -> None:
    """Ask pip whether all that is installed finds what it requires."""
    checked(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "check")


@pytest.fixture(scope="module")
def readers_python(readers: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the readers' wheel, numpy and pyarrow."""
    python = new_environment(tmp_path_factory.mktemp("readers-environment"), readers.wheel)
    for package in READERS_PACKAGES:
        for folder in {file.parts[0] for file in metadata.files(package) or () if file.parts[0] != ".."}:
            (site_packages(python) / folder).symlink_to(SITE_PACKAGES / folder)
    check_requirements(python)
    return python


@pytest.fixture(scope="module")
def pipeline_python(readers: Archives, pipeline: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with both wheels, and all packages of this one but our own."""
    python = new_environment(tmp_path_factory.mktemp("pipeline-environment"), readers.wheel, pipeline.wheel)
    # A folder that a .pth file names is searched, but its own .pth files, those of our clone, are not read.
    (site_packages(python) / "packages.pth").write_text(f"{SITE_PACKAGES}\n")
    return python


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    publish_nodes(folder, random_nodes(np.random.default_rng(0), {"user": 5}))
    return folder


def test_each_wheel_has_its_own_names(readers: Archives, pipeline: Archives) -> None:
    assert readers.top_level == {"graphquilt"}
    assert pipeline.top_level == {"jobs", "pipeline", "schemas"}


def test_wheels_hold_what_is_no_module(readers: Archives, pipeline: Archives) -> None:
    names = {*zipfile.ZipFile(readers.wheel).namelist(), *zipfile.ZipFile(pipeline.wheel).namelist()}
    assert {f"{package}/py.typed" for package in ("graphquilt", "jobs", "pipeline", "schemas")} <= names
    frozen = {str(path.relative_to(ROOT)) for path in ROOT.glob("schemas/published/*.json")}
    assert {"schemas/CHANGELOG.md", *frozen} <= names
    for project in (readers, pipeline):
        with tarfile.open(project.source) as source:
            licenses = [member for member in source.getmembers() if member.name.endswith("/LICENSE")]
        assert [member.size for member in licenses] == [(ROOT / "LICENSE").stat().st_size]


def test_every_module_is_in_a_wheel(readers: Archives, pipeline: Archives) -> None:
    names = {*zipfile.ZipFile(readers.wheel).namelist(), *zipfile.ZipFile(pipeline.wheel).namelist()}
    modules = checked("git", "ls-files", "graphquilt/*.py", "jobs/*.py", "pipeline/*.py", "schemas/*.py").split()
    assert {name for name in modules if (ROOT / name).exists()} <= names


def test_there_is_one_version(readers: Archives, pipeline: Archives) -> None:
    assert readers.metadata["Version"] == pipeline.metadata["Version"] == VERSION
    requirements = pipeline.metadata.get_all("Requires-Dist") or []
    assert [requirement for requirement in requirements if "extra" not in requirement] == [f"graphquilt=={VERSION}"]
    assert readers.metadata.get_all("Provides-Extra") == ["store"]  # tables in object stores


@pytest.mark.parametrize("project", ["readers", "pipeline"])
def test_projects_say_what_they_are(project: str, request: pytest.FixtureRequest) -> None:
    about = request.getfixturevalue(project).metadata
    assert about["Name"] == {"readers": "graphquilt", "pipeline": "graphquilt-pipeline"}[project]
    assert "Typing :: Typed" in about.get_all("Classifier")
    assert about["License-Expression"] == "Apache-2.0"
    assert {url.split(",")[0] for url in about.get_all("Project-URL")} >= {"Homepage", "Changelog", "Issues"}
    assert len(about.get_payload()) > 500  # the README


def test_a_reader_opens_a_table(readers_python: Path, workspace: Path, tmp_path: Path) -> None:
    read = (
        "import json, sys; from graphquilt import EmbeddingTable, __version__;"
        f"table = EmbeddingTable.open({str(workspace)!r});"
        "print(json.dumps([len(table), __version__, sorted({'jobs', 'pipeline', 'schemas'} & set(sys.modules))]))"
    )
    assert json.loads(checked(readers_python, "-c", read, cwd=tmp_path)) == [5, VERSION, []]
    command = readers_python.with_name("graphquilt")
    folder = Path(checked(command, "current", "--workspace", workspace, cwd=tmp_path).strip())
    assert folder.name == "node_embeddings"
    assert checked(command, "check", "--workspace", workspace, "--deep", cwd=tmp_path).startswith("ok: ")
    assert checked(command, "--version", cwd=tmp_path) == f"graphquilt {VERSION}\n"


@pytest.mark.parametrize("arguments", [("run", "--config", "c.toml", "--workspace", "w"), ("doctor",), ("init", "x")])
def test_a_reader_is_told_what_the_pipeline_is_in(
    arguments: tuple[str, ...], readers_python: Path, tmp_path: Path
) -> None:
    done = run(readers_python.with_name("graphquilt"), *arguments, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs graphquilt-pipeline" in done.stderr
    assert "pip install 'graphquilt-pipeline[local]'" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr


def test_types_of_readers_are_seen(readers_python: Path, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "from graphquilt import EmbeddingTable\nreveal_type(EmbeddingTable.open('w').dim)\nEmbeddingTable.open(1)\n"
    )
    environment = ("--python-executable", readers_python, "--cache-dir", tmp_path / "cache")
    done = run(sys.executable, "-m", "mypy", *environment, "use.py", cwd=tmp_path)
    assert 'use.py:2: note: Revealed type is "int"' in done.stdout, done.stdout + done.stderr
    assert "use.py:3: error" in done.stdout
    assert "import-untyped" not in done.stdout


def test_the_pipeline_works_from_its_wheel(pipeline_python: Path, workspace: Path, tmp_path: Path) -> None:
    about = json.loads(checked(pipeline_python.with_name("graphquilt"), "doctor", "--json", cwd=tmp_path))
    findings = {finding["subject"]: finding for finding in about["findings"]}
    assert findings["graphquilt-pipeline"]["found"] == findings["graphquilt"]["found"] == VERSION
    assert findings["graphquilt"]["is_fine"]
    assert about["ok"]


def test_spark_submit_finds_its_entries(pipeline_python: Path, tmp_path: Path) -> None:
    entries = sorted(path.stem for path in ROOT.glob("jobs/*.py") if path.stem != "__init__")
    assert {"run", "ingest", "publish"} <= set(entries)
    code = f"import {', '.join(f'jobs.{entry}' for entry in entries)}; print(jobs.__file__)"
    assert str(site_packages(pipeline_python)) in checked(pipeline_python, "-c", code, cwd=tmp_path)
