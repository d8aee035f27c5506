"""What a user does after a published file was damaged: the same run again, or the next night's.

The tables are spectral, so that a night's bytes hang on every byte of the night before, which they are turned into the
coordinates of.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import Chain, config_for, users_and_items, write_rows
from tests.stages.damage import DAMAGES

DAYS = ("2024-03-01", "2024-03-02", "2024-03-03")
TARGETS = (
    *("releases/{}/node_embeddings/part-00000.parquet", "releases/{}/fold_in/part-00000.parquet"),
    *("releases/{}/ppr_neighbors/part-00000.parquet", "releases/{}/manifest.json", "releases/{}/metrics.json"),
    *("releases/{}/gate.json", "CURRENT.json", "CURRENT.history.jsonl"),
)
#: One damage of each target now, all of them with the slow tests.
CASES = [
    pytest.param(target, damage, marks=() if number % len(DAMAGES) == at % len(DAMAGES) else pytest.mark.slow)
    for number, target in enumerate(TARGETS)
    for at, damage in enumerate(DAMAGES)
]


@dataclass(frozen=True)
class Undisturbed:
    """Two nights published; and the tables of the third, made in a copy."""

    chain: Chain
    config: dict[str, Any]
    releases: tuple[str, ...]
    third: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    chain = Chain(tmp_path_factory.mktemp("undisturbed"))
    rows: dict[str, Any] = users_and_items(1, 1_500, 120, 60)
    rows["ts"] = [f"{DAYS[day]}T12:00:00" for day in np.searchsorted([1_470, 1_485], np.arange(1_500), side="right")]
    config = config_for(
        write_rows(chain.folder / "in.parquet", rows),
        dim=12,
        input={"timestamp": "ts"},
        embedding={"method": "spectral", "iterations": 4},
        ppr={"neighbors": True, "top_k": 5},
        evaluate={"source": "next_day"},
        publish={"fold_in": True},
    )
    releases = tuple(chain.publish(config, date=day).folder.name for day in DAYS[:2])
    copy = Chain(Path(shutil.copytree(chain.folder, tmp_path_factory.mktemp("third") / "copy")))
    return Undisturbed(chain, config, releases, tables_of(copy.publish(config, date=DAYS[2]).folder))


def tables_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}


@pytest.mark.parametrize(("target", "damage"), CASES)
@pytest.mark.parametrize("has_working", [True, False])
def test_what_comes_next_has_the_same_bytes_or_a_name(
    undisturbed: Undisturbed, tmp_path: Path, target: str, damage: str, has_working: bool
) -> None:
    chain = Chain(Path(shutil.copytree(undisturbed.chain.folder, tmp_path / "copy")))
    published, release = chain.root / "published" / "default", undisturbed.releases[1]
    folder = published / "releases" / release
    before, current = tables_of(folder), (published / "CURRENT.json").read_bytes()
    path = published / target.format(release)
    DAMAGES[damage](path, random.Random(3))
    if not has_working:
        shutil.rmtree(chain.root / "runs" / DAYS[1] / "node_embeddings")
        shutil.rmtree(chain.root / "runs" / DAYS[1] / "fold_in")
        shutil.rmtree(chain.root / "runs" / DAYS[1] / "ppr_neighbors")

    following = Chain(Path(shutil.copytree(chain.folder, tmp_path / "next")))
    ended = following.run(undisturbed.config, date=DAYS[2])
    if ended.code == 0:
        assert tables_of(Path(ended.answer["path"])) == undisturbed.third
    else:
        assert ended.code == 1
        assert path.name in ended.error
        assert release in ended.error
        assert "releases" in target
        # With its working files a table is restored; what lies beside, by the run that knows its content.
        assert not has_working or path.suffix == ".json"

    again = chain.run(undisturbed.config, date=DAYS[1])  # what is missing under runs/ is made again too
    assert again.code == 0, again.error
    assert tables_of(folder) == before
    if path.name != "manifest.json":
        assert (published / "CURRENT.json").read_bytes() == current
    assert chain.run(undisturbed.config, date=DAYS[2]).code == 0
    assert tables_of(chain.published().folder) == undisturbed.third


def test_a_name_whose_folder_is_gone_is_said_to_have_had_releases(undisturbed: Undisturbed, tmp_path: Path) -> None:
    chain = Chain(Path(shutil.copytree(undisturbed.chain.folder, tmp_path / "copy")))
    shutil.rmtree(chain.root / "published")
    ended = chain.run(undisturbed.config, date=DAYS[2])
    assert ended.code == 0, ended.error
    last = undisturbed.releases[1]
    assert f"name=default warning: its folder has no releases any more, the last run published {last}" in ended.log
    other = {**undisturbed.config, "publish": {**undisturbed.config["publish"], "name": "other"}}
    assert "no releases any more" not in chain.run(other, date=DAYS[2]).log
