"""Which release a run is measured by, after any sequence of nights, backfills, rollbacks and cleanings."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from argparse import Namespace
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from graphquilt import files
from graphquilt.ancestry import trace
from graphquilt.locations import Location
from graphquilt.pointers import CURRENT, HISTORY, read_pointers
from jobs.session import open_date
from jobs.stopping import StopRequest
from pipeline import storage
from pipeline.config.publish import PublishConfig
from pipeline.embedding.methods import CONFIG
from pipeline.errors import ConfigError, GateError, StorageError
from pipeline.publishing.baseline import baselines_of_run, find_baselines
from pipeline.publishing.listing import releases
from pipeline.publishing.release import publish, rollback
from pipeline.publishing.retention import clean
from tests.publishing.working_files import contents
from tests.stages.chains import Chain, config_for, users_and_items, write_rows

NAME = "default"
START = dt.date(2024, 6, 1)
DAYS = st.integers(0, 6)


def release_of(day: int, config: str) -> str:
    return f"{START + dt.timedelta(day)}-{config}"


def make(root: Location, day: int, config: str = "a", **options: bool) -> bool:
    """Publish a release of a day without tables; return whether readers get it."""
    what = contents(release_of(day, config), {}, START + dt.timedelta(day))
    return publish(root, NAME, what, **options).current_moved


def baselines(root: Location, day: int) -> list[str]:
    return [release.release for release in find_baselines(root, NAME, START + dt.timedelta(day))]


@dataclass
class Model:
    """The rule in plain words.

    ``lines``: by release that readers ever had, itself and what they had before, newest first. ``withdrawn``: by
    release, the number of the rollback.
    """

    current: str | None = None
    lines: dict[str, list[str]] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)
    on_disk: set[str] = field(default_factory=set)
    rollbacks: int = 0

    def line(self) -> list[str]:
        return self.lines[self.current] if self.current else []

    def earlier(self, date: str) -> list[str]:
        return [one for one in self.line() if one[:10] < date and one not in self.withdrawn]

    def point_at(self, release: str) -> None:
        self.lines.setdefault(release, [release, *self.earlier(release[:10])])
        together = self.withdrawn.pop(release, None)
        for one in self.lines[release]:
            if together is not None and self.withdrawn.get(one) == together:
                del self.withdrawn[one]
        self.current = release

    def take_back_to(self, release: str) -> None:
        self.rollbacks += 1
        passed = [one for one in self.line() if one[:10] >= release[:10] and one != release]
        self.point_at(release)
        for one in passed:
            self.withdrawn.setdefault(one, self.rollbacks)


class Nights(RuleBasedStateMachine):
    """A published name through what nights and operators do to it, beside the model of the rule."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.model = Model()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(day=DAYS, config=st.sampled_from("ab"), accepts=st.booleans(), forced=st.booleans())
    def a_night_or_a_backfill(self, day: int, config: str, accepts: bool, forced: bool) -> None:
        release, model = release_of(day, config), self.model
        if release in model.withdrawn and not accepts:
            with pytest.raises(GateError, match="readers were rolled back from"):
                make(self.root, day, config, force_current=forced)
            return
        make(self.root, day, config, force_current=forced, accepts_drift=accepts)
        model.on_disk.add(release)
        if model.current is None or release[:10] >= model.current[:10] or forced:
            model.point_at(release)

    @precondition(lambda self: self.model.current)
    @rule()
    def an_operator_rolls_back(self) -> None:
        ordered = [one.release for one in releases(self.root, NAME)]
        before = [one for one in ordered[: ordered.index(str(self.model.current))] if one not in self.model.withdrawn]
        if not before:
            with pytest.raises(ConfigError, match="has no release before"):
                rollback(self.root, NAME)
            return
        assert rollback(self.root, NAME)[1].release == before[-1]
        self.model.take_back_to(before[-1])

    @precondition(lambda self: self.model.on_disk)
    @rule(data=st.data())
    def an_operator_names_a_release(self, data: st.DataObject) -> None:
        release = data.draw(st.sampled_from(sorted(self.model.on_disk)))
        rollback(self.root, NAME, release, reason="by name")
        if release != self.model.current:
            self.model.take_back_to(release)

    @rule(keep=st.integers(0, 3))
    def a_cleaning(self, keep: int) -> None:
        rules = PublishConfig(keep_releases=max(1, keep), keep_runs=1, min_age_hours=0.0)
        now = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        clean(self.root, rules, now, purge_ids=keep == 0)
        left = {one.release for one in releases(self.root, NAME)}
        assert left <= self.model.on_disk
        assert self.model.current is None or self.model.current in left
        if self.model.current and keep:  # a rerun of the current date starts from what it started from
            usable = [one for one in self.model.earlier(self.model.current[:10]) if one in self.model.on_disk]
            assert set(usable[:1]) <= left
        self.model.on_disk = left

    @precondition(lambda self: self.model.on_disk)
    @rule(data=st.data())
    def somebody_deletes_a_folder(self, data: st.DataObject) -> None:
        others = sorted(self.model.on_disk - {self.model.current})
        if others:
            release = data.draw(st.sampled_from(others))
            storage.remove_tree(self.root / "published" / NAME / "releases" / release)
            self.model.on_disk.remove(release)

    @invariant()
    def the_baseline_is_that_of_the_rule(self) -> None:
        if not hasattr(self, "model"):
            return
        for day in range(8):
            date = (START + dt.timedelta(day)).isoformat()
            assert baselines(self.root, day) == [one for one in self.model.earlier(date) if one in self.model.on_disk]

    @invariant()
    def withdrawn_are_those_that_readers_were_taken_back_from(self) -> None:
        if hasattr(self, "model") and self.model.current:
            assert set(trace(read_pointers(self.root / "published" / NAME)).withdrawn) == set(self.model.withdrawn)


