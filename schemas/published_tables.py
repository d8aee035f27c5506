"""The published tables: their readers' columns, and what the pipeline adds: keys and rules."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graphquilt import contracts, locate
from graphquilt.contracts import TableColumns
from schemas.contracts import Rule, TableContract, count_unless

NODE_EMBEDDINGS, FOLD_IN, PPR_NEIGHBORS = locate.TABLE, locate.FOLD_IN, locate.LISTS
NODE_EMBEDDINGS_INT8, NODE_CODES, USER_INTERESTS = locate.COMPACT, locate.CODES, locate.INTERESTS
NEIGHBORS, LIST_TABLES = locate.FILTERED_LISTS, locate.LIST_TABLES
PPR_GRAPH, PPR_WALKS = locate.WALK_GRAPH, locate.WALKS


def _not_finite_in(column: str) -> Callable[[pa.Table], int]:
    """Count the rows whose vector has an entry that is not finite."""

    def count(table: pa.Table) -> int:
        bad_rows = 0
        for chunk in table.column(column).chunks:
            dim = chunk.type.list_size
            rows = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            bad_rows += int((~np.isfinite(rows).all(axis=1)).sum())
        return bad_rows

    return count


def _is_sound(column: str) -> Callable[[pa.Table], pa.ChunkedArray]:
    return lambda table: pc.and_(pc.is_finite(table[column]), pc.greater_equal(table[column], 0.0))


def _contract(columns: TableColumns, *rules: Rule, keys: tuple[str, ...] = ("node_type", "node_id")) -> TableContract:
    """Return the contract of a published table, whose columns its readers define."""
    return TableContract(columns.name, columns.version, columns.schema, keys, rules, optional=columns.optional)


def node_embeddings(dim: int) -> TableContract:
    """Return the contract of the published table for a width."""
    return _contract(
        contracts.node_embeddings(dim),
        Rule("every entry is finite", _not_finite_in("embedding")),
        Rule("every norm is finite and not negative", count_unless(_is_sound("norm"))),
        Rule("no degree is below zero", count_unless(lambda t: pc.greater_equal(t["degree"], 0))),
    )


def node_embeddings_int8(dim: int) -> TableContract:
    """Return the contract of the compact table of vectors for a width."""
    return _contract(
        contracts.node_embeddings_int8(dim),
        Rule("every scale is finite and not negative", count_unless(_is_sound("scale"))),
    )


def fold_in(dim: int) -> TableContract:
    """Return the contract of the published rows of which a new node's row is the weighted sum, for a width."""
    return _contract(contracts.fold_in(dim), Rule("every entry is finite", _not_finite_in("row")))


def _weights_rise(table: pa.Table) -> int:
    """Count the rows whose weight is larger than that of the row before, of the same node."""
    before, after = table.slice(0, max(table.num_rows - 1, 0)), table.slice(1)
    is_same = pc.and_(*(pc.equal(before[name], after[name]) for name in ("node_type", "node_id")))
    return pc.sum(pc.and_(is_same, pc.less(before["weight"], after["weight"]))).as_py() or 0


def _are_interests(table: pa.Table) -> pa.ChunkedArray:
    is_share = pc.and_(pc.greater(table["weight"], 0.0), pc.less_equal(table["weight"], 1.0))
    return pc.and_(pc.greater_equal(table["cluster"], 0), is_share)


def user_interests(dim: int) -> TableContract:
    """Return the contract of the published interests of sources, for a width."""
    return _contract(
        contracts.user_interests(dim),
        Rule("no cluster is below zero, and every weight above it and at most 1", count_unless(_are_interests)),
        Rule("weights of a node descend", _weights_rise),
        Rule("every entry of a query is finite", _not_finite_in("query")),
        keys=("node_type", "node_id", "cluster"),
    )


def _lists_do_not_fit(table: pa.Table) -> int:
    """Count the rows whose lists have different lengths, or whose scores rise or leave [0, inf)."""
    bad_rows = 0
    for batch in table.select(["neighbor_ids", "scores"]).to_batches():
        ids, scores = batch.column("neighbor_ids"), batch.column("scores")
        lengths = pc.list_value_length(scores).to_numpy(zero_copy_only=False)
        is_broken = lengths != pc.list_value_length(ids).to_numpy(zero_copy_only=False)
        flat = scores.flatten().to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(lengths.size), lengths)
        is_broken[row[~(np.isfinite(flat) & (flat >= 0))]] = True
        rises = np.flatnonzero((np.diff(flat) > 0) & (np.diff(row) == 0))
        is_broken[row[rises]] = True
        bad_rows += int(is_broken.sum())
    return bad_rows


def _codes_are_unsound(table: pa.Table) -> int:
    """Count the rows whose code is empty or has a number below zero."""
    lowest = [min(code, default=-1) for code in table["code"].to_pylist()]
    return sum(number < 0 for number in lowest)


def _are_numbers(table: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(table["cluster"], 0), pc.greater_equal(table["leaf_token"], 0))


_RULES_OF_LISTS = (
    Rule("a list has as many scores as ids, finite, at least 0 and descending", _lists_do_not_fit),
    Rule(
        "every error bound is finite and not negative",
        count_unless(_is_sound("error_bound")),
    ),
)
#: The published lists: of each source the nodes of one type it is nearest to, by personalised PageRank.
PPR_NEIGHBOR_LISTS = _contract(contracts.PPR_NEIGHBORS, *_RULES_OF_LISTS)
#: The same by another filter of the graph.
NEIGHBOR_LISTS_BY_FILTER = _contract(contracts.NEIGHBORS, *_RULES_OF_LISTS)

#: The published codes: of each node with edges, the cluster it is in and the way to it.
NODE_CODE_PATHS = _contract(
    contracts.NODE_CODES,
    Rule("no code is empty, and none of its numbers below zero", _codes_are_unsound),
    Rule("no cluster and no leaf token is below zero", count_unless(_are_numbers)),
)


def _lists_differ(nodes: str, values: str, *, may_lack_values: bool = False) -> Callable[[pa.Table], int]:
    """Count the rows whose nodes don't ascend, or whose values, all above 0, are another number of them."""

    def count(table: pa.Table) -> int:
        bad_rows = 0
        for batch in table.select([nodes, values]).to_batches():
            columns = batch.column(nodes), batch.column(values)
            lengths, value_counts = (pc.list_value_length(column).to_numpy(zero_copy_only=False) for column in columns)
            flat, flat_values = (column.flatten().to_numpy(zero_copy_only=False) for column in columns)
            is_broken = (lengths != value_counts) & ~(may_lack_values & (value_counts == 0))
            is_broken[np.repeat(np.arange(value_counts.size), value_counts)[~(flat_values > 0)]] = True
            row = np.repeat(np.arange(lengths.size), lengths)
            is_broken[row[np.flatnonzero((np.diff(flat) <= 0) & (np.diff(row) == 0))]] = True
            bad_rows += int(is_broken.sum())
        return bad_rows

    return count


#: The walk index: the graph that walks go over, by rows of this table.
PPR_GRAPH_ROWS = _contract(
    contracts.PPR_GRAPH,
    Rule(
        "neighbors ascend, and have as many weights above 0, or none",
        _lists_differ("neighbors", "weights", may_lack_values=True),
    ),
    Rule("no degree is below zero", count_unless(lambda t: pc.greater_equal(t["degree"], 0))),
)

#: The walk index: where the walks from each row of that table were.
PPR_WALK_ROWS = _contract(
    contracts.PPR_WALKS,
    Rule("a row has as many visits as nodes, above 0, its nodes ascending", _lists_differ("visited", "visits")),
    keys=("row",),
)
