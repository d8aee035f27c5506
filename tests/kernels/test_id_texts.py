from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kernels import id_texts
from pipeline.kernels.id_texts import kinds_of_ids, texts_like


def buffers(texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    array = pa.array(texts, pa.string())
    offsets = np.frombuffer(array.buffers()[1], np.int32)[: len(texts) + 1]
    return offsets, np.frombuffer(array.buffers()[2] or b"", np.uint8)


def kinds(texts: list[str]) -> list[int]:
    return kinds_of_ids(*buffers(texts)).tolist()


def oracle(text: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]+", text):
        if str(int(text)) != text:
            return id_texts.NOT_CANONICAL
        return id_texts.INTEGER if -(2**63) <= int(text) < 2**63 else id_texts.TOO_LARGE
    if re.fullmatch(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)", text):
        return id_texts.DECIMAL
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+", text):
        return id_texts.EXPONENT
    if not text.strip(" \t\n\r\v\f"):
        return id_texts.BLANK
    if "\0" in text:
        return id_texts.WITH_NUL
    if text[0] <= " " or text[-1] <= " ":
        return id_texts.PADDED
    if re.search(r"[\x00-\x1f\x7f]", text):
        return id_texts.WITH_CONTROL
    return id_texts.WITH_QUOTE if '"' in text else id_texts.TEXT


numbers = st.from_regex(r"\A[+-]?[0-9]{0,20}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,2})?\Z")
edges = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0, 10**18, 10**19]).map(str)


@given(st.lists(st.one_of(st.text(max_size=5), numbers, edges, st.text(st.sampled_from(' \t\n\0"a1'), max_size=4))))
@example(["-", "+", ".", "-0", "e5", "1e", "1.e5", "", " "])
def test_every_text_is_of_the_kind_that_regular_expressions_say(texts: list[str]) -> None:
    assert kinds(texts) == [oracle(text) for text in texts]


@given(
    st.lists(
        st.sampled_from(["NULL", "nil", "nobody", "-", "1", "\\N", ""])
        | st.text(st.sampled_from("nN-u\\1"), max_size=5)
    )
)
def test_texts_like_words_have_their_length_and_first_letter(texts: list[str]) -> None:
    words = ["null", "Nil", "-", "\\n"]
    rows = texts_like([word.encode() for word in words], kinds_of_ids(*buffers(texts)), *buffers(texts))
    shapes = {(len(word), word[0].lower()) for word in words}
    is_like = [oracle(text) == id_texts.TEXT and (len(text), text[0].lower()) in shapes for text in texts]
    assert rows.tolist() == np.flatnonzero(is_like).tolist()


def test_offsets_outside_of_the_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        kinds_of_ids(np.array([0, 5], np.int32), np.zeros(4, np.uint8))
