"""What a contender is, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """A graph of users and items, each numbered from 0, in a file (or folder) of ``user_id`` and ``item_id``."""

    path: Path

    @cached_property
    def user(self) -> NDArray[np.int64]:
        return self._column("user_id")

    @cached_property
    def item(self) -> NDArray[np.int64]:
        return self._column("item_id")

    def _column(self, name: str) -> NDArray[np.int64]:
        return pq.read_table(self.path, columns=[name])[name].to_numpy()

    @cached_property
    def users(self) -> int:
        return int(self.user.max()) + 1

    @cached_property
    def items(self) -> int:
        return int(self.item.max()) + 1


@dataclass(frozen=True)
class Prepared:
    """What is timed, and what is measured of its result afterwards."""

    call: Callable[[], Any]
    figures: Callable[[Any], Mapping[str, float]] = field(default=lambda _: {})
    units: int = 1  # times are over this: slow contenders do less of the same work
    #: What the result says of its CPU seconds, where these are no process' that this one waits for.
    cpu_seconds: Callable[[Any], float] | None = None
    #: What the result says of the memory of processes that this one doesn't wait for, in bytes.
    peak_bytes: Callable[[Any], int] = field(default=lambda _: 0)
    warms: bool = True  # whether the call is made once before it is timed, as in a process that goes on


#: By case and contender; "graphquilt" comes first in each case.
CASES: dict[str, dict[str, Callable[[Pairs], Prepared]]] = {}


def contender(case: str, name: str) -> Callable[[Callable[[Pairs], Prepared]], Callable[[Pairs], Prepared]]:
    """Enter a function that prepares a contender: loading and turning the graph into its form is not timed."""

    def enter(prepare: Callable[[Pairs], Prepared]) -> Callable[[Pairs], Prepared]:
        CASES.setdefault(case, {})[name] = prepare
        return prepare

    return enter
