"""A task that takes so long that a test can stop it."""

import os
import time
from pathlib import Path
from typing import Any

from pipeline.tasks import Attempt, Task


def wait_long(task: Task, attempt: Attempt) -> dict[str, Any]:
    (Path(task.place) / f"started-{task.name}").write_text(str(os.getpid()))
    for _ in range(360_000):  # two hours: longer than any test waits
        time.sleep(0.02)
    return {}
