"""Training pairs in batches against sets and counters of Python."""

from __future__ import annotations

import itertools
from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.train_pairs import PairBatches, TrainPairs

NODE = st.integers(0, 7)
PAIRS = st.lists(st.tuples(NODE, NODE), max_size=30, unique=True)


def ends_of(pairs: list[tuple[int, int]], kind: pa.DataType) -> tuple[pa.Array, pa.Array]:
    src, dst = (pa.array([pair[end] for pair in pairs], pa.int64()).cast(kind) for end in (0, 1))
    return src, dst


@given(
    pairs=PAIRS,
    cuts=st.lists(st.integers(0, 30), max_size=4),
    sources=st.sets(NODE),
    held_out=st.none() | PAIRS,
    is_plain=st.booleans(),
    is_text=st.booleans(),
)
def test_what_is_kept_is_what_sets_keep(
    pairs: list[tuple[int, int]],
    cuts: list[int],
    sources: set[int],
    held_out: list[tuple[int, int]] | None,
    is_plain: bool,
    is_text: bool,
) -> None:
    bounds = [0, *sorted(cuts), len(pairs)]
    batches = [ends_of(pairs[first:stop], pa.int64()) for first, stop in itertools.pairwise(bounds)]
    kind = pa.string() if is_text else pa.int64()
    kept = TrainPairs.of(
        PairBatches(pa.int64(), batches),
        kind,
        pa.array(sorted(sources), pa.int64()).cast(kind),
        None if held_out is None else ends_of(held_out, pa.int64()),
        is_plain=is_plain,
    )

    def both(some: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return some + [(dst, src) for src, dst in some] if is_plain else some

    hidden = set(both(held_out or []))
    every = [pair for pair in both(pairs) if pair not in hidden]
    found = zip(*(column.cast(pa.int64()).to_pylist() for column in kept.ends), strict=True)
    assert Counter(found) == Counter(pair for pair in every if pair[0] in sources)
    degrees = zip(kept.targets.cast(pa.int64()).to_pylist(), kept.degree.tolist(), strict=True)
    assert dict(degrees) == Counter(dst for _, dst in every)
