"""Which parameters of vectors are worth a try on a graph, best presets first, and what the outcome means.

Pure: it knows the keys of ``[embedding]`` and a few counts of the graph, and computes no vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Any

from pipeline.tuning.options import Use
from pipeline.tuning.presets import (
    COORDINATES,
    LARGE_RETRIEVAL,
    NARROW_RETRIEVAL,
    PLAIN_COORDINATES,
    PLAIN_RETRIEVAL,
    SPARSE_COORDINATES,
    SPARSE_RETRIEVAL,
    STEPS,
    WIDE_RETRIEVAL,
    Changes,
    Preset,
)
from pipeline.tuning.search import Candidate, Trial

#: Targets for each column from which the eigenpairs behind the first ``dim`` hold more signal than noise.
_TARGETS_A_COLUMN = 128
_USUAL_WIDTH = 64
#: Eigenpairs that are rotated into one column, and their number up to which that is affordable.
_PAIRS_A_COLUMN, _WIDE = 4, 512
#: Share of all possible pairs from which a graph of two types is called dense.
_DENSE = 0.01
#: Share of the spectrum in the leading columns up to which it counts as flat.
_FLAT = 0.1
#: A multiply-add of a matrix product, in multiply-adds of a product with the graph (BLAS against scattered rows).
_DENSE_COST = 1 / 32
#: Columns that estimate the spectrum before a low-pass, and their products.
_PROBES, _PROBE_PRODUCTS = 16, 16
#: Multiply-adds that a push from a node takes for each entry of the graph, with the restart and the threshold that are
#: set unless others are: twice those of a walk that jumps back at .15 a step.
_PUSHES = 2 / 0.15
#: Products of a configuration that leaves their number open, about.
_ITERATIONS = 4
#: Ridges of a compatibility matrix, and the one that is tried first.
_RIDGES, _FIRST_RIDGE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0), 1.0


@dataclass(frozen=True)
class GraphFacts:
    """What is known of a graph before anything is computed.

    sources, targets : nodes that edges start from and point to; of a plain graph both are all nodes.
    edges : distinct pairs, of a plain graph each once. use : what the rows are for.
    """

    is_plain: bool
    sources: int
    targets: int
    edges: int
    is_weighted: bool = False
    use: Use = "retrieval"

    @property
    def entries(self) -> int:
        """Multiply-adds of one step of P, or of A on a plain graph, for each column."""
        return 2 * max(self.edges, 1)

    @property
    def density(self) -> float:
        """Share of all pairs that are edges."""
        pairs = self.targets * (self.targets - 1) / 2 if self.is_plain else self.sources * self.targets
        return self.edges / max(pairs, 1)

    @property
    def is_large(self) -> bool:
        """Whether there are more eigenpairs of signal than most tables have columns."""
        return self.is_wide(_USUAL_WIDTH)

    def is_wide(self, dim: int) -> bool:
        """Whether more eigenpairs than columns are worth having: many targets, few of all pairs known."""
        return not self.is_plain and self.targets >= _TARGETS_A_COLUMN * dim and self.density < _DENSE

    def leading_share(self, dim: int) -> float:
        """Share of the sum of all squared eigenvalues of D^-1/2 A D^-1/2 that ``dim`` of them can hold, on one type.

        None is above 1, and the sum is that of 1 / (d_i d_j) over all entries: about nodes / mean degree.
        """
        return min(1.0, dim * self.entries / max(self.targets, 1) ** 2)

    def is_flat(self, dim: int) -> bool:
        """Whether a plain graph has so many nodes and so few edges that many eigenvalues are nearly the largest."""
        return self.is_plain and self.leading_share(dim) < _FLAT


def candidates(facts: GraphFacts, dims: Sequence[int]) -> list[Candidate]:
    """Return what to try, in this order: the best preset at each width, then the second at each, and so on.

    Parameters
    ----------
    dims : widths, each at least 1; repeated ones count once.

    Raises
    ------
    ValueError : there is no width, or one below 1.
    """
    widths = list(dict.fromkeys(int(dim) for dim in dims))
    if not widths or min(widths) < 1:
        raise ValueError(f"dims is {list(dims)}; give at least one width, each at least 1")
    presets_by_width = [[_at_width(preset, dim, facts) for preset in _presets(facts, dim)] for dim in widths]
    return list(filter(None, chain.from_iterable(zip_longest(*presets_by_width))))


def refinements(best: Candidate, facts: GraphFacts) -> list[Candidate]:
    """Return the neighbours of a candidate: one parameter a step lower or higher, the most telling one first.

    Steps have fixed sizes, so that what was tried is met again and not tried twice. Values stay inside the range in
    which a parameter makes sense; a neighbour equal to the candidate itself isn't named.
    """
    kind = _kind(best.changes, facts)
    neighbors: list[Candidate] = []
    for key, step, low, high, default in STEPS.get(kind, ()):
        value = best.changes.get(key)
        value = default if value is None else value
        for neighbor in (value + step, value - step):
            neighbor = type(default)(min(max(round(neighbor, 4), low), high))
            if neighbor != value:
                why = f"the best so far, with {key} at {neighbor:g} in the place of {value:g}"
                neighbors.append(
                    candidate_of(f"{kind}, {key} {neighbor:g}", why, {**best.changes, key: neighbor}, facts)
                )
    if facts.use == "retrieval" and not facts.is_plain and kind in STEPS:  # of one type it loses on test edges
        for ridge in _next_ridges(best.changes.get("compatibility")):
            why = f"the best so far, with a matrix of the products that are edges, at ridge {ridge:g}"
            changes = {**best.changes, "compatibility": ridge}
            neighbors.append(candidate_of(f"{kind}, compatibility {ridge:g}", why, changes, facts))
    if kind == "rotate":
        rank, dim = _pairs(best.changes), int(best.changes["dim"])
        for neighbor in (rank + dim, rank - dim):
            if dim < neighbor <= facts.targets:
                why = f"the best so far, with {neighbor} eigenpairs in the place of {rank}"
                neighbors.append(
                    candidate_of(f"{kind}, rank {neighbor}", why, {**best.changes, "rank": neighbor}, facts)
                )
    return neighbors


def _next_ridges(ridge: float | None) -> list[float]:
    if ridge is None:
        return [_FIRST_RIDGE]
    below, above = [value for value in _RIDGES if value < ridge], [value for value in _RIDGES if value > ridge]
    return [*above[:1], *below[-1:]]


def at_width(candidate: Candidate, dim: int, facts: GraphFacts) -> Candidate:
    """Return a candidate's parameters at another width, with the rank that follows from it."""
    return _at_width(Preset(candidate.name, candidate.why, dict(candidate.changes)), dim, facts)


