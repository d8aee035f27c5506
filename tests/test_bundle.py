"""What `make bundle` makes runs at another path, on a machine without Python, and compiles nothing there."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cpu_baseline import BASELINES
from tests.bare_machine import BareMachine, bare_machine
from tests.golden.digests import release_digests

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "sample" / "interactions.parquet"
CONFIG = """
[input]
path = "interactions.parquet"
source = "package"
target = "needs"
source_type = "package"
target_type = "package"
[partition]
parts = 3
[embedding]
dim = 32
[evaluate]
source = "none"
"""
RUN = ("run", "--config", "config.toml", "--workspace", "workspace")

#: Runs one kernel, then loads all of them; counts what numba compiled and what it found compiled.
LOAD = """
import numpy as np
from pipeline.kernels.hashing import hash_cells
from pipeline.kernels.warm import warm_kernels
assert hash_cells(np.arange(3, dtype=np.uint64), 4, 1).shape == (3, 4)
import json, site, sys
kernels = warm_kernels()
counts = {what: sum(sum(getattr(kernel.dispatcher.stats, what).values()) for kernel in kernels)
          for what in ("cache_hits", "cache_misses")}
print(json.dumps({**counts, "reads_packages_of_users": site.ENABLE_USER_SITE, "prefix": sys.prefix}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an environment is made on Linux with glibc only"),
]


@pytest.fixture(scope="module")
def large_folder() -> Iterator[Path]:
    """A folder for unpacked environments, of a gigabyte each: pytest would keep those of three runs."""
    with tempfile.TemporaryDirectory(prefix="graphquilt-bundle-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def bundle(large_folder: Path) -> Path:
    """A bundle of this clone, for which a package index is asked; or one made before, named by GRAPHQUILT_BUNDLE."""
    if existing := os.environ.get("GRAPHQUILT_BUNDLE"):
        return Path(existing).absolute()
    folder = large_folder / "build" / "bundle"
    done = subprocess.run([sys.executable, ROOT / "tools" / "bundle.py", folder], capture_output=True, text=True)
    if "No matching distribution found" in done.stderr:
        pytest.skip(f"no package index: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def machine(bundle: Path, large_folder: Path) -> BareMachine:
    """A bare machine with the environment in ``/opt/nightly`` and the sample in ``/work``."""
    machine = bare_machine(large_folder / "machine")
    unpack(bundle, machine.root / "opt" / "nightly")
    put_sample(machine.root / "work")
    return machine


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this environment publishes of the sample, with kernels for this machine's own CPU."""
    folder = tmp_path_factory.mktemp("here")
    put_sample(folder)
    done = subprocess.run([sys.executable, "-m", "graphquilt", *RUN], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return published(folder)


def unpack(bundle: Path, folder: Path) -> None:
    folder.mkdir()
    subprocess.run(["tar", "-C", folder, "-xzf", bundle / "environment.tar.gz"], check=True)


def put_sample(folder: Path) -> None:
    shutil.copy(SAMPLE, folder)
    (folder / "config.toml").write_text(CONFIG)


def published(folder: Path) -> dict[str, Any]:
    (release,) = (folder / "workspace" / "published" / "default" / "releases").iterdir()
    return release_digests(release)


def test_it_says_what_it_needs(bundle: Path) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    with tarfile.open(bundle / "environment.tar.gz") as archive:
        member = archive.extractfile("./bundle.json")
        assert member is not None
        assert json.load(member) == about
    glibc = tuple(map(int, about.pop("glibc").split(".")))
    assert (2, 17) <= glibc <= tuple(map(int, platform.libc_ver()[1].split(".")))
    assert about == {
        "graphquilt": (ROOT / "graphquilt" / "VERSION").read_text().strip(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "cpu": BASELINES[platform.machine()].cpu,
    }


def test_programs_name_no_folder_of_the_machine_that_made_them(bundle: Path) -> None:
    with tarfile.open(bundle / "environment.tar.gz") as archive:
        names = [member for member in archive.getmembers() if member.name.startswith("./bin/")]
        assert {"./bin/graphquilt", "./bin/python"} <= {member.name for member in names}
        python = "python{}.{}".format(*sys.version_info)
        assert {member.linkname for member in names if member.issym()} == {python}
        for member in names:
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                text = content.read()
                assert str(bundle).encode() not in text
                # The interpreter has the prefix that it was built with as its last resort.
                assert sys.base_prefix.encode() not in text or member.name.startswith("./bin/python")


def test_a_bare_machine_runs_the_sample_to_the_same_bytes(machine: BareMachine, digests: dict[str, Any]) -> None:
    assert machine.run("/bin/env", "python3").returncode == 127
    done = machine.run("/opt/nightly/bin/graphquilt", *RUN, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert published(machine.root / "work") == digests
    # Nothing was compiled, neither here nor there.
    assert not list((machine.root / "tmp").glob("graphquilt-numba-*"))
    assert not list((machine.root / "work").rglob("*.nbi"))


def test_a_bare_machine_compiles_nothing(machine: BareMachine) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = machine.run("/opt/nightly/bin/python", "-c", LOAD)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about.pop("cache_hits") >= 100
    assert about == {"cache_misses": 0, "reads_packages_of_users": False, "prefix": "/opt/nightly"}
    # Processor time, since other tests run meanwhile; compiling takes ten times as much.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_libraries_of_a_machine_do_not_stand_in_for_its_own(machine: BareMachine) -> None:
    """Hadoop, CUDA and the like set LD_LIBRARY_PATH for all that they start."""
    others = machine.root / "work" / "others"
    others.mkdir()
    for library in (machine.root / "opt" / "nightly" / "lib").glob("*.so*"):
        (others / library.name).write_text("no library")
    done = machine.run("/opt/nightly/bin/python", "-c", LOAD, variables={"LD_LIBRARY_PATH": "/work/others"})
    assert done.returncode == 0, done.stderr


@pytest.mark.spark
def test_executors_unpack_it(bundle: Path, digests: dict[str, Any], large_folder: Path, tmp_path: Path) -> None:
    """As on YARN: the driver has the environment, and executors get the archive. The cluster brings pyspark."""
    import pyspark

    put_sample(tmp_path)
    unpack(bundle, large_folder / "driver")
    home = large_folder / "spark"  # workers of local-cluster keep their files there
    home.mkdir()
    for path in Path(pyspark.__file__).parent.iterdir():
        if path.name != "work":
            (home / path.name).symlink_to(path)
    command = [
        *(home / "bin" / "spark-submit", "--master", "local-cluster[2,1,1024]"),
        *("--archives", f"{bundle / 'environment.tar.gz'}#environment"),
        *("--conf", "spark.pyspark.python=./environment/bin/python"),
        *("--conf", f"spark.pyspark.driver.python={large_folder / 'driver' / 'bin' / 'python'}"),
        *(bundle / "jobs" / "run.py", "--config", "config.toml", "--workspace", tmp_path / "workspace"),
        *("--set", f"input.path={tmp_path / SAMPLE.name}"),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYSPARK_", "NUMBA_"))}
    done = subprocess.run(command, cwd=tmp_path, env={**kept, "SPARK_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert published(tmp_path) == digests
