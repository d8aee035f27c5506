"""Rows of node attributes to clean rows: the one place that decides which are good, on every engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config.sections import AttributesConfig
from pipeline.ingest.attributes.values import categories_of, lists_of, numbers_of
from pipeline.ingest.counts import CheckedRows, Counts
from pipeline.ingest.ids import canonical_int64, ids_of, judge_ids
from pipeline.ingest.odd_ids import odd_ids
from pipeline.ingest.pieces import FilePiece, ParseTask
from pipeline.ingest.raw_batch import RawBatch, attribute_role
from pipeline.ingest.readers import read
from pipeline.ingest.reasons import about_line, kind_and_size
from pipeline.ingest.rejected import ACCEPTED, REASONS, RowVerdict, Verdicts, shorten, to_text
from pipeline.ingest.text.formats import TextFormat
from schemas.tables import REJECTED_ATTRIBUTES

KINDS = ("numbers", "categories", "lists")


@dataclass(frozen=True)
class AttributeRules:
    """Names and kinds of the columns of a type's attributes."""

    node_type: str
    id: str = "id"
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separator: str | None = None
    text: TextFormat = field(default_factory=TextFormat)

    @classmethod
    def of(cls, node_type: str, section: AttributesConfig) -> AttributeRules:
        """Return the rules of a section [attributes.<node type>]."""
        return cls(
            node_type,
            section.id,
            tuple(section.numbers),
            tuple(section.categories),
            tuple(section.lists),
            section.separator,
            TextFormat.from_keys(section.model_dump()),
        )

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(kind, name) of every column but the id's."""
        return [(kind, name) for kind in KINDS for name in getattr(self, kind)]

    @property
    def roles(self) -> dict[str, str]:
        """Role -> name, of the columns to read."""
        values = {attribute_role(self.node_type, kind, name): name for kind, name in self.columns}
        return {attribute_role(self.node_type, "id"): self.id, **values}

    @property
    def schema(self) -> pa.Schema:
        """Clean rows: ids as text, where each row stood, and its values."""
        types = {"numbers": pa.float64(), "categories": pa.string(), "lists": pa.list_(pa.string())}
        return pa.schema(
            [
                pa.field("node_id", pa.string(), nullable=False),
                pa.field("file", pa.string(), nullable=False),
                pa.field("row", pa.int64(), nullable=False),
                *(pa.field(f"{kind}.{name}", types[kind]) for kind, name in self.columns),
            ]
        )


def parse_attributes(task: ParseTask, rules: AttributeRules) -> Iterator[CheckedRows]:
    """Read and check a task's rows, in the order of its pieces, in batches of bounded size."""
    for piece in task.pieces:
        for raw in read(piece, rules.roles, rules.text):
            yield check_attributes(raw, rules, piece)


def check_attributes(raw: RawBatch, rules: AttributeRules, piece: FilePiece) -> CheckedRows:
    """Judge the rows of a batch: ids first, then values, in the order of the config's columns."""
    verdicts, where = Verdicts(len(raw.rows)), piece.address
    verdicts.mark(raw.is_header, RowVerdict.REPEATED_HEADER)
    verdicts.mark(raw.wrong_type, RowVerdict.WRONG_TYPE)
    ids = ids_of(raw.values[attribute_role(rules.node_type, "id")], rules.id, where)
    judge_ids([ids], verdicts)
    examples = _Examples(raw, verdicts, piece.relative)
    examples.note(rules.id, raw.values[attribute_role(rules.node_type, "id")])
    values = []
    for kind, name in rules.columns:
        column = raw.values[attribute_role(rules.node_type, kind, name)]
        if kind == "numbers":
            values.append(numbers_of(column, verdicts, name, where))
        elif kind == "categories":
            values.append(categories_of(column, verdicts, name, where))
        else:
            is_json = piece.format == "json"
            values.append(lists_of(column, rules.separator, verdicts, name, where, is_json=is_json))
        examples.note(name, column, is_shown=kind == "numbers")
    columns = [ids, pa.repeat(piece.relative, len(ids)), pa.array(raw.rows), *values]
    is_kept = verdicts.is_kept
    if is_kept is not None:
        columns = [column.filter(pa.array(is_kept)) for column in columns]
    is_int64 = canonical_int64(columns[0]) is not None
    columns[0] = pc.cast(columns[0], pa.string())
    rows = pa.RecordBatch.from_arrays(columns, schema=rules.schema)
    counts = Counts(
        read=len(raw.rows),
        kept=rows.num_rows,
        rejected={REASONS[verdict]: count for verdict, count in verdicts.counts().items() if verdict in REASONS},
        examples=examples.by_reason,
        has_int64_ids=is_int64,
        odd_ids={} if is_int64 else {"id": odd_ids(columns[0])},
    )
    if raw.unreadable:
        reason, count = REASONS[RowVerdict.UNREADABLE_LINE], len(raw.unreadable)
        counts += Counts(count, rejected={reason: count}, examples={reason: about_line(raw, piece.relative)})
    return CheckedRows(rows, _rejections(raw, verdicts, rules, piece), counts, piece.relative)


