"""What a table promises: its columns, their types, its key and the rules its rows obey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

#: The type of every ``*_id`` column is decided once a run, for all types of nodes together: int64 if every
#: id is a canonical decimal in its range, else string. Contracts are written with this stand-in.
ID_COLUMNS = frozenset({"node_id", "src_id", "dst_id"})
#: The same, of columns that hold a list of ids.
ID_LIST_COLUMNS = frozenset({"neighbor_ids"})


class ContractViolationError(Exception):
    """A table does not keep its contract."""


@dataclass(frozen=True)
class Rule:
    """A statement about rows, and the function that counts the rows of a table which break it."""

    statement: str
    count_broken: Callable[[pa.Table], int]


@dataclass(frozen=True)
class TableContract:
    """One table's contract.

    ``schema`` holds string for id columns; :meth:`schema_for` gives the schema of a run. ``file_format`` is
    "parquet" for what people and engines read, "arrow" (IPC) for what tasks memory-map.
    """

    name: str
    version: int
    schema: pa.Schema
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = field(default=())
    file_format: str = "parquet"

    def schema_for(self, id_type: pa.DataType) -> pa.Schema:
        """Return the schema with the id columns of a run: ``pa.int64()`` or ``pa.string()``."""
        return pa.schema(
            [f.with_type(_type_for(f, id_type)) for f in self.schema],
            metadata=self.schema.metadata,
        )

    def check_schema(self, schema: pa.Schema, where: str) -> None:
        """Compare names and types (metadata only, always affordable).

        Raises
        ------
        ContractViolationError : naming the table, the column, the type found and the type wanted.
        """
        for wanted in self.schema:
            position = schema.get_field_index(wanted.name)
            if position < 0:
                raise ContractViolationError(
                    f"{self.name} at {where} has no column '{wanted.name}'; it has {schema.names}. "
                    f"Was it written by another version? This one reads {self.name} version {self.version}."
                )
            found = schema.field(position).type
            # No set: equal types of lists hash differently where their fields are called "item" and "element".
            allowed = [_type_for(wanted, id_type) for id_type in (pa.int64(), pa.string())]
            if found not in allowed:
                names = sorted({str(dtype) for dtype in allowed})
                raise ContractViolationError(
                    f"{self.name}.{wanted.name} at {where} is {found}, expected {' or '.join(names)}."
                )

    def check_rows(self, table: pa.Table, where: str) -> None:
        """Scan a table: no nulls in the key, no key twice, no row against a rule.

        Raises
        ------
        ContractViolationError : naming the rule and the number of rows that break it.
        """
        for name in self.key:
            if nulls := table.column(name).null_count:
                raise ContractViolationError(f"{self.name}.{name} at {where} is null in {nulls} rows; it is a key.")
        if self.key and table.num_rows:
            distinct = table.group_by(list(self.key)).aggregate([]).num_rows
            if distinct != table.num_rows:
                raise ContractViolationError(
                    f"{self.name} at {where} has {table.num_rows - distinct} rows too many for its key "
                    f"({', '.join(self.key)})."
                )
        for rule in self.rules:
            if broken := rule.count_broken(table):
                raise ContractViolationError(
                    f"{self.name} at {where}: {rule.statement}, but {broken} of {table.num_rows} rows do not."
                )


def _type_for(field: pa.Field, id_type: pa.DataType) -> pa.DataType:
    """Return a column's type in a run with this type of ids."""
    if field.name in ID_COLUMNS:
        return id_type
    if field.name in ID_LIST_COLUMNS:
        return pa.list_(field.type.value_field.with_type(id_type))
    return field.type
