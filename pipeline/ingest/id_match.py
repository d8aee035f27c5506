"""Whether the ids of two inputs are of the same nodes: how many match, and the likely reason if almost none do."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.odd_ids import mask_text

#: Below this share, matches are chance: a file of the same ids shares most of the smaller side.
LEAST_SHARE = 0.01
#: Below this one, a warning says how many match: the file may be of another day, shop or country.
FEW_SHARE = 0.5
SAMPLE = 10_000  # ids that don't match, looked at for the reason
_LEAST_EXPLAINED = 0.1  # of the sample, that a reason has to make match


@dataclass(frozen=True)
class IdMatch:
    """Counts of different ids. The share is of the smaller side: a catalogue may be larger than what is bought."""

    asked: int
    known: int
    matched: int

    @property
    def share(self) -> float:
        """Matched ids, of as many as can match."""
        return self.matched / max(1, min(self.asked, self.known))

    @property
    def is_no_match(self) -> bool:
        """Whether almost none match: the ids are written in another way, or are of something else."""
        return self.asked > 0 and (self.matched == 0 or self.share < LEAST_SHARE)

    @property
    def is_weak(self) -> bool:
        """Whether fewer match than in a file of the same nodes."""
        return self.asked > 0 and self.share < FEW_SHARE

    def describe(self, name: str) -> str:
        """Return the counts as a sentence."""
        return (
            f"{self.matched:,} of the {self.asked:,} ids of {name} are among the {self.known:,} of the interactions, "
            f"{self.share:.2%} of as many as can be"
        )


def match_ids(ids: pa.Array, graph_ids: pa.Array) -> IdMatch:
    """Count what matches, as text; nulls are no ids."""
    ids, graph_ids = _distinct(ids), _distinct(graph_ids)
    return IdMatch(len(ids), len(graph_ids), int(pc.sum(pc.is_in(ids, value_set=graph_ids)).as_py() or 0))


def why_no_match(ids: pa.Array, graph_ids: pa.Array, *, of_persons: bool) -> str:
    """Return an example of each side and the likely reason, as a sentence.

    Parameters
    ----------
    of_persons : show how the examples are written, not what they are.
    """
    ids, graph_ids = _distinct(ids), _distinct(graph_ids)
    strange = ids.filter(pc.invert(pc.is_in(ids, value_set=graph_ids)))
    strange = strange.take(pa.array(range(0, len(strange), max(1, len(strange) // SAMPLE))))
    if not len(strange) or not len(graph_ids):
        return "One of the two sides has no ids."
    reason, example = "", (strange[0].as_py(), graph_ids[0].as_py())
    most = max(1, int(_LEAST_EXPLAINED * len(strange))) - 1
    for name, plain in _PLAINER.items():
        left, right = plain(strange), plain(graph_ids)
        places = pc.index_in(left, value_set=right)
        matches = len(places) - places.null_count
        if matches > most:
            at = pc.index(places.is_valid(), True).as_py()
            most, reason, example = matches, name, (strange[at].as_py(), graph_ids[places[at].as_py()].as_py())
    words = [mask_id(word) if of_persons else word for word in example]
    how = " (digits shown as 9, letters as a)" if of_persons else ""
    cause = f"Likely cause: {reason}; write both alike." if reason else "Are they ids of the same things?"
    return f"Examples: {words[0]!r} there, {words[1]!r} in the interactions{how}. {cause}"


def are_swapped(ids: Mapping[str, pa.Array], graph_ids: Mapping[str, pa.Array]) -> bool:
    """Whether two types of ids match each other's instead of their own."""
    if len(ids) != 2 or ids.keys() != graph_ids.keys():
        return False
    left, right = ids
    return not any(match_ids(ids[own], graph_ids[twin]).is_weak for own, twin in ((left, right), (right, left)))


def mask_id(text: str) -> str:
    """Return how an id is written: leading zeros, a trailing ".0", blanks and signs stay, the rest is masked."""
    zeros, middle, fraction = re.fullmatch(r"(\s*0*)(.*?)(\.0+\s*)?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{zeros}{mask_text(middle)}{fraction or ''}"


def other_spellings(text: str) -> list[str]:
    """Return ids that may mean the same: other case, no blanks, other leading zeros, a fraction of 0 or none."""
    plain = text.strip()
    plain = re.sub(r"\.0+$", "", plain)
    bare = plain.lstrip("0") or plain
    forms = [plain, plain.lower(), plain.upper(), f"{plain}.0"]
    if bare.isascii() and bare.isdigit():
        forms += [bare.zfill(width) for width in range(len(bare), 21)]
    return [form for form in dict.fromkeys(forms) if form != text]


def _distinct(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return pc.unique(pc.cast(whole.drop_null(), pa.string()))


def _replacing(pattern: str, by: str) -> Callable[[pa.Array], pa.Array]:
    return lambda ids: pc.replace_substring_regex(ids, pattern, by)


def _without_exponent(ids: pa.Array) -> pa.Array:
    def plain(text: str) -> str:
        with contextlib.suppress(ValueError, OverflowError):
            return str(int(float(text))) if re.search(r"\d[eE]\+?\d", text) else text
        return text

    return pa.array([plain(text) for text in ids.to_pylist()], pa.string())


#: How ids of one node may differ, and how to undo it.
_PLAINER: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "blanks around ids": pc.utf8_trim_whitespace,
    "upper and lower case": pc.utf8_lower,
    "leading zeros": _replacing(r"^0+(.)", r"\1"),
    "numbers written with a fraction, such as 17850.0": _replacing(r"\.0+$", ""),
    "numbers written with an exponent, such as 1.23E+11": _without_exponent,
    "quotes, hyphens or other signs": _replacing(r"[^0-9A-Za-z]", ""),
    "a prefix before the number": _replacing(r"^[^0-9]+([0-9])", r"\1"),
    "blanks, case, zeros and signs together": lambda ids: _replacing(r"^0+(.)", r"\1")(
        _replacing(r"[^0-9a-z]", "")(pc.utf8_lower(_replacing(r"\.0+\s*$", "")(ids)))
    ),
}