class _Examples:
    """By reason, the first row and the column that caused it; of ids and texts only their kind and size."""

    def __init__(self, raw: RawBatch, verdicts: Verdicts, file: str) -> None:
        self._raw, self._verdicts, self._file = raw, verdicts, file
        self.by_reason: dict[str, str] = {}

    def note(self, name: str, column: pa.Array, *, is_shown: bool = False) -> None:
        """Note the reasons that came with a column."""
        codes = self._verdicts.codes
        for code in () if codes is None else np.unique(codes):
            reason = REASONS.get(RowVerdict(int(code)))
            if reason is None or reason in self.by_reason:
                continue
            position = int(np.argmax(codes == code))
            value = column.slice(position, 1)
            words = repr(shorten(str(to_text(value)[0]))) if is_shown else kind_and_size(value)
            words = "some value" if code == RowVerdict.WRONG_TYPE else f"{words} in column '{name}'"
            self.by_reason[reason] = f"{words} (row {self._raw.rows[position]} of {self._file})"


def _rejections(raw: RawBatch, verdicts: Verdicts, rules: AttributeRules, piece: FilePiece) -> pa.RecordBatch:
    rows: list[dict[str, Any]] = []
    codes = verdicts.codes
    at: NDArray[np.int64] = np.empty(0, np.int64) if codes is None else np.flatnonzero(codes != RowVerdict.KEPT)
    if codes is not None and at.size:
        index = pa.array(at)
        ids = to_text(raw.values[attribute_role(rules.node_type, "id")].take(index)).to_pylist()
        values = {
            name: _values_to_show(raw.values[attribute_role(rules.node_type, kind, name)].take(index))
            for kind, name in rules.columns
        }
        for number, position in enumerate(at.tolist()):
            row_values = {name: column[number] for name, column in values.items()}
            reason = REASONS[RowVerdict(int(codes[position]))]
            rows.append(rejected_row(rules, piece.relative, int(raw.rows[position]), ids[number], row_values, reason))
    for line in raw.unreadable:
        reason = REASONS[RowVerdict.UNREADABLE_LINE]
        rows.append(rejected_row(rules, piece.relative, line.row, None, {"line": line.text}, reason))
    return pa.RecordBatch.from_pylist(rows, schema=REJECTED_ATTRIBUTES.schema)


def rejected_row(
    rules: AttributeRules, file: str, row: int, node_id: str | None, values: Mapping[str, Any], reason: str
) -> dict[str, Any]:
    """Return a row of the table of rejected attributes."""
    text = json.dumps(values, ensure_ascii=False, default=str)
    return {
        "node_type": rules.node_type,
        "file": file,
        "row": row,
        "node_id": node_id,
        "values": text.encode(errors="replace").decode(),
        "reason": reason,
        "accepted": ACCEPTED[reason],
    }


def _values_to_show(column: pa.Array) -> list[Any]:
    return column.to_pylist() if pa.types.is_nested(column.type) else to_text(column).to_pylist()
