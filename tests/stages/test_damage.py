"""Damaged files under runs/: never used, named in one warning, made again, with the bytes of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.stages.partition
import pipeline.stages.runner
from pipeline import storage
from pipeline.stages.chain import MAKER, STAGE_NAMES
from pipeline.workspace import MANIFEST
from tests.stages.chains import Chain, Ended, config_for, friends, users_and_items, with_changes, write_rows
from tests.stages.damage import DAMAGES, Damaging, DamagingEngine, files_of_tables, files_of_work

DAY = "1970-01-01"
LISTS = {"neighbors": True, "top_k": 5, "push_threshold": 1e-3, "target_type": "item", "source_type": "user"}


def shop(folder: Path, **sections: Any) -> dict[str, Any]:
    """Users and items with weights, attributes of items, a holdout."""
    rows = users_and_items(2, 900, 80, 50)
    rng = np.random.default_rng(2)
    path = write_rows(folder / "in.parquet", {**rows, "weight": rng.integers(1, 4, rows["source"].size).astype(float)})
    items = np.unique(rows["target"])
    told = write_rows(folder / "items.parquet", {"id": items, "size": items % 7.0, "kind": (items % 3).astype(str)})
    attributes = {"item": {"path": str(told), "id": "id", "numbers": ["size"], "categories": ["kind"]}}
    given = config_for(path, parts=3, input={"weight": "weight"}, attributes=attributes)
    return with_changes(given, evaluate={"source": "holdout", "holdout_users": 0.5}, **sections)


def circle(folder: Path, **sections: Any) -> dict[str, Any]:
    """A plain graph."""
    return config_for(write_rows(folder / "in.parquet", friends(2, 400, 60)), plain=True, parts=3, **sections)


#: Configurations that between them write every table, by every kind of task.
CONFIGS = {
    "two_tower": lambda folder: shop(folder, publish={"fold_in": True}, embedding={"boundary_dtype": "int8"}),
    "lists": lambda folder: shop(folder, embedding={"method": "none"}, ppr={**LISTS, "across": "parts"}),
    "spectral": lambda folder: shop(folder, embedding={"method": "spectral", "dim": 8, "boundary_dtype": "float16"}),
    "shards": lambda folder: circle(
        folder, embedding={"form": "classic", "shards": 2, "standardize_columns": True, "dim": 32}
    ),
    "ppr": lambda folder: circle(folder, embedding={"method": "ppr", "dim": 8}),
    "border": lambda folder: circle(folder, embedding={"boundary": "border"}),
    "quotient": lambda folder: circle(folder, embedding={"boundary": "quotient"}),
    "halo": lambda folder: circle(folder, embedding={"boundary": "halo"}),
    "wide": lambda folder: circle(folder),  # with the patch of ``wide_cut``
}
QUICK = ("two_tower", "lists")
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CONFIGS]


@pytest.fixture
def wide_cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the configuration ``wide``, no task can hold the graph."""
    if request.node.callspec.params["name"] == "wide":
        monkeypatch.setattr(pipeline.stages.partition, "cut_bytes", lambda *_: 2**60)


@pytest.fixture
def given(name: str, wide_cut: None, tmp_path: Path) -> dict[str, Any]:
    return CONFIGS[name](tmp_path)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def data_of(chain: Chain) -> dict[str, bytes]:
    """The bytes of all published tables."""
    folder = chain.current_folder()
    assert folder is not None
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*.parquet"))}


def run(chain: Chain, given: dict[str, Any], names: Any = STAGE_NAMES) -> list[str]:
    """Run stages, which must succeed; return the warnings about damage."""
    ended = chain.run(given, names)
    assert ended.code == 0, ended.error
    return warnings_of(ended)


def warnings_of(ended: Ended) -> list[str]:
    return [line for line in ended.log.splitlines() if " level=WARNING " in line and " again" in line]


