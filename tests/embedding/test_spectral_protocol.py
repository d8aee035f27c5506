"""What spectral and low-pass runs promise beside their numbers: what is kept after a kill, the same bytes each time."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.rounds import Embedded, embed_parts
from pipeline.tasks import Task, TaskFunction, TaskRecord, payload_type, run_task
from tests.embedding.graphs_in_parts import DiesAfter, GraphInParts, InThisProcess, KilledError, lay_out, written_files
from tests.embedding.methods_in_parts import low_pass, random_tree, settings_for, spectral

METHODS = {"spectral": spectral(dim=5, iterations=2), "low_pass": low_pass(dim=20, shards=2, rank=6, filter_degree=2)}


@pytest.fixture(params=[0, 15], ids=["plain", "two_types"])
def given(request: pytest.FixtureRequest) -> GraphInParts:
    return random_tree(3, request.param, 5, edges=120, others=30)


@pytest.fixture(params=METHODS)
def embedding(request: pytest.FixtureRequest) -> EmbeddingConfig:
    return METHODS[request.param]


def bytes_of(done: Embedded) -> list[tuple[int, str]]:
    return [(rows, checksum) for _, rows, checksum in written_files(done)]


class Shuffled(InThisProcess):
    """Runs tasks in any order, each twice, as engines may."""

    def map_tasks(self, function: TaskFunction[Any, Any], tasks: Sequence[Task[Any]]) -> list[TaskRecord[Any]]:
        done = {}
        for task in random.Random(len(tasks)).sample(tasks, len(tasks)):
            run_task(function, Task.from_json(task.to_json(), payload_type(function)))
            done[task.name] = run_task(function, Task.from_json(task.to_json(), payload_type(function)))
        return [done[task.name] for task in tasks]


def test_a_run_that_was_killed_anywhere_does_only_what_is_missing(
    given: GraphInParts, embedding: EmbeddingConfig, tmp_path: Path
) -> None:
    blocks, settings = lay_out(given, tmp_path), settings_for(given, embedding)
    undisturbed, place = InThisProcess(), tmp_path / "rows"
    want = embed_parts(undisturbed, blocks, settings, place)
    total = len(undisturbed.ran)
    # At the same place each time: tasks name the files of facts, which are there.
    for tasks in (total // 3, total - 4):
        shutil.rmtree(place)
        dying, resumed = DiesAfter(tasks), InThisProcess()
        with pytest.raises(KilledError):
            embed_parts(dying, blocks, settings, place)
        got = embed_parts(resumed, blocks, settings, place)
        assert dying.ran + resumed.ran == undisturbed.ran
        assert bytes_of(got) == bytes_of(want)
        assert got.report == want.report
        assert got.floats_moved == want.floats_moved


def test_facts_that_are_gone_or_half_written_are_drawn_again(given: GraphInParts, tmp_path: Path) -> None:
    blocks, place = lay_out(given, tmp_path), tmp_path / "rows"
    for embedding in METHODS.values():
        shutil.rmtree(place, ignore_errors=True)
        settings = settings_for(given, embedding)
        want = embed_parts(InThisProcess(), blocks, settings, place)
        facts = sorted(place.rglob("facts-*.arrow"))
        assert len(facts) > 2
        known = [file.read_bytes() for file in facts]
        facts[0].unlink()
        facts[1].write_bytes(known[1][: len(known[1]) // 2])
        facts[-1].write_bytes(b"")
        second = InThisProcess()
        again = embed_parts(second, blocks, settings, place)
        assert second.ran == []
        assert bytes_of(again) == bytes_of(want)
        assert [file.read_bytes() for file in facts] == known
        assert sorted(place.rglob("facts-*")) == facts  # no half-written ones are left


def test_files_that_are_gone_are_made_again(given: GraphInParts, tmp_path: Path) -> None:
    blocks, place = lay_out(given, tmp_path), tmp_path / "rows"
    embedding = METHODS["spectral"]
    settings = settings_for(given, embedding)
    want = embed_parts(InThisProcess(), blocks, settings, place)
    short = next(record for record in reversed(want.records) if record.paths("rows"))
    with short.paths("rows")[0].open("r+b") as file:
        file.truncate(10)
    resumed = InThisProcess()
    assert bytes_of(embed_parts(resumed, blocks, settings, place)) == bytes_of(want)
    assert resumed.ran == [short.task]
    # What was told is read by the driver alone, but the record that answers for it is another attempt's now.
    told = next(record for record in want.records if record.paths("facts"))
    told.paths("facts")[0].unlink()
    resumed = InThisProcess()
    assert bytes_of(embed_parts(resumed, blocks, settings, place)) == bytes_of(want)
    assert resumed.ran[0] == told.task


def test_any_order_of_tasks_gives_the_same_bytes(
    given: GraphInParts, embedding: EmbeddingConfig, tmp_path: Path
) -> None:
    settings = settings_for(given, embedding)
    runs = [
        embed_parts(runner, lay_out(given, tmp_path / name, files), settings, tmp_path / name / "rows")
        for name, runner, files in (("one", InThisProcess(), 2), ("other", Shuffled(), 5))
    ]
    assert bytes_of(runs[0]) == bytes_of(runs[1])
    assert runs[0].report == runs[1].report


def test_one_block_is_one_task_a_method_and_shard(
    given: GraphInParts, embedding: EmbeddingConfig, tmp_path: Path
) -> None:
    whole, runner = given.in_one_block(), InThisProcess()
    done = embed_parts(runner, lay_out(whole, tmp_path), settings_for(whole, embedding), tmp_path / "rows")
    before = {"spectral": 0, "fastrp": 2 if given.items else 1}[embedding.method]
    rounds = [name for name in runner.ran if name.startswith("rounds-")]
    assert len(rounds) == before + (embedding.shards or 1)
    assert done.rows_moved == {"partials": 0, "totals": 0}
