import itertools

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.kernels.node_keys import keys_of_integers, keys_of_texts, node_keys

NODE_TYPES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 18).map(lambda n: 10**n - 1))


def keys_of_the_library(node_type: str, ids: list[bytes]) -> list[int]:
    return [xxhash.xxh3_64_intdigest(node_type.encode() + bytes([0]) + one) for one in ids]


@given(NODE_TYPES, st.lists(st.binary(max_size=300)))
def test_node_keys_hash_type_zero_id(node_type: str, ids: list[bytes]) -> None:
    keys = node_keys(node_type, ids)
    assert keys.dtype == np.uint64
    assert keys.tolist() == keys_of_the_library(node_type, ids)


@pytest.mark.parametrize("node_type", ["", "user", "t" * 127, "t" * 128, "t" * 300])
def test_texts_of_every_length_have_the_keys_of_the_library(node_type: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, 300 * 299 // 2, np.uint8)
    offsets = np.concatenate([[0], np.cumsum(np.arange(300))])
    ids = [data[first:stop].tobytes() for first, stop in itertools.pairwise(offsets)]
    assert keys_of_texts(node_type, offsets, data).tolist() == keys_of_the_library(node_type, ids)


@given(NODE_TYPES, INTEGERS)
def test_integers_have_the_keys_of_their_decimals(node_type: str, ids: list[int]) -> None:
    want = keys_of_the_library(node_type, [str(one).encode() for one in ids])
    assert keys_of_integers(node_type, np.array(ids, np.int64)).tolist() == want


def test_node_keys_never_change() -> None:
    # Frozen: with other keys, no two releases would share a coordinate system.
    want = [16274034637320737580, 15308295375035505810]
    assert node_keys("user", [b"42", b""]).tolist() == want
    assert keys_of_integers("user", np.array([42])).tolist() == want[:1]


def test_type_and_id_cannot_be_confused() -> None:
    assert node_keys("user", [b"1"]) != node_keys("use", [b"r1"])
    with pytest.raises(ValueError, match="zero byte"):
        node_keys("us\0er", [b"1"])


@pytest.mark.parametrize("offsets", [np.array([-1, 0]), np.array([0, 4])])
def test_texts_outside_of_the_data_are_refused(offsets: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="there are 3 bytes"):
        keys_of_texts("user", offsets, np.zeros(3, np.uint8))