def unpublish(chain: Chain) -> None:
    """Remove what is published: the next run publishes what it finds under runs/."""
    shutil.rmtree(chain.root / "published")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_tables_are_made_again(chain: Chain, given: Any) -> None:
    """All tables at once, every damage: a file of each, and then their manifests."""
    assert run(chain, given) == []
    wanted, rng = data_of(chain), random.Random(1)
    for number, damage in enumerate((*DAMAGES, "flip", "delete")):
        unpublish(chain)
        named = {}
        for table, files in files_of_tables(chain.root / "runs" / DAY).items():
            data, manifest = files[:-1], files[-1]
            if MAKER[table] == "publish":  # always runs
                continue
            path = rng.choice(data) if data and number < len(DAMAGES) else manifest
            DAMAGES[damage](path, rng)
            named[table] = path
        warnings = run(chain, given)
        assert len(warnings) == len(named), (damage, warnings)
        for table, path in named.items():
            (warning,) = [text for text in warnings if f" {table} is made again" in text]
            assert str(path) in warning or str(path.parent) in warning
        assert data_of(chain) == wanted, damage
    assert run(chain, given) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_table_alone(chain: Chain, given: Any) -> None:
    """One file of one table: it alone is made again, with what its stage makes beside it, and all else stays."""
    run(chain, given)
    wanted, rng, runs = data_of(chain), random.Random(2), chain.root / "runs" / DAY
    for table in files_of_tables(runs):
        if MAKER[table] == "publish":
            continue
        for damage, spoil in DAMAGES.items():
            unpublish(chain)
            # Looked for again: files are named after their bytes, and these are working tables of the same rows.
            spoil(rng.choice(files_of_tables(runs)[table]), rng)
            ended = chain.run(given)
            assert ended.code == 0, (table, damage, ended.error)
            assert len(warnings_of(ended)) == 1, (table, damage)
            assert set(ended.skipped) == {stage for stage in STAGE_NAMES if stage not in (MAKER[table], "publish")}
            assert data_of(chain) == wanted, (table, damage)


