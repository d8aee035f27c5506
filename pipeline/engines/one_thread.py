"""Variables of the environment that give a process one thread: they are read when libraries are loaded."""

#: Read by BLAS and OpenMP libraries when they are loaded. Engines run a task a core: threads inside of tasks
#: would multiply with them, and BLAS sums in another order with another number of threads.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}

#: For processes that do nothing but tasks. Not for a process that may have used numba before: numba refuses
#: a new number once its threads run; and Polars, which reads its own once, serves tables there with all cores.
ONE_THREAD_WORKER = {**ONE_THREAD, "NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
