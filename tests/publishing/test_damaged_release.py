"""Every file of a release x every damage x what is done next: the same bytes again, or refused by name."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphquilt import EmbeddingTable, NeighborTable, TableError
from graphquilt.__main__ import main
from graphquilt.releases import find_problems
from pipeline.config.publish import PublishConfig
from pipeline.errors import StorageError
from pipeline.publishing import release
from pipeline.publishing.copies import WorkingFile
from pipeline.publishing.listing import read_current
from pipeline.publishing.release import require_whole, rollback
from pipeline.publishing.retention import clean
from tests.graphquilt.published_neighbors import publish_lists, random_lists
from tests.graphquilt.published_tables import random_nodes
from tests.publishing.working_files import contents
from tests.stages.damage import DAMAGES

NEWEST = PublishConfig(keep_releases=1, keep_runs=1, min_age_hours=0.0)
DAYS = ("2024-06-01", "2024-06-02", "2024-06-03")
FILES = (
    *("node_embeddings/part-00000.parquet", "ppr_neighbors/part-00000.parquet", "ppr_neighbors/part-00001.parquet"),
    *("manifest.json", "metrics.json", "gate.json"),
)


def _link(path: Path, _: random.Random) -> None:
    aside = path.parents[2] / f"aside-{path.name}"
    path.rename(aside)
    path.symlink_to(aside)


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "thesis.txt").write_text("the only copy")


def _pipe(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


PUT_IN_PLACE: dict[str, Callable[[Path, random.Random], object]] = {"link": _link, "folder": _folder, "pipe": _pipe}


def publish(root: Path, day: str) -> Path:
    rng = np.random.default_rng(DAYS.index(day))
    lists = random_lists(rng, {"item": 20, "user": 30})
    nodes = random_nodes(rng, {"user": 40})
    date = dt.date.fromisoformat(day)
    return publish_lists(root, lists, vectors=nodes, release=f"{day}-a", date=date, files=2).path


def publish_again(root: Path, sound: Path) -> None:
    """Publish the second day as its run would once more: with what its run's manifest said of the working files."""
    manifest = json.loads((release_of(sound) / "manifest.json").read_text())
    files = [
        WorkingFile(root / entry["source"], entry["name"], entry["bytes"], entry["xxh3"])
        for entry in manifest["files"]
        if "source" in entry
    ]
    again = replace(contents(manifest["release"], {}, dt.date.fromisoformat(DAYS[1])), files=files)
    release.publish(root, "default", again, now=dt.datetime.fromisoformat(manifest["published_at"]))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    for day in DAYS[:2]:
        publish(root, day)
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "w", symlinks=True))


def release_of(root: Path, day: str = DAYS[1]) -> Path:
    return root / "published" / "default" / "releases" / f"{day}-a"


def at(root: Path) -> str:
    found = read_current(root, "default")
    assert found
    return str(found["release"])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [*DAMAGES, *PUT_IN_PLACE])
def test_readers_refuse_by_name_and_name_the_way_out(
    root: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = release_of(root) / name
    {**DAMAGES, **PUT_IN_PLACE}[damage](path, random.Random(7))
    assert main(["check", "--workspace", str(root), "--deep"]) == 4
    said = capsys.readouterr().err
    assert f"release {DAYS[1]}-a is damaged: {path}" in said
    assert f"'graphquilt rollback --workspace {root} --name default --to {DAYS[0]}-a'" in said
    assert "graphquilt run" in said
    assert "publish" not in said.replace("published", "")  # which would hash what it finds
    table = NeighborTable if name.startswith("ppr") else EmbeddingTable
    is_seen_on_opening = bool(find_problems(release_of(root), deep=False))
    # All is, but a bit in the bytes of a column.
    assert is_seen_on_opening or (damage == "flip" and name.endswith(".parquet"))
    for place in (root, release_of(root)):
        if is_seen_on_opening:
            with pytest.raises(TableError, match=name.split("/")[-1]):
                table.open(place)
    assert main(["inspect", "--workspace", str(root), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)["published"]["default"]
    assert (f"{DAYS[1]}-a" in about["damaged"]) is is_seen_on_opening
    assert at(root) == f"{DAYS[1]}-a"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [*DAMAGES, *PUT_IN_PLACE])
@pytest.mark.parametrize("action", ["publish", "rollback", "read whole", "publish the next"])
@pytest.mark.parametrize("has_working", [True, False])
def test_the_same_bytes_again_or_refused(
    root: Path, sound: Path, name: str, damage: str, action: str, has_working: bool
) -> None:
    folder = release_of(root)
    whole = bytes_of(folder)
    {**DAMAGES, **PUT_IN_PLACE}[damage](folder / name, random.Random(8))
    damaged = bytes_of(folder)
    if not has_working:
        shutil.rmtree(root / "runs")
    if action == "publish the next":
        publish(root, DAYS[2])
        assert at(root) == f"{DAYS[2]}-a"
        assert bytes_of(folder) == damaged
        assert find_problems(folder, deep=True)
        return
    # Tables are made from working files; a manifest and what lies beside it by who knows their content.
    restores = damage in DAMAGES and (has_working and (name.endswith(".parquet") or action == "publish"))
    restores = restores or (damage in DAMAGES and action == "publish" and name in ("metrics.json", "gate.json"))
    act = {
        "publish": lambda: publish_again(root, sound),
        "rollback": lambda: rollback(root, "default", f"{DAYS[1]}-a"),
        "read whole": lambda: require_whole(root, "default", f"{DAYS[1]}-a"),
    }[action]
    if restores:
        act()
        assert bytes_of(folder) == whole
    else:
        with pytest.raises(StorageError) as refused:
            act()
        assert str(folder / name) in str(refused.value)
        assert bytes_of(folder) == damaged
        if damage in DAMAGES:
            assert f"rollback --workspace {root} --name default --to {DAYS[0]}-a" in str(refused.value)
    assert at(root) == f"{DAYS[1]}-a"
    assert not (root / "published" / "default" / "releases").joinpath(f"_staging-{DAYS[1]}-a").exists()


@pytest.mark.parametrize("byte", range(0, 3000, 61))
def test_any_bit_of_a_footer_is_seen_on_opening(root: Path, byte: int) -> None:
    path = release_of(root) / FILES[0]
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[-8:-4], "little") + 8
    data[len(data) - 1 - byte % length] ^= 1 << byte % 8
    path.write_bytes(data)
    with pytest.raises(TableError, match=r"part-00000.parquet .*(footer|is no Parquet file)"):
        EmbeddingTable.open(root)


