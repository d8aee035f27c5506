"""Nights as producers deliver them: honest streams of pairs, and nights on which something went wrong upstream."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

DAY = 86_400
FIRST = dt.date(2024, 1, 1)
Rows = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Stream:
    """Rows with times; day 0 is ``FIRST``. ``day`` : (rows,) int64, when each row came."""

    rows: Rows
    day: NDArray[np.int64]

    def until(self, night: int, *, days: int | None = None) -> Rows:
        """Rows of the input on a night: all that came until then, or in the last ``days``."""
        is_there = (self.day <= night) & (True if days is None else self.day > night - days)
        return {name: values[is_there] for name, values in self.rows.items()}


def date_of(night: int) -> str:
    """The date of a night."""
    return (FIRST + dt.timedelta(days=night)).isoformat()


def movielens(data: Path) -> Stream:
    """MovieLens-100k by day: users come, rate a hundred films in a sitting and mostly never come again."""
    table = pa.concat_tables([pq.read_table(data / "ml-100k" / f"{part}.parquet") for part in ("train", "test")])
    day = table["ts"].to_numpy() // DAY
    return _stream(table["src"].to_numpy(), table["dst"].to_numpy(), table["weight"].to_numpy(), day - day.min())


def arrivals(source: NDArray[np.int64], target: NDArray[np.int64], *, share: float, seed: int = 0) -> Stream:
    """Give pairs without times an order: half of the nodes are there at first, the others come one by one.

    A pair comes when both of its nodes have come, after a wait. On night 0 half of the pairs are there, and a
    ``share`` of those that are there comes each night.
    """
    rng = np.random.default_rng(seed)
    come = [np.maximum(0.0, rng.uniform(-1, 1, int(ends.max()) + 1)) for ends in (source, target)]
    at = np.maximum(come[0][source], come[1][target]) + rng.exponential(0.5, source.size)
    place = np.empty(source.size)
    place[np.argsort(at, kind="stable")] = np.arange(1, source.size + 1) / source.size
    day = np.maximum(0, np.ceil(np.log(2 * place) / np.log1p(share))).astype(np.int64)
    return _stream(source, target, rng.integers(1, 6, source.size), day)


def gowalla(data: Path, users: int = 3_000, share: float = 0.01) -> Stream:
    """Check-ins of some users of Gowalla, as :func:`arrivals`."""
    table = pq.read_table(data / "gowalla" / "train.parquet")
    source, target = (table[name].to_numpy().astype(np.int64) for name in ("src", "dst"))
    is_chosen = np.isin(source, np.random.default_rng(1).permutation(int(source.max()) + 1)[:users])
    return arrivals(source[is_chosen], target[is_chosen], share=share)


def planted(users: int = 400, items: int = 300, pairs: int = 6_000, groups: int = 8, share: float = 0.02) -> Stream:
    """Pairs mostly inside of groups, with popular items, as :func:`arrivals`: needs no data."""
    rng = np.random.default_rng(5)
    source = rng.integers(0, users, pairs)
    group = np.where(rng.random(pairs) < 0.9, source % groups, rng.integers(0, groups, pairs))
    target = (np.minimum(rng.zipf(1.3, pairs), items // groups) - 1) * groups + group
    return arrivals(source, target, share=share)


def _stream(
    source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[np.int64], day: NDArray[np.int64]
) -> Stream:
    start = int((FIRST - dt.date(1970, 1, 1)).days) * DAY
    rows = {"source": source, "target": target, "weight": weight, "ts": start + day * DAY + 3_600}
    return Stream({name: values.astype(np.int64) for name, values in rows.items()}, day.astype(np.int64))


# --- nights on which something went wrong --------------------------------------------------------------------

Spoil = Callable[[Rows, np.random.Generator], Mapping[str, object]]


def _permuted(rows: Rows, rng: np.random.Generator) -> Rows:
    return {**rows, "target": rng.permutation(rows["target"])}


def _relabelled(rows: Rows, rng: np.random.Generator) -> Rows:
    return {**rows, "target": rng.permutation(int(rows["target"].max()) + 1)[rows["target"]]}


def _some(share: float, *, first: bool = False) -> Spoil:
    def spoil(rows: Rows, rng: np.random.Generator) -> Rows:
        n = rows["source"].size
        chosen = np.arange(int(n * share)) if first else np.sort(rng.permutation(n)[: int(n * share)])
        return {name: values[chosen] for name, values in rows.items()}

    return spoil


def _with_random_pairs(share: float) -> Spoil:
    def spoil(rows: Rows, rng: np.random.Generator) -> Rows:
        more = int(rows["source"].size * share)
        drawn = {name: rng.choice(np.unique(rows[name]), more) for name in ("source", "target")}
        drawn |= {name: rng.choice(rows[name], more) for name in ("weight", "ts")}
        return {name: np.concatenate([rows[name], drawn[name]]) for name in rows}

    return spoil


def _with_robots(rows: Rows, rng: np.random.Generator) -> Rows:
    """A fifth more users, each with a hundred items of no taste, all of tonight."""
    robots = np.repeat(np.arange(np.unique(rows["source"]).size // 5), 100)
    more = {
        "source": 1_000_000 + robots,
        "target": rng.choice(np.unique(rows["target"]), robots.size),
        "weight": np.ones_like(robots),
        "ts": np.full_like(robots, rows["ts"].max()),
    }
    return {name: np.concatenate([rows[name], more[name]]) for name in rows}


def _half_twice(rows: Rows, rng: np.random.Generator) -> Rows:
    half = {name: values[rows["source"] % 2 == 0] for name, values in rows.items()}
    return {name: np.concatenate([rows[name], half[name]]) for name in rows}


def _half_of_the_users(rows: Rows, rng: np.random.Generator) -> Rows:
    is_kept = rows["source"] % 2 == 0
    return {name: values[is_kept] for name, values in rows.items()}


def _another_set(rows: Rows, rng: np.random.Generator) -> Rows:
    n = rows["source"].size
    return {**rows, "source": rng.integers(0, 2_000, n), "target": rng.integers(0, 2_000, n)}


def _one_id_is_text(rows: Rows, rng: np.random.Generator) -> Mapping[str, object]:
    source = rows["source"].astype(str).astype(object)
    source[np.argmax(rows["ts"])] = "abc"  # inside of any window
    return {**rows, "source": source}


GARBAGE: Mapping[str, Spoil] = {
    "items permuted among users": _permuted,
    "items relabelled": _relabelled,
    "one percent of the rows": _some(0.01),
    "a random half of the rows": _some(0.5),
    "cut in the middle": _some(0.5, first=True),
    "source and target swapped": lambda rows, _: {**rows, "source": rows["target"], "target": rows["source"]},
    "a single item": lambda rows, _: {**rows, "target": np.full_like(rows["target"], rows["target"][0])},
    "ids shifted by one": lambda rows, _: {**rows, "target": rows["target"] + 1},
    "ids of users folded": lambda rows, _: {**rows, "source": rows["source"] % 50},
    "ids hashed": lambda rows, _: {**rows, "source": rows["source"] * 2_654_435_761 % 2**31},
    "ids with a prefix": lambda rows, _: {**rows, "source": np.char.add("u", rows["source"].astype(str))},
    "one id is text": _one_id_is_text,
    "weights inverted": lambda rows, _: {**rows, "weight": 6 - rows["weight"]},
    "weights all equal": lambda rows, _: {**rows, "weight": np.ones_like(rows["weight"])},
    "weights shuffled": lambda rows, rng: {**rows, "weight": rng.permutation(rows["weight"])},
    "half of the users gone": _half_of_the_users,
    "half of the rows loaded twice": _half_twice,
    "times reversed": lambda rows, _: {**rows, "ts": rows["ts"].min() + rows["ts"].max() - rows["ts"]},
    "a third more at random": _with_random_pairs(0.33),
    "as many random pairs again": _with_random_pairs(1.0),
    "another data set": _another_set,
    "times overwritten": lambda rows, _: {**rows, "ts": np.full_like(rows["ts"], rows["ts"].max())},
    "robots": _with_robots,
}
