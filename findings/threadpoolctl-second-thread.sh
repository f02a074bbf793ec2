#!/usr/bin/env bash
# Expected: `with ThreadpoolController().limit(limits=1, user_api="blas")` gives the block one BLAS thread, or says that it
# cannot.
# Seen (threadpoolctl 3.8.0, numpy 2.4.6 with its OpenBLAS 0.3.31, pthreads, Linux x86-64): while another thread of the process is
# inside such a block, the limit does nothing, and nothing is raised or warned of: the block runs with the other thread's number.
# Matrix products whose last bits depend on the number of threads then depend on what other threads do.
# Where from: `OpenBLASController.set_num_threads` of threadpoolctl, whose docstring says that threads other than the first silently do
# nothing where OpenBLAS is not built with OpenMP; the documentation of `limit` and of `threadpool_limits` does not.
# Way out: one counter and one lock for the process; the first user sets the number, the last restores it.
# Needs two cores.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check threadpoolctl==3.8.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys
import threading
from importlib.metadata import version

import numpy  # loads OpenBLAS
from threadpoolctl import ThreadpoolController

controller = ThreadpoolController()


def threads() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().info() if library["user_api"] == "blas"]


entered, leave = threading.Event(), threading.Event()


def hold_two() -> None:
    with controller.limit(limits=2, user_api="blas"):
        entered.set()
        leave.wait()


other = threading.Thread(target=hold_two)
other.start()
entered.wait()
with controller.limit(limits=1, user_api="blas"):
    meanwhile = threads()
leave.set()
other.join()
with controller.limit(limits=1, user_api="blas"):
    alone = threads()
print(f"threadpoolctl {version('threadpoolctl')}, numpy {numpy.__version__}")
print(f"a limit of 1, no other thread in such a block: {alone}")
print(f"a limit of 1 while another thread has a limit of 2: {meanwhile}")
sys.exit(0 if (alone, meanwhile) == ([1], [2]) else 1)
PYTHON
