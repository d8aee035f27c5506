"""Numeric kernels: pure functions over arrays; no files, configuration, logging or clock."""
