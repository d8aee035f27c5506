"""Spark's daemon of Python workers on this machine, which loads what all of them need before it forks one.

A worker takes 1.4 CPU seconds to load it for itself. Polars is left out: it starts threads, which a fork loses.
"""

import gc
import os

from pyspark.daemon import manager

from pipeline.engines.one_thread import ONE_THREAD_WORKER


def load() -> None:
    """Load the modules and the kernels that tasks begin with."""
    os.environ.update(ONE_THREAD_WORKER)  # before numpy
    import numpy as np
    import pyarrow as pa
    import pyspark.worker  # noqa: F401

    from pipeline.absent_packages import without_package

    with without_package("pandas"):  # pyarrow looks for it once
        pa.array([0])

    from pipeline.ingest import clean_rows  # noqa: F401
    from pipeline.kernels.buckets import deal, hash_integers
    from pipeline.kernels.key_groups import number_groups, sum_groups

    keys = np.zeros(1, np.int64)
    hash_integers(keys.view(np.uint64), keys)
    deal(keys.view(np.uint64), 1)
    sum_groups(number_groups([keys])[0], 1, keys)
    gc.freeze()


if __name__ == "__main__":
    load()
    manager()
