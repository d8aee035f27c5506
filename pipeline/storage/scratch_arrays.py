"""Arrays on disk that nobody else reads: for what is wanted in any order and is too large for memory."""

from __future__ import annotations

import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from pipeline.storage.cache import scratch_folder


def scratch_array(rows: int, columns: int) -> NDArray[np.float32]:
    """Return zeros, (rows, columns) float32, in a mapped file: the system keeps in memory what there is room for.

    The file has no name, lies in the scratch folder, and goes with the array.

    Raises
    ------
    OSError : the disk has no room for it.
    """
    size = rows * columns * 4
    if not size:
        return np.zeros((rows, columns), np.float32)
    folder = scratch_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a hole that can't be filled later would kill the process
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, columns)))
