"""Numbers as people read them: counts with commas, shares in percent, bytes and seconds in units."""

import math

#: Figures of gates that count something.
_COUNTS = frozenset({"rows", "edges"})
#: Figures of gates that are a share of something.
_SHARES = frozenset(
    {
        *("nodes_kept", "pairs_kept", "weights_kept", "weights_changed", "pairs_renewed", "attributes_kept"),
        *("rejected_share", "zero_share", "row_change", "neighbors_kept"),
    }
)
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def count(value: float) -> str:
    """Return a count: "1,204"; from a million on in short, "12.3 M"."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(value) >= 10 * size:
            return f"{value / size:,.1f}{unit}"
    return f"{value:,.0f}"


def describe_sample(size: float, population: float, kind: str) -> str:
    """Return what a figure was measured of, where not of all: "a sample of 10,000 of 1.2 M users"; else nothing."""
    return f"a sample of {count(size)} of {count(population)} {kind}" if size < population else ""


def percent(share: float) -> str:
    """Return a share in percent: "97.2 %"; a small one, or one near to all, with the digits that tell."""
    value = 100 * share
    if value == 0:
        return "0 %"
    rest = abs(100 - value)
    if abs(value) < 0.001:
        return "< 0.001 %"
    digits = 3 if abs(value) < 0.1 else 2 if abs(value) < 1 or 0 < rest < 0.1 else 1
    return f"{value:.{digits}f} %" if rest else "100 %"


def amount(size: float) -> str:
    """Return bytes: "1.5 GiB"."""
    power = min(max(int(math.log2(max(size, 1)) // 10), 0), len(_BYTES) - 1)
    value = size / 1024**power
    return f"{value:.0f} {_BYTES[power]}" if power == 0 or value >= 100 else f"{value:.1f} {_BYTES[power]}"


def duration(seconds: float) -> str:
    """Return seconds: "0.09 s", "9.8 s", "2 min 05 s", "3 h 20 min"."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def figure(name: str, value: float | None) -> str:
    """Return a gate's figure in its unit; ``name`` is that of :class:`pipeline.publishing.gate.Figure`."""
    kind = name.split(" of ")[0]
    if value is None or not math.isfinite(value):
        return "–" if value is None else str(value)
    if kind == "id_type":
        return "same" if value else "changed"
    if kind in _COUNTS:
        return count(value)
    return percent(value) if kind in _SHARES else f"{value:.4g}"
