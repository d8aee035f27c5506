"""Kernels that were compiled for a stated CPU are loaded at any path, also by who can't write there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cpu_baseline import BASELINES, CpuBaseline, baseline_of, write_baseline
from pipeline.numba_cache import cache_folder
from tests.other_user import NOBODY, as_another_user

ROOT = Path(__file__).parents[1]
BASELINE = BASELINES.get(platform.machine())

pytestmark = pytest.mark.skipif(BASELINE is None, reason=f"there is no baseline for {platform.machine()}")

#: Compiles or loads two kernels, and says for which CPU, from where, and how many it found compiled.
USE = """
import sys
from pathlib import Path
from pipeline.numba_cache import keep_kernels
if sys.argv[2] == "numba first":
    import numba
keep_kernels(Path(sys.argv[1]))
sys.path.insert(0, sys.argv[1])
import twice
assert twice.twice(21) == 42
(_, cpu, features) = twice.twice.targetctx.codegen().magic_tuple()
stats = twice.twice.stats
print((cpu, features), sum(stats.cache_hits.values()), stats.cache_path)
"""
KERNEL = "import numba\n@numba.njit('int64(int64)', cache=True)\ndef twice(n):\n    return 2 * n\n"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "twice.py").write_text(KERNEL)
    return folder


def use(sources: Path, *prefix: str, when: str = "numba later", **variables: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [*prefix, sys.executable, "-c", USE, str(sources), when]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_baseline_needs_its_file_its_features_and_no_other_name(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BASELINE is not None
    assert baseline_of(sources) is None
    write_baseline(sources, BASELINE)
    assert baseline_of(sources) == BASELINE
    monkeypatch.setenv("NUMBA_CPU_NAME", BASELINE.cpu)  # as a child of a process that uses it
    assert baseline_of(sources) == BASELINE
    monkeypatch.setenv("NUMBA_CPU_NAME", "native")
    assert baseline_of(sources) is None
    monkeypatch.delenv("NUMBA_CPU_NAME")
    write_baseline(sources, CpuBaseline("a-later-cpu", (*BASELINE.needs, "wings")))
    assert baseline_of(sources) is None


@pytest.mark.parametrize("when", ["numba first", "numba later"])
def test_a_shipped_kernel_is_loaded_at_another_path_by_who_cannot_write(
    sources: Path, tmp_path: Path, when: str
) -> None:
    assert BASELINE is not None
    write_baseline(sources, BASELINE)
    (sources / "__pycache__").mkdir()
    key = (BASELINE.cpu, "")
    assert use(sources) == f"{key} 0 {sources}/__pycache__"

    elsewhere = tmp_path / "elsewhere" / "kernels"
    shutil.copytree(sources, elsewhere, copy_function=shutil.copyfile)  # with new time stamps
    files = sorted((elsewhere / "__pycache__").iterdir())
    stamps = {file: file.stat().st_mtime_ns for file in files}
    prefix = as_another_user()
    assert use(elsewhere, *prefix, when=when) == f"{key} 1 {elsewhere}/__pycache__"
    (elsewhere / "twice.py").write_text(KERNEL.replace("2 * n", "n + n"))  # not what was compiled
    assert use(elsewhere, *prefix, when=when) == f"{key} 0 {elsewhere}/__pycache__"
    assert {file: file.stat().st_mtime_ns for file in (elsewhere / "__pycache__").iterdir()} == stamps


def test_a_cpu_that_the_user_names_is_compiled_for_where_he_says(sources: Path, tmp_path: Path) -> None:
    assert BASELINE is not None
    write_baseline(sources, BASELINE)
    (sources / "__pycache__").mkdir()
    use(sources)
    own = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path / "named")}
    assert use(sources, **own).startswith(f"{('generic', '')} 0 {tmp_path}/named/kernels_")
    own.pop("NUMBA_CPU_NAME")  # shipped kernels need no other folder
    assert use(sources, **own) == f"{(BASELINE.cpu, '')} 1 {sources}/__pycache__"


@pytest.mark.parametrize("trap", ["open to others", "another owner"])
def test_shipped_kernels_that_others_could_fill_are_not_loaded(sources: Path, trap: str) -> None:
    assert BASELINE is not None
    write_baseline(sources, BASELINE)
    folder = sources / "__pycache__"
    folder.mkdir()
    assert cache_folder(sources) == folder
    if trap == "open to others":
        folder.chmod(0o777)
    else:
        as_another_user()
        os.chown(folder, NOBODY, NOBODY)
    assert cache_folder(sources) != folder
