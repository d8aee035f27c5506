"""The configurations whose published bytes are held, all of them on the bundled sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.stages.chains import Config, with_changes

SAMPLE = Path(__file__).parents[2] / "examples" / "sample" / "interactions.parquet"

#: Kinds of relations in the sample that are read: a sixth of its rows, between 24,000 packages.
_WEIGHTS = {"pre-depends": 1.0, "recommends": 0.7, "suggests": 0.3}

_ATTRIBUTES = {"id": "package", "numbers": ["length"], "categories": ["initial"], "lists": ["words"], "separator": "-"}

_PARTS = {"partition": {"parts": 5}}
_CUT_OUT = {"partition": {"method": "multilevel", "parts": 4}}
_LISTS = {"embedding": {"method": "none"}, "ppr": {"neighbors": True, "top_k": 20}}

#: By name: whether the sample is read as a plain graph, and what is set beside :func:`_common`.
_CHANGES: Mapping[str, tuple[bool, Config]] = {
    "two_tower": (False, {"publish": {"fold_in": True, "compact": "int8", "exclude_ids": {"package": ["vim"]}}}),
    "two_tower_parts": (False, _PARTS),
    "two_tower_int8": (False, {**_PARTS, "embedding": {"boundary_dtype": "int8"}}),
    "two_tower_half": (False, {**_PARTS, "embedding": {"compute": "half"}}),
    "two_tower_shards": (
        False,
        {**_PARTS, "embedding": {"dim": 48, "shards": 3}, "publish": {"rows_per_file": 20_000}},
    ),
    "two_tower_attributes": (False, {**_PARTS, "attributes": {"needed": _ATTRIBUTES}}),
    "classic": (True, {}),
    "classic_parts": (True, {"partition": {"method": "hash", "parts": 3, "hub_degree": 200}}),
    "classic_halo": (True, {**_CUT_OUT, "embedding": {"boundary": "halo"}}),
    "classic_border": (True, {**_CUT_OUT, "embedding": {"boundary": "border"}}),
    "classic_quotient": (True, {**_CUT_OUT, "embedding": {"boundary": "quotient"}}),
    "classic_drop": (True, {**_CUT_OUT, "embedding": {"boundary": "drop"}}),
    "low_pass": (False, {**_PARTS, "embedding": {"form": "low_pass", "rank": 40}}),
    "spectral_bipartite": (False, {**_PARTS, "embedding": {"method": "spectral"}}),
    "spectral_plain": (True, {**_PARTS, "embedding": {"method": "spectral"}}),
    "ppr_push": (False, with_changes(_LISTS, ppr={"solver": "push", "exclude_known": True})),
    "ppr_chebyshev": (True, with_changes(_LISTS, ppr={"solver": "chebyshev", "degree_correction": 0.3})),
    "ppr_walks": (True, with_changes(_LISTS, ppr={"solver": "walks", "walks": 1_000, "edge_degree_power": 0.2})),
    "ppr_parts": (True, with_changes(_LISTS, partition={"parts": 3}, ppr={"across": "parts"})),
    "codes": (False, {**_PARTS, "embedding": {"seed": 3}, "codes": {"enabled": True, "max_size": 200}}),
    "interests": (False, {**_PARTS, "embedding": {"seed": 4}, "interests": {"clusters": 60}}),
    "ppr_hashed": (False, {"embedding": {"method": "ppr", "form": "hashed"}, "ppr": {"push_threshold": 1e-3}}),
    "compatibility": (
        False,
        {**_PARTS, "embedding": {"compatibility": 1.0}, "publish": {"fold_in": True, "rows_per_file": 20_000}},
    ),
    "ppr_factorised": (False, {**_PARTS, "embedding": {"method": "ppr", "form": "factorised"}}),
}

NAMES = tuple(_CHANGES)

#: Whose vectors are products and decompositions by numpy and scipy.
THROUGH_BLAS = ("spectral_bipartite", "spectral_plain", "ppr_factorised", "compatibility")


def config_named(name: str, folder: Path) -> Config:
    """The configuration, its input files written to ``folder`` where they aren't yet."""
    is_plain, changes = _CHANGES[name]
    config = with_changes(_common(name, is_plain), **changes)
    if "attributes" in config:
        config["attributes"] = {"needed": {**_ATTRIBUTES, "path": str(_package_attributes(folder))}}
    if config["ppr"].get("neighbors"):
        config["ppr"]["sources"] = str(_some_sources(folder))
    return config


def _common(name: str, is_plain: bool) -> dict[str, dict[str, Any]]:
    types = ("package", "package") if is_plain else ("package", "needed")
    return {
        "input": {
            "path": str(SAMPLE),
            "source": "package",
            "source_type": types[0],
            "target": "needs",
            "target_type": types[1],
            "event": "event",
            "event_weights": _WEIGHTS,
            "max_rejected_share": 1.0,
        },
        "partition": {},
        "embedding": {"dim": 32},
        "ppr": {},
        "evaluate": {"source": "none"},
        "publish": {"name": name, "report": False},
    }


def _package_attributes(folder: Path) -> Path:
    """What names of packages say: some rows without a number, one package in ten without a row."""
    path = folder / "attributes.parquet"
    if not path.exists():
        names = pc.unique(pq.read_table(SAMPLE)["needs"]).sort()
        names = names.filter(pa.array([n % 10 != 7 for n in range(len(names))]))
        length = pc.utf8_length(names)
        columns = {
            "package": names,
            "length": pc.if_else(pc.greater(length, 20), None, length),
            "initial": pc.utf8_slice_codeunits(names, 0, 1),
            "words": names,
        }
        pq.write_table(pa.table(columns), path)
    return path


def _some_sources(folder: Path) -> Path:
    """Every hundredth package gets a list."""
    path = folder / "sources.parquet"
    if not path.exists():
        names = pc.unique(pq.read_table(SAMPLE)["package"]).sort()
        some = names.take(pa.array(range(0, len(names), 100)))
        pq.write_table(pa.table({"node_id": some, "node_type": ["package"] * len(some)}), path)
    return path
