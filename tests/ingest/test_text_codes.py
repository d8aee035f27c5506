"""Numbers of texts: the same text has the same number, whatever came between, and places are in order of bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.text_codes import TextCodes
from pipeline.kernels import text_codes

_TEXTS = st.text(max_size=20) | st.sampled_from(["", "a", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaab"])


@given(st.lists(st.lists(_TEXTS, max_size=30), max_size=5))
def test_texts_come_back(batches: list[list[str]]) -> None:
    codes, number_of = TextCodes(), dict[str, int]()
    numbers = [codes.of(pa.array(["cut off", *batch], pa.string())[1:]).tolist() for batch in batches]
    for batch, got in zip(batches, numbers, strict=True):
        assert got == [number_of.setdefault(text, len(number_of)) for text in batch]
    assert len(codes) == len(number_of)
    assert [text.decode() for text in codes.texts.to_pylist()] == list(number_of)
    texts, place = codes.in_order()
    assert texts.to_pylist() == sorted(number_of, key=str.encode)
    assert [texts[at].as_py() for at in place.tolist()] == list(number_of)


def test_texts_with_one_hash_are_told_apart() -> None:
    texts = [b"ab", b"cd", b"ab", b"ef", b"cd"]
    offsets, data = np.array([0, 2, 4, 6, 8, 10]), np.frombuffer(b"".join(texts), np.uint8)
    hashes, codes = np.full(5, 2**63 + 1, np.uint64), np.empty(5, np.int32)
    table, text_offsets, text_data = np.zeros(16, np.uint64), np.zeros(9, np.int64), np.empty(32, np.uint8)
    count = 0
    for _ in range(2):  # the second time, all are known
        text_codes.find_texts(hashes, table, codes)
        text_codes.check_texts(offsets, data, text_offsets, text_data, codes)
        count = text_codes.add_texts(hashes, offsets, data, table, text_offsets, text_data, count, codes)
        assert codes.tolist() == [0, 1, 0, 2, 1]
        assert count == 3
