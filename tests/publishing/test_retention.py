import datetime as dt
from pathlib import Path

import pytest

from graphquilt import files
from graphquilt.locations import Location
from graphquilt.releases import find_problems
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.publishing.listing import read_current, releases
from pipeline.publishing.release import publish, rollback
from pipeline.publishing.retention import CleanReport, clean
from pipeline.storage import lock
from tests.publishing.working_files import contents

NIGHT = dt.datetime(2024, 6, 20, 3, tzinfo=dt.UTC)


def make(root: Location, day: int, published_at: dt.datetime | None = None, size: int = 1000) -> Location:
    source = root / "runs" / f"2024-06-{day:02}" / "t" / "f" / "out.bin"
    storage.write(source, bytes(size))
    storage.write(source.parent / "manifest.json", b"{}")
    now = published_at or dt.datetime(2024, 6, day, 3, tzinfo=dt.UTC) + dt.timedelta(days=1)
    release = contents(f"d{day:02}", {"t": [(source, "part.bin")]}, dt.date(2024, 6, day))
    done = publish(root, "default", release, now=now)
    return done.path


def run_clean(root: Location, keep_releases: int = 2, keep_runs: int = 2, **options: bool) -> CleanReport:
    rules = PublishConfig(keep_releases=keep_releases, keep_runs=keep_runs, min_age_hours=24.0)
    return clean(root, rules, NIGHT, **options)


def names(root: Location) -> list[str]:
    return [release.release for release in releases(root, "default")]


def names_below(folder: Location) -> list[str]:
    return [file.name for file in storage.files_below(folder) if not file.name.endswith(".lock")]


def dates(root: Location) -> list[str]:
    folder = root / "runs"
    return [name for name in files.names_in(folder) if files.has_folder(folder / name / "t")]


def test_the_newest_stay_and_the_rest_goes(root: Location) -> None:
    for day in (10, 11, 12, 13):
        make(root, day)
    report = run_clean(root)
    assert names(root) == ["d12", "d13"]
    assert dates(root) == ["2024-06-12", "2024-06-13"]
    assert {(item.kind, item.path.name) for item in report.removed} == {
        ("release", "d10"), ("release", "d11"), ("run", "2024-06-10"), ("run", "2024-06-11"),
    }  # fmt: skip
    assert "2 newer releases; 2 are kept" in {item.why for item in report.removed}
    for release in releases(root, "default"):
        assert find_problems(release.path, deep=True) == []
    assert run_clean(root).removed == ()


def test_a_dry_run_says_the_same_and_removes_nothing(root: Location) -> None:
    for day in (10, 11, 12, 13):
        make(root, day)
    before = names_below(root)
    dry = run_clean(root, dry_run=True)
    assert names_below(root) == before
    wet = run_clean(root)
    assert dry.removed == wet.removed
    assert (dry.dry_run, wet.dry_run) == (True, False)


def test_the_current_release_stays_after_a_rollback(root: Location) -> None:
    for day in (10, 11, 12, 13):
        make(root, day)
    rollback(root, "default", to="d10")
    run_clean(root, keep_releases=1)
    assert names(root) == ["d10", "d13"]
    pointer = read_current(root, "default")
    assert pointer is not None
    assert pointer["release"] == "d10"


@pytest.mark.parametrize(("hours", "stays"), [(23.9, True), (24.0, False), (24.1, False)])
def test_a_young_release_stays_whatever_its_date(root: Location, hours: float, stays: bool) -> None:
    for day in (11, 12):
        make(root, day)
    make(root, 5, published_at=NIGHT - dt.timedelta(hours=hours))  # a backfill
    report = run_clean(root)
    assert ("d05" in names(root)) is stays
    assert any("hours ago; none younger than 24 goes" in item.why for item in report.kept) is stays


def test_a_date_at_work_is_skipped_and_named(root: Location, short_leases: None) -> None:
    for day in (10, 11, 12):
        make(root, day)
    with lock(root / "runs" / "2024-06-10" / ".lock", "embed"):
        report = run_clean(root)
    assert "2024-06-10" in dates(root)
    assert [(item.path.name, item.why) for item in report.kept if item.kind == "run"] == [
        ("2024-06-10", "a process is at work on it")
    ]
    run_clean(root)
    assert dates(root) == ["2024-06-11", "2024-06-12"]
    assert files.has_file(root / "runs" / "2024-06-10" / ".lock")  # whoever waits for it still waits for the right one


def test_release_and_run_have_bytes_of_their_own(tmp_path: Path) -> None:
    for day in (10, 11, 12):
        make(tmp_path, day, size=1_000_000)
    for file in tmp_path.rglob("*.bin"):
        assert file.stat().st_nlink == 1
    dry = run_clean(tmp_path, keep_releases=1, keep_runs=1, dry_run=True)
    assert 3_000_000 < dry.freed_bytes < 3_010_000  # a release, and two dates
    assert run_clean(tmp_path, keep_releases=1, keep_runs=1).freed_bytes == dry.freed_bytes


def test_leftovers_go_and_unknown_folders_stay(tmp_path: Path) -> None:
    make(tmp_path, 12)
    folder = tmp_path / "published" / "default" / "releases"
    for name in ("_staging-x", "_removed-y.0a1b2c3d", "by_hand"):
        (folder / name).mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    report = run_clean(tmp_path)
    assert {item.path.name for item in report.removed} == {"_staging-x", "_removed-y.0a1b2c3d"}
    assert sorted(path.name for path in folder.iterdir()) == ["by_hand", "d12"]
    assert (tmp_path / "runs" / "notes").exists()


def test_in_a_store_what_lacks_a_manifest_goes_unless_readers_have_it(store_root: Location) -> None:
    for day in (11, 12):
        current = make(store_root, day)
    storage.write(current.with_name("d13") / "t" / "part.bin", b"the manifest was never written")
    storage.remove(current / "manifest.json")
    report = run_clean(store_root)
    assert [(item.kind, item.path.name, item.bytes) for item in report.removed] == [("leftover", "d13", 30)]
    assert files.names_in(current.parent) == ["d11", "d12"]
    assert [item.why.split(":")[0] for item in report.kept if item.path == current] == ["current"]
    make(store_root, 12)  # the same tables become a release once more
    assert find_problems(current, deep=True) == []


def test_a_purge_leaves_the_current_release_and_the_young(root: Location) -> None:
    for day in (10, 11):
        make(root, day)
    make(root, 12, published_at=NIGHT - dt.timedelta(hours=2))
    make(root, 13, published_at=NIGHT - dt.timedelta(hours=1))
    report = run_clean(root, keep_releases=7, keep_runs=7, purge_ids=True)
    assert names(root) == ["d12", "d13"]
    assert dates(root) == []
    assert [item.path.name for item in report.kept] == ["d13", "d12"]


def test_nothing_there_is_nothing_to_do(root: Location) -> None:
    assert run_clean(root) == CleanReport((), (), 0, False)
