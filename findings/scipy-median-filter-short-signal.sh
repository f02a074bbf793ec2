#!/usr/bin/env bash
# Expected: scipy.ndimage.median_filter, mode "reflect" (the default), gives the median of the signal reflected at its ends as often as the
# filter needs, however long the filter is; so says the documentation of the mode, and so it is for filters up to eight times the length.
# Seen (scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64): for signals of 2, 4 and 6 values and filters of more than eight times that
# length other values come back: [0.9, 0.1] with size 17 or 19 is [0.1, 0.1] and not [0.9, 0.1]. Odd lengths, mode "nearest", and the mean
# (uniform_filter1d) of the same signals with the same sizes are right.
# Who meets it: whoever smooths the scores of windows by a median, where one recording of many is short.
# Way out: reflect the signal first, and filter that (np.pad with mode "symmetric", then the part in the middle).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import itertools
import platform
import sys

import numpy as np
import scipy
from scipy import ndimage


def reflected(values, size):
    """Returns the stretches of a signal, reflected at its ends, whose middles are its values: (values, size)."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, size // 2, mode="symmetric"), size)


print(f"scipy {scipy.__version__}, numpy {np.__version__}, Python {platform.python_version()}")
wrong_medians, wrong_means = {}, set()
for length in range(1, 8):
    draws = np.random.default_rng(length).random((10, length))
    for values, size in itertools.product(draws, range(1, 90, 2)):
        stretches = reflected(values, size)
        if not np.array_equal(ndimage.median_filter(values, size), np.median(stretches, axis=1)):
            wrong_medians.setdefault(length, []).append(size)
        if not np.allclose(ndimage.uniform_filter1d(values, size), stretches.mean(axis=1)):
            wrong_means.add(length)
pair = np.array([0.9, 0.1])
print(f"[0.9, 0.1], size 17: {ndimage.median_filter(pair, 17)}, by hand {np.median(reflected(pair, 17), axis=1)}")
print(f"lengths with wrong medians: { {length: f'{min(sizes)} and more' for length, sizes in wrong_medians.items()} }")
print(f"lengths with wrong means: {sorted(wrong_means)}")
sys.exit(not ({length: min(sizes) for length, sizes in wrong_medians.items()} == {2: 17, 4: 33, 6: 49} and not wrong_means))
PYTHON
