"""Where the spectrum lies: the largest eigenvalue, and above which share of it a given number of them lie.

Small runs before the run: a single column finds the largest eigenvalue, a few find the density.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks.arrays import Block
from pipeline.config.embedding import EmbeddingConfig
from pipeline.embedding.fact_files import Facts
from pipeline.embedding.fastrp import TwoTower
from pipeline.embedding.method_spec import MethodSpec
from pipeline.embedding.products import Multiplier, scale_operand, step_of_items, step_of_nodes
from pipeline.embedding.rows import Operand, Rows
from pipeline.embedding.settings import Settings
from pipeline.embedding.sinks import Sink
from pipeline.kernels.elementary import power_or_zero
from pipeline.kernels.low_pass import cut_above, next_term, paired_sum
from pipeline.kernels.random_projection import very_sparse_projection

_POWER_ROUNDS = 4
_PROBES = 16  # columns; the estimate's error falls with their root
_MOMENT_ROUNDS = 12  # two moments each, so that the count is sharper than the filter itself
_UPWARDS = 2.0**-10  # the bound is rounded up by whole steps of this share
_ASIDE = 0.37  # of a step: where between whole numbers a bound goes to the next step
#: Random rows of another stream than the embedding's own: a cut that knew them would favour them.
_PROBE_SEED = 0x5BEC


class Largest(TwoTower):
    """The largest eigenvalue of P = M^T M from above: max over items of (P x)_i / x_i, for any positive x.

    After a few steps x is near the leading eigenvector, and the bound near the eigenvalue (Collatz and Wielandt).
    """

    def rounds(self, settings: Settings) -> int:
        return _POWER_ROUNDS

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        return False

    def width(self, number: int, settings: Settings) -> int:
        return 1

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        first, stop = self.exchanged_range(block, settings)
        return np.ones((stop - first, 1), np.float32)

    def multiply(self, multiplier: Multiplier, x: Any, number: int, settings: Settings, sink: Sink) -> Rows:
        """P x / bound, so that nothing grows."""
        if number:
            x /= np.float32(settings.facts["largest"][0])
        return step_of_items(multiplier, x, settings)

    def carry_width(self, settings: Settings) -> int:
        """Return 2: x and P x."""
        return 2

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        return Rows(np.ones((local.size, 2), np.float32), np.zeros(local.size))

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Keep x beside the rows that follow from it."""
        carried_rows.values[:, 0] = carried_rows.values[:, 1]
        carried_rows.values[:, 1] = rows.values[:, 0]
        return rows

    def local_facts(self, rows: Rows, carried_rows: Rows, number: int, settings: Settings) -> Facts:
        before = carried_rows.values[:, 0].astype(np.float64)
        if number:
            before /= settings.facts["largest"][0]
        is_alive = before > 0
        ratio = carried_rows.values[is_alive, 1] / before[is_alive]
        return {"ratio": np.array([ratio.max(initial=0.0)])}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        bound = max(float(facts["ratio"][0]) for facts in local)
        if bound <= 0.0:
            return {"largest": np.ones(1)}
        # Bounds of regular graphs are whole: were these where the result changes, rounding would decide it.
        unit = 2.0 ** math.frexp(bound * (1.0 - _ASIDE))[1] * _UPWARDS
        return {"largest": np.array([(math.floor(bound / unit + _ASIDE) + 1) * unit])}


