"""A file of labels -> arrays: which nodes of a graph in memory have which labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.ingest.id_files import read_id_file
from pipeline.tuning.training_graph import TrainingGraph, positions_of
from pipeline.workspace import Workspace

_FEWEST = 20  # labelled nodes: half of them train a model


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """Labels of some nodes.

    position : (m,) int64 ascending. labels : (m, labels) bool, a node may have several. names : of the labels.
    unknown_nodes : labelled nodes that the graph does not have.
    """

    position: NDArray[np.int64]
    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    unknown_nodes: int


def read_labels(file: str, node_type: str, graph: TrainingGraph, workspace: Workspace) -> ClassLabels:
    """Read a Parquet or CSV file with the columns ``node`` and ``label``, one row for each label of a node.

    Raises
    ------
    InputError : it can't be read, lacks a column, or labels fewer than 20 nodes of the graph or one label only.
    """
    texts = {"node": pa.string(), "label": pa.string()}
    table = read_id_file(Path(file), texts, texts, "--labels").drop_null().combine_chunks()
    node, label = table["node"].combine_chunks(), table["label"].combine_chunks().dictionary_encode()
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
    return ClassLabels(position, labels, tuple(names[place] for place in order), unknown)
