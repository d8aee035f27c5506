"""The columns of the published tables. The pipeline's contracts (``schemas``) add their keys and rules."""

from dataclasses import dataclass, field

import pyarrow as pa

from graphquilt.errors import TableError
from graphquilt.locate import CODES, COMPACT, FILTERED_LISTS, FOLD_IN, INTERESTS, LISTS, TABLE, WALK_GRAPH, WALKS

#: The type of every ``*_id`` column is decided once a run, for all types of nodes together: int64 if every
#: id is a canonical decimal in its range, else string. Contracts are written with this stand-in.
ID_COLUMNS = frozenset({"node_id", "src_id", "dst_id"})
#: The same, of columns that hold a list of ids.
ID_LIST_COLUMNS = frozenset({"neighbor_ids"})


#: Of node_embeddings, with ``publish.event_timestamp``.
EVENT_TIMESTAMP = "event_timestamp"
_NO_COLUMNS = pa.schema([])


class ContractViolationError(TableError):
    """A table does not keep its contract."""


@dataclass(frozen=True)
class TableColumns:
    """The name, version and columns of a table.

    ``schema`` holds string for id columns; :meth:`schema_for` gives the schema of a run. ``optional``: nullable columns
    behind them, which a table has if its run was asked for them.
    """

    name: str
    version: int
    schema: pa.Schema
    optional: pa.Schema = field(default=_NO_COLUMNS, kw_only=True)

    def schema_for(self, id_type: pa.DataType) -> pa.Schema:
        """Return the schema with the id columns of a run: ``pa.int64()`` or ``pa.string()``."""
        return pa.schema(
            [column.with_type(_type_for(column, id_type)) for column in self.schema],
            metadata=self.schema.metadata,
        )

    def check_schema(self, schema: pa.Schema, where: str) -> None:
        """Compare names and types (metadata only, always affordable).

        Raises
        ------
        ContractViolationError : naming the table, the column, its type and the expected type.
        """
        present = [column for column in self.optional if column.name in schema.names]
        for column in (*self.schema, *present):
            position = schema.get_field_index(column.name)
            if position < 0:
                raise ContractViolationError(
                    f"{self.name} at {where} has no column '{column.name}'; it has {schema.names}. "
                    f"Was it written by another version? This one reads {self.name} version {self.version}."
                )
            dtype = schema.field(position).type
            # No set: equal types of lists hash differently where their fields are called "item" and "element".
            types = [_type_for(column, id_type) for id_type in (pa.int64(), pa.string())]
            if dtype not in types:
                names = sorted({str(dtype_choice) for dtype_choice in types})
                raise ContractViolationError(
                    f"{self.name}.{column.name} at {where} is {dtype}, expected {' or '.join(names)}."
                )


def _field(name: str, dtype: pa.DataType) -> pa.Field:
    return pa.field(name, dtype, nullable=False)


def _vector(dim: int, dtype: pa.DataType | None = None) -> pa.DataType:
    return pa.list_(pa.field("item", dtype or pa.float32(), nullable=False), dim)


def _list_of(dtype: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", dtype, nullable=False))


def _columns(name: str, *fields: pa.Field, optional: pa.Schema = _NO_COLUMNS) -> TableColumns:
    keys = (_field("node_type", pa.string()), _field("node_id", pa.string()))
    return TableColumns(name, 1, pa.schema([*keys, *fields]), optional=optional)


def node_embeddings(dim: int) -> TableColumns:
    """Return the columns of the table of vectors, for a width."""
    return _columns(
        TABLE,
        _field("embedding", _vector(dim)),
        _field("norm", pa.float32()),  # of the row as published
        _field("degree", pa.int64()),  # neighbours
        _field("weight", pa.float32()),  # as of the date
        _field("cluster_path", pa.string()),  # the leaf's way from the root; "" without edges
        optional=pa.schema([pa.field(EVENT_TIMESTAMP, pa.timestamp("us", "UTC"))]),  # end of the data date
    )


def node_embeddings_int8(dim: int) -> TableColumns:
    """Return the columns of the compact table of vectors, for a width: an entry is its code times the row's scale."""
    return _columns(COMPACT, _field("embedding", _vector(dim, pa.int8())), _field("scale", pa.float32()))


def fold_in(dim: int) -> TableColumns:
    """Return the columns of the rows that new nodes are made of, for a width."""
    return _columns(FOLD_IN, _field("row", _vector(dim)))


def user_interests(dim: int) -> TableColumns:
    """Return the columns of the interests of sources, for a width: several rows a node, the largest weight first."""
    return _columns(
        INTERESTS,
        _field("cluster", pa.int32()),
        _field("weight", pa.float32()),
        _field("query", _vector(dim)),
    )


_OF_LISTS = (
    _field("neighbor_type", pa.string()),
    _field("neighbor_ids", _list_of(pa.string())),
    _field("scores", _list_of(pa.float32())),  # descending, ties by id
    _field("error_bound", pa.float32()),  # on every score; metadata say what kind
)
PPR_NEIGHBORS = _columns(LISTS, *_OF_LISTS)
NEIGHBORS = _columns(FILTERED_LISTS, *_OF_LISTS)


NODE_CODES = _columns(
    CODES,
    _field("code", _list_of(pa.int32())),  # from coarse to fine
    _field("cluster", pa.int32()),
    _field("leaf_token", pa.int32()),  # among the nodes of the type in the cluster
)

#: Rows of the graph that walks go over; nodes are named by their rows in this table, counted over its files from 0.
PPR_GRAPH = _columns(
    WALK_GRAPH,
    _field("degree", pa.int64()),  # neighbours, those that publish.exclude_ids leaves out among them
    _field("neighbors", _list_of(pa.int32())),  # rows, ascending
    _field("weights", _list_of(pa.float32())),  # of the neighbours; empty where all edges weigh 1
)

#: Where the walks from each row of `PPR_GRAPH` were, and how often; a score is the visits times restart / walks.
PPR_WALKS = TableColumns(
    WALKS,
    1,
    pa.schema(
        [
            _field("row", pa.int32()),
            _field("visited", _list_of(pa.int32())),  # rows, ascending
            _field("visits", _list_of(pa.int32())),
        ]
    ),
)


def _type_for(field: pa.Field, id_type: pa.DataType) -> pa.DataType:
    """Return a column's type in a run with this type of ids."""
    if field.name in ID_COLUMNS:
        return id_type
    if field.name in ID_LIST_COLUMNS:
        return pa.list_(field.type.value_field.with_type(id_type))
    return field.type