TestNights = Nights.TestCase
TestNights.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


# One by one, in folders and in object stores


def test_what_readers_had_is_the_measure_whatever_backfills_bring(root: Location) -> None:
    for day in (0, 1, 4):
        make(root, day)
    assert baselines(root, 4) == [release_of(1, "a"), release_of(0, "a")]
    for day in (2, 3):
        make(root, day)  # backfills: nobody reads them
    assert baselines(root, 3) == baselines(root, 4) == [release_of(1, "a"), release_of(0, "a")]
    assert baselines(root, 5)[0] == release_of(4, "a")


def test_a_withdrawn_release_is_marked_until_it_is_current_again(root: Location) -> None:
    for day in (0, 1, 2):
        make(root, day)
    rollback(root, NAME, release_of(0, "a"), reason="half of the items")
    marks = trace(read_pointers(root / "published" / NAME)).withdrawn
    assert {release: mark.reason for release, mark in marks.items()} == {
        release_of(1, "a"): "half of the items",
        release_of(2, "a"): "half of the items",
    }
    assert dt.datetime.fromisoformat(marks[release_of(2, "a")].at).tzinfo is not None
    rollback(root, NAME, release_of(2, "a"))
    assert trace(read_pointers(root / "published" / NAME)).withdrawn == {}


def test_what_was_no_baseline_as_a_release_came_is_none_of_its_ancestors(tmp_path: Path) -> None:
    for day in (0, 1, 2):
        make(tmp_path, day)
    rollback(tmp_path, NAME)
    rollback(tmp_path, NAME)
    rollback(tmp_path, NAME, release_of(2, "a"))
    make(tmp_path, 2, "b")  # measured by day 0: day 1 was withdrawn for itself
    rollback(tmp_path, NAME, release_of(1, "a"))
    rollback(tmp_path, NAME, release_of(2, "b"))
    assert baselines(tmp_path, 2) == [release_of(0, "a")]


