"""Keys of nodes of one type: xxh3-64 of the type in UTF-8, a zero byte, and the id's bytes.

Only ever a seed, never an identity: two nodes may share a key, and then draw the same row.

Source: Collet's xxHash 0.8, XXH3_64bits with seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.kernels.array_types import In, Out, inner_kernel, kernel

#: Bytes of type and id up to which a kernel hashes; of more, the library, one by one.
_MOST = 128
#: Of an int64, with its sign.
_DIGITS = 20
_SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    ),
    np.uint64,
)
_PRIME_1, _PRIME_2, _PRIME_3 = (
    np.uint64(prime) for prime in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
)
_MIX_1, _MIX_2 = np.uint64(0x165667919E3779F9), np.uint64(0x9FB21C651E98DF25)
_LOW, _TEN = np.uint64(0xFFFFFFFF), np.uint64(10)
_MINUS, _ZERO = ord("-"), ord("0")


def node_keys(node_type: str, ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """Return the keys of nodes by their ids, (n,) uint64.

    Parameters
    ----------
    node_type : must not contain a zero byte, which ends it.
    ids : n ids as UTF-8 text, or canonical decimal digits where ids are integers.
    """
    offsets = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(text) for text in ids], out=offsets[1:])
    return keys_of_texts(node_type, offsets, np.frombuffer(b"".join(ids), np.uint8))


def keys_of_texts(node_type: str, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the keys of nodes whose ids are texts; (n + 1,) offsets as in Arrow, and UTF-8 bytes -> (n,) uint64."""
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > data.size):
        raise ValueError(f"offsets run from {offsets[0]} to {offsets[-1]}, and there are {data.size} bytes")
    prefix, text = _prefix(node_type)
    keys = np.empty(max(0, len(offsets) - 1), np.uint64)
    _hash_texts(offsets, data, len(prefix), text, keys)
    for row in np.flatnonzero(np.diff(offsets) > _MOST - len(prefix)).tolist():
        keys[row] = xxhash.xxh3_64_intdigest(prefix + data[offsets[row] : offsets[row + 1]].tobytes())
    return keys


