"""One thread a worker: those of BLAS and OpenMP would take turns with other workers, and change last digits."""

import os

# What the libraries read when they are loaded.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
     "VECLIB_MAXIMUM_THREADS"), "1",
)  # fmt: skip


def pin_threads() -> None:
    """Has the libraries that are loaded compute on one thread, for good; for those that come later `ONE_THREAD` is."""
    from threadpoolctl import threadpool_limits  # where it is used: a driver has no use for it

    os.environ |= ONE_THREAD
    threadpool_limits(limits=1)
