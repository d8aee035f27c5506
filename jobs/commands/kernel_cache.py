"""Whether the compiled kernels are in numba's cache, as its index files say: asking numba would compile them."""

import hashlib
import os
import pickle
import re
from pathlib import Path

from jobs.commands.installed import Finding
from pipeline.numba_cache import cache_folder, leaf_of

_DECORATOR = re.compile(r"^@(?:\w+_)?kernel$", re.MULTILINE)
_ADVICE = (
    "the first run, or every worker of a cluster without a shared cache, compiles for a minute first: "
    "graphquilt doctor --warm"
)
_NOWHERE = (
    "there is no folder for kernels that this user can write and nobody else can, so that every process compiles for a "
    "minute first: set NUMBA_CACHE_DIR to one that belongs to you alone"
)


def kernel_cache() -> Finding:
    """Compare the index files with the kernels' sources, this numba and this CPU."""
    import llvmlite.binding
    import numba

    import pipeline.kernels

    cpu = os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name()
    folder = Path(pipeline.kernels.__path__[0])
    cache = cache_folder(folder)
    total = warm = 0
    for source in sorted(folder.glob("*.py")):
        # All that the decorators of array_types compile is cached.
        kernels = len(_DECORATOR.findall(source.read_text()))
        total += kernels
        indexes = leaf_of(cache, folder).glob(f"{source.stem}.*.nbi") if cache else ()
        fresh = {index.name for index in indexes if _is_fresh(index, source, numba.__version__, cpu)}
        warm += min(kernels, len(fresh))
    # Not needed: what is missing is compiled when it is used.
    if cache is None:
        status = "nowhere to be kept"
        return Finding("kernels", status, is_fine=False, is_needed=False, advice=_NOWHERE)
    status = f"{warm} of {total} compiled for {cpu} (cache: {cache})"
    return Finding("kernels", status, is_fine=warm >= total, is_needed=False, advice=_ADVICE)


def _is_fresh(index: Path, source: Path, version: str, cpu: str) -> bool:
    """Whether numba would take an index for this source, as its own cache reads it."""
    try:
        with index.open("rb") as file:
            if pickle.load(file) != version:
                return False
            stamp, overloads = pickle.load(file)
    except (OSError, ValueError, TypeError, EOFError, pickle.UnpicklingError, AttributeError, ImportError):
        return False
    file_status = source.stat()
    # Older numbas stamp with time and size.
    stamps = (hashlib.sha256(source.read_bytes()).digest(), (file_status.st_mtime, file_status.st_size))
    return stamp in stamps and any(repr(cpu) in repr(key) for key in overloads)