def keys_of_integers(node_type: str, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the keys of nodes whose ids are integers: those of their canonical decimals; (n,) int64 -> (n,) uint64."""
    prefix, text = _prefix(node_type)
    if len(prefix) + _DIGITS > _MOST:
        return node_keys(node_type, [str(node_id).encode() for node_id in ids.tolist()])
    keys = np.empty(len(ids), np.uint64)
    _hash_integers(np.ascontiguousarray(ids), len(prefix), text, keys)
    return keys


def _prefix(node_type: str) -> tuple[bytes, NDArray[np.uint8]]:
    """Return what comes before ids, and room for the longest text that a kernel hashes, which starts with it."""
    prefix = node_type.encode() + b"\0"
    if prefix.index(b"\0") != len(prefix) - 1:
        raise ValueError(f"node type {node_type!r} contains a zero byte, which separates type and id; rename it")
    text = np.zeros(max(_MOST, len(prefix)), np.uint8)
    text[: len(prefix)] = np.frombuffer(prefix, np.uint8)
    return prefix, text


@inner_kernel
def _read_half(text: In[np.uint8], at: int) -> np.uint64:
    word = np.uint64(0)
    for byte in range(4):
        word |= np.uint64(text[at + byte]) << np.uint64(8 * byte)
    return word


@inner_kernel
def _read(text: In[np.uint8], at: int) -> np.uint64:
    return _read_half(text, at) | _read_half(text, at + 4) << np.uint64(32)


@inner_kernel
def _fold(left: np.uint64, right: np.uint64) -> np.uint64:
    """Both halves of a product of 128 bits, one upon the other."""
    half = np.uint64(32)
    low = (left & _LOW) * (right & _LOW)
    across = (left >> half) * (right & _LOW) + (low >> half)
    middle = (left & _LOW) * (right >> half) + (across & _LOW)
    return (left >> half) * (right >> half) + (across >> half) + (middle >> half) ^ left * right


@inner_kernel
def _swap(word: np.uint64) -> np.uint64:
    """The bytes of a word, last first."""
    swapped_word = np.uint64(0)
    for byte in range(8):
        swapped_word |= (word >> np.uint64(8 * byte) & np.uint64(255)) << np.uint64(56 - 8 * byte)
    return swapped_word


@inner_kernel
def _mix(text: In[np.uint8], at: int, secret: int) -> np.uint64:
    return _fold(_read(text, at) ^ _SECRET[secret], _read(text, at + 8) ^ _SECRET[secret + 1])


@inner_kernel
def _finish(word: np.uint64) -> np.uint64:
    word = (word ^ word >> np.uint64(37)) * _MIX_1
    return word ^ word >> np.uint64(32)


@inner_kernel
def _hash_long(text: In[np.uint8], size: int) -> np.uint64:
    """XXH3 of 17 to 128 bytes: from both ends inwards."""
    word = np.uint64(size) * _PRIME_1
    for pair in range((size - 1) // 32, -1, -1):
        word += _mix(text, 16 * pair, 4 * pair)
        word += _mix(text, size - 16 * (pair + 1), 4 * pair + 2)
    return _finish(word)


@inner_kernel
def _hash(text: In[np.uint8], size: int) -> np.uint64:
    """XXH3 of the first ``size`` bytes, 1 to 128."""
    length = np.uint64(size)
    if size > 16:
        return _hash_long(text, size)
    if size > 8:
        low = _read(text, 0) ^ _SECRET[3] ^ _SECRET[4]
        high = _read(text, size - 8) ^ _SECRET[5] ^ _SECRET[6]
        return _finish(length + _swap(low) + high + _fold(low, high))
    if size > 3:
        word = (_read_half(text, size - 4) + (_read_half(text, 0) << np.uint64(32))) ^ _SECRET[1] ^ _SECRET[2]
        word ^= (word << np.uint64(49) | word >> np.uint64(15)) ^ (word << np.uint64(24) | word >> np.uint64(40))
        word *= _MIX_2
        word = (word ^ (word >> np.uint64(35)) + length) * _MIX_2
        return word ^ word >> np.uint64(28)
    word = np.uint64(text[0]) << np.uint64(16) | np.uint64(text[size >> 1]) << np.uint64(24)
    word |= np.uint64(text[size - 1]) | length << np.uint64(8)
    word ^= (_SECRET[0] ^ _SECRET[0] >> np.uint64(32)) & _LOW
    word = (word ^ word >> np.uint64(33)) * _PRIME_2
    word = (word ^ word >> np.uint64(29)) * _PRIME_3
    return word ^ word >> np.uint64(32)


@kernel
def _hash_texts(
    offsets: In[np.int64], data: In[np.uint8], prefix: int, text: Out[np.uint8], keys: Out[np.uint64]
) -> None:
    for row in range(len(keys)):
        first, size = offsets[row], offsets[row + 1] - offsets[row]
        if prefix + size <= _MOST:
            for place in range(size):
                text[prefix + place] = data[first + place]
            keys[row] = _hash(text, prefix + size)


@kernel
def _hash_integers(ids: In[np.int64], prefix: int, text: Out[np.uint8], keys: Out[np.uint64]) -> None:
    for row in range(len(keys)):
        rest, start = np.uint64(ids[row]), prefix
        if ids[row] < 0:
            rest = np.uint64(0) - rest  # of the smallest int64, too
            text[prefix] = _MINUS
            start += 1
        size, more = start + 1, rest // _TEN
        while more:
            size, more = size + 1, more // _TEN
        for place in range(size - 1, start - 1, -1):
            text[place] = _ZERO + np.uint8(rest % _TEN)
            rest //= _TEN
        keys[row] = _hash(text, size)
