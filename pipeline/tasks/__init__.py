"""A task: a small payload, a function that reads and writes its own files, and a record.

A task commits by its record: files first, durable and named after their bytes, then one JSON beside them. Retries,
speculative copies and zombies are harmless, since whatever has no record does not count, and a driver that
starts again sends only the tasks without one. Nothing counts unchecked: a task looks at the files it is handed before
it uses them, and a record of an earlier run holds only if its files are still what was written.
"""

from pipeline.tasks.attempt import (
    Attempt,
    TaskFunction,
    TaskRunner,
    input_paths,
    payload_type,
    result_type,
    run_task,
)
from pipeline.tasks.records import (
    CachedRunner,
    damaged_files,
    forget,
    forget_damaged,
    read_records,
    refuse_disagreement,
    run_missing,
)
from pipeline.tasks.shared_workspace import require_shared
from pipeline.tasks.task import RECORDS, P, R, Task, TaskFile, TaskRecord
from pipeline.tasks.task_folder import TaskFolder
from pipeline.tasks.wave_names import describe_wave
