"""What a table promises: its columns, their types, its key and the rules its rows obey."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from graphquilt.contracts import ContractViolationError, TableColumns


@dataclass(frozen=True)
class Rule:
    """A statement about rows, and the function that counts the rows of a table which break it."""

    statement: str
    count_broken: Callable[[pa.Table], int]


@dataclass(frozen=True)
class TableContract(TableColumns):
    """One table's contract.

    ``file_format`` is "parquet" for what people and engines read, "arrow" (IPC) for what tasks memory-map.
    """

    key: tuple[str, ...]
    rules: tuple[Rule, ...] = field(default=())
    file_format: str = "parquet"

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
            if count := rule.count_broken(table):
                raise ContractViolationError(
                    f"{self.name} at {where}: {rule.statement}, but {count} of {table.num_rows} rows do not."
                )


def count_unless(condition: Callable[[pa.Table], pa.ChunkedArray]) -> Callable[[pa.Table], int]:
    """Return a function that counts the rows for which ``condition`` does not hold; null counts as broken."""

    def count(table: pa.Table) -> int:
        return table.num_rows - (pc.sum(condition(table)).as_py() or 0)

    return count
