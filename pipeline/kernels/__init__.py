"""Numeric kernels: pure functions over arrays; no files, configuration, logging or clock."""

from pathlib import Path

from pipeline.numba_cache import keep_kernels

# Here, since every process that compiles passes here, and before the first kernel asks where it is kept.
keep_kernels(Path(__file__).parent)
