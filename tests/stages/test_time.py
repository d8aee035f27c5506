"""What a date, a window and a half-life do to the published table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.chains import EPOCH, Chain, config_for, write_rows

DAY = 86_400
DATED = {"timestamp": "ts", "timestamp_unit": "s"}


def rows(*events: tuple[str, str, float]) -> dict[str, list[Any]]:
    """Events of (source, target, day from the start of 2000)."""
    source, target, day = zip(*events, strict=True)
    return {"source": list(source), "target": list(target), "ts": [EPOCH + int(moment * DAY) for moment in day]}


EVENTS = rows(
    *[("ann", "tea", 3.0), ("ann", "tea", 2.0), ("ben", "tea", 2.0), ("ben", "rice", 1.0)],
    *[("cat", "rice", 0.0), ("dan", "milk", -40.0), ("eve", "tea", 4.5)],
)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    write_rows(tmp_path / "in.parquet", EVENTS)
    return Chain(tmp_path)


def config(chain: Chain, **given: Any) -> dict[str, Any]:
    return config_for(chain.folder / "in.parquet", dim=32, input={**DATED, **given})


def test_weights_halve_and_a_pair_that_decays_to_nothing_leaves_zero_rows(chain: Chain) -> None:
    made = chain.publish(config(chain, half_life_days=1.0), date="2000-01-04")  # ends at day 4.0
    weight = made.column("weight")
    # The ages run to the end of the date: 1 day is a half.
    assert weight["user", "ann"] == 2.0**-1 + 2.0**-2
    assert weight["user", "ben"] == 2.0**-2 + 2.0**-3
    assert weight["user", "cat"] == 2.0**-4
    assert weight["item", "tea"] == 2.0**-1 + 2 * 2.0**-2
    assert weight["user", "dan"] == weight["item", "milk"] == 0.0  # 44 half-lives
    for node in (("user", "dan"), ("item", "milk")):
        assert not made.of[node].any()
        assert made.column("norm")[node] == made.column("degree")[node] == 0
        assert made.column("cluster_path")[node] == ""
    assert all(made.of[node].any() for node in made.ids if node not in (("user", "dan"), ("item", "milk")))
    assert ("user", "eve") not in made.of  # after the end of the date
    assert chain.run(config(chain, half_life_days=1.0), date="2000-01-04").figures("ingest")["decayed_pairs"] == 1


def test_weights_halve_on_the_way_of_a_half_life(chain: Chain) -> None:
    made = chain.publish(config(chain, half_life_days=3.0), date="2000-01-04")
    assert made.column("weight")["user", "cat"] == pytest.approx(2.0 ** (-4 / 3), rel=2.0**-12)


def test_decay_changes_vectors_as_weights_do(chain: Chain) -> None:
    decayed = chain.publish(config(chain, half_life_days=1.0, window_days=4), date="2000-01-04")
    weighed = {
        "source": ["ann", "ben", "ben", "cat"],
        "target": ["tea", "tea", "rice", "rice"],
        "weight": [0.75, 0.25, 0.125, 0.0625],
    }
    other = Chain(chain.folder / "other")
    path = write_rows(other.folder / "in.parquet", weighed)
    same = other.publish(config_for(path, dim=32, input={"weight": "weight"}))
    assert same.ids == decayed.ids
    np.testing.assert_array_equal(same.rows, decayed.rows)


def test_a_window_leaves_out_what_is_older(chain: Chain) -> None:
    ended = chain.run(config(chain, window_days=2), date="2000-01-04")  # from day 2.0 on
    made = chain.published()
    assert {node_id for _, node_id in made.ids} == {"ann", "ben", "tea"}
    figures = ended.figures("ingest")
    assert (figures["late"], figures["early"], figures["kept"]) == (1, 3, 3)


@pytest.mark.parametrize(("date", "users"), [("2000-01-02", "ben cat dan"), ("2000-01-05", "ann ben cat dan eve")])
def test_a_date_leaves_out_what_came_later(chain: Chain, date: str, users: str) -> None:
    made = chain.publish(config(chain), date=date)
    assert {node_id for node_type, node_id in made.ids if node_type == "user"} == set(users.split())
    assert chain.current()["data_date"] == date


def test_without_a_date_it_is_the_newest_of_the_input(chain: Chain) -> None:
    ended = chain.run(config(chain))
    assert ended.answer["date"] == "2000-01-05"
    later = chain.run(config(chain), ["embed"])
    assert (later.answer["date"], later.skipped) == ("2000-01-05", ["embed"])


def test_without_timestamps_it_is_undated(chain: Chain) -> None:
    ended = chain.run(config_for(chain.folder / "in.parquet"))
    assert ended.answer["date"] == "1970-01-01"
    assert len(chain.published().ids) == 5 + 3


def test_a_folder_a_day(tmp_path: Path) -> None:
    for day in ("2024-06-01", "2024-06-02"):
        write_rows(tmp_path / day / "part.csv", {"source": ["a", "b"], "target": [day, "common"]})
    chain = Chain(tmp_path / "chain")
    config_ = config_for(tmp_path / "{date}")
    made = chain.publish(config_, date="2024-06-02")
    assert ("item", "2024-06-02") in made.of
    assert ("item", "2024-06-01") not in made.of
    ended = chain.run(config_)  # which folder is meant can't be told
    assert (ended.code, "needs a date; give --date" in ended.error) == (2, True)
