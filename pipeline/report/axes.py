"""Scales from values to places on a drawing, with round numbers at their ticks."""

import math
from dataclasses import dataclass

from pipeline.report.amounts import count


@dataclass(frozen=True)
class Axis:
    """A scale: ``low`` and ``high`` in values, ``start`` and ``stop`` in places; logarithmic where ``is_log``."""

    low: float
    high: float
    start: float
    stop: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a value is drawn."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return self.start + (at - low) / ((high - low) or 1.0) * (self.stop - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return values with their words: powers of ten, or steps of 1, 2 or 5."""
        if self.is_log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            every = max(1, -(-len(powers) // most))
            return [(10.0**power, tick_words(10.0**power)) for power in powers[::every]]
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        values = [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(value, tick_words(value)) for value in values]


def tick_words(value: float) -> str:
    """Return a tick in few letters: "0.25", "40", "10 k"."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):g}{unit}"
    return count(value) if abs(value) >= 1_000 else f"{round(value, 9):g}"


def _round_step(step: float) -> float:
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
