"""Whether workers on other machines share the workspace, asked before anything is computed.

A folder that a machine does not mount looks like an empty one of its own, and so would all that was written there.
"""

import socket
from dataclasses import dataclass
from uuid import uuid4

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.locations import Location
from pipeline.tasks.attempt import Attempt, TaskRunner
from pipeline.tasks.task import Task


@dataclass(frozen=True)
class ProbePayload:
    """A file that the driver wrote, and what it holds."""

    file: Location
    text: str


def require_shared(runner: TaskRunner, root: Location, slots: int) -> None:
    """Let a task in each slot read what this process wrote, and read here what the tasks wrote.

    Raises
    ------
    StorageError : one side does not see what the other wrote, naming the worker's machine.
    """
    folder, text = root / f"probe-{uuid4().hex[:16]}", uuid4().hex
    payload = ProbePayload(folder / "driver.txt", text)
    storage.write(payload.file, text.encode())
    try:
        tasks = [Task(f"answer-{number:05d}", folder, payload) for number in range(slots)]
        for record in runner.map_tasks(answer_probe, tasks):
            if storage.read(record.file("answer")) != text.encode():
                raise _not_shared(record.process, root, f"what it writes is not seen on {socket.gethostname()}")
    finally:
        storage.remove_tree(folder)


def answer_probe(payload: ProbePayload, attempt: Attempt) -> None:
    """Task: read what the driver wrote, and write the same."""
    host, root = socket.gethostname(), payload.file.parent.parent
    try:
        data = storage.read(payload.file)
    except StorageError as error:
        raise _not_shared(host, root, str(error)) from error
    if data != payload.text.encode():
        raise _not_shared(host, root, "what the driver has just written there is not to be seen")
    attempt.path("answer", "txt").write_bytes(data)


def _not_shared(worker: str, root: Location, why: str) -> StorageError:
    return StorageError(
        f"worker {worker} does not share the workspace {root}: {why}. Mount the folder there at the same path, or give "
        "an address in an object store that all machines reach with credentials of their own"
    )
