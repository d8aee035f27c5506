import gc
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline.storage import scratch_array
from tests.memory import memory_growth

ROWS, COLUMNS = 60_000, 256


def _fill() -> None:
    array = scratch_array(ROWS, COLUMNS)
    for start in range(0, ROWS, 1_000):
        array[start : start + 1_000] = 1.0


def test_what_is_written_stays_and_takes_no_memory() -> None:
    array = scratch_array(3, 5)
    assert not array.any()
    array[1] = np.arange(5)
    np.testing.assert_array_equal(array, [[0] * 5, [0, 1, 2, 3, 4], [0] * 5])
    assert scratch_array(0, 5).shape == (0, 5)
    assert memory_growth(_fill) < ROWS * COLUMNS * 4 / 4


def test_the_file_goes_with_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHQUILT_SCRATCH", str(tmp_path))
    array = scratch_array(1_000, 100)
    assert not os.listdir(tmp_path)  # it has no name
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    del array
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_disk_without_room_is_an_error_and_no_crash() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            scratch_array(1_000, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