def advice(facts: GraphFacts, trials: Sequence[Trial]) -> list[str]:
    """Say in words what kind of graph this is, and what the results mean for other choices."""
    sentences = []
    if facts.use != "retrieval":
        sentences.append(
            "Linear models want orthogonal coordinates: the leading eigenvectors, truncated, never rotated; a rotation "
            "spreads each of them over all columns."
        )
        width = max((trial.candidate.width for trial in trials), default=_USUAL_WIDTH)
        if facts.is_flat(width):
            sentences.append(
                f"Sparse for its size: {width} columns hold at most {facts.leading_share(width):.1%} of the spectrum, "
                "and many eigenvalues are nearly the largest. Let products take momentum and iterate longer "
                "(accelerate = true, iterations = 16), or take form = 'log_transition'."
            )
    elif facts.is_plain:
        sentences.append(
            "Plain graph, ranked by dot product: use the positive end of the spectrum (eigenvalues = "
            "'positive') and let norms grow with degree; a negative eigenvalue counts with the wrong sign."
        )
    elif facts.density >= _DENSE:
        sentences.append(
            f"Small and dense ({facts.density:.1%} of all pairs are known): truncate; the later eigenpairs are noise, "
            "so a narrow table, or a larger eigenvalue_power, is often the better one."
        )
    else:
        many = f"{facts.targets:,} targets, {facts.density:.2%} of all pairs known"
        sentences.append(
            f"Large and sparse ({many}): rotate a wide head of eigenpairs into few columns; truncate where columns are "
            "cheap."
            if facts.is_large
            else f"Sparse, but few targets ({many}): truncate; there are too few eigenpairs of signal to rotate."
        )
    sentences.extend(_compare_kinds(facts, trials))
    if facts.is_weighted:
        sentences.append(
            "The pairs have weights, used as they are. Counts that differ by orders of magnitude drown the rare pairs: "
            "compare with a run without input.weight."
        )
    return sentences


