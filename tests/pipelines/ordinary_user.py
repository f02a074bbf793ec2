"""Runs a command as a user who may not read what its owner has forbidden: python -m tests.pipelines.ordinary_user.

What root gives up here is given up when it becomes another program. It is a program of its own, since a process of
tests that has used gRPC must not be forked.
"""

import ctypes
import os
import sys

_DROP_FROM_BOUNDING_SET = 24
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to read whatever its owner has forbidden

if __name__ == "__main__":
    library = ctypes.CDLL(None, use_errno=True)
    for capability in _OVERRIDES:
        if library.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "root cannot give up a capability here")
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
