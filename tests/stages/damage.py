"""Ways in which files get damaged, and an engine between whose waves some do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.engines.local import LocalEngine
from pipeline.tasks import Task, TaskFunction, TaskRecord, input_paths
from pipeline.workspace import MANIFEST, manifests_below


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _zeros(path: Path, rng: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


#: Each leaves a file of which a byte or more differs; files of tables and records are never empty.
DAMAGES: Mapping[str, Callable[[Path, random.Random], object]] = MappingProxyType(
    {
        "flip": _flip,
        "cut": lambda path, _: path.write_bytes(path.read_bytes()[:-1]),
        "empty": lambda path, _: path.write_bytes(b""),
        "delete": lambda path, _: path.unlink(),
        "zeros": _zeros,
    }
)


def files_of_tables(run: Path) -> dict[str, list[Path]]:
    """The files of every table below the folder of a date, its manifest the last."""
    found: dict[str, list[Path]] = {}
    for made in manifests_below(run)[0]:
        place = run / made.table / made.fingerprint
        found[made.table] = [*(place / file.name for file in made.files), place / MANIFEST]
    return found


def files_of_work(run: Path) -> list[Path]:
    """What killed stages left: the files of their tasks, and the records."""
    return sorted(path for path in (run / "_work").rglob("*") if path.is_file())


class Damaging:
    """In front of an engine: damages a file of each role that a wave wrote, as soon as it is over.

    That is the wave of number ``when`` and no other; below 0 none, and waves are counted. Where ``of_tables``, it is
    instead a file of each table that the wave is handed, when the driver has checked them and no task has begun.
    """

    when, damage, seed = -1, "flip", 0
    of_tables = False
    waves = 0

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        if self.of_tables and self.waves == self.when:
            rng = random.Random(self.seed)
            for path in _one_of_each_table(tasks):
                DAMAGES[self.damage](path, rng)
        records: list[TaskRecord[Any]] = super().map_tasks(function, tasks)  # type: ignore[misc]
        if not self.of_tables and self.waves == self.when:
            rng = random.Random(self.seed)
            for path in _one_of_each_role(records):
                DAMAGES[self.damage](path, rng)
        self.waves += 1
        return records


class DamagingEngine(Damaging, LocalEngine):
    """The local engine, between whose waves files are damaged."""


def _one_of_each_role(records: Sequence[TaskRecord[Any]]) -> Iterator[Path]:
    seen: dict[str, Any] = {}
    for record in records:
        for file in record.files:
            if file.role not in seen:
                seen[file.role] = Path(record.folder) / file.name
    yield from dict.fromkeys(seen.values())


def _one_of_each_table(tasks: Sequence[Task[Any]]) -> Iterator[Path]:
    paths = (Path(path) for task in tasks for path in input_paths(task))
    of_tables = {path.parent: path for path in paths if (path.parent / MANIFEST).is_file()}
    yield from (path for place, path in of_tables.items() if place.parents[1].parent.name == "runs")