def test_a_baseline_that_was_withdrawn_meanwhile_refuses_the_release_that_was_measured_by_it(root: Location) -> None:
    for day in (0, 1):
        make(root, day)
    rollback(root, NAME, reason="shuffled")
    tonight = contents(release_of(2, "a"), {}, START + dt.timedelta(2), baseline=release_of(1, "a"))
    with pytest.raises(GateError, match=r"shuffled.*Run 'graphquilt run' with the same options") as refused:
        publish(root, NAME, tonight, accepts_drift=True)
    assert refused.value.gate["verdict"] == "refused"
    assert [one.release for one in releases(root, NAME)] == [release_of(0, "a"), release_of(1, "a")]


def test_the_baseline_of_a_date_stays_until_its_run_starts_again(root: Location) -> None:
    publish_config, date = PublishConfig(), START + dt.timedelta(3)

    def of_run(*, starts: bool, is_dry: bool = False, name: str = NAME) -> tuple[str, ...]:
        rules = publish_config.model_copy(update={"name": name})
        return baselines_of_run(root, rules, date, starts=starts, is_dry=is_dry)

    make(root, 0)
    assert of_run(starts=True) == (release_of(0, "a"),)
    make(root, 1)
    assert of_run(starts=True, is_dry=True) == (release_of(1, "a"), release_of(0, "a"))
    assert of_run(starts=False) == (release_of(0, "a"),)
    assert of_run(starts=True) == of_run(starts=False) == (release_of(1, "a"), release_of(0, "a"))
    assert of_run(starts=False, name="other") == ()
    rollback(root, NAME)
    assert of_run(starts=False)[0] == release_of(1, "a")
    assert of_run(starts=True) == (release_of(0, "a"),)
    record = root / "inputs" / f"baseline-{date}-{NAME}.json"
    storage.write(record, b"{}")
    with pytest.raises(StorageError, match="'graphquilt run' or 'graphquilt ingest' records it again"):
        of_run(starts=False)


@pytest.mark.parametrize("lost", ["the history", "its first lines", "both files"])
def test_where_the_history_does_not_go_back_all_older_releases_are_ancestors(tmp_path: Path, lost: str) -> None:
    for day in range(4):
        make(tmp_path, day)
    folder = tmp_path / "published" / NAME
    if lost == "its first lines":
        lines = files.read(folder / HISTORY).splitlines(keepends=True)
        (folder / HISTORY).write_bytes(b"".join(lines[-2:]))
    else:
        (folder / HISTORY).unlink()
    if lost == "both files":
        (folder / CURRENT).unlink()
        rollback(tmp_path, NAME, release_of(3, "a"))
    want = [release_of(day, "a") for day in (2, 1, 0)]
    assert baselines(tmp_path, 3) == want
    make(tmp_path, 4)
    assert baselines(tmp_path, 4) == [release_of(3, "a"), *want]


def test_lines_and_pointers_of_before_reasons_are_read(tmp_path: Path) -> None:
    make(tmp_path, 0)
    make(tmp_path, 1)
    rollback(tmp_path, NAME)
    line = json.loads(files.read(tmp_path / "published" / NAME / HISTORY).splitlines()[-1])
    assert "reason" not in line
    rollback(tmp_path, NAME, release_of(1, "a"), reason="it was right")
    line = json.loads(files.read(tmp_path / "published" / NAME / HISTORY).splitlines()[-1])
    assert line["reason"] == "it was right"
    with suppress(ConfigError):
        rollback(tmp_path, NAME)
    assert read_pointers(tmp_path / "published" / NAME).problem is None


def test_a_command_that_publishes_nothing_leaves_a_night_its_baseline(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    config = config_for(write_rows(tmp_path / "in.parquet", users_and_items()))
    assert chain.run(config, ("ingest",), date="2024-06-02").code == 0
    assert chain.run(config, date="2024-06-01").code == 0
    (record,) = (chain.root / "inputs").glob("baseline-2024-06-02-*.json")
    before = record.read_bytes()
    options = Namespace(**vars(chain.options(config, date="2024-06-02")))
    with StopRequest() as stop, open_date(options, CONFIG.from_toml(options.config), "tune", stop):
        pass
    assert record.read_bytes() == before
