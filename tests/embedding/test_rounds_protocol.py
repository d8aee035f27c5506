"""What the rounds promise beside their numbers: what a task opens, how often it runs, what is kept after a kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import codec, storage
from pipeline.embedding.methods import EMBEDDING
from pipeline.embedding.rounds import Embedded, embed_parts
from pipeline.errors import TaskError
from pipeline.tasks import RECORDS, Task, TaskFunction, TaskRecord, run_task
from tests.embedding.graphs_in_parts import (
    DiesAfter,
    GraphInParts,
    InThisProcess,
    KilledError,
    lay_out,
    placed,
    settings_of,
    written_files,
)

KEYS = EMBEDDING(dim=19, powers=2, iteration_weights=(1.0, 1.0, 1.0))


def made(items: int) -> GraphInParts:
    rng = np.random.default_rng(5)
    nodes = items + 40
    ends = [rng.integers(items, nodes, 160), rng.zipf(1.5, 160) % (items or nodes)]
    pairs = np.unique(np.stack(ends if items else np.sort(ends, axis=0), axis=1), axis=0)
    return placed(
        *pairs.T.tolist(),
        home=rng.integers(0, 4, nodes).tolist(),
        is_split=(rng.random(nodes) < 0.3).tolist(),
        nodes=nodes,
        items=items,
    )


@pytest.fixture(params=[0, 15], ids=["plain", "two_types"])
def given(request: pytest.FixtureRequest) -> GraphInParts:
    return made(request.param)


def bytes_of(done: Embedded) -> list[tuple[int, str]]:
    return [(rows, checksum) for _, rows, checksum in written_files(done)]


class Alone(InThisProcess):
    """Runs each task with no file in reach but its block and the slices addressed to it.

    The tasks' folder is moved away; what the task's description names is copied back. Of a file of slices, all
    batches of other receivers hold nonsense.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._hidden = folder.with_name("hidden")
        self.files_in_reach: list[int] = []

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        return [self._run(function, task) for task in tasks]

    def _run(self, function: TaskFunction[Any, Any], task: Task[Any]) -> TaskRecord[Any]:
        self.ran.append(task.name)
        self._folder.rename(self._hidden)
        try:
            self._bring_all(codec.to_values(task.payload))
            self.files_in_reach.append(sum(path.is_file() for path in self._folder.rglob("*")))
            record = run_task(function, task)
            for made_file in record.files:
                shutil.move(Path(task.folder) / made_file.name, self._behind(Path(task.folder) / made_file.name))
            (written,) = (Path(task.folder) / RECORDS).iterdir()
            shutil.move(written, self._behind(written))
            return record
        finally:
            shutil.rmtree(self._folder)
            self._hidden.rename(self._folder)

    def _bring_all(self, payload: Any) -> None:
        """Bring every file that the payload names; of slices, what is addressed."""
        if isinstance(payload, str) and payload.startswith(str(self._folder)):
            self._bring(payload)
        elif isinstance(payload, list):
            for value in payload:
                self._bring_all(value)
        elif isinstance(payload, dict):
            for one in payload.get("inbox", ()):
                self._bring_slice(one["file"], range(one["first_batch"], one["first_batch"] + one["batches"]))
            for key, value in payload.items():
                if key != "inbox":
                    self._bring_all(value)

    def _behind(self, path: Path) -> Path:
        behind = self._hidden / path.relative_to(self._folder)
        behind.parent.mkdir(parents=True, exist_ok=True)
        return behind

    def _bring(self, name: str) -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._behind(Path(name)), name)

    def _bring_slice(self, name: str, mine: range) -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        reader = pa.ipc.open_file(pa.memory_map(str(self._behind(Path(name)))))
        batches = [reader.get_batch_with_custom_metadata(number) for number in range(reader.num_record_batches)]
        if Path(name).exists():  # two slices of one file are never addressed to one task
            raise AssertionError(f"{name} was brought twice")
        with pa.ipc.new_file(name, reader.schema) as writer:
            for number, (batch, told) in enumerate(batches):
                writer.write_batch(batch if number in mine else nonsense(batch), custom_metadata=told)


