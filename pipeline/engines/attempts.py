"""One attempt at a task, as every engine makes it: on one thread, with errors that say where they happened."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

from graphquilt.rights import describe_denial, is_denied
from pipeline import storage
from pipeline.engines.one_thread import ONE_THREAD, ONE_THREAD_WORKER
from pipeline.errors import DiskFullError, GraphquiltError, StorageError, TaskError, first_line
from pipeline.kernels.threads import threads_in_use, use_threads
from pipeline.storage.disk_space import is_full
from pipeline.tasks import P, R, Task, TaskFunction, TaskRecord, run_task


class UnexpectedError(TaskError):
    """A task raised none of :mod:`pipeline.errors`: perhaps the machine's fault, so worth another try."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a process that carries tasks has from the one that sends them: how stores are reached, a task's threads."""

    storage: storage.StorageSettings
    threads: int

    @classmethod
    def current(cls) -> WorkerSettings:
        """Return those of this process."""
        return cls(storage.current_settings(), threads_in_use())

    def use(self) -> None:
        """Take them for this process."""
        storage.use_settings(self.storage)
        use_threads(self.threads)


def pickle_for_worker(work: Any) -> bytes:
    """Return work, and this process' settings, for :func:`unpickle_on_worker`."""
    return pickle.dumps((work, WorkerSettings.current()))


def unpickle_on_worker(data: bytes) -> Any:
    """Return work on a process that does nothing but tasks, and set that up before the work's libraries are loaded."""
    os.environ.update(ONE_THREAD_WORKER)
    work, settings = pickle.loads(data)
    settings.use()
    # Spark's workers collect garbage after every task: 0.1 s for the objects of modules, which stay.
    gc.freeze()
    return work


def attempt(function: TaskFunction[P, R], task: Task[P]) -> TaskRecord[R]:
    """Run a task in this process with one thread.

    Raises
    ------
    GraphquiltError : as the function raised it.
    DiskFullError : there was no room for what it writes. StorageError : it has no right to a file.
    UnexpectedError : from any other error, naming the task and this process.
    """
    with name_errors(task.name), _one_thread():
        return run_task(function, task)


@contextmanager
def name_errors(task: str) -> Iterator[None]:
    """Turn errors that are none of ours into some that say which task met them and where; see :func:`attempt`."""
    try:
        yield
    except GraphquiltError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_denied(error):  # elsewhere and later, too
            raise StorageError(f"task {task} on {socket.gethostname()}: {describe_denial(error)}") from error
        where = f"{socket.gethostname()}:{os.getpid()}"
        if is_full(error):
            raise DiskFullError(f"task {task} on {where}: {first_line(error)}") from error
        raise UnexpectedError(f"task {task} failed on {where} with {type(error).__name__}: {error}") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    # Both: threadpoolctl reaches the libraries that are loaded, the environment those that a task loads.
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        with _libraries(len(sys.modules)).limit(limits=1):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:  # noqa: ARG001
    """Find the native libraries with threads; again only once modules were imported, since it takes milliseconds."""
    return ThreadpoolController()
