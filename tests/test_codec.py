"""Dataclasses come back from JSON as they went, and nothing else comes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic_core import PydanticSerializationError

from pipeline import codec
from pipeline.config.ppr import PprConfig
from pipeline.tasks import Attempt, payload_type, result_type


@dataclass(frozen=True)
class Slice:
    file: Path
    batches: tuple[int, int]


@dataclass(frozen=True)
class Payload:
    number: int
    scale: float
    slices: tuple[Slice, ...]
    counts: Mapping[str, int]
    ppr: PprConfig
    features: Path | None = None


@dataclass(frozen=True)
class Figures:
    vector: codec.Vector
    anything: Any
    local: Annotated[Mapping[str, Any], *codec.NOT_WRITTEN] = field(default_factory=dict)


names, not_finite = st.text("abc"), st.sampled_from([math.nan, math.inf, -math.inf])
slices = st.builds(Slice, st.text("abc/é ", min_size=1).map(Path), st.tuples(st.integers(), st.integers()))
payloads = st.builds(
    Payload,
    number=st.integers(),
    scale=st.floats(allow_nan=False, allow_infinity=False),
    slices=st.lists(slices).map(tuple),
    counts=st.dictionaries(st.text(), st.integers()),
    ppr=st.builds(PprConfig, restart=st.floats(0.01, 0.99)),
    features=st.none() | st.just(Path("x")),
)


@given(payloads)
def test_what_is_written_is_read(payload: Payload) -> None:
    assert codec.from_text(Payload, codec.to_text(payload)) == payload


@given(payloads, st.data())
def test_an_unknown_missing_or_foreign_field_is_refused_by_name(payload: Payload, data: st.DataObject) -> None:
    values = codec.to_values(payload)
    name = data.draw(st.sampled_from(sorted(values)))
    with pytest.raises(codec.CodecError, match=name):
        codec.from_values(Payload, {key: value for key, value in values.items() if key != name})
    with pytest.raises(codec.CodecError, match="other"):
        codec.from_values(Payload, {**values, "other": 1})
    with pytest.raises(codec.CodecError, match=name):
        codec.from_values(Payload, {**values, name: [object.__name__, [1]]})


@given(payloads.filter(lambda payload: payload.slices))
def test_so_are_those_of_a_field_of_a_field(payload: Payload) -> None:
    values = codec.to_values(payload)
    values["slices"][0]["other"] = 1
    with pytest.raises(codec.CodecError, match="other"):
        codec.from_values(Payload, values)


def test_what_json_has_no_word_for_is_not_written() -> None:
    payload = Payload(1, 0.5, (), {}, PprConfig())
    with pytest.raises(PydanticSerializationError):
        codec.to_values(replace(payload, number=np.int64(1)))  # type: ignore[arg-type]
    with pytest.raises(codec.CodecError, match=r"Payload\.scale is nan"):
        codec.to_text(replace(payload, scale=float("nan")))


@given(st.recursive(not_finite, lambda inner: st.lists(inner, min_size=1) | st.dictionaries(names, inner, min_size=1)))
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(value: object) -> None:
    with pytest.raises(codec.CodecError, match=r"Figures\.anything.* is (nan|inf|-inf)"):
        codec.to_values(Figures(np.zeros(0), value))


@given(hnp.arrays(np.float64, st.integers(0, 20), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_a_vector_comes_back_to_the_last_bit(vector: NDArray[np.float64]) -> None:
    read = codec.from_text(Figures, codec.to_text(Figures(vector, None, {"not": "written"})))
    assert read.vector.dtype == np.float64
    assert read.vector.tobytes() == vector.tobytes()
    assert read.local == {}


def test_a_task_function_says_what_it_takes_and_gives() -> None:
    def work(payload: Payload, attempt: Attempt) -> Mapping[str, int]:
        return payload.counts

    assert payload_type(work) is Payload
    assert result_type(work) == Mapping[str, int]
    assert payload_type(lambda *_: None) is result_type(lambda *_: None) is Any  # type: ignore[comparison-overlap]
