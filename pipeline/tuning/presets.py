"""The table of presets: parameters that have been good, best first, and how far a parameter is moved to refine them.

Order and values come from validation splits of graphs between 2 k and 70 k nodes; none belongs to one of them.
Ranks follow from the width and the graph: `pipeline.tuning.candidates` adds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Changes = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """Parameters at any width. why : one sentence. changes : keys of ``[embedding]`` and their values."""

    name: str
    why: str
    changes: Changes


def _rotate() -> Changes:
    return _spectral(reduction="rotate", eigenvalue_power=0.5, item_norm_power=0.2)


def _truncate() -> Changes:
    return _spectral(reduction="truncate", eigenvalue_power=0.0, item_norm_power=0.3, item_row_power=0.7)


def _spectral(**more: Any) -> Changes:
    base = {"user_degree_power": 0.4, "item_degree_power": 0.4, "no_return": 1.0, "iterations": 3}
    return {"method": "spectral", **base, **more}


def _eigenvectors(**more: Any) -> Changes:
    return {"method": "spectral", "reduction": "truncate", "degree_offset": 0.5, **more}


def _factorization(**more: Any) -> Changes:
    return {"method": "ppr", "form": "factorised", "reduction": "truncate", "degree_offset": 0.5, **more}


def _logs(smoothing: int) -> Changes:
    return {"method": "spectral", "form": "log_transition", "iterations": 9, "smoothing": smoothing}


def _walks(**more: Any) -> Changes:
    return {"method": "fastrp", "form": "classic", **more}


_FILTERED: Changes = {"method": "fastrp", "form": "low_pass", "filter_degree": 16}
_LOW_PASS = Preset(
    "low-pass",
    "Nearly the spectral quality from random rows, without orthonormalisation.",
    _FILTERED | {"item_norm_power": 0.2},
)
_TWO_TOWER = Preset(
    "two-tower",
    "The cheapest table: two steps of a random projection.",
    {"method": "fastrp", "form": "two_tower", "item_norm_power": 0.12},
)
_ROTATED = Preset("rotated", "Eigenpairs behind the first columns still hold signal: rotate them in.", _rotate())
_TRUNCATED = Preset("truncated", "The leading eigenvectors, for wide tables of large sparse graphs.", _truncate())
_DAMPED = Preset(
    "truncated, damped",
    "Columns weighed by eigenvalue: the later ones are noisier on a small graph.",
    _truncate() | {"eigenvalue_power": 0.75, "item_row_power": 0.75},
)
_LOUD_USERS = Preset(
    "truncated, damped, a .5 b .3",
    "Active users say less by each pair, popular items are not held back as much.",
    _DAMPED.changes | {"user_degree_power": 0.5, "item_degree_power": 0.3, "no_return": 0.5},
)
_RAW = Preset(
    "truncated, rows as they are",
    "On dense graphs the length of an item's row is already its score.",
    _truncate() | {"item_row_power": 0.0, "item_norm_power": 0.2, "no_return": 0.5},
)

_ROTATED_UNEVEN = Preset(
    "rotated, uneven rows",
    "An item's row keeps some of its own length: how much of it the eigenpairs hold.",
    _rotate() | {"rotated_row_power": 0.7, "item_norm_power": 0.25, "iterations": 5},
)

WIDE_RETRIEVAL = (
    _ROTATED,
    _ROTATED_UNEVEN,
    _LOW_PASS,
    _TRUNCATED,
    Preset("rotated, damped", "Less of the noise that a rotation makes.", _rotate() | {"eigenvalue_power": 0.75}),
    _TWO_TOWER,
    Preset("rotated, b .35", "Popular items are not held back as much.", _rotate() | {"item_degree_power": 0.35}),
    _DAMPED,
    _LOUD_USERS,
)
LARGE_RETRIEVAL = (
    _TRUNCATED,
    Preset("truncated, b .35", "Popular items are not held back as much.", _truncate() | {"item_degree_power": 0.35}),
    _LOW_PASS,
    _DAMPED,
    _ROTATED,
    _ROTATED_UNEVEN,
    _TWO_TOWER,
    _LOUD_USERS,
)
NARROW_RETRIEVAL = (
    _DAMPED,
    _TRUNCATED,
    _LOUD_USERS,
    _RAW,
    _LOW_PASS,
    _TWO_TOWER,
    _ROTATED,
)
PLAIN_RETRIEVAL = (
    Preset(
        "positive end",
        "A dot product can only hold positive eigenvalues, and popular nodes are found more often.",
        _eigenvectors(eigenvalues="positive", shift=0.3, iterations=8, eigenvalue_power=1.0, norm_degree_power=0.4),
    ),
    Preset(
        "walks from degrees",
        "Two and three steps of a symmetric walk, with hubs heard more at the start; cheap.",
        _walks(transition="symmetric", degree_power=0.5, iteration_weights=(0.0, 1.0, 1.0), norm_degree_power=0.2),
    ),
    Preset(
        "positive end, flat",
        "Columns weighed less by eigenvalue: more of the small communities.",
        _eigenvectors(eigenvalues="positive", shift=0.3, iterations=8, eigenvalue_power=0.5, norm_degree_power=0.3),
    ),
    Preset(
        "walks of all lengths",
        "Personalised PageRank of low rank: eigenvalues weigh what walks that restart make of them.",
        _factorization(eigenvalues="positive", shift=0.3, iterations=8, norm_degree_power=0.3),
    ),
    Preset(
        "longer walks",
        "Four steps, for graphs where neighbours share few neighbours.",
        _walks(transition="symmetric", degree_power=0.5, iteration_weights=(0.0, 1.0, 1.0, 1.0), norm_degree_power=0.2),
    ),
    Preset(
        "walks",
        "Two and three steps of a symmetric walk from equal starts.",
        _walks(transition="symmetric", degree_power=0.0, iteration_weights=(0.0, 1.0, 1.0), norm_degree_power=0.3),
    ),
    Preset("low-pass", "The leading eigenvectors seen through random rows.", _FILTERED | {"norm_degree_power": 0.3}),
)
#: Of graphs whose leading eigenvectors are few of many that are nearly as large.
SPARSE_RETRIEVAL = (
    Preset(
        "positive end, converged",
        "A flat spectrum takes more products to part, even with momentum.",
        PLAIN_RETRIEVAL[0].changes | {"iterations": 12, "accelerate": True},
    ),
    *PLAIN_RETRIEVAL,
)
_LOGS = Preset(
    "logs of transitions",
    "Logarithms of chances to walk along an edge, then one step of smoothing: small communities are heard too.",
    _logs(1),
)
_CONVERGED = Preset(
    "eigenvectors, converged",
    "A flat spectrum takes more products to part, even with momentum.",
    _eigenvectors(eigenvalues="both", shift=0.0, iterations=16, eigenvalue_power=0.75, accelerate=True),
)
PLAIN_COORDINATES = (
    Preset(
        "eigenvectors",
        "Both ends of the spectrum as orthogonal coordinates, weighed by eigenvalue.",
        _eigenvectors(eigenvalues="both", shift=0.0, iterations=5, eigenvalue_power=0.75),
    ),
    Preset(
        "eigenvectors, root",
        "Coordinates weighed less: more of the small communities.",
        _eigenvectors(eigenvalues="both", shift=0.0, iterations=5, eigenvalue_power=0.5),
    ),
    Preset(
        "eigenvectors, full",
        "Coordinates weighed by the whole eigenvalue, against noise on small graphs.",
        _eigenvectors(eigenvalues="both", shift=0.0, iterations=5, eigenvalue_power=1.0),
    ),
    Preset(
        "walks of all lengths",
        "Coordinates weighed by what walks that restart make of an eigenvalue.",
        _factorization(eigenvalues="both", shift=0.0, iterations=6),
    ),
    Preset(
        "walks, late steps",
        "Random walks whose later steps count most, columns standardised as a linear model likes them.",
        _walks(iteration_weights=(0.0, 1.0, 7.0, 20.0), standardize_columns=True),
    ),
    Preset("walks", "Two and three steps of a random walk.", _walks(iteration_weights=(0.0, 1.0, 1.0))),
    _LOGS,
)
#: Of the same graphs.
SPARSE_COORDINATES = (
    _CONVERGED,
    _LOGS,
    Preset("logs of transitions, smoothed", "Rows closer to their neighbours': less noise, fewer details.", _logs(3)),
    Preset(
        "eigenvectors, converged, offset 2",
        "Low degrees held back more, against leading eigenvectors that sit on tiny pieces.",
        _CONVERGED.changes | {"degree_offset": 2.0},
    ),
    PLAIN_COORDINATES[0],
    *PLAIN_COORDINATES[3:-1],
)
COORDINATES = (
    Preset(
        "eigenvectors",
        "The leading eigenvectors as orthogonal coordinates, rows of equal norm.",
        _truncate() | {"no_return": 0.5, "item_row_power": 1.0, "item_norm_power": 0.0, "eigenvalue_power": 0.5},
    ),
    Preset(
        "eigenvectors, flat",
        "All coordinates weigh the same: a regularised model picks what it needs.",
        _truncate() | {"no_return": 0.5, "item_row_power": 1.0, "item_norm_power": 0.0, "eigenvalue_power": 0.0},
    ),
    _DAMPED,
    _TWO_TOWER,
)

#: Parameter, step, smallest and largest sensible value, and the value of a candidate that doesn't name it.
Step = tuple[str, float, float, float, int | float]
_NODE_NORM: Step = ("norm_degree_power", 0.1, 0.0, 0.8, 0.0)
_DEGREES: tuple[Step, ...] = (("item_degree_power", 0.1, 0.0, 0.8, 0.4), ("user_degree_power", 0.1, 0.0, 0.8, 0.4))
_NEAR_DEGREES: tuple[Step, ...] = (
    ("item_degree_power", 0.05, 0.0, 0.8, 0.4),
    ("user_degree_power", 0.05, 0.0, 0.8, 0.4),
)
_ROW_SCALES: tuple[Step, ...] = (("item_row_power", 0.25, 0.0, 1.0, 0.5), ("no_return", 0.5, 0.0, 1.0, 0.5))
_OFFSET: tuple[Step, ...] = (("degree_offset", 0.25, 0.0, 2.0, 0.5), ("iterations", 3, 2, 20, 5))
#: Steps by what is computed.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "truncate": (
        ("eigenvalue_power", 0.25, 0.0, 2.0, 0.0),
        ("item_norm_power", 0.1, -0.2, 0.6, 0.3),
        *_DEGREES,
        *_ROW_SCALES,
    ),
    "rotate": (
        ("eigenvalue_power", 0.25, 0.0, 2.0, 0.5),
        ("item_norm_power", 0.05, -0.2, 0.6, 0.2),
        ("rotated_row_power", 0.15, 0.1, 1.0, 1.0),
        *_NEAR_DEGREES,
    ),
    "eigenvectors": (("eigenvalue_power", 0.25, 0.0, 2.0, 0.5), _NODE_NORM, *_OFFSET),
    "log_transition": (
        ("smoothing", 1, 0, 8, 1),
        ("iterations", 4, 1, 25, 9),
        ("eigenvalue_power", 0.25, 0.0, 2.0, 0.5),
    ),
    "factorised": (("item_norm_power", 0.1, -0.2, 0.6, 0.2), *_DEGREES, *_ROW_SCALES),
    "factorised of one type": (_NODE_NORM, *_OFFSET),
    "hashed": (("item_norm_power", 0.1, -0.2, 0.6, 0.3),),
    "hashed of one type": (_NODE_NORM,),
    "low_pass": (
        ("item_norm_power", 0.05, -0.2, 0.6, 0.2),
        ("filter_degree", 4, 4, 32, 12),
        *_NEAR_DEGREES,
    ),
    "low_pass of one type": (_NODE_NORM, ("filter_degree", 4, 4, 32, 12)),
    "two_tower": (("item_norm_power", 0.05, -0.2, 0.6, 0.12), *_NEAR_DEGREES, ("powers", 1, 1, 4, 1)),
    "classic": (_NODE_NORM, ("degree_power", 0.25, -1.0, 1.0, 0.0)),
}