def kill_in(chain: Chain, given: Any, stage: str, names: Any = STAGE_NAMES) -> None:
    """Run until a stage has done all its tasks, and has not committed."""
    commit = pipeline.stages.runner._commit

    def killed(name: str, *rest: Any) -> None:
        if name == stage:
            raise RuntimeError("killed")
        commit(name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.stages.runner, "_commit", killed)
        assert chain.run(given, names).code == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_stage_left_is_checked(name: str, chain: Chain, given: Any) -> None:
    """Files and records in _work, all at once: each that is missed is named once, none is used."""
    run(chain, given)
    wanted, rng = data_of(chain), random.Random(3)
    runs = chain.root / "runs" / DAY
    for number, stage in enumerate(STAGE_NAMES[:-1]):
        for damage in list(DAMAGES)[number % 5 :: 5 if name in QUICK else 2]:
            shutil.rmtree(runs / next(table for table in files_of_tables(runs) if MAKER[table] == stage))
            kill_in(chain, given, stage)
            left = files_of_work(runs)
            for path in rng.sample(left, min(len(left), 5)):
                DAMAGES[damage](path, rng)
            unpublish(chain)
            warnings = run(chain, given)
            assert len(set(warnings)) == len(warnings)
            assert all(re.search(r"its task is done again|no manifest.json|killed run left", w) for w in warnings)
            assert data_of(chain) == wanted, (stage, damage)
            assert not list((runs / "_work").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_file_of_a_killed_stage(chain: Chain, given: Any) -> None:
    """Each file alone, with another damage each time."""
    run(chain, given)
    wanted, rng = data_of(chain), random.Random(4)
    runs = chain.root / "runs" / DAY
    for stage in STAGE_NAMES[:-1]:
        shutil.rmtree(runs / next(table for table in files_of_tables(runs) if MAKER[table] == stage))
        kill_in(chain, given, stage)
        kept = chain.folder / "kept"
        shutil.copytree(chain.root, kept)
        left = [path.relative_to(chain.root) for path in files_of_work(runs)]
        for path in rng.sample(left, min(len(left), 12)):
            shutil.rmtree(chain.root)
            shutil.copytree(kept, chain.root)
            damage = rng.choice(list(DAMAGES))
            DAMAGES[damage](chain.root / path, rng)
            unpublish(chain)
            run(chain, given)
            assert data_of(chain) == wanted, (path, damage)
        shutil.rmtree(kept)


def waves_of(chain: Chain, given: Any) -> range:
    """The numbers of the waves of a run."""
    counting = DamagingEngine()
    run(Chain(chain.folder / "counting", counting), given)
    return range(counting.waves)


@pytest.mark.parametrize("name", NAMES)
def test_files_damaged_between_two_waves(name: str, chain: Chain, given: Any) -> None:
    """A file of each role that a wave wrote, before the next wave reads it: the same run mends it."""
    run(chain, given)
    wanted = data_of(chain)
    waves = waves_of(chain, given)
    chosen = random.Random(5).sample(waves, 4) if name in QUICK else waves
    named = 0
    for wave in chosen:
        damage = list(DAMAGES)[wave % len(DAMAGES)]
        engine = DamagingEngine()
        engine.when, engine.damage, engine.seed = wave, damage, wave
        other = Chain(chain.folder / f"wave-{wave}", engine)
        named += len(run(other, given))
        assert data_of(other) == wanted, (wave, damage)
        unpublish(other)
        run(Chain(other.folder), given)  # what nobody has read since is found now
        assert data_of(other) == wanted, (wave, damage)
        shutil.rmtree(other.folder)
    assert named > 0


@pytest.mark.parametrize("name", NAMES)
def test_tables_damaged_after_they_were_checked(name: str, chain: Chain, given: Any) -> None:
    """A file of each table that a wave is handed, between the driver's look at it and the wave: no task uses it."""
    run(chain, given)
    wanted = data_of(chain)
    waves = waves_of(chain, given)
    named = 0
    for wave in random.Random(6).sample(waves, 5) if name in QUICK else waves:
        engine = DamagingEngine()
        engine.of_tables, engine.when, engine.damage, engine.seed = True, wave, list(DAMAGES)[wave % len(DAMAGES)], wave
        other = Chain(chain.folder / f"wave-{wave}", engine)
        named += len(run(other, given))
        assert data_of(other) == wanted, (wave, engine.damage)
        shutil.rmtree(other.folder)
    assert named > 0


@pytest.mark.parametrize("name", ["two_tower"])
def test_a_table_of_elsewhere_is_none_of_this_run(name: str, chain: Chain, given: Any) -> None:
    """A whole folder of another date, config or table is as good as its manifest says, and in the wrong place."""
    run(chain, given)
    wanted = data_of(chain)
    runs, other = chain.root / "runs" / DAY, Chain(chain.folder / "elsewhere")
    assert other.run(given, date="1970-01-02").code == 0
    theirs = files_of_tables(other.root / "runs" / "1970-01-02")
    for table, files in files_of_tables(runs).items():
        if MAKER[table] == "publish":
            continue
        for source in (theirs[table][-1].parent, theirs["decayed"][-1].parent):  # no rows at all: no files to check
            shutil.rmtree(files[-1].parent)
            shutil.copytree(source, files[-1].parent)
            unpublish(chain)
            (warning,) = run(chain, given)
            assert f"{table} is made again: {files[-1]} is that of {source.parent.name}/{source.name}" in warning
            assert data_of(chain) == wanted, table


@pytest.mark.parametrize(
    "damage", [pytest.param(name, marks=() if name in ("flip", "delete") else pytest.mark.slow) for name in DAMAGES]
)
@pytest.mark.parametrize("name", ["two_tower"])
def test_a_single_stage_refuses_by_name_and_the_command_heals(damage: str, chain: Chain, given: Any) -> None:
    """A stage whose input is damaged says which, and what to run; after that it runs."""
    run(chain, given)
    wanted, rng = data_of(chain), random.Random(6)
    unpublish(chain)
    tables = files_of_tables(chain.root / "runs" / DAY)
    for table in ("edges", "indexed_edges", "node_parts", "block_edges", "part_rows"):
        DAMAGES[damage](rng.choice(tables[table][:-1]), rng)
    refused = []
    for stage in STAGE_NAMES[1:]:
        for table in files_of_tables(chain.root / "runs" / DAY):  # so that the stage runs at all
            if MAKER[table] == stage:
                shutil.rmtree(chain.root / "runs" / DAY / table)
        while (ended := chain.run(given, [stage])).code:
            found = re.search(r"(\w+) for undated data is damaged: (\S+) .* run 'graphquilt (\w+)'", ended.error)
            assert found, ended.error
            assert f"/{found[1]}/" in found[2]
            refused.append(found[1])
            assert run(chain, given, [found[3]])  # and says so
    assert refused == ["edges"]  # the others' own stages have run before they were read
    assert data_of(chain) == wanted


def test_a_digit_of_a_figure_is_noticed(tmp_path: Path) -> None:
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    (manifest,) = (chain.root / "runs" / DAY / "node_index").glob(f"*/{MANIFEST}")
    text = manifest.read_text()
    (edges,) = re.findall(r'"edges": \d+', text)
    manifest.write_text(text.replace(edges, edges[:-1] + str((int(edges[-1]) + 1) % 10)))
    (warning,) = run(chain, given)
    assert f"node_index is made again: {manifest} was cut short, changed" in warning


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff\xfe{", b'{"table": "edges", "files": []}'])
def test_what_is_no_manifest_of_ours_is_none(content: bytes, tmp_path: Path) -> None:
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    (manifest,) = (chain.root / "runs" / DAY / "edges").glob(f"*/{MANIFEST}")
    manifest.write_bytes(content)
    ended = chain.run(given, ["index"])
    assert ended.code == 0  # it is made already, and reads nothing
    (warning,) = run(chain, given)
    assert str(manifest) in warning


def test_a_folder_or_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """Somebody put it there; what is not ours is not removed."""
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    for table in ("node_index", "part_rows"):
        path, *_, manifest = files_of_tables(chain.root / "runs" / DAY)[table]
        for stranger in (path, manifest):
            kept = stranger.rename(tmp_path / "kept")
            for is_link in (False, True):
                stranger.symlink_to(kept) if is_link else stranger.mkdir()
                ended = chain.run(given)
                assert ended.code == 1
                assert str(stranger) in ended.error
                assert "of the workspace's own is wanted there" in ended.error
                stranger.unlink() if is_link else stranger.rmdir()
            kept.rename(stranger)
    assert run(chain, given) == []


def test_files_are_durable_before_the_manifest_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of records: see tests/test_tasks.py."""
    durable: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: durable.append(os.fstat(file).st_ino))
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    for files in files_of_tables(chain.root / "runs" / DAY).values():
        # Counted from the end: numbers of files that were removed are given out again.
        *data, manifest = (durable[::-1].index(path.stat().st_ino) for path in files)
        assert min(data, default=manifest + 1) > manifest


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_digests_of_the_input_are_taken_again(damage: str, tmp_path: Path) -> None:
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    records = list((chain.root / "inputs" / "_records").iterdir())
    for record in records:
        DAMAGES[damage](record, random.Random(7))
    warnings = run(chain, given)
    assert len(warnings) == (0 if damage == "delete" else len(records))
    assert run(chain, given) == []


def test_a_file_that_may_not_be_read_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, chain = circle(tmp_path), Chain(tmp_path)
    assert chain.run(given).code == 0

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pipeline.storage.checksums.checksum_of", refuse)
    ended = chain.run(given)
    assert ended.code == 1
    assert "can't be read: permission denied" in ended.error
    assert "damaged" not in ended.error


def test_yesterdays_damaged_edges_give_no_verdict(tmp_path: Path) -> None:
    day = 86_400
    columns = {**friends(2, 400, 60)}
    columns["ts"] = 1_700_000_000 // day * day + np.arange(columns["source"].size) % (2 * day)
    path = write_rows(tmp_path / "in.parquet", columns)
    given = config_for(
        path, plain=True, input={"timestamp": "ts", "timestamp_unit": "s"}, evaluate={"source": "next_day"}
    )
    chain = Chain(tmp_path)
    assert chain.run(given, date="2023-11-14").code == 0
    (edges,) = files_of_tables(chain.root / "runs" / "2023-11-14")["edges"][:-1]
    DAMAGES["flip"](edges, random.Random(8))
    ended = chain.run(given, date="2023-11-15")
    assert ended.code == 0, ended.error
    note = ended.answer["metrics"]["note"]
    assert note.startswith(f"no verdict: edges of 2023-11-14 is damaged ({edges} has other bytes")


def test_a_rerun_deals_with_work_of_other_tables(tmp_path: Path) -> None:
    """A killed stage's tasks count only while its inputs are byte for byte those it began with."""
    given, chain = circle(tmp_path), Chain(tmp_path)
    run(chain, given)
    wanted, runs = data_of(chain), chain.root / "runs" / DAY
    shutil.rmtree(runs / "block_nodes")
    kill_in(chain, given, "layout")
    (note,) = (runs / "_work").glob("layout-*/inputs.json")
    told = json.loads(note.read_text())["tables"]
    assert {"edges", "node_index", "node_parts"} <= set(told)
    assert "part_rows" not in told
    said = storage.read_checked_json(note)
    assert said is not None
    storage.write_checked_json(note, {**said, "tables": {**told, "indexed_edges": ["0" * 32]}})
    unpublish(chain)
    run(chain, given)
    assert data_of(chain) == wanted


@pytest.mark.spark
@pytest.mark.slow
def test_on_spark(tmp_path: Path, spark_session: Any) -> None:
    """Tables between runs, what killed stages left, and files between waves: as on the local engine."""
    from pipeline.engines.spark import SparkEngine

    class DamagingSpark(Damaging, SparkEngine):
        """Spark, between whose waves files are damaged."""

    given = shop(tmp_path, publish={"fold_in": True}, embedding={"boundary_dtype": "int8"})
    chain, rng = Chain(tmp_path, SparkEngine(spark_session)), random.Random(9)
    run(chain, given)
    wanted, runs = data_of(chain), chain.root / "runs" / DAY
    for damage, stage in zip(DAMAGES, STAGE_NAMES[:-1], strict=False):
        named = 0
        for table, files in files_of_tables(runs).items():
            if MAKER[table] != "publish":
                DAMAGES[damage](rng.choice(files), rng)
                named += 1
        unpublish(chain)
        assert len(run(chain, given)) == named
        assert data_of(chain) == wanted
        shutil.rmtree(runs / next(table for table in files_of_tables(runs) if MAKER[table] == stage))
        kill_in(chain, given, stage)
        left = files_of_work(runs)
        for path in rng.sample(left, min(len(left), 5)):
            DAMAGES[damage](path, rng)
        unpublish(chain)
        run(chain, given)
        assert data_of(chain) == wanted
        engine = DamagingSpark(spark_session)
        engine.when, engine.damage = rng.randrange(15), damage
        other = Chain(tmp_path / damage, engine)
        run(other, given)
        assert data_of(other) == wanted, engine.when