def test_a_working_file_and_its_published_copy_are_damaged_apart(root: Path) -> None:
    entry = json.loads((release_of(root) / "manifest.json").read_text())["files"][0]
    working, published = root / entry["source"], release_of(root) / entry["name"]
    for one, other in ((working, published), (published, working)):
        whole = one.read_bytes()
        for path in (one, other):
            assert path.stat().st_nlink == 1
        with one.open("r+b") as file:  # in place, as a disk does it
            file.seek(100)
            file.write(b"XXXX")
        assert other.read_bytes() == whole
        one.write_bytes(whole)


def test_a_damaged_working_file_is_not_published(root: Path, sound: Path) -> None:
    shutil.rmtree(release_of(root))
    source = json.loads((release_of(sound) / "manifest.json").read_text())["files"][0]["source"]
    data = bytearray((root / source).read_bytes())
    data[100] ^= 1
    (root / source).write_bytes(data)
    with pytest.raises(StorageError, match=rf"{source} of table ppr_neighbors has .*graphquilt run"):
        publish_again(root, sound)
    assert not release_of(root).exists()


def test_a_folder_that_holds_something_else_is_not_removed(root: Path, sound: Path) -> None:
    (release_of(root) / "manifest.json").unlink()
    notes = release_of(root) / "notes"
    notes.mkdir()
    (notes / "thesis.txt").write_text("the only copy")
    with pytest.raises(StorageError, match=rf"{notes} is no file of it: move that away"):
        publish_again(root, sound)
    assert (notes / "thesis.txt").exists()


@pytest.mark.parametrize("place", ["published", "published/default", "published/default/releases"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_link_or_file_in_a_folder_s_place_is_refused_by_everybody(
    root: Path, sound: Path, place: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, aside = root / place, root.with_name("aside")
    path.rename(aside)
    if kind == "link":
        path.symlink_to(aside)
    else:
        path.write_text("")
    named = rf"{path} is a (symbolic link to {aside}|file), and a folder of the workspace's own is wanted"
    acts: list[Callable[[], object]] = [
        lambda: publish_again(root, sound),
        lambda: rollback(root, "default"),
        lambda: read_current(root, "default"),
        lambda: clean(root, NEWEST, dt.datetime.now(dt.UTC)),
    ]
    for act in acts:
        with pytest.raises(StorageError, match=named):
            act()
    with pytest.raises(TableError, match=named):
        EmbeddingTable.open(root)
    assert aside.exists()


def test_cleaning_follows_no_link(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("the only copy")
    (root / "runs" / "2020-01-01").symlink_to(precious)
    (root / "runs" / DAYS[0] / "link").symlink_to(precious)
    (root / "published" / "default" / "releases" / "_staging-x").symlink_to(precious)
    (root / "published" / "default" / "releases" / "2020-01-01-a").symlink_to(precious)
    report = clean(root, NEWEST, dt.datetime.now(dt.UTC))
    assert (precious / "thesis.txt").exists()
    kept = {item.path.name: item.why for item in report.kept}
    assert "is a symbolic link" in kept["2020-01-01"]
    assert "is a symbolic link" in kept["2020-01-01-a"]
    assert not (root / "runs" / DAYS[0] / "link").is_symlink()


def test_a_file_that_nobody_published_is_named(root: Path) -> None:
    stranger = release_of(root) / "node_embeddings" / "part-00001.parquet"  # which DuckDB would read
    shutil.copyfile(release_of(root) / FILES[0], stranger)
    with pytest.raises(TableError, match=f"{stranger} is not in the manifest"):
        EmbeddingTable.open(root)


def test_a_release_from_before_is_read_and_restored(root: Path, sound: Path) -> None:
    folder, published = release_of(root), root / "published" / "default"
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["checksum"]
    for entry in manifest["files"]:
        for name in ("xxh3", "source", "footer_sha256", "columns_crc32"):
            entry.pop(name, None)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    known = {name: at_once(root)[name] for name in ("release", "path", "data_date", "contract_version")}
    (published / "CURRENT.json").write_text(json.dumps({**known, "manifest_sha256": digest}))
    (published / "CURRENT.history.jsonl").unlink()
    assert main(["check", "--workspace", str(root), "--deep"]) == 0
    whole = bytes_of(folder)
    (folder / FILES[0]).write_bytes(b"")
    assert main(["check", "--workspace", str(root)]) == 4
    publish_again(root, sound)
    assert bytes_of(folder) == whole
    assert main(["check", "--workspace", str(root), "--deep"]) == 0


def at_once(root: Path) -> dict[str, object]:
    found = read_current(root, "default")
    assert found
    return found
