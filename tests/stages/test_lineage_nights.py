"""Nights of a lineage: they read what is new, and make what a run that reads everything makes."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.engines.spark import SparkEngine
from pipeline.ingest.day_folders import drop_other_days
from pipeline.ingest.sources import SourceFile
from tests.stages import nights
from tests.stages.chains import Chain, Config, Ended
from tests.stages.nights import movielens

FIRST = dt.date(2026, 3, 1)
DAY_US = 86_400_000_000
START_US = (FIRST - dt.date(1970, 1, 1)).days * DAY_US
ONE = 2**32

#: A row: user, item, day since FIRST, weight.
Row = tuple[str, int, int, int]


def date_of(day: int) -> dt.date:
    return FIRST + dt.timedelta(days=day)


def write_file(folder: Path, name: str, rows: list[Row]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "source": pa.array([user for user, *_ in rows], pa.string()),
        "target": pa.array([item for _, item, *_ in rows], pa.int64()),
        "ts": pa.array([START_US + day * DAY_US + 3_600_000_000 for _, _, day, _ in rows], pa.timestamp("us")),
        "weight": pa.array([weight for *_, weight in rows], pa.int64()),
    }
    pq.write_table(pa.table(columns), path)


def config_for(folder: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    given = {"path": str(folder), "timestamp": "ts", "weight": "weight"}
    return {"input": given | changes, "lineage": {"full_every": 6}}


def expected_pairs(files: dict[str, list[Row]], day: int, window_days: int | None) -> dict[tuple[str, str], Any]:
    first = -(10**6) if window_days is None else day - window_days + 1
    pairs: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for rows in files.values():
        for user, item, of, weight in rows:
            if first <= of <= day:
                pair = pairs[user, str(item)]
                pair[0] += weight * ONE
                pair[1] += 1
                pair[2] = max(pair[2], START_US + of * DAY_US + 3_600_000_000)
    return {pair: tuple(sums) for pair, sums in pairs.items()}


def pairs_of(chain: Chain, day: int) -> dict[tuple[str, str], Any]:
    """The edges of a date, of the manifest that was written last."""
    (folder, *_) = sorted(
        (chain.root / "runs" / date_of(day).isoformat() / "edges").iterdir(),
        key=lambda one: (one / "manifest.json").stat().st_mtime_ns,
        reverse=True,
    )
    table = pa.concat_tables([pq.read_table(file) for file in folder.glob("*.parquet")])
    table = table.set_column(0, "src_id", table["src_id"].cast(pa.string()))
    table = table.set_column(2, "dst_id", table["dst_id"].cast(pa.string()))
    keys = zip(table["src_id"].to_pylist(), table["dst_id"].to_pylist(), strict=True)
    values = zip(*(table[name].to_pylist() for name in ("weight", "events", "last_ts")), strict=True)
    return dict(zip(keys, values, strict=True))


@st.composite
def stories(draw: st.DrawFn) -> tuple[int | None, int, list[tuple[int, list[tuple[str, str, list[Row]]]]]]:
    """A window, late days, and what happens to the input before each of some nights: (day, [(what, file, rows)])."""
    window = draw(st.sampled_from([None, 3, 5]))
    late = draw(st.sampled_from([0, 2]))
    user = st.sampled_from(["7", "8", "9", "07", "ann"]) if draw(st.booleans()) else st.sampled_from(["7", "8", "9"])
    rows = st.tuples(user, st.integers(1, 3), st.integers(-4, 11), st.integers(1, 5))
    days = sorted(draw(st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True)))
    nights, names = [], ["f0"]
    for number, day in enumerate(days):
        changes = [("write", f"f{number}", draw(st.lists(rows, min_size=1, max_size=6)))]
        if number and draw(st.booleans()):
            what = draw(st.sampled_from(["write", "remove"]))
            changes.append((what, draw(st.sampled_from(names)), draw(st.lists(rows, min_size=1, max_size=4))))
        names.append(f"f{number}")
        nights.append((day, changes))
    return window, late, nights


@given(stories())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_pairs_are_those_of_all_rows_whatever_happens_to_the_input(
    tmp_path_factory: pytest.TempPathFactory, story: Any
) -> None:
    window, late, steps = story
    folder = tmp_path_factory.mktemp("nights")
    chain, files = Chain(folder), dict[str, list[Row]]()
    keys = {"late_days": late} | ({"window_days": window} if window else {})
    for day, changes in steps:
        for what, name, rows in changes:
            if what == "remove":
                files.pop(name, None)
                (folder / "in" / f"{name}.parquet").unlink(missing_ok=True)
            else:
                files[name] = rows
                write_file(folder / "in", f"{name}.parquet", rows)
        wanted = expected_pairs(files, day, window)
        ended = chain.run(config_for(folder / "in", **keys), ("ingest",), date=date_of(day).isoformat())
        assert (ended.code == 0) == bool(wanted), (ended.error, wanted)
        if wanted:
            assert pairs_of(chain, day) == wanted
    shutil.rmtree(folder)


def some_rows(day: int, count: int, seed: int = 0) -> list[Row]:
    """Rows of one day, of users and items that come and go with time."""
    rng = np.random.default_rng([seed, day])
    users, items = rng.integers(day, 60 + day, count), rng.integers(0, 30 + day, count)
    return [(str(user), int(item), day, int(rng.integers(1, 6))) for user, item in zip(users, items, strict=True)]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """A folder with folders of eight days."""
    folder = tmp_path / "in"
    for day in range(8):
        write_file(folder, f"dt={date_of(day)}/a.parquet", some_rows(day, 150))
    return folder


def nightly(folder: Path, **of_input: Any) -> Config:
    more = {"partition": {"parts": 3}, "embedding": {"dim": 16}, "evaluate": {"source": "none"}}
    return config_for(folder, half_life_days=3, **of_input) | more


def run_night(chain: Chain, config: Config, day: int, **options: Any) -> Ended:
    ended = chain.run(config, date=date_of(day).isoformat(), accept_drift=True, **options)
    assert ended.code == 0, ended.error
    return ended


def data_files(ended: Ended) -> dict[str, bytes]:
    folder = Path(ended.answer["path"]) / "node_embeddings"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("window", [{}, {"window_days": 6}])
def test_a_night_publishes_what_a_run_that_reads_everything_publishes(
    days: Path, tmp_path: Path, window: dict[str, int]
) -> None:
    chain, config = Chain(tmp_path), nightly(days, **window)
    for day in (4, 5, 7):
        night = run_night(chain, config, day)
    figures = night.figures("ingest")
    assert (figures["night_before"], figures["read"]) == (date_of(5).isoformat(), 300)  # a skipped night is caught up
    again = run_night(chain, config, 7, recompute=True)
    assert (again.answer["verdict"], again.answer["release"]) == ("unchanged", night.answer["release"])
    assert again.figures("ingest")["read"] == (900 if window else 1200)
    published = data_files(night)
    shutil.rmtree(chain.root / "published")  # what was kept there was only compared
    assert data_files(run_night(chain, config, 7)) == published


def test_nights_of_several_relations_publish_what_a_run_that_reads_everything_publishes(
    days: Path, tmp_path: Path
) -> None:
    """One with a window of its own, one with an old file that changes, one without times: brands of a night."""
    for day in range(8):
        follows = [(user, int(followed), of, weight) for user, followed, of, weight in some_rows(day, 40, seed=2)]
        write_file(tmp_path / "follows", f"dt={date_of(day)}/a.parquet", follows)
        write_file(tmp_path / "saves", f"{day}.parquet", some_rows(day, 40, seed=3))
    keys = {"timestamp": "ts", "weight": "weight"}
    brands = {"name": "brands", "path": str(tmp_path / "brands.parquet"), "source_type": "item", "target_type": "brand"}
    relations = [
        {"name": "follows", "path": str(tmp_path / "follows"), "target_type": "user", "window_days": 4, **keys}
        | {"self_loops": "keep"},
        {"name": "saves", "path": str(tmp_path / "saves"), "half_life_days": 5, "late_days": 1, **keys},
        {**brands, "strength": 0.5},
    ]
    chain, config = Chain(tmp_path), {**nightly(days), "relations": relations}
    read = []
    for day in (4, 5, 7):
        items = range(20 + day)
        table = pa.table({"source": [*items], "target": [f"brand {item % (3 + day)}" for item in items]})
        pq.write_table(table, brands["path"])
        if day == 7:
            write_file(tmp_path / "saves", "2.parquet", some_rows(2, 30, seed=4))
        night = run_night(chain, config, day)
        read.append({name: rows["read"] for name, rows in night.figures("ingest")["relations"].items()})
    assert read[1:] == [
        {"interactions": 450, "follows": 120, "saves": 120, "brands": 25},  # rows of days to come, once more
        {"interactions": 300, "follows": 80, "saves": 8 * 40 - 10, "brands": 27},
    ]
    again = run_night(chain, config, 7, recompute=True)
    assert (again.answer["verdict"], again.answer["release"]) == ("unchanged", night.answer["release"])
    published = data_files(night)
    shutil.rmtree(chain.root / "published")
    assert data_files(run_night(chain, config, 7)) == published


@pytest.mark.slow
def test_seven_nights_of_movielens(shared_data: Path, tmp_path: Path) -> None:
    """Gates on: no honest night is refused, each reads its own rows, and equals the run that reads everything."""
    stream, chain = movielens(shared_data), Chain(tmp_path)
    for day in range(190):
        came = stream.day == day
        if came.any():
            rows = {name: values[came] for name, values in stream.rows.items()}
            target = tmp_path / "in" / f"dt={nights.date_of(day)}" / "a.parquet"
            target.parent.mkdir(parents=True)
            pq.write_table(pa.table(rows), target)
    config = {
        "input": {"path": str(tmp_path / "in"), "weight": "weight", "timestamp": "ts", "timestamp_unit": "s"}
        | {"half_life_days": 90},
        "lineage": {"full_every": 28},
        "embedding": {"dim": 32},
    }
    shares = []
    for day in range(180, 188):
        ended = chain.run(config, date=nights.date_of(day))
        assert ended.code == 0, ended.error
        shares.append(ended.figures("ingest")["bytes_read"])
    assert max(shares[1:]) <= 0.1 * shares[0]
    again = chain.run(config, date=nights.date_of(187), recompute=True)
    assert (again.code, again.answer["verdict"]) == (0, "unchanged"), again.error


def test_weights_are_as_of_the_date(days: Path, tmp_path: Path) -> None:
    """A run of its own begins a lineage: its epoch is the end of its date, and no factor is taken."""
    nights, alone = Chain(tmp_path / "nights"), Chain(tmp_path / "alone")
    for day in (4, 6):
        ended = run_night(nights, nightly(days), day)
    other = run_night(alone, nightly(days), 6)
    found, wanted = (pq.read_table(Path(one.answer["path"]) / "node_embeddings") for one in (ended, other))
    assert found["node_id"].equals(wanted["node_id"])
    # Ages are rounded down to 2**-24 of a half-life, from either epoch; published weights to float32.
    rounding = 2 ** (2.0**-24) - 1 + 2 * 2**-24
    np.testing.assert_allclose(found["weight"].to_numpy(), wanted["weight"].to_numpy(), rtol=1.01 * rounding)
    # Another epoch is one factor of all weights, and so one of all rows of a type.
    is_source = np.array(found["node_type"].to_pylist()) == "user"
    vectors, expected = (np.stack(table["embedding"].to_numpy()) for table in (found, wanted))
    for of_type in (is_source, ~is_source):
        lengths = np.linalg.norm(expected[of_type], axis=1)
        factor = np.median((np.linalg.norm(vectors[of_type], axis=1) / lengths)[lengths > 0])
        distances = np.linalg.norm(vectors[of_type] / factor - expected[of_type], axis=1)
        assert (distances <= 1e-5 * lengths).all()


def test_a_full_run_starts_a_lineage_after_some_days(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), {**nightly(days), "lineage": {"full_every": 3}}
    read = [run_night(chain, config, day).figures("ingest")["night_before"] for day in range(2, 8)]
    assert read == [None, str(date_of(2)), str(date_of(3)), None, str(date_of(5)), str(date_of(6))]


def test_a_verdict_names_what_the_release_was_made_of(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    first, second = (run_night(chain, config, day).answer["path"] for day in (4, 5))
    verdicts = [chain.root / "runs" / str(date_of(day)) / "gate.json" for day in (4, 5)]
    of_night = [json.loads(path.read_text())["inputs"] for path in verdicts]
    sums = chain.root / "runs" / str(date_of(4)) / "night_sums"
    assert of_night[1] == [str(days), f"{first}/node_embeddings", str(sums)]
    assert sums.is_dir()
    assert second != first


def test_a_workspace_of_full_runs_can_begin_with_lineages(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    before = [run_night(chain, {**config, "lineage": {}}, 4), run_night(chain, config, 5), run_night(chain, config, 6)]
    assert [ended.figures("ingest")["night_before"] for ended in before] == [None, None, str(date_of(5))]


def test_a_night_that_was_killed_resumes(days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    run_night(chain, config, 5)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.relation_pairs.night_sums", lambda *_: 1 / 0)
        assert chain.run(config, date=date_of(6).isoformat()).code == 1
    ended = run_night(chain, config, 6)
    assert ended.figures("ingest")["night_before"] == str(date_of(5))
    assert run_night(chain, config, 6, recompute=True).answer["verdict"] == "unchanged"


def test_an_earlier_night_that_is_damaged_is_not_built_on(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    for day in (4, 5):
        run_night(chain, config, day)
    (file, *_) = (chain.root / "runs" / str(date_of(5)) / "day_sums").glob("*/*.parquet")
    content = file.read_bytes()
    file.unlink()  # nights share files that did not change
    file.write_bytes(content[:-1])
    ended = run_night(chain, config, 6)
    assert ended.figures("ingest")["night_before"] == str(date_of(4))
    assert "this night is not built on" in ended.log
    assert run_night(chain, config, 6, recompute=True).answer["verdict"] == "unchanged"


def test_nights_go_on_with_the_tree_of_the_night_before(days: Path, tmp_path: Path) -> None:
    """A part that outgrows its bound is cut again alone: its nodes stay below it, all others where they were."""
    chain, config = Chain(tmp_path), {**nightly(days), "partition": {"max_edges": 180}}
    nights = [run_night(chain, config, day) for day in (3, 4, 5)]
    trees = [ended.figures("partition") for ended in nights]
    assert [tree["tree_of"] for tree in trees] == [None, str(date_of(3)), str(date_of(4))]
    assert 1 < trees[0]["parts"] < trees[2]["parts"]
    first, last = (chain.published(Path(ended.answer["path"])) for ended in (nights[0], nights[2]))
    paths, paths_before = last.column("cluster_path"), first.column("cluster_path")
    users = [node for node in paths if node[0] == "user" and paths_before.get(node)]
    assert len(users) > 50
    assert all(f"{paths[user]}/".startswith(f"{paths_before[user]}/") for user in users)
    again = run_night(chain, config, 5, recompute=True)
    assert (again.answer["verdict"], again.answer["release"]) == ("unchanged", nights[2].answer["release"])


def test_a_tree_is_cut_anew_for_other_keys_and_where_it_lost_its_balance(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    run_night(chain, config, 3)
    other = run_night(chain, {**config, "partition": {"parts": 4}}, 4)
    assert other.figures("partition")["tree_of"] is None
    heavy = [(str(user), item, 5, 1) for user in (3, 4) for item in range(1_000)]
    write_file(days, f"dt={date_of(5)}/b.parquet", heavy)
    ended = run_night(chain, config, 5)
    assert ended.figures("partition")["tree_of"] is None
    assert f"tree_of={date_of(3)} cut_anew=" in ended.log
    assert run_night(chain, config, 5, recompute=True).answer["verdict"] == "unchanged"


def test_a_tree_that_is_damaged_is_not_gone_on_with_and_one_that_went_is_missed(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    for day in (3, 4):
        run_night(chain, config, day)
    (file,) = (chain.root / "runs" / str(date_of(4)) / "node_parts").glob("*/*.arrow")
    file.write_bytes(file.read_bytes()[:-1])
    ended = run_night(chain, config, 5)
    assert ended.figures("partition")["tree_of"] == str(date_of(3))
    assert "its tree is not taken over" in ended.log
    shutil.rmtree(chain.root / "runs" / str(date_of(3)))
    again = chain.run(config, date=str(date_of(5)), recompute=True)
    assert again.code == 1
    assert f"{date_of(5)} takes over the tree of {date_of(3)}, and" in again.error
    assert f"inputs/tree-{date_of(5)}-*.json" in again.error


def test_an_old_file_that_changes_is_read_again_with_all_others_or_refused(days: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    run_night(chain, nightly(days), 5)
    write_file(days, f"dt={date_of(1)}/a.parquet", some_rows(1, 150, seed=1))
    refused = chain.run(nightly(days, late_change="refuse"), date=str(date_of(6)))
    assert refused.code == 4
    assert f"dt={date_of(1)}/a.parquet of {days} was changed since the night of {date_of(5)}" in refused.error
    ended = run_night(chain, nightly(days), 6)
    assert ended.figures("ingest")["night_before"] is None
    assert f"dt={date_of(1)}/a.parquet was changed" in ended.log


def test_only_the_days_of_a_late_change_are_read_again(days: Path, tmp_path: Path) -> None:
    chain, config = Chain(tmp_path), nightly(days)
    run_night(chain, config, 5)
    write_file(days, f"dt={date_of(4)}/a.parquet", some_rows(4, 90, seed=1))
    ended = run_night(chain, config, 6)
    assert (ended.figures("ingest")["night_before"], ended.figures("ingest")["read"]) == (str(date_of(5)), 90 + 2 * 150)
    assert run_night(chain, config, 6, recompute=True).answer["verdict"] == "unchanged"


def test_folders_of_days_without_rows_of_the_date_are_not_listed() -> None:
    names = ["dt=2026-03-01/a", "dt=2026-03-04/x=1/a", "dt=2026-03-09/a", "dt=soon/a", "b", "c/signup=2020-01-01/a"]
    sources = [SourceFile(name, name, "parquet", 1, 0, None) for name in names]
    assert [one.relative for one in drop_other_days(sources, dt.date(2026, 3, 6), 2, None)] == [*names[:2], *names[3:]]
    assert [one.relative for one in drop_other_days(sources, dt.date(2026, 3, 6), 3, 3)] == names[1:]


def test_lineages_need_times(tmp_path: Path) -> None:
    write_file(tmp_path / "in", "a.parquet", some_rows(0, 5))
    config = {"input": {"path": str(tmp_path / "in")}, "lineage": {"full_every": 7}}
    ended = Chain(tmp_path).run(config)
    assert ended.code == 2
    assert "lineage.full_every is 7 and input.timestamp is not set" in ended.error


@pytest.mark.spark
def test_spark_goes_on_from_a_night_of_the_local_engine(days: Path, tmp_path: Path, spark_session: Any) -> None:
    """And ends where that engine does, byte for byte."""
    local, spark, config = Chain(tmp_path / "local"), Chain(tmp_path / "spark"), nightly(days, window_days=6)
    run_night(local, config, 5)
    shutil.copytree(local.root, spark.root)
    spark.engine = SparkEngine(spark_session)
    nights_of_both = [run_night(chain, config, 6) for chain in (local, spark)]
    assert [ended.figures("ingest")["night_before"] for ended in nights_of_both] == [str(date_of(5))] * 2
    assert [ended.figures("partition")["tree_of"] for ended in nights_of_both] == [str(date_of(5))] * 2
    assert data_files(nights_of_both[0]) == data_files(nights_of_both[1])
