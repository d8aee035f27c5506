"""What kernels for the CPU baseline of `make bundle` cost beside kernels for this machine's own CPU.

    python -m tests.benchmarks.cpu_baseline --edges 5000000 --repeats 5

Processes with one and with the other take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from pipeline.cpu_baseline import BASELINES


def main() -> None:
    """Print CPU seconds with each, and the ratio of their medians, by kernel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind")
    parser.add_argument("--measure", action="store_true", help="be one of these processes")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(seconds_of_kernels(options.edges)))
        return
    baseline = BASELINES[platform.machine()]
    own = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    kinds = {"native": own, baseline.cpu: {**own, "NUMBA_CPU_NAME": baseline.cpu, "NUMBA_CPU_FEATURES": ""}}
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind, variables in kinds.items():
            runs[kind].append(measure(options.edges, variables))
    for kernel in runs["native"][0]:
        native, shipped = (median(run[kernel] for run in runs[kind]) for kind in kinds)
        seconds = f"native {native:.3f} CPU s  {baseline.cpu} {shipped:.3f} CPU s"
        print(f"{kernel:12} {seconds}  ratio {shipped / native:.2f}")


def measure(edges: int, variables: Mapping[str, str]) -> dict[str, float]:
    """Return the CPU seconds of kernels in a process with these variables."""
    command = [sys.executable, "-m", "tests.benchmarks.cpu_baseline", "--edges", str(edges), "--measure"]
    done = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def seconds_of_kernels(edges: int, dim: int = 128) -> dict[str, float]:
    """Time the kernels of FastRP on a random graph of 20 entries a row; the best of three each."""
    from pipeline.kernels.buffers import aligned_empty
    from pipeline.kernels.csr import Csr
    from pipeline.kernels.random_projection import normal_projection, very_sparse_projection
    from pipeline.kernels.spmm import spmm

    rng = np.random.default_rng(0)
    n = edges // 10
    indices = rng.integers(0, n, 20 * n, dtype=np.int32)
    indptr = np.arange(0, indices.size + 1, 20, dtype=np.int64)
    matrix = Csr(indptr, indices, rng.random(indices.size, np.float32))
    x = aligned_empty((n, dim))
    x[:] = rng.random((n, dim), np.float32)
    out = aligned_empty((n, dim))
    keys = np.arange(n, dtype=np.uint64)
    kernels = {
        "product": lambda: spmm(matrix, x, out, start=0, stop=n),
        "sparse rows": lambda: very_sparse_projection(keys, dim=dim, sparsity=3.0, seed=1),
        "normal rows": lambda: normal_projection(keys, dim=dim, seed=1),
    }
    return {name: min(_seconds(kernel) for _ in range(3)) for name, kernel in kernels.items()}


def _seconds(kernel: Callable[[], object]) -> float:
    start = time.process_time()  # kernels use one thread, and other programs may use the cores
    kernel()
    return time.process_time() - start


if __name__ == "__main__":
    main()
