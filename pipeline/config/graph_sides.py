"""Which types of nodes a graph has, in which order they are numbered, and where the ends of each relation stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.sections import InputConfig


@dataclass(frozen=True)
class RelationEnds:
    """The types that an edge of a relation leads from and to, in the matrix: of two sides, from row to column.

    is_turned : the input's target is the end that comes first.
    """

    src_type: str
    dst_type: str
    is_turned: bool


@dataclass(frozen=True)
class GraphSides:
    """The types of a graph's nodes and the sides they stand on; of a plain graph, all are on both.

    A relation between two types of one side, or of one type with itself, joins its source to stand-ins of its target on
    the other side: what users follow are columns beside the items. They are nodes of a type of their own.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    stand_ins: tuple[str, ...]
    ends: Mapping[str, RelationEnds]  # by the relation's name

    @property
    def types(self) -> tuple[str, ...]:
        """All types in the order of their nodes' numbers."""
        if self.rows == self.columns:
            return self.rows
        return (*self.columns, *self.rows) if self._columns_come_first else (*self.rows, *self.columns)

    @property
    def public_types(self) -> tuple[str, ...]:
        """The types that readers may be shown, in the order of their nodes' numbers."""
        return tuple(name for name in self.types if name not in self.stand_ins)

    def around(self, node_type: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the types of the side that a type stands on, and those of the other side."""
        return (self.columns, self.rows) if node_type in self.columns else (self.rows, self.columns)

    @property
    def _columns_come_first(self) -> bool:
        main = next(iter(self.ends.values()))
        return main.dst_type < main.src_type

    @classmethod
    def of(cls, relations: Sequence[InputConfig]) -> GraphSides:
        """Return the sides of relations, of which the first is the main one.

        Raises
        ------
        ValueError : no relation joins a type to the main one's; a type has the name of stand-ins.
        """
        main = relations[0]
        types = {name for relation in relations for name in (relation.source_type, relation.target_type)}
        if main.is_plain:
            order = tuple(sorted(types))
            ends = {}
            for relation in relations:
                src_type, dst_type = sorted((relation.source_type, relation.target_type))
                ends[relation.name] = RelationEnds(src_type, dst_type, is_turned=src_type != relation.source_type)
            return cls(order, order, (), ends)
        is_row = _sides_of(relations)
        ends = {relation.name: _ends_of(relation, is_row) for relation in relations}
        one_sided = (relation for relation in relations if is_row[relation.source_type] == is_row[relation.target_type])
        stand_ins = {stand_in_of(relation.target_type) for relation in one_sided}
        if clash := stand_ins & types:
            raise ValueError(f"the type {sorted(clash)[0]!r} has the name of another's stand-ins; give it another name")
        rows = {name for name in types if is_row[name]} | {side_ends.src_type for side_ends in ends.values()}
        columns = {name for name in types if not is_row[name]} | {side_ends.dst_type for side_ends in ends.values()}
        return cls(tuple(sorted(rows)), tuple(sorted(columns)), tuple(sorted(stand_ins)), ends)


def span_of(types: Collection[str], ranges: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Return the range of the numbers of types that come one after the other, such as those of a side.

    Parameters
    ----------
    ranges : by type: first number, one past the last.
    """
    return min(ranges[name][0] for name in types), max(ranges[name][1] for name in types)


def stand_in_of(node_type: str) -> str:
    """Return the type of the nodes that stand for others on the other side."""
    return f"{node_type}'"


def _sides_of(relations: Sequence[InputConfig]) -> dict[str, bool]:
    """Return which types are on the row side: relations, in their order, put the one end opposite of the other."""
    main = relations[0]
    is_row = {main.source_type: True, main.target_type: False}
    waiting = list(relations[1:])
    while waiting:
        still = []
        for relation in waiting:
            anchors = [name for name in (relation.source_type, relation.target_type) if name in is_row]
            if not anchors:
                still.append(relation)
                continue
            for name in (relation.source_type, relation.target_type):
                is_row.setdefault(name, not is_row[anchors[0]])
        if len(still) == len(waiting):
            raise ValueError(
                f"relations {_quote(relation.name for relation in still)} join types that no relation joins to "
                f"'{main.source_type}' or '{main.target_type}', those of the main relation '{main.name}'; add the "
                "relation that does, or leave these out"
            )
        waiting = still
    return is_row


def _ends_of(relation: InputConfig, is_row: Mapping[str, bool]) -> RelationEnds:
    source, target = relation.source_type, relation.target_type
    if is_row[source] == is_row[target]:
        target = stand_in_of(target)
    return RelationEnds(source, target, False) if is_row[source] else RelationEnds(target, source, True)


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
