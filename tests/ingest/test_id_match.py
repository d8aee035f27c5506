from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.id_match import IdMatch, are_swapped, mask_id, match_ids, why_no_match

IDS = [str(100_000 + 37 * n) for n in range(500)]


@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)), st.booleans())
def test_matches_are_counted_as_sets_are(asked: set[int], known: set[int], as_text: bool) -> None:
    kind = pa.string() if as_text else pa.int64()
    found = match_ids(pa.array([*asked, *asked, None]).cast(kind), pa.array(list(known), pa.int64()))
    assert found == IdMatch(len(asked), len(known), len(asked & known))
    assert found.is_no_match == (bool(asked) and len(asked & known) < max(1, 0.01 * min(len(asked), len(known))))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda text: f"0{text}", "leading zeros"),
        (lambda text: f"{text} ", "blanks"),
        (lambda text: f"{text}.0", "fraction"),
        (lambda text: f"{int(text):E}", "exponent"),
        (lambda text: f"item_{text}", "prefix"),
        (lambda text: f"'{text}'", "signs"),
        (lambda text: f"{text[:3]}-{text[3:]}", "signs"),
        (lambda text: f" 00{text}.0 ", "together"),
    ],
)
def test_the_reason_is_told_with_an_example_of_each_side(write: Callable[[str], str], reason: str) -> None:
    for there, here in (([write(one) for one in IDS], IDS), (IDS, [write(one) for one in IDS])):
        said = why_no_match(pa.array(there), pa.array(here), of_persons=False)
        assert reason in said
        at = next(number for number, one in enumerate(there) if repr(one) in said)
        assert repr(here[at]) in said  # of the same node


def test_case_is_a_reason() -> None:
    said = why_no_match(pa.array(["AB1", "CD2"]), pa.array(["ab1", "cd2"]), of_persons=False)
    assert "'AB1' there, 'ab1' in the interactions" in said
    assert "case" in said


def test_ids_of_other_things_have_no_reason() -> None:
    said = why_no_match(pa.array(["x", "y"]), pa.array(IDS), of_persons=False)
    assert said == "Examples: 'x' there, '100000' in the interactions. Are they ids of the same things?"


@given(st.text(max_size=20))
def test_ids_of_persons_are_shown_by_shape(text: str) -> None:
    shape = mask_id(text)
    assert len(shape) == len(text)
    assert not any(letter.isalpha() and letter not in "aA" for letter in shape)
    assert mask_id(shape) == shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [("0100451", "0999999"), ("17850.0", "99999.0"), (" ab-12 ", " aa-99 "), ("0", "0"), ("Zoë", "Aaa")],
)
def test_shapes(text: str, shape: str) -> None:
    assert mask_id(text) == shape


def test_swapped_ends_are_seen() -> None:
    users, items = pa.array([f"u{n}" for n in range(50)]), pa.array([f"i{n}" for n in range(50)])
    assert are_swapped({"user": items, "item": users}, {"user": users, "item": items})
    assert not are_swapped({"user": users, "item": items}, {"user": users, "item": items})
