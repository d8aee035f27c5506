"""A step of a frame that loses an executor: workers import it by name."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import psutil


def kill_executor_once(frame: pl.LazyFrame, marker: Path) -> pl.LazyFrame:
    """Kill this task's executor, with the rows that it has dealt out, unless a task has done so before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return frame
    next(process for process in psutil.Process().parents() if process.name() == "java").kill()
    return frame