def nonsense(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.num_rows

    def column(kind: pa.DataType) -> pa.Array:
        if pa.types.is_fixed_size_list(kind):
            return pa.FixedSizeListArray.from_arrays(
                pa.array(np.full(rows * kind.list_size, np.nan, np.float32)), type=kind
            )
        if pa.types.is_fixed_size_binary(kind):
            return pa.array([b"\xff" * kind.byte_width] * rows, kind)
        if pa.types.is_floating(kind):
            return pa.array(np.full(rows, np.nan), kind)
        return pa.array(np.full(rows, np.iinfo(kind.to_pandas_dtype()).max), kind)

    return pa.RecordBatch.from_arrays([column(field.type) for field in batch.schema], schema=batch.schema)


@pytest.mark.parametrize(("dtype", "shards"), [("float32", 1), ("int8", 1), ("int8", 2)])
def test_a_task_opens_its_block_and_the_slices_addressed_to_it_and_nothing_else(
    given: GraphInParts, dtype: str, shards: int, tmp_path: Path
) -> None:
    settings = settings_of(given, KEYS.model_copy(update={"boundary_dtype": dtype, "shards": shards}))
    blocks = lay_out(given, tmp_path / "work")
    want = embed_parts(InThisProcess(), blocks, settings, tmp_path / "reference")
    runner = Alone(tmp_path / "work")
    got = embed_parts(runner, blocks, settings, tmp_path / "work" / "rows")
    assert bytes_of(got) == bytes_of(want)
    # Not vacuous: slices travelled, and no task had all files in reach.
    assert any(record.result.slices.get("outbox") for record in got.records)
    everything = sum(path.is_file() for path in (tmp_path / "work" / "blocks").rglob("*"))
    assert max(runner.files_in_reach) < everything


def test_each_task_runs_once_and_a_second_run_sends_none(given: GraphInParts, tmp_path: Path) -> None:
    blocks = lay_out(given, tmp_path)
    first, second = InThisProcess(), InThisProcess()
    done = embed_parts(first, blocks, settings_of(given, KEYS), tmp_path / "rows")
    assert len(first.ran) == len(set(first.ran)) == len(done.records)
    assert len(list((tmp_path / "rows" / RECORDS).iterdir())) == len(first.ran)
    again = embed_parts(second, blocks, settings_of(given, KEYS), tmp_path / "rows")
    assert second.ran == []
    assert bytes_of(again) == bytes_of(done)


def test_records_report_bytes_process_and_peak_memory(given: GraphInParts, tmp_path: Path) -> None:
    done = embed_parts(InThisProcess(), lay_out(given, tmp_path), settings_of(given, KEYS), tmp_path / "rows")
    for record in done.records:
        assert record.process.endswith(f":{os.getpid()}")
        assert 2**20 < record.peak_bytes < 2**40
        assert 0 <= record.growth_bytes <= record.peak_bytes
        assert record.seconds > 0
        for file in record.files:
            assert file.bytes == (tmp_path / "rows" / file.name).stat().st_size > 0


def test_a_run_that_was_killed_anywhere_does_only_what_is_missing(given: GraphInParts, tmp_path: Path) -> None:
    blocks, settings = lay_out(given, tmp_path), settings_of(given, KEYS)
    undisturbed = InThisProcess()
    want = embed_parts(undisturbed, blocks, settings, tmp_path / "rows")
    total = len(undisturbed.ran)
    for tasks in range(0, total, 5):
        place = tmp_path / f"killed-after-{tasks}"
        dying, resumed = DiesAfter(tasks), InThisProcess()
        with pytest.raises(KilledError):
            embed_parts(dying, blocks, settings, place)
        got = embed_parts(resumed, blocks, settings, place)
        assert dying.ran + resumed.ran == undisturbed.ran
        assert bytes_of(got) == bytes_of(want)


def test_records_whose_files_are_gone_or_short_do_not_count(given: GraphInParts, tmp_path: Path) -> None:
    blocks, settings = lay_out(given, tmp_path), settings_of(given, KEYS)
    want = embed_parts(InThisProcess(), blocks, settings, tmp_path / "rows")
    gone, *_, short = (r for r in want.records if r.paths("rows") and "homes" in r.task)
    gone.paths("rows")[0].unlink()
    with short.paths("rows")[0].open("r+b") as file:
        file.truncate(10)
    resumed = InThisProcess()
    got = embed_parts(resumed, blocks, settings, tmp_path / "rows")
    assert resumed.ran == [gone.task, short.task]
    assert bytes_of(got) == bytes_of(want)


def test_two_attempts_with_other_bytes_are_an_error_that_names_both(given: GraphInParts, tmp_path: Path) -> None:
    blocks, settings = lay_out(given, tmp_path), settings_of(given, KEYS)
    done = embed_parts(InThisProcess(), blocks, settings, tmp_path / "rows")
    record = done.records[0]
    other: dict[str, Any] = json.loads(record.to_json())
    other |= {"attempt": "0ther", "process": "elsewhere:1"}
    (tmp_path / "rows" / "other").write_bytes(b"other")
    other["files"][0] |= {"name": "other", "bytes": 5, "checksum": storage.checksum_of(tmp_path / "rows" / "other")}
    storage.write_checked_json(tmp_path / "rows" / RECORDS / f"{record.task}.0ther.json", other)
    with pytest.raises(TaskError, match="different results") as caught:
        embed_parts(InThisProcess(), blocks, settings, tmp_path / "rows")
    for name in (record.task, record.attempt, record.process, "0ther", "elsewhere:1"):
        assert name in str(caught.value)


def test_one_block_is_one_task(given: GraphInParts, tmp_path: Path) -> None:
    whole = given.in_one_block()
    runner = InThisProcess()
    done = embed_parts(runner, lay_out(whole, tmp_path), settings_of(whole, KEYS), tmp_path / "rows")
    assert runner.ran == ["rounds-00000"]
    assert done.sums is None


def test_column_sums_are_those_of_the_rows_in_any_tree(tmp_path: Path) -> None:
    plain = made(0)
    embedding = KEYS.model_copy(update={"standardize_columns": True})
    sums = []
    for tree, name in ((plain, "parts"), (plain.in_one_block(), "block")):
        place = tmp_path / name
        done = embed_parts(InThisProcess(), lay_out(tree, place), settings_of(tree, embedding), place / "rows")
        assert done.sums is not None
        assert done.sums.count == int((plain.home >= 0).sum())
        sums.append(done.sums)
    np.testing.assert_allclose(sums[0].sums, sums[1].sums, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sums[0].squares, sums[1].squares, rtol=1e-5, atol=1e-5)