class Spectrum(TwoTower):
    """The share of the largest eigenvalue of P above which ``rank`` eigenvalues lie, from traces of T_k(P).

    Random columns z stand for the trace: E z^T T_k z. T_2k = 2 T_k^2 - 1 and T_2k+1 = 2 T_k+1 T_k - T_1 give two
    moments for each product.
    """

    def prelude(self, settings: Settings) -> Settings | None:
        return replace(settings, form="largest")

    def rounds(self, settings: Settings) -> int:
        return _MOMENT_ROUNDS

    def needs_noise_scales(self, number: int, settings: Settings) -> bool:
        return False

    def width(self, number: int, settings: Settings) -> int:
        return _PROBES

    def start(self, block: Block, settings: Settings) -> NDArray[np.float32]:
        return _probes(block.node_key[slice(*self.exchanged_range(block, settings))], settings)

    def multiply(self, multiplier: Multiplier, x: Operand, number: int, settings: Settings, sink: Sink) -> Rows:
        return step_of_items(multiplier, x, settings)

    def factors(self, number: int, settings: Settings) -> tuple[float, float, float]:
        return factors_of_items(number, settings)

    def carry_width(self, settings: Settings) -> int:
        """Return the columns of a sum that nobody reads, T_k and T_k-1."""
        return 3 * _PROBES

    def initial_carry(self, block: Block, local: NDArray[np.int64], settings: Settings) -> Rows:
        return initial_terms(_probes(block.node_key[local], settings))

    def carry(self, carried_rows: Rows, rows: Rows, number: int, settings: Settings) -> Rows:
        """Turn A T_k into T_k+1."""
        next_term(rows.values, carried_rows.values, self.factors(number, settings), (0.0, 0.0))
        return rows

    def local_facts(self, rows: Rows, carried_rows: Rows, number: int, settings: Settings) -> Facts:
        """Return (T_k+1, T_k+1), (T_k+1, T_k) and (T_k, T_k)."""
        current, before = (
            np.ascontiguousarray(carried_rows.values[:, n * _PROBES : (n + 1) * _PROBES]) for n in (1, 2)
        )
        pairs = ((current, current), (current, before), (before, before))
        return {"products": np.array([paired_sum(x, y) for x, y in pairs])}

    def reduce_facts(self, number: int, local: Sequence[Facts], settings: Settings) -> Facts:
        """Return the moments so far; after the last round, the cut."""
        own_product, cross_product, first = sum((facts["products"] for facts in local), start=np.zeros(3)) / _PROBES
        if number == 0:
            moments = [first, cross_product, 2.0 * own_product - first]
        else:
            earlier = settings.facts["moments"].tolist()
            moments = [*earlier, 2.0 * cross_product - earlier[1], 2.0 * own_product - earlier[0]]
        facts = {**settings.facts, "moments": np.array(moments)}
        if number == self.rounds(settings) - 1:
            facts["cut"] = np.array([cut_above(moments, settings.embedding.rank)])
        return facts


class StepsOfNodes:
    """What a method of P becomes on one type of nodes: S = D^-1/2 A D^-1/2, whose spectrum is [-1, 1] as it is."""

    def exchanged_range(self, block: Block, settings: Settings) -> tuple[int, int]:
        return 0, block.node_ix.size

    def multiply(self, multiplier: Multiplier, x: Operand, number: int, settings: Settings, sink: Sink) -> Rows:
        """A D^-1/2 x, of the entries stored here."""
        return step_of_nodes(multiplier, scale_operand(x, power_or_zero(multiplier.block.strength, -0.5)))

    def row_scales(self, strength: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
        """D^-1/2: rows scaled by it are those of S x."""
        return power_or_zero(strength, -0.5)

    def factors(self, number: int, settings: Settings) -> tuple[float, float, float]:
        """Return the factors of S T_k, T_k and T_k-1 in T_k+1."""
        return (1.0, 0.0, 0.0) if number == 0 else (2.0, 0.0, -1.0)


class PlainSpectrum(StepsOfNodes, Spectrum):
    """The same of S = D^-1/2 A D^-1/2."""

    def prelude(self, settings: Settings) -> Settings | None:
        """Return None: the largest eigenvalue is 1."""
        return None


def factors_of_items(number: int, settings: Settings) -> tuple[float, float, float]:
    """Return the factors of P T_k, T_k and T_k-1 in T_k+1, with P mapped from [0, largest] to [-1, 1]."""
    largest = float(settings.facts["largest"][0])
    return (2.0 / largest, -1.0, 0.0) if number == 0 else (4.0 / largest, -2.0, -1.0)


def initial_terms(start: NDArray[np.float32]) -> Rows:
    """Return what homes carry before the first round: no sum, T_0, no T_-1."""
    width = start.shape[1]
    values = np.zeros((len(start), 3 * width), np.float32)
    values[:, width : 2 * width] = start
    return Rows(values, np.zeros(len(start)))


def _probes(node_key: NDArray[np.uint64], settings: Settings) -> NDArray[np.float32]:
    return very_sparse_projection(node_key, _PROBES, 1.0, settings.embedding.seed ^ _PROBE_SEED)


# They find facts for others and make no table: nothing is said of their products, and nothing sets their space.
def _spec(form: str, sides: Literal[1, 2], rounds: Spectrum | Largest) -> MethodSpec:
    return MethodSpec(
        method="fastrp",
        form=form,
        sides=sides,
        keys=EmbeddingConfig,
        rounds=rounds,
        buffers=3 - sides,
        products=lambda _: {},
        space=(),
    )


LARGEST = _spec("largest", 2, Largest())
SPECTRUM = _spec("spectrum", 2, Spectrum())
PLAIN_SPECTRUM = _spec("plain_spectrum", 1, PlainSpectrum())
