"""Ids that are no integers, or look damaged by an export: counted, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.ingest.rejected import mask_of
from pipeline.kernels import id_texts
from pipeline.kernels.id_texts import kinds_of_ids, texts_like


@dataclass(frozen=True)
class OddIdCount:
    """Ids of one kind, and how one of them looks: digits as 9, letters as a."""

    rows: int
    shape: str


OddIds = Mapping[str, OddIdCount]  # by kind

_NULL_WORDS = "words for no value"
TEXT = "text"
#: Names of the kinds, with what to do about them; text needs no action.
KINDS: Mapping[str, str] = {
    TEXT: "",
    "like decimals": "integers went through a float on their way: export them as integers",
    "like exponents": "integers went through a float on their way, and digits may be lost: export them as integers",
    "with leading zeros or a sign": "007 and 7 are two nodes; fine where the zeros belong to the ids",
    "beyond 64 bits": "fine; all ids are text",
    "with blanks around": "'7 ' and '7' are two nodes: trim them where they are written",
    "with control characters": "line ends or tabs inside of an id are seldom meant: look at the file's quotes",
    "with a quote": "seldom meant: look at input.quote and the file's quotes",
    _NULL_WORDS: "they make one node of all rows without an id: list them in input.null_values",
}
_BY_CODE: Mapping[int, str] = {
    id_texts.TEXT: TEXT,
    id_texts.DECIMAL: "like decimals",
    id_texts.EXPONENT: "like exponents",
    id_texts.NOT_CANONICAL: "with leading zeros or a sign",
    id_texts.TOO_LARGE: "beyond 64 bits",
    id_texts.PADDED: "with blanks around",
    id_texts.WITH_CONTROL: "with control characters",
    id_texts.WITH_QUOTE: "with a quote",
}
_WORDS = (
    b"null",
    b"none",
    b"nil",
    b"nan",
    b"n/a",
    b"na",
    b"\\n",
    b"<na>",
    b"#n/a",
    b"(null)",
    b"undefined",
    b"nat",
    b"-",
)
_WIDE_BLANKS = "\u00a0\u3000\ufeff\u200b"  # no-break, ideographic, of a byte order mark, of no width
_ONLY_BLANKS = r"^(?:[\t-\r ]|\xc2\xa0|\xe3\x80\x80|\xef\xbb\xbf|\xe2\x80\x8b)+$"  # these, as bytes of UTF-8
_LONGEST_SHAPE = 24


def codes_of(ids: pa.Array) -> NDArray[np.uint8]:
    """Return what each id of a string column looks like, as :mod:`pipeline.kernels.id_texts` says; nulls are blank."""
    return kinds_of_ids(_offsets_of(ids), _bytes_of(ids))


def may_have_blanks(ids: pa.Array) -> bool:
    """Whether a string column has a blank or a control character; most have none."""
    data = _bytes_of(ids)
    return bool(data.size and data.min() <= ord(" "))


def wide_blanks(ids: pa.Array) -> NDArray[np.bool_] | None:
    """Return which texts consist of blanks, some of them beyond ASCII; None if none does. They may be no UTF-8."""
    if not _has_wide_blanks(ids):
        return None
    return mask_of(pc.match_substring_regex(ids.cast(pa.binary()), _ONLY_BLANKS))


def _has_wide_blanks(ids: pa.Array) -> bool:
    data = _bytes_of(ids)
    if not data.size or data.max() < 128:
        return False
    text = data.tobytes()
    return any(blank.encode() in text for blank in _WIDE_BLANKS)


def _offsets_of(ids: pa.Array) -> NDArray[np.int32]:
    return np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]


def _bytes_of(ids: pa.Array) -> NDArray[np.uint8]:
    return np.frombuffer(ids.buffers()[2] or b"", np.uint8)


def odd_ids(ids: pa.Array) -> dict[str, OddIdCount]:
    """Count the ids of a column, without nulls, that are no canonical int64, by kind; none if they are integers."""
    if not len(ids) or not pa.types.is_string(ids.type):
        return {}
    codes = codes_of(ids)
    if _has_wide_blanks(ids):
        is_padded = mask_of(pc.not_equal(pc.utf8_trim(ids, characters=_WIDE_BLANKS), ids))
        codes[is_padded & (codes == id_texts.TEXT)] = id_texts.PADDED
    counts: dict[str, OddIdCount] = {}
    words = texts_like(_WORDS, codes, _offsets_of(ids), _bytes_of(ids))
    if words.size:
        short = pc.utf8_lower(ids.take(pa.array(words))).cast(pa.binary())
        words = words[mask_of(pc.is_in(short, value_set=pa.array(_WORDS)))]
    if words.size:
        counts[_NULL_WORDS] = OddIdCount(int(words.size), ids[int(words[0])].as_py())  # a word is nobody's id
        codes[words] = id_texts.INTEGER  # counted
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        if code in _BY_CODE:
            at = np.flatnonzero(codes == code)
            text = ids[int(at[0])].as_py()
            shape = mask_text(text[:_LONGEST_SHAPE]) + ("..." if len(text) > _LONGEST_SHAPE else "")
            counts[_BY_CODE[code]] = OddIdCount(int(at.size), shape)
    return counts


def mask_text(text: str) -> str:
    """Return a text with its letters as a or A and its digits as 9: its form without its value."""
    letters = ("A" if sign.isupper() else "a" if sign.isalpha() else sign for sign in text)
    return "".join("9" if sign.isalnum() and not sign.isalpha() else sign for sign in letters)


def add_odd_ids(first: OddIds, second: OddIds) -> dict[str, OddIdCount]:
    """Add counts up; examples are the first's."""
    pairs = {kind: [counts[kind] for counts in (first, second) if kind in counts] for kind in KINDS}
    return {kind: OddIdCount(sum(count.rows for count in pair), pair[0].shape) for kind, pair in pairs.items() if pair}


def warnings_of(end: str, odd: OddIds, rows: int) -> list[str]:
    """Return a sentence for each kind that people should look at; ``end`` is "source" or "target"."""
    warnings = [
        f"{count.rows:,} {end} ids are {kind}, such as {count.shape!r} (9: a digit, a: a letter): {KINDS[kind]}"
        for kind, count in odd.items()
        if kind != TEXT
    ]
    texts = sum(count.rows for count in odd.values())
    if 0 < texts <= rows // 2:  # more are no slip: that is what the ids look like
        shape = next(iter(odd.values())).shape
        warnings.append(
            f"{texts:,} of {rows:,} {end} ids are no canonical integers, such as {shape!r}: all ids of the "
            "run are text, and node_id is a string"
        )
    return warnings
