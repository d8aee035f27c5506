"""The oldest CPU that the kernels of an installation run on, where they were compiled before it was shipped.

numba keeps what it compiles under the name and the features of a CPU. By default these are the machine's own, so that
each new type of machine compiles all kernels again. An installation with a baseline names one CPU on all machines.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

_FILE = "cpu_baseline.json"


@dataclass(frozen=True)
class CpuBaseline:
    """A CPU as LLVM names it, and LLVM's names of the features that a machine must have to run code for it."""

    cpu: str
    needs: tuple[str, ...]


#: By the machine's architecture. x86-64-v3 is AVX2 and FMA: Intel's servers since 2013, AMD's since 2015.
BASELINES = MappingProxyType(
    {
        "x86_64": CpuBaseline(
            "x86-64-v3",
            ("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sahf", "sse4.2"),
        ),
        "aarch64": CpuBaseline("generic", ()),
    }
)


def write_baseline(sources: Path, baseline: CpuBaseline) -> None:
    """Make every process compile the kernels in ``sources`` for a baseline, and load them from there."""
    (sources / _FILE).write_text(json.dumps(asdict(baseline)) + "\n", encoding="utf-8")


def baseline_of(sources: Path) -> CpuBaseline | None:
    """Return the baseline that kernels in ``sources`` are used with on this machine.

    None if no baseline was written, if NUMBA_CPU_NAME names another CPU, or if this machine lacks a feature: then
    numba compiles for the CPU that it would have taken anyway.
    """
    try:
        values = json.loads((sources / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    baseline = CpuBaseline(values["cpu"], tuple(values["needs"]))
    if os.environ.get("NUMBA_CPU_NAME", baseline.cpu) != baseline.cpu:
        return None
    return baseline if not baseline.needs or set(baseline.needs) <= _features_of_machine() else None


def compile_for(baseline: CpuBaseline) -> None:
    """Make numba compile for a baseline in this process and in its children."""
    # No feature beside those of the name: the machine's own would become part of the cache's key.
    settings = {"CPU_NAME": baseline.cpu, "CPU_FEATURES": ""}
    for name, value in settings.items():
        os.environ[f"NUMBA_{name}"] = value
        if "numba" in sys.modules:
            setattr(sys.modules["numba"].config, name, value)


def _features_of_machine() -> set[str]:
    from llvmlite.binding import get_host_cpu_features

    return {name for name, is_present in get_host_cpu_features().items() if is_present}
