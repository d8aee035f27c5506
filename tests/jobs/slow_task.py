"""A task that takes so long that a test can stop it."""

import os
import time
from collections.abc import Mapping
from typing import Any

from pipeline.tasks import Attempt


def wait_long(payload: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
    (attempt.task.folder / f"started-{attempt.task.name}").write_text(str(os.getpid()))
    for _ in range(360_000):  # two hours: longer than any test waits
        time.sleep(0.02)
    return {}
