"""Compute what the golden tests compare: ``python -m tests.golden.rewrite`` writes ``tests/golden/digests.json``.

Only for a change that is meant to change published bytes: the diff of the file then says which tables moved. Names of
configurations (:data:`tests.golden.configs.NAMES`) limit the run; ``--out`` names another file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphquilt.locations import parse_location
from pipeline import storage
from pipeline.locations import Location
from tests.golden.configs import NAMES, config_named
from tests.golden.digests import release_digests
from tests.stages.chains import Chain, with_changes

DIGESTS = Path(__file__).with_name("digests.json")

#: OpenBLAS chooses its kernels by CPU, and each adds in another order. Any CPU with AVX2 can run these.
FIXED_BLAS = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}

#: Packages that bring an OpenBLAS of their own.
BLAS_PACKAGES = ("numpy", "scipy")


def compute_digests(
    names: Sequence[str], folder: Path, engine: Any = None, address: str | None = None, *, has_report: bool = False
) -> dict[str, Any]:
    """Run the chain of each configuration in one workspace; return digests of its release, by its name.

    ``address``: of the workspace; by default it is in the folder. ``has_report``: each run leaves its report.
    """
    chain = Chain(folder, engine, address)
    digests = {}
    for name in names:
        ended = chain.run(with_changes(config_named(name, folder), publish={"report": has_report}))
        if ended.code:
            raise RuntimeError(f"configuration {name} exits {ended.code}: {ended.error}")
        digests[name] = release_digests(local_copy(parse_location(ended.answer["path"]), folder / "releases" / name))
    return digests


def local_copy(release: Location, folder: Path) -> Path:
    """Return a release that is in a store as a folder."""
    if isinstance(release, Path):
        return release
    for file in storage.files_below(release):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(storage.read(release / file.name) or b"")
    return folder


def blas_versions() -> dict[str, str]:
    """Versions that decide which OpenBLAS runs."""
    return {package: importlib.metadata.version(package) for package in BLAS_PACKAGES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--out", type=Path, default=DIGESTS)
    options = parser.parse_args()
    if not FIXED_BLAS.items() <= os.environ.items():  # read when numpy is imported, so that it is too late here
        command = [sys.executable, "-m", "tests.golden.rewrite", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **FIXED_BLAS})
    with tempfile.TemporaryDirectory() as folder:
        releases = compute_digests(options.names, Path(folder))
    text = json.dumps({"blas_versions": blas_versions(), "releases": releases}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
