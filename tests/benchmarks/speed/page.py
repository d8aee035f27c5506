"""The page of the results: tables and pictures from the JSON that :mod:`run` kept.

    python -m tests.benchmarks.speed.page build/bench/2026-01-01-abcdef0.json docs/explanation/speed.md

Writes the page and, beside the docs, ``pictures/speed-<case>.svg``. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

OWN = "graphquilt"
START_UP_IS_LITTLE = 10  # million rows
TITLES = {
    "product": ("Products", "The graph's matrix (both directions) times 128 columns, float32."),
    "fastrp": ("FastRP", "4 powers, d = 128, from a graph in memory to finished rows."),
    "two_tower": ("Two towers", "FastRP with rows of items alone, d = 128, from a graph in memory to finished rows."),
    "spectral": ("Singular vectors", "The 64 leading ones of D_U^-1/2 B D_I^-1/2; graphquilt's rows are finished."),
    "ppr lists": ("Lists of personalised PageRank", "100 items for a user, restart .15; times are of one user."),
    "partition": ("Partitions", "64 parts of equal volume."),
    "clusters": ("Clusters", "By bipartite modularity."),
    "job": (
        "Whole jobs",
        "From a Parquet file of pairs to a table of vectors, d = 128. Spark's rows are its stages alone.",
    ),
    "scaling": (
        "Scaling",
        "Whole jobs by rows of pairs, each once, with tasks of up to 8 GiB; exponents are of CPU seconds in rows.",
    ),
}
HEAD = """# Speed

<!-- Written by tests/benchmarks/speed/page.py; `make bench` measures. -->

Each kernel, and whole jobs, beside their peers. Contenders took turns, each in a process of its own with one
thread. CPU seconds are medians of the turns, and *times ours* is their ratio. Memory is that of the largest process,
preparation included. Measured on {date} at `{revision}`, Python {python}, {processors} processors.

```bash
make bench
```

`gowalla` has 810,128 pairs of 70,839 nodes, `10m` 10 M pairs of 1 M nodes (`tests/benchmarks/planted_bipartite.py`).
"""


def rows_of(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a case's table."""
    yield "| graph | | turns | CPU s | times ours | MiB | result |"
    yield "|---|---|---|---|---|---|---|"
    for graph, contenders in results.items():
        own = median(contenders.get(OWN, {}))
        for name, result in contenders.items():
            if "missing" in result:
                yield f"| {graph} | {name} | 0 | not measured: {result['missing']} | | | |"
                continue
            cpu, memory = median(result), max(result["peak_mib"])
            ratio = f"{cpu / own:.2f}" if own else ""
            figures = ", ".join(f"{key} {value:.4g}" for key, value in result["figures"].items())
            turns = len(result["cpu_seconds"])
            yield f"| {graph} | {name} | {turns} | {cpu:.3g} | {ratio} | {memory:,.0f} | {figures} |"


def median(result: Mapping[str, Any]) -> float | None:
    """Return the median of the CPU seconds, if there are any."""
    return statistics.median(result["cpu_seconds"]) if "cpu_seconds" in result else None


def draw(results: Mapping[str, Any], file: Path) -> None:
    """Draw bars of times next to ours, a panel a graph, on a logarithmic axis."""
    measured = {
        graph: {name: cpu for name, result in contenders.items() if (cpu := median(result)) is not None}
        for graph, contenders in results.items()
        if median(contenders.get(OWN, {}))
    }
    if not measured:
        return
    height = 0.5 + 0.3 * max(map(len, measured.values()))
    figure, axes = plt.subplots(1, len(measured), figsize=(9, height), squeeze=False, layout="constrained")
    for axis, (graph, times) in zip(axes[0], measured.items(), strict=True):
        names, ratios = list(times)[::-1], [cpu / times[OWN] for cpu in times.values()][::-1]
        colors = ["tab:blue" if name.startswith(OWN) else "tab:gray" for name in names]
        bars = axis.barh(names, ratios, color=colors, left=0)
        axis.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=3)
        axis.set(xscale="log", title=graph, xlim=(min(0.4, *ratios), 3 * max(ratios)))
        label_plainly(axis.xaxis)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("CPU seconds, times ours", fontsize=9)
    save(figure, file)


def scaled(results: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return millions of rows and CPU seconds of the sizes that were measured."""
    cpu = {graph: median(contenders[OWN]) for graph, contenders in results.items()}
    measured = {float(graph.removesuffix("m")): seconds for graph, seconds in cpu.items() if seconds}
    return list(measured), list(measured.values())


def draw_scaling(results: Mapping[str, Any], file: Path) -> None:
    """Draw CPU seconds and memory of whole jobs by rows."""
    rows, cpu = scaled(results)
    overall, later = (exponent(rows, cpu, least) for least in (0, START_UP_IS_LITTLE))
    exponents = f"exponent {overall:.2f}, from {START_UP_IS_LITTLE} M on {later:.2f}"
    memory = [max(own["peak_mib"]) / 1024 for contenders in results.values() if "peak_mib" in (own := contenders[OWN])]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for axis, title, values in (
        (axes[0], f"CPU seconds, {exponents}", cpu),
        (axes[1], "GiB of the largest process", memory),
    ):
        axis.plot(rows, values, marker="o")
        axis.set(xscale="log", yscale="log", xlabel="million rows", title=title)
        label_plainly(axis.xaxis)
        label_plainly(axis.yaxis)
        axis.grid(alpha=0.3)
    save(figure, file)


def exponent(rows: Sequence[float], cpu: Sequence[float], least: float) -> float:
    """Return the power of the rows that CPU seconds grow with, of at least so many rows."""
    some = [(size, seconds) for size, seconds in zip(rows, cpu, strict=True) if size >= least]
    return float(np.polyfit(*np.log(some).T, 1)[0])


def label_plainly(axis: Any) -> None:
    """Label a logarithmic axis with 1, 2, 5, 10 and so on."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def save(figure: Any, file: Path) -> None:
    """Write an SVG that is the same for the same figures."""
    mpl.rcParams |= {"svg.hashsalt": file.stem, "svg.fonttype": "none"}
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Read the results, write the page and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    kept = json.loads(options.results.read_text())
    date, _, revision = options.results.stem.rpartition("-")
    lines = [HEAD.format(date=date, revision=revision, **{key: kept[key] for key in ("python", "processors")})]
    pictures = options.page.parent.parent / "pictures"
    for case, (title, about) in TITLES.items():
        results = kept["cases"].get(case, {})
        if not results:
            continue
        picture = pictures / f"speed-{case.replace(' ', '-')}.svg"
        if case == "scaling":
            draw_scaling(results, picture)
        else:
            draw(results, picture)
        lines += [f"## {title}\n", f"{about}\n", f"![{title}: {about}](../pictures/{picture.name})\n"]
        lines += [*rows_of(results), ""]
    options.page.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
