"""Which two columns are the ends of interactions, and whether they are of one type: by names, then by values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from jobs.commands.column_names import (
    ACTORS,
    DIRECTIONS,
    NODES,
    OBJECTS,
    OCCASIONS,
    PEERS,
    ColumnName,
    is_index_name,
    parse_name,
)
from pipeline.errors import InputError
from pipeline.ingest.rejected import is_text

#: Share of rows without an id up to which a column named like an end is one; the config has to allow for them.
MOST_NULLS = 0.5
_FEW_NULLS = 0.005  # half of what a run rejects without failing
_KINDS = 20  # a column of no more values is more likely a kind of thing than an id
_FLAGS = frozenset(("0", "1", "y", "n", "yes", "no", "t", "f", "true", "false"))
_LONG_TEXT = 64  # letters on average
_DECIMAL = r"^\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*$"
_DATE = r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$"
_QUANTITIES = frozenset(
    (
        *("price", "cost", "value", "balance", "lat", "lon", "lng", "latitude", "longitude", "year", "month", "age"),
        *("size", "speed", "distance", "duration", "port", "min", "max", "score", "goals", "rating", "elo"),
    )
)
_NO_VALUE = pa.array(["", "NA", "N/A", "NULL", "null", "NaN", "nan", "None", "none", "\\N", "<NA>"])


@dataclass(frozen=True)
class Ends:
    """Columns and types of the two ends, and why; ``null_share`` of the rows have not both."""

    source: str
    target: str
    source_type: str
    target_type: str
    why: str
    null_share: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether both are of one type."""
        return self.source_type == self.target_type


def find_ends(columns: Mapping[str, pa.Array], unlikely: Iterable[str] = ()) -> Ends:
    """Choose the ends.

    Parameters
    ----------
    columns : by name, the first rows. unlikely : columns that have another part already, such as times and weights.

    Raises
    ------
    InputError : fewer than two columns can be ids.
    """
    non_ends = set(unlikely)
    possible = {name: parse_name(name) for name, column in columns.items() if can_be_id(column)}
    by_name = {
        name: label
        for name, label in possible.items()
        if not (name in non_ends or numbers_rows(name, columns) or is_count(label, columns[name]))
    }
    ends = (
        _by_direction(by_name, columns, needs_noun=True)
        or _acted_on(by_name, columns)
        or _actor_and_object(by_name, columns)
        or _by_direction(by_name, columns, needs_noun=False)
        or _peers(by_name)
        or _by_place(by_name, possible, columns)
    )
    shares = [null_share(columns[name]) for name in (ends.source, ends.target)]
    return replace(ends, null_share=max(shares))


def can_be_id(column: pa.Array) -> bool:
    """Whether ingest takes a column's type for ids, and half of its rows have one."""
    kind = column.type
    is_whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    is_uuid = pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16
    if not (is_text(kind) or is_whole or is_uuid):
        return False
    return bool(len(column)) and null_share(column) <= MOST_NULLS


def null_share(column: pa.Array) -> float:
    """Share of rows without a value, or with a word for none."""
    return (column.null_count + len(words_for_none(column))) / max(1, len(column))


def words_for_none(column: pa.Array) -> list[str]:
    """The values of a column of text that are words for none, one a row."""
    if not is_text(column.type):
        return []
    text = pc.cast(column, pa.string(), safe=False)
    words: list[str] = text.filter(pc.is_in(text, value_set=_NO_VALUE)).to_pylist()
    return words


def numbers_rows(name: str, columns: Mapping[str, pa.Array]) -> bool:
    """Whether a column only says which row it is: by its name, or as integers that count up by one."""
    label = parse_name(name)
    if is_index_name(name):
        return True
    if any(label.rank_in(words) is not None for words in (ACTORS, OBJECTS, OCCASIONS)):
        return False
    values = as_integers(columns[name])
    if values is None or len(values) < 3:
        return False
    return bool(pc.all(pc.equal(pc.subtract(values[1:], values[:-1]), 1)).as_py())


