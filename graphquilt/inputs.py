"""Write a graph or matrix in memory as an interactions file, and return the settings that read it.

Neither networkx nor scipy is imported: their objects are used by their methods only.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphquilt.toml_text import toml_string


class InputSettings(dict[str, str]):
    """The keys of ``[input]`` that read a file of this module."""

    @property
    def toml(self) -> str:
        """The section ``[input]`` of a config file."""
        return "\n".join(["[input]", *(f"{key} = {toml_string(value)}" for key, value in self.items())]) + "\n"


def from_networkx(
    graph: Any,
    path: str | os.PathLike[str],
    *,
    weight: str = "weight",
    node_type: str = "node",
    types: tuple[str, str] | None = None,
    side: str = "bipartite",
) -> InputSettings:
    """Write the edges of a networkx graph as an interactions file.

    Directions are ignored. Parallel edges are rows of their own; ``ingest`` adds their weights up. Nodes without
    edges are in no interaction and get no row in the table.

    Parameters
    ----------
    graph : any networkx graph. Its nodes are integers or strings.
    path : the Parquet file to write; replaced as a whole.
    weight : the edges' attribute; an edge without it weighs 1.
    node_type : type of all nodes of a plain graph.
    types : for a bipartite graph, the types of nodes whose attribute ``side`` is 0 and 1.

    Returns
    -------
    the keys of ``[input]``; ``.toml`` has them as text.

    Raises
    ------
    TypeError : nodes that are neither integers nor strings. ValueError : a graph without edges, a weight that
        is not a positive number, an edge within one side of a bipartite graph.
    """
    edges = list(graph.edges(data=weight, default=1.0))
    source = [edge[0] for edge in edges]
    target = [edge[1] for edge in edges]
    if types is not None:
        for position, (u, v) in enumerate(zip(source, target, strict=True)):
            ends = [graph.nodes[node].get(side) for node in (u, v)]
            if sorted(ends, key=repr) != [0, 1]:
                raise ValueError(
                    f"edge {position} joins nodes whose attribute '{side}' is {ends}; in a bipartite graph "
                    "one is 0 and one is 1. Leave types out if the graph is not bipartite"
                )
            if ends[0] == 1:
                source[position], target[position] = v, u
    try:
        weights = np.array([edge[2] for edge in edges], np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the edge attribute '{weight}' holds values that are no numbers: {error}") from error
    return _write(path, _id_columns(source, target), weights, types or (node_type, node_type))


def from_scipy(
    matrix: Any,
    path: str | os.PathLike[str],
    *,
    types: tuple[str, str] = ("user", "item"),
    row_ids: Sequence[int] | Sequence[str] | NDArray[Any] | None = None,
    column_ids: Sequence[int] | Sequence[str] | NDArray[Any] | None = None,
) -> InputSettings:
    """Write the entries of a scipy sparse matrix as an interactions file.

    Stored zeros are no interactions. Entries that are stored twice are rows of their own; ``ingest`` adds their
    weights up.

    Parameters
    ----------
    matrix : (rows, columns), any sparse format. With two equal types an adjacency matrix: square, and where
        it is symmetric each edge is taken once.
    path : the Parquet file to write; replaced as a whole.
    types : of rows and columns.
    row_ids, column_ids : upstream's ids; None: their numbers, from 0. Equal types: give ``row_ids`` only.

    Returns
    -------
    the keys of ``[input]``; ``.toml`` has them as text.

    Raises
    ------
    TypeError : not a sparse matrix, or ids that are neither integers nor strings. ValueError : no entries, a
        value that is not a positive number, a wrong number of ids, an adjacency matrix that is not square.
    """
    if not hasattr(matrix, "tocoo"):
        raise TypeError(f"matrix is {type(matrix).__name__}; give a scipy sparse matrix or array")
    is_plain = types[0] == types[1]
    if is_plain:
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix is {matrix.shape}, but with one type '{types[0]}' it is an adjacency: square")
        if column_ids is not None:
            raise ValueError("rows and columns of an adjacency are the same nodes: give row_ids only")
        column_ids = row_ids
    entries = matrix.tocoo()
    if np.iscomplexobj(entries.data):
        raise ValueError(f"the entries are {entries.data.dtype}; weights are real numbers")
    nonzero = np.flatnonzero(entries.data)
    row, col = (np.asarray(axis, np.int64)[nonzero] for axis in (entries.row, entries.col))
    weights = np.asarray(entries.data, np.float64)[nonzero]
    rows = matrix.tocsr()
    if is_plain and (rows != rows.T).nnz == 0:
        upper = row <= col
        row, col, weights = row[upper], col[upper], weights[upper]
    columns = (
        _ids_at(row, row_ids, matrix.shape[0], "row_ids"),
        _ids_at(col, column_ids, matrix.shape[1], "column_ids"),
    )
    return _write(path, columns, weights, types)


def _ids_at(position: NDArray[np.int64], ids: Any, size: int, argument: str) -> pa.Array:
    """Return the ids of rows or columns by position; the positions themselves if there are no ids."""
    if ids is None:
        return pa.array(position)
    if len(ids) != size:
        raise ValueError(f"{argument} has {len(ids)} ids for {size} rows or columns of the matrix")
    (column,) = _id_columns(list(ids))
    if len(column.unique()) != size:
        raise ValueError(f"{argument} has {size - len(column.unique())} ids that stand there twice")
    return column.take(pa.array(position))


def _id_columns(*columns: list[Any]) -> tuple[pa.Array, ...]:
    """Return lists of node ids as Arrow arrays of one type: int64 where all of them fit, else strings."""
    kinds = {type(value) for column in columns for value in column}
    are_int = [issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds]
    wrong = [
        kind.__name__ for kind, is_int in zip(kinds, are_int, strict=True) if not is_int and not issubclass(kind, str)
    ]
    if wrong:
        raise TypeError(
            f"nodes are of types {sorted(wrong)}; ids are integers or strings "
            "(networkx.convert_node_labels_to_integers numbers them)"
        )
    if all(are_int):
        try:
            return tuple(pa.array(column, pa.int64()) for column in columns)
        except (OverflowError, pa.ArrowInvalid):
            pass  # beyond 64 bits: as decimals
    elif any(are_int):
        numbers, texts = (
            {value for column in columns for value in column if isinstance(value, str) == is_text}
            for is_text in (False, True)
        )
        if both := {str(number) for number in numbers} & texts:
            raise ValueError(f"{len(both)} nodes are there as an integer and as a string; both would get one id")
    return tuple(pa.array([str(value) for value in column], pa.string()) for column in columns)


def _write(
    path: str | os.PathLike[str],
    ids: Iterable[pa.Array],
    weights: NDArray[np.float64],
    types: tuple[str, str],
) -> InputSettings:
    file = Path(path).absolute()
    if special := sorted(set(str(file)) & set("*?[]{}")):
        raise ValueError(f"path {file} has {special}, which input.path takes for a pattern; choose another name")
    if not weights.size:
        raise ValueError("there are no edges: nothing to embed")
    is_bad = ~(np.isfinite(weights) & (weights > 0))
    if is_bad.any():
        first = int(np.argmax(is_bad))
        raise ValueError(
            f"{int(is_bad.sum())} of {weights.size} weights are not positive numbers, the first "
            f"{weights[first]} at edge {first}; leave these edges out or give them a weight above 0"
        )
    source, target = ids
    table = pa.table({"source": source, "target": target, "weight": pa.array(weights)})
    temporary = file.with_name(f".{file.name}.{uuid4().hex[:8]}")
    try:
        pq.write_table(table, temporary, compression="zstd")
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    settings = InputSettings(
        path=str(file),
        source="source",
        source_type=types[0],
        target="target",
        target_type=types[1],
        weight="weight",
    )
    if types[0] == types[1] and pc.any(pc.equal(source, target)).as_py():
        settings["self_loops"] = "keep"  # the default rejects them
    return settings
