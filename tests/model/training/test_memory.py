"""What a data set of ours sets of the allocator after TensorFlow has set it otherwise."""

import subprocess
import sys

import pytest

# In a process of its own: TensorFlow sets it once. Memory of the size asked for is never freed, so whether it is mapped
# on its own follows from the threshold alone; glibc keeps that as the second bit of the size before what malloc gives.
PROGRAM = """
import ctypes, sys
import soundmill

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def is_mapped():
    return bool(ctypes.c_size_t.from_address(libc.malloc(20 * 2**20) - ctypes.sizeof(ctypes.c_size_t)).value & 2)

print(is_mapped())
dataset = soundmill.open_features(sys.argv[1]).dataset("training", 8)
for features, ids in dataset.take(2):
    pass
print(is_mapped())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's")
def test_while_a_data_set_is_read_large_tensors_come_from_memory_that_is_kept(feature_set):
    line = [sys.executable, "-c", PROGRAM, str(feature_set)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["True", "False"], done.stderr