def as_integers(column: pa.Array) -> pa.Array | None:
    """The values of a column of integers, or of text that holds nothing else; None for others."""
    values = column.drop_null()
    if not len(values) or not (is_text(values.type) or pa.types.is_integer(values.type)):
        return None
    try:
        return pc.cast(values, pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def is_count(name: ColumnName, column: pa.Array) -> bool:
    """Whether a column says how many: whole numbers under the plural of an occasion, such as visits and orders."""
    is_plural = name.rank_in(OCCASIONS) is not None and name.head not in OCCASIONS
    return is_plural and not name.is_id and as_integers(column) is not None


def _best(by_name: Mapping[str, ColumnName], vocabulary: tuple[str, ...], unlikely: Iterable[str] = ()) -> str | None:
    """The column whose name says most plainly that it is one of these: by word, as an id, with few other words."""
    candidates = []
    for position, (name, label) in enumerate(by_name.items()):
        rank = label.rank_in(vocabulary)
        if rank is not None:
            doubts = (name in unlikely, label.is_acted_on, rank, not label.is_id, len(label.words))
            candidates.append((*doubts, position, name))
    return min(candidates)[-1] if candidates else None


def _by_direction(
    by_name: Mapping[str, ColumnName], columns: Mapping[str, pa.Array], *, needs_noun: bool
) -> Ends | None:
    """Two names that differ by opposite directions: from_node and to_node; follower_id and followee_id."""
    candidates = []
    for position, (left, right) in enumerate(DIRECTIONS):
        for source, of_source in by_name.items():
            rest = of_source.without(left)
            for target, of_target in by_name.items():
                target_rest = of_target.without(right)
                if rest is None or target_rest is None or source == target or rest.words != target_rest.words:
                    continue
                is_noun = bool(rest.words) and (rest.is_id or _is_noun(rest) or rest.head in NODES)
                if not (is_noun if needs_noun else rest.head not in _QUANTITIES):
                    continue
                if left.isdecimal() and any(map(_is_of_kinds, (columns[source], columns[target]))):
                    continue  # category_1 and category_2: numbered, not opposite
                if not looks_like_a_measure(columns[source], may_be_decimal=needs_noun):  # arXiv's 1706.03762
                    node_type = rest.stem or ("package" if left == "package" else "node")
                    ends = Ends(source, target, node_type, node_type, f"by their names: {left} and {right}")
                    # Of from_bank, from_account, to_bank, to_account, the accounts: the finer ones.
                    different = len(pc.unique(columns[source]))
                    candidates.append(((-rest.is_id, -different, position, source, target), ends))
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else None


def _is_noun(name: ColumnName) -> bool:
    return any(name.rank_in(vocabulary) is not None for vocabulary in (ACTORS, OBJECTS))


def _actor_and_object(by_name: Mapping[str, ColumnName], columns: Mapping[str, pa.Array]) -> Ends | None:
    """Who acts and on what; an occasion acts where nobody does."""
    of_kinds = {name for name in by_name if _is_of_kinds(columns[name])}
    actor = _best(by_name, ACTORS) or _agent(by_name) or _best(by_name, OCCASIONS, unlikely=of_kinds)
    rest = {name: label for name, label in by_name.items() if name != actor}
    # order_item_id counts the items of an order: 1, 2, 3.
    lines = {name for name, label in rest.items() if any(word in OCCASIONS for word in label.words[:-1])}
    thing = _best(rest, OBJECTS, unlikely=of_kinds | lines)
    if actor is None or thing is None:
        return None
    rest.pop(thing)
    if thing in of_kinds and not by_name[thing].is_id and any(label.is_id for label in _ends_of(rest).values()):
        return None  # a channel of ten, beside the id of something
    return _two_types(by_name, actor, thing, "by their names")


def _agent(by_name: Mapping[str, ColumnName]) -> str | None:
    """The first id of somebody whose name is made of what they do."""
    return next((name for name, label in by_name.items() if label.is_id and label.is_agent), None)


def _ends_of(by_name: Mapping[str, ColumnName]) -> dict[str, ColumnName]:
    """Without those that are no ends where somebody acts."""
    return {name: label for name, label in by_name.items() if label.rank_in(OCCASIONS) is None}


def _is_of_kinds(column: pa.Array) -> bool:
    """Whether a column has few different values for its rows: one, or yes and no, also in a handful of rows."""
    kinds = pc.unique(column.drop_null())
    if len(column) > 4 and (len(kinds) == 1 or {str(kind).lower() for kind in kinds[:3].to_pylist()} <= _FLAGS):
        return True
    return len(kinds) <= min(_KINDS, len(column) // 10)


def _acted_on(by_name: Mapping[str, ColumnName], columns: Mapping[str, pa.Array]) -> Ends | None:
    """Two who act, one of whom something is done to (author_id, mentioned_user_id), and nothing that several act on."""
    things = [name for name, label in by_name.items() if label.rank_in(OBJECTS) is not None and label.is_id]
    if any(len(pc.unique(columns[name])) < len(columns[name]) for name in things):
        return None
    actors = {name: label for name, label in by_name.items() if label.is_id and label.rank_in(ACTORS) is not None}
    acting = _best({name: label for name, label in actors.items() if not label.is_acted_on}, ACTORS)
    acted_on = _best({name: label for name, label in actors.items() if label.is_acted_on}, ACTORS)
    if acting is None or acted_on is None:
        return None
    node_type = by_name[acting].head
    return Ends(acting, acted_on, node_type, node_type, "by their names: one acts, and one is acted on")


def _peers(by_name: Mapping[str, ColumnName]) -> Ends | None:
    """Two of one type: a user and a friend, an item and a related item."""
    peer = _best(by_name, PEERS)
    rest = {name: label for name, label in by_name.items() if name != peer}
    actor = _best(rest, ACTORS) or _best(rest, ("package", "library", "module", *OBJECTS))
    if actor is not None and peer is not None:
        node_type = by_name[actor].stem or "node"
        return Ends(actor, peer, node_type, node_type, "by their names; both ends are of one type")
    for position, (source, of_source) in enumerate(by_name.items()):
        for target, of_target in list(by_name.items())[position + 1 :]:
            says_ids = all(label.is_id or label.head in _ADDRESSES for label in (of_source, of_target))
            if of_source.head and says_ids and of_source.head == of_target.head:
                node_type = of_source.head
                return Ends(source, target, node_type, node_type, "by their names; both say what they are of")
    return None


_ADDRESSES = frozenset(("iban", "msisdn", "email", "ip", "wallet", "phone", "address"))


def _by_place(
    by_name: Mapping[str, ColumnName], possible: Mapping[str, ColumnName], columns: Mapping[str, pa.Array]
) -> Ends:
    """The likeliest two columns: known words first, names that end in "id", few nulls, no kinds, no long text."""
    names = list(columns)
    likely = [name for name in by_name if null_share(columns[name]) <= _FEW_NULLS]
    likely = [name for name in likely if not looks_like_a_measure(columns[name])]
    if len(likely) < 2:  # what else can be one: of two columns, both are the ends
        likely = [name for name in possible if name in likely or not is_index_name(name)]
    if len(likely) < 2:
        listing = ", ".join(f"{name} ({column.type})" for name, column in list(columns.items())[:30])
        more = f" and {len(columns) - 30} more" if len(columns) > 30 else ""
        raise InputError(
            f"two columns of ids are needed, and {len(likely)} can be one; the columns are {listing}{more}. Ids are "
            "strings, integers, decimals without a fraction or 16-byte UUIDs; cast float ids where they are written"
        )
    likely.sort(key=lambda name: (*_doubts(possible[name], columns[name]), names.index(name)))
    actor = _best({name: possible[name] for name in likely}, ACTORS)
    if actor is not None:  # and the likeliest other
        rest = {name: possible[name] for name in likely if name != actor}
        source, target = actor, next(iter(_ends_of(rest) or rest))
    else:
        source, target = sorted(likely[:2], key=names.index)
        if possible[target].acts and not possible[source].acts:
            source, target = target, source
    same_words = bool(possible[source].stem) and possible[source].stem == possible[target].stem
    # Two ids of things with names of their own are two types; "project" and "requires" are one.
    two_names = (_is_noun(possible[source]) or _is_noun(possible[target])) and all(
        possible[name].is_id for name in (source, target)
    )
    if same_words or (not two_names and share_text(columns[source], columns[target])):
        node_type = possible[source].stem if same_words else "node"
        return Ends(source, target, node_type, node_type, "the likeliest two columns of ids; they share values")
    return _two_types(possible, source, target, "the likeliest two columns of ids")


def _doubts(name: ColumnName, column: pa.Array) -> tuple[int, ...]:
    """What speaks against a column of ids, the strongest first."""
    is_unique = len(pc.unique(column.drop_null())) == len(column) > _KINDS
    is_occasion = name.rank_in(OCCASIONS) is not None
    is_of_kinds = _is_of_kinds(column)
    says_id = name.is_id and name.text.strip(" _").lower() not in ("id", "key")  # alone, the row's
    return (
        is_of_kinds and not name.is_id,
        is_unique and not _is_noun(name),  # a commit, a ticket: the row's own id
        2 - (_is_noun(name) or name.is_agent) - says_id if not is_occasion else 1,
        is_occasion,
        is_of_kinds,
        is_unique,
    )


def looks_like_a_measure(column: pa.Array, *, may_be_decimal: bool = False) -> bool:
    """Whether text holds fractions (unless ids may have dots), dates, or sentences: what no id looks like."""
    if not is_text(column.type):
        return False
    text = pc.cast(column, pa.string(), safe=False).drop_null()
    if not len(text):
        return True
    for pattern in (_DATE,) if may_be_decimal else (_DECIMAL, _DATE):
        if pc.mean(pc.match_substring_regex(pc.cast(text, pa.binary()), pattern)).as_py() > 0.5:
            return True
    return bool(pc.mean(pc.binary_length(text)).as_py() > _LONG_TEXT)


def _two_types(by_name: Mapping[str, ColumnName], source: str, target: str, why: str) -> Ends:
    types = [by_name[source].stem or source, by_name[target].stem or target]
    if types[0] == types[1]:
        types = ["source", "target"]
    return Ends(source, target, types[0], types[1], f"{why}; two types of nodes make a bipartite graph")


def share_text(left: pa.Array, right: pa.Array) -> bool:
    """Whether a tenth of one end's values are among the other's, and they are no integers.

    Integers say nothing: the users 1 to 1,000 and the items 1 to 1,000 are not the same.
    """
    if left.type != right.type or as_integers(left) is not None or as_integers(right) is not None:
        return False
    left, right = (pc.unique(column.drop_null()) for column in (left, right))
    in_both = int(pc.sum(pc.is_in(left, value_set=right)).as_py() or 0)
    return in_both >= max(1, min(len(left), len(right)) // 10)
