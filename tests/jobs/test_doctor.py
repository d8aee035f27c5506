import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from llvmlite.binding import get_host_cpu_name

from jobs.commands import installed, kernel_cache, machine

ROOT = Path(__file__).parents[2]


def subjects(said: Any) -> dict[str, dict[str, Any]]:
    return {finding["subject"]: finding for finding in said.json["findings"]}


def test_this_environment_is_complete(tmp_path: Path, call: Callable[..., Any]) -> None:
    said = call("doctor", "--workspace", tmp_path / "not" / "there", "--json")
    assert said.code == 0, said.out
    found = subjects(said)
    assert {"python", "numpy", "pyarrow", "polars", "java", "cores", "memory", "kernels"} <= set(found)
    assert [found[name]["is_fine"] for name in ("workspace", "fsync", "locks", "hard links")] == [True] * 4
    assert list(tmp_path.iterdir()) == []
    assert "all that runs need is here" in call("doctor").out


def test_a_missing_package_is_named_with_the_cure(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version

    def version(name: str) -> str:
        if name in ("polars", "pyspark"):
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "pydantic" else known(name)

    monkeypatch.setattr(metadata, "version", version)
    said = call("doctor", "--json")
    assert said.code == 1
    found = subjects(said)
    assert "pip install 'graphquilt-pipeline[local]'" in found["polars"]["advice"]
    assert found["pydantic"]["found"].startswith("1.0, but ")
    assert not found["pyspark"]["is_needed"]
    assert "something that runs need is missing" in call("doctor").out


@pytest.mark.parametrize(
    ("version", "bound", "holds"),
    [
        ("3.10", ">=3.4", True),
        ("2.0.0", ">=2", True),
        ("2.9.1", "<3", True),
        ("3.0", "<3", False),
        ("2026.8.0", ">=2025.1", True),
        ("0.9rc1", ">=0.10", False),
        ("0.2.0", "==0.2", True),
        ("0.2.1", "==0.2.0", False),
    ],
)
def test_versions_are_numbers(version: str, bound: str, holds: bool) -> None:
    assert installed._holds(version, bound) is holds


def test_missing_and_old_java_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = installed.java()
    assert (missing.found, missing.is_needed) == ("not found", False)
    fake = tmp_path / "java"
    fake.write_text('#!/bin/sh\necho "openjdk version \\"1.8.0_392\\"" >&2\n')
    fake.chmod(0o755)
    assert not installed.java().is_fine
    fake.write_text('#!/bin/sh\necho "openjdk version \\"21\\" 2023-09-19" >&2\n')
    assert installed.java().is_fine
    fake.write_text("#!/bin/sh\nexit 3\n")
    assert "does not run" in installed.java().found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_exits_1(tmp_path: Path, call: Callable[..., Any]) -> None:
    tmp_path.chmod(0o500)
    said = call("doctor", "--workspace", tmp_path, "--json")
    tmp_path.chmod(0o700)
    assert said.code == 1
    assert "can't be written" in subjects(said)["workspace"]["found"]


def test_locks_and_links_that_fail_are_told(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    said = call("doctor", "--workspace", tmp_path, "--json")
    assert said.code == 0  # copies do
    assert not subjects(said)["hard links"]["is_fine"]
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    said = call("doctor", "--workspace", tmp_path, "--json")
    assert said.code == 1
    assert subjects(said)["locks"]["found"] == "have no effect"
    assert call("doctor", "--workspace", "s3://bucket/w", "--json").code == 1


LOOK = """
import sys
import pipeline.kernels
pipeline.kernels.__path__[:] = [sys.argv[1]]
if sys.argv[2] == "compile":
    from pipeline.kernels.warm import warm_kernels
    warm_kernels()
from jobs.commands.kernel_cache import kernel_cache
finding = kernel_cache()
print(finding.is_fine, finding.found)
"""


@pytest.mark.slow
def test_the_cache_is_told_warm_only_once_it_is(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    for name in ("__init__.py", "array_types.py", "hashing.py", "warm.py"):
        shutil.copy(ROOT / "pipeline" / "kernels" / name, kernels)

    def look(how: str) -> str:
        env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", LOOK, str(kernels), how]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wanted = (kernels / "hashing.py").read_text().count("@kernel\n")
    assert wanted
    assert look("only look").startswith(f"False 0 of {wanted} ")
    assert look("compile").startswith(f"True {wanted} of {wanted} ")
    assert look("only look").startswith(f"True {wanted} of {wanted} ")
    source = kernels / "hashing.py"
    index = next((tmp_path / "cache").rglob("hashing.*.nbi"))
    assert kernel_cache._is_fresh(index, source, metadata.version("numba"), get_host_cpu_name())
    assert not kernel_cache._is_fresh(index, source, metadata.version("numba"), "another-cpu")
    assert not kernel_cache._is_fresh(index, source, "0.1", get_host_cpu_name())
    source.write_text(source.read_text() + "\n# changed\n")
    assert look("only look").startswith(f"False 0 of {wanted} ")


def test_the_machine_is_no_larger_than_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    whole = machine.cores(), machine.memory_bytes()
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    assert (machine.cores(), machine.memory_bytes()) == (0.5, 2**20)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (machine.cores(), machine.memory_bytes()) == whole
