"""A link, or something foreign, in the place of a file or folder of the workspace: refused by name, never followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages.chains import Chain, Config, config_for, users_and_items, write_rows

DAY = "1970-01-01"

#: By what they are, patterns below the workspace; the first match is replaced.
FOLDERS = (
    *("runs", f"runs/{DAY}", f"runs/{DAY}/edges", f"runs/{DAY}/node_embeddings/*", f"runs/{DAY}/_work", "inputs"),
    *("published", "published/default", "published/default/releases", "published/default/releases/*"),
    "published/default/releases/*/node_embeddings",
)
FILES = (
    *(f"runs/{DAY}/.lock", f"runs/{DAY}/gate.json", f"runs/{DAY}/edges/*/manifest.json"),
    *(f"runs/{DAY}/edges/*/part-*", f"runs/{DAY}/node_embeddings/*/part-*", "inputs/_records/*.json"),
    *("published/default/.lock", "published/default/CURRENT.json", "published/default/CURRENT.history.jsonl"),
    *("published/default/releases/*/manifest.json", "published/default/releases/*/node_embeddings/part-*"),
)


def config_of(folder: Path) -> Config:
    return config_for(write_rows(folder / "in.parquet", users_and_items(rows=200)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chain = Chain(tmp_path_factory.mktemp("made"))
    config = config_of(chain.folder)
    chain.publish(config, date=DAY)
    (chain.root / "runs" / DAY / "_work").mkdir(exist_ok=True)
    return chain.folder


def _link(path: Path, aside: Path) -> None:
    path.rename(aside)
    path.symlink_to(aside)


def _dangling(path: Path, aside: Path) -> None:
    path.rename(aside)
    path.symlink_to(aside.with_name("nowhere"))


def _other_kind(path: Path, aside: Path) -> None:
    is_folder = path.is_dir()
    path.rename(aside)
    path.write_text("hello") if is_folder else path.mkdir()


def _pipe(path: Path, aside: Path) -> None:
    path.rename(aside)
    os.mkfifo(path)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link": _link, "dangling link": _dangling, "other kind": _other_kind, "pipe": _pipe,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [*FOLDERS, *FILES])
def test_what_stands_in_our_place_is_refused_by_name(made: Path, tmp_path: Path, place: str, kind: str) -> None:
    chain = Chain(Path(shutil.copytree(made, tmp_path / "copy", symlinks=True)))
    path = sorted(chain.root.glob(place))[0]
    aside = tmp_path / "aside"
    KINDS[kind](path, aside)
    before = aside.read_bytes() if aside.is_file() else sorted(aside.rglob("*"))
    config = config_for(made / "in.parquet")
    ended = chain.run(config, date=DAY)
    assert ended.code == 1, ended.answer
    assert f"{path} is " in ended.error
    assert "of the workspace's own is wanted there" in ended.error
    assert (aside.read_bytes() if aside.is_file() else sorted(aside.rglob("*"))) == before
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        path.rmdir()
    aside.rename(path)
    assert chain.run(config, date=DAY).code == 0


def test_the_workspace_itself_may_be_a_link(tmp_path: Path) -> None:
    chain = Chain(tmp_path / "chain")
    (tmp_path / "elsewhere").mkdir()
    chain.root.symlink_to(tmp_path / "elsewhere")
    chain.publish(config_of(chain.folder))
    assert (tmp_path / "elsewhere" / "published" / "default" / "CURRENT.json").is_file()


def test_a_file_in_the_workspace_s_place_is_named(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.root.write_text("")
    ended = chain.run(config_of(chain.folder))
    assert ended.code == 1
    assert str(chain.root) in ended.error
