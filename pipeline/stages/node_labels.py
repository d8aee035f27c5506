"""A file of labels -> arrays: which nodes of a graph in memory have which labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.stages.training_graph import TrainingGraph, positions_of
from pipeline.workspace import Workspace

_FEWEST = 20  # labelled nodes: half of them train a model


@dataclass(frozen=True, eq=False)
class NodeLabels:
    """Labels of some nodes.

    position : (m,) int64 ascending. labels : (m, labels) bool, a node may have several. names : of the labels.
    unknown_nodes : labelled nodes that the graph does not have.
    """

    position: NDArray[np.int64]
    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    unknown_nodes: int


def read_labels(file: str, node_type: str, graph: TrainingGraph, workspace: Workspace) -> NodeLabels:
    """Read a Parquet or CSV file with the columns ``node`` and ``label``, one row for each label of a node.

    Raises
    ------
    InputError : it can't be read, lacks a column, or labels fewer than 20 nodes of the graph or one label only.
    """
    table = _read(file)
    if missing := {"node", "label"} - set(table.column_names):
        raise InputError(f"--labels {file} has no column {sorted(missing)}; it has {table.column_names}")
    table = table.select(["node", "label"]).drop_null().combine_chunks()
    label = table["label"].cast(pa.string()).combine_chunks().dictionary_encode()
    node = table["node"].combine_chunks()
    node = node.dictionary_decode() if pa.types.is_dictionary(node.type) else node
    at = positions_of(node, node_type, graph, workspace)
    is_known = at >= 0
    position, row = np.unique(at[is_known], return_inverse=True)
    names = label.dictionary.to_pylist()
    order = np.argsort(np.array(names, object), kind="stable")
    column = np.empty(len(names), np.int64)
    column[order] = np.arange(len(names))
    labels = np.zeros((position.size, len(names)), np.bool_)
    labels[row, column[label.indices.to_numpy()[is_known]]] = True
    if position.size < _FEWEST or len(names) < 2:
        raise InputError(
            f"--labels {file} gives {len(names)} labels to {position.size} nodes of the graph ({node_type}); at least "
            f"2 labels and {_FEWEST} nodes are needed to learn and to test"
        )
    unknown = len(node.filter(pa.array(~is_known)).unique())
    return NodeLabels(position, labels, tuple(names[place] for place in order), unknown)


def _read(file: str) -> pa.Table:
    try:
        if Path(file).suffix == ".parquet":
            return pq.read_table(file, partitioning=None)
        # As text: an id such as 007 is no number. Ids of integers are compared as text then.
        types = {"node": pa.string(), "label": pa.string()}
        return pacsv.read_csv(file, convert_options=pacsv.ConvertOptions(column_types=types))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"--labels {file} can't be read as Parquet or CSV: {error}") from error
