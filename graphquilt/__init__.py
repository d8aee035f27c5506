"""Read published embeddings and lists of neighbours; make inputs from graphs. Needs pyarrow and numpy, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphquilt.code_table import CodeTable, NodeCodes
    from graphquilt.compact_table import CompactTable
    from graphquilt.errors import TableError, UnknownNodeError
    from graphquilt.exported import ExportedVectors
    from graphquilt.inputs import InputSettings, from_networkx, from_scipy
    from graphquilt.interest_table import InterestTable, NodeInterests
    from graphquilt.neighbor_table import NeighborLists, NeighborTable
    from graphquilt.table import EmbeddingTable

    __version__: str

__all__ = [
    "EmbeddingTable",
    "CompactTable",
    "NeighborTable",
    "NeighborLists",
    "CodeTable",
    "NodeCodes",
    "InterestTable",
    "NodeInterests",
    "ExportedVectors",
    "from_networkx",
    "from_scipy",
    "InputSettings",
    "TableError",
    "UnknownNodeError",
    "__version__",
]

# Loaded at first use: `graphquilt current` runs in shell scripts and should not wait for pyarrow.
_HOMES = {
    "EmbeddingTable": "graphquilt.table",
    "CompactTable": "graphquilt.compact_table",
    "NeighborTable": "graphquilt.neighbor_table",
    "NeighborLists": "graphquilt.neighbor_table",
    "CodeTable": "graphquilt.code_table",
    "NodeCodes": "graphquilt.code_table",
    "InterestTable": "graphquilt.interest_table",
    "NodeInterests": "graphquilt.interest_table",
    "ExportedVectors": "graphquilt.exported",
    "from_networkx": "graphquilt.inputs",
    "from_scipy": "graphquilt.inputs",
    "InputSettings": "graphquilt.inputs",
    "TableError": "graphquilt.errors",
    "UnknownNodeError": "graphquilt.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from graphquilt.version import version

        return version()
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'graphquilt' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