def _compare_kinds(facts: GraphFacts, trials: Sequence[Trial]) -> list[str]:
    """Compare the best of each kind of the width that won."""
    best_first = sorted(trials, key=lambda trial: -trial.score.value)
    if not best_first:
        return []
    width = best_first[0].candidate.width
    by_kind: dict[str, Trial] = {}
    for trial in best_first:
        if trial.candidate.width == width:
            by_kind.setdefault(_kind(trial.candidate.changes, facts), trial)
    if len(by_kind) < 2:
        return []
    figures = ", ".join(f"{kind} {trial.score.value:.4f}" for kind, trial in by_kind.items())
    return [f"Best of each kind with {width} columns: {figures}."]


def _presets(facts: GraphFacts, dim: int) -> tuple[Preset, ...]:
    if facts.use != "retrieval":
        if facts.is_flat(dim):
            return SPARSE_COORDINATES
        return PLAIN_COORDINATES if facts.is_plain else COORDINATES
    if facts.is_plain:
        return SPARSE_RETRIEVAL if facts.is_flat(dim) else PLAIN_RETRIEVAL
    if facts.is_wide(dim):
        return WIDE_RETRIEVAL
    return LARGE_RETRIEVAL if facts.is_large else NARROW_RETRIEVAL


def _kind(changes: Mapping[str, Any], facts: GraphFacts) -> str:
    """Name what is computed; keys may be missing, as in a configuration that somebody wrote."""
    method = changes.get("method", "fastrp")
    if method == "ppr":
        form = "hashed" if changes.get("form") == "hashed" else "factorised"
        return f"{form} of one type" if facts.is_plain else form
    if method == "fastrp":
        form = str(changes.get("form", "auto"))
        if form == "low_pass" and facts.is_plain:
            return "low_pass of one type"
        return form if form != "auto" else "classic" if facts.is_plain else "two_tower"
    if method != "spectral":
        return str(method)  # there are no presets of it
    if changes.get("form") == "log_transition":
        return "log_transition"
    if facts.is_plain:
        return "eigenvectors"
    reduction = changes.get("reduction", "auto")
    is_rotated = reduction == "rotate" or (reduction == "auto" and _pairs(changes) > changes["dim"])
    return "rotate" if is_rotated else "truncate"


def _pairs(changes: Mapping[str, Any]) -> int:
    """Eigenpairs asked for."""
    return int(changes.get("rank") or changes["dim"])


def candidate_of(name: str, why: str, changes: Changes, facts: GraphFacts) -> Candidate:
    """Return a candidate with its cost; keys of a method may be missing and have their defaults then."""
    kind = f"{changes.get('method')} {changes.get('form')}"
    return Candidate(name, why, MappingProxyType(changes), _cost(changes, facts), int(changes["dim"]), kind)


def _cost(changes: Mapping[str, Any], facts: GraphFacts) -> float:
    """Multiply-adds with the graph; orthonormalising counts by its share of them."""
    dim, kind = int(changes["dim"]), _kind(changes, facts)
    if kind.startswith("hashed"):
        nodes = facts.sources if facts.is_plain else facts.sources + facts.targets
        return _PUSHES * facts.entries * nodes  # from every node, whatever the width
    if changes.get("method") == "spectral" or kind.startswith("factorised"):
        columns = min(_pairs(changes) + int(changes.get("oversampling", 16)), facts.targets)
        products = int(changes.get("iterations") or _ITERATIONS) + 1
        return products * columns * (facts.entries + 2 * _DENSE_COST * facts.targets * columns)
    if kind.startswith("low_pass"):
        return facts.entries * ((int(changes.get("filter_degree", 12)) + 2) * dim + _PROBES * _PROBE_PRODUCTS)
    if kind == "classic":
        return facts.entries * len(changes.get("iteration_weights", (0, 1, 1))) * dim
    return facts.entries * (int(changes.get("powers", 1)) + 1) * dim


def _at_width(preset: Preset, dim: int, facts: GraphFacts) -> Candidate:
    """Return a preset with the width, and the rank that follows from it."""
    changes = {**preset.changes, "dim": dim}
    if changes.get("reduction") == "rotate":
        changes["rank"] = max(dim + 1, min(_PAIRS_A_COLUMN * dim, max(2 * dim, _WIDE), facts.targets))
    if changes.get("form") == "low_pass":
        # No more than a quarter of the spectrum: a filter that lets everything pass is a random projection.
        passing = _PAIRS_A_COLUMN * dim if facts.is_wide(dim) else dim
        changes["rank"] = max(1, min(passing, facts.targets // 4))
    return candidate_of(preset.name, preset.why, changes, facts)
